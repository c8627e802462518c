package mqtt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
)

// maxFilters is the number of filters in one SUBSCRIBE or UNSUBSCRIBE.
const maxFilters = 100

// A connection is one connection to the broker, and the only writer on it.
type connection struct {
	client *Client
	paho   paho.Client
	number uint64
	ready  chan struct{} // closed after OnSession
	ended  chan struct{} // closed at its end
	lost   chan error

	heardFields

	// Guarded by Client.mu.
	begun              time.Time
	away               time.Duration     // how long messages before the barrier may have waited
	awayBefore         time.Duration     // away at begun
	round              int               // of the barrier
	online             bool              // was published
	barrierPassed      bool              // the barrier was received
	barriers           map[string]string // those of filters that were not received yet: the filter by the topic
	barrierDue         bool              // a new round is to be sent at once
	asserted           bool              // everything was sent again after the first barrier
	stopping           bool              // only what is pending is sent
	checkSubscriptions bool
	birth              time.Time // when to answer Home Assistant's birth; zero: not
	acksRequested      uint64
	confirmations      []confirmation

	// Used by the writer alone.
	failed          error // the connection was lost while sending
	inflight        []*inflight
	alone           bool // what is in flight is a suspect
	confirmInFlight bool
	subscribed      map[string]bool
	leaving         map[string]bool // not yet acknowledged
	refusals        map[string]*filterRefusal
	nextSubscribe   time.Time
	nextBarrier     time.Time
	barrierTopics   []string // those of this attempt that are still to be sent
	barrierAttempts int
	nextStamp       time.Time
	nextHeartbeat   time.Time
	steady          time.Time
}

// A confirmation waits for the acknowledgements that were requested before it.
type confirmation struct {
	f    func()
	acks uint64
}

// inflight is a packet that the broker has not acknowledged yet.
type inflight struct {
	token       paho.Token
	begun       time.Time
	deadline    time.Time
	message     *message     // set for one that is not retained
	publication *publication // set for a retained one
	done        func()
}

// A filterRefusal is about a filter that the broker refuses.
type filterRefusal struct {
	retryAt time.Time
	wait    time.Duration
}

func newConnection(c *Client) *connection {
	return &connection{
		client: c, ready: make(chan struct{}), ended: make(chan struct{}), lost: make(chan error, 1), checkSubscriptions: true,
		barriers: map[string]string{}, subscribed: map[string]bool{}, leaving: map[string]bool{}, refusals: map[string]*filterRefusal{},
	}
}

// barrier returns the payload that is waited for. No other client and no earlier process has sent it: theirs may have waited in the broker
// before the requests.
func (conn *connection) barrier() string {
	number := conn.client.instance + "." + strconv.FormatUint(conn.number, 10)
	if conn.round > 0 {
		number += "." + strconv.Itoa(conn.round)
	}
	return number
}

// hasBacklog reports whether messages may still arrive that waited in the broker.
func (conn *connection) hasBacklog() bool { return !conn.barrierPassed || len(conn.barriers) > 0 }

// expectBarriers adds a barrier for each filter of requests. Brokers that keep the order within a filter only, such as NATS, may
// deliver messages of a filter that waited after the barrier of another one.
func (conn *connection) expectBarriers(filters []string) {
	own := conn.client.ownFilters()
	for _, filter := range filters {
		if _, ok := own[filter]; ok {
			continue
		}
		if topic, ok := filterBarrier(filter); ok {
			conn.barriers[topic] = filter
		}
	}
}

// filterBarrier returns the topic of a filter's barrier: one that matches the filter and that nothing else has. It reports false for a filter
// that does not end in #.
func filterBarrier(filter string) (topic string, ok bool) {
	above, ok := strings.CutSuffix(filter, "#")
	return strings.ReplaceAll(above, "+", "-") + "barrier", ok
}

// isFilterBarrier reports whether a message is the barrier of a filter. If the filter is not wanted any more, only our own barrier counts.
func (c *Client) isFilterBarrier(topic string, payload []byte) bool {
	return strings.HasSuffix(topic, "/barrier") && (bytes.HasPrefix(payload, []byte(c.instance+".")) || slices.ContainsFunc(c.filters, func(filter string) bool {
		barrier, ok := filterBarrier(filter)
		return ok && barrier == topic
	}))
}

