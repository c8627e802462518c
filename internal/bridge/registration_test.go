package bridge_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
	"github.com/graph2mqtt/graph2mqtt/sensors"
)

// rescan retries a refused renewal at once instead of after an hour.
func TestRescanRetriesRefusedSignIn(t *testing.T) {
	h := startOne(t, "", outOfOffice)
	h.Shows("graph2mqtt/work/out_of_office/availability", "online")
	h.Microsoft.FailRefreshWith(simulator.Adele, simulator.AccountDisabled)
	h.Microsoft.ExpireAccessTokens()
	h.Publish("graph2mqtt/work/request/refresh", "{}")
	h.Holds("graph2mqtt/work/status", func(p string) bool { return strings.Contains(p, "the account is disabled") })
	h.Microsoft.FailRefreshWith(simulator.Adele, 0)
	h.Publish("graph2mqtt/work/request/rescan", "{}")
	h.Shows("graph2mqtt/work/state", "online")
	h.Shows("graph2mqtt/work/out_of_office/availability", "online")
}

// A file of one account that cannot be used is reported by that account and does not affect the others.
func TestUnusableFileOfOneAccount(t *testing.T) {
	for name, test := range map[string]struct{ key, want string }{
		"certificate": {"certificate_file: $FILE", `accounts.private.certificate_file: want a private key in PEM form; the file has none`},
		"authority":   {"cloud: {login: 'https://login.example', graph: 'https://graph.example', ca_file: $FILE}", `accounts.private.cloud.ca_file: `},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			h.one("", outOfOffice)
			h.SignIn("work")
			if err := os.WriteFile(h.path("file.pem"), []byte("nothing of the kind"), 0o600); err != nil {
				t.Fatal(err)
			}
			key := strings.ReplaceAll(test.key, "$FILE", h.path("file.pem"))
			h.Configure("  work:\n    client_id: $CLIENT\n    cloud: $CLOUD\n    sensors:\n      " + outOfOffice + "\n" +
				"  private:\n    client_id: $CLIENT\n    " + key + "\n    sensors:\n      " + outOfOffice + "\n")
			h.Start()
			h.Shows("graph2mqtt/work/out_of_office/availability", "online")
			h.Shows("graph2mqtt/private/state", "offline")
			h.Holds("graph2mqtt/private/status", func(p string) bool {
				return strings.Contains(p, `"state":"sign_in_required"`) && strings.Contains(p, test.want)
			})
			// Once the file is repaired, the account can be signed in.
			if err := os.WriteFile(h.path("file.pem"), selfSigned(t), 0o600); err != nil {
				t.Fatal(err)
			}
			h.Reload()
			h.Holds("graph2mqtt/private/status", func(p string) bool { return strings.Contains(p, `"state":"signed_out"`) })
			h.Shows("graph2mqtt/work/out_of_office/availability", "online")
		})
	}
}

const rejectedSignIn = "sign-in rejected by Microsoft Graph"

// A 401 of everything is an error of the account: in its log, its status and its event once, and not of each sensor.
func TestGraphRejectsRenewedTokens(t *testing.T) {
	t.Parallel()
	const message = "Microsoft Graph refuses the sign-in (401 InvalidAuthenticationToken) although it was just renewed"
	h := startOne(t, "", outOfOffice, "calendar: {type: calendar, interval: 1h}", "calendars: {type: calendar, calendar: all, interval: 1h}")
	h.Shows("graph2mqtt/work/out_of_office/availability", "online")
	h.Shows("graph2mqtt/work/calendar/availability", "online")
	for _, topic := range h.Members("Work Calendar", "Work Birthdays") {
		h.Shows(topic+"/availability", "online")
	}
	mark := h.mark()
	h.Microsoft.Fail(simulator.Fault{Path: "/v1.0/", Status: http.StatusUnauthorized, Times: -1})
	// One sensor polls often enough to notice; the others are polled because of it.
	h.Next(mark, "graph2mqtt/work/status", func(p string) bool {
		return strings.Contains(p, `"connected":false`) && strings.Contains(p, message)
	})
	isEvent := func(p string) bool { return strings.Contains(p, `"sign_in_required"`) }
	h.Next(mark, "graph2mqtt/work/event", isEvent)
	h.Microsoft.ClearFaults()
	h.Holds("graph2mqtt/work/status", func(p string) bool {
		return strings.Contains(p, `"connected":true`) && strings.Contains(p, `"problems":[]`)
	}) // after the pause
	events := 0
	for _, m := range h.since(mark) {
		if m.Topic == "graph2mqtt/work/event" && isEvent(m.Payload) {
			events++
		}
	}
	if events != 1 {
		t.Errorf("%d events, want one", events)
	}
	lines := h.logged(rejectedSignIn)
	if len(lines) != 1 || strings.Contains(lines[0], "sensor=") || !strings.Contains(lines[0], message) {
		t.Errorf("logged %q, want one line of the account", lines)
	}
	if lines := h.logged("sign-in accepted again"); len(lines) != 1 || strings.Contains(lines[0], "sensor=") {
		t.Errorf("logged %q, want one line of the account", lines)
	}
}

