package eventhub_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"github.com/graph2mqtt/graph2mqtt/internal/eventhub"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/subscriptions"
)

const (
	connectionString = "Endpoint=sb://localhost/;SharedAccessKeyName=listen;SharedAccessKey=very+secret"
	hubName          = "graph"
	group            = "graph2mqtt"
	port             = 9092
)

// A hub is an event hub in fake time.
type hub struct {
	*kfake.Cluster
	t        *testing.T
	network  *kfake.VirtualNetwork
	producer *kgo.Client
}

// startHub starts an event hub in the bubble of a test.
func startHub(t *testing.T, partitions int32, options ...kfake.Opt) *hub {
	t.Helper()
	h := &hub{t: t, network: &kfake.VirtualNetwork{}}
	h.start(partitions, options...)
	t.Cleanup(func() { h.Close() })
	h.newProducer()
	return h
}

// newProducer replaces what sends messages: one does not find a hub that was deleted and created again.
func (h *hub) newProducer() {
	h.t.Helper()
	var err error
	h.producer, err = kgo.NewClient(kgo.SeedBrokers(h.address()), kgo.Dialer(h.network.DialContext), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.SASL(plain.Auth{User: "$ConnectionString", Pass: connectionString}.AsMechanism()), kgo.DisableClientMetrics())
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(h.producer.Close)
}

func (h *hub) start(partitions int32, options ...kfake.Opt) {
	h.t.Helper()
	var err error
	h.Cluster, err = kfake.NewCluster(append([]kfake.Opt{
		kfake.NumBrokers(1), kfake.Ports(port), kfake.ListenFn(h.network.Listen), kfake.SeedTopics(partitions, hubName),
		kfake.EnableSASL(), kfake.Superuser("PLAIN", "$ConnectionString", connectionString),
	}, options...)...)
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *hub) address() string { return fmt.Sprintf("localhost:%d", port) }

// send writes a message into a partition.
func (h *hub) send(partition int32, message string) {
	h.t.Helper()
	if err := h.producer.ProduceSync(h.t.Context(), &kgo.Record{Topic: hubName, Partition: partition, Value: []byte(message)}).FirstErr(); err != nil {
		h.t.Fatal(err)
	}
}

// announce sends a notification with an id.
func (h *hub) announce(partition int32, id string) {
	h.t.Helper()
	h.send(partition, fmt.Sprintf(`{"value": [{"subscriptionId": %q, "clientState": "secret", "changeType": "updated"}]}`, id))
}

// committed returns how many messages of all partitions count as read.
func (h *hub) committed() (n int64) {
	info := h.GroupInfo(group)
	if info == nil {
		return 0
	}
	for _, c := range info.Commits[hubName] {
		n += c.Offset
	}
	return n
}

// A recorder takes notifications and states.
type recorder struct {
	mu     sync.Mutex
	ids    []string
	err    error
	states []string
}

func (r *recorder) notify(_ context.Context, all []subscriptions.Notification) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return r.err
	}
	for _, n := range all {
		r.ids = append(r.ids, n.SubscriptionID)
	}
	return nil
}

func (r *recorder) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
}

func (r *recorder) onState(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.states = append(r.states, fmt.Sprint(err))
}

// got returns the sorted ids.
func (r *recorder) got() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(slices.Values(r.ids))
}

func (r *recorder) lastState() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.states) == 0 {
		return ""
	}
	return r.states[len(r.states)-1]
}

// read starts a reader and returns what stops it, after which it has ended.
func (h *hub) read(rec *recorder, change ...func(*eventhub.Options)) (stop func()) {
	h.t.Helper()
	o := eventhub.Options{
		Address: h.address(), Dial: h.network.DialContext, ConnectionString: connectionString, Hub: hubName, Group: group,
		Notify: rec.notify, OnState: rec.onState, Log: slog.New(slog.DiscardHandler),
	}
	for _, f := range change {
		f(&o)
	}
	return run(h.t, o)
}

