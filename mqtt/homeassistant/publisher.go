package homeassistant

import (
	"context"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/internal/hub"
)

const (
	online  = "online"
	offline = "offline"

	// lastSyncInterval is the interval at which last_sync alone is published: a value that changes with each poll fills Home Assistant's
	// database.
	lastSyncInterval = 5 * time.Minute
)

// A Client holds retained messages at the broker; *mqtt.Client implements it.
type Client interface {
	Retain(topic string, payload []byte)
	Remove(topics ...string)
	Republish(topic string)
	PublishEvent(topic string, payload []byte)
	Ready()
}

// A Publisher publishes the content of the hub, and afterwards the changes.
type Publisher struct {
	discovery Discovery
	updates   *hub.Subscription
	client    Client
	log       *slog.Logger
	devices   map[hub.ID]*published
}

// published records the topics of a device that the broker holds.
type published struct {
	device   hub.Device
	state    *hub.State         // nil before the first
	topics   map[string]bool    // retained, discovery messages included
	lastSync *time.Time         // of an account
	status   *hub.AccountStatus // of an account, as published
}

// NewPublisher returns a publisher, which publishes nothing before Run. No event that is emitted after NewPublisher is missed.
func NewPublisher(h *hub.Hub, c Client, d Discovery, log *slog.Logger) *Publisher {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Publisher{discovery: d, updates: h.Subscribe(), client: c, log: log, devices: map[hub.ID]*published{}}
}

// Run publishes changes until ctx is done and all that came before is published. It is called once and returns nil. Published
// messages stay at the broker.
func (p *Publisher) Run(ctx context.Context) error {
	defer p.updates.Close()
	dropped := uint64(0)
	for {
		u, err := p.updates.Next(ctx)
		if err != nil {
			return nil
		}
		if n := p.updates.Dropped(); n > dropped {
			p.log.Warn("events dropped: more were waiting than are kept", "count", n-dropped)
			dropped = n
		}
		p.apply(u)
	}
}

func (p *Publisher) apply(u hub.Update) {
	switch {
	case u.Ready:
		p.client.Ready()
		return
	case u.Event != nil:
		p.client.PublishEvent(p.topic(u.ID, "event"), EventPayload(*u.Event))
		return
	}
	if d := p.devices[u.ID]; u.Removed && d != nil {
		p.client.Remove(slices.Sorted(maps.Keys(d.topics))...)
		delete(p.devices, u.ID)
	}
	if u.Device != nil {
		p.declare(*u.Device)
	}
	d := p.devices[u.ID]
	if d == nil {
		return
	}
	if u.State != nil {
		p.publish(d, *u.State, u.Assert)
	}
}

// topic returns a topic of a device.
func (p *Publisher) topic(id hub.ID, name string) string {
	switch {
	case id.Account == "":
		return p.discovery.Base.Shard(p.discovery.Shard, name)
	case id.Sensor == "":
		return p.discovery.Base.Account(id.Account, name)
	}
	return p.discovery.Base.Sensor(id.Account, id.Sensor, name)
}

// declare publishes a device's discovery messages, and removes the topics that it does not have any more.
func (p *Publisher) declare(declared hub.Device) {
	d := p.devices[declared.ID]
	if d == nil {
		d = &published{topics: map[string]bool{}}
		p.devices[declared.ID] = d
	}
	before := d.device
	d.device = declared
	payloads := p.discovery.Payloads(declared)
	for _, topic := range slices.Sorted(maps.Keys(d.topics)) {
		_, stays := payloads[topic]
		if _, announces := p.discovery.parseTopic(topic); announces && !stays {
			p.retain(d, topic, nil)
		}
	}
	for _, topic := range slices.Sorted(maps.Keys(payloads)) {
		p.retain(d, topic, payloads[topic])
	}
	if declared.ID.Sensor == "" {
		return
	}
	if !shows(declared) {
		p.retain(d, p.topic(declared.ID, "state"), nil)
		p.retain(d, p.topic(declared.ID, "attributes"), nil)
	}
	if !shows(declared) || !declared.Items {
		p.retain(d, p.topic(declared.ID, "items"), nil)
	}
	if !declared.Commands {
		p.retain(d, p.topic(declared.ID, "commands"), nil)
	}
	// The values depend on the entities, and what was not published before may be now.
	if state := d.state; state != nil && !sameShape(before, declared) {
		d.state = nil
		p.publish(d, *state, false)
	}
}

// shows reports whether a sensor reads anything.
func shows(d hub.Device) bool {
	return slices.ContainsFunc(d.Entities, func(e entity.Entity) bool { return e.Platform != "button" && e.Platform != "notify" })
}

// sameShape reports whether the same state of two devices has the same messages.
func sameShape(a, b hub.Device) bool {
	return a.Items == b.Items && a.Commands == b.Commands && slices.EqualFunc(a.Entities, b.Entities, func(a, b entity.Entity) bool {
		return a.Platform == b.Platform && a.StateKey() == b.StateKey() && slices.Equal(a.Options, b.Options)
	})
}

// retain sets a topic of a device; an empty payload removes it, if it is there.
func (p *Publisher) retain(d *published, topic string, payload []byte) {
	if len(payload) == 0 {
		if !d.topics[topic] {
			return
		}
		delete(d.topics, topic)
	} else {
		d.topics[topic] = true
	}
	p.client.Retain(topic, payload)
}

// publish publishes a state. An asserted one is published although it did not change.
func (p *Publisher) publish(d *published, s hub.State, asserted bool) {
	id, before := d.device.ID, d.state
	d.state = &s
	switch {
	case id.Account == "":
	case id.Sensor == "":
		p.publishAccount(d, s, before, asserted)
	default:
		p.publishSensor(d, s, before, asserted)
	}
}

