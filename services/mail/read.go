package mail

import (
	"context"
	"encoding/json"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/mail"
	"github.com/graph2mqtt/graph2mqtt/internal/schema"
	"github.com/graph2mqtt/graph2mqtt/services"
)

const (
	defaultLimit = 25
	maxLimit     = 200
	// maxAnswer bounds the mails of an answer in bytes of JSON.
	maxAnswer = 500 << 10
	// maxText is the number of characters of a text in an answer.
	maxText = 300_000
)

// readOperations returns the operations that change nothing. None of them needs another permission than the sensor that shows the
// mails.
func readOperations(t Target) []services.Operation {
	permissions := []graph.Permission{t.Mailbox.ReadPermission()}
	all := []services.Operation{
		{
			Name: "list", Doc: "Lists the mails of a span as `mails`, each as in the attribute `data`, the newest first. `complete` says whether these are all; for more, " +
				"ask again with the time of the last one as end. The sensor's filters do not apply.",
			Permissions: permissions, Reads: true, Example: `{"start": "2026-11-01", "limit": 10}`, Returns: mailsFields(), New: func() services.Request { return &List{target: t, Limit: defaultLimit} },
		},
		{
			Name: "get", Doc: "Returns one mail as `list` does, with its whole text.",
			Permissions: permissions, Reads: true, Example: `{"message_id": "AAkA…"}`, Returns: detailFields(), New: func() services.Request { return &Get{target: t} },
		},
	}
	if t.Mailbox.Basic {
		return all // Mail.ReadBasic allows neither searching nor attachments
	}
	return append(all,
		services.Operation{
			Name: "search", Doc: "Searches subject, text, attachments and people as Outlook does, and answers like `list`. Exchange finds at most the 1,000 newest mails.",
			Permissions: permissions, Reads: true, Example: `{"query": "lunch"}`, Returns: mailsFields(), New: func() services.Request { return &Search{target: t, Limit: defaultLimit} },
		},
		services.Operation{
			Name: "attachments", Doc: "Lists the attachments of a mail as `attachments`, each as in the attribute `attachment_info`, without their content.",
			Permissions: permissions, Reads: true, Example: `{"message_id": "AAkA…"}`, Returns: []schema.Field{{Key: "attachments", Type: "list of objects", Doc: "Attachments, each as in the attribute attachment_info."}}, New: func() services.Request { return &Attachments{target: t} },
		},
	)
}

// Mails is the answer to List and Search.
type Mails struct {
	Mails    []map[string]any `json:"mails"`
	Complete bool             `json:"complete"`
}

// newMails returns as many mails as an answer may have.
func newMails(messages []mail.Message, complete bool, loc *time.Location) (Mails, error) {
	answer := Mails{Mails: []map[string]any{}, Complete: complete}
	size := 0
	for _, m := range messages {
		item := m.Item(loc)
		b, err := json.Marshal(item)
		if err != nil {
			return Mails{}, err
		}
		if size += len(b); size > maxAnswer && len(answer.Mails) > 0 {
			answer.Complete = false
			break
		}
		answer.Mails = append(answer.Mails, item)
	}
	return answer, nil
}

// find returns the id of the folder that a request names.
func (t Target) find(ctx context.Context, g *graph.Client, folder string) (string, error) {
	switch folder {
	case mail.AllFolders:
		return folder, nil
	case "":
		folder = t.Folder
	}
	if folder == "" {
		folder = "Inbox"
	}
	f, err := t.Mailbox.FindFolder(ctx, g, folder)
	return f.ID, err
}

func checkList(folder string, limit int) error {
	if folder != "" {
		if _, err := mail.SplitPath(folder); err != nil {
			return graph.Invalid("folder: %s", err.Error())
		}
	}
	if limit < 1 || limit > maxLimit {
		return graph.Invalid("limit: want 1 to %d, not %d", maxLimit, limit)
	}
	return nil
}

// List lists mails.
type List struct {
	target Target

	Start    string `json:"start" doc:"Only mails received then or later: a time, in the account's time zone unless an offset is given, or a date."`
	End      string `json:"end" doc:"Only mails received before, like start."`
	Folder   string `json:"folder" doc:"The folder, as in the sensor's option; all: the whole mailbox. Default: the sensor's."`
	From     string `json:"from" doc:"Only mails from this address."`
	IsUnread *bool  `json:"is_unread" doc:"Only unread mails, or with false only read ones."`
	Limit    int    `json:"limit" doc:"Maximum number of mails, 1 to 200. Default: 25."`
}

// Validate returns an error for values that are wrong in every time zone.
func (r *List) Validate() error {
	if r.From != "" && !IsAddress(r.From) {
		return graph.Invalid("from: want an address, such as ann@contoso.com, not %s", services.QuoteForError(r.From))
	}
	if _, err := r.filter(time.UTC); err != nil {
		return err
	}
	return checkList(r.Folder, r.Limit)
}

