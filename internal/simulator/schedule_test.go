package simulator_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

func TestGetSchedule(t *testing.T) {
	v := newGraphClient(t, "Calendars.ReadBasic")
	v.s.AddUser(simulator.User{Address: simulator.Megan, Name: "Megan Bowen", Tenant: simulator.ContosoTenant})
	add := func(address, subject, showAs string, start, end time.Time) {
		v.s.AddEvent(address, "", simulator.Event{Subject: subject, ShowAs: showAs, Start: start, End: end})
	}
	add(simulator.Adele, "lunch", "busy", at(10, 0), at(11, 0))
	add(simulator.Adele, "perhaps", "tentative", at(10, 30), at(12, 0))
	add(simulator.Megan, "ill", "oof", at(8, 0), at(9, 15))
	add(simulator.Megan, "home", "workingElsewhere", at(10, 0), at(12, 0))
	ask := func(more string, addresses ...string) string {
		return fmt.Sprintf(`{"Schedules":["%s"],"startTime":{"dateTime":"2026-07-01T11:00:00","timeZone":"W. Europe Standard Time"},
			"EndTime":{"dateTime":"2026-07-01T12:00:00","timeZone":"UTC"}%s}`, strings.Join(addresses, `","`), more)
	}
	const path = "/me/calendar/getSchedule"
	got := v.want(200, "POST", path, ask("", simulator.Adele, simulator.Megan, "nobody@contoso.example"))["value"].([]any)
	own, other, nobody := got[0].(map[string]any), got[1].(map[string]any), got[2].(map[string]any)
	if own["availabilityView"] != "002211" || other["availabilityView"] != "300000" {
		t.Errorf("own %v, other %v", own["availabilityView"], other["availabilityView"])
	}
	lunch := map[string]any{
		"status": "busy", "subject": "lunch", "location": "", "isPrivate": false,
		"start": map[string]any{"dateTime": "2026-07-01T10:00:00.0000000", "timeZone": "UTC"}, "end": map[string]any{"dateTime": "2026-07-01T11:00:00.0000000", "timeZone": "UTC"},
	}
	if diff := cmp.Diff(any(lunch), own["scheduleItems"].([]any)[0]); diff != "" {
		t.Errorf("own item (-want +got):\n%s", diff)
	}
	if item := other["scheduleItems"].([]any)[0].(map[string]any); len(item) != 3 || item["status"] != "oof" {
		t.Errorf("another's item: %v", item)
	}
	if own["workingHours"] == nil || other["scheduleId"] != simulator.Megan {
		t.Errorf("%v", other)
	}
	want := map[string]any{"scheduleId": "nobody@contoso.example", "error": map[string]any{
		"message": "Unable to resolve e-mail address nobody@contoso.example to an Active Directory object.", "responseCode": "5009"}}
	if diff := cmp.Diff(want, nobody); diff != "" {
		t.Errorf("nobody (-want +got):\n%s", diff)
	}
	hourly := v.want(200, "POST", path, ask(`,"availabilityViewInterval":"60"`, simulator.Adele), "Prefer", `outlook.timezone="Europe/Berlin"`)["value"].([]any)[0].(map[string]any)
	if start := hourly["scheduleItems"].([]any)[0].(map[string]any)["start"].(map[string]any); hourly["availabilityView"] != "021" || start["dateTime"] != "2026-07-01T12:00:00.0000000" {
		t.Errorf("hourly: %v", hourly)
	}

	many := make([]string, 21)
	for body, code := range map[string]string{
		"{":                                    "BadRequest",
		ask(`,"color":"red"`, simulator.Adele): "BadRequest",
		strings.Replace(ask("", "x"), `"x"`, "", 1): "ErrorMailboxDataArrayEmpty",
		ask("", many...): "ErrorMailboxDataArrayTooBig",
		ask(`,"availabilityViewInterval":4`, simulator.Adele):                "ErrorInvalidMergedFreeBusyInterval",
		ask(`,"availabilityViewInterval":240`, simulator.Adele):              "ErrorInvalidMergedFreeBusyInterval", // longer than the window
		strings.Replace(ask("", simulator.Adele), "T11:00", "T18:00", 1):     "ErrorInvalidTimeInterval",
		strings.Replace(ask("", simulator.Adele), "2026-07", "2026-04", 1):   "ErrorTimeIntervalTooBig",
		strings.Replace(ask("", simulator.Adele), "W. Europe", "Lemuria", 1): "TimeZoneNotSupportedException",
	} {
		v.refused(400, code, "POST", path, body)
	}
	v.token = v.s.Token(simulator.Adele, "User.Read")
	v.refused(403, "ErrorAccessDenied", "POST", path, ask("", simulator.Adele))
	v.s.AddUser(simulator.User{Address: simulator.Ann, Name: "Ann", Personal: true})
	v.token = v.s.Token(simulator.Ann, "Calendars.ReadWrite")
	v.refused(403, "ErrorAccessDenied", "POST", path, ask("", simulator.Ann))
}
