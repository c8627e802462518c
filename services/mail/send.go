package mail

import (
	"context"
	"html"
	netmail "net/mail"
	"strings"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/directory"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/htmltext"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/mail"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// SendRequest sends a mail.
type SendRequest struct {
	target Target
	large  bool // it may have any size

	To             []string `json:"to" doc:"Addresses of the recipients. If to, cc and bcc are empty, the mail is sent to yourself."`
	Cc             []string `json:"cc" doc:"Addresses that get a copy."`
	Bcc            []string `json:"bcc" doc:"Addresses that get a blind copy."`
	ReplyTo        []string `json:"reply_to" doc:"Addresses that replies are sent to. Default: the sender."`
	From           string   `json:"from" doc:"Address that the mail is sent from: your own or one of send_as. Default: the owner of the mailbox."`
	Subject        string   `json:"subject" required:"true" doc:"Subject."`
	Message        string   `json:"message" required:"true" doc:"The text."`
	MessageIsHTML  bool     `json:"message_is_html" doc:"Whether the text is HTML."`
	Importance     string   `json:"importance" enum:"low,normal,high" doc:"Importance. Default: normal."`
	Attachments    []string `json:"attachments" doc:"Files to attach: their paths in attachments.directories, or data:TYPE;name=NAME;base64,CONTENT."`
	Photos         []string `json:"photos" doc:"Pictures to show in the text, which becomes HTML: files as in attachments, or http(s) URLs, which the recipients' programs load. They are added after the text, unless it refers to them as cid:NAME."`
	ZipAttachments bool     `json:"zip_attachments" doc:"Attach one archive with the files of attachments."`
	ZipName        string   `json:"zip_name" doc:"Name of the archive. Default: archive.zip."`
	SaveToSent     *bool    `json:"save_to_sent" doc:"Keep a copy in Sent Items. Default: true."`
}

// Validate returns an error for values that Graph would refuse.
func (r *SendRequest) Validate() error {
	if err := checkRecipients(r.To, r.Cc, r.Bcc, r.ReplyTo); err != nil {
		return err
	}
	if err := services.CheckSubject("subject", r.Subject); err != nil {
		return err
	}
	if r.From != "" && !IsAddress(r.From) {
		return graph.Invalid("from: want an address, such as ann@contoso.com, not %s", services.QuoteForError(r.From))
	}
	if r.ZipName != "" && !r.ZipAttachments {
		return graph.Invalid("zip_name: only with zip_attachments")
	}
	if err := checkName("zip_name", r.ZipName); err != nil {
		return err
	}
	_, err := r.files()
	return err
}

// maxRecipients is the largest number of recipients that an administrator can allow; 500 are usual.
//
// https://learn.microsoft.com/office365/servicedescriptions/exchange-online-service-description/exchange-online-limits#recipient-limits
const maxRecipients = 1000

func checkRecipients(to, cc, bcc, replyTo []string) error {
	if n := len(to) + len(cc) + len(bcc); n > maxRecipients {
		return graph.Invalid("to, cc and bcc: want at most %d addresses, not %d", maxRecipients, n)
	}
	if len(replyTo) > maxRecipients {
		return graph.Invalid("reply_to: want at most %d addresses, not %d", maxRecipients, len(replyTo))
	}
	for _, f := range []struct {
		field     string
		addresses []string
	}{{"to", to}, {"cc", cc}, {"bcc", bcc}, {"reply_to", replyTo}} {
		for _, a := range f.addresses {
			if !IsAddress(a) {
				return graph.Invalid("%s: want addresses, such as ann@contoso.com, not %s", f.field, services.QuoteForError(a))
			}
		}
	}
	return nil
}

// IsAddress reports whether s is a mail address and nothing else, such as a name.
func IsAddress(s string) bool {
	a, err := netmail.ParseAddress(s)
	return err == nil && a.Address == s
}

// Execute implements services.Request.
func (r *SendRequest) Execute(ctx context.Context, g *graph.Client, a services.Attempt) (any, error) {
	files, err := r.files()
	if err != nil {
		return nil, err
	}
	if err := r.checkFrom(ctx, g); err != nil {
		return nil, err
	}
	to := r.To
	if len(r.To)+len(r.Cc)+len(r.Bcc) == 0 {
		me, err := directory.SignedIn(ctx, g)
		if err != nil {
			return nil, err
		}
		to = []string{me.Address}
	}
	size, err := files.measure()
	if err != nil {
		return nil, err
	}
	large := false
	recipients := len(to) + len(r.Cc) + len(r.Bcc) + len(r.ReplyTo)
	if (size+2)/3*4+encodedLength(r.Message)+overhead+perRecipient*recipients+perFile*(len(r.Attachments)+len(r.Photos)) > maxRequest {
		if !r.large && !r.target.Large {
			return nil, &services.Error{Code: services.TooLarge, Message: tooLarge(size, len(r.Message))}
		}
		if r.unsaved() {
			return nil, graph.Invalid("save_to_sent: want true, because a mail of this size is always kept in Sent Items")
		}
		large = true
	}
	o := mail.Outgoing{
		Subject: r.Subject, Body: mail.Body{Content: r.Message, HTML: r.MessageIsHTML}, To: to, Cc: r.Cc, Bcc: r.Bcc, ReplyTo: r.ReplyTo, From: r.From,
		Importance: r.Importance, Unsaved: r.unsaved(), Key: a.ID,
	}
	if o.Files, err = files.read(r.ZipAttachments, r.ZipName); err != nil {
		return nil, err
	}
	o.Body = files.illustrate(o.Body)
	if err := limit(ctx, g); err != nil {
		return nil, err
	}
	if large {
		return sendLarge(ctx, g, r.target.Mailbox, o)
	}
	return Sent{}, r.target.Mailbox.Send(ctx, g, o)
}

// encodedLength returns the length of a text in JSON, or somewhat more.
func encodedLength(s string) int {
	n := 0
	for i := range len(s) {
		switch c := s[i]; {
		case c == '<' || c == '>' || c == '&' || c < ' ':
			n += len(`\u003c`)
		case c == '"' || c == '\\':
			n += 2
		case c == 0xe2: // perhaps of a separator of lines, which is escaped
			n += 4
		default:
			n++
		}
	}
	return n
}

func (r *SendRequest) unsaved() bool { return r.SaveToSent != nil && !*r.SaveToSent }

// Verify implements services.Verifier.
func (r *SendRequest) Verify(ctx context.Context, g *graph.Client, a services.Attempt) (any, bool, error) {
	if r.unsaved() {
		return nil, false, nil // there is no copy to be found
	}
	if r.large || r.target.Large {
		return verifyLarge(ctx, g, r.target.Mailbox, a)
	}
	return verify(ctx, g, r.target.Mailbox, a)
}

// checkFrom refuses a sender that the configuration does not name.
func (r *SendRequest) checkFrom(ctx context.Context, g *graph.Client) error {
	if r.From == "" || containsFold(r.target.SendAs, r.From) || strings.EqualFold(r.From, r.target.Mailbox.Address) {
		return nil
	}
	me, err := directory.SignedIn(ctx, g)
	if err != nil {
		return err
	}
	if strings.EqualFold(r.From, me.Address) {
		return nil
	}
	if g.Application() {
		return graph.Invalid("from: want %s: an application sends as the owner of the mailbox only, not as %s", me.Address, services.QuoteForError(r.From))
	}
	if len(r.target.SendAs) == 0 {
		return graph.Invalid("from: want your own address: send_as names no other, not %s", services.QuoteForError(r.From))
	}
	return graph.Invalid("from: want your own address or one of send_as, %s, not %s", strings.Join(r.target.SendAs, ", "), services.QuoteForError(r.From))
}

// illustrate returns the text with the pictures that it does not show yet.
func (s *files) illustrate(b mail.Body) mail.Body {
	if len(s.photos)+len(s.links) == 0 {
		return b
	}
	if !b.HTML {
		b = mail.Body{Content: htmltext.FromText(b.Content), HTML: true}
	}
	var pictures strings.Builder
	for _, p := range s.photos {
		if !strings.Contains(b.Content, "cid:"+p.name) {
			pictures.WriteString(`<br><img src="cid:` + html.EscapeString(p.name) + `">`)
		}
	}
	for _, l := range s.links {
		pictures.WriteString(`<br><img src="` + html.EscapeString(l) + `">`)
	}
	if end := strings.LastIndex(strings.ToLower(b.Content), "</body>"); end >= 0 {
		b.Content = b.Content[:end] + pictures.String() + b.Content[end:]
	} else {
		b.Content += pictures.String()
	}
	return b
}
