package bridge_test

import (
	"encoding/xml"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/bridge"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

// userAgents of the clients, as they send them.
const (
	oldHomeAssistant = "Mozilla/5.0"
	newHomeAssistant = "python-caldav/3.5.0a0"
	davx5            = "DAVx5/4.5.6-ose (dav4jvm; okhttp/5.1.0) Android/16"
	thunderbird      = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Thunderbird/140.5.0"
	apple            = "iOS/26.1 (23B85) dataaccessd/1.0"
)

// A calendarClient sends requests as one client does.
type calendarClient struct {
	*harness
	address, user, password, agent string
}

// An answer is an answer to a calendar client.
type answer struct {
	code   int
	header http.Header
	body   string
}

// startCalendars starts a bridge with CalDAV and one account, "work", and returns a client of it.
func startCalendars(t *testing.T, sensors ...string) *calendarClient {
	t.Helper()
	h := newHarness(t)
	h.http = "{listen: '127.0.0.1:0', calendars: true}"
	h.one("enable_update: true", sensors...)
	h.SignIn("work")
	password := h.renewPassword()
	h.Start()
	return &calendarClient{harness: h, address: h.web(1), user: "work", password: password, agent: newHomeAssistant}
}

// renewPassword replaces the calendar password of the account, as `graph2mqtt calendars` does.
func (h *harness) renewPassword() string {
	h.t.Helper()
	password, err := bridge.OpenCalendarPasswords(h.open(h.load()), slog.New(slog.DiscardHandler)).Renew("work")
	if err != nil {
		h.t.Fatal(err)
	}
	return password
}

// as returns a client with another name.
func (c *calendarClient) as(agent string) *calendarClient {
	other := *c
	other.agent = agent
	return &other
}

// do sends a request. headers are pairs.
func (c *calendarClient) do(method, path, depth, body string, headers ...string) answer {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), method, "http://"+c.address+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	if c.password != "" {
		r.SetBasicAuth(c.user, c.password)
	}
	r.Header.Set("User-Agent", c.agent)
	if depth != "" {
		r.Header.Set("Depth", depth)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: waitTimeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, string(content)}
}

// want sends a request and checks the code of the answer.
func (c *calendarClient) want(code int, method, path, depth, body string, headers ...string) answer {
	c.t.Helper()
	a := c.do(method, path, depth, body, headers...)
	if a.code != code {
		c.t.Fatalf("%s %s answers %d, want %d: %s", method, path, a.code, code, a.body)
	}
	return a
}

// A multistatus is an answer with properties.
type multistatus struct {
	Responses []struct {
		Href     string `xml:"href"`
		Status   string `xml:"status"`
		Propstat []struct {
			Status string `xml:"status"`
			Prop   struct {
				Any []struct {
					XMLName xml.Name
					Inner   string `xml:",innerxml"`
				} `xml:",any"`
			} `xml:"prop"`
		} `xml:"propstat"`
	} `xml:"response"`
	SyncToken string `xml:"sync-token"`
}

// found returns the properties that were found by the address, with the status of those that have none.
func (a answer) found(t *testing.T) (properties map[string]map[string]string, token string) {
	t.Helper()
	var m multistatus
	if err := xml.Unmarshal([]byte(a.body), &m); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
	properties = map[string]map[string]string{}
	for _, r := range m.Responses {
		props := map[string]string{}
		if r.Status != "" {
			props["status"] = r.Status
		}
		for _, p := range r.Propstat {
			for _, v := range p.Prop.Any {
				if strings.Contains(p.Status, " 200 ") {
					props[v.XMLName.Local] = unescape(v.Inner)
				} else {
					props[v.XMLName.Local] = p.Status
				}
			}
		}
		properties[r.Href] = props
	}
	return properties, m.SyncToken
}

func unescape(s string) string {
	return strings.NewReplacer("&lt;", "<", "&gt;", ">", "&#34;", `"`, "&#39;", "'", "&#xD;", "\r", "&#13;", "\r", "&#xA;", "\n", "&#9;", "\t", "&amp;", "&").Replace(s)
}

// line returns the value of the first property with this name in iCalendar.
func line(data, name string) string {
	found := regexp.MustCompile(`(?m)^` + name + `(;[^:\r\n]*)?:(.*?)\r?$`).FindStringSubmatch(data)
	if found == nil {
		return ""
	}
	return found[2]
}

// objects returns the objects of an answer, by a property of theirs.
func (a answer) objects(t *testing.T, by string) map[string]string {
	t.Helper()
	properties, _ := a.found(t)
	all := map[string]string{}
	for address, p := range properties {
		if data := p["calendar-data"]; data != "" {
			all[line(data, by)] = data + "X-ADDRESS:" + address + "\r\nX-ETAG:" + p["getetag"] + "\r\n"
		}
	}
	return all
}

const (
	allTasks = `<C:calendar-query xmlns:C="urn:ietf:params:xml:ns:caldav" xmlns:D="DAV:"><D:prop><D:getetag/><C:calendar-data/></D:prop><C:filter><C:comp-filter name="VCALENDAR"><C:comp-filter name="VTODO"/></C:comp-filter></C:filter></C:calendar-query>`
	// byUID asks for one task, as Home Assistant does before it changes it.
	byUID  = `<C:calendar-query xmlns:C="urn:ietf:params:xml:ns:caldav" xmlns:D="DAV:"><D:prop><D:getetag/><C:calendar-data/></D:prop><C:filter><C:comp-filter name="VCALENDAR"><C:comp-filter name="VTODO"><C:prop-filter name="UID"><C:text-match collation="i;octet">%s</C:text-match></C:prop-filter></C:comp-filter></C:comp-filter></C:filter></C:calendar-query>`
	inSpan = `<C:calendar-query xmlns:C="urn:ietf:params:xml:ns:caldav" xmlns:D="DAV:"><D:prop><D:getetag/><C:calendar-data><C:expand start="%[1]s" end="%[2]s"/></C:calendar-data></D:prop><C:filter><C:comp-filter name="VCALENDAR"><C:comp-filter name="VEVENT"><C:time-range start="%[1]s" end="%[2]s"/></C:comp-filter></C:comp-filter></C:filter></C:calendar-query>`
)

