package status_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
	"github.com/graph2mqtt/graph2mqtt/sensors"
	"github.com/graph2mqtt/graph2mqtt/sensors/status"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// A bridge polls one's own status every hour, and continues with its snapshot after a restart.
type bridge struct {
	t       *testing.T
	s       *simulator.Simulator
	offered bool
	scopes  []string
	options *status.Options
	poller  sensors.Poller
	stored  []byte
	kept    func() any // the attribute
	stop    func()
}

func (b *bridge) start() {
	b.options = options(b.t, nil)
	if b.offered {
		b.options.Offer([]string{"update_user_status", "clear_status"})
	}
	ctx, cancel := context.WithCancel(b.t.Context())
	var mu sync.Mutex
	var until any
	b.kept = func() any {
		mu.Lock()
		defer mu.Unlock()
		return until
	}
	store := &lastRecord{}
	poller := sensors.Of(b.options).NewPoller(sensors.PollerOptions{
		Graph: graphtest.Client(b.t, b.s, simulator.Adele, b.scopes...), Interval: time.Hour, PhaseKey: "work status",
		Location: func() *time.Location { return time.UTC }, Log: slog.New(slog.DiscardHandler), Store: store, Key: "work/status", Stored: b.stored,
		OnState: func(s sensors.State) {
			mu.Lock()
			defer mu.Unlock()
			until = s.Attributes["kept_until"]
		},
	})
	b.poller = poller
	done := make(chan error, 1)
	go func() { done <- poller.Run(ctx) }()
	b.stop = func() {
		cancel()
		if err := <-done; err != nil {
			b.t.Error(err)
		}
		b.stored = store.value
	}
	time.Sleep(time.Second)
}

// do executes a request and shows its result.
func (b *bridge) do(name, request string) error {
	b.t.Helper()
	all := b.options.Operations()
	op := all[slices.IndexFunc(all, func(o services.Operation) bool { return o.Name == name })]
	r, err := services.Decode(op, []byte(request))
	if err != nil {
		return err
	}
	result, err := r.Execute(b.t.Context(), graphtest.Client(b.t, b.s, simulator.Adele, b.scopes...), services.Attempt{ID: "1", Now: time.Now()})
	if err == nil {
		b.poller.Apply(b.t.Context(), result)
	}
	return err
}

// session is the presence that the bridge reports now.
func (b *bridge) session() string {
	s := b.s.PresenceSession(simulator.Adele, simulator.ContosoClient)
	if !time.Now().Before(s.Expires) {
		return ""
	}
	return s.Availability
}

// lastRecord keeps what was stored last.
type lastRecord struct{ value []byte }

func (l *lastRecord) Put(_, _ string, value []byte)                 { l.value = value }
func (l *lastRecord) Delete(_, _ string)                            { l.value = nil }
func (l *lastRecord) Commit(write func(services.Tx), f func(error)) { l.CommitWithin(0, write, f) }
func (l *lastRecord) CommitLazily(write func(services.Tx))          { write(l) }
func (l *lastRecord) CommitWithin(_ time.Duration, write func(services.Tx), f func(error)) {
	write(l)
	if f != nil {
		go f(nil)
	}
}

// sets returns when, after start, the session was set or cleared, and for how long.
func sets(s *simulator.Simulator, start time.Time) []string {
	var all []string
	for _, r := range s.Requests() {
		var body struct{ ExpirationDuration string }
		if r.Method != http.MethodPost || json.Unmarshal(r.Body, &body) != nil {
			continue
		}
		all = append(all, fmt.Sprint(r.Time.Sub(start).Round(time.Minute), " ", r.Path[strings.LastIndex(r.Path, "/")+1:], " ", body.ExpirationDuration))
	}
	return all
}

func newBridge(t *testing.T) *bridge {
	b := &bridge{t: t, s: simulator.Contoso(simulator.Options{}), offered: true, scopes: []string{"User.Read", "Presence.Read", "Presence.ReadWrite"}}
	b.s.SetPresence(simulator.Adele, simulator.Presence{Availability: "Away"})
	b.start()
	return b
}

// TestKeep: a kept session is repeated every four minutes whatever the interval is, and ends at its time.
func TestKeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBridge(t)
		defer func() { b.stop() }()
		start := time.Now()
		if err := b.do("update_user_status", `{"availability": "Available", "activity": "Available", "expiration_duration": "PT15M", "keep": true}`); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(any(start.Truncate(time.Second).Add(15*time.Minute).UTC()), b.kept()); d != "" {
			t.Errorf("kept_until (-want +got):\n%s", d)
		}
		for range 14 {
			time.Sleep(time.Minute)
			if p := b.s.Presence(simulator.Adele); p.Activity != "Available" {
				t.Errorf("after %v: %s", time.Since(start), p.Activity)
			}
		}
		time.Sleep(time.Hour)
		want := []string{"0s setPresence PT15M0S", "4m0s setPresence PT11M", "8m0s setPresence PT7M", "12m0s setPresence PT5M", "15m0s clearPresence "}
		got := sets(b.s, start)
		for i := range got {
			if i < len(want) && strings.HasPrefix(got[i], want[i]) {
				got[i] = want[i]
			}
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
		if b.kept() != nil || b.session() != "" {
			t.Errorf("at the end: %v, %q", b.kept(), b.session())
		}
	})
}

