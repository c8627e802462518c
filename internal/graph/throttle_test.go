package graph_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
)

// A service of Graph that throttles when told to.
type service struct {
	asked  atomic.Int32
	answer atomic.Pointer[func() *http.Response]
}

func (s *service) RoundTrip(r *http.Request) (*http.Response, error) {
	s.asked.Add(1)
	return (*s.answer.Load())(), nil
}

func (s *service) answers(status int, header ...string) {
	f := func() *http.Response { return graphtest.Answer(status, "{}", header...) }
	s.answer.Store(&f)
}

func TestRetryAfter(t *testing.T) {
	for _, test := range []struct {
		status   int
		header   []string
		min, max time.Duration // 0: nothing is blocked
	}{
		{429, []string{"Retry-After", "10"}, 10 * time.Second, 10 * time.Second},
		{429, []string{"Retry-After", "1.9"}, 1900 * time.Millisecond, 1900 * time.Millisecond},
		{429, []string{"Retry-After", "Sat, 01 Jan 2000 00:00:30 GMT"}, 30 * time.Second, 30 * time.Second}, // the bubble's clock starts at midnight
		{429, []string{"Retry-After", "Thu, 23 Oct 2031 10:01:00 GMT", "Date", "Thu, 23 Oct 2031 10:00:00 GMT"}, time.Minute, time.Minute},
		{429, []string{"Retry-After", "999999999999"}, time.Hour, time.Hour},
		{429, []string{"Retry-After", "Inf"}, time.Hour, time.Hour},
		{429, nil, 2 * time.Second, 4 * time.Second},
		{429, []string{"Retry-After", "0"}, 2 * time.Second, 4 * time.Second},
		{429, []string{"Retry-After", "-5"}, 2 * time.Second, 4 * time.Second},
		{429, []string{"Retry-After", "NaN"}, 2 * time.Second, 4 * time.Second},
		{429, []string{"Retry-After", "soon"}, 2 * time.Second, 4 * time.Second},
		{429, []string{"Retry-After", "Sat, 01 Jan 1999 00:00:30 GMT"}, 2 * time.Second, 4 * time.Second},
		{503, []string{"Retry-After", "5"}, 5 * time.Second, 5 * time.Second},
		{503, nil, 0, 0},
		{504, []string{"Retry-After", "5"}, 0, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			var s service
			c := client(t, graph.Options{Transport: &s})
			name := fmt.Sprint(test.status, test.header)
			s.answers(test.status, test.header...)
			err := c.Do(t.Context(), "write", write(t, c), nil)
			var e *graph.Error
			if !errors.As(err, &e) || e.OutcomeUnknown != (test.status == 504) || e.Retryable() == e.OutcomeUnknown || !e.Transient() {
				t.Fatalf("%s: %v", name, err)
			}
			s.answers(200)
			if test.max == 0 {
				if err := c.Do(t.Context(), "write", write(t, c), nil); err != nil {
					t.Errorf("%s: blocked: %v", name, err)
				}
				return
			}
			wait := e.RetryAfter
			if e.Reason != graph.Throttled || wait < test.min || wait > test.max {
				t.Errorf("%s: %v, wait %v; want between %v and %v", name, e, wait, test.min, test.max)
			}
			time.Sleep(wait - 1)
			wants(t, c.Do(t.Context(), "write", write(t, c), nil), "write: Microsoft asked to wait", graph.Error{Reason: graph.Throttled, RetryAfter: 1})
			if got := c.Stats(); got != (graph.Stats{Requests: 1, Throttled: 1, Errors: 1, ThrottledUntil: time.Now().Add(1), ThrottledFor: wait}) {
				t.Errorf("%s: stats %+v", name, got)
			}
			time.Sleep(time.Nanosecond)
			if err := c.Do(t.Context(), "write", write(t, c), nil); err != nil {
				t.Errorf("%s: after the wait: %v", name, err)
			}
			if got := c.Stats(); got != (graph.Stats{Requests: 2, Throttled: 1, Errors: 1, ThrottledFor: wait}) {
				t.Errorf("%s: stats %+v", name, got)
			}
		})
	}
}

func TestBackoffWithoutRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s service
		c := client(t, graph.Options{Transport: &s})
		ask := func() time.Duration {
			var e *graph.Error
			if errors.As(c.Do(t.Context(), "read", read(t, c), nil), &e) {
				time.Sleep(e.RetryAfter)
				return e.RetryAfter
			}
			return 0
		}
		s.answers(429)
		nominal := 3 * time.Second
		for range 10 {
			if wait := ask(); wait < nominal*2/3 || wait > nominal*4/3+time.Nanosecond {
				t.Errorf("waited %v where about %v was due", wait, nominal)
			}
			nominal = min(2*nominal, 225*time.Second)
		}
		s.answers(200)
		ask()
		s.answers(429)
		if wait := ask(); wait > 4*time.Second {
			t.Errorf("after a success: waited %v", wait)
		}
	})
}