// age returns how long a message can have been under way.
func (conn *connection) age(topic string, duplicate bool, now time.Time) time.Duration {
	switch {
	case duplicate && conn.awayBefore < math.MaxInt64-now.Sub(conn.begun):
		// It was sent before. Some brokers send it again at any time, and not in order.
		return conn.awayBefore + now.Sub(conn.begun)
	case duplicate:
		return math.MaxInt64
	case !conn.barrierPassed:
		return conn.away
	}
	for _, filter := range conn.barriers {
		if Matches(filter, topic) {
			return conn.away
		}
	}
	return 0
}

// Matches reports whether a topic matches a filter. See section 4.7 of MQTT 3.1.1.
func Matches(filter, topic string) bool {
	levels, wanted := strings.Split(topic, "/"), strings.Split(filter, "/")
	for i, w := range wanted {
		switch {
		case w == "#": // also matches the level above it
			return true
		case i >= len(levels), w != "+" && w != levels[i]:
			return false
		}
	}
	return len(levels) == len(wanted)
}

// serve writes until the connection is lost, or ctx is done and everything was sent.
func (conn *connection) serve(ctx context.Context) error {
	c := conn.client
	now := time.Now()
	conn.nextStamp, conn.steady = now.Add(c.options.Timing.Stamp), now.Add(c.steadyAfter())
	conn.nextHeartbeat = conn.heartbeatAfter(now)
	done := ctx.Done()
	var stop time.Time // when it must have stopped
	for {
		select {
		case err := <-conn.lost:
			return &failure{kind: lost, err: err}
		case <-done:
			done, stop = nil, time.Now().Add(c.options.Timing.Stop)
			c.mu.Lock()
			conn.stopping = true
			c.mu.Unlock()
		default:
		}
		now := time.Now()
		if len(conn.inflight) > 0 && !conn.inflight[0].extend(now, time.Unix(0, conn.heard.Load()), c.options.Timing.Ack) {
			return &failure{kind: lost, err: errors.New("the broker does not acknowledge")}
		}
		due, blocked := conn.runTimers(now), false
		if len(conn.inflight) < maxInflight && !conn.alone {
			var sent bool
			var at time.Time
			sent, blocked, at = conn.send(now)
			if conn.failed != nil {
				return &failure{kind: lost, err: conn.failed}
			}
			if sent {
				continue
			}
			due = earliest(due, at)
		}
		c.flush()
		c.runDeferredLogs()
		if conn.stopping {
			if len(conn.inflight) == 0 && !blocked || !now.Before(stop) {
				conn.publishOffline()
				return ctx.Err()
			}
			due = earliest(due, stop)
		}
		if err := conn.wait(done, due); err != nil {
			return err
		}
	}
}

// wait returns when there is something to do.
func (conn *connection) wait(done <-chan struct{}, due time.Time) error {
	var acknowledged <-chan struct{}
	if len(conn.inflight) > 0 {
		acknowledged = conn.inflight[0].token.Done()
		due = earliest(due, conn.inflight[0].deadline)
	}
	timer := time.NewTimer(time.Until(due))
	defer timer.Stop()
	select {
	case <-done:
	case <-conn.client.wake:
	case <-timer.C:
	case <-acknowledged:
		// The broker acknowledges in order. The token of a lost connection has an error, or is never done.
		first := conn.inflight[0]
		if err := first.token.Error(); err != nil {
			select {
			case cause := <-conn.lost: // says more
				err = cause
			case <-time.After(time.Second):
			}
			return &failure{kind: lost, err: err}
		}
		conn.inflight, conn.alone = conn.inflight[1:], false
		first.done()
	case err := <-conn.lost:
		return &failure{kind: lost, err: err}
	}
	return nil
}

// heartbeatAfter returns the time of the next heartbeat. It is a multiple of the interval, as the watchers of files look at such moments
// too: waking up costs more than the heartbeat.
func (conn *connection) heartbeatAfter(now time.Time) time.Time {
	interval := conn.client.options.Timing.Heartbeat
	return now.Add(now.Truncate(interval).Add(interval).Sub(now))
}

