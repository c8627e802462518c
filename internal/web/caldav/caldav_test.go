package caldav

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"path"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emersion/go-ical"
	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/graph/calendars"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/tasks"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// memory keeps files and values.
type memory struct {
	mu     sync.Mutex
	values map[string][]byte
}

func (m *memory) Read(name string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if v, ok := m.values[name]; ok {
		return v, nil
	}
	return nil, fs.ErrNotExist
}

func (m *memory) Write(name string, plain []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.values[name] = plain
	return nil
}

func (m *memory) WithLock(_ context.Context, _ string, f func() error) error { return f() }

func (m *memory) Watch(ctx context.Context, _ func(string)) error {
	<-ctx.Done()
	return nil
}

func (m *memory) Get(bucket, key string) ([]byte, error) {
	v, err := m.Read(bucket + "/" + key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return v, err
}

func (m *memory) Put(bucket, key string, value []byte, done func(error)) {
	done(m.Write(bucket+"/"+key, value))
}

// A held collection has fixed events or tasks.
type held struct {
	id     string
	events []calendars.Event
	tasks  []tasks.Task
	isList bool
}

func (h *held) ID() string               { return h.id }
func (h *held) Name() string             { return "Work " + h.id }
func (h *held) Kind() string             { return "todo" }
func (h *held) HoldsTasks() bool         { return h.isList }
func (h *held) User() string             { return "" }
func (h *held) Location() *time.Location { return time.UTC }
func (h *held) Color() string            { return "#0078d4" }
func (h *held) Check(string) error       { return nil }
func (h *held) OnDemand() error          { return errors.New("not on demand") }

func (h *held) Version() (any, error) { return h, nil }

func (h *held) Events() ([]calendars.Event, time.Time, time.Time, any, error) {
	return h.events, time.Time{}.AddDate(1, 0, 0), time.Now().AddDate(100, 0, 0), h, nil
}

func (h *held) ReadEvents(context.Context, time.Time, time.Time) ([]calendars.Event, error) {
	return nil, h.OnDemand()
}

func (h *held) Tasks() ([]tasks.Task, any, error)                   { return h.tasks, h, nil }
func (h *held) ReadCompleted(context.Context) ([]tasks.Task, error) { return nil, h.OnDemand() }

// newHandler returns a handler of the account "work" with these collections, and its password.
func newHandler(t testing.TB, collections ...Collection) (*DAVServer, string) {
	t.Helper()
	store := &memory{values: map[string][]byte{}}
	credentials := OpenCredentials(store, slog.New(slog.DiscardHandler))
	password, err := credentials.Renew("work")
	if err != nil {
		t.Fatal(err)
	}
	return New(Options{
		Collections: func(account string) ([]Collection, bool, error) { return collections, account == "work", nil },
		Do: func(_ context.Context, r services.Inbound) services.Response {
			return services.Response{Op: r.Operation}.Succeed(map[string]any{"event_id": "new", "todo_id": "new"})
		},
		Credentials: credentials, Store: store, Log: slog.New(slog.DiscardHandler),
	}), password
}

// request returns the answer to a request with a password.
func request(h http.Handler, password, method, path, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.SetBasicAuth("work", password)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestHostileRequests(t *testing.T) {
	h, password := newHandler(t, &held{id: "calendar"}, &held{id: "tasks", isList: true})
	query := func(inner string) string {
		return `<C:calendar-query xmlns:C="urn:ietf:params:xml:ns:caldav" xmlns:D="DAV:"><D:prop><D:getetag/></D:prop>` + inner + `</C:calendar-query>`
	}
	in := func(inner string) string {
		return query(`<C:filter><C:comp-filter name="VCALENDAR"><C:comp-filter name="VEVENT">` + inner + `</C:comp-filter></C:comp-filter></C:filter>`)
	}
	nested := strings.Repeat("<a>", 100) + strings.Repeat("</a>", 100)
	bomb := `<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]><D:propfind xmlns:D="DAV:">&b;</D:propfind>`
	for _, tt := range []struct {
		name, method, path, body string
		code                     int
		text                     string
	}{
		{"entities", "PROPFIND", "/dav/", bomb, 400, "without a document type"},
		{"an entity", "PROPFIND", "/dav/", `<D:propfind xmlns:D="DAV:">&b;</D:propfind>`, 400, "want XML"},
		{"deep", "PROPFIND", "/dav/", nested, 400, "nested at most 32 deep"},
		{"many", "REPORT", "/dav/work/calendar/", "<a>" + strings.Repeat("<b/>", 30_000) + "</a>", 400, "at most 20000 elements"},
		{"huge", "REPORT", "/dav/work/calendar/", strings.Repeat(" ", 2<<20), 413, "at most 1048576 bytes"},
		{"no XML", "PROPFIND", "/dav/", "hello", 400, "want XML, not text"},
		{"cut", "PROPFIND", "/dav/", "<a><b>", 400, "want XML"},
		{"two roots", "PROPFIND", "/dav/", "<a/><b/>", 400, "one root element"},
		{"no report", "REPORT", "/dav/work/calendar/", "", 400, "want a report"},
		{"another report", "REPORT", "/dav/work/calendar/", `<C:free-busy-query xmlns:C="urn:ietf:params:xml:ns:caldav"/>`, 403, "supported-report"},
		{"a report of the home", "REPORT", "/dav/work/", query(""), 403, "supported-report"},
		{"no time", "REPORT", "/dav/work/calendar/", in(`<C:time-range start="yesterday"/>`), 403, "valid-filter"},
		{"an empty span", "REPORT", "/dav/work/calendar/", in(`<C:time-range start="20260102T000000Z" end="20260102T000000Z"/>`), 403, "valid-filter"},
		{"a collation", "REPORT", "/dav/work/calendar/", in(`<C:prop-filter name="UID"><C:text-match collation="i;other">a</C:text-match></C:prop-filter>`), 403, "supported-collation"},
		{"a parameter", "REPORT", "/dav/work/calendar/", in(`<C:prop-filter name="ATTENDEE"><C:param-filter name="PARTSTAT"/></C:prop-filter>`), 403, "supported-filter"},
		{"many conditions", "REPORT", "/dav/work/calendar/", in(strings.Repeat(`<C:prop-filter name="UID"/>`, 17)), 403, "at most 16 prop-filters"},
		{"outside", "GET", "/dav/work/calendar/x/y/z", "", 404, "nothing at this address"},
		{"dots", "GET", "/dav/work/../home/", "", 404, "no calendar or task list"},
		{"a list", "DELETE", "/dav/work/tasks/", "", 405, "made and removed in"},
		{"a new list", "MKCALENDAR", "/dav/work/new/", "", 405, "MKCALENDAR is not supported"},
		{"a huge object", "PUT", "/dav/work/tasks/x.ics", strings.Repeat("x", 600<<10), 413, "at most 524288 bytes"},
		{"deep components", "PUT", "/dav/work/tasks/x.ics", strings.Repeat("BEGIN:VTODO\r\n", 1000), 409, "nested at most 4 deep"},
		{"folded components", "PUT", "/dav/work/tasks/x.ics", strings.Repeat("BE\r\n GIN:VTODO\r\n", 1000), 409, "nested at most 4 deep"},
		{"a long parameter", "PUT", "/dav/work/tasks/x.ics", "BEGIN:VCALENDAR\r\nX;Y=" + strings.Repeat("z", 100<<10) + ":1\r\n", 409, "before the value of a line"},
		{"a long name", "PUT", "/dav/work/tasks/" + strings.Repeat("x", 400) + ".ics", "", 403, "want a name"},
		{"a malformed parameter", "PUT", "/dav/work/tasks/x.ics", "BEGIN:VCALENDAR\r\nX;Y=\"a\"b:1\r\n", 409, "malformed"},
	} {
		w := request(h, password, tt.method, tt.path, tt.body, "Depth", "0")
		if w.Code != tt.code || !strings.Contains(w.Body.String(), tt.text) {
			t.Errorf("%s: %d %.300s, want %d with %q", tt.name, w.Code, w.Body, tt.code, tt.text)
		}
	}
	if w := request(h, password, "PROPFIND", "/dav/work/", "", "Depth", "infinity"); w.Code != 403 || !strings.Contains(w.Body.String(), "propfind-finite-depth") {
		t.Errorf("depth infinity: %d %s", w.Code, w.Body)
	}
	if w := request(h, password, "PUT", "/dav/work/tasks/x.ics", "", "Content-Encoding", "gzip"); w.Code != 415 {
		t.Errorf("a compressed request: %d", w.Code)
	}
}

// The text of an element in many pieces is not copied again for each of them.
func TestTextInPieces(t *testing.T) {
	body := "<a>" + strings.Repeat("xxxxxxxx<!---->", maxRequest/20) + "</a>"
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	n, err := parse(strings.NewReader(body))
	runtime.ReadMemStats(&after)
	if err != nil || len(n.content()) != maxRequest/20*8 {
		t.Fatalf("parse: %v", err)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 100<<20 {
		t.Errorf("a request of %d bytes takes %d bytes of memory", len(body), used)
	}
}

// What a client asked for keeps its name, also if the client hangs up before the answer. Meanwhile nobody else changes the collection.
func TestClientHangsUp(t *testing.T) {
	h, password := newHandler(t, &held{id: "tasks", isList: true})
	ctx, hangUp := context.WithCancel(t.Context())
	h.o.Do = func(ctx context.Context, r services.Inbound) services.Response {
		hangUp()
		if ctx.Err() != nil {
			return services.Response{}.Fail(ctx.Err())
		}
		if len(h.states["work/tasks"].turn) != 1 {
			t.Error("others may change the list")
		}
		return services.Response{Op: r.Operation}.Succeed(map[string]any{"todo_id": "new"})
	}
	const body = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\nBEGIN:VTODO\r\nUID:u\r\nDTSTAMP:20260101T000000Z\r\nSUMMARY:Milk\r\nEND:VTODO\r\nEND:VCALENDAR\r\n"
	r := httptest.NewRequestWithContext(ctx, "PUT", "/dav/work/tasks/u.ics", strings.NewReader(body))
	r.SetBasicAuth("work", password)
	h.ServeHTTP(httptest.NewRecorder(), r)
	if a, ok := h.states["work/tasks"].aliases.withName("u.ics"); !ok || a.ID != "new" {
		t.Errorf("its name is not stored: %+v", a)
	}
	if len(h.states["work/tasks"].turn) != 0 {
		t.Error("nobody can change the list any more")
	}
}

func TestPasswords(t *testing.T) {
	h, password := newHandler(t, &held{id: "calendar"})
	for _, tt := range []struct {
		user, password string
		code           int
	}{{"work", password, 207}, {"work", password + "x", 401}, {"work", "", 401}, {"home", password, 401}, {"", password, 401}} {
		r := httptest.NewRequest("PROPFIND", "/dav/", nil)
		r.SetBasicAuth(tt.user, tt.password)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != tt.code || (w.Code == 401) != (w.Header().Get("WWW-Authenticate") != "") {
			t.Errorf("%q: %d, want %d", tt.user, w.Code, tt.code)
		}
	}
	c, store := h.o.Credentials, h.o.Store.(*memory)
	if _, ok := c.Created("home"); ok || c.LastUsed("home") != (time.Time{}) {
		t.Error("an account without a password has one")
	}
	if created, ok := c.Created("work"); !ok || time.Since(created) > time.Minute || time.Since(c.LastUsed("work")) > time.Minute {
		t.Errorf("created %s, used %s", created, c.LastUsed("work"))
	}
	renewed, err := c.Renew("work")
	if err != nil || renewed == password || len(renewed) < 26 {
		t.Fatalf("renewed: %q, %v", renewed, err)
	}
	if c.check("work", password) || !c.check("work", renewed) {
		t.Error("the old password is valid, or the new one is not")
	}
	for _, v := range store.values {
		if strings.Contains(string(v), renewed) {
			t.Error("the password is stored as it is")
		}
	}
	// Another process renews it.
	other, err := OpenCredentials(store, slog.New(slog.DiscardHandler)).Renew("work")
	if err != nil {
		t.Fatal(err)
	}
	c.records.Reload()
	if c.check("work", renewed) || !c.check("work", other) {
		t.Error("the password of another process is not taken up")
	}
}

func TestCompression(t *testing.T) {
	list := &held{id: "tasks", isList: true}
	for i := range 50 {
		list.tasks = append(list.tasks, tasks.Task{ID: strconv.Itoa(i), Subject: "Task"})
	}
	h, password := newHandler(t, list)
	const query = `<C:calendar-query xmlns:C="urn:ietf:params:xml:ns:caldav" xmlns:D="DAV:"><D:prop><C:calendar-data/></D:prop></C:calendar-query>`
	for accept, want := range map[string]string{"gzip, deflate": "gzip", "gzip;q=0": "", "": "", "br, gzip;q=0.5": "gzip"} {
		w := request(h, password, "REPORT", "/dav/work/tasks/", query, "Accept-Encoding", accept)
		if w.Code != 207 || w.Header().Get("Content-Encoding") != want || w.Header().Get("Vary") != "Accept-Encoding" {
			t.Errorf("%q: %d %v", accept, w.Code, w.Header())
		}
	}
}

func TestRecurrence(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for rule, want := range map[string]string{
		"FREQ=DAILY;INTERVAL=2;COUNT=5":                     "count=5 interval=2 type=daily",
		"FREQ=WEEKLY;BYDAY=MO,WE;UNTIL=20270101T225959Z":    "days_of_week=[monday wednesday] type=weekly until=2027-01-01",
		"FREQ=WEEKLY;UNTIL=20270101T230000Z":                "type=weekly until=2027-01-02",
		"FREQ=WEEKLY;INTERVAL=2;WKST=SU;BYDAY=TU":           "days_of_week=[tuesday] first_day_of_week=sunday interval=2 type=weekly",
		"FREQ=WEEKLY;INTERVAL=2":                            "first_day_of_week=monday interval=2 type=weekly",
		"FREQ=DAILY;BYDAY=MO,TU,WE,TH,FR":                   "days_of_week=[monday tuesday wednesday thursday friday] type=weekly",
		"FREQ=MONTHLY;BYMONTHDAY=15":                        "day_of_month=15 type=absoluteMonthly",
		"FREQ=MONTHLY;BYDAY=2TU":                            "days_of_week=[tuesday] index=second type=relativeMonthly",
		"FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1":     "days_of_week=[monday tuesday wednesday thursday friday] index=last type=relativeMonthly",
		"FREQ=YEARLY;BYMONTH=3;BYMONTHDAY=1;UNTIL=20300101": "day_of_month=1 month=3 type=absoluteYearly until=2030-01-01",
		"FREQ=YEARLY;BYMONTH=11;BYDAY=4TH":                  "days_of_week=[thursday] index=fourth month=11 type=relativeYearly",
		"freq=yearly":                                       "type=absoluteYearly",
	} {
		r, err := newRecurrence(rule, berlin)
		if err != nil {
			t.Errorf("%s: %v", rule, err)
			continue
		}
		if err := r.Validate("recurrence"); err != nil {
			t.Errorf("%s: %v", rule, err)
		}
		var got []string
		for _, name := range []string{"count", "day_of_month", "days_of_week", "first_day_of_week", "index", "interval", "month", "type", "until"} {
			if v, ok := recurrenceFields(r)[name]; ok {
				got = append(got, name+"="+strings.TrimSpace(strings.ReplaceAll(toText(v), "  ", " ")))
			}
		}
		if diff := cmp.Diff(want, strings.Join(got, " ")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", rule, diff)
		}
	}
	for _, rule := range []string{
		"", "FREQ", "FREQ=HOURLY", "COUNT=3", "FREQ=DAILY;COUNT=0", "FREQ=DAILY;COUNT=2;UNTIL=20300101", "FREQ=MONTHLY;BYDAY=MO", "FREQ=MONTHLY;BYDAY=5MO",
		"FREQ=MONTHLY;BYDAY=1MO,2TU", "FREQ=MONTHLY;BYMONTHDAY=-1", "FREQ=WEEKLY;BYDAY=1MO", "FREQ=WEEKLY;BYDAY=XX", "FREQ=DAILY;BYHOUR=3", "FREQ=DAILY;INTERVAL=2;BYDAY=MO",
		"FREQ=WEEKLY;BYMONTH=3", "FREQ=WEEKLY;UNTIL=tomorrow",
	} {
		if r, err := newRecurrence(rule, berlin); err == nil || !strings.HasPrefix(err.Error(), "RRULE: ") {
			t.Errorf("%q: %+v, %v", rule, r, err)
		}
	}
}

func toText(v any) string {
	if all, ok := v.([]any); ok {
		var texts []string
		for _, one := range all {
			texts = append(texts, toText(one))
		}
		return "[" + strings.Join(texts, " ") + "]"
	}
	if n, ok := v.(float64); ok {
		return strconv.Itoa(int(n))
	}
	s, _ := v.(string)
	return s
}

func TestText(t *testing.T) {
	for in, want := range map[string]string{
		"a\r\nb\rc":          "a\nb\nc",
		"a \t\nb\u00a0":      "a\nb",
		"\x00a\x07\x1bb\x7f": "ab",
		"a\u2028b\x85":       "a b\uFFFD",
		"\xff":               "\uFFFD",
		"  \n\nGrüße 🎉\n\n ": "Grüße 🎉",
	} {
		if got := sanitizeText(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	if got := singleLine(" a\r\n  b\tc "); got != "a b c" {
		t.Errorf("line: %q", got)
	}
}

// Objects have what clients need, and only valid values.
func TestObjects(t *testing.T) {
	at := time.Date(2027, 3, 28, 7, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		event calendars.Event
		want  map[string]string
	}{
		{calendars.Event{ID: "1", Start: at, End: at.Add(time.Hour)}, map[string]string{
			"SUMMARY": "(no subject)", "DTSTART": "20270328T070000Z", "DTEND": "20270328T080000Z", "STATUS": "CONFIRMED", "CLASS": "PUBLIC", "TRANSP": "OPAQUE", "DTSTAMP": "20000101T000000Z",
		}},
		{calendars.Event{
			ID: "2", SeriesID: "S", Subject: "a;b,c\\d\ne", Location: "x\r\ny", Description: "1\r\n2", AllDay: true, Start: at.Truncate(oneDay), End: at.Truncate(oneDay).Add(oneDay),
			Sensitivity: "personal", ShowAs: "free", Response: "tentativelyAccepted", WebLink: "javascript:alert(1)", Categories: []string{"A", " ", "B,C"},
		}, map[string]string{
			"SUMMARY": `a\;b\,c\\d e`, "LOCATION": "x y", "DESCRIPTION": `1\n2`, "DTSTART;VALUE=DATE": "20270328", "DTEND;VALUE=DATE": "20270329", "STATUS": "TENTATIVE", "CLASS": "PRIVATE",
			"TRANSP": "TRANSPARENT", "X-GRAPH2MQTT-SERIES-ID": "S", "CATEGORIES": `A,B\,C`, "DTSTAMP": "20000101T000000Z",
		}},
		{calendars.Event{ID: "3", Subject: "x", Start: at, End: at, Cancelled: true, ShowAs: "tentative", Sensitivity: "confidential", WebLink: "https://outlook.example/1"}, map[string]string{
			"SUMMARY": "x", "DTSTART": "20270328T070000Z", "DTEND": "20270328T070000Z", "STATUS": "CANCELLED", "CLASS": "CONFIDENTIAL", "TRANSP": "OPAQUE", "URL": "https://outlook.example/1", "DTSTAMP": "20000101T000000Z",
		}},
	} {
		o := eventObject(&tt.event, nil)
		_, uid := identity(tt.event.ID)
		tt.want["UID"] = uid
		if diff := cmp.Diff(tt.want, linesOf(string(o.appendComponent(nil)))); diff != "" {
			t.Errorf("event %s (-want +got):\n%s", tt.event.ID, diff)
		}
		checkEncoding(t, o.appendCalendar(nil))
		in, err := newInput(o.appendCalendar(nil), "VEVENT", time.UTC)
		if err != nil {
			t.Fatal(err)
		}
		if changed, err := in.changes(o.fields, o.fields); err != nil || len(changed) > 0 {
			t.Errorf("event %s written back changes %v, %v", tt.event.ID, changed, err)
		}
	}
	task := tasks.Task{ID: "4", Status: "waitingOnOthers", Importance: "low", DueZoned: "2027-01-02", Created: at, Modified: at.Add(time.Second)}
	o := taskObject(&task, &alias{Name: "n.ics", UID: "u"}, time.UTC)
	want := map[string]string{
		"UID": "u", "SUMMARY": "(no title)", "STATUS": "NEEDS-ACTION", "PRIORITY": "9", "DUE;VALUE=DATE": "20270102", "CREATED": "20270328T070000Z", "LAST-MODIFIED": "20270328T070001Z", "DTSTAMP": "20270328T070001Z",
	}
	if diff := cmp.Diff(want, linesOf(string(o.appendComponent(nil)))); diff != "" || o.name != "n.ics" {
		t.Errorf("task (-want +got):\n%s", diff)
	}
	// A description that is cut must not replace the whole one.
	task.Description = strings.Repeat("x", maxDescription-1) + "…"
	o = taskObject(&task, nil, time.UTC)
	in := &input{kind: "VTODO", fields: *o.fields}
	in.fields.description += " and more"
	if _, err := in.changes(o.fields, o.fields); err == nil || !strings.Contains(err.Error(), "longer than the 1000 characters") {
		t.Errorf("a change of a cut description: %v", err)
	}
}

// linesOf returns the lines of a component without the first and the last one.
func linesOf(body string) map[string]string {
	all := map[string]string{}
	lines := strings.Split(strings.TrimSpace(body), "\r\n")
	for _, l := range lines[1 : len(lines)-1] {
		name, value, _ := strings.Cut(l, ":")
		all[name] = value
	}
	return all
}

// checkEncoding fails the test unless package ical encodes a calendar in the same way.
func checkEncoding(t *testing.T, encoded []byte) {
	t.Helper()
	calendar, err := decodeCalendar(encoded)
	if err != nil {
		t.Fatalf("%v: %q", err, encoded)
	}
	var want bytes.Buffer
	if err := ical.NewEncoder(&want).Encode(calendar); err != nil {
		t.Fatalf("%v: %q", err, encoded)
	}
	if diff := cmp.Diff(want.String(), string(encoded)); diff != "" {
		t.Errorf("the encoding (-package ical +got):\n%s", diff)
	}
}

// A text that needs no change is not copied, and one that needs a change is always changed.
func TestIsSanitized(t *testing.T) {
	parts := []string{"a", " ", "\n", "\r", "\t", "ä", "\u00a0", "\u2028", "\u0085", "\ufeff", "\ufffd", "\x00", "\xff", "日"}
	check := func(s string) {
		if want := normalize(s); isSanitized(s, false) && want != s {
			t.Errorf("%q: is not %q", s, want)
		}
		if want := strings.Join(strings.Fields(normalize(s)), " "); isSanitized(s, true) && want != s {
			t.Errorf("%q: is not the line %q", s, want)
		}
	}
	for _, a := range parts {
		for _, b := range parts {
			for _, c := range parts {
				check(a + b + c)
				check("x" + a + b + c + "y")
			}
		}
	}
	for s, want := range map[string][2]bool{"": {true, true}, "a b": {true, true}, "Grüße, 日本": {true, true}, "a\n\nb": {true, false}, "a  b": {true, false}, "a ": {}, "a \nb": {}, "a\r\nb": {}} {
		if got := [2]bool{isSanitized(s, false), isSanitized(s, true)}; got != want {
			t.Errorf("%q: %v, want %v", s, got, want)
		}
	}
}

// Time ranges of tasks follow the table of RFC 4791, section 9.9.
func TestTaskRanges(t *testing.T) {
	at := func(hour int) time.Time { return time.Date(2027, 1, 2, hour, 0, 0, 0, time.UTC) }
	for _, tt := range []struct {
		name     string
		o        taskTimes
		from, to time.Time
		want     bool
	}{
		{"no time", taskTimes{}, at(1), at(2), true},
		{"due at the end", taskTimes{due: at(2)}, at(1), at(2), true},
		{"due at the start", taskTimes{due: at(1)}, at(1), at(2), false},
		{"due later", taskTimes{due: at(3)}, at(1), at(2), false},
		{"due, open end", taskTimes{due: at(3)}, at(1), time.Time{}, true},
		{"completed at the start", taskTimes{completed: at(1)}, at(1), at(2), true},
		{"completed before", taskTimes{completed: at(0)}, at(1), at(2), false},
		{"created and completed around it", taskTimes{created: at(0), completed: at(3)}, at(1), at(2), true},
		{"created before", taskTimes{created: at(0)}, at(1), at(2), true},
		{"created at the end", taskTimes{created: at(2)}, at(1), at(2), false},
	} {
		if got := tt.o.within(tt.from, tt.to); got != tt.want {
			t.Errorf("%s: %t", tt.name, got)
		}
	}
}

// The log of changes forgets the oldest removals, and then old tokens are not valid any more.
func TestSyncLog(t *testing.T) {
	var l syncLog
	full := func(n int) *listing {
		var all []*object
		for i := range n {
			all = append(all, &object{name: strconv.Itoa(i), etag: "1"})
		}
		return newListing(all)
	}
	l.update(full(maxRemoved + 100))
	if got := len(l.since(0)); got != maxRemoved+100 || l.last != maxRemoved+100 {
		t.Fatalf("%d objects, number %d", got, l.last)
	}
	before := l.last
	l.update(full(10))
	if _, ok := l.number(tokenPrefix + l.epoch + ":" + strconv.FormatUint(before, 10)); ok {
		t.Error("a token is valid whose removals are forgotten")
	}
	if _, ok := l.number(tokenPrefix + l.epoch + ":" + strconv.FormatUint(l.last, 10)); !ok {
		t.Error("the newest token is not valid")
	}
	if got := slices.Sorted(maps.Keys(l.entries)); len(got) != 10 {
		t.Errorf("%d entries are left", len(got))
	}
}

// An onDemand calendar holds nothing and can be read.
type onDemand struct {
	held
	version any
	reads   int
	looks   int // at what it holds
	fails   error
}

func (d *onDemand) OnDemand() error { return nil }

func (d *onDemand) Version() (any, error) { return d.version, nil }

func (d *onDemand) Events() ([]calendars.Event, time.Time, time.Time, any, error) {
	d.looks++
	return nil, time.Now(), time.Now(), d.version, nil
}

func (d *onDemand) ReadEvents(_ context.Context, from, to time.Time) ([]calendars.Event, error) {
	d.reads++
	var some []calendars.Event
	for _, e := range d.events {
		if e.Within(time.UTC, from, to) {
			some = append(some, e)
		}
	}
	return some, d.fails
}

// What one client reads for a long span does not change what is in the calendar for others, and is read once a minute at most.
func TestSpans(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &onDemand{held: held{id: "calendar"}, version: 1}
		now := time.Now().UTC()
		for years := -3; years <= 3; years++ {
			at := now.AddDate(years, 0, 0)
			d.events = append(d.events, calendars.Event{ID: strconv.Itoa(years), Subject: strconv.Itoa(years), Start: at, End: at.Add(time.Hour)})
		}
		h, password := newHandler(t, d)
		const path = "/dav/work/calendar/"
		propfind := func() string {
			w := request(h, password, "PROPFIND", path, `<D:propfind xmlns:D="DAV:" xmlns:S="http://calendarserver.org/ns/"><D:prop><S:getctag/><D:sync-token/></D:prop></D:propfind>`, "Depth", "0")
			return strconv.Itoa(w.Code) + w.Body.String()
		}
		query := func(from, to string) int {
			w := request(h, password, "REPORT", path, `<C:calendar-query xmlns:C="urn:ietf:params:xml:ns:caldav" xmlns:D="DAV:"><D:prop><D:getetag/></D:prop><C:filter><C:comp-filter name="VCALENDAR"><C:comp-filter name="VEVENT"><C:time-range `+from+to+`/></C:comp-filter></C:comp-filter></C:filter></C:calendar-query>`)
			if w.Code != 207 {
				return -w.Code
			}
			return strings.Count(w.Body.String(), "<D:response>")
		}
		start := func(years int) string { return `start="` + now.AddDate(years, 0, -1).Format("20060102T150405Z") + `" ` }
		end := func(years int) string { return `end="` + now.AddDate(years, 0, 1).Format("20060102T150405Z") + `" ` }
		before := propfind()
		if d.reads != 1 {
			t.Errorf("%d reads at first", d.reads)
		}
		for _, tt := range []struct {
			from, to    string
			want, reads int
		}{
			{start(-4), end(4), 7, 2},
			{start(1), end(2), 2, 2}, // within the one before
			{start(-1), "", 2, 2},    // to 366 days from now, which is the length of this year
			{"", end(0), 1, 2},       // from 92 days ago
			{"", end(-2), 1, 2},      // a year
			{start(2), "", 1, 2},     // a year
			{start(-20), end(4), -403, 2},
		} {
			if got := query(tt.from, tt.to); got != tt.want || d.reads != tt.reads {
				t.Errorf("%s%s: %d events and %d reads, want %d and %d", tt.from, tt.to, got, d.reads, tt.want, tt.reads)
			}
		}
		if after := propfind(); after != before {
			t.Errorf("the calendar is another one:\n%s\n%s", before, after)
		}
		reads := d.reads
		time.Sleep(cacheTime)
		propfind()
		if d.reads != reads+1 {
			t.Errorf("%d reads after a minute", d.reads-reads)
		}
		d.version = 2 // the sensor sees a change
		propfind()
		if d.reads != reads+2 {
			t.Errorf("%d reads after a change", d.reads-reads)
		}
		d.version, d.fails = 3, errors.New("Microsoft is away")
		if got := propfind(); !strings.Contains(got, "503 Service Unavailable") || strings.Contains(got, "200 OK") {
			t.Errorf("while it cannot be read: %s", got)
		}
		if got := query(start(0), end(0)); got != -503 {
			t.Errorf("while it cannot be read: %d", got)
		}
	})
}

// A multiget reads events of nearly the same time together, and asks for nothing once more for each name.
func TestMultigetOfManyNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &onDemand{held: held{id: "calendar"}, version: 1}
		now := time.Now().UTC()
		for i := range 100 { // from 5 to 6 years from now
			at := now.AddDate(5, 0, 3*i)
			d.events = append(d.events, calendars.Event{ID: strconv.Itoa(i), Subject: "Meeting", Start: at, End: at.Add(time.Hour)})
		}
		h, password := newHandler(t, d)
		const path, spaces = "/dav/work/calendar/", ` xmlns:C="urn:ietf:params:xml:ns:caldav" xmlns:D="DAV:"`
		span := `<C:time-range start="` + now.AddDate(4, 0, 0).Format("20060102T150405Z") + `" end="` + now.AddDate(7, 0, 0).Format("20060102T150405Z") + `"/>`
		w := request(h, password, "REPORT", path, `<C:calendar-query`+spaces+`><D:prop><D:getetag/></D:prop><C:filter><C:comp-filter name="VCALENDAR"><C:comp-filter name="VEVENT">`+span+`</C:comp-filter></C:comp-filter></C:filter></C:calendar-query>`)
		if n := strings.Count(w.Body.String(), "<D:response>"); n != 100 {
			t.Fatalf("%d events: %d %s", n, w.Code, w.Body)
		}
		var names strings.Builder
		for i := range 100 {
			name, _ := identity(strconv.Itoa(i))
			names.WriteString("<D:href>" + path + name + "</D:href>")
		}
		for i := range 10_000 {
			names.WriteString("<D:href>" + path + "unknown" + strconv.Itoa(i) + ".ics</D:href>")
		}
		time.Sleep(cacheTime)
		reads, looks := d.reads, d.looks
		w = request(h, password, "REPORT", path, `<C:calendar-multiget`+spaces+`><D:prop><C:calendar-data/></D:prop>`+names.String()+`</C:calendar-multiget>`)
		if found, missing := strings.Count(w.Body.String(), "SUMMARY:Meeting"), strings.Count(w.Body.String(), "404 Not Found"); w.Code != 207 || found != 100 || missing != 10_000 {
			t.Errorf("%d with %d events, %d missing", w.Code, found, missing)
		}
		if d.reads-reads != 2 || d.looks-looks > 5 { // theirs, and the span that is served without a limit
			t.Errorf("%d reads from Microsoft, %d looks at the sensor", d.reads-reads, d.looks-looks)
		}
	})
}

