package caldav

import (
	"cmp"
	"context"
	"encoding/xml"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/graph2mqtt/graph2mqtt/internal/web"
)

// report answers a query.
func (x *exchange) report(p resourcePath) error {
	asked, err := x.body()
	if err != nil {
		return err
	}
	if asked == nil {
		return statusError(http.StatusBadRequest, "want a report")
	}
	if p.kind != collectionResource {
		return conditionError(http.StatusForbidden, "supported-report", "want the address of a calendar or a task list")
	}
	c, s, err := x.collection(p.id)
	if err != nil {
		return err
	}
	var rows []row
	after := ""
	switch asked.name {
	case cal("calendar-query"):
		rows, err = x.query(c, s, asked)
	case cal("calendar-multiget"):
		rows, err = x.multiget(c, s, asked)
	case dav("sync-collection"):
		rows, after, err = x.sync(c, s, asked)
	default:
		return conditionError(http.StatusForbidden, "supported-report", "the report %s is not supported", truncate(asked.name.Local))
	}
	if err != nil {
		return err
	}
	names, _ := reported(asked)
	base := x.address(x.account, c.ID(), "")
	x.sendMultistatus(len(rows), func(d *document, i int) {
		at := rows[i]
		if at.object == nil {
			writeStatus(d, at.address, at.status)
			return
		}
		x.writeProperties(d, x.resourceOf(c, s, at.object, cmp.Or(at.address, base+url.PathEscape(at.object.name))), names, false)
	}, after)
	return nil
}

// A row is an object of a report, or an address with a status.
type row struct {
	object  *object
	address string // as the client wrote it; "": the object's own
	status  string // without an object
}

const notFound = "404 Not Found"

// reported returns the properties that a report asks for, and whether the objects themselves are among them.
func reported(asked *node) (names []xml.Name, data bool) {
	names = propertiesIn(asked)
	if asked.child(dav("prop")) == nil {
		names = []xml.Name{dav("getetag")}
	}
	return names, slices.Contains(names, cal("calendar-data"))
}

// query answers a calendar-query.
func (x *exchange) query(c Collection, s *collectionState, asked *node) ([]row, error) {
	f, err := newFilter(asked.child(cal("filter")), kindOf(c))
	var unsupported *filterError
	if errors.As(err, &unsupported) {
		condition := "supported-filter"
		if strings.Contains(unsupported.why, "collation") {
			condition = "supported-collation"
		} else if strings.HasPrefix(unsupported.why, "time-range") || strings.Contains(unsupported.why, "want") {
			condition = "valid-filter"
		}
		return nil, conditionError(http.StatusForbidden, condition, "%w", err)
	}
	if err != nil {
		return nil, err
	}
	if f.none {
		return nil, nil
	}
	var l *listing
	if f.span != (span{}) && !c.HoldsTasks() {
		l, err = s.events(x.r.Context(), c, f.span)
	} else {
		l, err = s.full(x.r.Context(), c)
	}
	if err != nil {
		return nil, err
	}
	loc := c.Location()
	found := matching(l.objects, func(o *object) bool { return f.matches(o, loc) })
	// What is read for a change does not count: Home Assistant writes back the fields of its last list.
	if _, data := reported(asked); data && !f.isByUID() {
		if c.HoldsTasks() && len(found) == len(l.objects) {
			x.rememberAll(c.ID(), l)
		} else {
			x.remember(c.ID(), found)
		}
	}
	rows := make([]row, len(found))
	for i, o := range found {
		rows[i].object = o
	}
	return rows, nil
}

// multiget answers a calendar-multiget.
func (x *exchange) multiget(c Collection, s *collectionState, asked *node) ([]row, error) {
	hrefs := asked.all(dav("href"))
	if len(hrefs) == 0 {
		return nil, statusError(http.StatusBadRequest, "want an href")
	}
	rows := make([]row, len(hrefs))
	names := make([]string, len(hrefs)) // "": not of this collection
	for i, n := range hrefs {
		rows[i] = row{address: n.content(), status: notFound}
		names[i], _ = x.nameIn(c, rows[i].address)
	}
	all, err := s.findAll(x.r.Context(), c, names)
	if err != nil {
		return nil, err
	}
	var found []*object
	for i, name := range names {
		if o := all[name]; o != nil {
			rows[i].object = o
			found = append(found, o)
		}
	}
	if _, data := reported(asked); data {
		x.remember(c.ID(), found)
	}
	return rows, nil
}

