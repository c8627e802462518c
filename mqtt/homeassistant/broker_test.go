package homeassistant_test

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/broker"
	"github.com/graph2mqtt/graph2mqtt/internal/hub"
	"github.com/graph2mqtt/graph2mqtt/mqtt"
	"github.com/graph2mqtt/graph2mqtt/mqtt/homeassistant"
	"github.com/graph2mqtt/graph2mqtt/mqtt/mqtttest"
)

// discardStore is a Store that keeps nothing.
type discardStore struct{}

func (discardStore) Commit(_ func(mqtt.Tx), done func(error)) {
	if done != nil {
		go done(nil)
	}
}

// The hub's devices reach a broker in the order that Home Assistant needs, and every message holds to its rules.
func TestPublisherAtABroker(t *testing.T) {
	for _, mode := range []homeassistant.Mode{homeassistant.DeviceMode, homeassistant.ComponentMode} {
		b, err := broker.Embedded("127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		messages, order := map[string][]byte{}, []string{}
		states := make(chan string, 10) // of the bridge
		if err := b.Watch(1, "#", func(topic string, payload []byte, _ bool) {
			mu.Lock()
			defer mu.Unlock()
			messages[topic] = payload
			if topic != "graph2mqtt/bridge/barrier" && !slices.Contains(order, topic) { // some are published again after the barrier
				order = append(order, topic)
			}
			if topic == "graph2mqtt/bridge/state" {
				states <- string(payload)
			}
		}); err != nil {
			t.Fatal(err)
		}
		d := discovery(mode)
		client, err := mqtt.New(mqtt.Options{URLs: []string{b.URL()}, ClientID: "graph2mqtt-test", Base: string(base), Rules: d.Rules(), Store: discardStore{}})
		if err != nil {
			t.Fatal(err)
		}
		h := hub.New()
		publisher := homeassistant.NewPublisher(h, client, d, nil)
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = client.Run(ctx) })    // returns nil
		running.Go(func() { _ = publisher.Run(ctx) }) // returns nil
		for _, device := range devices() {
			h.Declare(device)
		}
		h.Put(accountID, accountState(start))
		h.Put(calendarID, hub.State{State: busyDay(), Available: true, Commands: true})
		h.Put(replyDevice.ID, hub.State{})
		h.Ready()
		await := func(want string) {
			for timeout := time.After(10 * time.Second); ; {
				select {
				case got := <-states:
					if got == want {
						return
					}
				case <-timeout:
					t.Fatalf("the bridge does not come %s", want)
				}
			}
		}
		await("online")
		cancel()
		running.Wait()
		await("offline") // the broker acknowledges messages before it distributes them
		mu.Lock()
		delete(messages, "graph2mqtt/bridge/barrier")
		if errs := mqtttest.CheckAll(messages, oldest); errs != nil {
			t.Errorf("%s: %v", mode, errs)
		}
		if mode == homeassistant.DeviceMode {
			want := []string{
				"homeassistant/device/graph2mqtt-bridge/config", "homeassistant/device/graph2mqtt-work/config", "graph2mqtt/work/status", "graph2mqtt/work/state",
				replyTopic, "homeassistant/datetime/graph2mqtt-work-auto_reply/start/config",
				"graph2mqtt/work/auto_reply/state", "graph2mqtt/work/auto_reply/attributes", "graph2mqtt/work/auto_reply/status",
				"graph2mqtt/work/auto_reply/availability", "graph2mqtt/work/auto_reply/commands", "homeassistant/device/graph2mqtt-work-calendar/config",
			}
			check(t, "order", order[:len(want)], want...)
		}
		topics := slices.Collect(maps.Keys(messages)) // more may arrive while the client disconnects
		mu.Unlock()
		for _, topic := range topics {
			if strings.HasPrefix(topic, "graph2mqtt/work/calendar/") && len(b.Retained(topic)) == 0 {
				t.Errorf("%s is not retained", topic)
			}
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
}
