package bridge_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
	"github.com/graph2mqtt/graph2mqtt/mqtt/mqtttest"
)

// Two accounts of different clouds, tenants and registrations live in one bridge, and one that is signed out does not touch
// the other.
func TestTwoClouds(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	const tenant, client = "9d2f7c1a-52d3-4a53-8a3e-6a0f0a1b2c3d", "7b1d3c55-6f3e-4a1c-9d57-0c9a3f6f1e22"
	china := simulator.New(simulator.Options{Audience: "https://microsoftgraph.chinacloudapi.cn"})
	china.Register(simulator.Registration{ClientID: client, Name: "graph2mqtt", Tenant: tenant, RedirectURIs: []string{"http://localhost"}, PublicClient: true})
	china.AddUser(simulator.User{Address: "lei@fabrikam.example", Name: "Lei", Tenant: tenant})
	if err := china.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = china.Close() })
	if err := os.WriteFile(h.path("china.pem"), china.CA(), 0o600); err != nil {
		t.Fatal(err)
	}
	h.Configure("  work:\n    client_id: $CLIENT\n    cloud: $CLOUD\n    timezone: Europe/Berlin\n    sensors:\n      " + outOfOffice + "\n" +
		"  other:\n    client_id: " + client + "\n    tenant: " + tenant + "\n    timezone: Asia/Shanghai\n" +
		fmt.Sprintf("    cloud: {login: %q, graph: %q, audience: https://microsoftgraph.chinacloudapi.cn, ca_file: %q}\n", china.LoginURL(), china.GraphURL(), h.path("china.pem")) +
		"    sensors:\n      " + outOfOffice + "\n")
	h.SignIn("work")
	h.signIn("other", china)
	h.Start()
	h.Shows("graph2mqtt/work/out_of_office/availability", "online")
	h.Shows("graph2mqtt/other/out_of_office/availability", "online")
	h.Holds("graph2mqtt/other/status", func(p string) bool { return includes(p, map[string]any{"user": "lei@fabrikam.example"}) })

	mark := h.mark()
	china.RevokeSessions("lei@fabrikam.example")
	china.ExpireAccessTokens()
	h.Shows("graph2mqtt/other/state", "offline")
	h.Publish("graph2mqtt/work/request/refresh", `{"transaction": "after"}`)
	h.Next(mark, "graph2mqtt/work/response/refresh", func(p string) bool { return strings.Contains(p, "after") })
	for _, m := range h.since(mark) {
		if strings.HasPrefix(m.Topic, "graph2mqtt/work/") && m.Payload == "offline" {
			t.Errorf("%s = offline", m.Topic)
		}
	}
}

// The example of the O365 integration's documentation: what was granted decides what can be asked, sensor by sensor.
func TestGrantedScopesDecide(t *testing.T) {
	h := newHarness(t)
	h.Microsoft.SetSignIn(simulator.SignIn{Withhold: []string{"Calendars.ReadWrite"}})
	h.Microsoft.Consent(simulator.Adele, simulator.ContosoClient, "Calendars.Read")
	h.one("enable_update: true", "calendar: {type: calendar}", outOfOffice)
	h.SignIn("work")
	h.Start()
	for topic, want := range map[string]string{"calendar/availability": "online", "out_of_office/availability": "online", "out_of_office/commands": "online"} {
		h.Shows("graph2mqtt/work/"+topic, want)
	}
	h.Holds("graph2mqtt/work/status", func(p string) bool {
		return strings.Contains(p, `"granted":["Calendars.Read","MailboxSettings.ReadWrite","User.Read"]`) &&
			strings.Contains(p, "read-only: Calendars.ReadWrite not granted")
	})
	mark := h.mark()
	h.Publish("graph2mqtt/work/calendar/request/create", `{"subject": "Ann", "start": "2030-01-01T20:00:00Z", "end": "2030-01-01T23:00:00Z"}`)
	h.Next(mark, "graph2mqtt/work/calendar/response/create", func(p string) bool { return strings.Contains(p, `"permission_missing"`) })
	h.Publish("graph2mqtt/work/out_of_office/set/enabled", "ON")
	h.Next(mark, "graph2mqtt/work/out_of_office/response/set/enabled", func(p string) bool { return strings.Contains(p, `"ok"`) })
}

// Every discovery message holds to Home Assistant's rules, in both modes; who else listens finds the whole list.
func TestDiscoveryHoldsToHomeAssistantsRules(t *testing.T) {
	for _, mode := range []string{"device", "component"} {
		h := newHarness(t)
		h.one("enable_update: true", "calendar: {type: calendar, publish_items: true}", outOfOffice, "presence: {type: status, enable_update: true}",
			"ann: {type: status, user: 00000000-0000-0000-0000-000000000001, entities: {activity: {name: Ann, icon: mdi:account, entity_id: sensor.ann}, event: {enabled: false}}}")
		text, err := os.ReadFile(h.path("graph2mqtt.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(h.path("graph2mqtt.yaml"), append(text, "homeassistant: {discovery: "+mode+"}\n"...), 0o600); err != nil {
			t.Fatal(err)
		}
		h.SignIn("work")
		h.Start()
		h.Shows("graph2mqtt/bridge/state", "online")
		h.Shows("graph2mqtt/work/calendar/availability", "online")
		h.Holds("graph2mqtt/work/calendar/items", func(p string) bool { return strings.HasPrefix(p, "[") })
		h.Shows("graph2mqtt/work/presence/availability", "online")
		h.mu.Lock()
		payloads := map[string][]byte{}
		overridden := false
		for topic, payload := range h.retained {
			payloads[topic] = []byte(payload)
			overridden = overridden || strings.Contains(payload, `"default_entity_id":"sensor.ann"`) && strings.Contains(payload, `"icon":"mdi:account"`)
			if strings.HasPrefix(topic, "homeassistant/") && (strings.HasPrefix(topic, "homeassistant/device/") != (mode == "device") && !strings.Contains(topic, "datetime")) {
				t.Errorf("%s in mode %s", topic, mode)
			}
			if strings.Contains(topic, "-ann") && strings.Contains(payload, "-ann-event") {
				t.Errorf("%s announces an entity that is not enabled", topic)
			}
		}
		h.mu.Unlock()
		if !overridden {
			t.Error("the entity's own name and icon are nowhere")
		}
		for _, oldest := range []string{"2025.4", "2026.11"} {
			for _, err := range mqtttest.CheckAll(payloads, oldest) {
				t.Errorf("mode %s, Home Assistant %s: %v", mode, oldest, err)
			}
		}
		h.Stop()
	}
}
