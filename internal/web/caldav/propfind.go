package caldav

import (
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/url"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
	"golang.org/x/sync/errgroup"
)

// maxRequest bounds the size of a request in XML in bytes.
const maxRequest = 1 << 20

// body reads the request's XML; nil: it has none.
func (x *exchange) body() (*node, error) {
	n, err := parse(http.MaxBytesReader(x.w, x.r.Body, maxRequest))
	var large *http.MaxBytesError
	if err != nil && !errors.As(err, &large) {
		return nil, statusError(http.StatusBadRequest, "%w", err)
	}
	return n, err
}

// minCompressed is the size in bytes from which on an answer is compressed.
const minCompressed = 1024

// write sends an answer, compressed where the client accepts that.
func (x *exchange) write(status int, contentType string, content []byte) {
	if len(content) >= minCompressed && x.r.Method != http.MethodHead {
		x.send(status, contentType, func(w io.Writer) { _, _ = w.Write(content) }) // the client is gone
		return
	}
	head := x.w.Header()
	head.Set("Content-Type", contentType)
	head.Add("Vary", "Accept-Encoding")
	head.Set("Content-Length", strconv.Itoa(len(content)))
	x.w.WriteHeader(status)
	if x.r.Method != http.MethodHead {
		_, _ = x.w.Write(content)
	}
}

// send sends an answer whose size is not known, compressed where the client accepts that.
func (x *exchange) send(status int, contentType string, content func(io.Writer)) {
	head := x.w.Header()
	head.Set("Content-Type", contentType)
	head.Add("Vary", "Accept-Encoding")
	if !acceptsGzip(x.r) {
		x.w.WriteHeader(status)
		content(x.w)
		return
	}
	head.Set("Content-Encoding", "gzip")
	x.w.WriteHeader(status)
	// A compressor that remembers what it has written takes a megabyte for each client, and saves a tenth of the answer.
	z, _ := gzip.NewWriterLevel(x.w, gzip.StatelessCompression) // the level is valid
	content(z)
	_ = z.Close() // the client is gone
}

const xmlType = "application/xml; charset=utf-8"

// sendMultistatus sends the responses of n resources, and what comes after them. It does not hold the whole answer.
func (x *exchange) sendMultistatus(n int, response func(d *document, i int), after string) {
	if n >= manyResources {
		defer releaseMemory()
	}
	x.send(http.StatusMultiStatus, xmlType, func(w io.Writer) {
		d := &document{}
		d.begin("multistatus")
		for i := range n {
			response(d, i)
			if d.Len() >= flushSize {
				if _, err := d.WriteTo(w); err != nil {
					return // the client is gone
				}
			}
		}
		d.WriteString(after + "</D:multistatus>\n")
		_, _ = d.WriteTo(w)
	})
}

// manyResources is the number of resources from which on an answer takes much memory, above all if they were just read from Graph.
const manyResources = 100

// maxUnused is the memory in bytes that the program keeps unused after such an answer: returning it costs a garbage collection.
const maxUnused = 512 << 10

// releaseMemory returns unused memory to the system if there is much of it. Clients ask for that much rarely, so the program would keep the
// memory for nothing.
func releaseMemory() {
	heap := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/free:bytes"}, {Name: "/gc/heap/live:bytes"}}
	metrics.Read(heap)
	objects, free, live := heap[0].Value.Uint64(), heap[1].Value.Uint64(), heap[2].Value.Uint64()
	if objects+free > live+maxUnused {
		debug.FreeOSMemory()
	}
}

// flushSize is the size in bytes from which on a part of an answer is sent.
const flushSize = 32 << 10

func acceptsGzip(r *http.Request) bool {
	for _, accepted := range strings.Split(r.Header.Get("Accept-Encoding"), ",") {
		name, quality, _ := strings.Cut(strings.TrimSpace(accepted), ";")
		if strings.EqualFold(strings.TrimSpace(name), "gzip") {
			return strings.ReplaceAll(quality, " ", "") != "q=0"
		}
	}
	return false
}

// A resource has the properties of one response.
type resource struct {
	resourcePath
	address    string
	collection Collection // from collectionResource on
	state      *collectionState
	object     *object                  // at objectResource
	full       func() (*listing, error) // at collectionResource: its objects, which are read once
}

// collectionResource returns the resource of a collection.
func (x *exchange) collectionResource(c Collection, s *collectionState, address string) resource {
	return resource{
		resourcePath: resourcePath{kind: collectionResource, account: x.account, id: c.ID()}, address: address, collection: c, state: s,
		full: sync.OnceValues(func() (*listing, error) { return s.full(x.r.Context(), c) }),
	}
}

