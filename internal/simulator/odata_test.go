package simulator_test

import (
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

func TestCountSegment(t *testing.T) {
	v := newGraphClient(t, "Calendars.Read", "Mail.Read")
	numbered(v, "", 7)
	for i := range 3 {
		v.s.AddEvent(simulator.Adele, "", simulator.Event{Subject: fmt.Sprint(i), Start: at(9, 0), End: at(10, 0)})
	}
	for path, want := range map[string]string{
		"/me/events/$count":                                             "3",
		"/me/calendar/events/$count":                                    "3",
		"/me/events/$count?$filter=subject+ne+'0'":                      "2",
		"/me/calendars/$count":                                          "2",
		"/me/messages/$count":                                           "7",
		"/me/mailFolders/inbox/messages/$count?$filter=isRead+eq+false": "3",
		"/me/mailFolders/drafts/messages/$count":                        "0",
		"/me/mailFolders/$count":                                        "8",
		"/users/" + simulator.Adele + "/events/$count":                  "3",
	} {
		r, err := http.NewRequestWithContext(t.Context(), "GET", v.s.GraphURL()+"/v1.0"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+v.token)
		resp, err := v.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != 200 || string(b) != want || resp.Header.Get("Content-Type") != "text/plain" {
			t.Errorf("%s: %s %s %q, want %s", path, resp.Status, resp.Header.Get("Content-Type"), b, want)
		}
	}
	v.refused(400, "BadRequest", "GET", "/me/events/$count?$top=1", "")
	v.refused(501, "NotSimulated", "GET", "/me/calendarView/$count", "")
	if page := v.want(200, "GET", "/me/events?$count=true&$top=1", ""); page["@odata.count"] != 3.0 || len(page["value"].([]any)) != 1 {
		t.Errorf("%v", page)
	}
}

func TestExpand(t *testing.T) {
	v := newGraphClient(t, "Calendars.Read", "User.Read")
	id := v.s.AddEvent(simulator.Adele, "", simulator.Event{Subject: "x", Start: at(9, 0), End: at(10, 0)})
	e := v.want(200, "GET", "/me/events/"+id+"?$select=subject&$expand=attachments,singleValueExtendedProperties($filter=id+eq+'String+x,+y')", "")
	if !cmp.Equal(e["attachments"], any([]any{})) || e["subject"] != "x" || e["start"] != nil {
		t.Errorf("event: %v", e)
	}
	page := v.want(200, "GET", "/me/calendarView"+window(july, "2026-07-02", "&$expand=extensions"), "")
	if e := page["value"].([]any)[0].(map[string]any); !cmp.Equal(e["extensions"], any([]any{})) {
		t.Errorf("listed: %v", e)
	}
	if me := v.want(200, "GET", "/me?$expand=memberOf,manager", ""); !cmp.Equal(me["memberOf"], any([]any{})) {
		t.Errorf("me: %v", me)
	}
	// Graph's metadata declares these as not expandable, or does not have them.
	for _, path := range []string{"/me/calendars?$expand=events", "/me/calendar?$expand=calendarView", "/me/events?$expand=calendar", "/me/events/" + id + "?$expand=instances", "/me?$expand=calendars"} {
		v.refused(400, "RequestBroker--ParseUri", "GET", path, "")
	}
}
