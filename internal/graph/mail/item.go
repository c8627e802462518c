package mail

import (
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

// Item returns m as lists and events show it. Its keys are those of the O365 and MS365 integrations for Home Assistant, for whose
// entities many templates exist; its enumerations have Microsoft's spelling. Body and attachments are added by the caller.
func (m Message) Item(loc *time.Location) map[string]any {
	item := map[string]any{
		"message_id": m.ID, "subject": m.Subject, "received": nil, "to": list(m.To), "cc": list(m.Cc),
		"sender": graph.NullIfZero(m.From.Address), "sender_name": graph.NullIfZero(m.From.Name), "has_attachments": m.HasAttachments,
		"importance": graph.NullIfZero(m.Importance), "is_read": m.Read,
		"flag": map[string]any{
			"is_flagged": m.Flag.Status == "flagged", "is_completed": m.Flag.Status == "complete",
			"due_date": graph.NullIfZero(m.Flag.Due), "completion_date": graph.NullIfZero(m.Flag.Completed),
		},
		"web_link": graph.NullIfZero(m.WebLink), "preview": graph.NullIfZero(m.Preview), "categories": append([]string{}, m.Categories...),
		"conversation_id": graph.NullIfZero(m.ConversationID),
	}
	if !m.Received.IsZero() {
		item["received"] = m.Received.In(loc)
	}
	return item
}

// Item returns a as items show it.
func (a Attachment) Item() map[string]any {
	return map[string]any{
		"name": graph.NullIfZero(a.Name), "size": a.Size, "type": graph.NullIfZero(a.Type), "kind": graph.NullIfZero(a.Kind),
		"attachment_id": graph.NullIfZero(a.ID),
	}
}

func list(addresses []Address) []string {
	all := []string{}
	for _, a := range addresses {
		if a.Address == "" {
			a.Address = a.Name
		}
		all = append(all, a.Address)
	}
	return all
}