// readAll reads the collections whose properties depend on their objects, several at a time.
func readAll(all []resource, names []xml.Name) {
	if !slices.ContainsFunc(names, func(name xml.Name) bool { return name == ctag() || name == dav("sync-token") || name == dav("getetag") }) {
		return
	}
	var reads errgroup.Group
	reads.SetLimit(maxReads)
	for _, r := range all {
		if r.full != nil {
			reads.Go(func() error {
				_, _ = r.full() // an error is that of the properties
				return nil
			})
		}
	}
	_ = reads.Wait()
}

// maxReads bounds the reads from Graph at the same time for one request.
const maxReads = 4

func ctag() xml.Name { return xml.Name{Space: serverSpace, Local: "getctag"} }

// propfind answers with properties.
func (x *exchange) propfind(p resourcePath) error {
	asked, err := x.body()
	if err != nil {
		return err
	}
	names, byName := requestedProperties(asked)
	depth := x.r.Header.Get("Depth")
	if depth == "infinity" {
		return conditionError(http.StatusForbidden, "propfind-finite-depth", "want Depth 0 or 1")
	}
	// Clients find what they asked by the address that they asked.
	self := resource{resourcePath: p, address: x.prefix() + x.r.URL.EscapedPath()}
	all := []resource{self}
	switch p.kind {
	case homeResource:
		if depth == "1" {
			collections, _, err := x.o.Collections(x.account)
			if err != nil {
				return err
			}
			for _, c := range collections {
				s, err := x.state(x.account, c.ID())
				if err != nil {
					return err
				}
				all = append(all, x.collectionResource(c, s, x.address(x.account, c.ID())))
			}
		}
	case collectionResource, objectResource:
		c, s, err := x.collection(p.id)
		if err != nil {
			return err
		}
		if p.kind == collectionResource {
			all[0] = x.collectionResource(c, s, self.address)
		}
		all[0].collection, all[0].state = c, s
		if p.kind == objectResource {
			if all[0].object, err = s.find(x.r.Context(), c, p.name); err != nil {
				return err
			}
			if all[0].object == nil {
				return noObjectError()
			}
		} else if depth == "1" {
			l, err := all[0].full()
			if err != nil {
				return err
			}
			base := x.address(x.account, c.ID(), "")
			for _, o := range l.objects {
				all = append(all, x.resourceOf(c, s, o, base+url.PathEscape(o.name)))
			}
		}
	case rootResource:
		if depth == "1" && p == (resourcePath{}) {
			all = append(all, resource{resourcePath: resourcePath{homeResource, x.account, "", ""}, address: x.address(x.account)})
		}
	}
	readAll(all, names)
	x.sendMultistatus(len(all), func(d *document, i int) {
		requested := names
		if requested == nil {
			requested = all[i].knownProperties()
		}
		x.writeProperties(d, all[i], requested, byName)
	}, "")
	return nil
}

func noObjectError() error { return statusError(http.StatusNotFound, "there is no such event or task") }

func (x *exchange) resourceOf(c Collection, s *collectionState, o *object, address string) resource {
	return resource{resourcePath: resourcePath{objectResource, x.account, c.ID(), o.name}, address: address, collection: c, state: s, object: o}
}

// requestedProperties returns the properties that a PROPFIND names; nil: all. byName: only their names are wanted.
func requestedProperties(asked *node) (names []xml.Name, byName bool) {
	if asked == nil || asked.child(dav("prop")) == nil {
		return nil, asked.child(dav("propname")) != nil
	}
	return propertiesIn(asked), false
}

// propertiesIn returns the names in the prop element of a request.
func propertiesIn(asked *node) []xml.Name {
	names := []xml.Name{}
	if prop := asked.child(dav("prop")); prop != nil {
		for _, c := range prop.children {
			if !slices.Contains(names, c.name) {
				names = append(names, c.name)
			}
		}
	}
	return names
}

