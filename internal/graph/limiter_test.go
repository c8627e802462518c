package graph_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
)

// An exchange answers after 300 ms, and refuses what exceeds one of its limits.
type exchange struct {
	perMailbox, perApplication int // 0: any number

	mu                       sync.Mutex
	inFlight                 map[string]int
	all, most, done, refused int
}

func (x *exchange) RoundTrip(r *http.Request) (*http.Response, error) {
	mailbox := strings.Split(r.URL.Path, "/")[3]
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
	time.Sleep(300 * time.Millisecond)
	return graphtest.Answer(http.StatusOK, `{"value": []}`), nil
}

// poll reads the calendars of 200 mailboxes again and again, for four minutes, and returns the share of refused requests in the last two.
func (x *exchange) poll(t *testing.T, l *graph.Limiter) (refused, rate float64) {
	t.Helper()
	x.inFlight = map[string]int{}
	c := client(t, graph.Options{Transport: x, Application: true, Limiter: l})
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	var rooms sync.WaitGroup
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
	time.Sleep(2 * time.Minute)
	x.mu.Lock()
	x.done, x.refused = 0, 0
	x.mu.Unlock()
	rooms.Wait()
	return float64(x.refused) / float64(x.done+x.refused), float64(x.done) / 120
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
