package outlook

import (
	"net/http"
	"strings"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator/odata"
)

// The limits of getSchedule. See https://learn.microsoft.com/graph/api/calendar-getschedule.
const (
	maxSchedules        = 20
	maxScheduleRange    = 62 * 24 * time.Hour
	minViewInterval     = 5
	maxViewInterval     = 1440
	defaultViewInterval = 30
)

// scheduleParameters is the type of the parameters of getSchedule.
func scheduleParameters() *odata.Type {
	return &odata.Type{Name: "getSchedule", Properties: odata.Properties{
		"Schedules": odata.String().NotNull().Many(), "StartTime": odata.Of(odata.DateTimeType()), "EndTime": odata.Of(odata.DateTimeType()),
		"AvailabilityViewInterval": odata.Int32(),
	}}
}

// getSchedule returns when users of the tenant are busy, with details for the user's own and shared calendars.
func getSchedule(c *call) (odata.Response, error) {
	if _, err := c.targetMailbox(); err != nil {
		return odata.Response{}, err
	}
	given, err := c.Parameters(scheduleParameters())
	if err != nil {
		return odata.Response{}, err
	}
	refused := func(code, format string, args ...any) (odata.Response, error) {
		return odata.Response{}, odata.NewError(http.StatusBadRequest, code, format, args...)
	}
	var addresses []any
	var start, end odata.DateTimeTimeZone
	interval := defaultViewInterval
	for k, v := range given {
		switch k {
		case "Schedules":
			addresses, _ = v.([]any)
		case "StartTime":
			start, err = odata.ParseDateTime(k, v)
		case "EndTime":
			end, err = odata.ParseDateTime(k, v)
		case "AvailabilityViewInterval":
			if v == nil {
				continue
			}
			if interval = int(v.(float64)); interval < minViewInterval || interval > maxViewInterval {
				return refused("ErrorInvalidMergedFreeBusyInterval", "The merged free/busy interval value '%v' is invalid. It must be from %d to %d minutes.", v, minViewInterval, maxViewInterval)
			}
		}
		if err != nil {
			return odata.Response{}, err
		}
	}
	switch {
	case len(addresses) == 0:
		return refused("ErrorMailboxDataArrayEmpty", "The parameter 'schedules' must have an item.")
	case len(addresses) > maxSchedules:
		return refused("ErrorMailboxDataArrayTooBig", "The parameter 'schedules' must not have more than %d items.", maxSchedules)
	case start.Location == nil || end.Location == nil || !start.Instant().Before(end.Instant()):
		return refused("ErrorInvalidTimeInterval", "The start time must be earlier than the end time.")
	case end.Instant().Sub(start.Instant()) > maxScheduleRange:
		return refused("ErrorTimeIntervalTooBig", "The requested time duration is too long. The allowed limit = 62 days.")
	case end.Instant().Sub(start.Instant()) < time.Duration(interval)*time.Minute:
		return refused("ErrorInvalidMergedFreeBusyInterval", "The merged free/busy interval is longer than the time window.")
	}
	v, err := c.view()
	if err != nil {
		return odata.Response{}, err
	}
	value := []any{}
	for _, address := range addresses {
		text, _ := address.(string)
		value = append(value, c.schedule(text, start.Instant(), end.Instant(), time.Duration(interval)*time.Minute, v))
	}
	body := map[string]any{"@odata.context": c.Context("Collection(microsoft.graph.scheduleInformation)"), "value": value}
	return odata.Response{Status: http.StatusOK, Header: c.Header, Body: body}, nil
}

// schedule returns the scheduleInformation of one address.
func (c *call) schedule(address string, from, to time.Time, slot time.Duration, v view) map[string]any {
	out := map[string]any{"scheduleId": address}
	a := c.s.directory.ByAddress(address)
	if a == nil || a.Tenant != c.User.Tenant {
		out["error"] = map[string]any{"message": "Unable to resolve e-mail address " + address + " to an Active Directory object.", "responseCode": "5009"}
		return out
	}
	_, details := c.s.shares[share{a.ID, c.User.ID}]
	details = details || a == c.User
	b := c.s.mailboxes[a.ID]
	slots := []byte(strings.Repeat("0", int((to.Sub(from)+slot-1)/slot)))
	items := []any{}
	for _, e := range b.view(b.calendar(""), from, to) {
		shown := e.json(v)
		private := e.properties["sensitivity"] == "private"
		item := map[string]any{"status": shown["showAs"], "start": shown["start"], "end": shown["end"]}
		if details {
			item["isPrivate"] = private
			if !private || a == c.User {
				location, _ := shown["location"].(map[string]any)
				item["subject"], item["location"] = shown["subject"], location["displayName"]
			}
		}
		items = append(items, item)
		for i := range slots {
			begins := from.Add(time.Duration(i) * slot)
			if e.overlaps(begins, begins.Add(slot)) {
				slots[i] = max(slots[i], availability(shown["showAs"]))
			}
		}
	}
	out["availabilityView"], out["scheduleItems"], out["workingHours"] = string(slots), items, b.settings.other["workingHours"]
	return out
}

// availability returns the digit of a slot in the availabilityView.
func availability(showAs any) byte {
	switch showAs {
	case "tentative":
		return '1'
	case "busy":
		return '2'
	case "oof":
		return '3'
	}
	return '0' // including workingElsewhere
}