func utc(t time.Time) string { return t.UTC().Format("20060102T150405Z") }

// tasks returns the tasks of the list by title.
func (c *calendarClient) tasks(path string) map[string]string {
	c.t.Helper()
	return c.want(http.StatusMultiStatus, "REPORT", path, "1", allTasks).objects(c.t, "SUMMARY")
}

// feed returns the path of a calendar or a list as iCalendar.
func feed(password, sensor string) string {
	return fmt.Sprintf("/ics/%s/work/%s.ics", password, sensor)
}

// eventually waits until a condition holds.
func (c *calendarClient) eventually(what string, condition func() bool) {
	c.t.Helper()
	for deadline := time.Now().Add(waitTimeout); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			c.t.Fatalf("it does not happen: %s", what)
		}
	}
}

const todoList = "tasks: {type: todo, list: defaultList, enable_update: true, on_demand: true}"

// Home Assistant's sequence of requests, from the address that is typed on.
func TestCalendarsOfHomeAssistant(t *testing.T) {
	c := startCalendars(t, "calendar: {type: calendar, on_demand: true}", todoList)
	anonymous := *c
	anonymous.password = ""
	principal := `<D:propfind xmlns:D="DAV:"><D:prop><D:current-user-principal/></D:prop></D:propfind>`
	if got := anonymous.want(http.StatusUnauthorized, "PROPFIND", "/dav/", "0", principal).header.Get("WWW-Authenticate"); !strings.HasPrefix(got, "Basic ") {
		t.Errorf("WWW-Authenticate: %q", got)
	}
	for _, typed := range []string{"/", "/dav", "/dav/", "/dav/work", "/dav/work/", "/dav/work/tasks/"} {
		properties, _ := c.want(http.StatusMultiStatus, "PROPFIND", typed, "0", principal).found(t)
		want := map[string]map[string]string{typed: {"current-user-principal": `<D:href>/dav/work/</D:href>`}}
		if diff := cmp.Diff(want, properties); diff != "" {
			t.Errorf("%s (-want +got):\n%s", typed, diff)
		}
	}
	properties, _ := c.want(http.StatusMultiStatus, "PROPFIND", "/dav/work/", "0", `<D:propfind xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><D:prop><C:calendar-home-set/></D:prop></D:propfind>`).found(t)
	if got := properties["/dav/work/"]["calendar-home-set"]; got != `<D:href>/dav/work/</D:href>` {
		t.Errorf("home %q", got)
	}
	properties, _ = c.want(http.StatusMultiStatus, "PROPFIND", "/dav/work/", "1", `<D:propfind xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><D:prop><D:displayname/><D:resourcetype/><C:supported-calendar-component-set/></D:prop></D:propfind>`).found(t)
	want := map[string]map[string]string{
		"/dav/work/":          {"displayname": "work", "resourcetype": "<D:collection></D:collection><D:principal></D:principal>", "supported-calendar-component-set": "HTTP/1.1 404 Not Found"},
		"/dav/work/calendar/": {"displayname": "Work calendar", "resourcetype": "<D:collection></D:collection><C:calendar></C:calendar>", "supported-calendar-component-set": `<C:comp name="VEVENT"/>`},
		"/dav/work/tasks/":    {"displayname": "Work tasks", "resourcetype": "<D:collection></D:collection><C:calendar></C:calendar>", "supported-calendar-component-set": `<C:comp name="VTODO"/>`},
	}
	for _, p := range want {
		p["resourcetype"] = strings.NewReplacer("></D:collection>", "/>", "></D:principal>", "/>", "></C:calendar>", "/>").Replace(p["resourcetype"])
	}
	if diff := cmp.Diff(want, properties); diff != "" {
		t.Errorf("collections (-want +got):\n%s", diff)
	}

	day := time.Now().UTC().Truncate(24 * time.Hour)
	c.Microsoft.AddTask(simulator.Adele, "", simulator.Task{Title: "Milk, eggs; and \\ more", Body: "one\r\ntwo  \r\n\x01three", Due: day.AddDate(0, 0, 3), Importance: "high", Categories: []string{"Shop"}})
	c.Microsoft.AddTask(simulator.Adele, "", simulator.Task{Title: "Done", Status: "completed", Completed: day.AddDate(0, 0, -1).Format(time.DateOnly)})
	const list = "/dav/work/tasks/"
	c.eventually("the list is read", func() bool { return c.do("GET", list, "", "").code == http.StatusOK })
	c.Publish("graph2mqtt/work/request/refresh", "{}")
	c.eventually("both tasks are listed", func() bool { return len(c.tasks(list)) == 2 })
	all := c.tasks(list)
	milk := all[`Milk\, eggs\; and \\ more`]
	for name, want := range map[string]string{
		"DESCRIPTION": `one\ntwo\nthree`, "STATUS": "NEEDS-ACTION", "PRIORITY": "1", "CATEGORIES": "Shop", "DUE": day.AddDate(0, 0, 3).Format("20060102"),
	} {
		if got := line(milk, name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if got := line(all["Done"], "COMPLETED"); got != day.AddDate(0, 0, -1).Format("20060102T150405Z") {
		t.Errorf("completed %q", got)
	}

	// Home Assistant writes back what it had in its list, except what was changed. Meanwhile somebody else changes the due date.
	for _, ha := range []*calendarClient{c.as(oldHomeAssistant), c} {
		ha.tasks(list)
	}
	id := ""
	for _, task := range c.Microsoft.Tasks(simulator.Adele, "") {
		if strings.HasPrefix(task.Title, "Milk") {
			id = task.ID
		}
	}
	c.Publish("graph2mqtt/work/tasks/request/update", fmt.Sprintf(`{"todo_id": %q, "due": %q, "status": "inProgress"}`, id, day.AddDate(0, 0, 9).Format(time.DateOnly)))
	uid := line(milk, "UID")
	var fresh string
	c.eventually("the due date is changed", func() bool {
		found := c.want(http.StatusMultiStatus, "REPORT", list, "1", fmt.Sprintf(byUID, uid)).objects(t, "UID")
		fresh = found[uid]
		return len(found) == 1 && line(fresh, "DUE") == day.AddDate(0, 0, 9).Format("20060102")
	})
	data, _, _ := strings.Cut(fresh, "X-ADDRESS")
	stale := strings.NewReplacer(line(fresh, "SUMMARY"), "Oat milk", "DUE;VALUE=DATE:"+line(fresh, "DUE"), "DUE;VALUE=DATE:"+day.AddDate(0, 0, 3).Format("20060102"), "STATUS:IN-PROCESS", "STATUS:NEEDS-ACTION").Replace(data)
	c.want(http.StatusNoContent, "PUT", line(fresh, "X-ADDRESS"), "", stale, "If-Match", line(fresh, "X-ETAG"))
	check := func(want simulator.Task) {
		t.Helper()
		for _, task := range c.Microsoft.Tasks(simulator.Adele, "") {
			if task.ID == id {
				got := simulator.Task{Title: task.Title, Status: task.Status, Due: task.Due, Importance: task.Importance, Categories: task.Categories}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("at Microsoft (-want +got):\n%s", diff)
				}
			}
		}
	}
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	due := day.AddDate(0, 0, 9)
	due = time.Date(due.Year(), due.Month(), due.Day(), 0, 0, 0, 0, berlin)
	task := simulator.Task{Title: "Oat milk", Status: "inProgress", Due: due.UTC(), Importance: "high", Categories: []string{"Shop"}}
	check(task)

	c.want(http.StatusPreconditionFailed, "PUT", line(fresh, "X-ADDRESS"), "", stale, "If-Match", line(fresh, "X-ETAG"))
	if mqtt := c.Holds("graph2mqtt/work/tasks/attributes", func(p string) bool { return strings.Contains(p, "Oat milk") }); !strings.Contains(mqtt, "inProgress") {
		t.Errorf("over MQTT: %s", mqtt)
	}

	// Complete, reopen, remove the due date, remove.
	edit := func(change func(string) string) {
		t.Helper()
		for _, now := range c.tasks(list) {
			if line(now, "UID") == uid {
				data, _, _ := strings.Cut(now, "X-ADDRESS")
				c.want(http.StatusNoContent, "PUT", line(now, "X-ADDRESS"), "", change(data))
			}
		}
	}
	edit(func(s string) string { return strings.Replace(s, "STATUS:IN-PROCESS", "STATUS:COMPLETED", 1) })
	task.Status = "completed"
	check(task)
	if got := line(c.tasks(list)["Oat milk"], "STATUS"); got != "COMPLETED" {
		t.Errorf("after it was completed: %q", got)
	}
	edit(func(s string) string {
		s = regexp.MustCompile(`(?m)^(DUE|COMPLETED).*\r\n`).ReplaceAllString(s, "")
		return strings.Replace(s, "STATUS:COMPLETED", "STATUS:NEEDS-ACTION", 1)
	})
	task.Status, task.Due = "notStarted", time.Time{}
	check(task)
	c.want(http.StatusNoContent, "DELETE", line(fresh, "X-ADDRESS"), "", "")
	if got := slices.Sorted(maps.Keys(c.tasks(list))); !slices.Equal(got, []string{"Done"}) {
		t.Errorf("left: %v", got)
	}
	c.want(http.StatusNotFound, "DELETE", line(fresh, "X-ADDRESS"), "", "")

	// Add, twice the same.
	added := "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//x//x//EN\r\nBEGIN:VTODO\r\nUID:4b1f9b34-aaaa\r\nDTSTAMP:20261126T120000Z\r\nSUMMARY:Bread\r\nDUE:20301224T230000Z\r\nSTATUS:NEEDS-ACTION\r\nEND:VTODO\r\nEND:VCALENDAR\r\n"
	c.want(http.StatusCreated, "PUT", list+"4b1f9b34-aaaa.ics", "", added)
	c.want(http.StatusNoContent, "PUT", list+"4b1f9b34-aaaa.ics", "", strings.Replace(added, "T120000Z", "T120005Z", 1))
	bread := c.tasks(list)["Bread"]
	if got := line(bread, "X-ADDRESS") + " " + line(bread, "UID") + " " + line(bread, "DUE"); got != list+"4b1f9b34-aaaa.ics 4b1f9b34-aaaa 20301225" {
		t.Errorf("the new task is %s", got)
	}
	n := 0
	for _, task := range c.Microsoft.Tasks(simulator.Adele, "") {
		if task.Title == "Bread" {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d tasks were added", n)
	}
}

const berlinEvent = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//homeassistant.io//local_calendar 1.0//EN\r\nBEGIN:VEVENT\r\nDTSTAMP:20261126T120000Z\r\nUID:%s\r\nDTSTART%s\r\nDTEND%s\r\n%sSUMMARY:%s\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"

// events returns the events of the calendar from today on, by subject and start.
func (c *calendarClient) events(from, to time.Time) map[string]string {
	c.t.Helper()
	all := map[string]string{}
	properties, _ := c.want(http.StatusMultiStatus, "REPORT", "/dav/work/calendar/", "1", fmt.Sprintf(inSpan, utc(from), utc(to))).found(c.t)
	for address, p := range properties {
		all[line(p["calendar-data"], "SUMMARY")+" "+line(p["calendar-data"], "DTSTART")] = p["calendar-data"] + "X-ADDRESS:" + address + "\r\nX-ETAG:" + p["getetag"] + "\r\n"
	}
	return all
}

func TestEventsOfHomeAssistant(t *testing.T) {
	c := startCalendars(t, "calendar: {type: calendar, on_demand: true}")
	const calendar = "/dav/work/calendar/"
	from := time.Date(2031, 3, 1, 0, 0, 0, 0, time.UTC)
	to := from.AddDate(0, 2, 0)
	c.eventually("the calendar is read", func() bool { return c.do("GET", calendar, "", "").code == http.StatusOK })

	meeting := fmt.Sprintf(berlinEvent, "uid-1", ";TZID=Europe/Berlin:20310310T100000", ";TZID=Europe/Berlin:20310310T113000", "LOCATION:Room\\, 1\r\n", "Planning")
	c.want(http.StatusCreated, "PUT", calendar+"uid-1.ics", "", meeting)
	c.want(http.StatusNoContent, "PUT", calendar+"uid-1.ics", "", meeting)
	c.want(http.StatusCreated, "PUT", calendar+"uid-1.ics", "", meeting, "If-None-Match", "*")
	c.want(http.StatusPreconditionFailed, "PUT", calendar+"uid-1.ics", "", strings.Replace(meeting, "Planning", "Other", 1), "If-None-Match", "*")
	day := fmt.Sprintf(berlinEvent, "uid-2", ";VALUE=DATE:20310330", ";VALUE=DATE:20310401", "", "Holiday")
	c.want(http.StatusCreated, "PUT", calendar+"uid-2.ics", "", day)
	series := fmt.Sprintf(berlinEvent, "uid-3", ";TZID=Europe/Berlin:20310328T090000", ";TZID=Europe/Berlin:20310328T091500", "RRULE:FREQ=WEEKLY;COUNT=3\r\n", "Standup")
	c.want(http.StatusCreated, "PUT", calendar+"uid-3.ics", "", series)
	c.want(http.StatusNoContent, "PUT", calendar+"uid-3.ics", "", series)
	want := []string{"Holiday 20310330", "Planning 20310310T090000Z", "Standup 20310328T080000Z", "Standup 20310404T070000Z", "Standup 20310411T070000Z"}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(c.events(from, to)))); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if got := len(c.Microsoft.Events(simulator.Adele, "")); got != 3 {
		t.Errorf("%d events at Microsoft", got)
	}

	// Exact half-open ranges.
	for _, r := range []struct {
		from, to string
		want     []string
	}{
		{"20310310T090000Z", "20310310T090001Z", want[1:2]},
		{"20310310T102959Z", "20310310T110000Z", want[1:2]},
		{"20310310T103000Z", "20310310T110000Z", nil},
		{"20310310T080000Z", "20310310T090000Z", nil},
		{"20310329T225959Z", "20310329T230000Z", nil}, // the day begins at 23:00 UTC
		{"20310329T230000Z", "20310329T230001Z", want[:1]},
		{"20310331T215959Z", "20310331T220000Z", want[:1]}, // clocks were set forward
		{"20310331T220000Z", "20310331T220001Z", nil},
	} {
		start, _ := time.Parse("20060102T150405Z", r.from)
		end, _ := time.Parse("20060102T150405Z", r.to)
		if diff := cmp.Diff(r.want, slices.Sorted(maps.Keys(c.events(start, end)))); diff != "" {
			t.Errorf("%s to %s (-want +got):\n%s", r.from, r.to, diff)
		}
	}

	// A client that can change events does.
	planning := c.events(from, to)[want[1]]
	data, _, _ := strings.Cut(planning, "X-ADDRESS")
	moved := strings.NewReplacer("DTSTART:20310310T090000Z", "DTSTART:20310311T090000Z", "DTEND:20310310T103000Z", "DTEND:20310311T103000Z", `Room\, 1`, "Room 2").Replace(data)
	c.as(davx5).want(http.StatusNoContent, "PUT", line(planning, "X-ADDRESS"), "", moved, "If-Match", line(planning, "X-ETAG"))
	planning = c.events(from, to)["Planning 20310311T090000Z"]
	if got := line(planning, "LOCATION") + " " + line(planning, "UID"); got != "Room 2 uid-1" {
		t.Errorf("after the change: %s", got)
	}
	c.want(http.StatusPreconditionFailed, "DELETE", line(planning, "X-ADDRESS"), "", "", "If-Match", `"old"`)
	c.want(http.StatusNoContent, "DELETE", line(planning, "X-ADDRESS"), "", "")
	c.want(http.StatusNotFound, "GET", line(planning, "X-ADDRESS"), "", "")
	c.want(http.StatusCreated, "PUT", calendar+"uid-1.ics", "", meeting) // again, which is no repetition
	if got := len(c.events(from, to)); got != len(want) {
		t.Errorf("%d events, want %d", got, len(want))
	}
	for name, body := range map[string]string{
		"attendees":   strings.Replace(meeting, "SUMMARY", "ATTENDEE:mailto:ann@contoso.example\r\nSUMMARY", 1),
		"zone":        strings.Replace(meeting, "DTSTART;TZID=Europe/Berlin", "DTSTART;TZID=Nowhere/City", 1),
		"rule":        strings.Replace(meeting, "SUMMARY", "RRULE:FREQ=HOURLY\r\nSUMMARY", 1),
		"end":         strings.Replace(meeting, "DTEND;TZID=Europe/Berlin:20310310T113000", "DTEND;TZID=Europe/Berlin:20310310T083000", 1),
		"task":        strings.NewReplacer("VEVENT", "VTODO").Replace(meeting),
		"no calendar": "hello",
	} {
		if a := c.want(http.StatusConflict, "PUT", calendar+"bad.ics", "", body); !strings.HasPrefix(a.header.Get("Content-Type"), "text/plain") || len(a.body) < 10 {
			t.Errorf("%s: %s", name, a.body)
		}
	}
}