func run(t *testing.T, o eventhub.Options) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- eventhub.New(o).Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// Notifications are passed on; Graph's trial and what others write are not, and keep nobody from reading on.
func TestNotifications(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := startHub(t, 2)
		h.announce(0, "before") // the group has no position yet
		var rec recorder
		stop := h.read(&rec)
		h.send(0, `{"value": [{"subscriptionId": "NA", "subscriptionExpirationDateTime": "NA", "clientState": "NA", "changeType": "Validation: Testing client application reachability for subscription Request-Id: 1", "resource": "NA", "resourceData": {"id": "NA"}}]}`)
		for _, garbage := range []string{"", "{", "null", "<html>", `{"value": 1}`, `{"value": [` + strings.Repeat("{},", 2000) + "{}]}", strings.Repeat("x", 500_000)} {
			h.send(1, garbage)
		}
		h.send(1, `{"value": [{"subscriptionId": "a", "clientState": "s"}, {"subscriptionId": "NA"}, {"subscriptionId": "b", "lifecycleEvent": "missed"}]}`)
		time.Sleep(10 * time.Second)
		if diff := cmp.Diff([]string{"a", "b", "before"}, rec.got()); diff != "" {
			t.Error(diff)
		}
		h.announce(0, "later")
		time.Sleep(time.Second)
		if diff := cmp.Diff([]string{"a", "b", "before", "later"}, rec.got()); diff != "" {
			t.Error(diff)
		}
		stop()
		if n := h.committed(); n != 3+8 {
			t.Errorf("%d messages count as read, want all 11", n)
		}
		again := &recorder{}
		h.read(again)
		time.Sleep(time.Minute)
		if got := again.got(); len(got) != 0 || again.lastState() != "" {
			t.Errorf("%v were passed on again, state %q", got, again.lastState())
		}
	})
}

// A message counts as read only when its notifications are recorded.
func TestNothingIsReadBeforeItIsRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := startHub(t, 1)
		rec := &recorder{err: errors.New("the disk is full")}
		stop := h.read(rec)
		for i := range 100 {
			h.announce(0, fmt.Sprintf("%02d", i))
		}
		time.Sleep(10 * time.Minute)
		if n := h.committed(); n != 0 || len(rec.got()) != 0 {
			t.Errorf("%d messages count as read, and none is recorded", n)
		}
		if rec.lastState() != "" { // the hub can be read
			t.Errorf("states %q", rec.states)
		}
		stop()
		if n := h.committed(); n != 0 {
			t.Errorf("%d messages count as read after the end", n)
		}
		again := &recorder{err: errors.New("the disk is full")}
		h.read(again)
		time.Sleep(time.Minute)
		again.fail(nil)
		time.Sleep(time.Minute)
		if got := again.got(); len(got) != 100 || got[0] != "00" || got[99] != "99" {
			t.Errorf("recorded %v, want all once", got)
		}
		if n := h.committed(); n != 100 {
			t.Errorf("%d messages count as read, want 100", n)
		}
	})
}

// Of notifications some of which were recorded the rest is passed again. Who does not record it logs why.
func TestRestIsPassedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := startHub(t, 1)
		for _, id := range []string{"a", "b", "c"} {
			h.announce(0, id)
		}
		var passed [][]string
		var log bytes.Buffer
		stop := h.read(&recorder{}, func(o *eventhub.Options) {
			o.Log = slog.New(slog.NewTextHandler(&log, nil))
			o.Notify = func(_ context.Context, all []subscriptions.Notification) error {
				var ids []string
				for _, n := range all {
					ids = append(ids, n.SubscriptionID)
				}
				if passed = append(passed, ids); len(all) == 1 {
					return nil
				}
				return &subscriptions.UnrecordedError{Rest: all[1:], Err: errors.New("the disk is full")}
			}
		})
		time.Sleep(time.Minute)
		stop()
		if diff := cmp.Diff([][]string{{"a", "b", "c"}, {"b", "c"}, {"c"}}, passed); diff != "" {
			t.Error(diff)
		}
		if log.Len() > 0 || h.committed() != 3 {
			t.Errorf("%d messages count as read, log:\n%s", h.committed(), &log)
		}
	})
}

