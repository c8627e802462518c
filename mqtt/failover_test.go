package mqtt_test

import (
	"maps"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/broker"
	"github.com/graph2mqtt/graph2mqtt/internal/broker/brokertest"
	"github.com/graph2mqtt/graph2mqtt/mqtt"
)

// newEmbedded starts an embedded broker and returns its address.
func newEmbedded(t *testing.T) string {
	t.Helper()
	b, err := broker.Embedded("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b.URL()
}

// newPair returns two brokers that do not know each other, each behind a proxy, and options for both.
func newPair(t *testing.T) (a, b *proxy, o mqtt.Options) {
	t.Helper()
	a, b = newProxy(t, brokertest.New(t, "").URL), newProxy(t, brokertest.New(t, "").URL)
	o = options(a.url)
	o.URLs = []string{a.url, b.url}
	return a, b, o
}

// fail ends all connections of the proxy and refuses further ones, or accepts them again.
func (p *proxy) fail(on bool) {
	p.refuse(on)
	p.drop()
}

// numbers returns the number of the session of each connection.
func (b *testClient) numbers() (all []int) {
	b.in.mu.Lock()
	defer b.in.mu.Unlock()
	for _, s := range b.sessions {
		all = append(all, s.Number)
	}
	return all
}

// The brokers are tried in order; each gets everything, and what was removed at one is removed at the other on the return to it.
func TestFailover(t *testing.T) {
	first, second, o := newPair(t)
	b := run(t, o, nil)
	b.Retain("g/a/s/state", []byte("1"))
	b.Retain("g/a/gone/state", []byte("1"))
	b.Ready()
	b.connected(1)
	b.awaitIdle()
	if b.Broker() != first.url {
		t.Errorf("connected to %s, want %s", b.Broker(), first.url)
	}

	first.fail(true)
	b.connected(2)
	if b.Broker() != second.url {
		t.Errorf("connected to %s, want %s", b.Broker(), second.url)
	}
	b.Retain("g/a/s/state", []byte("2"))
	b.Remove("g/a/gone/state")
	b.awaitIdle()
	if got := retained(t, "mqtt://"+second.target); got["g/a/s/state"] != "2" || got["g/a/gone/state"] != "" || got["g/bridge/state"] != "online" {
		t.Errorf("the second broker has %v", got)
	}
	if got := retained(t, "mqtt://"+first.target); got["g/a/gone/state"] != "1" || got["g/bridge/state"] != "offline" {
		t.Errorf("the first broker has %v", got)
	}
	if !o.Store.(*memoryStore).has("published/g/a/gone/state") {
		t.Error("it is forgotten that the first broker has it")
	}

	first.fail(false)
	second.fail(true)
	b.connected(3)
	b.awaitIdle()
	if got := retained(t, "mqtt://"+first.target); got["g/a/s/state"] != "2" || got["g/a/gone/state"] != "" || got["g/bridge/state"] != "online" {
		t.Errorf("the first broker has %v", got)
	}
	if o.Store.(*memoryStore).has("published/g/a/gone/state") {
		t.Error("it is remembered although no broker has it")
	}
	if got := b.present(); !slices.Equal(got, []bool{false, false, true}) {
		t.Errorf("sessions present: %v", got)
	}
	if got := b.numbers(); !slices.Equal(got, []int{0, 1, 0}) {
		t.Errorf("numbers of the sessions: %v", got)
	}
}

// The second broker is used at the start if the first cannot be reached. Both failures are logged.
func TestFirstBrokerIsAway(t *testing.T) {
	first, second, o := newPair(t)
	first.fail(true)
	second.fail(true)
	b := run(t, o, nil)
	b.Ready()
	for _, p := range []*proxy{first, second} {
		b.logged(`msg="cannot connect to the broker" url=` + p.url)
	}
	second.fail(false)
	b.connected(1)
	if b.Broker() != second.url {
		t.Errorf("connected to %s, want %s", b.Broker(), second.url)
	}
}

// What waits in a broker is as old as the connection to that broker, not as the last one, also after a restart.
func TestAgeAtTheFirstBroker(t *testing.T) {
	for _, restart := range []bool{false, true} {
		first, second, o := newPair(t)
		b := run(t, o, nil)
		b.Subscribe("g/+/request/#")
		b.Ready()
		b.connected(1)
		b.awaitIdle()
		first.fail(true)
		b.connected(2)
		b.awaitIdle()
		if restart {
			b.stop()
			// As if the first broker was left an hour ago.
			o.Store.(*memoryStore).put("seen", time.Now().Add(-time.Hour).Format(time.RFC3339Nano))
		}
		newSpy(t, "mqtt://"+first.target).publish("g/a/request/x", "waited", false)
		newSpy(t, "mqtt://"+second.target).publish("g/a/request/x", "live", false)
		first.fail(false)
		second.fail(true)
		if restart {
			b = run(t, o, nil)
			b.Subscribe("g/+/request/#")
			b.Ready()
		}
		got := b.received("waited")
		if restart && (got.Age < time.Hour || got.Age > 2*time.Hour) || !restart && (got.Age <= 0 || got.Age > time.Hour) {
			t.Errorf("restart %t: %v old", restart, got.Age)
		}
		b.awaitIdle()
		newSpy(t, "mqtt://"+first.target).publish("g/a/request/x", "live again", false)
		if got := b.received("live again"); got.Age != 0 {
			t.Errorf("restart %t: a live message is %v old", restart, got.Age)
		}
	}
}

// A crash while messages arrive that waited makes those that are left no younger.
func TestAgeAfterACrashInTheBacklog(t *testing.T) {
	p := newProxy(t, brokertest.New(t, "").URL)
	s := newSpy(t, "mqtt://"+p.target)
	o := options(p.url)
	b := run(t, o, nil)
	b.Subscribe("g/+/request/#")
	b.Ready()
	b.connected(1)
	b.awaitIdle()
	b.stop()
	o.Store.(*memoryStore).put("seen", time.Now().Add(-time.Hour).Format(time.RFC3339Nano))
	s.publish("g/a/request/x", "waited", false)
	b = run(t, o, func(mqtt.Message) {}) // nothing is acknowledged, and without Subscribe no barrier comes back
	b.received("waited")
	b.stop()
	b = run(t, o, nil)
	if got := b.received("waited"); !got.Duplicate || got.Age < time.Hour {
		t.Errorf("%v old, duplicate %t", got.Age, got.Duplicate)
	}
}

// A second broker that is not needed costs nothing: no goroutine, connection or record.
func TestCostOfSeveralBrokers(t *testing.T) {
	stored := map[int][]string{}
	for _, brokers := range []int{1, 2} {
		o := options(newEmbedded(t))
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		accepted := make(chan struct{}, 1)
		var listening sync.WaitGroup
		listening.Go(func() {
			if c, err := l.Accept(); err == nil {
				_ = c.Close()
				accepted <- struct{}{}
			}
		})
		if brokers == 2 {
			o.URLs = append(o.URLs, "mqtt://"+l.Addr().String())
		}
		b := run(t, o, nil)
		b.Subscribe("g/a/request/#")
		b.Retain("g/a/s/state", []byte("1"))
		b.Ready()
		b.connected(1)
		b.awaitIdle()
		// Run, and the reader of paho. Calls to paho have goroutines, too, which end.
		deadline := time.Now().Add(waitTimeout)
		n := goroutinesOfClients()
		for n != 2 && time.Now().Before(deadline) {
			n = goroutinesOfClients()
		}
		if n != 2 {
			t.Errorf("%d brokers: %d goroutines", brokers, n)
		}
		b.stop()
		_ = l.Close()
		listening.Wait()
		if len(accepted) > 0 {
			t.Error("connected to the second broker")
		}
		store := o.Store.(*memoryStore)
		store.mu.Lock()
		for _, key := range slices.Sorted(maps.Keys(store.m)) {
			if strings.HasPrefix(key, "broker/") {
				key = "broker"
			}
			stored[brokers] = append(stored[brokers], key)
		}
		store.mu.Unlock()
	}
	if !slices.Equal(stored[1], stored[2]) || !slices.Contains(stored[1], "broker") {
		t.Errorf("stored by number of brokers: %v", stored)
	}
}

// goroutinesOfClients counts the goroutines in code of package mqtt.
func goroutinesOfClients() (n int) {
	stacks := make([]byte, 1<<20)
	for stack := range strings.SplitSeq(string(stacks[:runtime.Stack(stacks, true)]), "\n\n") {
		if strings.Contains(stack, "graph2mqtt/mqtt.(*") {
			n++
		}
	}
	return n
}