// TestKeepForTwelveHours: Graph takes four hours at a time.
func TestKeepForTwelveHours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBridge(t)
		defer func() { b.stop() }()
		if err := b.do("update_user_status", `{"availability": "Busy", "activity": "InACall", "expiration_duration": "12h", "keep": true}`); err != nil {
			t.Fatal(err)
		}
		for range 11 {
			time.Sleep(time.Hour)
			if b.session() != "Busy" {
				t.Fatal("the session is gone")
			}
		}
		time.Sleep(time.Hour + time.Minute)
		if b.session() != "" {
			t.Error("the session is still there")
		}
	})
}

// TestKeepEnds: nothing is repeated after clear_status, or after another status was set.
func TestKeepEnds(t *testing.T) {
	for _, request := range []string{`{}`, `{"availability": "Busy", "activity": "InACall", "expiration_duration": "5m"}`} {
		synctest.Test(t, func(t *testing.T) {
			b := newBridge(t)
			defer func() { b.stop() }()
			if err := b.do("update_user_status", `{"availability": "Available", "activity": "Available", "expiration_duration": "PT1H", "keep": true}`); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Minute)
			op := "clear_status"
			if request != "{}" {
				op = "update_user_status"
			}
			if err := b.do(op, request); err != nil {
				t.Fatal(err)
			}
			b.s.ForgetRequests()
			time.Sleep(2 * time.Hour)
			if got := sets(b.s, time.Now()); got != nil || b.kept() != nil || b.session() != "" {
				t.Errorf("%s: sent %q, kept until %v, reports %q", op, got, b.kept(), b.session())
			}
		})
	}
}

// TestKeepOverRestarts: a restarted bridge continues, unless the configuration or the permissions forbid it by then.
func TestKeepOverRestarts(t *testing.T) {
	for _, tt := range []struct {
		name    string
		change  func(*bridge)
		away    time.Duration
		repeats bool
		kept    bool
	}{
		{"unchanged", func(*bridge) {}, 10 * time.Minute, true, true},
		{"without updates", func(b *bridge) { b.offered = false }, 10 * time.Minute, false, false},
		{"without the permission", func(b *bridge) { b.scopes = b.scopes[:2] }, 10 * time.Minute, false, true},
		{"after its end", func(*bridge) {}, 5 * time.Hour, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBridge(t)
				defer func() { b.stop() }()
				if err := b.do("update_user_status", `{"availability": "Available", "activity": "Available", "expiration_duration": "PT4H", "keep": true}`); err != nil {
					t.Fatal(err)
				}
				time.Sleep(10 * time.Minute)
				b.stop()
				time.Sleep(tt.away)
				tt.change(b)
				b.s.ForgetRequests()
				b.start()
				time.Sleep(20 * time.Minute)
				got := sets(b.s, time.Now())
				if (len(got) == 6) != tt.repeats || (got == nil) == tt.repeats || (b.kept() != nil) != tt.kept {
					t.Errorf("sent %q, kept until %v", got, b.kept())
				}
				if n := b.s.Count(http.MethodGet, "/v1.0/me/presence"); n > 10 {
					t.Errorf("read the presence %d times", n)
				}
			})
		})
	}
}

// TestKeepNeedsABridge: without polls nothing would repeat the session.
func TestKeepNeedsABridge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBridge(t)
		defer func() { b.stop() }()
		b.options = options(t, nil)
		err := b.do("update_user_status", `{"availability": "Available", "activity": "Available", "expiration_duration": "PT4H", "keep": true}`)
		if want := "keep: want false, because only a running bridge that reads your presence can repeat it: send the request to it over MQTT"; err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
		if b.session() != "" {
			t.Error("the session was set")
		}
	})
}

// TestKeepFailure: a failed repetition is tried again like any poll, not at once.
func TestKeepFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBridge(t)
		defer func() { b.stop() }()
		if err := b.do("update_user_status", `{"availability": "Busy", "activity": "InACall", "expiration_duration": "PT1H", "keep": true}`); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		b.s.ForgetRequests()
		b.s.Fail(simulator.Fault{Method: http.MethodPost, Status: http.StatusInternalServerError, Times: 2})
		time.Sleep(5 * time.Minute)
		if n := b.s.Count(http.MethodPost, ""); n < 3 || n > 5 {
			t.Errorf("%d repetitions", n)
		}
		if b.session() != "Busy" || b.kept() == nil {
			t.Errorf("reports %q, kept until %v", b.session(), b.kept())
		}
	})
}