func (r *List) filter(loc *time.Location) (f mail.Filter, err error) {
	f.From, f.Unread = r.From, r.IsUnread
	if r.Start != "" {
		if f.After, err = services.ParseTimeOrDate("start", r.Start, loc); err != nil {
			return f, err
		}
	}
	if r.End != "" {
		if f.Before, err = services.ParseTimeOrDate("end", r.End, loc); err != nil {
			return f, err
		}
	}
	if r.Start != "" && r.End != "" && !f.Before.After(f.After) {
		return f, graph.Invalid("end: want a time after start, %s, not %s", services.QuoteForError(r.Start), services.QuoteForError(r.End))
	}
	return f, nil
}

// Execute implements services.Request.
func (r *List) Execute(ctx context.Context, g *graph.Client, a services.Attempt) (any, error) {
	f, err := r.filter(a.Now.Location())
	if err != nil {
		return nil, err
	}
	folder, err := r.target.find(ctx, g, r.Folder)
	if err != nil {
		return nil, err
	}
	l, err := r.target.Mailbox.List(ctx, g, folder, f, r.Limit)
	if err != nil {
		return nil, err
	}
	return newMails(l.Messages, l.Count <= len(l.Messages), a.Now.Location())
}

// Search searches mails.
type Search struct {
	target Target

	Query  string `json:"query" required:"true" doc:"Words to search for, or conditions such as subject:bill."`
	Folder string `json:"folder" doc:"The folder, as in the sensor's option; all: the whole mailbox. Default: the sensor's."`
	Limit  int    `json:"limit" doc:"Maximum number of mails, 1 to 200. Default: 25."`
}

// Validate returns an error for values that Graph would refuse.
func (r *Search) Validate() error {
	if r.Query == "" {
		return graph.Invalid("query: want words to search for")
	}
	return checkList(r.Folder, r.Limit)
}

// Execute implements services.Request.
func (r *Search) Execute(ctx context.Context, g *graph.Client, a services.Attempt) (any, error) {
	folder, err := r.target.find(ctx, g, r.Folder)
	if err != nil {
		return nil, err
	}
	found, err := r.target.Mailbox.Search(ctx, g, folder, r.Query, r.Limit+1) // one more tells whether there are more
	if err != nil {
		return nil, err
	}
	return newMails(found[:min(len(found), r.Limit)], len(found) <= r.Limit, a.Now.Location())
}

// Get returns one mail.
type Get struct {
	target Target

	MessageID string `json:"message_id" required:"true" doc:"Id of the mail, as in the list."`
	Headers   bool   `json:"headers" doc:"Return the headers of the Internet too."`
}

// Validate returns an error for values that Graph would refuse.
func (r *Get) Validate() error { return checkID(r.MessageID) }

// Execute implements services.Request.
func (r *Get) Execute(ctx context.Context, g *graph.Client, a services.Attempt) (any, error) {
	d, err := r.target.Mailbox.ReadDetail(ctx, g, r.MessageID, r.Headers)
	if err != nil {
		return nil, err
	}
	item := d.Item(a.Now.Location())
	item["body"] = nil
	if !r.target.Mailbox.Basic {
		item["body"] = d.Body.Text(maxText)
	}
	if r.Headers {
		item["headers"] = d.Headers
	}
	return item, nil
}

// Attachments lists the attachments of a mail.
type Attachments struct {
	target Target

	MessageID string `json:"message_id" required:"true" doc:"Id of the mail, as in the list."`
}

// Validate returns an error for values that Graph would refuse.
func (r *Attachments) Validate() error { return checkID(r.MessageID) }

// Execute implements services.Request.
func (r *Attachments) Execute(ctx context.Context, g *graph.Client, _ services.Attempt) (any, error) {
	listed, err := r.target.Mailbox.Attachments(ctx, g, r.MessageID)
	if err != nil {
		return nil, err
	}
	all := []map[string]any{}
	for _, a := range listed {
		all = append(all, a.Item())
	}
	return map[string]any{"attachments": all}, nil
}

// mailsFields documents the answer of List and Search.
func mailsFields() []schema.Field {
	return []schema.Field{
		{Key: "mails", Type: "list of objects", Doc: "Mails, each as in the attribute data, without its text."},
		{Key: "complete", Type: "true or false", Doc: "These are all."},
	}
}

// ItemFields documents a mail as [mail.Message.Item] returns it.
func ItemFields() []schema.Field {
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
		{Key: "web_link", Type: "text", Doc: "Address of the mail in Outlook on the web."},
		{Key: "preview", Type: "text", Doc: "Beginning of the text."},
		{Key: "categories", Type: "list of text", Doc: "Categories."},
		{Key: "conversation_id", Type: "text", Doc: "Id that the mails of a conversation share."},
	}
}

// detailFields documents the answer of Get.
func detailFields() []schema.Field {
	var fields []schema.Field
	for _, f := range ItemFields() {
		fields = append(fields, schema.Field{Key: f.Key, Type: f.Type, Doc: "As in the attribute data."})
	}
	return append(fields,
		schema.Field{Key: "body", Type: "text", Doc: "The whole text."},
		schema.Field{Key: "headers", Type: "list of objects", Doc: "Name and value of each header; missing if not asked for."},
	)
}
