package graph_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
)

// An exchange answers after 300 ms, of which the way to it and back takes network, and refuses what exceeds one of its limits.
type exchange struct {
	perMailbox, perApplication int // 0: any number
	network                    time.Duration

	mu                       sync.Mutex
	inFlight                 map[string]int
	all, most, done, refused int
}

func (x *exchange) RoundTrip(r *http.Request) (*http.Response, error) {
	mailbox := strings.Split(r.URL.Path, "/")[3]
	time.Sleep(x.network / 2)
	defer time.Sleep(x.network / 2)
	x.mu.Lock()
	x.inFlight[mailbox]++
	x.all++
	x.most = max(x.most, x.all)
	over := x.perMailbox != 0 && x.inFlight[mailbox] > x.perMailbox || x.perApplication != 0 && x.all > x.perApplication
	x.mu.Unlock()
	defer func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.inFlight[mailbox]--
		x.all--
		if over {
			x.refused++
		} else {
			x.done++
		}
	}()
	if over {
		return graphtest.Answer(http.StatusTooManyRequests, `{"error": {"code": "ApplicationThrottled", "message": "Application is over its MailboxConcurrency limit."}}`, "Retry-After", "1"), nil
	}
	time.Sleep(300*time.Millisecond - x.network)
	return graphtest.Answer(http.StatusOK, `{"value": []}`), nil
}

// poll reads the calendars of 200 mailboxes again and again, for four minutes, and returns the share of refused requests in the last two.
func (x *exchange) poll(t *testing.T, l *graph.Limiter) (refused, rate float64) {
	t.Helper()
	x.inFlight = map[string]int{}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	var rooms sync.WaitGroup
	readRooms(ctx, t, &rooms, x, l)
	time.Sleep(2 * time.Minute)
	x.mu.Lock()
	x.done, x.refused = 0, 0
	x.mu.Unlock()
	rooms.Wait()
	return float64(x.refused) / float64(x.done+x.refused), float64(x.done) / 120
}

// readRooms reads the calendars of 200 mailboxes again and again until ctx is done.
func readRooms(ctx context.Context, t *testing.T, rooms *sync.WaitGroup, x http.RoundTripper, l *graph.Limiter) {
	c := client(t, graph.Options{Transport: x, Application: true, Limiter: l})
	for i := range 200 {
		rooms.Go(func() {
			for ctx.Err() == nil {
				_, err := graph.Get[struct{ Value []any }](ctx, c, "read", c.User(fmt.Sprintf("room%d@contoso.com", i)).Calendars().ToGetRequestInformation, (*users.ItemCalendarsRequestBuilderGetRequestConfiguration)(nil))
				if err != nil {
					time.Sleep(time.Second)
				}
			}
		})
	}
}

// A counter counts the requests of one of several that share an exchange.
type counter struct {
	http.RoundTripper
	answered, refused atomic.Int64
}

func (c *counter) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := c.RoundTripper.RoundTrip(r)
	switch {
	case err != nil:
	case res.StatusCode == http.StatusOK:
		c.answered.Add(1)
	default:
		c.refused.Add(1)
	}
	return res, err
}

// Processes that do not know of each other find a level together if the limit is that of the application: few requests are refused, and none
// is left with nothing, though chance makes the shares of some minutes differ. One after the other begins, when those before it use everything.
func TestLimitersShareALimit(t *testing.T) {
	for name, test := range map[string]struct {
		limiters, limit int
		network         time.Duration
		refused, share  float64 // at most, and at least
	}{
		"two share four":           {2, 4, 60 * time.Millisecond, 0.03, 0.15},
		"two share four, no delay": {2, 4, 2 * time.Millisecond, 0.05, 0.02}, // who has a slot is nearly always the first to get it again
		"two share twenty":         {2, 20, 60 * time.Millisecond, 0.01, 0.15},
		"six share four":           {6, 4, 60 * time.Millisecond, 0.15, 0.1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := &exchange{perApplication: test.limit, network: test.network, inFlight: map[string]int{}}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var rooms sync.WaitGroup
				var all []*counter
				for range test.limiters {
					c := &counter{RoundTripper: x}
					all = append(all, c)
					readRooms(ctx, t, &rooms, c, graph.NewLimiter(nil))
					time.Sleep(2 * time.Minute)
				}
				time.Sleep(5 * time.Minute)
				for _, c := range all {
					c.answered.Store(0)
					c.refused.Store(0)
				}
				const span = 8 * time.Minute
				time.Sleep(span)
				cancel()
				rooms.Wait()
				var answered, refused []int64
				var sum, sumRefused int64
				for _, c := range all {
					answered, refused = append(answered, c.answered.Load()), append(refused, c.refused.Load())
					sum, sumRefused = sum+c.answered.Load(), sumRefused+c.refused.Load()
				}
				refusals := float64(sumRefused) / float64(sum+sumRefused)
				share := float64(slices.Min(answered)) / float64(slices.Max(answered))
				used := float64(sum) / (float64(test.limit) / 0.3 * span.Seconds())
				t.Logf("answered %v, refused %v: %.1f %% refused, the smallest share is %.2f of the largest, %.0f %% of what is possible", answered, refused, 100*refusals, share, 100*used)
				if refusals > test.refused || share < test.share || used < 0.5 {
					t.Errorf("%.1f %% refused, the smallest share is %.2f of the largest, %.0f %% of what is possible", 100*refusals, share, 100*used)
				}
			})
		})
	}
}