// nameIn returns the name of an object of the collection by its address.
func (x *exchange) nameIn(c Collection, address string) (name string, ok bool) {
	u, err := url.Parse(address)
	if err != nil {
		return "", false
	}
	path, ok := strings.CutPrefix(u.Path, x.prefix())
	if !ok {
		return "", false
	}
	p, ok := parsePath(path)
	if !ok || p.kind != objectResource || p.account != x.account || p.id != c.ID() {
		return "", false
	}
	return p.name, true
}

// sync answers a sync-collection. after is the new token.
func (x *exchange) sync(c Collection, s *collectionState, asked *node) (rows []row, after string, err error) {
	if level := asked.child(dav("sync-level")).content(); level != "1" && level != "infinite" && x.r.Header.Get("Depth") != "1" {
		return nil, "", statusError(http.StatusBadRequest, "sync-kind: want 1")
	}
	token := asked.child(dav("sync-token")).content()
	answer, err := s.sync(x.r.Context(), c, token)
	if errors.Is(err, errToken) {
		return nil, "", conditionError(http.StatusForbidden, "valid-sync-token", "%w", err)
	}
	if err != nil {
		return nil, "", err
	}
	changes, last := answer.changes, answer.last
	if n := asked.child(dav("limit")).child(dav("nresults")); n != nil {
		most, err := strconv.Atoi(n.content())
		if err != nil || most < 1 {
			return nil, "", statusError(http.StatusBadRequest, "nresults: want a number above 0")
		}
		if len(changes) > most {
			changes = changes[:most]
			last = changes[most-1].number
			rows = append(rows, row{address: x.prefix() + x.r.URL.EscapedPath(), status: "507 Insufficient Storage"})
		}
	}
	var found []*object
	for _, change := range changes {
		if o := answer.find(change.name); !change.removed && o != nil {
			found = append(found, o)
			rows = append(rows, row{object: o})
			continue
		}
		rows = append(rows, row{address: x.address(x.account, c.ID(), change.name), status: notFound})
	}
	if _, data := reported(asked); data {
		x.remember(c.ID(), found)
	}
	return rows, "<D:sync-token>" + answer.token(last) + "</D:sync-token>", nil
}

// serveFeed answers with a whole collection as iCalendar. The password is in the address, for clients that send none.
func (h *DAVServer) serveFeed(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(strings.TrimPrefix(r.URL.Path, feedPath), "/")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		plainError(w, http.StatusMethodNotAllowed, "want GET: this address is for reading alone")
		return
	}
	const wrong = "want an address such as /ics/PASSWORD/ACCOUNT/SENSOR.ics, with the calendar password of the account"
	if len(parts) != 3 {
		unauthorized(w, wrong)
		return
	}
	// The right password is accepted whatever others at the same address try: it is generated, so that none is found by trying.
	if !h.check(parts[1], parts[0]) {
		if peer := web.ParsePeer(r.RemoteAddr); !h.failures.Refuse(w, peer) {
			h.failures.Add(peer)
			unauthorized(w, wrong)
		}
		return
	}
	id, ok := strings.CutSuffix(parts[2], extension)
	ctx, cancel := context.WithTimeout(r.Context(), answerTimeout)
	defer cancel()
	x := &exchange{DAVServer: h, w: w, r: r.WithContext(ctx), account: parts[1]}
	if h.o.Forward != nil {
		x.forward()
		return
	}
	c, s, err := x.collection(id)
	if err == nil && !ok {
		err = statusError(http.StatusNotFound, wrong)
	}
	if err == nil {
		err = x.writeFeed(c, s)
	}
	if err != nil {
		x.writeError(err)
	}
}

// writeFeed writes all objects of a collection as one calendar.
func (x *exchange) writeFeed(c Collection, s *collectionState) error {
	l, err := s.full(x.r.Context(), c)
	if err != nil {
		return err
	}
	etag := `"` + l.tag() + `"`
	x.w.Header().Set("ETag", etag)
	if matchesAny(x.r.Header.Get("If-None-Match"), etag) {
		x.w.WriteHeader(http.StatusNotModified)
		return nil
	}
	b := appendTexts([]byte(calendarBegin), "X-WR-CALNAME", singleLine(c.Name()))
	for _, o := range l.objects {
		b = o.appendComponent(b)
	}
	x.write(http.StatusOK, "text/calendar; charset=utf-8", append(b, calendarEnd...))
	return nil
}