// writeProperties writes the response for one resource. A property that cannot be read now does not make the others unreadable.
func (x *exchange) writeProperties(d *document, r resource, names []xml.Name, byName bool) {
	var missing, failing []xml.Name
	d.WriteString("<D:response>")
	d.href(r.address)
	start, empty := d.Len(), true
	d.WriteString("<D:propstat><D:prop>")
	for _, name := range names {
		if byName {
			d.element(name, "")
			empty = false
			continue
		}
		// What clients ask of many objects takes no memory for each.
		if r.object != nil && name == cal("calendar-data") {
			d.WriteString("<C:calendar-data>")
			d.data(r.object)
			d.WriteString("</C:calendar-data>")
			empty = false
			continue
		}
		if r.object != nil && name == dav("getetag") {
			d.WriteString("<D:getetag>&#34;")
			d.WriteString(strings.Trim(r.object.etag, `"`))
			d.WriteString("&#34;</D:getetag>")
			empty = false
			continue
		}
		value, ok, err := x.property(r, name)
		switch {
		case err != nil:
			failing = append(failing, name)
		case ok:
			d.element(name, value)
			empty = false
		default:
			missing = append(missing, name)
		}
	}
	d.WriteString("</D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat>")
	if empty && len(missing)+len(failing) > 0 {
		d.Truncate(start)
	}
	writePropstat(d, missing, "404 Not Found")
	writePropstat(d, failing, "503 Service Unavailable")
	d.WriteString("</D:response>")
}

// writePropstat writes properties that have a status, if there are any.
func writePropstat(d *document, props []xml.Name, status string) {
	if len(props) == 0 {
		return
	}
	d.WriteString("<D:propstat><D:prop>")
	for _, name := range props {
		d.element(name, "")
	}
	d.WriteString("</D:prop>" + statusElement(status) + "</D:propstat>")
}

func statusElement(status string) string {
	return "<D:status>HTTP/1.1 " + status + "</D:status>"
}

// writeStatus writes the response for an address that has a status alone.
func writeStatus(d *document, address, status string) {
	d.WriteString("<D:response>" + href(address) + statusElement(status) + "</D:response>")
}

// knownProperties are those that allprop returns: none that takes a read.
func (r resource) knownProperties() []xml.Name {
	names := []xml.Name{dav("resourcetype"), dav("displayname"), dav("current-user-principal"), dav("owner"), dav("current-user-privilege-set")}
	switch r.kind {
	case homeResource:
		names = append(names, dav("principal-URL"), cal("calendar-home-set"))
	case collectionResource:
		names = append(names, dav("supported-report-set"), cal("supported-calendar-component-set"))
	case objectResource:
		names = []xml.Name{dav("resourcetype"), dav("getetag"), dav("getcontenttype"), dav("getcontentlength")}
	}
	return names
}

// property returns the value of a property as XML, and whether the resource has it.
func (x *exchange) property(r resource, name xml.Name) (value string, ok bool, err error) {
	home := func() string { return href(x.address(x.account)) }
	switch name {
	case dav("current-user-principal"):
		return home(), true, nil
	case dav("principal-collection-set"):
		return href(x.address()), true, nil
	case dav("owner"):
		return home(), r.kind != rootResource, nil
	case dav("resourcetype"):
		return r.resourceType(), true, nil
	case dav("current-user-privilege-set"):
		return r.privileges(), true, nil
	}
	switch r.kind {
	case homeResource:
		switch name {
		case dav("displayname"):
			return escape(x.account), true, nil
		case dav("principal-URL"), cal("calendar-home-set"):
			return home(), true, nil
		case cal("calendar-user-address-set"):
			return x.userAddress() + home(), true, nil
		case dav("supported-report-set"):
			return "", true, nil
		}
	case collectionResource:
		return x.collectionProperty(r, name)
	case objectResource:
		switch name {
		case dav("getcontenttype"):
			return "text/calendar; charset=utf-8; component=" + kindOf(r.collection), true, nil
		case dav("getcontentlength"):
			return strconv.Itoa(len(r.object.appendCalendar(nil))), true, nil
		}
	case rootResource:
		if name == dav("displayname") {
			return "graph2mqtt", true, nil
		}
	}
	return "", false, nil
}

// userAddress returns an element with the mail address of the account's user, "" if it is not known.
func (x *exchange) userAddress() string {
	if x.o.User == nil {
		return ""
	}
	if user := x.o.User(x.account); strings.Contains(user, "@") {
		return href("mailto:" + user)
	}
	return ""
}

func (r resource) resourceType() string {
	switch r.kind {
	case homeResource:
		return "<D:collection/><D:principal/>"
	case collectionResource:
		return "<D:collection/><C:calendar/>"
	case objectResource:
		return ""
	}
	return "<D:collection/>"
}