// runTimers does what is due by the clock and returns when it is due again.
func (conn *connection) runTimers(now time.Time) (due time.Time) {
	c := conn.client
	if !now.Before(conn.nextHeartbeat) {
		conn.checkFrozen(now)
		conn.alive.Store(now.UnixNano())
		conn.nextHeartbeat = conn.heartbeatAfter(now)
	}
	switch {
	case conn.steady.IsZero():
	case now.Before(conn.steady):
		due = conn.steady
	default:
		conn.steady = time.Time{}
		c.onStable()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !now.Before(conn.nextStamp) {
		c.recordHeard(conn)
		conn.nextStamp = now.Add(c.options.Timing.Stamp)
	}
	due = earliest(due, earliest(conn.nextStamp, conn.nextHeartbeat))
	if !conn.birth.IsZero() {
		if now.Before(conn.birth) {
			due = earliest(due, conn.birth)
		} else {
			conn.birth = time.Time{}
			c.retained.onBirth(now)
			conn.online = false
		}
	}
	return due
}

// send sends one message, if there is one. Otherwise it returns when there will be, zero being never; blocked says that retained messages
// wait for something else than time.
func (conn *connection) send(now time.Time) (sent, blocked bool, due time.Time) {
	c := conn.client
	if !conn.stopping {
		if sent, due = conn.subscribe(now); sent {
			return true, false, due
		}
		sent, at := conn.sendBarrier(now)
		if sent {
			return true, false, due
		}
		due = earliest(due, at)
	}
	alone := len(conn.inflight) == 0
	c.mu.Lock()
	suspect := len(c.queue) > 0 && c.queue[0].losses >= suspectAfter
	if !alone && (suspect || c.retained.suspectIsNext(now)) {
		c.mu.Unlock()
		return false, true, due // until everything else is acknowledged
	}
	var (
		p     publication
		at    time.Time
		m     *message
		ok    bool
		state string
	)
	if suspect { // first, or it might never be alone
		m = c.nextMessage(now, alone)
	}
	if m == nil {
		p, at, blocked, ok = c.retained.next(now, alone)
	}
	urgent := c.retained.urgent
	switch {
	case ok, m != nil:
	case c.retained.isReady && !conn.online && !conn.stopping && !blocked:
		conn.online, state = true, online
	default:
		m = c.nextMessage(now, alone)
	}
	c.mu.Unlock()
	if urgent {
		c.flush()
	}
	switch {
	case ok:
		conn.alone = p.suspect
		conn.publish(now, p, nil, func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.retained.onAcked(p)
		})
	case state != "":
		conn.publish(now, conn.state(state), nil, func() {})
	case m != nil:
		conn.alone = m.losses >= suspectAfter
		conn.publish(now, publication{topic: m.topic, payload: m.payload}, m, func() {
			if m.done != nil {
				m.done <- nil
			}
		})
	default:
		// Last, so that it confirms everything that was to be sent before.
		if !blocked && conn.confirm(now) {
			return true, false, due
		}
		return false, blocked, earliest(due, at)
	}
	return true, blocked, due
}

// nextMessage returns the message to be sent, if there is one. One that was in flight when connections were lost is returned only if it
// is sent alone.
func (c *Client) nextMessage(now time.Time, alone bool) *message {
	for len(c.queue) > 0 {
		m := c.queue[0]
		if m.losses >= suspectAfter && !alone {
			return nil
		}
		c.queue = c.queue[1:]
		if m.isEvent() {
			c.events--
		}
		switch {
		case c.isRefused(m.topic, m.payload):
			c.refuse(m)
		case m.isEvent() && now.Round(0).Sub(m.queued) > c.options.Timing.EventAge:
			c.stats.Dropped++
		default:
			return m
		}
	}
	return nil
}

// confirm sends a message whose acknowledgement confirms what was sent before, once the requested acknowledgements were written.
func (conn *connection) confirm(now time.Time) bool {
	c := conn.client
	c.mu.Lock()
	n, written := 0, conn.acksWritten.Load()
	for !conn.confirmInFlight && n < len(conn.confirmations) && conn.confirmations[n].acks <= written {
		n++
	}
	due := slices.Clone(conn.confirmations[:n])
	conn.confirmations = conn.confirmations[n:]
	if len(conn.confirmations) == 0 {
		conn.confirming.Store(false)
	}
	c.mu.Unlock()
	if len(due) == 0 {
		return false
	}
	conn.confirmInFlight = true
	conn.publish(now, publication{topic: c.bridgeTopic("barrier"), payload: []byte("confirm")}, nil, func() {
		conn.confirmInFlight = false
		for _, waiting := range due {
			waiting.f()
		}
	})
	return true
}

// publishOffline publishes that the bridge is offline: after an orderly end the broker does not do it.
func (conn *connection) publishOffline() {
	conn.publish(time.Now(), conn.state(offline), nil, func() {})
	if conn.failed == nil {
		conn.inflight[len(conn.inflight)-1].token.WaitTimeout(conn.client.options.Timing.Stop)
	}
}

