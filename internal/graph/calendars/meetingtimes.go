package calendars

import (
	"context"
	"time"

	"github.com/microsoftgraph/msgraph-sdk-go/models"
	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

// MaxSuggestions is the maximum number of times that FindTimes returns.
const MaxSuggestions = 20

// A TimeQuery describes a meeting to find a time for.
type TimeQuery struct {
	Attendees    []string // addresses
	Length       time.Duration
	From, To     time.Time
	WorkingHours bool // only within the working hours of the attendees
}

// A Suggestion is a time for a meeting.
type Suggestion struct {
	Start, End time.Time
	Confidence float64 // that all attend, in percent
	Organizer  string  // availability of the signed-in user: free, tentative, busy, oof, workingElsewhere, unknown
	Reason     string
	Attendees  []Attendance
	Locations  []string
}

// An Attendance is the availability of one attendee.
type Attendance struct{ Address, Availability string }

// FindTimes returns times at which a meeting could take place, the best first. Without any, empty says why.
//
// https://learn.microsoft.com/graph/api/user-findmeetingtimes
func FindTimes(ctx context.Context, g *graph.Client, q TimeQuery) (all []Suggestion, empty string, err error) {
	const op = "find times for a meeting"
	attendees := []models.AttendeeBaseable{}
	for _, a := range q.Attendees {
		address := models.NewEmailAddress()
		address.SetAddress(&a)
		attendee := models.NewAttendeeBase()
		attendee.SetEmailAddress(address)
		attendee.SetTypeEscaped(new(models.REQUIRED_ATTENDEETYPE))
		attendees = append(attendees, attendee)
	}
	slot := models.NewTimeSlot()
	slot.SetStart(graph.FormatUTC(q.From))
	slot.SetEnd(graph.FormatUTC(q.To))
	domain := models.UNRESTRICTED_ACTIVITYDOMAIN
	if q.WorkingHours {
		domain = models.WORK_ACTIVITYDOMAIN
	}
	constraint := models.NewTimeConstraint()
	constraint.SetActivityDomain(&domain)
	constraint.SetTimeSlots([]models.TimeSlotable{slot})
	var body users.ItemFindMeetingTimesPostRequestBodyable = users.NewItemFindMeetingTimesPostRequestBody()
	body.SetAttendees(attendees)
	body.SetTimeConstraint(constraint)
	body.SetMaxCandidates(new(int32(MaxSuggestions)))
	body.SetReturnSuggestionReasons(new(true))
	body.SetAdditionalData(map[string]any{"meetingDuration": graph.FormatDuration(q.Length)})
	answer, err := graph.Send[struct {
		EmptySuggestionsReason string          `json:"emptySuggestionsReason"`
		Suggestions            []suggestionDTO `json:"meetingTimeSuggestions"`
	}](ctx, g, op, g.Me().FindMeetingTimes().ToPostRequestInformation, body,
		&users.ItemFindMeetingTimesRequestBuilderPostRequestConfiguration{Headers: headers("text")})
	if err != nil {
		return nil, "", err
	}
	if answer.Suggestions == nil {
		return nil, "", graph.NotAList(op)
	}
	for _, d := range answer.Suggestions {
		if s := d.suggestion(); !s.Start.IsZero() && !s.End.IsZero() {
			all = append(all, s)
		}
	}
	return all, answer.EmptySuggestionsReason, nil
}

// A suggestionDTO is Graph's meetingTimeSuggestion. Each part of it may be null or missing.
type suggestionDTO struct {
	Confidence            float64
	OrganizerAvailability string
	SuggestionReason      string
	MeetingTimeSlot       struct{ Start, End graph.DateTimeTimeZone }
	AttendeeAvailability  []struct {
		Availability string
		Attendee     struct{ EmailAddress struct{ Address string } }
	}
	Locations []struct{ DisplayName string }
}

func (d suggestionDTO) suggestion() Suggestion {
	s := Suggestion{
		Start: instant(d.MeetingTimeSlot.Start), End: instant(d.MeetingTimeSlot.End), Confidence: d.Confidence, Organizer: d.OrganizerAvailability,
		Reason: d.SuggestionReason,
	}
	for _, a := range d.AttendeeAvailability {
		s.Attendees = append(s.Attendees, Attendance{a.Attendee.EmailAddress.Address, a.Availability})
	}
	for _, l := range d.Locations {
		if l.DisplayName != "" {
			s.Locations = append(s.Locations, l.DisplayName)
		}
	}
	return s
}
