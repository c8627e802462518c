package mqtt

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
)

// A connection is one connection to the broker, and the one writer on it.
type connection struct {
	client *Client
	paho   paho.Client
	number uint64
	away   time.Duration
	ready  chan struct{} // closed when Connected was called
	gone   chan struct{} // closed at its end
	lost   chan error

	// Below Client.mu.
	online        bool      // was said
	barrierPassed bool      // the barrier came back
	stopping      bool      // and nothing but what waits is sent
	birth         time.Time // when to answer Home Assistant's birth; zero: not

	// The writer's.
	failed      error // the connection was lost while sending
	inflight    []*inflight
	subscribed  map[string]bool // asked for, and not refused
	leaving     map[string]bool // not yet acknowledged
	refused     map[string]*refusal
	nextBarrier time.Time
	barriers    int
	nextStamp   time.Time
	steady      time.Time
}

// inflight is something that the broker has not acknowledged yet.
type inflight struct {
	token    paho.Token
	deadline time.Time
	message  *message
	done     func()
}

// A refusal is a filter that the broker refuses.
type refusal struct {
	again time.Time
	wait  time.Duration
}

// barrier is the payload that is waited for.
func (n *connection) barrier() string { return strconv.FormatUint(n.number, 10) }

// serve writes until the connection is lost, or ctx is done and everything was said.
func (n *connection) serve(ctx context.Context) error {
	c := n.client
	now := time.Now()
	n.nextStamp, n.steady = now.Add(c.options.Timing.Stamp), now.Add(c.steadyAfter())
	done := ctx.Done()
	var stop time.Time // when it must have stopped
	for {
		select {
		case err := <-n.lost:
			return &failure{kind: lost, err: err}
		case <-done:
			done, stop = nil, time.Now().Add(c.options.Timing.Stop)
			c.mu.Lock()
			n.stopping = true
			c.mu.Unlock()
		default:
		}
		now := time.Now()
		if len(n.inflight) > 0 && !now.Before(n.inflight[0].deadline) {
			return &failure{kind: lost, err: errors.New("the broker does not acknowledge")}
		}
		due := n.runTimers(now)
		if len(n.inflight) < inflightMax {
			sent, at := n.send(now)
			if n.failed != nil {
				return &failure{kind: lost, err: n.failed}
			}
			if sent {
				continue
			}
			due = earliest(due, at)
		}
		if n.stopping {
			if len(n.inflight) == 0 || !now.Before(stop) {
				n.publishOffline()
				return ctx.Err()
			}
			due = earliest(due, stop)
		}
		if err := n.wait(done, due); err != nil {
			return err
		}
	}
}

// wait until there is something to do.
func (n *connection) wait(done <-chan struct{}, due time.Time) error {
	var acknowledged <-chan struct{}
	if len(n.inflight) > 0 {
		acknowledged = n.inflight[0].token.Done()
		due = earliest(due, n.inflight[0].deadline)
	}
	timer := time.NewTimer(time.Until(due))
	defer timer.Stop()
	select {
	case <-done:
	case <-n.client.wake:
	case <-timer.C:
	case <-acknowledged:
		// The broker acknowledges in order. The token of a connection that was lost has an error, or is never done.
		first := n.inflight[0]
		if err := first.token.Error(); err != nil {
			select {
			case cause := <-n.lost: // tells more
				err = cause
			case <-time.After(time.Second):
			}
			return &failure{kind: lost, err: err}
		}
		n.inflight = n.inflight[1:]
		first.done()
	case err := <-n.lost:
		return &failure{kind: lost, err: err}
	}
	return nil
}

