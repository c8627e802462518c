package page_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/hub"
	"github.com/graph2mqtt/graph2mqtt/internal/web"
	"github.com/graph2mqtt/graph2mqtt/internal/web/page"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// A sharded site has the accounts work, home and lost in shards of their own; the one of lost has no machine.
type sharded struct {
	sites   []*site
	handler *page.StatusPage
	asked   atomic.Int64
	lost    atomic.Pointer[error]
	problem atomic.Pointer[error]
}

func newSharded(t *testing.T) *sharded {
	t.Helper()
	s := &sharded{sites: []*site{newSite(t), newSite(t)}}
	s.sites[1].hub.Remove(calendar)
	s.sites[1].hub.Remove(hub.ID{Account: "work"})
	s.sites[1].hub.Declare(hub.Device{ID: hub.ID{Account: "home"}, Name: "Home"})
	gone := errors.New("no machine answers")
	s.lost.Store(&gone)
	shards := page.NewShards(page.ShardsOptions{
		Count: 3, Log: slog.New(slog.DiscardHandler),
		Accounts: func() []page.ConfiguredAccount {
			return []page.ConfiguredAccount{{ID: "work", Name: "Work"}, {ID: "home", Name: "Home", Shard: 1}, {ID: "lost", Name: "Lost", Application: true, Shard: 2}, {ID: "new", Name: "New", Shard: 1}}
		},
		Problem: func() error {
			if err := s.problem.Load(); err != nil {
				return *err
			}
			return nil
		},
		Do: func(shard int, r *http.Request) (*web.RecordedResponse, error) {
			s.asked.Add(1)
			if shard == 2 {
				return nil, *s.lost.Load()
			}
			return web.Record(s.sites[shard].handler, r, slog.New(slog.DiscardHandler)), nil
		},
	})
	var err error
	s.handler, err = page.New(page.Options{Version: "1.2.3", Started: time.Now(), Log: slog.New(slog.DiscardHandler), Configuration: s.sites[0], Calendars: s.sites[0], Shards: shards})
	if err != nil {
		t.Fatal(err)
	}
	ran := make(chan error)
	go func() { ran <- shards.Run(t.Context()) }()
	t.Cleanup(func() {
		if err := <-ran; err != nil {
			t.Error(err)
		}
	})
	return s
}

// A shardedState holds a part of what the page shows.
type shardedState struct {
	Version string
	State   struct {
		Setup    bool
		Problems []struct{ Code, Message string }
		Program  struct{ Broker struct{ Connected bool } }
		Accounts []struct {
			ID, State, Error string
			Application      bool
		}
		Calendars struct{ Accounts []struct{ Account string } }
	}
}

func (s *sharded) get(t *testing.T, path string) (code int, e shardedState) {
	t.Helper()
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	if w.Code == http.StatusOK {
		if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
	}
	return w.Code, e
}

// The page shows the accounts of all shards, and why some are missing. It follows their changes, and asks nothing while nobody looks.
func TestShards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSharded(t)
		code, first := s.get(t, "/api/state")
		got := first.State.Accounts
		if code != http.StatusOK || first.State.Setup || !first.State.Program.Broker.Connected || len(got) != 4 {
			t.Fatalf("%d, %+v", code, first)
		}
		for i, want := range []string{"home", "lost", "new", "work"} {
			if got[i].ID != want {
				t.Errorf("account %d is %s, want %s", i, got[i].ID, want)
			}
		}
		if got[1].State != "unreachable" || got[1].Error != "Shard 2: no machine answers." || !got[1].Application || got[3].State != "signed_in" || got[3].Error != "" ||
			got[2].State != "unreachable" || got[2].Error != "Its machine has another configuration, without this account." {
			t.Errorf("got %+v", got)
		}
		if accounts := first.State.Calendars.Accounts; len(accounts) != 2 || accounts[0].Account != "home" || accounts[1].Account != "work" {
			t.Errorf("calendars of %+v", accounts)
		}

		if code, _ := s.get(t, "/api/state?after="+first.Version); code != http.StatusNotModified {
			t.Errorf("an unchanged page: %d", code)
		}
		user := "megan@contoso.example"
		changed := time.AfterFunc(3*time.Second, func() {
			s.sites[1].hub.Put(hub.ID{Account: "home"}, hub.State{Account: &hub.AccountStatus{SignIn: hub.SignIn{State: "sign_in_required"}, User: &user}})
		})
		defer changed.Stop()
		begun := time.Now()
		code, next := s.get(t, "/api/state?after="+first.Version)
		if code != http.StatusOK || next.State.Accounts[0].State != "sign_in_required" {
			t.Errorf("%d, %+v", code, next)
		}
		if waited := time.Since(begun); waited < 3*time.Second || waited > 5*time.Second {
			t.Errorf("a change after 3 s was shown after %s", waited)
		}
		if code, last := s.get(t, "/api/state?wait=2&after="+next.Version); code != http.StatusNotModified {
			t.Errorf("%d %+v", code, last)
		}

		time.Sleep(5 * time.Minute)
		synctest.Wait()
		asked := s.asked.Load()
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := s.asked.Load(); n != asked {
			t.Errorf("the shards are asked %d times while nobody looks", n-asked)
		}
		other := errors.New("another reason")
		s.lost.Store(&other)
		if _, again := s.get(t, "/api/state"); again.State.Accounts[1].Error != "Shard 2: another reason." || again.State.Accounts[0].State != "sign_in_required" {
			t.Errorf("got %+v", again)
		}

		if first.State.Problems == nil || len(first.State.Problems) != 0 {
			t.Errorf("problems %+v, want an empty list", first.State.Problems)
		}
		away := errors.New("the shared state cannot be reached: NATS does not answer")
		s.problem.Store(&away)
		time.Sleep(3 * time.Second) // until the lost shard is read again
		synctest.Wait()
		if _, e := s.get(t, "/api/state"); len(e.State.Problems) != 1 || e.State.Problems[0].Code != "unreachable" || e.State.Problems[0].Message != away.Error() {
			t.Errorf("problems %+v, want %v", e.State.Problems, away)
		}
	})
}

