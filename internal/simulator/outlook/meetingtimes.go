package outlook

import (
	"net/http"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator/odata"
)

// meetingTimesParameters is the type of the parameters of findMeetingTimes.
func meetingTimesParameters() *odata.Type {
	attendee := odata.ComplexType("attendeeBase", odata.Properties{
		"type": odata.Enum("attendeeType", "required", "optional", "resource"),
		"emailAddress": odata.Of(odata.ComplexType("emailAddress", odata.Properties{
			"name": odata.String(), "address": odata.String(),
		})),
	})
	slot := odata.ComplexType("timeSlot", odata.Properties{"start": odata.Of(odata.DateTimeType()), "end": odata.Of(odata.DateTimeType())})
	constraint := odata.ComplexType("timeConstraint", odata.Properties{
		"activityDomain": odata.Enum("activityDomain", "unknown", "work", "personal", "unrestricted"), "timeSlots": odata.Of(slot).Many(),
	})
	return &odata.Type{Name: "findMeetingTimes", Properties: odata.Properties{
		"attendees": odata.Of(attendee).Many(), "timeConstraint": odata.Of(constraint), "meetingDuration": odata.String(),
		"maxCandidates": odata.Int32(), "isOrganizerOptional": odata.Boolean(), "returnSuggestionReasons": odata.Boolean(),
		"minimumAttendeePercentage": odata.Double(),
	}}
}

// findMeetingTimes suggests the times of the first time slot, every half an hour, at which nobody is busy. Working hours are from 8 to 17
// in UTC.
//
// https://learn.microsoft.com/graph/api/user-findmeetingtimes
func findMeetingTimes(c *call) (odata.Response, error) {
	b, err := c.targetMailbox()
	if err != nil {
		return odata.Response{}, err
	}
	given, err := c.Parameters(meetingTimesParameters())
	if err != nil {
		return odata.Response{}, err
	}
	constraint, _ := given["timeConstraint"].(map[string]any)
	slots, _ := constraint["timeSlots"].([]any)
	if len(slots) == 0 {
		return odata.Response{}, odata.BadRequest("The time constraint has no time slot.")
	}
	slot, _ := slots[0].(map[string]any)
	start, err := odata.ParseDateTime("start", slot["start"])
	if err != nil {
		return odata.Response{}, err
	}
	end, err := odata.ParseDateTime("end", slot["end"])
	if err != nil {
		return odata.Response{}, err
	}
	length := 30 * time.Minute
	if text, ok := given["meetingDuration"].(string); ok {
		if length, ok = odata.ParseDuration(text); !ok {
			return odata.Response{}, odata.BadRequest("Cannot convert the literal '%s' to the expected type 'Edm.Duration'.", text)
		}
	}
	candidates := 5
	if n, ok := given["maxCandidates"].(float64); ok {
		candidates = int(n)
	}
	boxes := []*mailbox{b}
	availability := []any{}
	attendees, _ := given["attendees"].([]any)
	for _, a := range attendees {
		attendee, _ := a.(map[string]any)
		address, _ := attendee["emailAddress"].(map[string]any)
		text, _ := address["address"].(string)
		state := "unknown" // of somebody outside the organization
		if u := c.s.directory.ByAddress(text); u != nil && u.Tenant == c.User.Tenant {
			boxes, state = append(boxes, c.s.mailboxes[u.ID]), "free"
		}
		availability = append(availability, map[string]any{"availability": state, "attendee": map[string]any{"emailAddress": map[string]any{"address": text}}})
	}
	suggestions := []any{}
	for at := start.Instant(); !at.Add(length).After(end.Instant()) && len(suggestions) < candidates; at = at.Add(30 * time.Minute) {
		until := at.Add(length)
		if constraint["activityDomain"] == "work" && (at.UTC().Hour() < 8 || until.UTC().Hour() >= 17) || anyBusy(boxes, at, until) {
			continue
		}
		suggestions = append(suggestions, map[string]any{
			"confidence": 100.0, "order": len(suggestions) + 1, "organizerAvailability": "free", "attendeeAvailability": availability, "locations": []any{},
			"suggestionReason": "Suggested because it is one of the nearest times when all attendees are available.",
			"meetingTimeSlot": map[string]any{
				"start": odata.DateTimeIn(at, "UTC", time.UTC).JSON(), "end": odata.DateTimeIn(until, "UTC", time.UTC).JSON(),
			},
		})
	}
	reason := ""
	if len(suggestions) == 0 {
		reason = "AttendeesUnavailable"
	}
	body := map[string]any{
		"@odata.context":         c.Context("microsoft.graph.meetingTimeSuggestionsResult"),
		"emptySuggestionsReason": reason, "meetingTimeSuggestions": suggestions,
	}
	return odata.Response{Status: http.StatusOK, Header: c.Header, Body: body}, nil
}

func anyBusy(boxes []*mailbox, from, to time.Time) bool {
	for _, b := range boxes {
		for _, e := range b.view(b.calendar(""), from, to) {
			if e.properties["showAs"] != "free" && e.overlaps(from, to) {
				return true
			}
		}
	}
	return false
}
