package bridge

import (
	"encoding/json"
	"fmt"
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
	for _, a := range b.accounts {
		if a.config.ID != address.Account {
			continue
		}
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
	var request struct {
		Transaction string `json:"transaction"`
		Level       string `json:"level"`
	}
	switch err := json.Unmarshal(m.Payload, &request); {
	case m.Retained:
		b.mqtt.Retain(m.Topic, nil)
		r = r.Fail(&services.Error{Code: services.RetainedRefused, Message: "a request must not be published as retained"})
	case err != nil:
		r = r.Fail(&services.Error{Code: services.InvalidJSON, Message: "want a JSON object, such as {}"})
	default:
		r.Transaction = request.Transaction
		data, err := b.request(address, request.Level)
		if err != nil {
			r = r.Fail(err)
		} else {
			r = r.Succeed(data)
		}
	}
	payload, err := json.Marshal(r)
	if err != nil {
		b.log.Error("an answer cannot be written as JSON", "op", address.Name, "error", err)
		return
	}
	// Not retained, and of no use later: while the broker is away it is dropped.
	b.mqtt.Emit(b.topics.Response(address), payload)
}

func (b *Bridge) request(address mqtt.Address, level string) (any, error) {
	accounts := b.accounts
	known := "discovery, log_level, ping, refresh"
	if address.Account != "bridge" {
		known = "refresh"
		accounts = nil
		for _, a := range b.accounts {
			if a.config.ID == address.Account {
				accounts = []*account{a}
			}
		}
	}
	switch {
	case address.Name == "refresh":
		for _, a := range accounts {
			a.refresh()
		}
		return nil, nil
	case address.Account == "bridge" && address.Name == "ping":
		return map[string]any{"version": b.options.Version, "time": time.Now().UTC()}, nil
	case address.Account == "bridge" && address.Name == "log_level":
		if err := b.SetLevel(level); err != nil {
			return nil, &services.Error{Code: services.InvalidArgument, Message: "level: " + err.Error()}
		}
		return map[string]any{"level": level}, nil
	}
	return nil, &services.Error{Code: services.UnknownOp, Message: fmt.Sprintf("%s has no operation %q; known: %s", address.Account, address.Name, known)}
}
