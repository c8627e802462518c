package bridge

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/graph2mqtt/graph2mqtt/mqtt"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// handle takes in every message of a command topic. The disk is all that it waits for.
func (b *Bridge) handle(m mqtt.Message) {
	address, ok := b.topics.Parse(m.Topic)
	if !ok {
		m.Ack()
		return
	}
	if address.Sensor == "" {
		b.answer(address, m)
		return
	}
	if a := b.account(address.Account); a != nil {
		d := services.Delivery{
			Topic: m.Topic, Answer: b.topics.Response(address), Account: address.Account, Sensor: address.Sensor, Payload: m.Payload,
			Retained: m.Retained, Duplicate: m.Duplicate, PacketID: m.PacketID, Connection: m.Connection, Received: m.Received, Ack: m.Ack,
		}
		if m.Backlog {
			d.Waited = m.Away
		}
		if address.Verb == mqtt.Set {
			d.Entity = address.Name
		} else {
			d.Operation = address.Name
		}
		a.desk.Receive(d)
		return
	}
	m.Ack() // an account that the subscriptions do not name
}

// answer does a request to the bridge or to an account, at once: it changes nothing at Microsoft.
func (b *Bridge) answer(address mqtt.Address, m mqtt.Message) {
	defer m.Ack()
	if len(m.Payload) == 0 {
		return
	}
	r := services.Response{Op: address.Name, ReceivedAt: m.Received.UTC()}
	answer := func(data any, err error) {
		if err != nil {
			r = r.Fail(err)
		} else {
			r = r.Succeed(data)
		}
		payload, err := json.Marshal(r)
		if err != nil {
			b.log.Error("an answer cannot be written as JSON", "op", address.Name, "error", err)
			return
		}
		// Not retained, and of no use later: while the broker is away it is dropped.
		b.mqtt.PublishEvent(b.topics.Response(address), payload)
	}
	if m.Retained {
		b.mqtt.Retain(m.Topic, nil)
		answer(nil, &services.Error{Code: services.RetainedRefused, Message: "a request must not be published as retained"})
		return
	}
	if err := late(m, b.options.Config.Commands.MaxAge); err != nil {
		answer(nil, err)
		return
	}
	var q request
	if err := json.Unmarshal(m.Payload, &q); err != nil {
		answer(nil, &services.Error{Code: services.InvalidJSON, Message: "want a JSON object, such as {}"})
		return
	}
	r.Transaction = q.Transaction
	if address.Account == "bridge" {
		answer(b.do(address.Name, q))
		return
	}
	if a := b.account(address.Account); a != nil {
		a.do(address.Name, q, answer)
	}
}

// late says that a message has waited in the broker for longer than it may: a code to sign in that was asked for yesterday is of
// no use today.
func late(m mqtt.Message, most time.Duration) error {
	if !m.Backlog || m.Away <= most {
		return nil
	}
	return &services.Error{Code: services.Expired, Message: fmt.Sprintf("waited in the broker while graph2mqtt was away for %s, longer than commands.max_age (%s)", m.Away.Round(time.Second), most)}
}

// A request to the bridge or to an account. Each operation has its own of the fields.
type request struct {
	Transaction string `json:"transaction"`
	Level       string `json:"level"`   // log_level
	Action      string `json:"action"`  // discovery: publish, clean
	Way         string `json:"way"`     // sign_in: device_code, browser
	Address     string `json:"address"` // sign_in: on which the browser ended
}

func (b *Bridge) do(operation string, q request) (any, error) {
	switch operation {
	case "ping":
		return map[string]any{"version": b.options.Version, "time": time.Now().UTC()}, nil
	case "refresh":
		for _, a := range b.all() {
			a.refresh()
		}
		return nil, nil
	case "log_level":
		if err := b.SetLevel(q.Level); err != nil {
			return nil, &services.Error{Code: services.InvalidArgument, Message: "level: " + err.Error()}
		}
		return map[string]any{"level": q.Level}, nil
	case "discovery":
		switch q.Action {
		case "", "publish":
			b.mqtt.RepublishAll()
		case "clean":
			b.mqtt.RemoveAll()
		default:
			return nil, &services.Error{Code: services.InvalidArgument, Message: fmt.Sprintf("action: want publish or clean, not %q", q.Action)}
		}
		return nil, nil
	}
	return nil, unknownOperation("bridge", operation, "discovery, log_level, ping, refresh")
}

func (a *account) do(operation string, q request, answer func(any, error)) {
	switch operation {
	case "refresh":
		a.refresh()
		answer(nil, nil)
	case "rescan":
		a.rescan()
		select {
		case a.todo <- func(ctx context.Context, living *sync.WaitGroup, _ func(*sensor)) {
			living.Go(func() { a.extend(ctx) })
		}:
		default: // there is more to do than that
		}
		answer(nil, nil)
	case "sign_in":
		select {
		case a.todo <- func(ctx context.Context, living *sync.WaitGroup, _ func(*sensor)) {
			a.signIn(ctx, living, signInRequest{q.Way, q.Address}, answer)
		}:
		default:
			answer(nil, &services.Error{Code: services.Overloaded, Message: "too many requests are waiting already"})
		}
	default:
		answer(nil, unknownOperation(a.config.ID, operation, "refresh, rescan, sign_in"))
	}
}

func unknownOperation(of, operation, known string) error {
	return &services.Error{Code: services.UnknownOp, Message: fmt.Sprintf("%s has no operation %q; known: %s", of, operation, known)}
}
