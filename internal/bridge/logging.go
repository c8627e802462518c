package bridge

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"time"
)

// waitingLines is how many lines of the log may wait to be published.
const waitingLines = 100

// A line is what <base>/bridge/logging tells of one line of the log.
type line struct {
	Level   string    `json:"level"`
	Message string    `json:"message"`
	Error   string    `json:"error,omitempty"`
	Account string    `json:"account,omitempty"`
	Sensor  string    `json:"sensor,omitempty"`
	Time    time.Time `json:"ts"`
}

// same reports whether the line tells what another one told.
func (l line) same(other line) bool {
	l.Time, other.Time = time.Time{}, time.Time{}
	return l == other
}

// A publisher is a handler of the log that has its lines published, too.
type publisher struct {
	slog.Handler
	lines chan<- line
	known line // of the attributes so far
}

// Handle implements slog.Handler. It waits for nobody: the broker's client logs, too.
func (p publisher) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelInfo {
		l := p.known
		l.Level, l.Message, l.Time = strings.ToLower(r.Level.String()), r.Message, r.Time.UTC()
		r.Attrs(func(a slog.Attr) bool { l.add(a); return true })
		select {
		case p.lines <- l:
		default:
		}
	}
	return p.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (p publisher) WithAttrs(attrs []slog.Attr) slog.Handler {
	for _, a := range attrs {
		p.known.add(a)
	}
	p.Handler = p.Handler.WithAttrs(attrs)
	return p
}

// WithGroup implements slog.Handler.
func (p publisher) WithGroup(name string) slog.Handler {
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

// publishLog publishes the lines of the log until ctx is done. The same line twice in a row is published once.
func (b *Bridge) publishLog(ctx context.Context) {
	var last line
	for {
		select {
		case <-ctx.Done():
			return
		case l := <-b.lines:
			if l.same(last) {
				continue
			}
			last = l
			payload, err := json.Marshal(l)
			if err != nil {
				continue // it would make another line
			}
			b.mqtt.PublishEvent(b.topics.Bridge("logging"), payload)
		}
	}
}