// DAVx5 discovers by the well-known address, compares CTags, lists ETags from 90 days ago on, and fetches what is new.
func TestCalendarsOfDAVx5(t *testing.T) {
	c := startCalendars(t, "calendar: {type: calendar, on_demand: true}", todoList, "read: {type: calendar, enable_update: false}").as(davx5)
	c.eventually("the calendar is read", func() bool { return c.do("GET", "/dav/work/calendar/", "", "").code == http.StatusOK })
	anonymous := *c
	anonymous.password = ""
	if got := anonymous.want(http.StatusFound, "PROPFIND", "/.well-known/caldav", "0", "").header.Get("Location"); got != "/dav/" {
		t.Errorf("the well-known address leads to %q", got)
	}
	if got := c.want(http.StatusOK, "OPTIONS", "/dav/work/", "", "").header; !strings.Contains(got.Get("DAV"), "calendar-access") || !strings.Contains(got.Get("Allow"), "REPORT") {
		t.Errorf("OPTIONS: %v", got)
	}
	properties, _ := c.want(http.StatusMultiStatus, "PROPFIND", "/dav/work/", "1", `<propfind xmlns="DAV:" xmlns:CAL="urn:ietf:params:xml:ns:caldav" xmlns:CS="http://calendarserver.org/ns/"><prop><resourcetype/><displayname/><owner/><current-user-privilege-set/><CAL:supported-calendar-component-set/><CAL:calendar-timezone-id/><CS:getctag/><sync-token/><supported-report-set/><CAL:unknown xmlns:CAL="urn:other"/></prop></propfind>`).found(t)
	for path, writable := range map[string]bool{"/dav/work/calendar/": true, "/dav/work/tasks/": true, "/dav/work/read/": false} {
		p := properties[path]
		for _, privilege := range []string{"<D:write-content/>", "<D:bind/>", "<D:unbind/>", "<D:write/>"} {
			if got := strings.Contains(p["current-user-privilege-set"], privilege); got != writable {
				t.Errorf("%s: %s %t", path, privilege, got)
			}
		}
		if !strings.Contains(p["current-user-privilege-set"], "<D:read/>") || p["calendar-timezone-id"] != "Europe/Berlin" || !strings.Contains(p["supported-report-set"], "D:sync-collection") || p["unknown"] != "HTTP/1.1 404 Not Found" {
			t.Errorf("%s: %v", path, p)
		}
	}

	const calendar = "/dav/work/calendar/"
	tag := func() string {
		t.Helper()
		properties, _ := c.want(http.StatusMultiStatus, "PROPFIND", calendar, "0", `<propfind xmlns="DAV:" xmlns:CS="http://calendarserver.org/ns/"><prop><CS:getctag/><sync-token/></prop></propfind>`).found(t)
		return properties[calendar]["getctag"]
	}
	before := tag()
	if again := tag(); again != before || before == "" {
		t.Errorf("the CTag changes from %q to %q", before, again)
	}
	start := time.Now().UTC().AddDate(0, 0, 30).Truncate(time.Hour)
	body := fmt.Sprintf(berlinEvent, "davx5-uid", ":"+utc(start), ":"+utc(start.Add(time.Hour)), "BEGIN:VALARM\r\nACTION:DISPLAY\r\nTRIGGER:-PT10M\r\nEND:VALARM\r\n", "Lunch")
	c.want(http.StatusCreated, "PUT", calendar+"davx5-uid.ics", "", body, "If-None-Match", "*")
	if after := tag(); after == before {
		t.Errorf("the CTag stays %q", after)
	}
	listing := fmt.Sprintf(`<CAL:calendar-query xmlns="DAV:" xmlns:CAL="urn:ietf:params:xml:ns:caldav"><prop><getetag/></prop><CAL:filter><CAL:comp-filter name="VCALENDAR"><CAL:comp-filter name="VEVENT"><CAL:time-range start="%s"/></CAL:comp-filter></CAL:comp-filter></CAL:filter></CAL:calendar-query>`, utc(time.Now().AddDate(0, 0, -90)))
	etags, _ := c.want(http.StatusMultiStatus, "REPORT", calendar, "1", listing).found(t)
	etag := etags[calendar+"davx5-uid.ics"]["getetag"]
	if len(etags) != 1 || etag == "" {
		t.Fatalf("the listing has %v", etags)
	}
	multiget := `<CAL:calendar-multiget xmlns="DAV:" xmlns:CAL="urn:ietf:params:xml:ns:caldav"><prop><getcontenttype/><getetag/><CAL:calendar-data/></prop><href>` + calendar + `davx5-uid.ics</href><href>` + calendar + `gone.ics</href><href>/dav/other/calendar/x.ics</href></CAL:calendar-multiget>`
	got, _ := c.want(http.StatusMultiStatus, "REPORT", calendar, "0", multiget).found(t)
	data := got[calendar+"davx5-uid.ics"]["calendar-data"]
	if line(data, "SUMMARY") != "Lunch" || line(data, "UID") != "davx5-uid" || got[calendar+"davx5-uid.ics"]["getetag"] != etag {
		t.Errorf("multiget: %v", got)
	}
	for _, missing := range []string{calendar + "gone.ics", "/dav/other/calendar/x.ics"} {
		if got[missing]["status"] != "HTTP/1.1 404 Not Found" {
			t.Errorf("%s: %v", missing, got[missing])
		}
	}
	c.want(http.StatusPreconditionFailed, "PUT", calendar+"davx5-uid.ics", "", data, "If-Match", `"other"`)
	c.want(http.StatusNoContent, "PUT", calendar+"davx5-uid.ics", "", strings.NewReplacer("SUMMARY:Lunch", "SUMMARY:Dinner", "TRANSP:OPAQUE", "TRANSP:TRANSPARENT", "CLASS:PUBLIC", "CLASS:PRIVATE").Replace(data), "If-Match", etag)
	event := c.Microsoft.Events(simulator.Adele, "")[0]
	if fmt.Sprintf("%v %v %v %v", event["subject"], event["showAs"], event["sensitivity"], event["reminderMinutesBeforeStart"]) != "Dinner free private 10" {
		t.Errorf("at Microsoft: %v", event)
	}
	c.want(http.StatusPreconditionFailed, "DELETE", calendar+"davx5-uid.ics", "", "", "If-Match", etag)
	etags, _ = c.want(http.StatusMultiStatus, "REPORT", calendar, "1", listing).found(t)
	c.want(http.StatusNoContent, "DELETE", calendar+"davx5-uid.ics", "", "", "If-Match", etags[calendar+"davx5-uid.ics"]["getetag"])
	if left := c.Microsoft.Events(simulator.Adele, ""); len(left) != 0 {
		t.Errorf("left: %v", left)
	}

	readOnly := c.want(http.StatusConflict, "PUT", "/dav/work/read/x.ics", "", body)
	if !strings.Contains(readOnly.body, "enable_update") {
		t.Errorf("a read-only calendar answers %q", readOnly.body)
	}
}

