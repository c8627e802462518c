package state_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/broker/natstest"
	"github.com/graph2mqtt/graph2mqtt/internal/state"
)

const (
	childNATS   = "STATE_TEST_NATS"   // the addresses of the servers
	childServer = "STATE_TEST_SERVER" // of the test

	faultShards, faultAccounts = 12, 600
	faultLease                 = 3 * time.Second
	faultWrites                = 3 // of each account
)

// A call is one poll or write of an account by a machine.
type call struct {
	Machine string `json:"machine"`
	Account int    `json:"account"`
	Epoch   uint64 `json:"epoch"`
	Write   int    `json:"write"` // its number; 0: it is a poll
	Doubt   bool   `json:"doubt"` // whether an earlier machine executed the write is not known
}

// A belief is a time during which a machine believed that it had a shard.
type belief struct {
	Machine     string `json:"machine"`
	Shard       int    `json:"shard"`
	Epoch       uint64 `json:"epoch"`
	First, Last int64  // by the clock of the computer
}

var _ = addRole("shards", serveShards)

// serveShards is the child that works with shards until it is killed.
func serveShards(dir string) error {
	name, server := filepath.Base(dir), os.Getenv(childServer)
	var d *state.Dir
	err := state.ErrUnavailable
	for errors.Is(err, state.ErrUnavailable) { // the servers have just started
		d, err = state.OpenCluster(context.Background(), dir, "", state.ClusterOptions{
			Servers: strings.Split(os.Getenv(childNATS), ","), Bucket: "test", Lease: faultLease, Shards: faultShards,
		}, slog.New(slog.NewTextHandler(os.Stderr, nil)).With("machine", name))
	}
	if err != nil {
		return err
	}
	b := &believer{machine: name, held: map[int]*state.Lease{}, beliefs: map[[2]uint64]*belief{}}
	go b.run(server)
	return d.ServeShards(context.Background(), func(ctx context.Context, s state.Shard) error {
		db, err := s.Dir.OpenDatabase()
		if err != nil {
			return err
		}
		b.set(s.Number, s.Lease)
		defer b.set(s.Number, nil)
		for ctx.Err() == nil && s.Lease.Err() == nil {
			for account := s.Number; account < faultAccounts; account += faultShards {
				c := call{Machine: name, Account: account, Epoch: s.Lease.Epoch()}
				if err := writeOnce(ctx, db.Bucket("journal"), s.Lease, server, c); err != nil {
					break
				}
				if err := post(ctx, s.Lease, server+"/call", c); err != nil {
					break
				}
			}
			select {
			case <-ctx.Done():
			case <-time.After(faultLease / 3):
			}
		}
		return db.Close()
	})
}

// writeOnce executes the next write of an account as the dispatcher does: it is noted before it is sent, and not sent again afterwards.
func writeOnce(ctx context.Context, journal *state.Bucket, l *state.Lease, server string, c call) error {
	key := fmt.Sprint(c.Account)
	stored, err := journal.Get(key)
	if err != nil {
		return err
	}
	stage := ""
	_, _ = fmt.Sscanf(string(stored), "%d %s", &c.Write, &stage) // of nothing it is 0
	switch {
	case stage == "started":
		c.Doubt = true
	case c.Write == faultWrites:
		return nil
	default:
		c.Write++
		if err := journal.Put(key, fmt.Appendf(nil, "%d started", c.Write)); err != nil {
			return err
		}
	}
	if err := post(ctx, l, server+"/call", c); err != nil {
		return err
	}
	return journal.Put(key, fmt.Appendf(nil, "%d done", c.Write))
}

// post sends a request as long as the lease lasts.
func post(ctx context.Context, l *state.Lease, address string, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if l != nil {
		defer context.AfterFunc(l.Context(), cancel)()
	}
	r, err := http.NewRequestWithContext(ctx, "POST", address, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if l != nil && l.Err() != nil {
		return l.Err()
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, response.Body)
	return errors.Join(err, response.Body.Close())
}

// A believer samples what a machine believes.
type believer struct {
	machine string
	mu      sync.Mutex
	held    map[int]*state.Lease
	beliefs map[[2]uint64]*belief // by shard and epoch
}

func (b *believer) set(shard int, l *state.Lease) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if l == nil {
		delete(b.held, shard)
		return
	}
	b.held[shard] = l
}

// run samples all the time and reports from time to time.
func (b *believer) run(server string) {
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for n := 0; ; n++ {
		<-ticker.C
		b.mu.Lock()
		for shard, l := range b.held {
			now := time.Now().UnixNano() // before the lease is looked at: it is valid at both times
			if l.Err() != nil {
				continue
			}
			key := [2]uint64{uint64(shard), l.Epoch()}
			if b.beliefs[key] == nil {
				b.beliefs[key] = &belief{b.machine, shard, l.Epoch(), now, now}
			}
			b.beliefs[key].Last = now
		}
		var all []belief
		if n%20 == 0 {
			for _, held := range b.beliefs {
				all = append(all, *held)
			}
		}
		b.mu.Unlock()
		if len(all) > 0 {
			_ = post(context.Background(), nil, server+"/beliefs", all) // they are sent again
		}
	}
}

