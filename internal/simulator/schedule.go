package simulator

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// What getSchedule takes. See https://learn.microsoft.com/graph/api/calendar-getschedule.
const (
	mostSchedules       = 20
	longestSchedule     = 62 * 24 * time.Hour
	leastViewInterval   = 5
	mostViewInterval    = 1440
	defaultViewInterval = 30
)

// getSchedule returns when users of the tenant are busy, with details for the user's own and shared calendars.
func getSchedule(c *call) (response, error) {
	if _, err := c.targetMailbox(); err != nil {
		return response{}, err
	}
	var given map[string]any
	if err := json.Unmarshal(c.body, &given); err != nil {
		return response{}, unreadable()
	}
	refused := func(code, format string, args ...any) (response, error) {
		return response{}, &failure{http.StatusBadRequest, code, fmt.Sprintf(format, args...)}
	}
	var addresses []any
	var start, end dateTimeTimeZone
	interval := defaultViewInterval
	for k, v := range given {
		var err error
		switch strings.ToLower(k) { // parameter names are case-insensitive
		case "schedules":
			addresses, _ = v.([]any)
		case "starttime":
			start, err = c.s.parseDateTime("StartTime", v)
		case "endtime":
			end, err = c.s.parseDateTime("EndTime", v)
		case "availabilityviewinterval":
			if v != nil {
				interval, err = strconv.Atoi(fmt.Sprint(v)) // a string is accepted too
			}
			if err != nil || interval < leastViewInterval || interval > mostViewInterval {
				return refused("ErrorInvalidMergedFreeBusyInterval", "The merged free/busy interval value '%v' is invalid. It must be from %d to %d minutes.", v, leastViewInterval, mostViewInterval)
			}
		default:
			return response{}, badRequest("The parameter '%s' in the request payload is not a valid parameter for the operation 'getSchedule'.", k)
		}
		if err != nil {
			return response{}, err
		}
	}
	switch {
	case len(addresses) == 0:
		return refused("ErrorMailboxDataArrayEmpty", "The parameter 'schedules' must have an item.")
	case len(addresses) > mostSchedules:
		return refused("ErrorMailboxDataArrayTooBig", "The parameter 'schedules' must not have more than %d items.", mostSchedules)
	case start.zone == nil || end.zone == nil || !start.instant().Before(end.instant()):
		return refused("ErrorInvalidTimeInterval", "The start time must be earlier than the end time.")
	case end.instant().Sub(start.instant()) > longestSchedule:
		return refused("ErrorTimeIntervalTooBig", "The requested time duration is too long. The allowed limit = 62 days.")
	case end.instant().Sub(start.instant()) < time.Duration(interval)*time.Minute:
		return refused("ErrorInvalidMergedFreeBusyInterval", "The merged free/busy interval is longer than the time window.")
	}
	v, err := c.view()
	if err != nil {
		return response{}, err
	}
	value := []any{}
	for _, address := range addresses {
		text, ok := address.(string)
		if !ok {
			return response{}, badRequest("The parameter 'schedules' must be a collection of strings.")
		}
		value = append(value, c.schedule(text, start.instant(), end.instant(), time.Duration(interval)*time.Minute, v))
	}
	body := map[string]any{"@odata.context": c.context("Collection(microsoft.graph.scheduleInformation)"), "value": value}
	return response{status: http.StatusOK, header: c.header, body: body}, nil
}

// schedule returns the scheduleInformation of one address.
func (c *call) schedule(address string, from, to time.Time, slot time.Duration, v view) map[string]any {
	out := map[string]any{"scheduleId": address}
	a := c.s.byAddress(address)
	if a == nil || a.Tenant != c.user.Tenant {
		out["error"] = map[string]any{"message": "Unable to resolve e-mail address " + address + " to an Active Directory object.", "responseCode": "5009"}
		return out
	}
	_, details := c.s.outlook.shares[share{a.ID, c.user.ID}]
	details = details || a == c.user
	b := c.s.outlook.mailboxes[a.ID]
	slots := []byte(strings.Repeat("0", int((to.Sub(from)+slot-1)/slot)))
	items := []any{}
	for _, e := range b.view(b.calendar(""), from, to) {
		shown := e.json(v)
		private := e.properties["sensitivity"] == "private"
		item := map[string]any{"status": shown["showAs"], "start": shown["start"], "end": shown["end"]}
		if details {
			item["isPrivate"] = private
			if !private || a == c.user {
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
	out["availabilityView"], out["scheduleItems"], out["workingHours"] = string(slots), items, a.settings.other["workingHours"]
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
