package mail

import (
	"github.com/graph2mqtt/graph2mqtt/internal/schema"
	"github.com/graph2mqtt/graph2mqtt/sensors"
)

// attributeFields documents the attributes.
func attributeFields() []schema.Field {
	item := append(itemFields(), schema.Field{Key: "body", Type: "text", Doc: "Text, with `show_body` or `html_body`."})
	return []schema.Field{
		{Key: "matching_complete", Type: "true or false", Doc: "The number of mails counts all of them; with `body_contains`, false if more than `max_scan` mails would have to be read."},
		{Key: "data", Type: "list of objects", Doc: "The mails, the newest first.", Fields: item},
	}
}

// itemFields documents what lists and events have in common.
func itemFields() []schema.Field {
	return []schema.Field{
		{Key: "message_id", Type: "text", Doc: "Id. It stays when the mail is moved."},
		{Key: "subject", Type: "text", Doc: "Subject."},
		{Key: "received", Type: "time", Doc: "When it was received."},
		{Key: "to", Type: "list of text", Doc: "Addresses of the recipients."},
		{Key: "cc", Type: "list of text", Doc: "Addresses of those who got a copy."},
		{Key: "sender", Type: "text", Doc: "Address of the sender."},
		{Key: "sender_name", Type: "text", Doc: "Name of the sender."},
		{Key: "has_attachments", Type: "true or false", Doc: "The mail has attachments."},
		{Key: "importance", Type: "text", Doc: "Importance: `low`, `normal` or `high`."},
		{Key: "is_read", Type: "true or false", Doc: "The mail was read."},
		{Key: "flag", Type: "object", Doc: "Follow-up flag.", Fields: []schema.Field{
			{Key: "is_flagged", Type: "true or false", Doc: "The flag is set."},
			{Key: "is_completed", Type: "true or false", Doc: "The flag is marked as complete."},
			{Key: "due_date", Type: "date", Doc: "Date on which it is due."},
			{Key: "completion_date", Type: "date", Doc: "Date on which it was completed."},
		}},
		{Key: "attachments", Type: "list of text", Doc: "Names of the attachments, with `download_attachments`."},
		{Key: "attachment_info", Type: "list of objects", Doc: "Attachments, with `download_attachments`.", Fields: []schema.Field{
			{Key: "name", Type: "text", Doc: "Name."},
			{Key: "size", Type: "whole number", Doc: "Size in bytes."},
			{Key: "type", Type: "text", Doc: "Media type, such as `application/pdf`."},
			{Key: "kind", Type: "text", Doc: "Kind: `file`, `item` (a mail, an event or a contact) or `reference` (a link)."},
			{Key: "attachment_id", Type: "text", Doc: "Id."},
		}},
		{Key: "unreadable", Type: "true or false", Doc: "The text or the attachments could not be read."},
		{Key: "web_link", Type: "text", Doc: "Address of the mail in Outlook on the web."},
		{Key: "preview", Type: "text", Doc: "Beginning of the text."},
		{Key: "categories", Type: "list of text", Doc: "Categories."},
		{Key: "conversation_id", Type: "text", Doc: "Id that the mails of a conversation share."},
	}
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
