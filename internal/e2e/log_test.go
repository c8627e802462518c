//go:build e2e

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// LogEntry is a warning or an error that Home Assistant logged.
type LogEntry struct {
	Level, Name string
	Message     []string
	Exception   string
	Count       int
}

func (e LogEntry) String() string {
	return strings.TrimSpace(fmt.Sprintf("%s %s (%d times) %s\n%s", e.Level, e.Name, e.Count, strings.Join(e.Message, "\n"), e.Exception))
}

// Log returns the warnings and errors since the start or the last ClearLog, the oldest first.
func (s *socket) Log(t testing.TB) []LogEntry {
	t.Helper()
	// It logs by a queue: what was logged before the marker is in the list when the marker is.
	const marker = "graph2mqtt.e2e"
	before := s.Logged.Len()
	s.Service(t, "system_log.write", "", map[string]any{"logger": marker, "level": "warning", "message": "so far"})
	isMarker := func(e LogEntry) bool { return e.Name == marker }
	s.Logged.AwaitItem(t, "the log's marker", before, isMarker)
	var entries []LogEntry
	s.Call(t, "system_log/list", nil, &entries)
	slices.Reverse(entries)
	return slices.DeleteFunc(entries, isMarker)
}

// ClearLog forgets the warnings and errors so far.
func (s *socket) ClearLog(t testing.TB) {
	t.Helper()
	s.Service(t, "system_log.clear", "", nil)
}

// ignoredLogEntries is what any Home Assistant may log that is set up like ours, whatever its broker sends.
var ignoredLogEntries = []string{
	"zlib_ng and isal are not available", // how it was installed
	"libturbojpeg",                       // how it was installed
	"is taking over 10 seconds",          // a busy machine
	"was shutdown cleanly",               // the recorder, after a kill
	"Ended unfinished session",           // the recorder, after a kill
}

// unexpected returns what is in the log but for noise and entries that contain one of the allowed texts.
func (s *socket) unexpected(t testing.TB, allowed ...string) []LogEntry {
	t.Helper()
	allowed = append(allowed, ignoredLogEntries...)
	return slices.DeleteFunc(s.Log(t), func(entry LogEntry) bool {
		return slices.ContainsFunc(allowed, func(text string) bool { return strings.Contains(entry.String(), text) })
	})
}

// CheckLog reports every warning and error that Home Assistant logged, but for those that contain one of the allowed texts.
func (s *socket) CheckLog(t testing.TB, allowed ...string) {
	t.Helper()
	for _, entry := range s.unexpected(t, allowed...) {
		t.Errorf("Home Assistant logged: %v", entry)
	}
}