// A request whose context is canceled, because the program ends or the listener does not wait any longer, is answered with an error: an
// empty answer would be a success.
func TestInterruptedRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, password := newHandler(t, &slowList{held{id: "tasks", isList: true}, 10 * time.Second})
		for method, address := range map[string]string{"REPORT": "/dav/work/tasks/", http.MethodGet: path.Join("/ics", password, "work", "tasks.ics")} {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancel)
			r := httptest.NewRequestWithContext(ctx, method, address, strings.NewReader(`<C:calendar-query xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><D:prop><D:getetag/></D:prop><C:filter><C:comp-filter name="VCALENDAR"><C:comp-filter name="VTODO"/></C:comp-filter></C:filter></C:calendar-query>`))
			r.SetBasicAuth("work", password)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != http.StatusServiceUnavailable || w.Body.String() != "the answer was interrupted; try again later\n" {
				t.Errorf("%s: %d %s", method, w.Code, w.Body)
			}
			time.Sleep(time.Minute) // reading goes on for others
		}
	})
}

// A change is answered before the listener closes the connection, however long Microsoft takes, and not begun if that is not certain.
func TestSlowChanges(t *testing.T) {
	const body = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\nBEGIN:VTODO\r\nUID:u\r\nDTSTAMP:20260101T000000Z\r\nSUMMARY:Milk\r\nEND:VTODO\r\nEND:VCALENDAR\r\n"
	for _, tt := range []struct {
		name      string
		turn      time.Duration // that another change takes before
		completed time.Duration // that reading completed tasks takes
		code      int
		want      string
		requests  int
	}{
		{"a slow change", 0, 0, 500, "not known yet", 1},
		{"a slow change after a slow one and a slow read", 20 * time.Second, 20 * time.Second, 500, "not known yet", 1},
		{"too late to begin", 25 * time.Second, 25 * time.Second, 503, "nothing was changed", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, password := newHandler(t, &slowList{held{id: "tasks", isList: true}, tt.completed})
				requests := 0
				h.o.Do = func(ctx context.Context, _ services.Inbound) services.Response {
					requests++
					<-ctx.Done()
					return services.Response{}.Fail(&services.Error{Code: services.InDoubt, Message: "it is not known yet"})
				}
				s, err := h.state("work", "tasks")
				if err != nil {
					t.Fatal(err)
				}
				done, err := s.take(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				time.AfterFunc(tt.turn, done)
				began := time.Now()
				w := request(h, password, "PUT", "/dav/work/tasks/u.ics", body)
				if took := time.Since(began); took > 70*time.Second {
					t.Errorf("answered after %s; the listener closes the connection after 75 s", took)
				}
				if w.Code != tt.code || !strings.Contains(w.Body.String(), tt.want) || requests != tt.requests {
					t.Errorf("%d %s after %d requests", w.Code, w.Body, requests)
				}
			})
		})
	}
}