// Neither a shard that changes all the time nor a load balancer that sends each request to another machine causes many requests.
func TestShardsAreReadSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSharded(t)
		_, e := s.get(t, "/api/state")
		first := s.asked.Load()
		begun, reads := time.Now(), 0
		for i := 0; time.Since(begun) < time.Minute; i++ {
			user := fmt.Sprintf("megan%d@contoso.example", i)
			s.sites[1].hub.Put(hub.ID{Account: "home"}, hub.State{Account: &hub.AccountStatus{SignIn: hub.SignIn{State: "signed_in"}, User: &user}})
			time.Sleep(100 * time.Millisecond)
			if i%10 == 0 {
				if _, e = s.get(t, "/api/state?after="+e.Version); e.Version == "" {
					t.Fatal("no state")
				}
				reads++
			}
		}
		if n := s.asked.Load() - first; reads < 10 || n > 90 {
			t.Errorf("the shards were asked %d times in a minute, in which the page was read %d times", n, reads)
		}
		for range 3 {
			begun = time.Now()
			if code, _ := s.get(t, "/api/state?after=another"); code != http.StatusOK || time.Since(begun) < time.Second {
				t.Errorf("%d after %s", code, time.Since(begun))
			}
		}
	})
}

// An action goes to the shard of its account; one without an account goes to all, and the failure of one of them is told.
func TestActionsInShards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSharded(t)
		post := func(body string) (int, string) {
			t.Helper()
			r := httptest.NewRequest(http.MethodPost, "/api/actions", strings.NewReader(body))
			r.Header.Set("Content-Type", "application/json")
			w := httptest.NewRecorder()
			s.handler.ServeHTTP(w, r)
			return w.Code, w.Body.String()
		}
		submitted := func() (all []string) {
			for i, site := range s.sites {
				site.mu.Lock()
				for _, r := range site.submitted {
					all = append(all, []string{"first ", "second "}[i]+r.Target.Account+" "+r.Operation+" "+string(r.Payload))
				}
				site.submitted = nil
				site.mu.Unlock()
			}
			slices.Sort(all)
			return all
		}
		if code, body := post(`{"account": "home", "operation": "sign_in", "way": "browser"}`); code != http.StatusOK || body != `{"data":{"message":"done"}}` {
			t.Errorf("%d %s", code, body)
		}
		if diff := cmp.Diff([]string{`second home sign_in {"way":"browser"}`}, submitted()); diff != "" {
			t.Error(diff)
		}
		if code, body := post(`{"operation": "refresh"}`); code != http.StatusServiceUnavailable || body != `{"error":{"code":"unreachable","message":"shard 2: no machine answers"}}` {
			t.Errorf("%d %s", code, body)
		}
		if diff := cmp.Diff([]string{"first  refresh {}", "second  refresh {}"}, submitted()); diff != "" {
			t.Error(diff)
		}
		s.sites[0].respond = func(r services.Inbound) services.Response {
			return services.Response{Op: r.Operation}.Fail(&services.WaitError{Err: &services.Error{Code: "throttled", Message: "wait"}, RetryAfter: 7 * time.Second})
		}
		for body, want := range map[string]string{
			`{"account": "work", "operation": "refresh"}`:   `{"error":{"code":"throttled","message":"wait","retry_after":7}}`,
			`{"account": "lost", "operation": "refresh"}`:   `{"error":{"code":"unreachable","message":"no machine answers"}}`,
			`{"account": "nobody", "operation": "refresh"}`: `{"error":{"code":"unknown_sensor","message":"there is no account \"nobody\""}}`,
		} {
			if code, got := post(body); code < 400 || got != want {
				t.Errorf("%s: %d %s", body, code, got)
			}
		}
	})
}

// What the page shows of a sensor is bounded, so that with thousands of them its size is, too.
func TestPollsOfManySensors(t *testing.T) {
	size := func(sensors int) float64 {
		s := newSite(t)
		for i := range sensors {
			id := hub.ID{Account: "work", Sensor: fmt.Sprintf("s%d", i)}
			s.hub.Declare(hub.Device{ID: id, Name: "Work s", Interval: time.Minute})
			for range 30 {
				s.hub.Record(id, hub.Poll{At: time.Now()})
			}
		}
		w := httptest.NewRecorder()
		s.handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/state", nil))
		return float64(w.Body.Len()) / float64(sensors)
	}
	few, many := size(100), size(2000)
	t.Logf("%.0f bytes for each of 100 sensors, %.0f for each of 2,000", few, many)
	if many > few/4 {
		t.Errorf("%.0f bytes for each of 2,000 sensors, %.0f for each of 100", many, few)
	}
}
