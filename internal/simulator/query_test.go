package simulator_test

import (
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

func newQueries(t *testing.T) graphClient {
	t.Helper()
	v := newGraphClient(t, "Calendars.ReadWrite")
	v.s.AddEvent(simulator.Adele, "", simulator.Event{Subject: "one", Start: at(9, 0), End: at(10, 0), Categories: []string{"Red", "Blue"}, ShowAs: "oof", Location: "Bar"})
	v.s.AddEvent(simulator.Adele, "", simulator.Event{Subject: "two", Start: at(11, 0), End: at(12, 0), Attendees: []simulator.Attendee{{Address: "megan@contoso.example"}}})
	v.s.AddEvent(simulator.Adele, "Birthdays", simulator.Event{Subject: "elsewhere", Start: at(11, 0), End: at(12, 0)})
	return v
}

func TestFilter(t *testing.T) {
	v := newQueries(t)
	for filter, want := range map[string][]string{
		"Subject eq 'ONE'":                                                   {"one"},
		"start/DateTime ge '2026-07-01T10:00:00'":                            {"two"},
		"subject in ('one', 'three')":                                        {"one"},
		"categories/any(c:c eq 'Blue')":                                      {"one"},
		"categories/any(c: c eq 'Green' or c eq 'Red')":                      {"one"},
		"categories/all(c:c ne 'Red')":                                       {"two"},
		"not categories/any()":                                               {"two"},
		"attendees/any(a:a/emailAddress/address eq 'megan@contoso.example')": {"two"},
		"showAs eq 'OOF'":                                                    {"one"},
		"showAs in ('oof','free') AND isAllDay EQ false":                     {"one"},
		"startsWith(toLower(subject),'o')":                                   {"one"},
		"length(subject) eq 3 and indexof(subject,'w') eq 1":                 {"two"},
		"contains(location/displayName,'BAR')":                               {"one"},
		"createdDateTime gt 2020-01-01T00:00:00Z":                            {"one", "two"},
		"createdDateTime lt 2020-01-01":                                      nil,
		"recurrence eq null and transactionId ne 'x'":                        {"one", "two"},
		"reminderMinutesBeforeStart le 15.0":                                 {"one", "two"},
	} {
		if got := names(v.want(200, "GET", "/me/events?$filter="+url.QueryEscape(filter), ""), "subject"); !cmp.Equal(got, want) {
			t.Errorf("%s: %v, want %v", filter, got, want)
		}
	}
	for filter, code := range map[string]string{
		"subjekt eq 'x'":                         "RequestBroker--ParseUri",
		"start/time eq 'x'":                      "RequestBroker--ParseUri",
		"subject/length eq 1":                    "RequestBroker--ParseUri",
		"categories/any(c:d eq 'x')":             "RequestBroker--ParseUri",
		`subject eq "double quotes"`:             "BadRequest",
		"start/dateTime ge 2026-07-01T10:00:00Z": "BadRequest", // Edm.String against Edm.DateTimeOffset
		"start/dateTime ge 2026-07-01":           "BadRequest",
		"createdDateTime ge '2026-07-01'":        "BadRequest",
		"subject eq 1":                           "BadRequest",
		"isAllDay eq 'false'":                    "BadRequest",
		"showAs eq 'asleep'":                     "BadRequest",
		"categories eq 'Red'":                    "BadRequest",
		"start eq '2026-07-01'":                  "BadRequest",
		"subject":                                "BadRequest",
		"subject eq 'x' or":                      "BadRequest",
		"subject eq 'x')":                        "BadRequest",
		"subject like 'x'":                       "BadRequest",
		"soundex(subject) eq 'x'":                "BadRequest",
		"subject/any(c:c eq 'x')":                "BadRequest",
		"contains(subject,1)":                    "BadRequest",
		"":                                       "BadRequest",
	} {
		v.refused(400, code, "GET", "/me/events?$filter="+url.QueryEscape(filter), "")
	}
	for _, filter := range []string{"year(createdDateTime) eq 2026", "reminderMinutesBeforeStart add 1 eq 2"} {
		v.refused(501, "NotSimulated", "GET", "/me/events?$filter="+url.QueryEscape(filter), "")
	}
}

func TestOrderSelectCount(t *testing.T) {
	v := newQueries(t)
	first := func(query string) any {
		t.Helper()
		return v.want(200, "GET", "/me/events?"+query, "")["value"].([]any)[0].(map[string]any)["subject"]
	}
	for query, want := range map[string]string{
		"$orderby=Start/DateTime+DESC": "two", "$orderby=subject": "one", "$orderby=showAs,subject+desc": "two", "$orderby=recurrence/pattern/interval,subject+Desc": "two",
	} {
		if got := first(query); got != want {
			t.Errorf("%s: first %v, want %s", query, got, want)
		}
	}
	page := v.want(200, "GET", "/me/events?$select=Subject,SHOWAS&$count=TRUE&$top=1", "")
	if e := page["value"].([]any)[0].(map[string]any); page["@odata.count"] != 2.0 || e["subject"] != "one" || e["showAs"] != "oof" || e["start"] != nil {
		t.Errorf("page: %v", page)
	}
	if _, ok := v.want(200, "GET", "/me/events?$count=false", "")["@odata.count"]; ok {
		t.Error("counted without being asked to")
	}
	for query, code := range map[string]string{
		"$orderby=subjekt": "RequestBroker--ParseUri", "$orderby=start/zone": "RequestBroker--ParseUri", "$orderby=start": "BadRequest", "$orderby=categories": "BadRequest",
		"$orderby=subject+up": "BadRequest", "$count=yes": "BadRequest", "$count=1": "BadRequest", "$top=1&$TOP=2": "BadRequest", "$select=subjekt": "RequestBroker--ParseUri",
		"$expand=attachment": "RequestBroker--ParseUri",
	} {
		v.refused(400, code, "GET", "/me/events?"+query, "")
	}
	v.refused(400, "RequestBroker--ParseUri", "GET", "/me/calendars?$filter=nosuch+eq+'x'", "")
}

func TestCalendarViewLimit(t *testing.T) {
	v := newQueries(t)
	from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	view := func(days int) string {
		return window(from.Format(time.RFC3339), from.AddDate(0, 0, days).Format(time.RFC3339))
	}
	for _, path := range []string{"/me/calendarView", "/me/calendarView/delta"} {
		v.want(200, "GET", path+view(1825), "")
		v.refused(400, "ErrorInvalidRequest", "GET", path+view(1826), "")
	}
}

// Without a calendar in the path, /events are those of the default calendar. A single event may be in any.
func TestDefaultCalendar(t *testing.T) {
	v := newQueries(t)
	for _, path := range []string{"/me/events", "/me/calendar/events", "/users/" + simulator.Adele + "/events"} {
		if got := names(v.want(200, "GET", path, ""), "subject"); !cmp.Equal(got, []string{"one", "two"}) {
			t.Errorf("%s: %v", path, got)
		}
	}
	id := v.s.Events(simulator.Adele, "Birthdays")[0]["id"].(string)
	v.want(200, "GET", "/me/events/"+id, "")
}

// A key may be in parentheses, a path may end with a slash, and the Location of a new event can be followed.
func TestPaths(t *testing.T) {
	v := newQueries(t)
	resp, created := v.do("POST", "/me/events/", lunch(""))
	location := resp.Header.Get("Location")
	if location == "" || resp.StatusCode != 201 {
		t.Fatalf("%s, Location %q", resp.Status, location)
	}
	id := created["id"].(string)
	for _, path := range []string{
		location, "/users('" + simulator.Adele + "')/events('" + url.PathEscape(id) + "')", "/me/events('" + url.PathEscape(id) + "')/", "/ME/Events/" + url.PathEscape(id) + "/", "//me//events/" + url.PathEscape(id),
	} {
		if got := v.want(200, "GET", path, "")["id"]; got != id {
			t.Errorf("%s: %v", path, got)
		}
	}
	calendar := v.s.Calendars(simulator.Adele)[0].ID
	if got := v.want(200, "GET", "/me/calendars('"+calendar+"')/events?$filter=subject+eq+'Lunch'", ""); len(got["value"].([]any)) != 1 {
		t.Errorf("listed: %v", got)
	}
	v.want(200, "GET", "/me/calendarView()"+window(july, july), "")
}

// Parts of Graph that are not simulated are reported as such, not with an answer of Graph.
func TestNotSimulated(t *testing.T) {
	v := newQueries(t)
	for _, test := range []struct{ method, path string }{
		{"GET", "/me/contactFolders"}, {"GET", "/me/photo/$value"}, {"DELETE", "/me/calendars/AAMk"}, {"POST", "/me/calendars"}, {"PATCH", "/me"}, {"GET", "/sites/root"},
		{"GET", "/me/events/AAMk/attachments"}, {"GET", v.s.GraphURL() + "/beta/me"}, {"GET", "/me/events('')/nosuch"},
	} {
		v.refused(501, "NotSimulated", test.method, test.path, "")
	}
	v.refused(405, "Request_BadRequest", "PUT", "/me", "")
	r, err := v.client.Get(v.s.LoginURL() + "/common/oauth2/v2.0/logout")
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if r.StatusCode != 501 {
		t.Errorf("logout: %s", r.Status)
	}
	if keys := v.want(200, "GET", v.s.LoginURL()+"/common/discovery/v2.0/keys", "")["keys"]; !cmp.Equal(keys, any([]any{})) {
		t.Errorf("keys: %v", keys)
	}
}
