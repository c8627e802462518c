package simulator_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

// at returns a time on July 1, 2026, when Berlin is two hours ahead.
func at(hour, minute int) time.Time { return time.Date(2026, 7, 1, hour, minute, 0, 0, time.UTC) }

func window(from, to string, more ...string) string {
	return "?startDateTime=" + from + "&endDateTime=" + to + strings.Join(more, "")
}

const july = "2026-07-01T00:00:00Z"

func TestCalendars(t *testing.T) {
	v := newGraphClient(t, "Calendars.Read")
	got := v.want(200, "GET", "/me/calendars?$select=id,name,isDefaultCalendar", "")
	if want := []string{"Birthdays", "Calendar"}; !cmp.Equal(names(got, "name"), want) {
		t.Errorf("calendars: %v, want %v", got, want)
	}
	if got := v.want(200, "GET", "/me/calendar", ""); got["name"] != "Calendar" || got["isDefaultCalendar"] != true {
		t.Errorf("default calendar: %v", got)
	}
	if got := names(v.want(200, "GET", "/me/calendars?$filter=name+eq+'birthdays'", ""), "name"); !cmp.Equal(got, []string{"Birthdays"}) {
		t.Errorf("filtered: %v", got)
	}
	v.refused(400, "ErrorInvalidIdMalformed", "GET", "/me/calendars/Birthdays/calendarView"+window(july, july), "")
	v.refused(404, "ErrorItemNotFound", "GET", "/me/calendars/AAMkADoesNotExistAnywhere=/calendarView"+window(july, july), "")
}

func TestPaging(t *testing.T) {
	v := newGraphClient(t, "Calendars.Read")
	for i := range 25 {
		v.s.AddEvent(simulator.Adele, "", simulator.Event{Subject: fmt.Sprintf("%02d", i), Start: at(8, i), End: at(9, i)})
	}
	for query, pages := range map[string]int{"": 3, "&$top=7": 4, "&$top=1000": 1} {
		path, got := "/me/calendarView"+window(july, "2026-07-02T00:00:00Z", "&$select=subject&$filter=subject+ne+'none'", query), []string(nil)
		n := 0
		for path != "" {
			page := v.want(200, "GET", path, "", "Prefer", `IdType="ImmutableId"`)
			got = append(got, names(page, "subject")...)
			path, _ = page["@odata.nextLink"].(string)
			if path != "" && !strings.HasPrefix(path, v.s.GraphURL()+"/v1.0/me/calendarView?") {
				t.Fatalf("next page: %s", path)
			}
			n++
		}
		if n != pages || len(got) != 25 || got[24] != "24" {
			t.Errorf("%q: %d pages, want %d: %v", query, n, pages, got)
		}
	}
	resp, page := v.do("GET", "/me/calendarView"+window(july, "2026-07-02T00:00:00Z"), "", "Prefer", "odata.maxpagesize=20")
	if len(page["value"].([]any)) != 20 || resp.Header.Get("Preference-Applied") != "odata.maxpagesize=20" {
		t.Errorf("maxpagesize: %d events, %q", len(page["value"].([]any)), resp.Header.Get("Preference-Applied"))
	}
	v.refused(400, "ErrorInvalidUrlQueryFilter", "GET", "/me/calendarView"+window(july, july, "&$top=1001"), "")
}

