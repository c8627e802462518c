package graph_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

// An offer decides how Graph answers a Watch.
type offer struct {
	delta, probe int    // status of an error; 0: an answer
	changed      string // by the delta query
	expired      bool   // the link is
	count        int    // of the probe
	asked        []string
}

func (o *offer) ask(w *graph.Watch, now time.Time) (graph.ChangeReport[graph.Item], error) {
	failure := func(status int) error { return &graph.Error{Reason: graph.Refused, Status: status} }
	delta := func(link string) (graph.DeltaChanges[graph.Item], error) {
		o.asked = append(o.asked, strings.TrimSpace("delta "+link))
		switch {
		case o.delta != 0:
			return graph.DeltaChanges[graph.Item]{}, failure(o.delta)
		case link != "" && o.expired:
			return graph.DeltaChanges[graph.Item]{Expired: true}, nil
		}
		c := graph.DeltaChanges[graph.Item]{Link: "next"}
		if o.changed != "" {
			c.Changed = []graph.Item{{ID: o.changed}}
		}
		return c, nil
	}
	return graph.Ask(w, now, delta, func() (graph.Probe, error) {
		o.asked = append(o.asked, "probe")
		if o.probe != 0 {
			return graph.Probe{}, failure(o.probe)
		}
		return graph.Probe{Count: o.count}, nil
	})
}

func TestAsk(t *testing.T) {
	now := time.Date(2026, 1, 15, 11, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name  string
		steps []offer
		want  []string // requests, and what they tell
	}{
		{"delta", []offer{{}, {}, {changed: "1"}, {}}, []string{"delta: incomplete", "delta next:", "delta next: 1", "delta next:"}},
		{"expired link", []offer{{}, {expired: true}, {}}, []string{"delta: incomplete", "delta next, delta: incomplete", "delta next:"}},
		{"failure", []offer{{}, {delta: 500}, {}}, []string{"delta: incomplete", "delta next: error", "delta next:"}},
		{"not signed in", []offer{{}, {delta: 401}, {}}, []string{"delta: incomplete", "delta next: error", "delta next:"}},
		{"throttled", []offer{{}, {delta: 503}, {}}, []string{"delta: incomplete", "delta next: error", "delta next:"}},
		{"no delta", []offer{{delta: 400}, {delta: 400}, {delta: 400, count: 1}}, []string{"delta, probe: incomplete", "probe:", "probe: incomplete"}},
		{"not implemented", []offer{{delta: 501}, {delta: 501}}, []string{"delta, probe: incomplete", "probe:"}},
		{"a failed probe", []offer{{delta: 400}, {delta: 400, probe: 500}, {delta: 400}}, []string{"delta, probe: incomplete", "probe: error", "probe:"}},
		{"neither", []offer{{delta: 404, probe: 403}, {delta: 404, probe: 403}}, []string{"delta, probe: incomplete", ": incomplete"}},
		{"a link that is refused", []offer{{}, {delta: 403}, {delta: 403}}, []string{"delta: incomplete", "delta next, probe: incomplete", "probe:"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var w graph.Watch
			var got []string
			for i, o := range tt.steps {
				c, err := o.ask(&w, now.Add(time.Duration(i)*time.Minute))
				told := ""
				switch {
				case err != nil:
					told = " error"
				case c.Incomplete:
					told = " incomplete"
				case len(c.Changed) > 0:
					told = " " + c.Changed[0].ID
				}
				if err == nil && c.Any() != (told != "") {
					t.Errorf("step %d: Any is %t", i, c.Any())
				}
				got = append(got, strings.Join(o.asked, ", ")+":"+told)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// What Graph refuses is tried again after five minutes, then after twice the time each, and at last once a day.
func TestAskAgain(t *testing.T) {
	now := time.Date(2026, 1, 15, 11, 0, 0, 0, time.UTC)
	tries := func(w *graph.Watch, o offer, start time.Time, length time.Duration) (got []string) {
		for at := start; at.Before(start.Add(length)); at = at.Add(time.Minute) {
			o.asked = nil
			if _, err := o.ask(w, at); err != nil {
				t.Fatal(err)
			}
			if len(o.asked) > 0 && strings.HasPrefix(o.asked[0], "delta") {
				got = append(got, fmt.Sprint(at.Sub(now)))
			}
		}
		return got
	}
	var w graph.Watch
	want := []string{"0s", "5m0s", "15m0s", "35m0s", "1h15m0s", "2h35m0s", "5h15m0s", "10h35m0s", "21h15m0s", "42h35m0s", "66h35m0s"}
	if diff := cmp.Diff(want, tries(&w, offer{delta: 400}, now, 70*time.Hour)); diff != "" {
		t.Error(diff)
	}
	later := now.Add(91 * time.Hour)
	if c, err := (&offer{}).ask(&w, later); err != nil || !c.ByDelta || w.NoDelta.Times == 0 {
		t.Errorf("the first round: %+v, %v, %+v; Graph may refuse the second", c, err, w)
	}
	if c, err := (&offer{}).ask(&w, later); err != nil || !c.ByDelta || w.NoDelta.Times != 0 || w.Probe != nil {
		t.Errorf("the second round: %+v, %v, %+v", c, err, w)
	}
	// A clock that was ahead does not delay it for as long.
	w.NoDelta = graph.Refusal{At: later.AddDate(1, 0, 0), Times: 20}
	if c, err := (&offer{}).ask(&w, later); err != nil || !c.ByDelta {
		t.Errorf("after the clock was set back: %+v, %v", c, err)
	}
}
