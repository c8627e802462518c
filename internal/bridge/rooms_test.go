package bridge_test

import (
	"net/http"
	stdruntime "runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/cputest"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// An exchange is the way to the mailboxes of the simulator, which takes latency, a fifth of it for the network. With a limit it refuses requests
// of the application while as many are in flight, whatever their mailboxes, as one of Microsoft's documents says.
type exchange struct {
	limit   int // 0: none
	latency time.Duration

	mu       sync.Mutex
	inFlight int
	answered map[string]int // requests for calendars, by the name of the bridge
	refused  map[string]int
}

// of returns the transport of a bridge, whose requests it counts by a name.
func (x *exchange) of(name string) func(http.RoundTripper) http.RoundTripper {
	return func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			if !strings.Contains(r.URL.Path, "/users/") {
				return next.RoundTrip(r)
			}
			time.Sleep(x.latency / 10)
			defer time.Sleep(x.latency / 10)
			x.mu.Lock()
			over := x.limit != 0 && x.inFlight >= x.limit
			x.inFlight++
			if over {
				x.refused[name]++
			} else {
				x.answered[name]++
			}
			x.mu.Unlock()
			defer func() {
				x.mu.Lock()
				x.inFlight--
				x.mu.Unlock()
			}()
			if over {
				return graphtest.Answer(http.StatusTooManyRequests, `{"error": {"code": "ApplicationThrottled", "message": "Application is over its MailboxConcurrency limit."}}`, "Retry-After", "1"), nil
			}
			time.Sleep(x.latency * 8 / 10)
			return next.RoundTrip(r)
		})
	}
}

// take returns the answered and the refused requests of a bridge since the last call.
func (x *exchange) take(name string) (answered, refused int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	answered, refused = x.answered[name], x.refused[name]
	delete(x.answered, name)
	delete(x.refused, name)
	return answered, refused
}

// newExchange returns an exchange and a simulator with n rooms, which an application may read and book.
func newExchange(limit, n int) (*exchange, *simulator.Simulator) {
	s := simulator.Contoso(simulator.Options{})
	s.SetTokenLifetime(10_000*time.Hour, 0)
	s.Register(simulator.Registration{ClientID: application, Tenant: simulator.ContosoTenant, FederatedToken: workloadToken, Roles: []string{"Place.Read.All", "Calendars.ReadWrite"}})
	for _, a := range roomAddresses(n) {
		s.AddRoom(simulator.Room{Address: a, Name: strings.TrimSuffix(a, "@contoso.example")})
	}
	return &exchange{limit: limit, latency: 300 * time.Millisecond, answered: map[string]int{}, refused: map[string]int{}}, s
}

// startRooms starts the organization contoso with all rooms.
func startRooms(t *testing.T, x *exchange, s *simulator.Simulator, name, keys string) *fleet {
	t.Helper()
	f := startFleet(t, fleetSetup{organization: keys, simulator: s, transport: x.of(name)})
	s.FreezeClock(false)
	return f
}

// A further room costs the same, however many there are.
func TestCostOfARoom(t *testing.T) {
	small, large := 150, 1200
	if testing.Short() {
		small, large = 100, 500
	}
	type cost struct{ requests, cpu, memory, goroutines, commits, payloads, changes float64 } // of each room
	measure := func(n int) (start, minute cost) {
		synctest.Test(t, func(t *testing.T) {
			const minutes = 3
			x, s := newExchange(0, n)
			memory, goroutines, cpu := liveMemory(), stdruntime.NumGoroutine(), cputest.Time(t)
			f := startRooms(t, x, s, "", "    rooms: {}\n")
			of := func(value int) float64 { return float64(value) / float64(n) }
			time.Sleep(2 * time.Minute)
			synctest.Wait()
			if got := f.Published.holding("availability", "online"); got != n {
				t.Fatalf("%d of %d rooms are online", got, n)
			}
			requests, _ := x.take("")
			start = cost{requests: of(requests), cpu: (cputest.Time(t) - cpu).Seconds() / float64(n), commits: float64(f.Database.Stats().Commits)}
			s.ForgetRequests()
			start.memory, start.goroutines = (float64(liveMemory())-float64(memory))/float64(n), of(stdruntime.NumGoroutine()-goroutines)

			f.Published.TakeChanges()
			commits, payloads := f.Database.Stats().Commits, f.Published.Encoded()
			cpu = cputest.Time(t)
			time.Sleep(minutes * time.Minute)
			synctest.Wait()
			requests, _ = x.take("")
			changes := 0
			for _, n := range f.Published.TakeChanges() {
				changes += n
			}
			minute = cost{
				requests: of(requests) / minutes, cpu: (cputest.Time(t) - cpu).Seconds() / float64(n) / minutes,
				commits: float64(f.Database.Stats().Commits - commits), payloads: float64(f.Published.Encoded() - payloads), changes: float64(changes),
			}
			f.stop()
		})
		return start, minute
	}
	start1, minute1 := measure(small)
	start2, minute2 := measure(large)
	for n, c := range map[int][2]cost{small: {start1, minute1}, large: {start2, minute2}} {
		t.Logf("%d rooms, each: start %.1f requests, %.2f ms, %.1f KiB, %.1f goroutines, all: %.0f commits; a minute: %.2f requests, %.2f ms, all: %.0f commits, %.0f payloads, %.0f messages",
			n, c[0].requests, 1000*c[0].cpu, c[0].memory/1024, c[0].goroutines, c[0].commits, c[1].requests, 1000*c[1].cpu, c[1].commits, c[1].payloads, c[1].changes)
	}
	if minute2.requests < 0.9 || minute2.requests > 1.1 {
		t.Errorf("%.2f requests a minute for each room", minute2.requests)
	}
	// The rest is for the noise of a busy machine: what is not linear takes five to eight times as much.
	if ratio := (minute2.cpu / minute1.cpu); ratio > 2.5 {
		t.Errorf("with %d rooms instead of %d, a poll of each takes %.1f times the CPU time", large, small, ratio)
	}
	if ratio := (start2.cpu / start1.cpu); ratio > 2.5 {
		t.Errorf("with %d rooms instead of %d, the start of each takes %.1f times the CPU time", large, small, ratio)
	}
	if start2.memory > 1.5*start1.memory || start2.goroutines > 1.5 {
		t.Errorf("with %d rooms instead of %d, each takes %.0f bytes instead of %.0f, and %.1f goroutines", large, small, start2.memory, start1.memory, start2.goroutines)
	}
	if start2.commits > 30 || minute2.commits > 3 || minute2.changes > 3 {
		t.Errorf("%.0f commits for the start, %.0f commits and %.0f messages while nothing changes", start2.commits, minute2.commits, minute2.changes)
	}
}

