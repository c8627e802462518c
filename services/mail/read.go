package mail

import (
	"context"
	"hash/fnv"
	"slices"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/mail"
	"github.com/graph2mqtt/graph2mqtt/internal/schema"
	"github.com/graph2mqtt/graph2mqtt/services"
)

const (
	defaultLimit = 25
	maxLimit     = 200
	// maxText and maxHeaders bound the text and the headers of a mail in bytes of JSON.
	maxText    = 250_000
	maxHeaders = 64_000
	// maxSeen bounds the mails of one second that a position names.
	maxSeen = 256
)

// Names of operations that Mail.ReadBasic does not allow.
const (
	SearchMails     = "search"
	ListAttachments = "attachments"
)

// readOperations returns the operations that change nothing. None of them needs another permission than the sensor that shows the
// mails.
func readOperations(t Target) []services.Operation {
	permissions := []graph.Permission{t.Mailbox.ReadPermission()}
	all := []services.Operation{
		{
			Name: "list", Doc: "Lists the mails of a period as `mails`, each as in the attribute `data`, the newest first. The sensor's filters do not apply.",
			Permissions: permissions, Reads: true, Paged: true, Example: `{"start": "2026-11-01", "limit": 10}`, Returns: mailsFields(), New: func() services.Request { return &List{target: t, Limit: defaultLimit} },
		},
		{
			Name: "get", Doc: "Returns one mail with its complete text.",
			Permissions: permissions, Reads: true, Example: `{"message_id": "AAkA…"}`, Returns: detailFields(), New: func() services.Request { return &Get{target: t} },
		},
	}
	if t.Mailbox.Basic {
		return all // Mail.ReadBasic allows neither searching nor attachments
	}
	return append(all,
		services.Operation{
			Name: SearchMails, Doc: "Searches subject, text, attachments and people like the search in Outlook. Exchange finds at most the 1,000 newest mails.",
			Permissions: permissions, Reads: true, Paged: true, Example: `{"query": "lunch"}`, Returns: mailsFields(), New: func() services.Request { return &Search{target: t, Limit: defaultLimit} },
		},
		services.Operation{
			Name: ListAttachments, Doc: "Lists the attachments of a mail as `attachments`, each as in the attribute `attachment_info`, without their content.",
			Permissions: permissions, Reads: true, Paged: true, Example: `{"message_id": "AAkA…"}`, Returns: []schema.Field{{Key: "attachments", Type: "list of objects", Doc: "Attachments, each as in the attribute attachment_info."}}, New: func() services.Request { return &Attachments{target: t} },
		},
		services.Operation{
			Name: AttachmentContent, Doc: "Returns the content of an attachment in base64, in pages of 192 KiB. An attached mail is returned as an .eml file. Attachments that are links have no content.",
			Permissions: permissions, Reads: true, Paged: true, Optional: true, Example: `{"message_id": "AAkA…", "attachment_id": "AAtt…"}`, Returns: contentFields(), New: func() services.Request { return &Content{target: t} },
		},
	)
}

// Mails is the answer to List and Search.
type Mails struct {
	Mails    []map[string]any `json:"mails"`
	Complete bool             `json:"complete"`
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

	Start    string `json:"start" doc:"Only mails received at this time or later: a time, in the account's time zone unless an offset is given, or a date."`
	End      string `json:"end" doc:"Only mails received before this time, like start."`
	Folder   string `json:"folder" doc:"The folder, as in the sensor's option; all: the whole mailbox. Default: the sensor's."`
	From     string `json:"from" doc:"Only mails from this address."`
	IsUnread *bool  `json:"is_unread" doc:"Only unread mails, or with false only read ones."`
	Limit    int    `json:"limit" doc:"Maximum number of mails on a page, 1 to 200. Default: 25."`
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
	at := new(listPosition)
	if err := a.Resume(at); err != nil {
		return nil, err
	}
	if !at.Second.IsZero() {
		if next := at.Second.Add(time.Second); f.Before.IsZero() || next.Before(f.Before) {
			f.Before = next
		}
	}
	l, err := r.target.Mailbox.ListFrom(ctx, g, folder, f, at.Skip, r.Limit+len(at.Seen))
	if err != nil {
		return nil, err
	}
	page, last, err := newPage(l.Messages, at.Seen, r.Limit, a.Now.Location())
	if err != nil {
		return nil, err
	}
	more := last+1 < len(l.Messages) || at.Skip+len(l.Messages) < l.Count
	if !more || last < 0 {
		return page.result(nil), nil
	}
	return page.result(at.after(l.Messages[:last+1])), nil
}

