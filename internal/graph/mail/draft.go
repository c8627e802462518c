package mail

import (
	"context"
	"errors"

	"github.com/microsoftgraph/msgraph-sdk-go/models"
	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

// MaxFile is the size of the largest file in bytes that Exchange takes.
const MaxFile = 150 << 20

// minUpload is the size in bytes from which a file is uploaded in parts.
//
// https://learn.microsoft.com/graph/outlook-large-attachments
const minUpload = 3 << 20

// draftKey returns the key of a draft that is not complete: a mail with this key was never sent.
func draftKey(key string) string { return key + " draft" }

// CreateDraft stores a mail without its files, which Attach adds, and returns its id. Until Complete it can be found by FindDraft.
func (m Mailbox) CreateDraft(ctx context.Context, g *graph.Client, o Outgoing) (string, error) {
	const op = "create the draft of the mail"
	o.Files, o.Key = nil, draftKey(o.Key)
	message, err := o.model()
	if err != nil {
		return "", err
	}
	d, err := graph.Send[messageDTO](ctx, g, op, m.user(g).Messages().ToPostRequestInformation, message,
		&users.ItemMessagesRequestBuilderPostRequestConfiguration{Headers: headers()})
	switch {
	case err != nil:
		return "", m.explainSend(g, o.From, err)
	case d.ID == "":
		return "", graph.Incomplete(op, "id")
	}
	return d.ID, nil
}

// Attach adds a file to the draft with this id.
func (m Mailbox) Attach(ctx context.Context, g *graph.Client, id string, f OutgoingFile) error {
	const op = "attach a file to the mail"
	attachments := m.user(g).Messages().ByMessageId(id).Attachments()
	if len(f.Content) < minUpload {
		_, err := graph.Send[graph.None](ctx, g, op, attachments.ToPostRequestInformation, f.model(), nil)
		return m.explain(g, err)
	}
	item, kind := models.NewAttachmentItem(), models.FILE_ATTACHMENTTYPE
	item.SetAttachmentType(&kind)
	item.SetName(&f.Name)
	item.SetContentType(&f.Type)
	item.SetSize(new(int64(len(f.Content))))
	if f.ContentID != "" {
		item.SetContentId(&f.ContentID)
		item.SetIsInline(new(true))
	}
	var body users.ItemMessagesItemAttachmentsCreateUploadSessionPostRequestBodyable = users.NewItemMessagesItemAttachmentsCreateUploadSessionPostRequestBody()
	body.SetAttachmentItem(item)
	session, err := graph.Send[struct {
		Address string `json:"uploadUrl"`
	}](ctx, g, op, attachments.CreateUploadSession().ToPostRequestInformation, body, nil)
	if err != nil {
		return m.explain(g, err)
	}
	return g.Upload(ctx, op, session.Address, f.Content)
}

// Complete marks the draft with this id as one that may have been sent with this key.
func (m Mailbox) Complete(ctx context.Context, g *graph.Client, id, key string) error {
	p := models.NewSingleValueLegacyExtendedProperty()
	p.SetId(new(keyProperty))
	p.SetValue(&key)
	var message models.Messageable = models.NewMessage()
	message.SetSingleValueExtendedProperties([]models.SingleValueLegacyExtendedPropertyable{p})
	_, err := graph.Send[graph.None](ctx, g, "complete the draft of the mail", m.user(g).Messages().ByMessageId(id).ToPatchRequestInformation, message, nil)
	return m.explain(g, err)
}

// SendDraft sends the draft with this id.
func (m Mailbox) SendDraft(ctx context.Context, g *graph.Client, id, from string) error {
	return m.explainSend(g, from, graph.Call(ctx, g, "send the mail", m.user(g).Messages().ByMessageId(id).Send().ToPostRequestInformation, nil))
}

// RemoveDraft deletes the draft with this id.
func (m Mailbox) RemoveDraft(ctx context.Context, g *graph.Client, id string) error {
	err := graph.Call(ctx, g, "remove the draft of the mail", m.user(g).Messages().ByMessageId(id).ToDeleteRequestInformation, nil)
	if graph.Is(err, graph.NotFound) {
		return nil
	}
	return m.explain(g, err)
}

// FindDraft returns the id of the draft of the mail with this key, or "" where there is none. complete reports whether it may have
// been sent.
func (m Mailbox) FindDraft(ctx context.Context, g *graph.Client, key string) (id string, complete bool, err error) {
	for _, complete := range []bool{false, true} {
		value := key
		if !complete {
			value = draftKey(key)
		}
		id, err := m.findKey(ctx, g, "look for the draft of the mail", "drafts", value, "receivedDateTime ge 1900-01-01T00:00:00Z")
		if id != "" || err != nil {
			return id, complete, err
		}
	}
	return "", false, nil
}

// NotSent returns the error of a step before a mail is sent: regardless of the outcome of that step, the mail was not sent.
func NotSent(err error) error {
	var e *graph.Error
	if !errors.As(err, &e) || !e.OutcomeUnknown {
		return err
	}
	known := *e
	known.OutcomeUnknown = false
	return &known
}
