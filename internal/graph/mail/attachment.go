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

// Attachments lists what is attached to the mail with this id, without any content.
func (m Mailbox) Attachments(ctx context.Context, g *graph.Client, id string) ([]Attachment, error) {
	const op = "list the attachments of a mail"
	type dto struct {
		ODataType string `json:"@odata.type"`
		ID        string `json:"id"`
		Name      string `json:"name"`
		Size      int    `json:"size"`
		Type      string `json:"contentType"`
		Inline    bool   `json:"isInline"`
	}
	listed, err := graph.GetAll[dto](ctx, g, op, m.user(g).Messages().ByMessageId(id).Attachments().ToGetRequestInformation, &users.ItemMessagesItemAttachmentsRequestBuilderGetRequestConfiguration{
		Headers: headers(), QueryParameters: &users.ItemMessagesItemAttachmentsRequestBuilderGetQueryParameters{
			// Without a selection Graph returns the content of every file.
			Select: []string{"id", "name", "size", "contentType", "isInline"},
		},
	})
	if err != nil {
		return nil, m.explain(g, err)
	}
	all := []Attachment{}
	for _, d := range listed {
		kind := strings.TrimSuffix(strings.TrimPrefix(d.ODataType, "#microsoft.graph."), "Attachment")
		all = append(all, Attachment{ID: d.ID, Name: d.Name, Size: d.Size, Type: d.Type, Kind: kind, Inline: d.Inline})
	}
	return all, nil
}
