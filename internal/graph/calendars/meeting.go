package calendars

import (
	"net/url"
	"regexp"
	"strings"

	nethtml "golang.org/x/net/html"
	"golang.org/x/net/html/atom"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/htmltext"
)

// divider matches the lines above and below the join block in the body of an online meeting.
var divider = regexp.MustCompile(`_{20,}`)

// keepMeeting returns the body to write for old. If old is an online meeting, its join block, a part of the HTML, is kept: without
// it Outlook no longer treats the meeting as online.
//
// https://learn.microsoft.com/graph/outlook-calendar-online-meetings
func keepMeeting(old eventDTO, body Body) (*Body, error) {
	link := old.joinURL()
	if link == "" && !old.IsOnlineMeeting {
		return &body, nil
	}
	document, err := nethtml.Parse(strings.NewReader(old.Body.Content))
	if err != nil {
		return nil, errMeetingLost
	}
	join := findNode(document, func(n *nethtml.Node) bool { return linksTo(n, link) })
	if join == nil {
		// There is nothing to lose, unless the link has an unknown form.
		if link == "" && hasText(document) || strings.Contains(old.Body.Content, "meetup-join") {
			return nil, errMeetingLost
		}
		return &body, nil
	}
	if !body.HTML {
		body = Body{htmltext.FromText(body.Content), true}
	}
	merged, err := nethtml.Parse(strings.NewReader(body.Content))
	if err != nil {
		return nil, errMeetingLost
	}
	if findNode(merged, func(n *nethtml.Node) bool { return linksTo(n, link) }) != nil {
		return &body, nil // the new body has the link already
	}
	block := meetingBlock(document, join)
	target := findNode(merged, func(n *nethtml.Node) bool { return n.DataAtom == atom.Body })
	if block == nil || target == nil {
		return nil, errMeetingLost
	}
	for _, n := range block {
		n.Parent.RemoveChild(n)
		target.AppendChild(n)
	}
	var b strings.Builder
	if err := nethtml.Render(&b, merged); err != nil {
		return nil, errMeetingLost
	}
	return &Body{b.String(), true}, nil
}

var errMeetingLost = graph.Invalid("body: want no body: the instructions for joining this online meeting are in its body and cannot be kept; change the body in Outlook")

// meetingBlock returns the siblings that hold the text for joining the meeting: from the divider before the link to the one after it,
// or, without dividers, the outermost element with the class of Teams. It returns nil if it finds neither.
func meetingBlock(document, join *nethtml.Node) []*nethtml.Node {
	var before, after, own *nethtml.Node
	passed := false
	walkNodes(document, func(n *nethtml.Node) {
		switch {
		case n == join:
			passed = true
		case n.Type == nethtml.TextNode && divider.MatchString(n.Data):
			if !passed {
				before = n
			} else if after == nil {
				after = n
			}
		}
	})
	for n := join; n != nil; n = n.Parent {
		if strings.Contains(attribute(n, "class"), "me-email-text") {
			own = n
		}
	}
	first, last := before, after
	if first == nil {
		first = own
	}
	if last == nil {
		last = own
	}
	if first == nil || last == nil {
		return nil
	}
	// The common parent of both ends, and which of its children they are in.
	parents := map[*nethtml.Node]*nethtml.Node{} // ancestor of first → its child on the way
	for child, n := first, first.Parent; n != nil; child, n = n, n.Parent {
		parents[n] = child
	}
	for child, n := last, last.Parent; n != nil; child, n = n, n.Parent {
		from, common := parents[n]
		if !common {
			continue
		}
		var block []*nethtml.Node
		for s := from; s != nil; s = s.NextSibling {
			block = append(block, s)
			if s == child {
				return block
			}
		}
		return nil
	}
	return nil
}

// linksTo reports whether n is a link to the meeting, perhaps through a service that checks links.
func linksTo(n *nethtml.Node, link string) bool {
	href := attribute(n, "href")
	if n.DataAtom != atom.A || href == "" || link == "" {
		return false
	}
	return strings.Contains(unescaped(href), unescaped(link))
}

// unescaped returns an address in a form in which it can be found within another one.
func unescaped(address string) string {
	for range 3 {
		plain, err := url.PathUnescape(address)
		if err != nil || plain == address {
			break
		}
		address = plain
	}
	return strings.ToLower(address)
}

func hasText(document *nethtml.Node) bool {
	return findNode(document, func(n *nethtml.Node) bool { return n.Type == nethtml.TextNode && strings.TrimSpace(n.Data) != "" }) != nil
}

func attribute(n *nethtml.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

func walkNodes(n *nethtml.Node, visit func(*nethtml.Node)) {
	visit(n)
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		walkNodes(c, visit)
	}
}

func findNode(root *nethtml.Node, match func(*nethtml.Node) bool) *nethtml.Node {
	var found *nethtml.Node
	walkNodes(root, func(n *nethtml.Node) {
		if found == nil && match(n) {
			found = n
		}
	})
	return found
}
