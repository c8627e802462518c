package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

// Signing out deletes the subscriptions to notifications at the configured address, and no others.
func TestLogoutUnsubscribes(t *testing.T) {
	h := newHarness(t)
	p := h.start(t, "login", "work")
	h.openURL(t, p.stdout.find(t, linkPattern))
	if code := p.wait(t); code != 0 {
		t.Fatalf("exit code %d: %s", code, p.stderr)
	}
	webhook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, r.URL.Query().Get("validationToken"))
	}))
	t.Cleanup(webhook.Close)
	for _, path := range []string{"/graph", "/graph", "/of-another-program"} {
		body := fmt.Sprintf(`{"changeType": "created", "resource": "/me/events", "notificationUrl": %q, "expirationDateTime": %q}`, webhook.URL+path, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, h.simulator.GraphURL()+"/v1.0/subscriptions", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+h.simulator.Token(simulator.Adele, "Calendars.Read"))
		r.Header.Set("Content-Type", "application/json")
		res, err := h.web.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusCreated {
			t.Fatal(res.Status)
		}
	}
	h.variables = append(h.variables, "GRAPH2MQTT_NOTIFICATIONS__WEBHOOK__LISTEN=127.0.0.1:0", "GRAPH2MQTT_NOTIFICATIONS__WEBHOOK__URL="+webhook.URL+"/graph")
	code, stdout, stderr := h.call(t, "logout", "work")
	if code != 0 || !strings.HasPrefix(stdout, "Signed out of work.") || stderr != "" {
		t.Errorf("%d, %s, %s", code, stdout, stderr)
	}
	if left := h.simulator.Subscriptions(); len(left) != 1 || left[0].URL != webhook.URL+"/of-another-program" {
		t.Errorf("%+v", left)
	}
}

// Signing out does not depend on Microsoft.
func TestLogoutWithoutMicrosoft(t *testing.T) {
	h := newHarness(t)
	p := h.start(t, "login", "work")
	h.openURL(t, p.stdout.find(t, linkPattern))
	if code := p.wait(t); code != 0 {
		t.Fatalf("exit code %d: %s", code, p.stderr)
	}
	h.simulator.Fail(simulator.Fault{Path: "/v1.0/subscriptions", Status: http.StatusServiceUnavailable, Times: -1})
	h.variables = append(h.variables, "GRAPH2MQTT_NOTIFICATIONS__WEBHOOK__LISTEN=127.0.0.1:0", "GRAPH2MQTT_NOTIFICATIONS__WEBHOOK__URL=http://127.0.0.1:1/graph")
	code, stdout, stderr := h.call(t, "logout", "work")
	if code != 0 || !strings.HasPrefix(stdout, "Signed out of work.") || !strings.HasPrefix(stderr, "Microsoft sends notifications for up to three days more: ") {
		t.Errorf("%d, %s, %s", code, stdout, stderr)
	}
}