// Readers of one group share the partitions. Nothing is lost when they change hands, even while nothing can be recorded.
func TestRebalance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const partitions = 4
		h := startHub(t, partitions)
		var want []string
		sent := 0
		send := func() {
			for range 40 {
				id := fmt.Sprintf("%03d", sent)
				h.announce(int32(sent%partitions), id)
				want = append(want, id)
				sent++
			}
		}
		first, second := &recorder{}, &recorder{}
		stopFirst := h.read(first)
		send()
		time.Sleep(time.Minute)
		first.fail(errors.New("the disk is full"))
		send()
		time.Sleep(5 * time.Second)
		stopSecond := h.read(second) // takes some partitions, whose messages the first one has read and not recorded
		time.Sleep(2 * time.Minute)
		if info := h.GroupInfo(group); len(info.Members) != 2 || info.Members[0].NumAssigned() != 2 || info.Members[1].NumAssigned() != 2 {
			t.Fatalf("%+v", info)
		}
		if got := second.got(); len(got) != 20 {
			t.Errorf("the second reader recorded %v, want what its two partitions have and the first has not recorded", got)
		}
		send()
		time.Sleep(time.Minute)
		stopFirst() // without having recorded anything more
		time.Sleep(2 * time.Minute)
		if n := h.GroupInfo(group).NumAssigned(); n != partitions {
			t.Errorf("%d partitions are assigned, want all", n)
		}
		all := append(first.got(), second.got()...)
		slices.Sort(all)
		if diff := cmp.Diff(want, all); diff != "" {
			t.Error(diff)
		}
		stopSecond()
		if n := h.committed(); n != int64(sent) {
			t.Errorf("%d messages count as read, want %d", n, sent)
		}
	})
}

// Of machines that share a group one may have nothing to read. It reports no problem, and reads when the other one ends.
func TestSharedWithoutPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := startHub(t, 1)
		shared := func(o *eventhub.Options) { o.Shared = true }
		first, second := &recorder{}, &recorder{}
		stopFirst := h.read(first, shared)
		h.announce(0, "a")
		time.Sleep(time.Minute)
		h.read(second, shared)
		h.announce(0, "b")
		time.Sleep(5 * time.Minute)
		if all := append(first.got(), second.got()...); len(all) != 2 || len(first.got()) == 1 && len(second.got()) == 1 {
			t.Errorf("%q and %q were read, want everything by one", first.got(), second.got())
		}
		if first.lastState() != "" || second.lastState() != "" {
			t.Errorf("states %q and %q", first.states, second.states)
		}
		stopFirst()
		h.announce(0, "c")
		time.Sleep(2 * time.Minute)
		if got := second.got(); !slices.Contains(got, "c") || second.lastState() != "" {
			t.Errorf("read %q, states %q", got, second.states)
		}
		h.Close()
		time.Sleep(2 * time.Minute)
		if second.lastState() == "" {
			t.Error("it is not reported that the hub is away")
		}
	})
}

// Partitions change hands without a message that is lost, and what counts as read when they do is not read again.
func TestRebalanceTellsWhatWasRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const partitions, count = 2, 20
		h := startHub(t, partitions)
		shared := func(o *eventhub.Options) { o.Shared = true }
		first, second := &recorder{}, &recorder{}
		stopFirst := h.read(first, shared)
		time.Sleep(time.Minute)
		stopSecond := h.read(second, shared)
		var want []string
		sent := 0
		for range 20 { // also while the partitions change hands, between two regular commits
			for range count {
				id := fmt.Sprintf("%03d", sent)
				h.announce(int32(sent%partitions), id)
				want = append(want, id)
				sent++
			}
			time.Sleep(time.Second)
		}
		if len(second.got()) == 0 {
			t.Error("the second reader read nothing")
		}
		stopSecond()
		time.Sleep(time.Minute)
		stopFirst()
		all := append(first.got(), second.got()...)
		slices.Sort(all)
		if diff := cmp.Diff(want, all); diff != "" {
			t.Error(diff)
		}
		if n := h.committed(); n != int64(sent) {
			t.Errorf("%d messages count as read, want %d", n, sent)
		}
		if first.lastState() != "" || second.lastState() != "" {
			t.Errorf("states %q and %q", first.states, second.states)
		}
	})
}

// An event hub that is deleted is reported by all readers, also those without a partition, and is not asked in a loop. When it exists again
// it is read.
func TestDeletedHub(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const partitions, readers = 2, 3
		h := startHub(t, partitions)
		var all [readers]recorder
		for i := range all {
			h.read(&all[i], func(o *eventhub.Options) { o.Shared = true })
			time.Sleep(time.Minute)
		}
		h.announce(0, "before")
		time.Sleep(5 * time.Minute)
		var requests atomic.Int64
		h.ControlKey(int16(kmsg.Fetch), func(kmsg.Request) (kmsg.Response, error, bool) {
			h.KeepControl()
			requests.Add(1)
			return nil, nil, false
		})
		if err := h.DeleteTopic(hubName); err != nil {
			t.Fatal(err)
		}
		const outage = 10 * time.Minute
		time.Sleep(outage)
		for i := range all {
			if got := all[i].lastState(); !strings.Contains(got, "UNKNOWN_TOPIC") {
				t.Errorf("reader %d reports %q", i, got)
			}
		}
		if n, limit := requests.Load(), int64(2*readers*outage/time.Second); n > limit {
			t.Errorf("%d requests, want at most %d", n, limit)
		}
		if err := h.CreateTopic(hubName, partitions, nil); err != nil {
			t.Fatal(err)
		}
		h.newProducer()
		h.announce(0, "after")
		h.announce(1, "after")
		time.Sleep(5 * time.Minute)
		var got []string
		for i := range all {
			got = append(got, all[i].got()...)
			if state := all[i].lastState(); state != "<nil>" {
				t.Errorf("reader %d reports %q", i, state)
			}
		}
		slices.Sort(got)
		if diff := cmp.Diff([]string{"after", "after", "before"}, got); diff != "" {
			t.Error(diff)
		}
	})
}

