package mail

import (
	"context"
	"strings"

	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

// An Attachment describes a file, a mail or event, or a link that is attached to a mail.
type Attachment struct {
	ID     string
	Name   string
	Size   int    // bytes, as Exchange stores it
	Type   string // "application/pdf"; "": not known
	Kind   string // file, item (a mail, an event or a contact) or reference (a link), or one that Microsoft added since
	Inline bool   // shown within the mail's text
}

func attachmentFields() []string { return []string{"id", "name", "size", "contentType", "isInline"} }

type attachmentDTO struct {
	ODataType string `json:"@odata.type"`
	ID        string `json:"id"`
	Name      string `json:"name"`
	Size      int    `json:"size"`
	Type      string `json:"contentType"`
	Inline    bool   `json:"isInline"`
}

func (d attachmentDTO) attachment() Attachment {
	kind := strings.TrimSuffix(strings.TrimPrefix(d.ODataType, "#microsoft.graph."), "Attachment")
	return Attachment{ID: d.ID, Name: d.Name, Size: d.Size, Type: d.Type, Kind: kind, Inline: d.Inline}
}

// Attachments lists what is attached to the mail with this id, without any content.
func (m Mailbox) Attachments(ctx context.Context, g *graph.Client, id string) ([]Attachment, error) {
	const op = "list the attachments of a mail"
	listed, err := graph.GetAll[attachmentDTO](ctx, g, op, m.user(g).Messages().ByMessageId(id).Attachments().ToGetRequestInformation, &users.ItemMessagesItemAttachmentsRequestBuilderGetRequestConfiguration{
		Headers: headers(), QueryParameters: &users.ItemMessagesItemAttachmentsRequestBuilderGetQueryParameters{
			// Without a selection Graph returns the content of every file.
			Select: attachmentFields(),
		},
	})
	if err != nil {
		return nil, m.explain(g, err)
	}
	all := []Attachment{}
	for _, d := range listed {
		all = append(all, d.attachment())
	}
	return all, nil
}

// Attachment describes what is attached with this id to the mail with id, without its content.
func (m Mailbox) Attachment(ctx context.Context, g *graph.Client, id, attachment string) (Attachment, error) {
	d, err := graph.Get[attachmentDTO](ctx, g, opAttachment, m.attachment(g, id, attachment).ToGetRequestInformation, &users.ItemMessagesItemAttachmentsAttachmentItemRequestBuilderGetRequestConfiguration{
		Headers: headers(), QueryParameters: &users.ItemMessagesItemAttachmentsAttachmentItemRequestBuilderGetQueryParameters{Select: attachmentFields()},
	})
	return d.attachment(), m.explain(g, err)
}

const opAttachment = "read the attachment"

// Content returns up to size bytes of the content of an attachment, from offset on, and whether more follow. An attached mail, event or
// contact has the content that files of mails (.eml), calendars (.ics) and contacts (.vcf) have; a link has none.
//
// https://learn.microsoft.com/graph/api/attachment-get#example-6-get-the-raw-contents-of-a-file-attachment-on-a-message
func (m Mailbox) Content(ctx context.Context, g *graph.Client, id, attachment string, offset int64, size int) (content []byte, more bool, err error) {
	h := headers()
	h.Add("Accept", "*/*") // otherwise the builder asks for JSON
	r, err := m.attachment(g, id, attachment).ToGetRequestInformation(ctx, &users.ItemMessagesItemAttachmentsAttachmentItemRequestBuilderGetRequestConfiguration{Headers: h})
	if err != nil {
		return nil, false, err
	}
	r.UrlTemplate, _, _ = strings.Cut(r.UrlTemplate, "{?") // the builder lacks $value
	r.UrlTemplate += "/$value"
	content, more, err = g.Download(ctx, opAttachment, r, offset, size)
	return content, more, m.explain(g, err)
}

func (m Mailbox) attachment(g *graph.Client, id, attachment string) *users.ItemMessagesItemAttachmentsAttachmentItemRequestBuilder {
	return m.user(g).Messages().ByMessageId(id).Attachments().ByAttachmentId(attachment)
}