// runTimers does what is due by the clock, and says when it has to be done again.
func (n *connection) runTimers(now time.Time) (due time.Time) {
	c := n.client
	if !now.Before(n.nextStamp) {
		c.recordConnected(now)
		n.nextStamp = now.Add(c.options.Timing.Stamp)
	}
	due = n.nextStamp
	if !n.steady.IsZero() {
		if now.Before(n.steady) {
			due = earliest(due, n.steady)
		} else {
			n.steady = time.Time{}
			c.onStable()
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !n.birth.IsZero() {
		if now.Before(n.birth) {
			due = earliest(due, n.birth)
		} else {
			n.birth = time.Time{}
			c.retained.onBirth()
			n.online = false
		}
	}
	return due
}

// send sends one thing, if there is one. Otherwise it says when there will be; zero is never.
func (n *connection) send(now time.Time) (sent bool, due time.Time) {
	c := n.client
	if !n.stopping {
		if sent, due = n.subscriptions(now); sent {
			return true, due
		}
		if sent, at := n.sendBarrier(now); sent {
			return true, due
		} else {
			due = earliest(due, at)
		}
	}
	c.mu.Lock()
	p, at, ok := c.retained.next(now)
	var m *message
	state := ""
	switch {
	case ok:
	case c.retained.isReady && !n.online && !n.stopping:
		n.online, state = true, online
	case len(c.queue) > 0:
		m, c.queue = c.queue[0], c.queue[1:]
	}
	c.mu.Unlock()
	c.flush()
	switch {
	case ok:
		n.publish(now, p, nil, func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.retained.onAcked(p)
		})
	case state != "":
		n.publish(now, n.state(state), nil, func() {})
	case m != nil:
		n.publish(now, publication{topic: m.topic, payload: m.payload}, m, func() {
			if m.done != nil {
				m.done <- nil
			}
		})
	default:
		return false, earliest(due, at)
	}
	return true, due
}

// publishOffline says that we are offline: after an orderly end the broker does not do it.
func (n *connection) publishOffline() {
	n.publish(time.Now(), n.state(offline), nil, func() {})
	if n.failed == nil {
		n.inflight[len(n.inflight)-1].token.WaitTimeout(n.client.options.Timing.Stop)
	}
}

func (n *connection) state(state string) publication {
	return publication{topic: n.client.topics.Bridge("state"), payload: []byte(state), retained: true}
}

func (n *connection) publish(now time.Time, p publication, m *message, done func()) {
	payload := p.payload
	if payload == nil {
		payload = []byte{}
	}
	n.startAsync(now, func() paho.Token { return n.paho.Publish(p.topic, qos, p.retained, payload) }, m, func() {
		n.client.mu.Lock()
		n.client.stats.Published++
		n.client.mu.Unlock()
		done()
	})
}

// startAsync begins something, and calls done when the broker has acknowledged it. A call of paho's that meets the end of the
// connection blocks until it times out, so it is not waited for then.
func (n *connection) startAsync(now time.Time, begin func() paho.Token, m *message, done func()) {
	f := &inflight{deadline: now.Add(n.client.options.Timing.Ack), message: m, done: done}
	n.inflight = append(n.inflight, f)
	begun := make(chan paho.Token, 1)
	go func() { begun <- begin() }()
	select {
	case f.token = <-begun:
	case n.failed = <-n.lost:
	}
}

// sendBarrier sends the barrier, again until it comes back: where the broker's queue for us is full it is dropped.
func (n *connection) sendBarrier(now time.Time) (sent bool, due time.Time) {
	c := n.client
	topic := c.topics.Bridge("barrier")
	c.mu.Lock()
	passed := n.barrierPassed
	c.mu.Unlock()
	if passed || !n.subscribed[topic] {
		return false, time.Time{}
	}
	if now.Before(n.nextBarrier) {
		return false, n.nextBarrier
	}
	n.nextBarrier = now.Add(c.options.Timing.Barrier)
	if n.barriers++; n.barriers == 16 {
		c.log.Warn("our own messages do not come back from the broker: is this client allowed to publish and to read them?", "topic", topic)
	}
	n.publish(now, publication{topic: topic, payload: []byte(n.barrier())}, nil, func() {})
	return true, due
}

// subscriptions asks for what is wanted, and gives up what is not.
func (n *connection) subscriptions(now time.Time) (sent bool, due time.Time) {
	c := n.client
	c.mu.Lock()
	wanted := append([]string{c.topics.Bridge("barrier"), c.topics.Bridge("state")}, c.filters...)
	if c.options.Discovery.Enabled && c.options.Discovery.StatusTopic != "" {
		wanted = append(wanted, c.options.Discovery.StatusTopic)
	}
	var ask, leave []string
	for _, filter := range wanted {
		if r := n.refused[filter]; r != nil && now.Before(r.again) {
			due = earliest(due, r.again)
		} else if !n.subscribed[filter] {
			ask = append(ask, filter)
		}
	}
	// Before everything is declared nothing is known to be unwanted.
	if c.retained.isReady {
		for filter := range c.subscriptions {
			if !slices.Contains(wanted, filter) && !n.leaving[filter] {
				leave = append(leave, filter)
			}
		}
	}
	for _, filter := range ask {
		if !c.subscriptions[filter] {
			c.subscriptions[filter] = true
			c.retained.write(subscriptionKey+filter, []byte("1"))
		}
	}
	c.mu.Unlock()
	if len(leave) > 0 {
		slices.Sort(leave)
		for _, filter := range leave {
			delete(n.subscribed, filter)
			delete(n.refused, filter)
			n.leaving[filter] = true
		}
		n.startAsync(now, func() paho.Token { return n.paho.Unsubscribe(leave...) }, nil, func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			for _, filter := range leave {
				delete(n.leaving, filter)
				if !n.subscribed[filter] { // not asked for again meanwhile
					delete(c.subscriptions, filter)
					c.retained.write(subscriptionKey+filter, nil)
				}
			}
		})
		return true, due
	}
	if len(ask) == 0 {
		return false, due
	}
	c.flush()
	filters := map[string]byte{}
	for _, filter := range ask {
		n.subscribed[filter], filters[filter] = true, qos
	}
	var token paho.Token
	n.startAsync(now, func() paho.Token { token = n.paho.SubscribeMultiple(filters, nil); return token }, nil, func() {
		n.onSuback(token.(*paho.SubscribeToken).Result())
	})
	return true, due
}

// onSuback takes note of what the broker has said to our filters: 0x80 and above is no (MQTT 3.1.1, section 3.9.3).
func (n *connection) onSuback(results map[string]byte) {
	c := n.client
	for _, filter := range slices.Sorted(maps.Keys(results)) {
		r := n.refused[filter]
		switch {
		case results[filter] < 0x80:
			delete(n.refused, filter)
			if c.rejectedFilters[filter] {
				delete(c.rejectedFilters, filter)
				c.log.Info("the broker grants the subscription", "filter", filter)
			}
			continue
		case r == nil:
			r = &refusal{wait: c.options.Timing.RetryMin}
			n.refused[filter] = r
		default:
			r.wait = min(2*r.wait, c.options.Timing.RetryMax)
		}
		r.again = time.Now().Add(r.wait)
		delete(n.subscribed, filter)
		if !c.rejectedFilters[filter] {
			c.rejectedFilters[filter] = true
			c.log.Error("the broker refuses a subscription: is this client allowed to read it?", "filter", filter,
				"code", fmt.Sprintf("0x%02x", results[filter]))
		}
	}
}

// earliest is the earlier of two times, of which zero is never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