// A reader that has partitions and gets no answer to its requests for messages reports it, although its heartbeats are answered. One
// without a partition has no problem.
func TestPartitionsWithoutAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := startHub(t, 1)
		shared := func(o *eventhub.Options) { o.Shared = true }
		var first, second recorder
		h.read(&first, shared)
		time.Sleep(time.Minute)
		h.read(&second, shared)
		time.Sleep(time.Minute)
		var failing atomic.Bool
		failing.Store(true)
		h.ControlKey(int16(kmsg.Fetch), func(kmsg.Request) (kmsg.Response, error, bool) {
			h.KeepControl()
			return nil, errors.New("close the connection"), failing.Load()
		})
		time.Sleep(5 * time.Minute)
		states := []string{first.lastState(), second.lastState()}
		slices.Sort(states)
		if states[0] != "" || states[1] == "" {
			t.Errorf("states %q, want a problem of the one that has the partition", states)
		}
		failing.Store(false)
		time.Sleep(5 * time.Minute)
		states = []string{first.lastState(), second.lastState()}
		slices.Sort(states)
		if diff := cmp.Diff([]string{"", "<nil>"}, states); diff != "" {
			t.Error(diff)
		}
	})
}

// What is wrong is reported, without the secret, and so is that it is right again.
func TestState(t *testing.T) {
	leak := func(h *hub) {
		h.ControlKey(int16(kmsg.SASLAuthenticate), func(r kmsg.Request) (kmsg.Response, error, bool) {
			response := r.ResponseKind().(*kmsg.SASLAuthenticateResponse)
			message := "Invalid " + connectionString
			response.ErrorCode, response.ErrorMessage = kerr.SaslAuthenticationFailed.Code, &message
			h.KeepControl()
			return response, nil, true
		})
	}
	for name, test := range map[string]struct {
		prepare func(*hub)
		change  func(*eventhub.Options)
		want    string
	}{
		"wrong key": {
			change: func(o *eventhub.Options) {
				o.ConnectionString = strings.Replace(connectionString, "very", "wrong", 1)
			},
			want: "it closes the connection while signing in",
		},
		"refused key":   {prepare: leak, change: func(*eventhub.Options) {}, want: "SASL_AUTHENTICATION_FAILED"},
		"no event hub":  {change: func(o *eventhub.Options) { o.Hub = "other" }, want: "UNKNOWN_TOPIC_OR_PARTITION"},
		"no shared hub": {change: func(o *eventhub.Options) { o.Hub, o.Shared = "other", true }, want: "UNKNOWN_TOPIC_OR_PARTITION"},
		"no connection": {change: func(o *eventhub.Options) { o.Address = "localhost:1" }, want: "no listener on port 1"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := startHub(t, 1)
				if test.prepare != nil {
					test.prepare(h)
				}
				var rec recorder
				var log bytes.Buffer
				h.read(&rec, test.change, func(o *eventhub.Options) { o.Log = slog.New(slog.NewTextHandler(&log, nil)) })
				time.Sleep(time.Minute)
				if got := rec.lastState(); !strings.Contains(got, test.want) || strings.Contains(got, "secret") {
					t.Errorf("%q, want %s", got, test.want)
				}
				time.Sleep(10 * time.Minute)
				synctest.Wait()
				if n := strings.Count(log.String(), "event hub not readable"); n != 1 || len(rec.states) > 10 || strings.Contains(log.String(), "secret") {
					t.Errorf("logged %d times, %d reports\n%s", n, len(rec.states), &log)
				}
			})
		})
	}
}

