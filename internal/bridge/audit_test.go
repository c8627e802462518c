package bridge_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/graph2mqtt/graph2mqtt/internal/audit"
)

// configureAudit adds an audit file to the configuration.
func (h *harness) configureAudit(path string) {
	h.t.Helper()
	content, err := os.ReadFile(h.path("graph2mqtt.yaml"))
	if err != nil {
		h.t.Fatal(err)
	}
	text := strings.Replace(string(content), "\naccounts:", "\naudit: {file: "+path+"}\naccounts:", 1)
	if err := os.WriteFile(h.path("graph2mqtt.yaml"), []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

// Each change is recorded with its outcome and Graph's request ids, but without its content. Requests that only read, or that are
// rejected, are not.
func TestAudit(t *testing.T) {
	h := newHarness(t)
	h.one("enable_update: true", "calendar: {type: calendar, on_demand: true}")
	path := h.path("audit.jsonl")
	h.configureAudit(path)
	user := h.SignIn("work").User.Address
	h.Start()
	h.Shows("graph2mqtt/work/calendar/commands", "online")
	request := func(op, payload, status string) {
		t.Helper()
		mark := h.mark()
		h.Publish("graph2mqtt/work/calendar/request/"+op, payload)
		h.Next(mark, "graph2mqtt/work/calendar/response/"+op, func(p string) bool { return includes(p, map[string]any{"status": status}) })
	}
	request("create", `{"subject": "Secret plan", "start": "2026-12-01T10:00:00", "end": "2026-12-01T11:00:00", "transaction": "t1"}`, "ok")
	request("list", `{"start": "2026-12-01T10:00:00", "end": "2026-12-01T11:00:00"}`, "ok")
	request("create", `{"subject": 5}`, "error")
	request("remove", `{"event_id": "AAMkmissing"}`, "error")
	h.Stop()

	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(content), "Secret plan") {
		t.Error("a record has content")
	}
	lines := strings.Split(strings.TrimSpace(string(content)), "\n")
	if len(lines) != 2 {
		t.Fatalf("%d records, want 2:\n%s", len(lines), content)
	}
	var created, removed audit.Line
	for i, r := range []*audit.Line{&created, &removed} {
		if err := json.Unmarshal([]byte(lines[i]), r); err != nil {
			t.Fatal(err)
		}
		if r.Account != "work" || r.Sensor != "calendar" || r.User != user || user == "" || len(r.Digest) != 64 || r.Time.IsZero() || r.ReceivedAt.IsZero() || r.ID == "" {
			t.Errorf("record %+v", r)
		}
	}
	if created.Operation != "create" || created.Outcome != "ok" || created.Transaction != "t1" || len(created.GraphRequestIDs) != 1 || created.GraphRequestIDs[0] == "" ||
		created.ReplyTo != "mqtt:graph2mqtt/work/calendar/response/create" || created.GraphStatus != 0 {
		t.Errorf("created: %+v", created)
	}
	if removed.Operation != "remove" || removed.Outcome == "ok" || removed.GraphStatus < 400 {
		t.Errorf("removed: %+v", removed)
	}
}

// A request is executed although the audit file cannot be written. The log and the account's status say so, and when it is over.
func TestAuditFileCannotBeWritten(t *testing.T) {
	h := newHarness(t)
	h.one("enable_update: true", "calendar: {type: calendar}")
	obstacle := h.path("obstacle")
	if err := os.WriteFile(obstacle, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	h.configureAudit(filepath.Join(obstacle, "audit.jsonl"))
	h.SignIn("work")
	h.Start()
	h.Shows("graph2mqtt/work/calendar/commands", "online")
	mark := h.mark()
	h.Publish("graph2mqtt/work/calendar/request/create", `{"subject": "A", "start": "2026-12-01T10:00:00", "end": "2026-12-01T11:00:00"}`)
	h.Next(mark, "graph2mqtt/work/calendar/response/create", func(p string) bool { return includes(p, map[string]any{"status": "ok"}) })
	h.Holds("graph2mqtt/work/status", func(p string) bool {
		return strings.Contains(p, `"code":"audit_failed","message":"audit records cannot be written: `) && includes(p, map[string]any{"connected": true, "error": nil})
	})
	if !strings.Contains(h.Log.String(), "audit records cannot be written; requests are still executed") {
		t.Error("not logged")
	}
}

// Without the key no audit file is there, and nothing that writes one.
func TestNoAudit(t *testing.T) {
	h := startOne(t, "enable_update: true", "calendar: {type: calendar}")
	h.Shows("graph2mqtt/work/calendar/commands", "online")
	if n := goroutinesIn("internal/audit"); n != 0 {
		t.Errorf("%d goroutines", n)
	}
	h.Stop()
	h.configureAudit(h.path("audit.jsonl"))
	h.Start()
	h.Shows("graph2mqtt/bridge/state", "online")
	if n := goroutinesIn("internal/audit"); n != 1 {
		t.Errorf("%d goroutines with an audit file", n)
	}
	if _, err := os.Stat(h.path("audit.jsonl")); err == nil {
		t.Error("there is a file before the first change")
	}
}

// goroutinesIn counts the goroutines in code of a package, by a part of its path.
func goroutinesIn(pkg string) (n int) {
	stacks := make([]byte, 4<<20)
	for stack := range strings.SplitSeq(string(stacks[:runtime.Stack(stacks, true)]), "\n\n") {
		if strings.Contains(stack, pkg+".") {
			n++
		}
	}
	return n
}
