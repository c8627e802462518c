package mail

import (
	"github.com/graph2mqtt/graph2mqtt/internal/schema"
	"github.com/graph2mqtt/graph2mqtt/sensors"
	mailops "github.com/graph2mqtt/graph2mqtt/services/mail"
)

// attributeFields documents the attributes.
func attributeFields() []schema.Field {
	item := append(itemFields(), schema.Field{Key: "body", Type: "text", Doc: "Text, with `show_body` or `html_body`."})
	return []schema.Field{
		{Key: "matching_complete", Type: "true or false", Doc: "The number of mails counts all of them; with `body_contains`, false if more than `max_scan` mails would have to be read."},
		{Key: "data", Type: "list of objects", Doc: "The mails, the newest first.", Fields: item},
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
		schema.Field{Key: "unreadable", Type: "true or false", Doc: "The text or the attachments could not be read."},
	)
}

// events documents the events.
func events() []sensors.EventType {
	fields := append(itemFields(), schema.Field{Key: "own", Type: "true or false", Doc: "This program caused it."})
	return []sensors.EventType{
		{Name: received, Doc: "A mail arrived. It is fired once for each mail, also if the mail leaves the folder and comes back.", Fields: fields},
		{Name: read, Doc: "A mail in the list was read.", Fields: fields},
		{Name: removed, Doc: "A mail in the list left the folder.", Fields: fields},
	}
}