// An outage is reported once, and what came meanwhile is read afterwards.
func TestOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		h := startHub(t, 1, kfake.DataDir(dir))
		var rec recorder
		h.read(&rec)
		h.announce(0, "before")
		time.Sleep(10 * time.Minute)
		if diff := cmp.Diff([]string{"before"}, rec.got()); diff != "" || rec.lastState() != "" {
			t.Errorf("%s, state %q", diff, rec.lastState())
		}
		h.Close()
		time.Sleep(5 * time.Minute)
		if got := rec.lastState(); !strings.Contains(got, "9092") || len(rec.states) != 1 {
			t.Errorf("%q", rec.states)
		}
		h.start(1, kfake.DataDir(dir))
		h.announce(0, "after")
		time.Sleep(2 * time.Minute)
		if diff := cmp.Diff([]string{"after", "before"}, rec.got()); diff != "" || rec.lastState() != "<nil>" || len(rec.states) != 2 {
			t.Errorf("%s, states %q", diff, rec.states)
		}
	})
}

// A deafConn drops what comes while deaf is set.
type deafConn struct {
	net.Conn
	deaf *atomic.Bool
}

func (c deafConn) Read(b []byte) (int, error) {
	for {
		if n, err := c.Conn.Read(b); err != nil || !c.deaf.Load() {
			return n, err
		}
	}
}

// deafen lets the connections of a reader be deaf.
func (h *hub) deafen(deaf *atomic.Bool) func(*eventhub.Options) {
	return func(o *eventhub.Options) {
		o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := h.network.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return deafConn{conn, deaf}, nil
		}
	}
}

// The end does not wait for a hub that is away or does not answer.
func TestEndWithoutHub(t *testing.T) {
	for name, test := range map[string]struct {
		away  func(*hub, *atomic.Bool)
		after time.Duration
	}{
		"away":   {func(h *hub, _ *atomic.Bool) { h.Close() }, time.Minute},
		"silent": {func(_ *hub, deaf *atomic.Bool) { deaf.Store(true) }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := startHub(t, 1)
				var rec recorder
				var deaf atomic.Bool
				stop := h.read(&rec, h.deafen(&deaf))
				h.announce(0, "a")
				time.Sleep(time.Second)
				if len(rec.got()) != 1 {
					t.Fatal("nothing was read")
				}
				test.away(h, &deaf)
				time.Sleep(test.after)
				began := time.Now()
				stop()
				if took := time.Since(began); took > 10*time.Second {
					t.Errorf("it took %s", took)
				}
			})
		})
	}
}

// A hub that accepts connections and does not answer is reported.
func TestSilentHub(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := startHub(t, 1)
		var rec recorder
		var deaf atomic.Bool
		deaf.Store(true)
		h.read(&rec, h.deafen(&deaf))
		h.announce(0, "a")
		time.Sleep(2 * time.Minute)
		if rec.lastState() == "" {
			t.Error("nothing was reported")
		}
		deaf.Store(false)
		time.Sleep(2 * time.Minute)
		if rec.lastState() != "<nil>" || len(rec.got()) != 1 {
			t.Errorf("states %q, read %v", rec.states, rec.got())
		}
	})
}

// Over TLS the hub is read only if its certificate is trusted.
func TestTLS(t *testing.T) {
	certificate, pool := selfSigned(t)
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, hubName), kfake.TLS(&tls.Config{Certificates: []tls.Certificate{certificate}}),
		kfake.EnableSASL(), kfake.Superuser("PLAIN", "$ConnectionString", connectionString))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	address := cluster.ListenAddrs()[0]
	producer, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.DialTLSConfig(&tls.Config{RootCAs: pool}), kgo.SASL(plain.Auth{User: "$ConnectionString", Pass: connectionString}.AsMechanism()))
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	if err := producer.ProduceSync(t.Context(), &kgo.Record{Topic: hubName, Value: []byte(`{"value": [{"subscriptionId": "a"}]}`)}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	notified, states := make(chan string, 10), make(chan error, 10)
	o := eventhub.Options{
		Address: address, TLS: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, ConnectionString: connectionString, Hub: hubName, Group: group,
		Notify: func(_ context.Context, all []subscriptions.Notification) error {
			notified <- all[0].SubscriptionID
			return nil
		},
		OnState: func(err error) { states <- err }, Log: slog.New(slog.DiscardHandler),
	}
	stop := run(t, o)
	if id := <-notified; id != "a" {
		t.Errorf("%s", id)
	}
	stop()
	o.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	run(t, o)
	if err := <-states; err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("%v with a certificate that is not trusted", err)
	}
}

// selfSigned returns a certificate of this machine, and what trusts it.
func selfSigned(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}
