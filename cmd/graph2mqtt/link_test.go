package main

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestLink(t *testing.T) {
	h := newHarness(t)
	if code, _, stderr := h.call(t, "link", "work"); code != exitUsage || stderr != "graph2mqtt: the link needs the HTTP listener: set http.listen\n" {
		t.Errorf("%d, %s", code, stderr)
	}
	h.variables = []string{"GRAPH2MQTT_HTTP__LISTEN=127.0.0.1:8099"}
	code, first, stderr := h.call(t, "link", "work")
	if code != exitOK || !regexp.MustCompile(`^http://127\.0\.0\.1:8099/sign-in/#[a-z2-7]{26}\n$`).MatchString(first) ||
		!regexp.MustCompile(`^The link is valid until \d{4}-\d\d-\d\d \d\d:\d\d, for one sign-in\. It is not shown again\.\nAnyone who has the link can sign in, as any user\. To accept only one user, set accounts\.work\.user\n$`).MatchString(stderr) {
		t.Errorf("%d, %q, %q", code, first, stderr)
	}
	h.variables = append(h.variables, "GRAPH2MQTT_HTTP__EXTERNAL_URL=https://graph.example/bridge", "GRAPH2MQTT_HTTP__PASSWORD=long enough", "GRAPH2MQTT_ACCOUNTS__WORK__USER=adele@contoso.example")
	code, stdout, stderr := h.call(t, "link", "work", "--expires", "12h", "--json")
	var l signInLink
	if code != exitOK || json.Unmarshal([]byte(stdout), &l) != nil || !strings.HasPrefix(l.URL, "https://graph.example/bridge/sign-in/#") || l.User != "adele@contoso.example" || stderr != "" {
		t.Errorf("%d, %s, %s", code, stdout, stderr)
	}
	if left := time.Until(l.Expires); left > 12*time.Hour || left < 11*time.Hour {
		t.Errorf("it expires at %s", l.Expires)
	}
	if code, stdout, stderr := h.call(t, "link", "work", "--revoke"); code != exitOK || stdout != "" || stderr != "No link of the account work is valid any more.\n" {
		t.Errorf("%d, %s%s", code, stdout, stderr)
	}
	for _, flags := range [][]string{{"--json"}, {"--expires", "1h"}} {
		if code, stdout, stderr := h.call(t, append([]string{"link", "work", "--revoke"}, flags...)...); code != exitUsage || stdout != "" || stderr != "graph2mqtt: want --revoke alone: it creates no link\n" {
			t.Errorf("%v: %d, %s%s", flags, code, stdout, stderr)
		}
	}
	for _, wrong := range []string{"", "7", "0d", "30s", "91d", "-1h", "1w", "99999999d"} {
		if code, _, stderr := h.call(t, "link", "work", "--expires", wrong); code != exitUsage || stderr != "graph2mqtt: --expires: want a time from 1m to 90d, such as 12h or 7d, not \""+wrong+"\"\n" {
			t.Errorf("%q: %d, %s", wrong, code, stderr)
		}
	}
	if code, _, stderr := h.call(t, "link", "nobody"); code != exitUsage || !strings.HasPrefix(stderr, `graph2mqtt: there is no account "nobody"`) {
		t.Errorf("%d, %s", code, stderr)
	}
}
