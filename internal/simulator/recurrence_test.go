package simulator_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

// series adds a series that starts at nine UTC.
func (v graphClient) series(start string, pattern map[string]any) string {
	v.t.Helper()
	day, err := time.Parse(time.DateOnly, start)
	if err != nil {
		v.t.Fatal(err)
	}
	return v.s.AddEvent(simulator.Adele, "", simulator.Event{
		Subject: "series", Start: day.Add(9 * time.Hour), End: day.Add(10 * time.Hour), TimeZone: "UTC",
		Recurrence: map[string]any{"pattern": pattern, "range": map[string]any{"type": "numbered", "startDate": start, "numberOfOccurrences": 4}},
	})
}

// dates returns the dates on which the events start.
func dates(page map[string]any) []string {
	var out []string
	for _, e := range page["value"].([]any) {
		out = append(out, e.(map[string]any)["start"].(map[string]any)["dateTime"].(string)[:10])
	}
	return out
}

func TestInstances(t *testing.T) {
	v := newGraphClient(t, "Calendars.ReadWrite")
	id := v.series("2026-01-31", map[string]any{"type": "absoluteMonthly", "interval": 1, "dayOfMonth": 31})
	instances := "/me/events/" + id + "/instances"
	year := window("2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z")
	page := v.want(200, "GET", instances+year+"&$select=type,start,seriesMasterId", "")
	if got, want := dates(page), []string{"2026-01-31", "2026-02-28", "2026-03-31", "2026-04-30"}; !cmp.Equal(got, want) {
		t.Errorf("instances: %v, want %v", got, want)
	}
	if c := page["@odata.context"].(string); !strings.HasSuffix(c, "/instances(type,start,seriesMasterId)") {
		t.Errorf("context: %s", c)
	}
	second := page["value"].([]any)[1].(map[string]any)
	if second["seriesMasterId"] != id || second["type"] != "occurrence" {
		t.Errorf("second: %v", second)
	}
	v.want(204, "DELETE", "/me/events/"+second["id"].(string), "")
	page = v.want(200, "GET", instances+year+"&$top=2", "")
	next := v.want(200, "GET", page["@odata.nextLink"].(string), "")
	if got, want := append(dates(page), dates(next)...), []string{"2026-01-31", "2026-03-31", "2026-04-30"}; !cmp.Equal(got, want) {
		t.Errorf("after a removal: %v, want %v", got, want)
	}
	if got, want := dates(v.want(200, "GET", instances+window("2026-03-01", "2026-04-01"), "")), []string{"2026-03-31"}; !cmp.Equal(got, want) {
		t.Errorf("in March: %v, want %v", got, want)
	}
	single := v.s.AddEvent(simulator.Adele, "", simulator.Event{Start: at(9, 0), End: at(10, 0)})
	if got := dates(v.want(200, "GET", "/me/calendar/events/"+single+"/instances"+year, "")); len(got) > 0 {
		t.Errorf("of a single event: %v", got)
	}
	v.refused(400, "ErrorInvalidParameter", "GET", instances, "")
	v.refused(404, "ErrorItemNotFound", "GET", "/me/events/AAMkADoesNotExistAnywhere=/instances"+year, "")
	v.token = v.s.Token(simulator.Adele, "User.Read")
	v.refused(403, "ErrorAccessDenied", "GET", instances+year, "")
	v.token = v.s.Token(simulator.Adele, "Calendars.ReadBasic")
	v.want(200, "GET", instances+year, "")
}

func TestRelativeRecurrence(t *testing.T) {
	weekdays := []string{"monday", "tuesday", "wednesday", "thursday", "friday"}
	for name, test := range map[string]struct {
		start   string
		pattern map[string]any
		want    []string
	}{
		"second tuesday":         {"2026-01-13", map[string]any{"type": "relativeMonthly", "interval": 1, "daysOfWeek": []string{"tuesday"}, "index": "second"}, []string{"2026-01-13", "2026-02-10", "2026-03-10", "2026-04-14"}},
		"begins later":           {"2026-01-14", map[string]any{"type": "relativeMonthly", "interval": 1, "daysOfWeek": []string{"tuesday"}, "index": "second"}, []string{"2026-02-10", "2026-03-10", "2026-04-14", "2026-05-12"}},
		"first by default":       {"2026-01-01", map[string]any{"type": "relativeMonthly", "interval": 2, "daysOfWeek": []string{"thursday"}}, []string{"2026-01-01", "2026-03-05", "2026-05-07", "2026-07-02"}},
		"last working day":       {"2026-01-30", map[string]any{"type": "relativeMonthly", "interval": 1, "daysOfWeek": weekdays, "index": "last"}, []string{"2026-01-30", "2026-02-27", "2026-03-31", "2026-04-30"}},
		"last sunday of october": {"2026-10-25", map[string]any{"type": "relativeYearly", "interval": 1, "daysOfWeek": []string{"sunday"}, "index": "last", "month": 10}, []string{"2026-10-25", "2027-10-31", "2028-10-29", "2029-10-28"}},
		"leap day":               {"2028-02-29", map[string]any{"type": "absoluteYearly", "interval": 1, "dayOfMonth": 29, "month": 2}, []string{"2028-02-29", "2029-02-28", "2030-02-28", "2031-02-28"}},
		"fifteenth":              {"2026-01-20", map[string]any{"type": "absoluteMonthly", "interval": 1, "dayOfMonth": 15}, []string{"2026-02-15", "2026-03-15", "2026-04-15", "2026-05-15"}},
	} {
		t.Run(name, func(t *testing.T) {
			v := newGraphClient(t, "Calendars.Read")
			id := v.series(test.start, test.pattern)
			if got := dates(v.want(200, "GET", "/me/events/"+id+"/instances"+window("2026-01-01", "2032-01-01"), "")); !cmp.Equal(got, test.want) {
				t.Errorf("%v, want %v", got, test.want)
			}
		})
	}
	v := newGraphClient(t, "Calendars.ReadWrite")
	for pattern, code := range map[string]string{
		`"type":"relativeMonthly","interval":1`:                                         "ErrorInvalidRecurrencePattern",
		`"type":"relativeMonthly","interval":1,"daysOfWeek":["someday"]`:                "BadRequest",
		`"type":"relativeMonthly","interval":1,"daysOfWeek":["monday"],"index":"fifth"`: "BadRequest",
		`"type":"absoluteMonthly","interval":1,"dayOfMonth":32`:                         "ErrorInvalidRecurrencePattern",
		`"type":"relativeYearly","interval":1,"daysOfWeek":["monday"],"month":13`:       "ErrorInvalidRecurrencePattern",
		`"type":"relativeMonthly","interval":0,"daysOfWeek":["monday"]`:                 "ErrorInvalidRecurrencePattern",
		`"type":"absoluteYearly","interval":1e18`:                                       "BadRequest",
		`"type":"sometimes","interval":1`:                                               "BadRequest",
	} {
		v.refused(400, code, "POST", "/me/events", event("x", "2026-07-01T12:00:00", "2026-07-01T13:00:00",
			`,"recurrence":{"pattern":{`+pattern+`},"range":{"type":"noEnd","startDate":"2026-07-01"}}`))
	}
}
