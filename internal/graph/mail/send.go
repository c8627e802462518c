package mail

import (
	"context"
	"time"

	"github.com/microsoftgraph/msgraph-sdk-go/models"
	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

// SendPermission returns the permission for sending, with asOthers also in the name of others.
func (m Mailbox) SendPermission(asOthers bool) graph.Permission {
	need := graph.Permission{
		Scope:        "Mail.Send",
		Alternatives: []string{"Mail.Send.Shared"},
		Purpose:      "sends mails as you",
		Impact:       "no mails can be sent",
	}
	if m.Address != "" || asOthers {
		need.Scope, need.Alternatives = "Mail.Send.Shared", nil
		need.Purpose = "sends mails as you and in the name of others"
	}
	return need
}

// WritePermission returns the permission for changing mails.
func (m Mailbox) WritePermission() graph.Permission {
	need := graph.Permission{
		Scope:   "Mail.ReadWrite",
		Purpose: "marks, flags, moves and deletes mails",
		Impact:  "the mails are shown but cannot be changed",
	}
	if m.Address != "" {
		need.Scope = "Mail.ReadWrite.Shared"
	}
	return need
}

// CanVerify reports whether the granted permissions let Sent tell whether a mail was sent.
func (m Mailbox) CanVerify(g *graph.Client) bool {
	m.Basic = false // Mail.ReadBasic gives no named properties
	return g.Granted(m.ReadPermission())
}

// An Outgoing is a mail to send.
type Outgoing struct {
	Subject    string
	Body       Body
	To         []string
	Cc         []string
	Bcc        []string
	ReplyTo    []string
	From       string // "": the owner of the mailbox
	Importance string // low, normal or high; "": normal
	Files      []OutgoingFile
	Unsaved    bool   // no copy is kept in Sent Items
	Key        string // finds the mail again, see Sent
}

// An OutgoingFile is an attachment of an Outgoing.
type OutgoingFile struct {
	Name      string
	Type      string // "application/pdf"
	Content   []byte
	ContentID string // of a picture within the text, which refers to it as cid:…; "": none
}

// keyProperty is the named property that holds the key of a mail that this program sent. Its GUID is that of public names.
const keyProperty = "String {00020329-0000-0000-c000-000000000046} Name graph2mqtt-request"

func (o Outgoing) model() (models.Messageable, error) {
	m := models.NewMessage()
	if o.Subject != "" {
		m.SetSubject(&o.Subject)
	}
	if o.Body != (Body{}) {
		m.SetBody(graph.ItemBody(o.Body.Content, o.Body.HTML))
	}
	for _, r := range []struct {
		addresses []string
		set       func([]models.Recipientable)
	}{{o.To, m.SetToRecipients}, {o.Cc, m.SetCcRecipients}, {o.Bcc, m.SetBccRecipients}, {o.ReplyTo, m.SetReplyTo}} {
		if len(r.addresses) > 0 {
			r.set(recipients(r.addresses))
		}
	}
	if o.From != "" {
		m.SetFrom(recipients([]string{o.From})[0])
	}
	if o.Importance != "" {
		importance, err := models.ParseImportance(o.Importance)
		if err != nil || importance == nil {
			return nil, graph.Invalid("importance: unknown value %q", o.Importance)
		}
		m.SetImportance(importance.(*models.Importance))
	}
	if len(o.Files) > 0 {
		var files []models.Attachmentable
		for _, f := range o.Files {
			files = append(files, f.model())
		}
		m.SetAttachments(files)
	}
	if o.Key != "" {
		p := models.NewSingleValueLegacyExtendedProperty()
		p.SetId(new(keyProperty))
		p.SetValue(&o.Key)
		m.SetSingleValueExtendedProperties([]models.SingleValueLegacyExtendedPropertyable{p})
	}
	return m, nil
}

func (f OutgoingFile) model() models.Attachmentable {
	file := models.NewFileAttachment()
	file.SetOdataType(new("#microsoft.graph.fileAttachment"))
	file.SetName(&f.Name)
	file.SetContentType(&f.Type)
	file.SetContentBytes(f.Content)
	if f.ContentID != "" {
		file.SetContentId(&f.ContentID)
		file.SetIsInline(new(true))
	}
	return file
}

func recipients(addresses []string) []models.Recipientable {
	var all []models.Recipientable
	for _, a := range addresses {
		address, recipient := models.NewEmailAddress(), models.NewRecipient()
		address.SetAddress(&a)
		recipient.SetEmailAddress(address)
		all = append(all, recipient)
	}
	return all
}

// Send sends a mail with one request, which may have about 4 MB.
func (m Mailbox) Send(ctx context.Context, g *graph.Client, o Outgoing) error {
	message, err := o.model()
	if err != nil {
		return err
	}
	var body users.ItemSendMailPostRequestBodyable = users.NewItemSendMailPostRequestBody()
	body.SetMessage(message)
	body.SetSaveToSentItems(new(!o.Unsaved)) // the model's default is another than Graph's
	_, err = graph.Send[graph.None](ctx, g, "send the mail", m.user(g).SendMail().ToPostRequestInformation, body, nil)
	return m.explainSend(g, o.From, err)
}

// Reply answers the mail with this id, to its sender or to all. The original follows the text. Of o only the body and the key count.
func (m Mailbox) Reply(ctx context.Context, g *graph.Client, id string, all bool, o Outgoing) error {
	comment, message, err := o.answer()
	if err != nil {
		return err
	}
	item := m.user(g).Messages().ByMessageId(id)
	if all {
		var body users.ItemMessagesItemReplyAllPostRequestBodyable = users.NewItemMessagesItemReplyAllPostRequestBody()
		body.SetComment(comment)
		body.SetMessage(message)
		_, err = graph.Send[graph.None](ctx, g, "reply to the mail", item.ReplyAll().ToPostRequestInformation, body, nil)
	} else {
		var body users.ItemMessagesItemReplyPostRequestBodyable = users.NewItemMessagesItemReplyPostRequestBody()
		body.SetComment(comment)
		body.SetMessage(message)
		_, err = graph.Send[graph.None](ctx, g, "reply to the mail", item.Reply().ToPostRequestInformation, body, nil)
	}
	return m.explainSend(g, "", err)
}

// Forward sends the mail with this id on, with its attachments. Of o only the recipients, the body and the key count.
func (m Mailbox) Forward(ctx context.Context, g *graph.Client, id string, o Outgoing) error {
	comment, message, err := o.answer()
	if err != nil {
		return err
	}
	var body users.ItemMessagesItemForwardPostRequestBodyable = users.NewItemMessagesItemForwardPostRequestBody()
	body.SetComment(comment)
	body.SetMessage(message)
	_, err = graph.Send[graph.None](ctx, g, "forward the mail", m.user(g).Messages().ByMessageId(id).Forward().ToPostRequestInformation, body, nil)
	return m.explainSend(g, "", err)
}

// answer returns the parameters of an answer. Graph takes a plain text as the comment, and HTML as the body only.
func (o Outgoing) answer() (comment *string, message models.Messageable, err error) {
	if !o.Body.HTML {
		comment = new(o.Body.Content)
		o.Body = Body{}
	}
	message, err = o.model()
	return comment, message, err
}

// explainSend returns an error that explains in the user's words why a mail cannot be sent.
func (m Mailbox) explainSend(g *graph.Client, from string, err error) error {
	if graph.HasCode(err, "ErrorSendAsDenied") {
		name := from
		if name == "" {
			name = m.Address
		}
		return graph.Explain(err, "Exchange does not let you send as %s: you need the right Send As or Send on Behalf there", name)
	}
	return m.explain(g, err)
}

// Sent returns the id of the mail in Sent Items that was sent with this key, or "" where there is none. since is when it was sent at the
// earliest.
func (m Mailbox) Sent(ctx context.Context, g *graph.Client, key string, since time.Time) (string, error) {
	return m.findKey(ctx, g, "look for the mail in Sent Items", "sentitems", key, "sentDateTime ge "+since.UTC().Format(time.RFC3339))
}

// findKey returns the id of the mail in a folder whose named property is key and that the condition selects, or "".
func (m Mailbox) findKey(ctx context.Context, g *graph.Client, op, folder, key, condition string) (string, error) {
	filter := condition + " and singleValueExtendedProperties/any(p:p/id eq " + literal(keyProperty) + " and p/value eq " + literal(key) + ")"
	p, err := graph.Get[page](ctx, g, op, m.messages(g, folder).ToGetRequestInformation, &users.ItemMailFoldersItemMessagesRequestBuilderGetRequestConfiguration{
		Headers: headers(), QueryParameters: &users.ItemMailFoldersItemMessagesRequestBuilderGetQueryParameters{Select: []string{"id"}, Top: new(int32(1)), Filter: &filter},
	})
	switch {
	case err != nil:
		return "", m.explain(g, err)
	case len(p.Value) == 0:
		return "", nil
	case p.Value[0].ID == "":
		return "", graph.Incomplete(op, "id of a mail")
	}
	return p.Value[0].ID, nil
}
