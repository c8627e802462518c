package mail

import (
	"context"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/mail"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// answering has the target and the verification of answers to a mail.
type answering struct{ target Target }

// Verify implements services.Verifier.
func (a answering) Verify(ctx context.Context, g *graph.Client, attempt services.Attempt) (any, bool, error) {
	return verify(ctx, g, a.target.Mailbox, attempt)
}

// Reply answers a mail.
type Reply struct {
	answering
	all bool

	MessageID     string `json:"message_id" required:"true" doc:"Id of the mail, as in the list."`
	Message       string `json:"message" required:"true" doc:"The text."`
	MessageIsHTML bool   `json:"message_is_html" doc:"Whether the text is HTML."`
}

// Validate returns an error for values that Graph would refuse.
func (r *Reply) Validate() error { return checkID(r.MessageID) }

// Execute implements services.Request.
func (r *Reply) Execute(ctx context.Context, g *graph.Client, a services.Attempt) (any, error) {
	if err := limit(ctx, g); err != nil {
		return nil, err
	}
	o := mail.Outgoing{Body: mail.Body{Content: r.Message, HTML: r.MessageIsHTML}, Key: a.ID}
	return Sent{}, r.target.Mailbox.Reply(ctx, g, r.MessageID, r.all, o)
}

// Forward sends a mail on.
type Forward struct {
	answering

	MessageID     string   `json:"message_id" required:"true" doc:"Id of the mail, as in the list."`
	To            []string `json:"to" required:"true" doc:"Addresses of the recipients."`
	Cc            []string `json:"cc" doc:"Addresses that get a copy."`
	Bcc           []string `json:"bcc" doc:"Addresses that get a blind copy."`
	Message       string   `json:"message" doc:"The text before the mail."`
	MessageIsHTML bool     `json:"message_is_html" doc:"Whether the text is HTML."`
}

// Validate returns an error for values that Graph would refuse.
func (r *Forward) Validate() error {
	if err := checkID(r.MessageID); err != nil {
		return err
	}
	if len(r.To) == 0 {
		return graph.Invalid("to: want at least one address")
	}
	return checkRecipients(r.To, r.Cc, r.Bcc, nil)
}

// Execute implements services.Request.
func (r *Forward) Execute(ctx context.Context, g *graph.Client, a services.Attempt) (any, error) {
	if err := limit(ctx, g); err != nil {
		return nil, err
	}
	o := mail.Outgoing{Body: mail.Body{Content: r.Message, HTML: r.MessageIsHTML}, To: r.To, Cc: r.Cc, Bcc: r.Bcc, Key: a.ID}
	return Sent{}, r.target.Mailbox.Forward(ctx, g, r.MessageID, o)
}
