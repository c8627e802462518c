package mail

import (
	"context"
	"strings"

	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/htmltext"
)

// MaxBody is the number of characters that are kept of a body.
const MaxBody = 32 << 10

type bodyDTO struct {
	Type    string `json:"contentType"`
	Content string `json:"content"`
}

// A Body holds the text of a mail as it was written.
type Body struct {
	Content string
	HTML    bool
}

// Text returns the body as text, shortened to most characters.
func (b Body) Text(most int) string {
	text := strings.ReplaceAll(b.Content, "\r\n", "\n")
	if b.HTML {
		text = htmltext.Text(b.Content)
	}
	return graph.Truncate(strings.TrimSpace(text), most)
}

// Markup returns the body as HTML without anything that runs, loads or affects the layout (see htmltext.Clean), shortened to most
// characters.
func (b Body) Markup(most int) string {
	if !b.HTML {
		return htmltext.FromText(b.Text(most / 6)) // an escaped character has up to five more
	}
	return htmltext.Clean(b.Content, most)
}

// Contains reports whether the text of the body contains s, ignoring case and differences in white space.
func (b Body) Contains(s string) bool {
	text := b.Content
	if b.HTML {
		text = htmltext.Text(b.Content)
	}
	return strings.Contains(normalize(text), normalize(s))
}

func normalize(s string) string { return strings.ToLower(strings.Join(strings.Fields(s), " ")) }

func (d *bodyDTO) body() Body {
	if d == nil {
		return Body{}
	}
	return Body{d.Content, strings.EqualFold(d.Type, "html")}
}

// ReadBody returns the body of the mail with this id.
func (m Mailbox) ReadBody(ctx context.Context, g *graph.Client, id string) (Body, error) {
	d, err := graph.Get[messageDTO](ctx, g, "read the body of a mail", m.user(g).Messages().ByMessageId(id).ToGetRequestInformation, &users.ItemMessagesMessageItemRequestBuilderGetRequestConfiguration{
		Headers: headers(), QueryParameters: &users.ItemMessagesMessageItemRequestBuilderGetQueryParameters{Select: []string{"body"}},
	})
	return d.Body.body(), m.explain(g, err)
}

// bodiesTop is the size of a page with bodies, one of which may have megabytes.
const bodiesTop = 20

// Scan calls visit with up to most mails of the folder that f selects and their bodies, newest first, until visit returns false.
func (m Mailbox) Scan(ctx context.Context, g *graph.Client, folder string, f Filter, most int, visit func(Message, Body) bool) error {
	const op = "read the bodies of the mails"
	query := m.query(f, min(most, bodiesTop), append(messageFields(m.Basic), "body"))
	p, err := graph.Get[page](ctx, g, op, m.messages(g, folder).ToGetRequestInformation,
		&users.ItemMailFoldersItemMessagesRequestBuilderGetRequestConfiguration{Headers: headers(), QueryParameters: query})
	links := map[string]bool{}
	for visited := 0; ; {
		if err != nil {
			return m.explain(g, err)
		}
		if p.Value == nil {
			return graph.Incomplete(op, "list")
		}
		for _, d := range p.Value {
			message, err := d.message(op)
			if err != nil {
				return err
			}
			if visited++; !visit(message, d.Body.body()) || visited >= most {
				return nil
			}
		}
		if p.Next == "" || links[p.Next] {
			return nil
		}
		if links[p.Next] = true; len(links) == maxPages {
			return endless(op)
		}
		link := p.Next
		p = page{}
		err = graph.Follow(ctx, g, op, link, headers(), &p)
	}
}
