package mail

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

// A Message is a mail without its body.
type Message struct {
	ID             string // immutable: it stays when the mail is moved
	ChangeKey      string
	ConversationID string
	Subject        string
	Preview        string
	WebLink        string
	Importance     string // low, normal, high, or one that Microsoft added since
	Received       time.Time
	From           Address
	To, Cc         []Address
	HasAttachments bool
	Read           bool
	Flag           Flag
	Categories     []string
}

// An Address is a sender or recipient.
type Address struct{ Name, Address string }

// A Flag is Outlook's follow-up flag.
type Flag struct {
	Status         string // notFlagged, flagged or complete, or one that Microsoft added since
	Due, Completed string // dates; "": none
}

// Equal reports whether m and o are equal in everything that is shown.
func (m Message) Equal(o Message) bool {
	return m.ID == o.ID && m.ChangeKey == o.ChangeKey && m.ConversationID == o.ConversationID && m.Subject == o.Subject && m.Preview == o.Preview &&
		m.WebLink == o.WebLink && m.Importance == o.Importance && m.Received.Equal(o.Received) && m.From == o.From && slices.Equal(m.To, o.To) &&
		slices.Equal(m.Cc, o.Cc) && m.HasAttachments == o.HasAttachments && m.Read == o.Read && m.Flag == o.Flag && slices.Equal(m.Categories, o.Categories)
}

// messageFields are the properties of a Message. Mail.ReadBasic gives no preview.
func messageFields(basic bool) []string {
	fields := []string{
		"id", "changeKey", "conversationId", "subject", "webLink", "importance", "receivedDateTime", "from", "sender", "toRecipients", "ccRecipients",
		"hasAttachments", "isRead", "flag", "categories",
	}
	if !basic {
		fields = append(fields, "bodyPreview")
	}
	return fields
}

type recipientDTO struct {
	EmailAddress *struct {
		Name    string `json:"name"`
		Address string `json:"address"`
	} `json:"emailAddress"`
}

// messageDTO is the part of a message that is read. Null or missing parts stay zero.
type messageDTO struct {
	ID             string         `json:"id"`
	ChangeKey      string         `json:"changeKey"`
	ConversationID string         `json:"conversationId"`
	Subject        string         `json:"subject"`
	Preview        string         `json:"bodyPreview"`
	WebLink        string         `json:"webLink"`
	Importance     string         `json:"importance"`
	Received       string         `json:"receivedDateTime"`
	From           *recipientDTO  `json:"from"`
	Sender         *recipientDTO  `json:"sender"`
	To             []recipientDTO `json:"toRecipients"`
	Cc             []recipientDTO `json:"ccRecipients"`
	HasAttachments bool           `json:"hasAttachments"`
	Read           bool           `json:"isRead"`
	Flag           struct {
		Status    string                  `json:"flagStatus"`
		Due       *graph.DateTimeTimeZone `json:"dueDateTime"`
		Completed *graph.DateTimeTimeZone `json:"completedDateTime"`
	} `json:"flag"`
	Categories []string `json:"categories"`
	Body       *bodyDTO `json:"body"`
}

func (d messageDTO) message(op string) (Message, error) {
	if d.ID == "" {
		return Message{}, graph.Incomplete(op, "id of a mail")
	}
	m := Message{
		ID: d.ID, ChangeKey: d.ChangeKey, ConversationID: d.ConversationID, Subject: d.Subject, Preview: d.Preview, WebLink: d.WebLink,
		Importance: d.Importance, From: d.From.address(), To: addresses(d.To), Cc: addresses(d.Cc), HasAttachments: d.HasAttachments, Read: d.Read,
		Flag: Flag{Status: d.Flag.Status, Due: date(d.Flag.Due), Completed: date(d.Flag.Completed)}, Categories: d.Categories,
	}
	if m.From == (Address{}) {
		m.From = d.Sender.address()
	}
	if t, err := time.Parse(time.RFC3339, d.Received); err == nil && t.Year() > 1 {
		m.Received = t.UTC()
	}
	return m, nil
}

func (r *recipientDTO) address() Address {
	if r == nil || r.EmailAddress == nil {
		return Address{}
	}
	return Address{r.EmailAddress.Name, r.EmailAddress.Address}
}

func addresses(rs []recipientDTO) []Address {
	var all []Address
	for _, r := range rs {
		if a := r.address(); a != (Address{}) {
			all = append(all, a)
		}
	}
	return all
}

// date returns the day of a flag, as written: Outlook's flags have no hours.
func date(d *graph.DateTimeTimeZone) string {
	if d == nil {
		return ""
	}
	s, _ := d.Date() // a date that cannot be read is shown as none
	return s
}

// A Filter selects mails. The zero Filter selects all.
type Filter struct {
	Unread          *bool
	From            string // an address
	HasAttachments  *bool
	Importance      string
	SubjectContains string
	SubjectIs       string
	After           time.Time // received then or later; zero: at any time
	Before          time.Time // received before; zero: at any time
}

