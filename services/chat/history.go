package chat

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/chats"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/directory"
	"github.com/graph2mqtt/graph2mqtt/internal/schema"
	"github.com/graph2mqtt/graph2mqtt/services"
)

const (
	defaultLimit = 25
	maxLimit     = 200
	// maxAnswer bounds the messages of an answer in bytes of JSON.
	maxAnswer = 500 << 10
)

// History lists the messages of a chat.
type History struct {
	ChatID string `json:"chat_id" required:"true" doc:"Id of the chat, as in the list."`
	Start  string `json:"start" doc:"Only messages sent then or later: a time, in the account's time zone unless an offset is given, or a date."`
	End    string `json:"end" doc:"Only messages sent before, like start."`
	Limit  int    `json:"limit" doc:"Maximum number of messages, 1 to 200. Default: 25."`
}

// Validate returns an error for values that are wrong in every time zone.
func (r *History) Validate() error {
	if err := checkID("chat_id", "chat", r.ChatID); err != nil {
		return err
	}
	if r.Limit < 1 || r.Limit > maxLimit {
		return graph.Invalid("limit: want 1 to %d, not %d", maxLimit, r.Limit)
	}
	_, _, err := r.span(time.UTC)
	return err
}

func (r *History) span(loc *time.Location) (start, end time.Time, err error) {
	if r.Start != "" {
		if start, err = services.ParseTimeOrDate("start", r.Start, loc); err != nil {
			return start, end, err
		}
	}
	if r.End != "" {
		if end, err = services.ParseTimeOrDate("end", r.End, loc); err != nil {
			return start, end, err
		}
	}
	if r.Start != "" && r.End != "" && !end.After(start) {
		return start, end, graph.Invalid("end: want a time after start, %s, not %s", services.QuoteForError(r.Start), services.QuoteForError(r.End))
	}
	return start, end, nil
}

// A Messages is the answer to History.
type Messages struct {
	Messages []map[string]any `json:"messages"`
	Complete bool             `json:"complete"`
}

// Execute implements services.Request.
func (r *History) Execute(ctx context.Context, g *graph.Client, a services.Attempt) (any, error) {
	if err := directory.RequireWork(ctx, g, NoTeams); err != nil {
		return nil, err
	}
	start, end, err := r.span(a.Now.Location())
	if err != nil {
		return nil, err
	}
	answer := Messages{Messages: []map[string]any{}}
	size := 0
	for {
		page, err := chats.Newest(ctx, g, r.ChatID, 50, end)
		if err != nil {
			return nil, err
		}
		slices.SortStableFunc(page, func(a, b chatMessage) int { return b.Created.Compare(a.Created) })
		for _, m := range page {
			if m.Created.Before(start) {
				answer.Complete = true
				return answer, nil
			}
			end = m.Created
			if !m.Shown() {
				continue
			}
			item := m.Item(a.Now.Location(), true)
			delete(item, "preview")
			item["content"] = m.Text
			b, err := json.Marshal(item)
			if err != nil {
				return nil, err
			}
			if size += len(b); len(answer.Messages) == r.Limit || size > maxAnswer {
				return answer, nil
			}
			answer.Messages = append(answer.Messages, item)
		}
		if len(page) < 50 {
			answer.Complete = true
			return answer, nil
		}
	}
}

func historyFields() []schema.Field {
	return []schema.Field{
		{Key: "messages", Type: "list of objects", Doc: "Messages, each as last_message in the attribute data, with its whole text as content instead of preview."},
		{Key: "complete", Type: "true or false", Doc: "These are all."},
	}
}
