//go:build e2e

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// A LogEntry represents a warning or an error that Home Assistant logged.
type LogEntry struct {
	Level, Name string
	Message     []string
	Exception   string
	Count       int
}

func (e LogEntry) String() string {
	return strings.TrimSpace(fmt.Sprintf("%s %s (%d times) %s\n%s", e.Level, e.Name, e.Count, strings.Join(e.Message, "\n"), e.Exception))
}

// Log returns the warnings and errors since the start or the last ClearLog, oldest first.
func (s *socket) Log(t testing.TB) []LogEntry {
	t.Helper()
	// Home Assistant logs through a queue: once the marker is listed, so is everything logged before it.
	const marker = "graph2mqtt.e2e"
	before := s.Logged.Len()
	s.Service(t, "system_log.write", "", map[string]any{"logger": marker, "level": "warning", "message": "so far"})
	isMarker := func(e LogEntry) bool { return e.Name == marker }
	s.Logged.AwaitItem(t, "the marker in the log", before, isMarker)
	var entries []LogEntry
	s.Call(t, "system_log/list", nil, &entries)
	slices.Reverse(entries)
	return slices.DeleteFunc(entries, isMarker)
}

// ClearLog clears Home Assistant's list of warnings and errors.
func (s *socket) ClearLog(t testing.TB) {
	t.Helper()
	s.Service(t, "system_log.clear", "", nil)
}

// ignoredLogEntries match entries that Home Assistant logs in this setup regardless of the broker's messages.
var ignoredLogEntries = []string{
	"zlib_ng and isal are not available", // how it was installed
	"libturbojpeg",                       // how it was installed
	"is taking over 10 seconds",          // a busy machine
	"Updating state for zone.home",       // a busy machine
	"was shutdown cleanly",               // the recorder, after a kill
	"Ended unfinished session",           // the recorder, after a kill
}

// removalLogs match what Home Assistant 2025.4 logs for a removed device with a disabled entity: it empties the topic once more.
var removalLogs = []string{"No device components to cleanup"}

// unexpected returns the log entries that contain neither an ignored nor an allowed text.
func (s *socket) unexpected(t testing.TB, allowed ...string) []LogEntry {
	t.Helper()
	allowed = append(allowed, ignoredLogEntries...)
	return slices.DeleteFunc(s.Log(t), func(entry LogEntry) bool {
		return slices.ContainsFunc(allowed, func(text string) bool { return strings.Contains(entry.String(), text) })
	})
}

// CheckLog fails the test for every warning and error that contains none of the allowed texts.
func (s *socket) CheckLog(t testing.TB, allowed ...string) {
	t.Helper()
	for _, entry := range s.unexpected(t, allowed...) {
		t.Errorf("Home Assistant logged: %v", entry)
	}
}