// IsZero reports whether f selects all mails.
func (f Filter) IsZero() bool { return f == Filter{} }

// String returns the expression for $filter, which lets Graph sort by the time of receipt, or "".
//
// https://learn.microsoft.com/graph/api/user-list-messages#using-filter-and-orderby-in-the-same-query
func (f Filter) String() string {
	if f.IsZero() {
		return ""
	}
	after := f.After
	if after.IsZero() {
		after = time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	// The property to sort by must come first, or Graph answers InefficientFilter.
	parts := []string{"receivedDateTime ge " + after.UTC().Format(time.RFC3339)}
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	if !f.Before.IsZero() {
		add("receivedDateTime lt %s", f.Before.UTC().Format(time.RFC3339))
	}
	if f.Unread != nil {
		add("isRead eq %t", !*f.Unread)
	}
	if f.From != "" {
		add("from/emailAddress/address eq %s", literal(f.From))
	}
	if f.HasAttachments != nil {
		add("hasAttachments eq %t", *f.HasAttachments)
	}
	if f.Importance != "" {
		add("importance eq %s", literal(f.Importance))
	}
	if f.SubjectContains != "" {
		add("contains(subject,%s)", literal(f.SubjectContains))
	}
	if f.SubjectIs != "" {
		add("subject eq %s", literal(f.SubjectIs))
	}
	return strings.Join(parts, " and ")
}

// literal returns s as a string of OData.
func literal(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// A List is the beginning of the mails of a folder, newest first.
type List struct {
	Messages []Message
	Count    int // how many there are in all
}

type page struct {
	Value []messageDTO `json:"value"`
	Next  string       `json:"@odata.nextLink"`
	Count *int         `json:"@odata.count"`
}

// maxTop is the size of the largest page.
//
// https://learn.microsoft.com/graph/api/user-list-messages
const maxTop = 1000

// maxPages bounds the pages of one list: there is no end to pages without a mail.
const maxPages = 500

func endless(op string) error {
	return &graph.Error{Reason: graph.Refused, Op: op, Err: fmt.Errorf("the answer has more than %d pages", maxPages)}
}

// AllFolders stands for the folder that has all mails of the mailbox.
const AllFolders = "all"

// List returns up to most mails of the folder with this id that f selects, newest first, and counts all that it selects. Without a
// filter Count is the number of all mails.
func (m Mailbox) List(ctx context.Context, g *graph.Client, folder string, f Filter, most int) (List, error) {
	return m.ListFrom(ctx, g, folder, f, 0, most)
}

// ListFrom is List without the newest mails, as many as skip. They are counted as well.
func (m Mailbox) ListFrom(ctx context.Context, g *graph.Client, folder string, f Filter, skip, most int) (List, error) {
	const op = "list the mails"
	query := m.query(f, most, messageFields(m.Basic))
	query.Count = new(true)
	if skip > 0 {
		query.Skip = new(int32(skip))
	}
	p, err := m.page(ctx, g, op, folder, query)
	switch {
	case err != nil:
		return List{}, m.explain(g, err)
	case p.Value == nil:
		return List{}, graph.Incomplete(op, "list")
	case p.Count == nil:
		return List{}, graph.Incomplete(op, "count")
	}
	messages, err := m.collect(ctx, g, op, p, most)
	return List{messages, *p.Count}, err
}

// Search returns one page with up to most mails of the folder with this id that Exchange's search finds, newest first, and the link
// to the next page, which is "" on the last one. It finds at most 1,000. link is "" for the first page.
//
// https://learn.microsoft.com/graph/search-query-parameter
func (m Mailbox) Search(ctx context.Context, g *graph.Client, folder, words, link string, most int) (found []Message, next string, err error) {
	const op = "search the mails"
	p, err := m.searchPage(ctx, g, op, folder, words, link, most)
	switch {
	case err != nil:
		return nil, "", m.explain(g, err)
	case p.Value == nil:
		return nil, "", graph.Incomplete(op, "list")
	}
	for _, d := range p.Value {
		message, err := d.message(op)
		if err != nil {
			return nil, "", err
		}
		found = append(found, message)
	}
	slices.SortStableFunc(found, func(a, b Message) int { return b.Received.Compare(a.Received) })
	return found, p.Next, nil
}

func (m Mailbox) searchPage(ctx context.Context, g *graph.Client, op, folder, words, link string, most int) (page, error) {
	if link != "" {
		var p page
		err := graph.Follow(ctx, g, op, link, headers(), &p)
		return p, err
	}
	search := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(words) + `"`
	return m.page(ctx, g, op, folder, &users.ItemMailFoldersItemMessagesRequestBuilderGetQueryParameters{
		Select: messageFields(m.Basic), Top: new(int32(min(most, maxTop))), Search: &search, // Graph refuses to sort what it searched for
	})
}

// page reads the first page of the mails of a folder.
func (m Mailbox) page(ctx context.Context, g *graph.Client, op, folder string, query *users.ItemMailFoldersItemMessagesRequestBuilderGetQueryParameters) (page, error) {
	if folder != AllFolders {
		return graph.Get[page](ctx, g, op, m.messages(g, folder).ToGetRequestInformation,
			&users.ItemMailFoldersItemMessagesRequestBuilderGetRequestConfiguration{Headers: headers(), QueryParameters: query})
	}
	return graph.Get[page](ctx, g, op, m.user(g).Messages().ToGetRequestInformation, &users.ItemMessagesRequestBuilderGetRequestConfiguration{
		Headers: headers(), QueryParameters: &users.ItemMessagesRequestBuilderGetQueryParameters{
			Count: query.Count, Filter: query.Filter, Orderby: query.Orderby, Search: query.Search, Select: query.Select, Skip: query.Skip, Top: query.Top,
		},
	})
}

// collect returns the mails of a page and of those that follow it, up to most.
func (m Mailbox) collect(ctx context.Context, g *graph.Client, op string, p page, most int) ([]Message, error) {
	all := []Message{}
	seen := map[string]bool{} // a mail that arrives meanwhile moves others to the next page
	links := map[string]bool{}
	for {
		if p.Value == nil {
			return nil, graph.Incomplete(op, "list")
		}
		for _, d := range p.Value {
			message, err := d.message(op)
			if err != nil {
				return nil, err
			}
			if !seen[message.ID] && len(all) < most {
				seen[message.ID] = true
				all = append(all, message)
			}
		}
		if p.Next == "" || len(all) >= most || links[p.Next] {
			return all, nil
		}
		if links[p.Next] = true; len(links) == maxPages {
			return nil, endless(op)
		}
		link := p.Next
		p = page{}
		if err := graph.Follow(ctx, g, op, link, headers(), &p); err != nil {
			return nil, m.explain(g, err)
		}
	}
}

func (m Mailbox) messages(g *graph.Client, folder string) *users.ItemMailFoldersItemMessagesRequestBuilder {
	return m.user(g).MailFolders().ByMailFolderId(folder).Messages()
}

func (m Mailbox) query(f Filter, most int, fields []string) *users.ItemMailFoldersItemMessagesRequestBuilderGetQueryParameters {
	query := &users.ItemMailFoldersItemMessagesRequestBuilderGetQueryParameters{
		Select: fields, Top: new(int32(min(most, maxTop))), Orderby: []string{"receivedDateTime desc"},
	}
	if filter := f.String(); filter != "" {
		query.Filter = &filter
	}
	return query
}

// A Detail is a mail with the parts that are read for a single mail only.
type Detail struct {
	Message
	Body    Body
	Headers []Header // nil: not requested
}

// A Header is a header of the Internet: "Received".
type Header struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// ReadDetail returns the mail with this id with its text and, if wanted, its headers. Mail.ReadBasic gives no text.
func (m Mailbox) ReadDetail(ctx context.Context, g *graph.Client, id string, withHeaders bool) (Detail, error) {
	const op = "read the mail"
	fields := messageFields(m.Basic)
	if !m.Basic {
		fields = append(fields, "body")
	}
	if withHeaders {
		fields = append(fields, "internetMessageHeaders")
	}
	d, err := graph.Get[struct {
		messageDTO
		Headers []Header `json:"internetMessageHeaders"`
	}](ctx, g, op, m.user(g).Messages().ByMessageId(id).ToGetRequestInformation, &users.ItemMessagesMessageItemRequestBuilderGetRequestConfiguration{
		Headers: headers(), QueryParameters: &users.ItemMessagesMessageItemRequestBuilderGetQueryParameters{Select: fields},
	})
	if err != nil {
		return Detail{}, m.explain(g, err)
	}
	message, err := d.message(op)
	detail := Detail{Message: message, Body: d.Body.body()}
	if withHeaders {
		detail.Headers = append([]Header{}, d.Headers...)
	}
	return detail, err
}

// Read returns the mail with this id, wherever it is in the mailbox, and the id of its folder.
func (m Mailbox) Read(ctx context.Context, g *graph.Client, id string) (message Message, folder string, err error) {
	const op = "read the mail"
	d, err := graph.Get[struct {
		messageDTO
		Folder string `json:"parentFolderId"`
	}](ctx, g, op, m.user(g).Messages().ByMessageId(id).ToGetRequestInformation, &users.ItemMessagesMessageItemRequestBuilderGetRequestConfiguration{
		Headers: headers(), QueryParameters: &users.ItemMessagesMessageItemRequestBuilderGetQueryParameters{Select: append(messageFields(m.Basic), "parentFolderId")},
	})
	if err != nil {
		return Message{}, "", m.explain(g, err)
	}
	message, err = d.message(op)
	return message, d.Folder, err
}