// publishSensor encodes and publishes the parts of a state that may have changed.
func (p *Publisher) publishSensor(d *published, s hub.State, before *hub.State, asserted bool) {
	id := d.device.ID
	if shows(d.device) {
		if before == nil || !same(before.Attributes, s.Attributes) || !sameItems(before.State, s.State) {
			p.retain(d, p.topic(id, "attributes"), AttributesPayload(s.State))
			if d.device.Items {
				p.retain(d, p.topic(id, "items"), ItemsPayload(s.State))
			}
		}
		if before == nil || !same(before.Values, s.Values) {
			p.retain(d, p.topic(id, "state"), StatePayload(d.device.Entities, s.State))
		}
	}
	if before == nil || !reflect.DeepEqual(before.Problem, s.Problem) {
		p.retain(d, p.topic(id, "status"), problemPayload(s.Problem))
	}
	p.retain(d, p.topic(id, "availability"), availability(s.Available))
	if d.device.Commands {
		p.retain(d, p.topic(id, "commands"), availability(s.Commands))
	}
	if topic := p.topic(id, "state"); asserted && d.topics[topic] {
		p.client.Republish(topic)
	}
}

// publishAccount publishes an account's status.
func (p *Publisher) publishAccount(d *published, s hub.State, before *hub.State, asserted bool) {
	id := d.device.ID
	if s.Account != nil {
		status := *s.Account
		if d.lastSync == nil || status.LastSync == nil || asserted || recovered(before, status) ||
			status.LastSync.Sub(*d.lastSync) >= lastSyncInterval || status.LastSync.Before(*d.lastSync) {
			d.lastSync = status.LastSync
		}
		status.LastSync = moment(d.lastSync)
		if d.status == nil || !reflect.DeepEqual(*d.status, status) {
			d.status = &status
			p.retain(d, p.topic(id, "status"), statusPayload(status))
		}
	}
	p.retain(d, p.topic(id, "state"), availability(s.Available))
}

// recovered reports whether a failure that the status before showed is over.
func recovered(before *hub.State, now hub.AccountStatus) bool {
	if before == nil || before.Account == nil {
		return false
	}
	was := before.Account
	return !was.Connected && now.Connected || was.Error != nil && now.Error == nil || len(was.Problems) > len(now.Problems)
}

// maxListed is the number of sensors in the lists of problems and notifications of a status. An organization can have thousands, and each change is a message of all.
const maxListed = 100

// statusPayload returns the message of an account's status topic. Lists are never null, and have maxListed sensors at most: of notifications
// those first that are not ok.
func statusPayload(s hub.AccountStatus) []byte {
	s.Granted = append([]string{}, s.Granted...)
	s.Missing = append([]hub.MissingScope{}, s.Missing...)
	if len(s.Problems) > maxListed { // that of the bridge has no sensor and comes last
		s.Problems = slices.Clone(s.Problems)
		slices.SortStableFunc(s.Problems, func(a, b hub.SensorProblem) int { return min(len(a.Sensor), 1) - min(len(b.Sensor), 1) })
	}
	s.Problems, s.ProblemsOmitted = firstOf(s.Problems)
	if s.Notifications != nil && len(s.Notifications.Sensors) > maxListed {
		n := *s.Notifications
		n.Sensors = slices.Clone(n.Sensors)
		slices.SortStableFunc(n.Sensors, func(a, b hub.SensorNotifications) int { return rank(a.State) - rank(b.State) })
		n.Sensors, n.Omitted = firstOf(n.Sensors)
		s.Notifications = &n
	}
	s.ThrottledUntil, s.SignIn.ExpiresAt = moment(s.ThrottledUntil), moment(s.SignIn.ExpiresAt)
	return encode(s)
}

// firstOf returns the first maxListed of a list, never nil, and the number of the others.
func firstOf[T any](list []T) (first []T, omitted int) {
	n := min(len(list), maxListed)
	return append([]T{}, list[:n]...), len(list) - n
}

// rank orders states of notifications.
func rank(state string) int { return slices.Index([]string{"degraded", "off", "ok"}, state) }

// problemPayload returns the message of a sensor's status topic.
func problemPayload(problem *hub.Problem) []byte {
	status := struct {
		Problem bool       `json:"problem"`
		Code    *string    `json:"code"`
		Message *string    `json:"message"`
		Since   *time.Time `json:"since"`
	}{}
	if problem != nil {
		status.Problem, status.Code, status.Message, status.Since = true, &problem.Code, &problem.Message, moment(&problem.Since)
	}
	return encode(status)
}

func availability(available bool) []byte {
	if available {
		return []byte(online)
	}
	return []byte(offline)
}

// moment returns a time in UTC to the second; nil for none.
func moment(t *time.Time) *time.Time {
	if t == nil || t.IsZero() {
		return nil
	}
	utc := t.UTC().Truncate(time.Second)
	return &utc
}

// same reports whether two maps are certainly equal.
func same(a, b map[string]any) bool {
	return len(a) == len(b) && (len(a) == 0 || reflect.ValueOf(a).UnsafePointer() == reflect.ValueOf(b).UnsafePointer() || reflect.DeepEqual(a, b))
}

// sameItems reports whether two states certainly have the same items. A state does not change once it is in the hub, so lists that share
// their elements are alike.
func sameItems(a, b entity.State) bool {
	if a.ItemsKey != b.ItemsKey || len(a.Items) != len(b.Items) {
		return false
	}
	return len(a.Items) == 0 || &a.Items[0] == &b.Items[0] || reflect.DeepEqual(a.Items, b.Items)
}
