package bridge

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/state"
)

// maxQueuedLines bounds the log lines that wait to be published; further ones are dropped.
const maxQueuedLines = 100

// A line is the payload of <base>/bridge/logging for one log line.
type line struct {
	Level   string    `json:"level"`
	Message string    `json:"message"`
	Error   string    `json:"error,omitempty"`
	Account string    `json:"account,omitempty"`
	Sensor  string    `json:"sensor,omitempty"`
	Time    time.Time `json:"ts"`
}

// equal reports whether two lines differ in nothing but the time.
func (l line) equal(other line) bool {
	l.Time, other.Time = time.Time{}, time.Time{}
	return l == other
}

// A logPublisher is a slog.Handler that queues its lines for publication, too.
type logPublisher struct {
	slog.Handler
	lines chan<- line
	line  line // with the attributes of the logger
}

// Handle implements slog.Handler. It never waits, because the MQTT client logs, too.
func (p logPublisher) Handle(ctx context.Context, r slog.Record) error {
	// What fails because the lease has ended is a consequence, which every account and sensor would log: Run returns the cause.
	if r.Level > slog.LevelDebug && hasLostLease(r) {
		if r.Level = slog.LevelDebug; !p.Enabled(ctx, r.Level) {
			return nil
		}
	}
	if r.Level >= slog.LevelInfo {
		l := p.line
		l.Level, l.Message, l.Time = levelName(r.Level), r.Message, r.Time.UTC()
		r.Attrs(func(a slog.Attr) bool { l.add(a); return true })
		select {
		case p.lines <- l:
		default:
		}
	}
	return p.Handler.Handle(ctx, r)
}

// hasLostLease reports whether the error of a record is that the lease has ended.
func hasLostLease(r slog.Record) (lost bool) {
	r.Attrs(func(a slog.Attr) bool {
		err, ok := a.Value.Any().(error)
		lost = ok && errors.Is(err, state.ErrLeaseLost)
		return !lost
	})
	return lost
}

// WithAttrs implements slog.Handler.
func (p logPublisher) WithAttrs(attrs []slog.Attr) slog.Handler {
	for _, a := range attrs {
		p.line.add(a)
	}
	p.Handler = p.Handler.WithAttrs(attrs)
	return p
}

// WithGroup implements slog.Handler.
func (p logPublisher) WithGroup(name string) slog.Handler {
	p.Handler = p.Handler.WithGroup(name)
	return p
}

func (l *line) add(a slog.Attr) {
	switch a.Key {
	case "account":
		l.Account = a.Value.String()
	case "sensor":
		l.Sensor = a.Value.String()
	case "error":
		l.Error = a.Value.String()
	}
}

// publishLog publishes log lines until ctx is done. A line that repeats the one before it is left out.
func (b *Bridge) publishLog(ctx context.Context) error {
	var last line
	for {
		select {
		case <-ctx.Done():
			return nil
		case l := <-b.lines:
			if l.equal(last) {
				continue
			}
			last = l
			payload, err := json.Marshal(l)
			if err != nil {
				continue // logging it would queue another line
			}
			b.mqtt.PublishTransient(b.bridgeTopic("logging"), payload)
		}
	}
}
