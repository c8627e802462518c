package bridge

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/graph2mqtt/graph2mqtt/internal/state"
)

// When the lease has ended, every sensor fails: that is neither logged nor published for each of them.
func TestTheEndOfTheLeaseIsNotLoggedForEachSensor(t *testing.T) {
	var b strings.Builder
	lines := make(chan line, 10)
	log := slog.New(logPublisher{Handler: slog.NewTextHandler(&b, nil), lines: lines}).With("account", "work")
	log.Error("snapshot not saved", "error", fmt.Errorf("write the database: %w", state.ErrLeaseLost))
	log.Warn("polling failed", "error", fmt.Errorf("read the calendar: %w", state.ErrLeaseLost))
	if b.String() != "" || len(lines) != 0 {
		t.Errorf("logged:\n%s", b.String())
	}
	log.Error("snapshot not saved", "error", errors.New("no space left on device"))
	if strings.Count(b.String(), "\n") != 1 || len(lines) != 1 {
		t.Errorf("logged:\n%s", b.String())
	}

	b.Reset()
	log = slog.New(logPublisher{Handler: slog.NewTextHandler(&b, &slog.HandlerOptions{Level: slog.LevelDebug}), lines: lines})
	log.Error("snapshot not saved", "error", state.ErrLeaseLost)
	if !strings.Contains(b.String(), "level=DEBUG") || len(lines) != 1 {
		t.Errorf("at the level debug:\n%s", b.String())
	}
}
