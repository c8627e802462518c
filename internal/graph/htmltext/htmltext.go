// Package htmltext turns the HTML of mails, events and replies into text, and text into HTML.
package htmltext

import (
	"html"
	"regexp"
	"strings"

	nethtml "golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

var tag = regexp.MustCompile(`(?i)<(?:!doctype|html|body|p|br|div|span|b|i|u|strong|em|a|ul|ol|li|table|font|h[1-6])(?:\s[^>]*)?/?>`)

// IsHTML reports whether a text from a user is HTML. Home Assistant's integrations accept both without a field that says which.
func IsHTML(s string) bool { return tag.MatchString(s) }

// FromText returns the HTML of a text with the same line breaks.
func FromText(s string) string {
	return strings.ReplaceAll(html.EscapeString(strings.ReplaceAll(s, "\r\n", "\n")), "\n", "<br>")
}

// Text returns the text that a browser would show for an HTML document or fragment, much like the property innerText: blocks begin
// on a line of their own, paragraphs after an empty line, links are followed by their address.
func Text(markup string) string {
	document, err := nethtml.Parse(strings.NewReader(markup))
	if err != nil {
		return ""
	}
	var w writer
	w.node(document, false)
	lines := strings.Split(w.text.String(), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimSpace(line)
	}
	return strings.TrimSpace(gap.ReplaceAllString(strings.Join(lines, "\n"), "\n\n"))
}

var gap = regexp.MustCompile(`\n{3,}`)

// A writer collects the text. Line breaks between blocks are due until something follows.
type writer struct {
	text  strings.Builder
	due   int  // line breaks
	space bool // is due
}

func (w *writer) node(n *nethtml.Node, pre bool) {
	switch n.Type {
	case nethtml.TextNode:
		w.write(n.Data, pre)
		return
	case nethtml.CommentNode, nethtml.DoctypeNode:
		return
	}
	breaks := 0
	switch n.DataAtom {
	case atom.Head, atom.Script, atom.Style, atom.Template, atom.Title, atom.Noscript:
		return
	case atom.Br:
		w.flush()
		w.text.WriteByte('\n')
		return
	case atom.P, atom.H1, atom.H2, atom.H3, atom.H4, atom.H5, atom.H6:
		breaks = 2
	case atom.Pre:
		breaks, pre = 1, true
	case atom.Address, atom.Article, atom.Aside, atom.Blockquote, atom.Center, atom.Div, atom.Dl, atom.Dt, atom.Dd, atom.Fieldset, atom.Footer, atom.Form,
		atom.Header, atom.Hr, atom.Li, atom.Main, atom.Nav, atom.Ol, atom.Section, atom.Table, atom.Tr, atom.Ul:
		breaks = 1
	case atom.Td, atom.Th:
		w.space = true
	}
	if n.Data == "emoji" { // of a message in Teams
		for _, a := range n.Attr {
			if a.Key == "alt" {
				w.write(a.Val, false)
			}
		}
		return
	}
	w.due = max(w.due, breaks)
	start := w.text.Len()
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		w.node(c, pre)
	}
	if n.DataAtom == atom.A {
		w.address(n, strings.TrimSpace(w.text.String()[min(start, w.text.Len()):]))
	}
	w.due = max(w.due, breaks)
}

// address writes where a link leads, unless its text says so.
func (w *writer) address(n *nethtml.Node, text string) {
	for _, a := range n.Attr {
		if a.Key != "href" || a.Val == "" || strings.HasPrefix(a.Val, "#") {
			continue
		}
		if _, plain, _ := strings.Cut(a.Val, ":"); text != a.Val && text != plain && text != strings.TrimPrefix(plain, "//") {
			w.space = w.space || text != ""
			w.write("<"+a.Val+">", true)
		}
	}
}

func (w *writer) write(s string, pre bool) {
	if pre {
		if s != "" {
			w.flush()
			w.text.WriteString(strings.ReplaceAll(s, "\r\n", "\n"))
		}
		return
	}
	for _, r := range s {
		switch r {
		case ' ', '\t', '\n', '\r', '\f':
			w.space = true
			continue
		case '\u00a0':
			r = ' '
		}
		w.flush()
		w.text.WriteRune(r)
	}
}

// flush writes the line breaks or the space that is due.
func (w *writer) flush() {
	written := w.text.String()
	switch {
	case w.text.Len() == 0:
	case w.due > 0:
		for range w.due - trailing(written) {
			w.text.WriteByte('\n')
		}
	case w.space && !strings.HasSuffix(written, "\n"):
		w.text.WriteByte(' ')
	}
	w.due, w.space = 0, false
}

// trailing returns how many line breaks a text ends with.
func trailing(s string) int { return len(s) - len(strings.TrimRight(s, "\n")) }
