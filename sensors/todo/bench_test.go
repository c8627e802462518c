package todo_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

// lists returns a simulator with four lists of 30 open and 10 completed tasks, and their sensors.
func lists(t testing.TB) (*simulator.Simulator, []*driver) {
	s := contoso()
	var ds []*driver
	for _, name := range []string{"Tasks", "Shopping", "Work", "Garden"} {
		if name != "Tasks" {
			s.AddTodoList(simulator.Adele, name)
		}
		for i := range 30 {
			s.AddTask(simulator.Adele, name, simulator.Task{Title: fmt.Sprintf("Task %d of %s", i, name), Body: "Do not forget it.", Due: time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, i)})
		}
		for i := range 10 {
			s.AddTask(simulator.Adele, name, simulator.Task{Title: fmt.Sprintf("Done %d of %s", i, name), Status: "completed"})
		}
		ds = append(ds, list(t, map[string]any{"list": name}))
	}
	return s, ds
}

// An idle poll is one request for each list, and every five minutes another one, also where Graph refuses delta queries.
func TestIdleCost(t *testing.T) {
	for name, o := range map[string]simulator.TodoOptions{"delta": {}, "probe": {NoDelta: true}} {
		t.Run(name, func(t *testing.T) { testIdleCost(t, o) })
	}
}

func testIdleCost(t *testing.T, o simulator.TodoOptions) {
	synctest.Test(t, func(t *testing.T) {
		s, ds := lists(t)
		s.SetTodoOptions(simulator.Adele, o)
		g, wire := graphtest.Counted(t, s, simulator.Adele, "Tasks.Read")
		for _, d := range ds {
			d.Poll(t, g, time.Now())
		}
		polls, all := 0, 0
		for range 10 { // minutes
			time.Sleep(time.Minute)
			for _, d := range ds {
				wire.Take()
				expect(t, "idle", d.Poll(t, g, time.Now()))
				n, bytes := wire.Take()
				all += n
				if polls++; n == 1 && bytes > 600 {
					t.Errorf("%d bytes", bytes)
				}
			}
		}
		want := 40 + 4*2
		if o.NoDelta {
			want += 4 // it is tried again
		}
		// MS365 sends 8 a minute.
		if polls != 40 || all != want {
			t.Errorf("%d requests in %d polls, want one for each and one more for each list every 5 minutes", all, polls)
		}
	})
}

// BenchmarkIdle measures a minute of four lists with 30 open and 10 completed tasks each. The MS365 integration for Home Assistant needs
// 8 requests and 16,628 bytes.
func BenchmarkIdle(b *testing.B) {
	s, ds := lists(b)
	g, wire := graphtest.Counted(b, s, simulator.Adele, "Tasks.Read")
	now := time.Now()
	for _, d := range ds {
		d.Poll(b, g, now)
	}
	wire.Take()
	minutes := 0
	for b.Loop() {
		for range 5 { // minutes, after which everything is read
			now = now.Add(time.Minute)
			minutes++
			for _, d := range ds {
				d.Poll(b, g, now)
			}
		}
	}
	requests, bytes := wire.Take()
	b.ReportMetric(float64(requests)/float64(minutes), "requests/min")
	b.ReportMetric(float64(bytes)/float64(minutes), "bytes/min")
	b.ReportMetric(8, "MS365-requests/min")
	b.ReportMetric(16628, "MS365-bytes/min")
}
