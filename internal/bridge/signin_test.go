package bridge_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

func TestSignInOverMQTTByDeviceCode(t *testing.T) {
	h := newHarness(t)
	h.Microsoft.Fail(simulator.Fault{Path: "/common/oauth2/v2.0/devicecode", Merge: map[string]any{"interval": 1}}) // instead of 5 s
	h.one("sign_in_over_mqtt: true", outOfOffice)
	h.Start()
	h.Shows("graph2mqtt/work/state", "offline")
	h.Holds("graph2mqtt/work/status", func(p string) bool {
		return strings.Contains(p, `"state":"signed_out"`) && strings.Contains(p, "run: graph2mqtt login work")
	})
	mark := h.mark()
	h.Publish("graph2mqtt/work/request/sign_in", `{"transaction": "1"}`)
	answer := h.Next(mark, "graph2mqtt/work/response/sign_in", func(string) bool { return true })
	var r struct {
		Transaction string
		Data        struct{ URL, Code string }
	}
	if err := json.Unmarshal([]byte(answer), &r); err != nil || r.Transaction != "1" || r.Data.Code == "" || !strings.HasPrefix(r.Data.URL, "https://") {
		t.Fatalf("answer %s", answer)
	}
	h.Holds("graph2mqtt/work/status", func(p string) bool { return strings.Contains(p, r.Data.Code) })
	if err := h.Microsoft.ApproveDevice(r.Data.Code); err != nil {
		t.Fatal(err)
	}
	h.Shows("graph2mqtt/work/out_of_office/availability", "online")
	h.Shows("graph2mqtt/work/state", "online")
	h.Next(mark, "graph2mqtt/work/event", func(p string) bool { return strings.Contains(p, `"signed_in"`) })
	if p := h.Holds("graph2mqtt/work/status", func(p string) bool { return strings.Contains(p, `"state":"signed_in"`) }); strings.Contains(p, r.Data.Code) {
		t.Errorf("the code is still there: %s", p)
	}
}

func TestSignInOverMQTTByAPastedAddress(t *testing.T) {
	h := newHarness(t)
	h.one("sign_in_over_mqtt: true", outOfOffice)
	h.Start()
	h.Shows("graph2mqtt/work/state", "offline")
	ask := func(payload string) string {
		t.Helper()
		mark := h.mark()
		h.Publish("graph2mqtt/work/request/sign_in", payload)
		return h.Next(mark, "graph2mqtt/work/response/sign_in", func(string) bool { return true })
	}
	for payload, want := range map[string]string{
		`{"way": "pigeon"}`:               `way: want one of device_code, browser, not \"pigeon\"`,
		`{"address": "http://localhost"}`: "no sign-in waits for an address",
	} {
		if got := ask(payload); !strings.Contains(got, want) {
			t.Errorf("%s: %s", payload, got)
		}
	}
	var r struct{ Data struct{ URL string } }
	if err := json.Unmarshal([]byte(ask(`{"way": "browser"}`)), &r); err != nil || r.Data.URL == "" {
		t.Fatal("no link")
	}
	if got := ask(`{"address": "http://localhost/?code=1&state=2"}`); !strings.Contains(got, `"invalid_argument"`) {
		t.Errorf("a wrong address: %s", got)
	}
	address := h.redirect(r.Data.URL)
	pasted, err := json.Marshal(map[string]string{"address": address})
	if err != nil {
		t.Fatal(err)
	}
	if got := ask(string(pasted)); !strings.Contains(got, `"status":"ok"`) {
		t.Errorf("the right address: %s", got)
	}
	h.Shows("graph2mqtt/work/out_of_office/availability", "online")
}

func TestARevokedSignInAndANewOne(t *testing.T) {
	t.Parallel()
	h := startOne(t, "sign_in_over_mqtt: true", outOfOffice)
	h.Shows("graph2mqtt/work/out_of_office/availability", "online")
	mark := h.mark()
	h.Microsoft.RevokeSessions(simulator.Adele)
	h.Microsoft.ExpireAccessTokens()
	h.Shows("graph2mqtt/work/state", "offline")
	h.Next(mark, "graph2mqtt/work/event", func(p string) bool {
		return strings.Contains(p, `"sign_in_required"`) && strings.Contains(p, "run: graph2mqtt login work")
	})
	if n := strings.Count(h.Log.String(), "level=WARN"); n > 2 {
		t.Errorf("%d warnings", n)
	}
	h.SignIn("work") // as another process does
	h.Shows("graph2mqtt/work/state", "online")
	h.Shows("graph2mqtt/work/out_of_office/availability", "online")
}

