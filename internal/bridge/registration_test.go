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

// A lasting 401 is an error of the account, and logged once.
func TestGraphRejectsRenewedTokens(t *testing.T) {
	const message = "Microsoft Graph refuses the sign-in (401 InvalidAuthenticationToken) although it was just renewed"
	h := startOne(t, "", outOfOffice)
	h.Shows("graph2mqtt/work/out_of_office/availability", "online")
	h.Microsoft.Fail(simulator.Fault{Path: "/v1.0/", Status: http.StatusUnauthorized, Times: -1})
	mark := h.mark()
	h.Publish("graph2mqtt/work/request/refresh", "{}")
	h.Next(mark, "graph2mqtt/work/status", func(p string) bool {
		return strings.Contains(p, `"connected":false`) && strings.Contains(p, message)
	})
	h.Microsoft.ClearFaults()
	h.Holds("graph2mqtt/work/status", func(p string) bool { return strings.Contains(p, `"connected":true`) }) // after the pause
	if got := strings.Count(h.Log.String(), message); got != 1 {
		t.Errorf("logged %d times, want once", got)
	}
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