func TestCalendarView(t *testing.T) {
	v := newGraphClient(t, "Calendars.Read")
	add := func(calendar, subject string, start, end time.Time, change ...func(*simulator.Event)) {
		e := simulator.Event{Subject: subject, Start: start, End: end}
		for _, f := range change {
			f(&e)
		}
		v.s.AddEvent(simulator.Adele, calendar, e)
	}
	add("", "late", at(15, 0), at(16, 0))
	add("", "it's early", at(9, 0), at(10, 0), func(e *simulator.Event) { e.Sensitivity = "private" })
	add("", "instant", at(12, 0), at(12, 0))
	add("Birthdays", "Ann", at(0, 0), at(0, 0).AddDate(0, 0, 1), func(e *simulator.Event) { e.AllDay = true })
	for query, want := range map[string][]string{
		window(july, "2026-07-02T00:00:00Z"):                                                             {"instant", "it's early", "late"},
		window("2026-07-01T10:00:00Z", "2026-07-01T15:00:00Z"):                                           {"instant"},
		window("2026-07-01T11:59:00%2B02:00", "2026-07-01T12:01:00%2B02:00"):                             {"it's early"},
		window("2026-07-01T12:00:00", "2026-07-01T12:30:00"):                                             {"instant"},
		window(july, "2026-07-02T00:00:00Z", "&$filter=contains(subject,'IT''S')"):                       {"it's early"},
		window(july, "2026-07-02T00:00:00Z", "&$filter=sensitivity+ne+'private'+and+isAllDay+eq+false"):  {"instant", "late"},
		window(july, "2026-07-02T00:00:00Z", "&$filter=not+(subject+eq+'late'+or+subject+eq+'instant')"): {"it's early"},
	} {
		if got := names(v.want(200, "GET", "/me/calendarView"+query, ""), "subject"); !cmp.Equal(got, want) {
			t.Errorf("%s: %v, want %v", query, got, want)
		}
	}
	birthdays := "/me/calendars/" + v.s.Calendars(simulator.Adele)[1].ID + "/calendarView"
	if got := names(v.want(200, "GET", birthdays+window("2026-07-01T12:00:00Z", "2026-07-01T13:00:00Z"), ""), "subject"); !cmp.Equal(got, []string{"Ann"}) {
		t.Errorf("second calendar: %v", got)
	}
	ordered := v.want(200, "GET", "/me/calendar/calendarView"+window(july, "2026-07-02T00:00:00Z", "&$orderby=start/dateTime+desc"), "")["value"].([]any)
	if got := ordered[0].(map[string]any)["subject"]; got != "late" {
		t.Errorf("first in descending order: %v", got)
	}
	for query, code := range map[string]string{
		"":                                      "ErrorInvalidParameter",
		"?startDateTime=2026-01-01":             "ErrorInvalidParameter",
		window("2027-01-01", july):              "ErrorInvalidParameter",
		window(july, july, "&$select=shoeSize"): "RequestBroker--ParseUri",
		window(july, july, "&$filter=subject+resembles+'x'"): "BadRequest",
		window(july, july, "&$filter=contains(subject,'x"):   "BadRequest",
		window(july, july, "&$search=x"):                     "BadRequest",
	} {
		v.refused(400, code, "GET", "/me/calendarView"+query, "")
	}
}

func TestPreferences(t *testing.T) {
	v := newGraphClient(t, "Calendars.Read")
	id := v.s.AddEvent(simulator.Adele, "", simulator.Event{Subject: "x", Start: at(9, 0), End: at(10, 0), Body: "<p>one</p><p>two</p>"})
	day := v.s.AddEvent(simulator.Adele, "", simulator.Event{Subject: "day", AllDay: true, Start: at(0, 0), End: at(0, 0).AddDate(0, 0, 1)})
	resp, e := v.do("GET", "/me/events/"+id, "", "Prefer", `outlook.timezone="W. Europe Standard Time"`, "Prefer", `outlook.body-content-type="text", IdType="ImmutableId"`)
	if want := any(map[string]any{"dateTime": "2026-07-01T11:00:00.0000000", "timeZone": "W. Europe Standard Time"}); !cmp.Equal(e["start"], want) {
		t.Errorf("start %v, want %v", e["start"], want)
	}
	if body := e["body"].(map[string]any); body["contentType"] != "text" || strings.Contains(body["content"].(string), "<") {
		t.Errorf("body: %v", body)
	}
	stable := e["id"].(string)
	if stable == id {
		t.Error("the immutable id is the other one")
	}
	if got := resp.Header.Values("Preference-Applied"); len(got) != 3 {
		t.Errorf("applied: %q", got)
	}
	if got := v.want(200, "GET", "/me/events/"+url.PathEscape(stable), ""); got["id"] != id || got["start"].(map[string]any)["timeZone"] != "UTC" {
		t.Errorf("by its immutable id: %v", got)
	}
	// The dates of an all-day event do not depend on the time zone.
	for _, zone := range []string{"UTC", "America/Los_Angeles", "Tokyo Standard Time"} {
		got := v.want(200, "GET", "/me/events/"+day, "", "Prefer", `outlook.timezone="`+zone+`"`)
		if want := any(map[string]any{"dateTime": "2026-07-01T00:00:00.0000000", "timeZone": zone}); !cmp.Equal(got["start"], want) {
			t.Errorf("all day in %s: %v", zone, got["start"])
		}
	}
	v.refused(400, "TimeZoneNotSupportedException", "GET", "/me/events/"+id, "", "Prefer", `outlook.timezone="Atlantis"`)

	v.token = v.s.Token(simulator.Adele, "Calendars.ReadBasic")
	if got := v.want(200, "GET", "/me/events/"+id, ""); got["body"] != nil || got["bodyPreview"] != nil || got["subject"] != "x" {
		t.Errorf("with Calendars.ReadBasic: %v", got)
	}
}

func event(subject, start, end, more string) string {
	return fmt.Sprintf(`{"subject":%q,"start":{"dateTime":%q,"timeZone":"W. Europe Standard Time"},"end":{"dateTime":%q,"timeZone":"W. Europe Standard Time"}%s}`, subject, start, end, more)
}

