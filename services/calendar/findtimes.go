package calendar

import (
	"context"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/calendars"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/directory"
	"github.com/graph2mqtt/graph2mqtt/internal/schema"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// findTimesOperation returns the operation that finds a time for a meeting.
func findTimesOperation() services.Operation {
	return services.Operation{
		Name:    findTimes,
		Doc:     "Finds times at which you and other people could meet, the best first. Work accounts only, and not with `shared_mailbox`.",
		Example: `{"attendees": ["megan@contoso.example"], "duration": "1h", "start": "2026-12-01T08:00:00", "end": "2026-12-01T18:00:00"}`,
		Returns: []schema.Field{
			{Key: "suggestions", Type: "list of objects", Doc: "At most 20 times.", Fields: []schema.Field{
				{Key: "start", Type: "time", Doc: "Start."},
				{Key: "end", Type: "time", Doc: "End."},
				{Key: "confidence", Type: "number", Doc: "Probability that everybody attends, in percent."},
				{Key: "organizer", Type: "text", Doc: "Your availability: `free`, `tentative`, `busy`, `oof`, `workingElsewhere` or `unknown`."},
				{Key: "attendees", Type: "list of objects", Doc: "The availability of the others: `email`, `availability`."},
				{Key: "locations", Type: "list of text", Doc: "Suggested rooms."},
				{Key: "reason", Type: "text", Doc: "Why this time is suggested."},
			}},
			{Key: "reason", Type: "text", Doc: "Why there is no suggestion, such as `AttendeesUnavailable`; null: there are some."},
		},
		Permissions: []graph.Permission{{
			Scope: "Calendars.Read.Shared", Alternatives: []string{"Calendars.ReadWrite.Shared"},
			Purpose: "finds times when others could meet", Impact: "find_times is unavailable",
		}},
		Optional: true, Reads: true, WorkOnly: true, UserOnly: "Microsoft finds times for a user who is signed in only",
		New: func() services.Request { return new(FindTimes) },
	}
}

// FindTimes finds times for a meeting.
type FindTimes struct {
	Attendees []string `json:"attendees" required:"true" doc:"Addresses of people or rooms, at most 20."`
	Duration  string   `json:"duration" required:"true" doc:"Length of the meeting, such as PT1H or 1h, from a minute to a day."`
	TimeRange
	WorkingHours bool `json:"working_hours" doc:"Only suggest times within working hours. Default: false."`
}

// Validate returns an error for values that Graph would refuse.
func (r *FindTimes) Validate() error {
	if err := checkAttendees(r.Attendees); err != nil {
		return err
	}
	if _, err := r.length(); err != nil {
		return err
	}
	return r.TimeRange.Validate()
}

func (r *FindTimes) length() (time.Duration, error) {
	d, err := services.ParseDuration("duration", r.Duration)
	if err == nil && (d < time.Minute || d > 24*time.Hour) {
		return 0, graph.Invalid("duration: want PT1M to PT24H, not %s", services.QuoteForError(r.Duration))
	}
	return d, err
}

// Execute implements services.Request.
func (r *FindTimes) Execute(ctx context.Context, g *graph.Client, a services.Attempt) (any, error) {
	loc := a.Now.Location()
	from, to, err := r.parse(loc)
	if err != nil {
		return nil, err
	}
	length, err := r.length()
	if err != nil {
		return nil, err
	}
	if span := to.Sub(from); span < length || span > calendars.MaxScheduleLength {
		return nil, graph.Invalid("end: want a time from %s, the duration, to 62 days after start, %s, not %s", r.Duration, from.Format(time.RFC3339), to.Format(time.RFC3339))
	}
	if err := directory.RequireWork(ctx, g, "no colleagues whose calendars it could ask"); err != nil {
		return nil, err
	}
	all, empty, err := calendars.FindTimes(ctx, g, calendars.TimeQuery{Attendees: r.Attendees, Length: length, From: from, To: to, WorkingHours: r.WorkingHours})
	if err != nil {
		return nil, err
	}
	found := SuggestedTimes{Suggestions: []SuggestedTime{}}
	for _, s := range all {
		t := SuggestedTime{
			Start: s.Start.In(loc), End: s.End.In(loc), Confidence: s.Confidence, Organizer: known(s.Organizer), Attendees: []Attendance{},
			Locations: append([]string{}, s.Locations...), Reason: known(s.Reason),
		}
		for _, a := range s.Attendees {
			t.Attendees = append(t.Attendees, Attendance{a.Address, known(a.Availability)})
		}
		found.Suggestions = append(found.Suggestions, t)
	}
	if len(all) == 0 {
		found.Reason = known(empty)
	}
	return found, nil
}

// SuggestedTimes is the response of FindTimes.
type SuggestedTimes struct {
	Suggestions []SuggestedTime `json:"suggestions"`
	Reason      any             `json:"reason"`
}

// A SuggestedTime is one time for a meeting.
type SuggestedTime struct {
	Start      time.Time    `json:"start"`
	End        time.Time    `json:"end"`
	Confidence float64      `json:"confidence"`
	Organizer  any          `json:"organizer"`
	Attendees  []Attendance `json:"attendees"`
	Locations  []string     `json:"locations"`
	Reason     any          `json:"reason"`
}

// An Attendance is the availability of one attendee.
type Attendance struct {
	Email        string `json:"email"`
	Availability any    `json:"availability"`
}