// Thunderbird and Apple's clients synchronize by tokens.
func TestCalendarSyncTokens(t *testing.T) {
	c := startCalendars(t, "calendar: {type: calendar}", todoList)
	const list = "/dav/work/tasks/"
	c.eventually("the list is read", func() bool { return c.do("GET", list, "", "").code == http.StatusOK })
	report := func(c *calendarClient, token, more string) answer {
		return c.do("REPORT", list, "", `<D:sync-collection xmlns:D="DAV:"><D:sync-token>`+token+`</D:sync-token><D:sync-level>1</D:sync-level>`+more+`<D:prop><D:getetag/></D:prop></D:sync-collection>`)
	}
	changes := func(token, more string) (map[string]map[string]string, string) {
		t.Helper()
		a := report(c, token, more)
		if a.code != http.StatusMultiStatus {
			t.Fatalf("sync-collection answers %d: %s", a.code, a.body)
		}
		return a.found(t)
	}
	task := "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//x//x//EN\r\nBEGIN:VTODO\r\nUID:%[1]s\r\nDTSTAMP:20261126T120000Z\r\nSUMMARY:Task %[1]s\r\nEND:VTODO\r\nEND:VCALENDAR\r\n"
	c = c.as(thunderbird)
	found, empty := changes("", "")
	if len(found) != 0 || !strings.HasPrefix(empty, "urn:") {
		t.Fatalf("at first: %v %q", found, empty)
	}
	for _, uid := range []string{"a", "b", "c"} {
		c.want(http.StatusCreated, "PUT", list+uid+".ics", "", fmt.Sprintf(task, uid))
	}
	found, full := changes(empty, "")
	if got := slices.Sorted(maps.Keys(found)); !slices.Equal(got, []string{list + "a.ics", list + "b.ics", list + "c.ics"}) {
		t.Errorf("added: %v", got)
	}
	if found, token := changes(full, ""); len(found) != 0 || token != full {
		t.Errorf("without a change: %v %q", found, token)
	}
	c.want(http.StatusNoContent, "DELETE", list+"a.ics", "", "")
	c.want(http.StatusNoContent, "PUT", list+"b.ics", "", strings.Replace(fmt.Sprintf(task, "b"), "Task b", "Changed", 1))
	found, last := changes(full, "")
	if len(found) != 2 || found[list+"a.ics"]["status"] != "HTTP/1.1 404 Not Found" || found[list+"b.ics"]["getetag"] == "" {
		t.Errorf("changed: %v", found)
	}
	if found, _ := changes("", ""); len(found) != 2 {
		t.Errorf("a client that begins gets %v", found)
	}
	found, part := changes("", `<D:limit><D:nresults>1</D:nresults></D:limit>`)
	if len(found) != 2 || found[list]["status"] != "HTTP/1.1 507 Insufficient Storage" || part == last {
		t.Errorf("one at a time: %v", found)
	}
	if found, token := changes(part, ""); len(found) != 1+1 && token != last { // the other one, and the removed one if it came later
		t.Errorf("the rest: %v", found)
	}
	for _, wrong := range []string{"urn:graph2mqtt:sync:other:1", "data:,1", full + "0000"} {
		if a := report(c, wrong, ""); a.code != http.StatusForbidden || !strings.Contains(a.body, "valid-sync-token") {
			t.Errorf("the token %q answers %d: %s", wrong, a.code, a.body)
		}
	}

	// A token of an earlier run means nothing.
	c.Stop()
	c.Start()
	c.address = c.web(2)
	c.eventually("the list is read again", func() bool { return c.do("GET", list, "", "").code == http.StatusOK })
	if a := report(c, last, ""); a.code != http.StatusForbidden {
		t.Errorf("a token of an earlier run answers %d", a.code)
	}
	// What a client created is where it put it.
	if got := line(c.want(http.StatusOK, "GET", list+"b.ics", "", "").body, "UID"); got != "b" {
		t.Errorf("after a restart the UID is %q", got)
	}
	if got := c.as(apple).do("PROPPATCH", list, "", `<A:propertyupdate xmlns:A="DAV:"><A:set><A:prop><B:calendar-color xmlns:B="http://apple.com/ns/ical/">#FF0000FF</B:calendar-color></A:prop></A:set></A:propertyupdate>`); got.code != http.StatusMultiStatus || !strings.Contains(got.body, "403 Forbidden") {
		t.Errorf("PROPPATCH answers %d: %s", got.code, got.body)
	}
	properties, _ := c.as(apple).want(http.StatusMultiStatus, "PROPFIND", "/dav/work/", "0", `<A:propfind xmlns:A="DAV:"><A:prop><B:calendar-home-set xmlns:B="urn:ietf:params:xml:ns:caldav"/><B:calendar-user-address-set xmlns:B="urn:ietf:params:xml:ns:caldav"/><A:principal-URL/><A:supported-report-set/></A:prop></A:propfind>`).found(t)
	if got := properties["/dav/work/"]["calendar-user-address-set"]; !strings.Contains(got, "mailto:"+simulator.Adele) {
		t.Errorf("calendar-user-address-set %q", got)
	}
}

