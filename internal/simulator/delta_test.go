package simulator_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

// follow reads all pages from path on. It returns the subjects of changed entities, "-" and the id of removed ones, and the delta link.
func (v graphClient) follow(path string, headers ...string) (seen []string, deltaLink string) {
	v.t.Helper()
	for range 100 {
		page := v.want(200, "GET", path, "", headers...)
		for _, item := range page["value"].([]any) {
			item := item.(map[string]any)
			if removed, ok := item["@removed"].(map[string]any); ok {
				if removed["reason"] != "deleted" || len(item) != 2 {
					v.t.Errorf("removed: %v", item)
				}
				seen = append(seen, "-"+item["id"].(string))
				continue
			}
			seen = append(seen, item["subject"].(string))
		}
		next, hasNext := page["@odata.nextLink"].(string)
		link, hasDelta := page["@odata.deltaLink"].(string)
		if hasNext == hasDelta || page["@odata.context"] != v.s.GraphURL()+"/v1.0/$metadata#Collection(event)" {
			v.t.Fatalf("page: %v", page)
		}
		if hasDelta {
			slices.Sort(seen)
			return seen, link
		}
		path = next
	}
	v.t.Fatal("the pages do not end")
	return nil, ""
}

func TestDelta(t *testing.T) {
	for _, path := range []string{"/me/calendarView/delta" + window(july, "2026-07-02T00:00:00Z"), "/me/events/delta", "/me/calendar/events/delta()", "/me/calendarView/delta%28%29" + window(july, "2026-07-02T00:00:00Z")} {
		t.Run(path, func(t *testing.T) {
			v := newGraphClient(t, "Calendars.ReadWrite")
			add := func(subject string) string {
				return v.s.AddEvent(simulator.Adele, "", simulator.Event{Subject: subject, Start: at(9, 0), End: at(10, 0)})
			}
			a, b := add("a"), add("b")
			add("c")
			changes := func(link string, want ...string) string {
				t.Helper()
				got, next := v.follow(link, "Prefer", "odata.maxpagesize=2")
				slices.Sort(want)
				if !cmp.Equal(got, want) {
					t.Errorf("%v, want %v", got, want)
				}
				return next
			}
			first := changes(path, "a", "b", "c")
			second := changes(first)
			v.want(200, "PATCH", "/me/events/"+url.PathEscape(a), `{"subject":"a2"}`)
			v.want(204, "DELETE", "/me/events/"+url.PathEscape(b), "")
			add("d")
			v.s.AddEvent(simulator.Adele, "Birthdays", simulator.Event{Subject: "elsewhere", Start: at(9, 0), End: at(10, 0)})
			third := changes(second, "a2", "d", "-"+b)
			changes(second, "a2", "d", "-"+b) // repeated
			changes(first, "a2", "d", "-"+b)
			changes(third)

			// Links belong to a user and a path.
			token := third[strings.Index(third, "?"):]
			v.refused(410, "SyncStateNotFound", "GET", "/me/calendars/"+v.s.Calendars(simulator.Adele)[0].ID+"/events/delta"+token, "")

			v.s.ExpireDeltaTokens()
			resp, _ := v.do("GET", third, "")
			if location := resp.Header.Get("Location"); resp.StatusCode != 410 || location == "" || location != strings.SplitN(third, "?", 2)[0] {
				t.Errorf("expired: %s, Location %q", resp.Status, location)
			}
			v.refused(410, "SyncStateNotFound", "GET", third, "")
			changes(path, "a2", "c", "d")
		})
	}
}

// An event that moves out of the view is removed from it; series are expanded.
func TestDeltaOfView(t *testing.T) {
	v := newGraphClient(t, "Calendars.ReadWrite")
	id := v.s.AddEvent(simulator.Adele, "", simulator.Event{Subject: "moves", Start: at(9, 0), End: at(10, 0)})
	v.s.AddEvent(simulator.Adele, "", simulator.Event{Subject: "series", Start: at(9, 0), End: at(10, 0), Recurrence: map[string]any{
		"pattern": map[string]any{"type": "daily", "interval": 1}, "range": map[string]any{"type": "noEnd", "startDate": "2026-07-01"},
	}})
	seen, link := v.follow("/me/calendarView/delta" + window(july, "2026-07-03T00:00:00Z"))
	if !cmp.Equal(seen, []string{"moves", "series", "series"}) {
		t.Errorf("seen: %v", seen)
	}
	v.want(200, "PATCH", "/me/events/"+url.PathEscape(id), event("moves", "2026-08-01T12:00:00", "2026-08-01T13:00:00", ""))
	if seen, _ := v.follow(link); !cmp.Equal(seen, []string{"-" + id}) {
		t.Errorf("after the move: %v", seen)
	}
	v.refused(400, "ErrorInvalidParameter", "GET", "/me/calendarView/delta", "")
	for _, option := range []string{"$select=subject", "$filter=subject+eq+'x'", "$orderby=subject", "$top=1", "$expand=attachments", "$search=x"} {
		v.refused(400, "ErrorInvalidUrlQuery", "GET", "/me/calendarView/delta"+window(july, july, "&"+option), "")
	}
	v.token = v.s.Token(simulator.Adele, "User.Read")
	v.refused(403, "ErrorAccessDenied", "GET", "/me/events/delta", "")
}

func TestControlExpiresDeltas(t *testing.T) {
	v := newColleaguesClient(t)
	_, link := v.follow("/me/events/delta")
	v.control(204, "POST", "/deltas/expire", "")
	if resp, _ := v.do("GET", link, ""); resp.StatusCode != http.StatusGone {
		t.Errorf("expired: %s", resp.Status)
	}
}