func (conn *connection) state(state string) publication {
	return publication{topic: conn.client.bridgeTopic("state"), payload: []byte(state), retained: true}
}

func (conn *connection) publish(now time.Time, p publication, m *message, done func()) {
	payload := p.payload
	if payload == nil {
		payload = []byte{}
	}
	f := &inflight{message: m}
	if m == nil {
		f.publication = &p
	}
	conn.startAsync(now, func() paho.Token { return conn.paho.Publish(p.topic, qos, p.retained, payload) }, f, func() {
		conn.client.mu.Lock()
		conn.client.stats.Published++
		conn.client.mu.Unlock()
		done()
	})
}

// maxExtension is the multiple of Timing.Ack that an acknowledgement may take while the broker sends other packets.
const maxExtension = 5

// extend reports whether the acknowledgement may still come. While the broker is heard its deadline moves: it can be behind many
// large messages on the connection.
func (f *inflight) extend(now, heard time.Time, wait time.Duration) bool {
	if now.Before(f.deadline) {
		return true
	}
	last := f.begun.Add(maxExtension * wait)
	if f.deadline = heard.Add(wait); last.Before(f.deadline) {
		f.deadline = last
	}
	return now.Before(f.deadline)
}

// startAsync begins something and calls done when the broker has acknowledged it. A call of paho's that meets the end of the connection blocks
// until it times out, so it is not waited for then.
func (conn *connection) startAsync(now time.Time, begin func() paho.Token, f *inflight, done func()) {
	f.begun, f.deadline, f.done = now, now.Add(conn.client.options.Timing.Ack), done
	conn.inflight = append(conn.inflight, f)
	begun := make(chan paho.Token, 1)
	go func() { begun <- begin() }()
	select {
	case f.token = <-begun:
	case conn.failed = <-conn.lost:
	}
}

// maxBarrierAttempts is the number of attempts after which the barriers of filters are given up: this client may not be allowed to
// publish to their topics.
const maxBarrierAttempts = 16

// sendBarrier sends the barriers until they are received: a broker drops them while its queue for this client is full.
func (conn *connection) sendBarrier(now time.Time) (sent bool, due time.Time) {
	c := conn.client
	general := c.bridgeTopic("barrier")
	c.mu.Lock()
	payload := []byte(conn.barrier())
	if conn.barrierDue {
		conn.barrierDue, conn.nextBarrier, conn.barrierTopics, conn.barrierAttempts = false, time.Time{}, nil, 0
	}
	if len(conn.barrierTopics) == 0 {
		var topics []string
		if !conn.barrierPassed && conn.subscribed[general] {
			topics = append(topics, general)
		}
		for topic, filter := range conn.barriers {
			if conn.subscribed[filter] {
				topics = append(topics, topic)
			}
		}
		slices.Sort(topics)
		if len(topics) == 0 || now.Before(conn.nextBarrier) {
			c.mu.Unlock()
			if len(topics) == 0 {
				return false, time.Time{}
			}
			return false, conn.nextBarrier
		}
		conn.nextBarrier, conn.barrierTopics = now.Add(c.options.Timing.Barrier), topics
		if conn.barrierAttempts++; conn.barrierAttempts == maxBarrierAttempts {
			c.deferLog(func() {
				c.log.Warn("the broker does not deliver our own messages: is this client allowed to publish and to read them?", "topic", topics[0])
			})
			clear(conn.barriers)
		}
	}
	c.mu.Unlock()
	topic := conn.barrierTopics[0]
	conn.barrierTopics = conn.barrierTopics[1:]
	conn.publish(now, publication{topic: topic, payload: payload}, nil, func() {})
	return true, due
}

// wanted returns the QoS of every wanted filter.
func (c *Client) wanted() map[string]byte {
	wanted := c.ownFilters()
	for _, filter := range c.filters {
		wanted[filter] = qos
	}
	return wanted
}

// ownFilters returns the QoS of every filter that is not one of requests.
func (c *Client) ownFilters() map[string]byte {
	own := map[string]byte{c.bridgeTopic("barrier"): qos, c.bridgeTopic("state"): qos}
	if c.options.Rules.StatusTopic != "" {
		own[c.options.Rules.StatusTopic] = qos
	}
	for _, filter := range c.options.Rules.Watch {
		own[filter] = 0 // announcements of other clients must not fill the broker's queue for this one
	}
	return own
}

