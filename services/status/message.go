package status

import (
	"context"
	"strings"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

// Message is the status message; the zero one is none.
type Message struct {
	Text      string
	Published time.Time // zero: not known
	Expiry    time.Time // zero: it stays, or not known
}

// At is the message at one moment: none where it has expired.
func (m Message) At(now time.Time) Message {
	if !m.Expiry.IsZero() && !now.Before(m.Expiry) {
		return Message{}
	}
	return m
}

// Data is what a request is answered.
func (m Message) Data() any {
	return map[string]any{"message": m.Text, "expiry": known(m.Expiry)}
}

// Told is a status message in an answer of Graph's.
type Told struct {
	Message   struct{ Content string } `json:"message"`
	Published string                   `json:"publishedDateTime"`
	Expiry    graph.DateTimeTimeZone   `json:"expiryDateTime"`
}

// Value is the message. What is null, missing or cannot be read is zero.
func (t Told) Value() Message {
	// Teams writes into the text that it is to be shown to whoever writes to the user.
	m := Message{Text: strings.TrimSpace(strings.ReplaceAll(t.Message.Content, "<pinnednote></pinnednote>", ""))}
	if m.Text == "" {
		return m
	}
	if published, err := time.Parse(time.RFC3339, t.Published); err == nil {
		m.Published = published
	}
	// Teams lets a message that is to stay expire in the year 9999.
	if expiry, err := t.Expiry.Time(); err == nil && expiry.Year() < 9999 {
		m.Expiry = expiry
	}
	return m
}

// read asks for the message as it is.
func read(ctx context.Context, g *graph.Client) (Message, error) {
	r, err := g.Me().Presence().ToGetRequestInformation(ctx, nil)
	if err != nil {
		return Message{}, err
	}
	var a struct {
		Message Told `json:"statusMessage"`
	}
	if err := g.Do(ctx, "read the status message", r, &a); err != nil {
		return Message{}, err
	}
	return a.Message.Value(), nil
}
