package mail

import (
	"bytes"
	"context"
	"encoding/base64"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/mail"
	"github.com/graph2mqtt/graph2mqtt/internal/schema"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// AttachmentContent is the name of the operation that returns the content of an attachment.
const AttachmentContent = "attachment"

// contentPart is the number of bytes on a page: 256 KiB of base64 without padding, so that the pages can be joined before they are
// decoded.
const contentPart = 192 << 10

// Content returns the content of an attachment.
type Content struct {
	target Target

	MessageID    string `json:"message_id" required:"true" doc:"Id of the mail, as in the list."`
	AttachmentID string `json:"attachment_id" required:"true" doc:"Id of the attachment, as in attachments."`
}

// Validate returns an error for values that Graph would refuse.
func (r *Content) Validate() error {
	if r.AttachmentID == "" {
		return graph.Invalid("attachment_id: want the id of an attachment, as in attachments")
	}
	return checkID(r.MessageID)
}

// A contentPosition names the beginning of the next page of Content, and holds what the first page found out.
type contentPosition struct {
	Offset     int64           `json:"o"`
	Attachment mail.Attachment `json:"a"`
}

// Execute implements services.Request.
func (r *Content) Execute(ctx context.Context, g *graph.Client, a services.Attempt) (any, error) {
	var at contentPosition
	if err := a.Resume(&at); err != nil {
		return nil, err
	}
	if at.Offset == 0 {
		var err error
		if at.Attachment, err = r.target.Mailbox.Attachment(ctx, g, r.MessageID, r.AttachmentID); err != nil {
			return nil, err
		}
		if at.Attachment.Kind == "reference" {
			return nil, graph.Invalid("attachment_id: %s is a link to a file, which has no content in the mail; open the mail by its web_link to follow it", services.QuoteForError(at.Attachment.Name))
		}
	}
	content, more, err := r.target.Mailbox.Content(ctx, g, r.MessageID, r.AttachmentID, at.Offset, contentPart)
	if err != nil {
		return nil, err
	}
	if at.Offset == 0 && at.Attachment.Kind == "item" && at.Attachment.Type == "" {
		at.Attachment.Type = itemType(content)
	}
	data := at.Attachment.Item()
	delete(data, "attachment_id")
	data["offset"], data["content"] = at.Offset, base64.StdEncoding.EncodeToString(content)
	page := services.Page{Value: data}
	if more {
		at.Offset += int64(len(content))
		page.Next = at
	}
	return page, nil
}

// itemType returns the media type of the content of an attached item.
func itemType(content []byte) string {
	switch {
	case bytes.HasPrefix(content, []byte("BEGIN:VCALENDAR")):
		return "text/calendar"
	case bytes.HasPrefix(content, []byte("BEGIN:VCARD")):
		return "text/vcard"
	}
	return "message/rfc822"
}

// contentFields documents the answer of Content.
func contentFields() []schema.Field {
	return []schema.Field{
		{Key: "name", Type: "text", Doc: "Name."},
		{Key: "size", Type: "whole number", Doc: "Size in bytes as stored by Exchange. It may differ from the size of the content."},
		{Key: "type", Type: "text", Doc: "Media type, such as `application/pdf`."},
		{Key: "kind", Type: "text", Doc: "Kind: `file` or `item`."},
		{Key: "offset", Type: "whole number", Doc: "Number of bytes on the previous pages."},
		{Key: "content", Type: "text", Doc: "Content of the page in base64. You can concatenate the base64 texts of all pages before decoding."},
	}
}
