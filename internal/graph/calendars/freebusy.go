package calendars

import (
	"cmp"
	"context"
	"time"

	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

// The limits of GetSchedule.
//
// https://learn.microsoft.com/graph/api/calendar-getschedule
const (
	MaxSchedules        = 20
	MaxScheduleLength   = 62 * 24 * time.Hour
	MinScheduleInterval = 5    // minutes
	MaxScheduleInterval = 1440 // minutes
)

// A Schedule lists when one person or room is free.
type Schedule struct {
	Address string
	View    string // a digit for each interval: 0 free, 1 tentative, 2 busy, 3 out of office, 4 working elsewhere
	Busy    []BusySlot
	Error   string // why it is unknown; "": it is known
}

// A BusySlot is a time when somebody is not free. Details that the signed-in user may not see are empty.
type BusySlot struct {
	Start, End                time.Time
	ShowAs, Subject, Location string
}

// GetSchedule returns when others in the signed-in user's organization are free, in intervals of some minutes.
func GetSchedule(ctx context.Context, g *graph.Client, addresses []string, from, to time.Time, interval int) ([]Schedule, error) {
	const op = "read when others are free"
	var body users.ItemCalendarGetSchedulePostRequestBodyable = users.NewItemCalendarGetSchedulePostRequestBody()
	body.SetSchedules(addresses)
	body.SetStartTime(graph.FormatUTC(from))
	body.SetEndTime(graph.FormatUTC(to))
	body.SetAvailabilityViewInterval(new(int32(interval)))
	answer, err := graph.Send[struct{ Value []scheduleDTO }](ctx, g, op, g.Me().Calendar().GetSchedule().ToPostRequestInformation, body,
		&users.ItemCalendarGetScheduleRequestBuilderPostRequestConfiguration{Headers: headers("text")})
	if err != nil {
		return nil, err
	}
	if answer.Value == nil {
		return nil, graph.NotAList(op)
	}
	schedules := []Schedule{}
	for _, d := range answer.Value {
		schedules = append(schedules, d.schedule())
	}
	return schedules, nil
}

// A scheduleDTO is Graph's scheduleInformation. Each part of it may be null or missing.
type scheduleDTO struct {
	ScheduleID       string `json:"scheduleId"`
	AvailabilityView string `json:"availabilityView"`
	ScheduleItems    []struct {
		Start, End                graph.DateTimeTimeZone
		Status, Subject, Location string
	} `json:"scheduleItems"`
	Error *struct{ Message, ResponseCode string } `json:"error"`
}

func (d scheduleDTO) schedule() Schedule {
	s := Schedule{Address: d.ScheduleID, View: d.AvailabilityView}
	if d.Error != nil {
		s.Error = cmp.Or(d.Error.Message, d.Error.ResponseCode, "Graph does not say why it is not known")
	}
	for _, i := range d.ScheduleItems {
		start, end := instant(i.Start), instant(i.End)
		if start.IsZero() || end.IsZero() {
			continue
		}
		s.Busy = append(s.Busy, BusySlot{start, end, i.Status, i.Subject, i.Location})
	}
	return s
}
