package simulator_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

func TestAcceptedCalendar(t *testing.T) {
	v := newColleaguesClient(t)
	find := func() map[string]any {
		t.Helper()
		for _, c := range v.want(200, "GET", "/me/calendars", "")["value"].([]any) {
			if c := c.(map[string]any); c["name"] == "Alex Wilber" {
				return c
			}
		}
		return nil
	}
	c := find()
	if c == nil || c["canEdit"] != false || c["canShare"] != false || c["isDefaultCalendar"] != false || !cmp.Equal(c["owner"], any(map[string]any{"name": "Alex Wilber", "address": simulator.Alex})) {
		t.Fatalf("listed: %v", c)
	}
	path := "/me/calendars/" + c["id"].(string)
	if got := v.want(200, "GET", path, ""); got["name"] != "Alex Wilber" || got["id"] != c["id"] {
		t.Errorf("alone: %v", got)
	}
	page := v.want(200, "GET", path+"/events", "")
	if got := names(page, "subject"); !cmp.Equal(got, []string{"Presentation"}) {
		t.Fatalf("events: %v", got)
	}
	id := page["value"].([]any)[0].(map[string]any)["id"].(string)
	v.want(200, "GET", path+"/events/"+id, "")
	v.refused(404, "ErrorItemNotFound", "GET", "/me/calendar/events/"+id, "")

	body := event("x", "2026-07-01T12:00:00", "2026-07-01T13:00:00", "")
	v.token = v.s.Token(simulator.Adele, "Calendars.ReadWrite") // what is among one's own calendars needs no .Shared
	v.want(200, "GET", path+"/events", "")
	v.refused(403, "ErrorAccessDenied", "POST", path+"/events", body)
	v.s.Share(simulator.Alex, simulator.Adele, true)
	v.want(201, "POST", path+"/events", body)
	v.want(204, "DELETE", path+"/events/"+id, "")
	if find()["canEdit"] != true {
		t.Error("it cannot be edited")
	}
	if got := v.s.Events(simulator.Alex, ""); len(got) != 1 || got[0]["subject"] != "x" {
		t.Errorf("Alex has %v", got)
	}

	// The owner can remove a shared calendar.
	kids := v.s.AddCalendar(simulator.Alex, "Kids")
	if got := v.s.AcceptCalendar(simulator.Adele, simulator.Alex, "Kids"); got.Name != "Kids" || got.ID == kids.ID {
		t.Errorf("accepted: %v", got)
	}
	v.s.RemoveCalendar(simulator.Alex, "Kids")
	if got := names(v.want(200, "GET", "/me/calendars", ""), "name"); !cmp.Equal(got, []string{"Alex Wilber", "Birthdays", "Calendar"}) {
		t.Errorf("after that: %v", got)
	}
}