// A recorder receives what the machines do.
type recorder struct {
	mu      sync.Mutex
	calls   int
	polled  []call // the last poll, by account
	at      []time.Time
	stale   int
	writes  map[[2]int][]string // the machines that executed it, by account and number
	doubts  map[[2]int]bool
	beliefs map[belief]belief // by the belief without its times
	changed chan struct{}
}

func (r *recorder) ServeHTTP(_ http.ResponseWriter, request *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer func() {
		close(r.changed)
		r.changed = make(chan struct{})
	}()
	if request.URL.Path == "/beliefs" {
		var all []belief
		if json.NewDecoder(request.Body).Decode(&all) != nil {
			return
		}
		for _, b := range all {
			r.beliefs[belief{Machine: b.Machine, Shard: b.Shard, Epoch: b.Epoch}] = b
		}
		return
	}
	var c call
	if json.NewDecoder(request.Body).Decode(&c) != nil {
		return
	}
	r.calls++
	if key := [2]int{c.Account, c.Write}; c.Doubt {
		r.doubts[key] = true
		return
	} else if c.Write > 0 {
		r.writes[key] = append(r.writes[key], fmt.Sprintf("%s with lease %d", c.Machine, c.Epoch))
		return
	}
	if c.Epoch < r.polled[c.Account].Epoch {
		r.stale++
		return
	}
	r.polled[c.Account], r.at[c.Account] = c, time.Now()
}

// await waits until f, which is called with the lock held, returns true.
func (r *recorder) await(t *testing.T, what string, f func() bool) {
	t.Helper()
	timeout := time.After(time.Minute)
	for {
		r.mu.Lock()
		ok, changed := f(), r.changed
		r.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("timed out waiting for %s", what)
		}
	}
}

// A link carries the connections of a machine to a server, and can be cut without a connection being closed.
type link struct {
	listener net.Listener
	target   string

	mu    sync.Mutex
	cut   bool
	conns []net.Conn
}

func newLink(t *testing.T, target string) *link {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	l := &link{listener: listener, target: u.Host}
	t.Cleanup(func() {
		_ = listener.Close()
		l.setCut(true)
	})
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go l.carry(conn)
		}
	}()
	return l
}

func (l *link) carry(conn net.Conn) {
	server, err := net.Dial("tcp", l.target)
	if err != nil {
		_ = conn.Close()
		return
	}
	l.mu.Lock()
	l.conns = append(l.conns, conn, server)
	l.mu.Unlock()
	forward := func(to, from net.Conn) {
		b := make([]byte, 32<<10)
		for {
			n, err := from.Read(b)
			l.mu.Lock()
			cut := l.cut
			l.mu.Unlock()
			if err == nil && !cut { // what is sent meanwhile is lost
				_, err = to.Write(b[:n])
			}
			if err != nil {
				_, _ = to.Close(), from.Close()
				return
			}
		}
	}
	go forward(server, conn)
	forward(conn, server)
}

// setCut cuts the link, or repairs it: then connections are made anew.
func (l *link) setCut(cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = cut
	if !cut {
		for _, c := range l.conns {
			_ = c.Close()
		}
		l.conns = nil
	}
}