// An empty list would delete everything at the client: what is not known is an error.
func TestCalendarsThatAreNotKnown(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.http = "{listen: '127.0.0.1:0', calendars: true}"
	h.one("", "calendar: {type: calendar}", "tasks: {type: todo, list: defaultList}", "lists: {type: todo}")
	password := h.renewPassword()
	h.Start()
	c := &calendarClient{harness: h, address: h.web(1), user: "work", password: password, agent: newHomeAssistant}
	query := fmt.Sprintf(inSpan, utc(time.Now()), utc(time.Now().Add(time.Hour)))
	for _, r := range [][4]string{
		{"PROPFIND", "/dav/work/", "1", ""}, {"REPORT", "/dav/work/calendar/", "1", query}, {"REPORT", "/dav/work/tasks/", "1", allTasks}, {"GET", feed(password, "calendar"), "", ""},
	} {
		a := c.want(http.StatusServiceUnavailable, r[0], r[1], r[2], r[3])
		if want := "account work is not signed in; run: graph2mqtt login work\n"; a.body != want {
			t.Errorf("%s %s: %q", r[0], r[1], a.body)
		}
	}
	h.SignIn("work")
	c.eventually("the lists are known", func() bool { return c.do("PROPFIND", "/dav/work/", "1", "").code == http.StatusMultiStatus })
	c.eventually("the calendar is known", func() bool { return c.do("REPORT", "/dav/work/calendar/", "1", query).code == http.StatusMultiStatus })
	later := fmt.Sprintf(inSpan, utc(time.Now().AddDate(0, 1, 0)), utc(time.Now().AddDate(0, 2, 0)))
	if a := c.want(http.StatusServiceUnavailable, "REPORT", "/dav/work/calendar/", "1", later); !strings.Contains(a.body, "on_demand") {
		t.Errorf("another time without on_demand: %q", a.body)
	}
	c.want(http.StatusNotFound, "REPORT", "/dav/work/other/", "1", query)
	c.want(http.StatusForbidden, "PROPFIND", "/dav/home/", "1", "")

	// A new password replaces the old one in the running bridge.
	renewed := *c
	renewed.password = h.renewPassword()
	c.eventually("the old password is refused", func() bool { return c.do("PROPFIND", "/dav/", "0", "").code == http.StatusUnauthorized })
	renewed.want(http.StatusMultiStatus, "PROPFIND", "/dav/", "0", "")
	c = &renewed
	secret := c.password
	c.password = "" // it is in the address
	if body := c.want(http.StatusOK, "GET", feed(secret, "tasks"), "", "").body; !strings.HasPrefix(body, "BEGIN:VCALENDAR") {
		t.Errorf("iCalendar: %s", body)
	}
	c.want(http.StatusMethodNotAllowed, "PUT", feed(secret, "tasks"), "", "")
	c.want(http.StatusUnauthorized, "GET", feed("wrong", "tasks"), "", "")
	c.eventually("wrong passwords are slowed down", func() bool { return c.do("GET", feed("wrong", "tasks"), "", "").code == http.StatusTooManyRequests })
	c.want(http.StatusOK, "GET", feed(secret, "tasks"), "", "") // of others behind the same proxy
	wrong := *c
	wrong.password = "wrong"
	c.eventually("wrong passwords of CalDAV are slowed down", func() bool { return wrong.do("PROPFIND", "/dav/", "0", "").code == http.StatusTooManyRequests })
	c.password = secret
	c.want(http.StatusMultiStatus, "PROPFIND", "/dav/", "0", "")
	if log := h.Log.String(); strings.Contains(log, secret) || strings.Contains(log, password) {
		t.Error("a password is in the log")
	}
}