// Requests that are refused together do not make the pause four times as long.
func TestRefusedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := client(t, graph.Options{Transport: graphtest.RoundTripper(func(*http.Request) (*http.Response, error) {
			time.Sleep(time.Millisecond)
			return graphtest.Answer(429, ""), nil
		})})
		var wg sync.WaitGroup
		for range 8 { // four of which still wait for their turn when the bucket is blocked
			wg.Go(func() {
				if err := c.Do(t.Context(), "read", read(t, c), nil); !graph.Is(err, graph.Throttled) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		got := c.Stats()
		if wait := time.Until(got.ThrottledUntil); got.Requests != 4 || wait > 4*time.Second {
			t.Errorf("%d requests, wait %v", got.Requests, wait)
		}
	})
}

// A later answer does not shorten the wait.
func TestLongestWaitHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		waits := make(chan string, 2)
		waits <- "60"
		waits <- "10"
		c := client(t, graph.Options{Transport: graphtest.RoundTripper(func(*http.Request) (*http.Response, error) {
			wait := <-waits
			time.Sleep(time.Second) // until both are in
			if wait == "10" {
				time.Sleep(time.Second)
			}
			return graphtest.Answer(429, "", "Retry-After", wait), nil
		})})
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() { c.Do(t.Context(), "read", read(t, c), nil) })
		}
		wg.Wait()
		if got := time.Until(c.Stats().ThrottledUntil); got != 59*time.Second {
			t.Errorf("%v left of a minute, after a second", got)
		}
	})
}

func TestOnlyRequestsOfTheSameLimitWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s service
		c := client(t, graph.Options{Transport: &s})
		s.answers(429, "Retry-After", "60")
		ctx := t.Context()
		if err := c.Do(ctx, "read", read(t, c), nil); !graph.Is(err, graph.Throttled) {
			t.Fatal(err)
		}
		s.answers(200)
		if err := c.Do(ctx, "write", write(t, c), nil); !graph.Is(err, graph.Throttled) {
			t.Errorf("the same mailbox: %v", err)
		}
		presence, _ := c.Me().Presence().ToGetRequestInformation(ctx, nil)
		other, _ := c.User("other@contoso.com").Events().ToGetRequestInformation(ctx, nil)
		if err := c.Do(ctx, "read the presence", presence, nil); err != nil {
			t.Errorf("presence: %v", err)
		}
		if err := c.Do(ctx, "read the events", other, nil); err != nil {
			t.Errorf("another mailbox: %v", err)
		}
	})
}

// Graph may name the same mailbox otherwise on the next page.
func TestPagesShareTheLimit(t *testing.T) {
	c := client(t, graph.Options{Transport: graphtest.RoundTripper(func(r *http.Request) (*http.Response, error) {
		if r.URL.Path == "/v1.0/me/events" {
			return graphtest.Answer(200, `{"value": [], "@odata.nextLink": "https://graph.example/v1.0/users('1')/events?$skip=10"}`), nil
		}
		return graphtest.Answer(429, "", "Retry-After", "60"), nil
	})})
	_, err := graph.List[event](t.Context(), c, "read the events", events(t, c))
	if !graph.Is(err, graph.Throttled) {
		t.Fatal(err)
	}
	err = c.Do(t.Context(), "read the settings", read(t, c), nil)
	if !graph.Is(err, graph.Throttled) || err.Error() != "read the settings: Microsoft asked to wait" {
		t.Errorf("the same mailbox: %v", err)
	}
}

func TestInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var flying atomic.Int32
		c := client(t, graph.Options{Transport: graphtest.RoundTripper(func(*http.Request) (*http.Response, error) {
			flying.Add(1)
			<-release
			flying.Add(-1)
			return graphtest.Answer(200, "{}"), nil
		})})
		errs := make(chan error, 10)
		for range 9 {
			go func() { errs <- c.Do(t.Context(), "read", read(t, c), nil) }()
		}
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		go func() { errs <- c.Do(ctx, "wait", write(t, c), nil) }()
		synctest.Wait()
		if flying.Load() != 4 {
			t.Errorf("%d in flight", flying.Load())
		}
		cancel()
		if err := <-errs; !errors.Is(err, context.Canceled) || err.Error() != "wait: context canceled" {
			t.Errorf("who was waiting: %v", err)
		}
		close(release)
		for range 9 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
	})
}

// Throttling of one mailbox is logged once, with its end, regardless of the number of sensors; the answer 429 and the requests
// that are held back afterwards have the same error.
func TestThrottlingIsLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s service
		var log bytes.Buffer
		c := client(t, graph.Options{Transport: &s, Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{
			ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
				if a.Key == slog.TimeKey {
					return slog.Attr{}
				}
				return a
			},
		}))})
		s.answers(429, "Retry-After", "60")
		for range 3 {
			for i := range 3 {
				if err := c.Do(t.Context(), "read", read(t, c), nil); !graph.Is(err, graph.Throttled) || err.Error() != "read: Microsoft asked to wait" {
					t.Errorf("request %d: %v", i, err)
				}
			}
			time.Sleep(time.Minute)
		}
		s.answers(200)
		for range 3 {
			if err := c.Do(t.Context(), "write", write(t, c), nil); err != nil {
				t.Error(err)
			}
		}
		want := `level=WARN msg="throttled by Microsoft" limit="outlook of me" retry_in=1m0s
level=INFO msg="no longer throttled by Microsoft" limit="outlook of me"
`
		if diff := cmp.Diff(want, log.String()); diff != "" {
			t.Errorf("log (-want +got):\n%s", diff)
		}
	})
}