func TestARefusedConsentLeavesReading(t *testing.T) {
	h := newHarness(t)
	h.Microsoft.SetSignIn(simulator.SignIn{Declines: []string{"MailboxSettings.ReadWrite"}})
	h.one("enable_update: true", outOfOffice)
	if r := h.SignIn("work"); strings.Join(r.Missing, " ") != "MailboxSettings.ReadWrite" {
		t.Errorf("missing %v", r.Missing)
	}
	h.Start()
	h.Shows("graph2mqtt/work/out_of_office/availability", "online")
	h.Shows("graph2mqtt/work/out_of_office/commands", "offline")
	h.Holds("graph2mqtt/work/status", func(p string) bool {
		return strings.Contains(p, `{"sensor":"out_of_office","scope":"MailboxSettings.ReadWrite","message":"read-only: MailboxSettings.ReadWrite not granted"}`)
	})
	mark := h.mark()
	h.Publish("graph2mqtt/work/out_of_office/request/enable", `{"transaction": "1"}`)
	h.Next(mark, "graph2mqtt/work/out_of_office/response/enable", func(p string) bool { return strings.Contains(p, `"permission_missing"`) })
	h.Next(mark, "graph2mqtt/work/event", func(p string) bool { return strings.Contains(p, `"command_failed"`) })
}

func TestAnAdministratorsConsentIsNoticed(t *testing.T) {
	h := newHarness(t)
	h.Microsoft.SetSignIn(simulator.SignIn{Declines: []string{"MailboxSettings.ReadWrite"}})
	h.one("enable_update: true", outOfOffice)
	h.SignIn("work")
	h.Start()
	h.Shows("graph2mqtt/work/out_of_office/availability", "online")
	h.Shows("graph2mqtt/work/out_of_office/commands", "offline")
	h.Publish("graph2mqtt/work/request/rescan", "{}")
	h.Microsoft.ConsentForAll(simulator.ContosoTenant, simulator.ContosoClient, "MailboxSettings.ReadWrite")
	h.Publish("graph2mqtt/work/request/rescan", "{}")
	h.Shows("graph2mqtt/work/out_of_office/commands", "online")
	h.Shows("graph2mqtt/work/state", "online")
}

func TestGraphAwayForAWhile(t *testing.T) {
	t.Parallel()
	h := startOne(t, "sign_in_over_mqtt: true", outOfOffice)
	h.Values("graph2mqtt/work/out_of_office/state", map[string]any{"mode": "disabled"})
	mark := h.mark()
	h.Microsoft.Fail(simulator.Fault{Path: "/v1.0/", Status: 503, Times: -1})
	h.Holds("graph2mqtt/work/status", func(p string) bool {
		return includes(p, map[string]any{"connected": false}) && strings.Contains(p, "503")
	})
	h.Publish("graph2mqtt/work/request/refresh", "{}")
	h.Microsoft.ClearFaults()
	h.Publish("graph2mqtt/bridge/request/refresh", "{}")
	h.Holds("graph2mqtt/work/status", func(p string) bool { return includes(p, map[string]any{"connected": true, "error": nil}) })
	for _, m := range h.since(mark) {
		if m.Topic == "graph2mqtt/work/out_of_office/state" && strings.Contains(m.Payload, "null") || m.Payload == "offline" {
			t.Errorf("the last values did not stay: %s = %s", m.Topic, m.Payload)
		}
	}
	if n := strings.Count(h.Log.String(), "polling failed"); n != 1 {
		t.Errorf("the failure was logged %d times", n)
	}
}

func TestTheBrokerRestartsEmpty(t *testing.T) {
	t.Parallel()
	h := startOne(t, "sign_in_over_mqtt: true", outOfOffice)
	h.Shows("graph2mqtt/bridge/state", "online")
	h.Values("graph2mqtt/work/out_of_office/state", map[string]any{"mode": "disabled"})
	addr := strings.TrimPrefix(h.Broker.URL(), "mqtt://")
	h.StopBroker()
	replies := h.Microsoft.AutomaticReplies(simulator.Adele)
	replies.Status = "alwaysEnabled"
	h.Microsoft.SetAutomaticReplies(simulator.Adele, replies)
	h.StartBroker(addr)
	h.Values("graph2mqtt/work/out_of_office/state", map[string]any{"mode": "alwaysEnabled"})
	h.Shows("graph2mqtt/bridge/state", "online")
	for _, topic := range []string{"graph2mqtt/work/state", "graph2mqtt/work/out_of_office/availability"} {
		h.Shows(topic, "online")
	}
	h.Holds("homeassistant/device/graph2mqtt-work-out_of_office/config", func(p string) bool { return p != "" })
}

