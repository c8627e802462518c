package chat

import (
	"context"
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
)

// History lists the messages of a chat.
type History struct {
	ChatID string `json:"chat_id" required:"true" doc:"Id of the chat, as in the list."`
	Start  string `json:"start" doc:"Only messages sent at this time or later: a time, in the account's time zone unless an offset is given, or a date."`
	End    string `json:"end" doc:"Only messages sent before this time, like start."`
	Limit  int    `json:"limit" doc:"Maximum number of messages on a page, 1 to 200. Default: 25."`
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
	var at historyPosition
	if err := a.Resume(&at); err != nil {
		return nil, err
	}
	if next := at.Time.Add(precision); !at.Time.IsZero() && (end.IsZero() || next.Before(end)) {
		end = next
	}
	page := services.PageItems[map[string]any]{All: []map[string]any{}}
	full := false
	err = chats.Each(ctx, g, r.ChatID, end, func(m chatMessage) (more bool, err error) {
		if m.Created.Before(start) {
			return false, nil
		}
		if m.Created.IsZero() || at.includes(m) { // without a time it has no place in the list
			return true, nil
		}
		if m.Shown() {
			full = len(page.All) == r.Limit
			if !full {
				item := m.Item(a.Now.Location(), true)
				delete(item, "preview")
				item["content"] = m.Text
				ok, err := page.Add(item)
				if err != nil {
					return false, err
				}
				full = !ok
			}
			if full {
				return false, nil
			}
		}
		at = at.after(m)
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	result := services.Page{Value: Messages{page.All, !full}}
	if full {
		result.Next = at
	}
	return result, nil
}

// precision is that of Teams' times.
const precision = time.Millisecond

// A historyPosition names the beginning of the next page of History: the time of the last message, and which of that time were returned.
type historyPosition struct {
	Time time.Time `json:"t"` // zero: the first page
	Seen []string  `json:"i"` // ids
}

// includes reports whether a message is on the pages before p.
func (p historyPosition) includes(m chatMessage) bool {
	return m.Created.Truncate(precision).Equal(p.Time) && slices.Contains(p.Seen, m.ID)
}

// after returns the position after a message, which follows p.
func (p historyPosition) after(m chatMessage) historyPosition {
	t := m.Created.Truncate(precision)
	if !t.Equal(p.Time) {
		p.Seen = nil
	}
	return historyPosition{t, append(p.Seen, m.ID)}
}

func historyFields() []schema.Field {
	return []schema.Field{
		{Key: "messages", Type: "list of objects", Doc: "Messages, each as last_message in the attribute data, with the complete text as content instead of preview."},
		{Key: "complete", Type: "true or false", Doc: "Whether this is the last page."},
	}
}
