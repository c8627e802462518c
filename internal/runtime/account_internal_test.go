package runtime

import (
	"testing"
	"time"
)

func TestRescansKeepTheirDistance(t *testing.T) {
	start := time.Now()
	at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	p := pace{pause: 5 * time.Second}
	if p.take(at(0)) {
		t.Error("done without being asked for")
	}
	p.ask(at(0))
	if !p.take(at(0)) {
		t.Error("the first one was delayed")
	}
	p.ask(at(1))
	p.ask(at(2))
	if p.take(at(4)) || !p.due.Equal(at(5)) {
		t.Errorf("due at %s, want %s", p.due, at(5))
	}
	if !p.take(at(5)) || p.take(at(20)) {
		t.Error("two requests during the pause were not done together, once")
	}
	p.ask(at(20))
	if !p.take(at(20)) {
		t.Error("one after a long pause was delayed")
	}
}