// A slowList takes long to read completed tasks.
type slowList struct {
	held
	takes time.Duration
}

func (l *slowList) OnDemand() error { return nil }
func (l *slowList) ReadCompleted(ctx context.Context) ([]tasks.Task, error) {
	select {
	case <-time.After(l.takes):
		return nil, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// The right address of an iCalendar is accepted also while others behind the same proxy try wrong ones.
func TestFeedBesideWrongAddresses(t *testing.T) {
	h, password := newHandler(t, &held{id: "calendar"})
	get := func(password string) int {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", fmt.Sprintf("/ics/%s/work/calendar.ics", password), nil)) // always from the same address
		return w.Code
	}
	codes := map[int]int{}
	for range 30 {
		codes[get("wrong")]++
	}
	if codes[429] < 10 || codes[401] < 10 || codes[401]+codes[429] != 30 {
		t.Errorf("wrong addresses are answered %v", codes)
	}
	if code := get(password); code != 200 {
		t.Errorf("the right address is answered %d", code)
	}
}

// Behind a proxy that adds a path, all addresses have it.
func TestPrefix(t *testing.T) {
	h, password := newHandler(t, &held{id: "tasks", isList: true, tasks: []tasks.Task{{ID: "1", Subject: "Task"}}})
	h.o.Prefix = "/proxy/"
	name, _ := identity("1")
	for _, tt := range [][4]string{
		{"PROPFIND", "/.well-known/caldav", "", "/proxy/dav/"},
		{"PROPFIND", "/dav/work/", "", "<D:href>/proxy/dav/work/tasks/</D:href>"},
		{"PROPFIND", "/dav/work/tasks/", "", "<D:href>/proxy/dav/work/tasks/" + name + "</D:href>"},
		{"REPORT", "/dav/work/tasks/", `<C:calendar-multiget xmlns:C="urn:ietf:params:xml:ns:caldav" xmlns:D="DAV:"><D:prop><C:calendar-data/></D:prop><D:href>/proxy/dav/work/tasks/` + name + `</D:href></C:calendar-multiget>`, "SUMMARY:Task"},
		{"REPORT", "/dav/work/tasks/", `<C:calendar-multiget xmlns:C="urn:ietf:params:xml:ns:caldav" xmlns:D="DAV:"><D:prop><C:calendar-data/></D:prop><D:href>/dav/work/tasks/` + name + `</D:href></C:calendar-multiget>`, "404 Not Found"},
	} {
		w := request(h, password, tt[0], tt[1], tt[2], "Depth", "1")
		if got := w.Header().Get("Location") + w.Body.String(); !strings.Contains(got, tt[3]) {
			t.Errorf("%s %s: %s, want %s", tt[0], tt[1], got, tt[3])
		}
	}
}
