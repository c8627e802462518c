package htmltext

import (
	"strings"

	nethtml "golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// Clean returns the content of the body of an HTML document without scripts, styles, forms and everything else that runs, loads or
// affects the layout: elements keep only the addresses of links and of embedded pictures, and the size of table cells. The result
// has at most about most bytes; the rest is left out.
func Clean(markup string, most int) string {
	document, err := nethtml.Parse(strings.NewReader(markup))
	if err != nil {
		return ""
	}
	c := cleaner{left: most}
	c.node(document)
	return strings.TrimSpace(c.text.String())
}

type cleaner struct {
	text strings.Builder
	left int // bytes
}

func (c *cleaner) write(s string) {
	c.text.WriteString(s)
	c.left -= len(s)
}

func (c *cleaner) children(n *nethtml.Node) {
	for child := n.FirstChild; child != nil && c.left > 0; child = child.NextSibling {
		c.node(child)
	}
}

func (c *cleaner) node(n *nethtml.Node) {
	switch n.Type {
	case nethtml.DocumentNode:
		c.children(n)
		return
	case nethtml.TextNode:
		text := n.Data
		if len(text) > c.left {
			text = strings.ToValidUTF8(text[:max(c.left, 0)], "") + "…"
		}
		c.write(nethtml.EscapeString(text))
		return
	case nethtml.ElementNode:
	default:
		return
	}
	switch n.DataAtom {
	case atom.Html, atom.Body, atom.Form, atom.Font, atom.Span, atom.Center:
		c.children(n)
		return
	case atom.A, atom.Abbr, atom.Address, atom.Article, atom.Aside, atom.B, atom.Blockquote, atom.Br, atom.Caption, atom.Code, atom.Col, atom.Colgroup,
		atom.Dd, atom.Del, atom.Div, atom.Dl, atom.Dt, atom.Em, atom.Figcaption, atom.Figure, atom.Footer, atom.H1, atom.H2, atom.H3, atom.H4, atom.H5,
		atom.H6, atom.Header, atom.Hr, atom.I, atom.Img, atom.Ins, atom.Li, atom.Main, atom.Mark, atom.Ol, atom.P, atom.Pre, atom.Q, atom.S, atom.Section,
		atom.Small, atom.Strong, atom.Sub, atom.Sup, atom.Table, atom.Tbody, atom.Td, atom.Tfoot, atom.Th, atom.Thead, atom.Tr, atom.U, atom.Ul:
	case atom.Head, atom.Script, atom.Style, atom.Template, atom.Title, atom.Noscript, atom.Iframe, atom.Object, atom.Embed, atom.Svg, atom.Math,
		atom.Audio, atom.Video, atom.Button, atom.Input, atom.Select, atom.Textarea, atom.Link, atom.Meta, atom.Base:
		return
	default: // such as <o:p> of Word
		c.children(n)
		return
	}
	tag := "<" + n.Data
	for _, a := range n.Attr {
		if keeps(n.DataAtom, a) {
			tag += " " + a.Key + `="` + nethtml.EscapeString(a.Val) + `"`
		}
	}
	c.write(tag + ">")
	switch n.DataAtom {
	case atom.Br, atom.Hr, atom.Img, atom.Col:
		return
	}
	c.children(n)
	c.write("</" + n.Data + ">")
}

// keeps reports whether an attribute is harmless and carries content.
func keeps(element atom.Atom, a nethtml.Attribute) bool {
	scheme, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(a.Val)), ":")
	switch a.Key {
	case "href":
		return element == atom.A && (scheme == "https" || scheme == "http" || scheme == "mailto" || scheme == "tel")
	case "src":
		return element == atom.Img && (scheme == "https" || scheme == "cid")
	case "alt":
		return element == atom.Img
	case "colspan", "rowspan":
		return element == atom.Td || element == atom.Th
	case "dir", "lang":
		return true
	}
	return false
}