// A 401 of one resource is a problem of its sensor alone.
func TestGraphRejectsTokensForOneResource(t *testing.T) {
	t.Parallel()
	h := startOne(t, "", outOfOffice, "calendar: {type: calendar, interval: 1h}")
	h.Shows("graph2mqtt/work/out_of_office/availability", "online")
	h.Shows("graph2mqtt/work/calendar/availability", "online")
	mark := h.mark()
	h.Microsoft.Fail(simulator.Fault{Path: "/v1.0/me/mailboxSettings", Status: http.StatusUnauthorized, Times: -1})
	h.Next(mark, "graph2mqtt/bridge/logging", func(p string) bool {
		return includes(p, map[string]any{"message": rejectedSignIn, "account": "work", "sensor": "out_of_office"})
	})
	h.Microsoft.ClearFaults()
	h.Next(mark, "graph2mqtt/bridge/logging", func(p string) bool {
		return includes(p, map[string]any{"message": "sign-in accepted again by Microsoft Graph", "account": "work", "sensor": "out_of_office"})
	})
	for _, m := range h.since(mark) {
		if m.Topic == "graph2mqtt/work/status" && strings.Contains(m.Payload, `"connected":false`) || m.Topic == "graph2mqtt/work/event" {
			t.Errorf("the account is affected: %s: %s", m.Topic, m.Payload)
		}
	}
	if lines := h.logged(rejectedSignIn); len(lines) != 1 {
		t.Errorf("logged %q, want one line", lines)
	}
}

// logged returns the lines of the log that contain text.
func (h *harness) logged(text string) []string {
	var lines []string
	for line := range strings.Lines(h.Log.String()) {
		if strings.Contains(line, text) {
			lines = append(lines, line)
		}
	}
	return lines
}

// selfSigned returns a certificate and its key, in PEM.
func selfSigned(t *testing.T) []byte {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})...)
}

// Repeated requests for a rescan lead to requests to Graph at most every 5 seconds.
func TestFloodOfRescans(t *testing.T) {
	h := newHarness(t)
	h.Configure("  work:\n    client_id: $CLIENT\n    cloud: $CLOUD\n    timezone: mailbox\n    enable_update: true\n    sensors:\n      " + outOfOffice + "\n")
	h.SignIn("work")
	h.pause = sensors.DefaultPause
	h.Start()
	h.Shows("graph2mqtt/work/out_of_office/commands", "online")
	start := time.Now()
	ask := func(topic, payload, response string) {
		t.Helper()
		mark := h.mark()
		h.Publish("graph2mqtt/work/"+topic, payload)
		h.Next(mark, "graph2mqtt/work/"+response, func(p string) bool { return strings.Contains(p, `"status":"ok"`) })
	}
	for range 20 {
		ask("request/rescan", "{}", "response/rescan")
		// Takes longer than a rescan.
		ask("out_of_office/request/update", `{"internal_reply": "Away"}`, "out_of_office/response/update")
	}
	rescans := 0
	for _, r := range h.Microsoft.Requests() {
		if r.Method == http.MethodGet && r.Path == "/v1.0/me/mailboxSettings" && r.Query.Get("$select") == "timeZone" {
			rescans++
		}
	}
	// The first read is that of the start.
	if allowed := 2 + int(time.Since(start)/sensors.DefaultPause); rescans > allowed {
		t.Errorf("20 requests led to %d rescans, want at most %d", rescans, allowed)
	}
}
