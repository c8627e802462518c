package mqtt

import (
	"maps"
	"math"
	"testing"
	"time"
)

// An acknowledgement can be behind large messages on the connection, which is alive then.
func TestAcknowledgementsMayComeLateWhileTheBrokerIsHeard(t *testing.T) {
	const wait = 20 * time.Second
	begun := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	for name, test := range map[string]struct {
		after, heard time.Duration // since begun
		want         bool
	}{
		"in time":               {10 * time.Second, 0, true},
		"late, and silent":      {20 * time.Second, 0, false},
		"late, and just heard":  {20 * time.Second, 19 * time.Second, true},
		"later, and just heard": {60 * time.Second, 59 * time.Second, true},
		"silent since":          {60 * time.Second, 40 * time.Second, false},
		"never":                 {100 * time.Second, 99 * time.Second, false},
	} {
		f := &inflight{begun: begun, deadline: begun.Add(wait)}
		if got := f.extend(begun.Add(test.after), begun.Add(test.heard), wait); got != test.want {
			t.Errorf("%s: got %t", name, got)
		}
	}
}

// A larger message that is refused without an attempt does not raise the known limit.
func TestTheSmallestRefusedPayloadIsRemembered(t *testing.T) {
	c, err := New(Options{URLs: []string{"mqtt://host"}, Base: "g"})
	if err != nil {
		t.Fatal(err)
	}
	const topic = "g/a/s/event"
	c.refuse(&message{topic: topic, payload: make([]byte, 2000)})
	c.PublishEvent(topic, make([]byte, 5000))
	if m := c.nextMessage(time.Now(), true); m != nil {
		t.Errorf("%d bytes are sent", len(m.payload))
	}
	if !c.isRefused(topic, make([]byte, 3000)) || c.isRefused(topic, make([]byte, 1999)) {
		t.Errorf("at least %d bytes are refused, want 2000", c.refused[topic])
	}
}

func TestMatches(t *testing.T) {
	for _, test := range []struct {
		filter, topic string
		want          bool
	}{
		{"g/a/request/#", "g/a/request/x", true},
		{"g/a/request/#", "g/a/request/x/y", true},
		{"g/a/request/#", "g/a/request", true},
		{"g/a/request/#", "g/a/requests/x", false},
		{"g/a/+/set/#", "g/a/s/set/x", true},
		{"g/a/+/set/#", "g/a//set", true},
		{"g/a/+/set/#", "g/a/s/request/x", false},
		{"g/a/+/set/#", "g/a", false},
		{"g/a/+", "g/a/s", true},
		{"g/a/+", "g/a", false},
		{"g/a/+", "g/a/s/t", false},
		{"g/a", "g/a", true},
		{"#", "g", true},
	} {
		if got := Matches(test.filter, test.topic); got != test.want {
			t.Errorf("%s matches %s: %t", test.filter, test.topic, got)
		}
	}
}

// A message may have waited until the barrier of its own filter was received, and a duplicate at any time.
func TestAgeByFilter(t *testing.T) {
	c, err := New(Options{URLs: []string{"mqtt://host"}, Base: "g"})
	if err != nil {
		t.Fatal(err)
	}
	c.Subscribe("g/a/request/#", "g/a/+/set/#")
	now := time.Now()
	conn := newConnection(c)
	conn.begun, conn.away, conn.awayBefore, conn.barrierPassed = now.Add(-time.Minute), time.Hour, time.Hour, true
	conn.expectBarriers([]string{"g/a/request/#", "g/a/+/set/#", "g/bridge/barrier", "g/a/request/x"})
	if want := map[string]string{"g/a/request/barrier": "g/a/request/#", "g/a/-/set/barrier": "g/a/+/set/#"}; !maps.Equal(conn.barriers, want) {
		t.Errorf("barriers %v, want %v", conn.barriers, want)
	}
	check := func(topic string, duplicate bool, want time.Duration) {
		t.Helper()
		if got := conn.age(topic, duplicate, now); got != want {
			t.Errorf("%s, duplicate %t: %v, want %v", topic, duplicate, got, want)
		}
	}
	check("g/a/request/x", false, time.Hour)
	delete(conn.barriers, "g/a/request/barrier")
	check("g/a/request/x", false, 0)
	check("g/a/s/set/x", false, time.Hour)
	delete(conn.barriers, "g/a/-/set/barrier")
	check("g/a/s/set/x", false, 0)
	check("g/a/s/set/x", true, time.Hour+time.Minute)
	conn.awayBefore = math.MaxInt64
	check("g/a/s/set/x", true, math.MaxInt64)
	for topic, want := range map[string]bool{"g/a/request/barrier": true, "g/a/-/set/barrier": true, "g/b/request/barrier": false, "g/a/s/set/barrier": false} {
		if c.isFilterBarrier(topic, []byte("{}")) != want {
			t.Errorf("%s is a barrier: %t", topic, !want)
		}
	}
	// It may arrive after its filter was given up.
	if !c.isFilterBarrier("g/b/request/barrier", []byte(conn.barrier())) || c.isFilterBarrier("g/b/request/x", []byte(conn.barrier())) {
		t.Error("our own barrier is a request")
	}
}