// Three processes share 600 accounts over three NATS servers. One is killed, paused or cut off: the others poll all of its accounts, no two
// believe at the same time that they have a shard, and no write is executed twice.
func TestShardFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	for _, fault := range []struct {
		name         string
		fail, repair func(*exec.Cmd, []*link) error // repair is nil if the process has ended
	}{
		{"killed", func(c *exec.Cmd, _ []*link) error { return c.Process.Kill() }, nil},
		{"paused", func(c *exec.Cmd, _ []*link) error { return c.Process.Signal(syscall.SIGSTOP) },
			func(c *exec.Cmd, _ []*link) error { return c.Process.Signal(syscall.SIGCONT) }},
		{"cut off", func(_ *exec.Cmd, links []*link) error { return setAll(links, true) }, func(_ *exec.Cmd, links []*link) error { return setAll(links, false) }},
	} {
		t.Run(fault.name, func(t *testing.T) {
			r := &recorder{
				polled: make([]call, faultAccounts), at: make([]time.Time, faultAccounts), writes: map[[2]int][]string{}, doubts: map[[2]int]bool{}, beliefs: map[belief]belief{},
				changed: make(chan struct{}),
			}
			server := httptest.NewServer(r)
			t.Cleanup(server.Close)
			nodes := natstest.NewCluster(t, 3)
			var commands []*exec.Cmd
			var links []*link // of machine a
			for _, name := range []string{"a", "b", "c"} {
				var addresses []string
				for _, n := range nodes {
					address := n.ClientURL
					if name == "a" {
						l := newLink(t, address)
						links = append(links, l)
						address = "nats://" + l.listener.Addr().String()
					}
					addresses = append(addresses, address)
				}
				cmd, _, lines := start(t, "shards", filepath.Join(t.TempDir(), name),
					"GRAPH2MQTT_KEY="+keyOf(1), childServer+"="+server.URL, childNATS+"="+strings.Join(addresses, ","))
				commands = append(commands, cmd)
				go func() {
					for lines.Scan() {
						t.Logf("%s: %s", name, lines.Text())
					}
				}()
			}
			polledBy := func() map[string]int {
				n := map[string]int{}
				for _, c := range r.polled {
					n[c.Machine]++
				}
				return n
			}
			isFair := func() bool {
				n := polledBy()
				return n["a"] == faultAccounts/3 && n["b"] == faultAccounts/3 && n["c"] == faultAccounts/3
			}
			r.await(t, "the accounts to be shared", isFair)
			failed := time.Now()
			if err := fault.fail(commands[0], links); err != nil {
				t.Fatal(err)
			}
			r.await(t, "the others to poll every account", func() bool { return polledBy()["a"] == 0 })
			r.mu.Lock()
			polled := slices.MaxFunc(r.at, time.Time.Compare).Sub(failed)
			r.mu.Unlock()
			var taken time.Duration
			r.await(t, "the others to report the shards", func() bool {
				var shards int
				shards, taken = takenAfter(r.beliefs, failed)
				return shards >= faultShards/3
			})
			t.Logf("the lease is %s; the shards were taken within %s, %d accounts polled by others within %s", faultLease, taken.Round(10*time.Millisecond), faultAccounts/3, polled.Round(10*time.Millisecond))
			if fault.repair != nil {
				if err := fault.repair(commands[0], links); err != nil {
					t.Fatal(err)
				}
				r.await(t, "the accounts to be shared again", isFair)
			}
			r.await(t, "every write", func() bool { return len(r.writes)+len(r.doubts) >= faultAccounts*faultWrites })
			r.mu.Lock()
			defer r.mu.Unlock()
			for key, by := range r.writes {
				if len(by) > 1 {
					t.Errorf("account %d, write %d was executed %d times: %v", key[0], key[1], len(by), by)
				}
			}
			// A request that was checked just before a pause is sent just after it. There is at most one for each shard of the machine.
			if r.stale > faultShards/3 {
				t.Errorf("%d polls of a machine that had lost its lease", r.stale)
			}
			wantOneBeliever(t, r.beliefs)
			t.Logf("%d calls, %d writes, %d in doubt, %d late polls, %d leases", r.calls, len(r.writes), len(r.doubts), r.stale, len(r.beliefs))
		})
	}
}

// takenAfter returns how many shards others have taken from machine a since a time, and when the last one was.
func takenAfter(all map[belief]belief, since time.Time) (shards int, last time.Duration) {
	newest := map[int]belief{} // of a, by shard
	for _, b := range all {
		if b.Machine == "a" && b.Epoch > newest[b.Shard].Epoch {
			newest[b.Shard] = b
		}
	}
	taken := map[int]int64{} // when another machine first had the shard; a busy one may have lost it again
	for _, b := range all {
		if b.Machine == "a" || b.Epoch <= newest[b.Shard].Epoch || b.First <= since.UnixNano() {
			continue
		}
		if first, ok := taken[b.Shard]; !ok || b.First < first {
			taken[b.Shard] = b.First
		}
	}
	for _, first := range taken {
		last = max(last, time.Unix(0, first).Sub(since))
	}
	return len(taken), last
}

func setAll(links []*link, cut bool) error {
	for _, l := range links {
		l.setCut(cut)
	}
	return nil
}

// wantOneBeliever verifies that nobody believed in a lease of a shard when somebody believed in a later one.
func wantOneBeliever(t *testing.T, all map[belief]belief) {
	t.Helper()
	byShard := map[int][]belief{}
	for _, b := range all {
		byShard[b.Shard] = append(byShard[b.Shard], b)
	}
	if len(byShard) != faultShards {
		t.Errorf("%d shards were held; want %d", len(byShard), faultShards)
	}
	for shard, beliefs := range byShard {
		slices.SortFunc(beliefs, func(a, b belief) int { return int(a.Epoch) - int(b.Epoch) })
		for i := 1; i < len(beliefs); i++ {
			if before, after := beliefs[i-1], beliefs[i]; before.Last >= after.First || before.Epoch == after.Epoch {
				t.Errorf("shard %d: %+v and %+v at the same time", shard, before, after)
			}
		}
	}
}