// Tasks of Planner can be completed and reopened, and nothing else. The reason of a refusal is in the answer.
func TestCalendarsOfPlanner(t *testing.T) {
	h := newHarness(t)
	plan := h.Microsoft.AddPlan(simulator.PlannerPlan{Title: "Move"})
	task := h.Microsoft.AddPlannerTask(simulator.PlannerTask{Plan: plan.ID, Title: "Pack", Assigned: []string{simulator.Adele}, Percent: 50})
	h.http = "{listen: '127.0.0.1:0', calendars: true}"
	h.one("", "planner: {type: planner, enable_update: true, show_completed: true}")
	h.SignIn("work")
	password := h.renewPassword()
	h.Start()
	c := &calendarClient{harness: h, address: h.web(1), user: "work", password: password, agent: newHomeAssistant}
	const list = "/dav/work/planner/"
	c.eventually("the tasks are read", func() bool { return c.do("GET", list, "", "").code == http.StatusOK })
	percent := func() int {
		t.Helper()
		for _, other := range h.Microsoft.PlannerTasks(simulator.Adele) {
			if other.ID == task.ID {
				return other.Percent
			}
		}
		return -1
	}
	edit := func(code int, from, to string) string {
		t.Helper()
		now := c.tasks(list)["Pack"]
		data, _, _ := strings.Cut(now, "X-ADDRESS")
		return c.want(code, "PUT", line(now, "X-ADDRESS"), "", strings.Replace(data, from, to, 1)).body
	}
	if got := line(c.tasks(list)["Pack"], "STATUS"); got != "IN-PROCESS" {
		t.Errorf("at first %q", got)
	}
	edit(http.StatusNoContent, "STATUS:IN-PROCESS", "STATUS:NEEDS-ACTION")
	if got := percent(); got != 50 {
		t.Errorf("%d %% without a change", got)
	}
	edit(http.StatusNoContent, "STATUS:IN-PROCESS", "STATUS:COMPLETED")
	if got := percent(); got != 100 {
		t.Errorf("%d %% after it was completed", got)
	}
	edit(http.StatusNoContent, "STATUS:COMPLETED", "STATUS:NEEDS-ACTION")
	if got := percent(); got != 0 {
		t.Errorf("%d %% after it was reopened", got)
	}
	for _, body := range []string{
		edit(http.StatusConflict, "SUMMARY:Pack", "SUMMARY:Unpack"),
		c.want(http.StatusConflict, "DELETE", line(c.tasks(list)["Pack"], "X-ADDRESS"), "", "").body,
		c.want(http.StatusConflict, "PUT", list+"new.ics", "", "BEGIN:VCALENDAR\r\nBEGIN:VTODO\r\nUID:1\r\nSUMMARY:x\r\nEND:VTODO\r\nEND:VCALENDAR\r\n").body,
	} {
		if !strings.HasPrefix(body, "tasks of Planner can be completed and reopened from here, but not ") {
			t.Errorf("refused with %q", body)
		}
	}
}