// subscribe subscribes to what is wanted and unsubscribes from what is not.
func (conn *connection) subscribe(now time.Time) (sent bool, due time.Time) {
	c := conn.client
	c.mu.Lock()
	if !conn.checkSubscriptions && (conn.nextSubscribe.IsZero() || now.Before(conn.nextSubscribe)) {
		c.mu.Unlock()
		return false, conn.nextSubscribe
	}
	wanted := c.wanted()
	var ask, leave []string
	for filter := range wanted {
		if r := conn.refusals[filter]; r != nil && now.Before(r.retryAt) {
			due = earliest(due, r.retryAt)
		} else if !conn.subscribed[filter] {
			ask = append(ask, filter)
		}
	}
	// Before everything is declared nothing is known to be unwanted.
	if c.retained.isReady {
		for filter := range c.subscriptions {
			if _, ok := wanted[filter]; !ok && !conn.leaving[filter] {
				leave = append(leave, filter)
			}
		}
	}
	slices.Sort(ask)
	slices.Sort(leave)
	ask, leave = ask[:min(len(ask), maxFilters)], leave[:min(len(leave), maxFilters)]
	if len(leave) == 0 {
		for _, filter := range ask {
			if !c.subscriptions[filter] {
				c.subscriptions[filter] = true
				c.retained.write(subscriptionKey+filter, []byte("1"))
			}
		}
	}
	if conn.nextSubscribe = due; len(ask)+len(leave) == 0 {
		conn.checkSubscriptions = false
	}
	c.mu.Unlock()
	if len(leave) > 0 {
		conn.unsubscribe(now, leave)
		return true, due
	}
	if len(ask) == 0 {
		return false, due
	}
	c.flush()
	filters := map[string]byte{}
	for _, filter := range ask {
		conn.subscribed[filter], filters[filter] = true, wanted[filter]
	}
	var token paho.Token
	conn.startAsync(now, func() paho.Token { token = conn.paho.SubscribeMultiple(filters, nil); return token }, &inflight{}, func() {
		conn.onSuback(token.(*paho.SubscribeToken).Result())
	})
	return true, due
}

func (conn *connection) unsubscribe(now time.Time, filters []string) {
	c := conn.client
	c.mu.Lock()
	maps.DeleteFunc(conn.barriers, func(_, filter string) bool { return slices.Contains(filters, filter) })
	c.mu.Unlock()
	for _, filter := range filters {
		delete(conn.subscribed, filter)
		delete(conn.refusals, filter)
		conn.leaving[filter] = true
	}
	conn.startAsync(now, func() paho.Token { return conn.paho.Unsubscribe(filters...) }, &inflight{}, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		conn.checkSubscriptions = true
		for _, filter := range filters {
			delete(conn.leaving, filter)
			if !conn.subscribed[filter] { // not subscribed again meanwhile
				delete(c.subscriptions, filter)
				c.retained.write(subscriptionKey+filter, nil)
			}
		}
	})
}

// packetIDInUse is the code with which mochi refuses a SUBSCRIBE whose packet id is also that of a message it has sent and that is not
// acknowledged yet. The next SUBSCRIBE has another id.
const packetIDInUse = 0x91

// onSuback handles the broker's results: 0x80 and above is a refusal (MQTT 3.1.1, section 3.9.3).
func (conn *connection) onSuback(results map[string]byte) {
	c := conn.client
	c.mu.Lock()
	defer c.mu.Unlock()
	conn.checkSubscriptions = true
	for _, filter := range slices.Sorted(maps.Keys(results)) {
		r := conn.refusals[filter]
		transient := results[filter] == packetIDInUse && r == nil
		switch {
		case results[filter] < 0x80:
			delete(conn.refusals, filter)
			if c.rejectedFilters[filter] {
				delete(c.rejectedFilters, filter)
				c.deferLog(func() { c.log.Info("the broker grants the subscription", "filter", filter) })
			}
			continue
		case r == nil:
			r = &filterRefusal{wait: c.options.Timing.RetryMin}
			conn.refusals[filter] = r
		default:
			r.wait = min(2*r.wait, c.options.Timing.RetryMax)
		}
		r.retryAt = time.Now().Add(r.wait)
		delete(conn.subscribed, filter)
		if !transient && !c.rejectedFilters[filter] {
			c.rejectedFilters[filter] = true
			code := fmt.Sprintf("0x%02x", results[filter])
			c.deferLog(func() {
				c.log.Error("the broker refuses a subscription: is this client allowed to read it?", "filter", filter, "code", code)
			})
		}
	}
}

// earliest returns the earlier of two times, of which zero is never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
