package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/graph2mqtt/graph2mqtt/internal/audit"
)

// Changes made by call are in the audit file, too. That it cannot be written stops none.
func TestCallIsAudited(t *testing.T) {
	h := newHarness(t)
	configure := func(path string) {
		t.Helper()
		h.configureWork(t, "enable_update: true", "{out_of_office: {type: auto_reply, on_demand: true}}\naudit: {file: "+path+"}")
	}
	path := filepath.Join(h.dir, "audit.jsonl")
	configure(path)
	h.login(t)
	if code, r, stderr := h.callJSON(t, "", "work/out_of_office", "enable", "internal_reply=Secret plan", "transaction=1"); code != 0 || stderr != "" || r.Status != "ok" {
		t.Fatalf("%d, %+v, %s", code, r, stderr)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got audit.Line
	if err := json.Unmarshal(content, &got); err != nil {
		t.Fatalf("%v: %s", err, content)
	}
	if got.Account != "work" || got.Sensor != "out_of_office" || got.Operation != "enable" || got.Transaction != "1" || got.Outcome != "ok" || got.User == "" ||
		len(got.GraphRequestIDs) == 0 || strings.Contains(string(content), "Secret plan") {
		t.Errorf("record %s", content)
	}

	configure(filepath.Join(path, "below")) // a file is no folder
	code, r, stderr := h.callJSON(t, "", "work/out_of_office", "disable")
	if code != 0 || r.Status != "ok" || !strings.Contains(stderr, "audit records cannot be written") {
		t.Errorf("%d, %+v, %s", code, r, stderr)
	}
}
