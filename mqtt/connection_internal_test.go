package mqtt

import (
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
	c, err := New(Options{URL: "mqtt://host", Base: "g"})
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