// While rooms wait for those before them, no poll fails, and each is polled before any is polled again. Bookings are answered first.
func TestRoomsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 900 // more than a minute of requests
		x, s := newExchange(4, n)
		f := startRooms(t, x, s, "", "    rooms: {enable_update: true}\n")
		time.Sleep(20 * time.Second)
		answer := make(chan services.Response, 1)
		asked := time.Now()
		f.submit("contoso", roomID(roomAddresses(n)[n-1]), "book", "{}", func(r services.Response) { answer <- r })
		if r := <-answer; r.Error != nil || time.Since(asked) > 10*time.Second {
			t.Errorf("a booking is answered after %s: %+v", time.Since(asked), r.Error)
		}
		for f.Published.holding("availability", "online") < n*99/100 { // a few are refused, and come again at the end
			if time.Since(asked) > 10*time.Minute {
				t.Fatalf("%d of %d rooms are online", f.Published.holding("availability", "online"), n)
			}
			time.Sleep(time.Second)
		}
		answered, refused := x.take("")
		t.Logf("%d rooms are online after %s; %d requests, %d refused", n*99/100, time.Since(asked)+20*time.Second, answered, refused)
		if answered > n*105/100 {
			t.Errorf("%d requests until each of %d rooms was read", answered, n)
		}
		if s := string(f.Published.Held("graph2mqtt/contoso/status")); strings.Count(s, `"sensor":`) != strings.Count(s, `"code":"throttled"`) {
			t.Errorf("rooms that wait have problems: %s", s)
		}
	})
}

// Accounts of one application in several shards find a level together that Exchange serves, and each gets its part. Package graph tests other
// limits.
func TestShardsShareTheLimitOfAnApplication(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 100 // more than are served in time
		const minutes = 8
		x, s := newExchange(4, n)
		x.latency = time.Second
		shards := []string{"first", "second"}
		for _, name := range shards {
			startRooms(t, x, s, name, "    rooms: {interval: 15s}\n")
			time.Sleep(time.Minute)
		}
		time.Sleep(5 * time.Minute)
		for _, name := range shards {
			x.take(name)
		}
		time.Sleep(minutes * time.Minute)
		var answered, refused [2]int
		for i, name := range shards {
			answered[i], refused[i] = x.take(name)
		}
		all := answered[0] + answered[1]
		share := float64(min(answered[0], answered[1])) / float64(max(answered[0], answered[1]))
		refusals := float64(refused[0]+refused[1]) / float64(all+refused[0]+refused[1])
		used := float64(all) / (4 * minutes * 60)
		t.Logf("answered %v, refused %v: %.1f %% refused, the smaller share is %.2f of the larger one, %.0f %% of what is possible", answered, refused, 100*refusals, share, 100*used)
		if refusals > 0.05 || share < 0.2 || used < 0.6 {
			t.Errorf("%.1f %% refused, the smaller share is %.2f of the larger one, %.0f %% of what is possible", 100*refusals, share, 100*used)
		}
	})
}