// Several clients that create the same event at the same time, or again after a restart, make one. A request that failed is tried again.
func TestEventsAreCreatedOnce(t *testing.T) {
	c := startCalendars(t, "calendar: {type: calendar, on_demand: true}")
	const calendar = "/dav/work/calendar/"
	c.eventually("the calendar is read", func() bool { return c.do("GET", calendar, "", "").code == http.StatusOK })
	start := time.Now().UTC().AddDate(0, 0, 3).Truncate(time.Hour)
	body := fmt.Sprintf(berlinEvent, "once", ":"+utc(start), ":"+utc(start.Add(time.Hour)), "", "Once")
	var requests sync.WaitGroup
	codes := make(chan int, 4)
	for range cap(codes) {
		requests.Go(func() { codes <- c.do("PUT", calendar+"once.ics", "", body).code })
	}
	requests.Wait()
	close(codes)
	for code := range codes {
		if code != http.StatusCreated && code != http.StatusNoContent {
			t.Errorf("a PUT answers %d", code)
		}
	}
	c.Stop()
	c.Start()
	c.address = c.web(2)
	c.eventually("the calendar is read again", func() bool { return c.do("GET", calendar, "", "").code == http.StatusOK })
	c.want(http.StatusNoContent, "PUT", calendar+"once.ics", "", body)
	if got := len(c.Microsoft.Events(simulator.Adele, "")); got != 1 {
		t.Errorf("%d events", got)
	}
	if got := c.events(start, start.Add(time.Hour)); len(got) != 1 {
		t.Errorf("events: %v", got)
	}

	failing := strings.NewReplacer("UID:once", "UID:fails", "SUMMARY:Once", "SUMMARY:Fails").Replace(body)
	c.Microsoft.Fail(simulator.Fault{Method: http.MethodPost, Path: "/v1.0/me/events", Status: http.StatusForbidden})
	if a := c.do("PUT", calendar+"fails.ics", "", failing); a.code < 400 {
		t.Fatalf("Graph's refusal is answered with %d", a.code)
	}
	c.want(http.StatusCreated, "PUT", calendar+"fails.ics", "", failing)
	if got := len(c.Microsoft.Events(simulator.Adele, "")); got != 2 {
		t.Errorf("%d events after one that failed", got)
	}

	// What the sensor holds is served while Microsoft is away, other times are not known.
	c.Microsoft.Fail(simulator.Fault{Path: "/v1.0/", Status: http.StatusServiceUnavailable, Times: -1})
	now := time.Now().UTC()
	c.want(http.StatusMultiStatus, "REPORT", calendar, "1", fmt.Sprintf(inSpan, utc(now), utc(now.Add(time.Hour))))
	if a := c.want(http.StatusServiceUnavailable, "REPORT", calendar, "1", fmt.Sprintf(inSpan, utc(now.AddDate(1, 0, 0)), utc(now.AddDate(1, 0, 7)))); !strings.Contains(a.body, "read the calendar") {
		t.Errorf("while Microsoft is away: %q", a.body)
	}
}