// Whatever Microsoft's limit means, nearly all requests are answered, and nearly as many as possible.
func TestLimiterFindsItsLevel(t *testing.T) {
	for name, test := range map[string]struct {
		exchange *exchange
		possible float64 // requests a second
	}{
		"four for each mailbox":     {&exchange{perMailbox: 4}, 50 / 0.3},
		"four for the application":  {&exchange{perApplication: 4}, 4 / 0.3},
		"twenty of the application": {&exchange{perApplication: 20}, 20 / 0.3},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := test.exchange
				refused, rate := x.poll(t, graph.NewLimiter(nil))
				t.Logf("%.1f of %.1f requests a second, %.2f %% refused, at most %d in flight", rate, test.possible, 100*refused, x.most)
				if refused > 0.01 || rate < 0.7*test.possible || rate > 1.01*test.possible {
					t.Errorf("%.1f of %.1f requests a second, %.1f %% refused", rate, test.possible, 100*refused)
				}
			})
		})
	}
}

// Who gives up while waiting takes no slot along.
func TestLimiterGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := exchange{inFlight: map[string]int{}}
		l := graph.NewLimiter(nil)
		c := client(t, graph.Options{Transport: &x, Application: true, Limiter: l})
		get := func(ctx context.Context, i int) error {
			_, err := graph.Get[struct{ Value []any }](ctx, c, "read", c.User(fmt.Sprintf("room%d@contoso.com", i)).Calendars().ToGetRequestInformation, (*users.ItemCalendarsRequestBuilderGetRequestConfiguration)(nil))
			return err
		}
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			var callers sync.WaitGroup
			for i := range 20 {
				callers.Go(func() { _ = get(ctx, i) })
			}
			callers.Wait()
			cancel()
			time.Sleep(time.Second) // the exchange is done with them
		}
		if err := get(t.Context(), 1); err != nil || l.Limit() < 4 {
			t.Errorf("limit %d, %v", l.Limit(), err)
		}
	})
}

// Requests that a user waits for go before polls in the background. These still get a slot from time to time, even when only one request at a
// time is let through, with rests.
func TestLimiterLetsOthersGoFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var order []string
		c := client(t, graph.Options{Application: true, Limiter: graph.NewLimiter(nil), Transport: graphtest.RoundTripper(func(r *http.Request) (*http.Response, error) {
			mu.Lock()
			order = append(order, strings.TrimSuffix(strings.Split(r.URL.Path, "/")[3], "@contoso.com"))
			mu.Unlock()
			time.Sleep(300 * time.Millisecond)
			return graphtest.Answer(http.StatusOK, `{"value": []}`), nil
		})})
		var requests sync.WaitGroup
		read := func(ctx context.Context, name string) {
			requests.Go(func() {
				if _, err := graph.Get[struct{ Value []any }](ctx, c, "read", c.User(name+"@contoso.com").Calendars().ToGetRequestInformation, (*users.ItemCalendarsRequestBuilderGetRequestConfiguration)(nil)); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait() // in this order
		}
		for i := range 30 {
			read(graph.InBackground(t.Context()), fmt.Sprintf("poll%d", i))
		}
		for i := range 20 {
			read(t.Context(), fmt.Sprintf("booking%d", i))
		}
		requests.Wait()
		bookings, polls := 0, 0
		for _, name := range order[4:] { // four polls were sent before the others came
			if strings.HasPrefix(name, "poll") {
				polls++
			} else if bookings++; bookings == 20 {
				break
			}
		}
		if polls < 1 || polls > 8 { // those that are sent at the same time come in any order
			t.Errorf("%d polls went before the last of %d bookings: %v", polls, bookings, order)
		}
	})
}