// A listPosition names the beginning of the next page of List. Mails are not counted, because they may leave the folder meanwhile: the page
// begins with the second in which the last mail was received.
type listPosition struct {
	Second time.Time `json:"t"`           // zero: the first page
	Seen   []uint64  `json:"i"`           // hashes of the mails of that second that were returned
	Skip   int       `json:"n,omitempty"` // how many more of that second were returned
}

// after returns the position after mails that begin at p.
func (p *listPosition) after(messages []mail.Message) *listPosition {
	next := &listPosition{Second: messages[len(messages)-1].Received.Truncate(time.Second)}
	if next.Second.Equal(p.Second) {
		next.Skip = p.Skip
	}
	for _, m := range messages {
		if !m.Received.Before(next.Second) && m.Received.Before(next.Second.Add(time.Second)) {
			next.Seen = append(next.Seen, idHash(m.ID))
		}
	}
	if n := len(next.Seen) - maxSeen; n > 0 {
		next.Skip, next.Seen = next.Skip+n, next.Seen[n:]
	}
	return next
}

func idHash(id string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(id)) // never fails
	return h.Sum64()
}

// A mailPage is a page of List or Search.
type mailPage struct {
	services.PageItems[map[string]any]
}

// newPage returns a page of the first messages that are not among those seen, up to limit, and the index of the last one that is on it
// or was seen; -1 if there is none.
func newPage(messages []mail.Message, seen []uint64, limit int, loc *time.Location) (page mailPage, last int, err error) {
	page.All, last = []map[string]any{}, -1
	for i, m := range messages {
		if !slices.Contains(seen, idHash(m.ID)) {
			if len(page.All) == limit {
				break
			}
			if ok, err := page.Add(m.Item(loc)); err != nil || !ok {
				return page, last, err
			}
		}
		last = i
	}
	return page, last, nil
}

func (p mailPage) result(next any) services.Page {
	return services.Page{Value: Mails{p.All, next == nil}, Next: next}
}

// Search searches mails.
type Search struct {
	target Target

	Query  string `json:"query" required:"true" doc:"Words to search for, or conditions such as subject:bill."`
	Folder string `json:"folder" doc:"The folder, as in the sensor's option; all: the whole mailbox. Default: the sensor's."`
	Limit  int    `json:"limit" doc:"Maximum number of mails on a page, 1 to 200. Default: 25."`
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
	at := searchPosition{Mailbox: r.target.Mailbox.Address}
	if err := a.Resume(&at); err != nil {
		return nil, err
	}
	if at.Mailbox != r.target.Mailbox.Address { // the configuration was changed
		return nil, services.InvalidCursor()
	}
	found, link, err := r.target.Mailbox.Search(ctx, g, folder, r.Query, at.Link, r.Limit)
	if err != nil {
		return nil, err
	}
	page, last, err := newPage(found, at.Seen, r.Limit, a.Now.Location())
	switch {
	case err != nil:
		return nil, err
	case last+1 < len(found): // the rest of it fits on the next page
		link = at.Link
	case link == "":
		return page.result(nil), nil
	}
	next := searchPosition{Mailbox: at.Mailbox, Link: link}
	for _, m := range found[:last+1] {
		next.Seen = append(next.Seen, idHash(m.ID))
	}
	return page.result(next), nil
}

