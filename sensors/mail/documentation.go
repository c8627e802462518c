package mail

import (
	"github.com/graph2mqtt/graph2mqtt/internal/schema"
	"github.com/graph2mqtt/graph2mqtt/sensors"
	mailops "github.com/graph2mqtt/graph2mqtt/services/mail"
)

// attributeFields documents the attributes.
func attributeFields() []schema.Field {
	item := append(itemFields(), schema.Field{Key: "body", Type: "text", Doc: "The text with `show_body`, the HTML with `html_body`; otherwise null."})
	return []schema.Field{
		{Key: "matching_complete", Type: "true or false", Doc: "Whether the number of mails is complete. With `body_contains`, false if more than `max_scan` mails would have to be read."},
		{Key: "data", Type: "list of objects", Doc: "The newest mails, at most `max_items`, the newest first. `total` is the number of mails in the list; the state is the number of all matching mails.", Fields: item},
	}
}

// itemFields documents what lists and events have in common: a mail as the operation list returns it, with its attachments.
func itemFields() []schema.Field {
	return append(mailops.ItemFields(),
		schema.Field{Key: "attachments", Type: "list of text", Doc: "Names of the attachments, with `download_attachments`."},
		schema.Field{Key: "attachment_info", Type: "list of objects", Doc: "Attachments, with `download_attachments`.", Fields: []schema.Field{
			{Key: "name", Type: "text", Doc: "Name."},
			{Key: "size", Type: "whole number", Doc: "Size in bytes."},
			{Key: "type", Type: "text", Doc: "Media type, such as `application/pdf`."},
			{Key: "kind", Type: "text", Doc: "Kind: `file`, `item` (a mail, an event or a contact) or `reference` (a link)."},
			{Key: "attachment_id", Type: "text", Doc: "Id."},
		}},
		schema.Field{Key: "unreadable", Type: "true or false", Doc: "Whether Microsoft refused to return the text or the attachments of this mail."},
	)
}

// events documents the events.
func events() []sensors.EventType {
	fields := append(itemFields(), schema.Field{Key: "own", Type: "true or false", Doc: "Whether a request to graph2mqtt caused the event."})
	return []sensors.EventType{
		{Name: received, Doc: "A mail arrived or was moved into the folder. It is fired once for each mail, even if the mail leaves the folder and comes back.", Fields: fields},
		{Name: read, Doc: "A mail in the list was marked as read.", Fields: fields},
		{Name: removed, Doc: "A mail in the list was moved to another folder or deleted.", Fields: fields},
	}
}