func TestCreateChangeRemove(t *testing.T) {
	v := newGraphClient(t, "Calendars.ReadWrite")
	body := event("Lunch", "2026-07-01T12:00:00", "2026-07-01T13:00:00", `,"body":{"contentType":"text","content":"a < b"},"location":{"displayName":"Bar"},
		"attendees":[{"emailAddress":{"address":"megan@contoso.example"},"type":"optional"}],"transactionId":"t1","isOnlineMeeting":true,"showAs":"OOF"`)
	e := v.want(201, "POST", "/me/events", body)
	id := e["id"].(string)
	if e["isOrganizer"] != true || e["showAs"] != "oof" || e["bodyPreview"] != "a < b" || e["onlineMeeting"].(map[string]any)["joinUrl"] == "" ||
		e["start"].(map[string]any)["dateTime"] != "2026-07-01T10:00:00.0000000" || e["originalStartTimeZone"] != "W. Europe Standard Time" {
		t.Errorf("created: %v", e)
	}

	// Repeating a request returns the same event; a different one with the same transactionId is refused.
	if again := v.want(201, "POST", "/me/events", body); again["id"] != id || len(v.s.Events(simulator.Adele, "")) != 1 {
		t.Errorf("repeated: %v, %d events", again["id"], len(v.s.Events(simulator.Adele, "")))
	}
	v.refused(409, "ErrorDuplicateTransactionId", "POST", "/me/events", event("Dinner", "2026-07-01T12:00:00", "2026-07-01T13:00:00", `,"transactionId":"t1"`))

	changed := v.want(200, "PATCH", "/me/events/"+id, `{"subject":"Brunch"}`, "If-Match", e["@odata.etag"].(string))
	if changed["subject"] != "Brunch" || changed["location"].(map[string]any)["displayName"] != "Bar" || changed["@odata.etag"] == e["@odata.etag"] {
		t.Errorf("changed: %v", changed)
	}
	v.refused(412, "ErrorIrresolvableConflict", "PATCH", "/me/events/"+id, `{"subject":"x"}`, "If-Match", e["@odata.etag"].(string))

	v.want(204, "DELETE", "/me/events/"+id, "")
	v.refused(404, "ErrorItemNotFound", "DELETE", "/me/events/"+id, "")
	v.refused(400, "ErrorInvalidIdMalformed", "GET", "/me/events/lunch", "")

	second := v.s.Calendars(simulator.Adele)[1]
	v.want(201, "POST", "/me/calendars/"+second.ID+"/events", event("Ann", "2026-07-01T00:00:00", "2026-07-02T00:00:00", `,"isAllDay":true`))
	if got := v.s.Events(simulator.Adele, "Birthdays"); len(got) != 1 || got[0]["subject"] != "Ann" {
		t.Errorf("in the second calendar: %v", got)
	}
}

func TestEventsRefused(t *testing.T) {
	v := newGraphClient(t, "Calendars.ReadWrite")
	for body, code := range map[string]string{
		`{"subject":"x"}`: "ErrorPropertyValidationFailure",
		event("x", "2026-07-01T12:00:00", "2026-07-01T11:00:00", ""):                                              "ErrorPropertyValidationFailure",
		event("x", "noon", "2026-07-01T11:00:00", ""):                                                             "ErrorPropertyValidationFailure",
		event("x", "2026-07-01T12:00:00", "2026-07-02T00:00:00", `,"isAllDay":true`):                              "ErrorInvalidRequest",
		event("x", "2026-07-01T00:00:00", "2026-07-01T00:00:00", `,"isAllDay":true`):                              "ErrorInvalidRequest",
		event("x", "2026-07-01T12:00:00", "2026-07-01T13:00:00", `,"showAs":"asleep"`):                            "BadRequest",
		event("x", "2026-07-01T12:00:00", "2026-07-01T13:00:00", `,"color":"red"`):                                "BadRequest",
		event("x", "2026-07-01T12:00:00", "2026-07-01T13:00:00", `,"attendees":[{"type":"required"}]`):            "ErrorInvalidRecipients",
		strings.ReplaceAll(event("x", "2026-07-01T12:00:00", "2026-07-01T13:00:00", ""), "W. Europe", "Atlantis"): "TimeZoneNotSupportedException",
	} {
		v.refused(400, code, "POST", "/me/events", body)
	}
	if got := v.s.Events(simulator.Adele, ""); len(got) != 0 {
		t.Errorf("refused, and yet there: %v", got)
	}
}