// privileges returns what the client may do: without them, clients take a collection for a read-only one.
func (r resource) privileges() string {
	privileges := []string{"read", "read-current-user-privilege-set"}
	if r.collection != nil {
		can := func(privilege string, operation string) bool {
			if operation == "" || r.collection.Check(operation) != nil {
				return false
			}
			privileges = append(privileges, privilege)
			return true
		}
		o := operationsOf(r.collection)
		change, create, remove := can("write-content", o.change), can("bind", o.create), can("unbind", o.remove)
		if change && create && remove {
			privileges = append(privileges, "write")
		}
	}
	var b strings.Builder
	for _, p := range privileges {
		b.WriteString("<D:privilege><D:" + p + "/></D:privilege>")
	}
	return b.String()
}

func (x *exchange) collectionProperty(r resource, name xml.Name) (value string, ok bool, err error) {
	c := r.collection
	switch name {
	case dav("displayname"):
		return escape(singleLine(c.Name())), true, nil
	case cal("supported-calendar-component-set"):
		return `<C:comp name="` + kindOf(c) + `"/>`, true, nil
	case cal("supported-calendar-data"):
		return `<C:calendar-data content-type="text/calendar" version="2.0"/>`, true, nil
	case cal("max-resource-size"):
		return strconv.Itoa(maxObject), true, nil
	case dav("supported-report-set"):
		var b strings.Builder
		for _, report := range []string{"C:calendar-query", "C:calendar-multiget", "D:sync-collection"} {
			b.WriteString("<D:supported-report><D:report><" + report + "/></D:report></D:supported-report>")
		}
		return b.String(), true, nil
	case cal("calendar-timezone-id"):
		if zone := c.Location().String(); zone != "Local" {
			return escape(zone), true, nil
		}
	case xml.Name{Space: appleSpace, Local: "calendar-color"}:
		if color := c.Color(); len(color) == len("#rrggbb") {
			return escape(strings.ToUpper(color) + "FF"), true, nil
		}
	case ctag(), dav("getetag"):
		l, err := r.full()
		if err != nil {
			return "", false, err
		}
		return escape(`"` + l.tag() + `"`), true, nil
	case dav("sync-token"):
		l, err := r.full()
		if err != nil {
			return "", false, err
		}
		answer, err := r.state.changesOf(l, "")
		if err != nil {
			return "", false, err
		}
		return answer.token(answer.last), true, nil
	}
	return "", false, nil
}

// proppatch refuses to change properties, each in the form that clients expect.
func (x *exchange) proppatch(p resourcePath) error {
	asked, err := x.body()
	if err != nil {
		return err
	}
	if asked == nil || asked.name != dav("propertyupdate") {
		return statusError(http.StatusBadRequest, "want a propertyupdate")
	}
	if p.kind >= collectionResource {
		if _, _, err := x.collection(p.id); err != nil {
			return err
		}
	}
	var props []xml.Name
	for _, change := range asked.children {
		props = append(props, propertiesIn(change)...)
	}
	d := &document{}
	d.begin("multistatus")
	d.WriteString("<D:response>" + href(x.prefix()+x.r.URL.EscapedPath()))
	writePropstat(d, props, "403 Forbidden")
	d.WriteString("<D:error><D:cannot-modify-protected-property/></D:error><D:responsedescription>names and colors are those of Outlook and To Do</D:responsedescription>")
	d.WriteString("</D:response></D:multistatus>\n")
	x.write(http.StatusMultiStatus, xmlType, d.Bytes())
	return nil
}

// get answers with an object, or with all of a collection.
func (x *exchange) get(p resourcePath) error {
	if p.kind < collectionResource {
		return statusError(http.StatusMethodNotAllowed, "this is the address for calendar programs, which CalDAV needs; there is nothing to see")
	}
	c, s, err := x.collection(p.id)
	if err != nil {
		return err
	}
	if p.kind == collectionResource {
		return x.writeFeed(c, s)
	}
	o, err := s.find(x.r.Context(), c, p.name)
	if err != nil {
		return err
	}
	if o == nil {
		return noObjectError()
	}
	x.w.Header().Set("ETag", o.etag)
	if matchesAny(x.r.Header.Get("If-None-Match"), o.etag) {
		x.w.WriteHeader(http.StatusNotModified)
		return nil
	}
	x.remember(c.ID(), []*object{o})
	x.write(http.StatusOK, "text/calendar; charset=utf-8; component="+kindOf(c), o.appendCalendar(nil))
	return nil
}

// matchesAny reports whether a header such as If-Match names an ETag.
func matchesAny(header, etag string) bool {
	for _, h := range strings.Split(header, ",") {
		if h = strings.TrimPrefix(strings.TrimSpace(h), "W/"); h == "*" || h == etag || `"`+h+`"` == etag {
			return true
		}
	}
	return false
}
