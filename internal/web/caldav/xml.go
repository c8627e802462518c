package caldav

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
)

const (
	davSpace    = "DAV:"
	calSpace    = "urn:ietf:params:xml:ns:caldav"
	serverSpace = "http://calendarserver.org/ns/"
	appleSpace  = "http://apple.com/ns/ical/"
)

const (
	// maxDepth bounds the nesting of a request's elements.
	maxDepth = 32
	// maxNodes bounds the elements of a request: a multiget names each object.
	maxNodes = 20_000
)

// A node is an element of a request.
type node struct {
	name     xml.Name
	attrs    []xml.Attr
	text     strings.Builder // directly in it; there may be many pieces
	children []*node
}

func dav(local string) xml.Name { return xml.Name{Space: davSpace, Local: local} }
func cal(local string) xml.Name { return xml.Name{Space: calSpace, Local: local} }

// parse reads an XML document. Document types, which define entities, are refused. An empty document is nil.
func parse(r io.Reader) (*node, error) {
	d := xml.NewDecoder(r)
	var root *node
	var open []*node
	nodes := 0
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) && len(open) == 0 {
			return root, nil
		}
		if err != nil {
			return nil, fmt.Errorf("want XML: %w", err)
		}
		switch t := token.(type) {
		case xml.Directive:
			return nil, errors.New("want XML without a document type")
		case xml.StartElement:
			if nodes++; nodes > maxNodes || len(open) == maxDepth {
				return nil, fmt.Errorf("want at most %d elements, nested at most %d deep", maxNodes, maxDepth)
			}
			n := &node{name: t.Name, attrs: append([]xml.Attr(nil), t.Attr...)}
			switch {
			case len(open) > 0:
				above := open[len(open)-1]
				above.children = append(above.children, n)
			case root != nil:
				return nil, errors.New("want XML with one root element")
			default:
				root = n
			}
			open = append(open, n)
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			switch {
			case len(open) > 0:
				open[len(open)-1].text.Write(t)
			case strings.TrimSpace(string(t)) != "":
				return nil, errors.New("want XML, not text")
			}
		}
	}
}

// child returns the first child with this name, or nil.
func (n *node) child(name xml.Name) *node {
	if n == nil {
		return nil
	}
	for _, c := range n.children {
		if c.name == name {
			return c
		}
	}
	return nil
}

// all returns the children with this name.
func (n *node) all(name xml.Name) []*node {
	var found []*node
	if n != nil {
		for _, c := range n.children {
			if c.name == name {
				found = append(found, c)
			}
		}
	}
	return found
}

// attr returns the value of an attribute, or "".
func (n *node) attr(local string) string {
	if n == nil {
		return ""
	}
	for _, a := range n.attrs {
		if a.Name.Local == local {
			return a.Value
		}
	}
	return ""
}

// content returns the text in it without the space around it.
func (n *node) content() string {
	if n == nil {
		return ""
	}
	return strings.TrimSpace(n.text.String())
}

// A document is an answer in XML, or a part of it.
type document struct {
	bytes.Buffer
	calendar []byte // of the object that was written last; its memory is used again
}

// prefixOf returns the prefix of a namespace that the root element of a document declares, or "".
func prefixOf(space string) string {
	switch space {
	case davSpace:
		return "D"
	case calSpace:
		return "C"
	case serverSpace:
		return "S"
	case appleSpace:
		return "A"
	}
	return ""
}

// begin writes the declaration and the start of the root element, which is one of WebDAV's.
func (d *document) begin(root string) {
	d.WriteString(xml.Header)
	fmt.Fprintf(d, `<D:%s xmlns:D=%q xmlns:C=%q xmlns:S=%q xmlns:A=%q>`, root, davSpace, calSpace, serverSpace, appleSpace)
}

// tags returns the start and the end of an element.
func tags(name xml.Name) (start, end string) {
	if p := prefixOf(name.Space); p != "" {
		return "<" + p + ":" + name.Local + ">", "</" + p + ":" + name.Local + ">"
	}
	if name.Space == "" {
		return "<" + name.Local + ">", "</" + name.Local + ">"
	}
	return "<X:" + name.Local + ` xmlns:X="` + escape(name.Space) + `">`, "</X:" + name.Local + ">"
}

// element writes an element with this content, which is XML.
func (d *document) element(name xml.Name, content string) {
	start, end := tags(name)
	d.WriteString(start)
	d.WriteString(content)
	d.WriteString(end)
}

// data writes the iCalendar of an object, which has no characters that XML forbids.
func (d *document) data(o *object) {
	d.calendar = o.appendCalendar(d.calendar[:0])
	written := 0
	for i, c := range d.calendar {
		var reference string
		switch c {
		case '&':
			reference = "&amp;"
		case '<':
			reference = "&lt;"
		case '>':
			reference = "&gt;"
		case '\r':
			reference = "&#13;"
		default:
			continue
		}
		d.Write(d.calendar[written:i])
		d.WriteString(reference)
		written = i + 1
	}
	d.Write(d.calendar[written:])
}

// escape returns a text as XML.
func escape(s string) string {
	if !strings.ContainsAny(s, "<>&\"'\r\n\t") && isPlain(s) {
		return s
	}
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a strings.Builder never fails
	return b.String()
}

// isPlain reports whether a text has ASCII alone.
func isPlain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] >= 0x7F {
			return false
		}
	}
	return true
}

// href returns an element with an address.
func href(address string) string { return "<D:href>" + escape(address) + "</D:href>" }

// href writes an element with an address.
func (d *document) href(address string) {
	d.WriteString("<D:href>")
	d.WriteString(escape(address))
	d.WriteString("</D:href>")
}