func TestAnswersRememberedOverARestart(t *testing.T) {
	h := newHarness(t)
	h.one("", "calendar: {type: calendar}")
	h.SignIn("work")
	start := time.Now().Add(-time.Minute).Truncate(time.Second)
	h.Microsoft.AddEvent(simulator.Adele, "", simulator.Event{Subject: "Stand-up", Start: start, End: start.Add(time.Hour)})
	h.Start()
	h.Values("graph2mqtt/work/calendar/state", map[string]any{"busy": true, "current": "Stand-up"})
	h.Stop()
	h.Microsoft.Fail(simulator.Fault{Path: "/v1.0/", Status: 503, Times: -1})
	mark := h.mark()
	h.Start()
	h.Next(mark, "graph2mqtt/work/calendar/availability", func(p string) bool { return p == "online" })
	h.Next(mark, "graph2mqtt/work/calendar/state", func(p string) bool { return includes(p, map[string]any{"current": "Stand-up"}) })
	for _, m := range h.since(mark) {
		if m.Topic == "graph2mqtt/work/calendar/state" && !includes(m.Payload, map[string]any{"current": "Stand-up"}) {
			t.Errorf("shown without Graph: %s", m.Payload)
		}
	}
}

// A client of the broker must not be able to sign in as any user it likes.
func TestFirstSignInOverMQTTNeedsConsent(t *testing.T) {
	for name, test := range map[string]struct{ more, want string }{
		"by default":    {"", `"conflict"`},
		"allowed":       {"sign_in_over_mqtt: true", `"ok"`},
		"of one person": {"user: " + simulator.Adele, `"ok"`},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			h.one(test.more, outOfOffice)
			h.Start()
			h.Shows("graph2mqtt/work/state", "offline")
			mark := h.mark()
			h.Publish("graph2mqtt/work/request/sign_in", "{}")
			if got := h.Next(mark, "graph2mqtt/work/response/sign_in", func(string) bool { return true }); !strings.Contains(got, test.want) {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

// Each sign-in takes a device code from Microsoft, so requests join the one that waits.
func TestSignInsJoin(t *testing.T) {
	h := newHarness(t)
	h.one("sign_in_over_mqtt: true", outOfOffice)
	h.Start()
	h.Shows("graph2mqtt/work/state", "offline")
	codes := map[string]bool{}
	for range 20 {
		mark := h.mark()
		h.Publish("graph2mqtt/work/request/sign_in", "{}")
		var r struct{ Data struct{ Code string } }
		if err := json.Unmarshal([]byte(h.Next(mark, "graph2mqtt/work/response/sign_in", func(string) bool { return true })), &r); err != nil {
			t.Fatal(err)
		}
		codes[r.Data.Code] = true
	}
	if len(codes) != 1 || codes[""] {
		t.Errorf("codes %v", codes)
	}
	for _, other := range []struct{ way, want string }{{"browser", `"ok"`}, {"device_code", `"throttled"`}} { // a link takes nothing from Microsoft
		mark := h.mark()
		h.Publish("graph2mqtt/work/request/sign_in", `{"way": "`+other.way+`"}`)
		if got := h.Next(mark, "graph2mqtt/work/response/sign_in", func(string) bool { return true }); !strings.Contains(got, other.want) {
			t.Errorf("%s right after: %s", other.way, got)
		}
	}
}

// With user, a sign-in of somebody else over MQTT or on the page keeps nothing and publishes nothing but who was expected.
func TestSignInOfSomebodyElse(t *testing.T) {
	const ben = "ben@contoso.example"
	h := newHarness(t)
	h.Microsoft.AddUser(simulator.User{Address: ben, Name: "Ben", Tenant: simulator.ContosoTenant})
	h.Microsoft.SetSignIn(simulator.SignIn{User: ben})
	h.one("user: "+simulator.Adele, outOfOffice)
	h.Start()
	h.Shows("graph2mqtt/work/state", "offline")
	mark := h.mark()
	h.Publish("graph2mqtt/work/request/sign_in", `{"way": "browser"}`)
	var r struct{ Data struct{ URL string } }
	if err := json.Unmarshal([]byte(h.Next(mark, "graph2mqtt/work/response/sign_in", func(string) bool { return true })), &r); err != nil {
		t.Fatal(err)
	}
	redirect := h.redirect(r.Data.URL)
	mark = h.mark()
	h.Publish("graph2mqtt/work/request/sign_in", `{"address": "`+redirect+`"}`)
	got := h.Next(mark, "graph2mqtt/work/response/sign_in", func(string) bool { return true })
	want := ben + " signed in, but the configuration expects " + simulator.Adele
	if !strings.Contains(got, `"code":"sign_in_required"`) || !strings.Contains(got, want) {
		t.Errorf("got %s, want %s", got, want)
	}
	if n := strings.Count(h.Log.String(), want); n != 1 {
		t.Errorf("it was logged %d times:\n%s", n, h.Log.String())
	}
	h.settledMark()
	if _, err := os.Stat(filepath.Join(h.path("state"), "tokens-work")); err == nil {
		t.Error("a sign-in is stored")
	}
	for _, m := range h.since(mark) {
		if m.Payload == "online" && strings.HasPrefix(m.Topic, "graph2mqtt/work/") || strings.HasSuffix(m.Topic, "out_of_office/state") && m.Payload != "" && !strings.Contains(m.Payload, "null") {
			t.Errorf("published %s = %s", m.Topic, m.Payload)
		}
	}
}