// A searchPosition names the beginning of the next page of Search.
type searchPosition struct {
	Mailbox string   `json:"m"`
	Link    string   `json:"l"` // of Graph; "": the first page
	Seen    []uint64 `json:"i"` // hashes of the mails of the page before: a mail that arrives moves others to the next page
}

// Get returns one mail.
type Get struct {
	target Target

	MessageID string `json:"message_id" required:"true" doc:"Id of the mail, as in the list."`
	Headers   bool   `json:"headers" doc:"Also return the Internet message headers."`
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
		item["body"] = bounded(d.Body.Text(maxText), maxText)
	}
	if r.Headers {
		size := 0
		item["headers"] = slices.DeleteFunc(d.Headers, func(h mail.Header) bool {
			size += encodedLength(h.Name) + encodedLength(h.Value) + len(`{"name":"","value":""},`)
			return size > maxHeaders
		})
	}
	return item, nil
}

// bounded shortens a text to at most a number of bytes in JSON.
func bounded(text string, most int) string {
	if encodedLength(text) <= most {
		return text
	}
	most -= len("…")
	for i, c := range text {
		if most -= encodedLength(string(c)); most < 0 {
			return text[:i] + "…"
		}
	}
	return text
}

// Attachments lists the attachments of a mail.
type Attachments struct {
	target Target

	MessageID string `json:"message_id" required:"true" doc:"Id of the mail, as in the list."`
}

// Validate returns an error for values that Graph would refuse.
func (r *Attachments) Validate() error { return checkID(r.MessageID) }

// Execute implements services.Request.
func (r *Attachments) Execute(ctx context.Context, g *graph.Client, a services.Attempt) (any, error) {
	listed, err := r.target.Mailbox.Attachments(ctx, g, r.MessageID)
	if err != nil {
		return nil, err
	}
	first := 0
	if err := a.Resume(&first); err != nil {
		return nil, err
	}
	page, next := services.PageItems[map[string]any]{All: []map[string]any{}}, min(first, len(listed))
	for ; next < len(listed); next++ {
		ok, err := page.Add(listed[next].Item())
		if err != nil {
			return nil, err
		}
		if !ok {
			break
		}
	}
	result := services.Page{Value: map[string]any{"attachments": page.All}}
	if next < len(listed) {
		result.Next = next
	}
	return result, nil
}

// mailsFields documents the answer of List and Search.
func mailsFields() []schema.Field {
	return []schema.Field{
		{Key: "mails", Type: "list of objects", Doc: "Mails, each as in the attribute data, without its text."},
		{Key: "complete", Type: "true or false", Doc: "Whether this is the last page."},
	}
}

// ItemFields documents a mail as [mail.Message.Item] returns it.
func ItemFields() []schema.Field {
	return []schema.Field{
		{Key: "message_id", Type: "text", Doc: "Id. It does not change when the mail is moved."},
		{Key: "subject", Type: "text", Doc: "Subject."},
		{Key: "received", Type: "time", Doc: "When it was received."},
		{Key: "to", Type: "list of text", Doc: "Addresses of the recipients."},
		{Key: "cc", Type: "list of text", Doc: "Addresses that got a copy."},
		{Key: "sender", Type: "text", Doc: "Address of the sender."},
		{Key: "sender_name", Type: "text", Doc: "Name of the sender."},
		{Key: "has_attachments", Type: "true or false", Doc: "Whether the mail has attachments."},
		{Key: "importance", Type: "text", Doc: "Importance: `low`, `normal` or `high`."},
		{Key: "is_read", Type: "true or false", Doc: "Whether the mail was read."},
		{Key: "flag", Type: "object", Doc: "Follow-up flag.", Fields: []schema.Field{
			{Key: "is_flagged", Type: "true or false", Doc: "Whether the flag is set."},
			{Key: "is_completed", Type: "true or false", Doc: "Whether the flag is marked as complete."},
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
		schema.Field{Key: "body", Type: "text", Doc: "The complete text."},
		schema.Field{Key: "headers", Type: "list of objects", Doc: "Name and value of each header; missing if not requested."},
	)
}
