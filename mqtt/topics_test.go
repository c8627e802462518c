package mqtt_test

import (
	"strings"
	"testing"

	"github.com/graph2mqtt/graph2mqtt/mqtt"
)

func TestTopics(t *testing.T) {
	topics := mqtt.Topics("home/graph2mqtt")
	for got, want := range map[string]string{
		topics.Bridge("state"):                       "home/graph2mqtt/bridge/state",
		topics.Shard(0, "info"):                      "home/graph2mqtt/bridge/info",
		topics.Shard(12, "state"):                    "home/graph2mqtt/bridge/shards/12/state",
		topics.Account("work", "status"):             "home/graph2mqtt/work/status",
		topics.Sensor("work", "calendar", "state"):   "home/graph2mqtt/work/calendar/state",
		topics.Sensor("work", "calendar", ""):        "home/graph2mqtt/work/calendar",
		topics.Account("work", ""):                   "home/graph2mqtt/work",
		topics.Bridge(""):                            "home/graph2mqtt/bridge",
		topics.ID("work", "calendar"):                "home_graph2mqtt_j2hxef-work-calendar",
		topics.ID("bridge"):                          "home_graph2mqtt_j2hxef-bridge",
		mqtt.Topics("büro 1.og").ID("work"):          "b_ro_1_og_k3uiyh-work",
		mqtt.Topics("graph2mqtt").ID("work", "a_b7"): "graph2mqtt-work-a_b7",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestParse(t *testing.T) {
	topics := mqtt.Topics("a/b")
	for topic, want := range map[string]struct {
		address  mqtt.Address
		response string
	}{
		"a/b/bridge/request/ping":           {mqtt.Address{Account: "bridge", Verb: "request", Name: "ping"}, "a/b/bridge/response/ping"},
		"a/b/bridge/shards/7/request/ping":  {mqtt.Address{Account: "bridge", Shard: 7, Verb: "request", Name: "ping"}, "a/b/bridge/shards/7/response/ping"},
		"a/b/work/shards/request/list":      {mqtt.Address{Account: "work", Sensor: "shards", Verb: "request", Name: "list"}, "a/b/work/shards/response/list"},
		"a/b/work/request/refresh":          {mqtt.Address{Account: "work", Verb: "request", Name: "refresh"}, "a/b/work/response/refresh"},
		"a/b/work/request":                  {mqtt.Address{Account: "work", Verb: "request"}, "a/b/work/response"},
		"a/b/work/request/x/y":              {mqtt.Address{Account: "work", Verb: "request", Name: "x/y"}, "a/b/work/response/x/y"},
		"a/b/work/calendar/request/create":  {mqtt.Address{Account: "work", Sensor: "calendar", Verb: "request", Name: "create"}, "a/b/work/calendar/response/create"},
		"a/b/work/auto_reply/set/enabled":   {mqtt.Address{Account: "work", Sensor: "auto_reply", Verb: "set", Name: "enabled"}, "a/b/work/auto_reply/response/set/enabled"},
		"a/b/work/set/set/enabled":          {mqtt.Address{Account: "work", Sensor: "set", Verb: "set", Name: "enabled"}, "a/b/work/set/response/set/enabled"},
		"a/b/work/calendar/set":             {mqtt.Address{Account: "work", Sensor: "calendar", Verb: "set"}, "a/b/work/calendar/response/set"},
		"a/b/work/calendar/request/set/any": {mqtt.Address{Account: "work", Sensor: "calendar", Verb: "request", Name: "set/any"}, "a/b/work/calendar/response/set/any"},
	} {
		got, ok := topics.Parse(topic)
		if !ok || got != want.address {
			t.Errorf("%s: got %+v, %v, want %+v", topic, got, ok, want.address)
		}
		if response := topics.Response(got); response != want.response {
			t.Errorf("%s: got response %q, want %q", topic, response, want.response)
		}
	}
	for _, topic := range []string{
		"", "a/b", "a/b/", "a/b/work", "a/b/work/state", "a/b/work/calendar/state", "a/b/bridge/state", "a/b/bridge/barrier",
		"a/bwork/request/x", "x/b/work/request/x", "a/b//request/x", "a/b/work//set/x", "a/b/bridge/x/request/y", "a/b/work/response/x",
		"a/b/bridge/shards/request/x", "a/b/bridge/shards/0/request/x", "a/b/bridge/shards/07/request/x", "a/b/bridge/shards/7", "a/b/bridge/shards/-1/request/x", "a/b/bridge/shards/7/state",
	} {
		if got, ok := topics.Parse(topic); ok {
			t.Errorf("%s: got %+v, want none", topic, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, topic := range []string{"g/work/request/x", "g/work/cal/set/x", "g/bridge/request/", "g//", "x"} {
		f.Add("g", topic)
	}
	f.Fuzz(func(t *testing.T, base, topic string) {
		topics := mqtt.Topics(base)
		a, ok := topics.Parse(topic)
		if !ok {
			return
		}
		levels := []string{base, a.Account}
		if a.Sensor != "" {
			levels = append(levels, a.Sensor)
		}
		levels = append(levels, a.Verb, a.Name)
		if again := strings.Join(levels, "/"); again != topic && again != topic+"/" {
			t.Errorf("%q: parsed as %+v, which is %q", topic, a, again)
		}
		if response := topics.Response(a); !strings.HasPrefix(response, base+"/"+a.Account+"/") {
			t.Errorf("%q: its response goes to %q", topic, response)
		} else if b, ok := topics.Parse(response); ok && b.Sensor != "response" {
			t.Errorf("%q: its response %q is a command: %+v", topic, response, b)
		}
	})
}

// Two bridges never share an id.
func TestIDsAreUnambiguous(t *testing.T) {
	ids := map[string]string{}
	for _, keys := range [][]string{{"home", "work", "calendar"}, {"home-work", "calendar"}, {"a/b", "x"}, {"a b", "x"}, {"a.b", "x"}, {"a_b", "x"}, {"a-b", "x"}} {
		id := mqtt.Topics(keys[0]).ID(keys[1:]...)
		if other, taken := ids[id]; taken {
			t.Errorf("%v and %s have the id %s", keys, other, id)
		}
		ids[id] = strings.Join(keys, " ")
	}
}
