package calendar

import (
	"context"
	"slices"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/calendars"
)

// maxMeetings is the maximum number of online meetings that one poll reads. The next poll continues.
const maxMeetings = 20

// A MeetingRead holds the details of the online meeting of one version of an event.
type MeetingRead struct {
	ChangeKey string
	Found     *calendars.Meeting // nil: Teams does not say
}

// withMeetings adds the details of online meetings to the snapshot s that follows last. They are read once for each version of an
// event, and once for all occurrences of a series. A failure leaves what is known; the next poll tries again. One that concerns only
// its own meeting does not keep others from being read.
func (o *Options) withMeetings(ctx context.Context, g *graph.Client, last, s *Snapshot) *Snapshot {
	if !o.Meetings || g.Personal() {
		return s
	}
	known := map[string]MeetingRead{}
	if last != nil && last.Meetings != nil {
		known = last.Meetings
	}
	after := *s
	after.Meetings = map[string]MeetingRead{}
	after.Entries = slices.Clone(s.Entries)
	byLink := map[string]*calendars.Meeting{}
	requests, stopped := 0, false
	failed := map[string]bool{}
	for i := range after.Entries {
		e := &after.Entries[i]
		if e.JoinURL == "" || !e.Shown {
			continue
		}
		r, ok := known[e.ID]
		if current := ok && r.ChangeKey == e.ChangeKey; !current {
			m, read := byLink[e.JoinURL]
			if !read && requests < maxMeetings && !stopped && !failed[e.JoinURL] {
				requests++
				var err error
				m, err = calendars.ReadMeeting(ctx, g, e.JoinURL)
				switch {
				case err == nil:
					byLink[e.JoinURL], read = m, true
				case graph.Is(err, graph.Refused): // perhaps this meeting alone
					failed[e.JoinURL] = true
				default:
					stopped = true
				}
			}
			if read {
				r, ok = MeetingRead{e.ChangeKey, m}, true
			}
		}
		if ok { // perhaps of an earlier version
			after.Meetings[e.ID] = r
			e.Meeting = r.Found
		}
	}
	return &after
}