func TestResponses(t *testing.T) {
	v := newGraphClient(t, "Calendars.ReadWrite")
	invited := func() string {
		return v.s.AddEvent(simulator.Adele, "", simulator.Event{Subject: "invited", Start: at(9, 0), End: at(10, 0), Organizer: "megan@contoso.example"})
	}
	own := v.s.AddEvent(simulator.Adele, "", simulator.Event{Subject: "own", Start: at(9, 0), End: at(10, 0)})
	id := invited()
	v.want(202, "POST", "/me/events/"+id+"/tentativelyAccept", `{"Comment":"perhaps","SendResponse":true}`)
	if e := v.want(200, "GET", "/me/events/"+id, ""); e["responseStatus"].(map[string]any)["response"] != "tentativelyAccepted" || e["showAs"] != "tentative" {
		t.Errorf("tentatively accepted: %v", e)
	}
	v.want(202, "POST", "/me/events/"+id+"/accept", "")
	v.refused(400, "ErrorInvalidRequest", "POST", "/me/events/"+id+"/cancel", `{"comment":"no"}`)
	v.refused(400, "BadRequest", "POST", "/me/events/"+id+"/accept", `{"color":"red"}`)
	v.want(202, "POST", "/me/events/"+id+"/decline", `{"sendResponse":false}`)
	v.refused(404, "ErrorItemNotFound", "GET", "/me/events/"+id, "")

	v.refused(400, "ErrorInvalidRequest", "POST", "/me/events/"+own+"/accept", "")
	v.want(202, "POST", "/me/events/"+own+"/cancel", `{"comment":"no"}`)
	v.refused(404, "ErrorItemNotFound", "GET", "/me/events/"+own, "")
}

func TestControlledChange(t *testing.T) {
	v := newGraphClient(t, "Calendars.Read")
	id := v.s.AddEvent(simulator.Adele, "", simulator.Event{Subject: "x", Start: at(9, 0), End: at(10, 0), Properties: map[string]any{"showAs": "somethingNew"}})
	if e := v.want(200, "GET", "/me/events/"+id, ""); e["showAs"] != "somethingNew" {
		t.Errorf("an unknown member: %v", e["showAs"])
	}
	if err := v.s.ChangeEvent(simulator.Adele, id, map[string]any{"isCancelled": true, "end": map[string]any{"dateTime": "2026-07-01T09:30:00", "timeZone": "UTC"}}); err != nil {
		t.Fatal(err)
	}
	if e := v.want(200, "GET", "/me/events/"+id, ""); e["isCancelled"] != true || e["end"].(map[string]any)["dateTime"] != "2026-07-01T09:30:00.0000000" {
		t.Errorf("changed: %v", e)
	}
	if !v.s.RemoveEvent(simulator.Adele, id) || v.s.RemoveEvent(simulator.Adele, id) {
		t.Error("removed twice or never")
	}
}

func TestSeries(t *testing.T) {
	v := newGraphClient(t, "Calendars.ReadWrite")
	// Nine o'clock in Berlin, across the change to daylight saving time.
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	v.s.AddEvent(simulator.Adele, "", simulator.Event{
		Subject: "standup", Start: time.Date(2026, 3, 26, 9, 0, 0, 0, berlin), End: time.Date(2026, 3, 26, 9, 15, 0, 0, berlin),
		Recurrence: map[string]any{
			"pattern": map[string]any{"type": "weekly", "interval": 1, "daysOfWeek": []string{"monday", "thursday"}},
			"range":   map[string]any{"type": "numbered", "startDate": "2026-03-26", "numberOfOccurrences": 4},
		},
	})
	view := "/me/calendarView" + window("2026-03-01T00:00:00Z", "2026-05-01T00:00:00Z")
	starts := func() (out, ids []string) {
		for _, e := range v.want(200, "GET", view, "")["value"].([]any) {
			e := e.(map[string]any)
			out = append(out, e["start"].(map[string]any)["dateTime"].(string)[:16]+" "+e["type"].(string))
			ids = append(ids, e["id"].(string))
		}
		return out, ids
	}
	got, ids := starts()
	if want := []string{"2026-03-26T08:00 occurrence", "2026-03-30T07:00 occurrence", "2026-04-02T07:00 occurrence", "2026-04-06T07:00 occurrence"}; !cmp.Equal(got, want) {
		t.Fatalf("occurrences: %v, want %v", got, want)
	}
	v.want(200, "PATCH", "/me/events/"+ids[1], event("later", "2026-03-30T10:00:00", "2026-03-30T10:15:00", ""))
	v.want(204, "DELETE", "/me/events/"+ids[2], "")
	got, _ = starts()
	if want := []string{"2026-03-26T08:00 occurrence", "2026-03-30T08:00 exception", "2026-04-06T07:00 occurrence"}; !cmp.Equal(got, want) {
		t.Errorf("after changes: %v, want %v", got, want)
	}
	if got := v.want(200, "GET", "/me/events?$select=type,seriesMasterId", "")["value"].([]any); len(got) != 1 || got[0].(map[string]any)["type"] != "seriesMaster" {
		t.Errorf("listed: %v", got)
	}
}
