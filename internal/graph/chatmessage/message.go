// Package chatmessage has the messages of Teams, which chats and channels share.
package chatmessage

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/htmltext"
)

// A Message is a message in a chat or a channel. Null or missing values are zero.
type Message struct {
	ID         string
	ReplyTo    string // in a channel: the id of the message that it answers
	Type       string // message, or another one for what Teams says itself
	Created    time.Time
	Deleted    bool
	From       Sender
	Text       string // without markup, shortened to MaxText
	Subject    string
	Summary    string
	Importance string // normal, high or urgent; "": not known
	WebLink    string
	Mentions   []Mention
	Complete   bool // Subject, Summary, Importance and Mentions are known
}

// MaxText is the largest number of characters of a text.
const MaxText = 4000

// A Sender is the author of a message; the zero one is Teams itself, or not known.
type Sender struct {
	ID   string
	Name string // "": not known, as of somebody who was deleted
	Kind string // user, application, device or conversation
}

// A Mention is one that a message has.
type Mention struct {
	UserID   string // "": not of one user
	Everyone bool   // of everybody in the chat, the channel or the team
}

// Shown reports whether somebody wrote the message and did not delete it.
func (m *Message) Shown() bool { return m != nil && m.Type == "message" && !m.Deleted }

// IsFrom reports whether a user wrote the message.
func (m *Message) IsFrom(user string) bool {
	return m.From.Kind == kindUser && strings.EqualFold(m.From.ID, user)
}

// MentionsUser reports whether the message mentions a user by their id.
func (m *Message) MentionsUser(id string) bool {
	return slices.ContainsFunc(m.Mentions, func(x Mention) bool { return x.UserID != "" && strings.EqualFold(x.UserID, id) })
}

// MentionsEveryone reports whether the message mentions everybody.
func (m *Message) MentionsEveryone() bool {
	return slices.ContainsFunc(m.Mentions, func(x Mention) bool { return x.Everyone })
}

const kindUser = "user"

// DTO is Graph's chatMessage, and its chatMessageInfo, which has less.
type DTO struct {
	ID         string     `json:"id"`
	ReplyToID  string     `json:"replyToId"`
	Type       string     `json:"messageType"`
	Created    string     `json:"createdDateTime"`
	Modified   string     `json:"lastModifiedDateTime"`
	Deleted    string     `json:"deletedDateTime"`
	IsDeleted  bool       `json:"isDeleted"`
	From       *senderDTO `json:"from"`
	Body       bodyDTO    `json:"body"`
	Subject    string     `json:"subject"`
	Summary    string     `json:"summary"`
	Importance string     `json:"importance"`
	WebURL     string     `json:"webUrl"`
	Mentions   []struct {
		Mentioned *struct {
			User         *identityDTO `json:"user"`
			Conversation *identityDTO `json:"conversation"`
		} `json:"mentioned"`
	} `json:"mentions"`
	Replies []DTO `json:"replies"`
}

type bodyDTO struct {
	Type    string `json:"contentType"`
	Content string `json:"content"`
}

type senderDTO struct {
	User         *identityDTO `json:"user"`
	Application  *identityDTO `json:"application"`
	Device       *identityDTO `json:"device"`
	Conversation *identityDTO `json:"conversation"`
}

type identityDTO struct {
	ID   string `json:"id"`
	Name string `json:"displayName"`
}

// Message returns the message. complete says whether d is a chatMessage.
func (d DTO) Message(complete bool) Message {
	m := Message{
		ID: d.ID, ReplyTo: d.ReplyToID, Type: d.Type, Created: parse(d.Created), Deleted: d.IsDeleted || d.Deleted != "",
		Text: graph.Truncate(d.Body.text(), MaxText), Subject: strings.TrimSpace(d.Subject), Summary: strings.TrimSpace(d.Summary), Importance: d.Importance,
		WebLink: d.WebURL, Complete: complete,
	}
	if d.From != nil {
		for _, x := range []struct {
			kind string
			who  *identityDTO
		}{{kindUser, d.From.User}, {"application", d.From.Application}, {"device", d.From.Device}, {"conversation", d.From.Conversation}} {
			if x.who != nil {
				m.From = Sender{x.who.ID, x.who.Name, x.kind}
				break
			}
		}
	}
	for _, x := range d.Mentions {
		switch {
		case x.Mentioned == nil:
		case x.Mentioned.User != nil:
			m.Mentions = append(m.Mentions, Mention{UserID: x.Mentioned.User.ID})
		case x.Mentioned.Conversation != nil:
			m.Mentions = append(m.Mentions, Mention{Everyone: true})
		}
	}
	return m
}

// Messages returns the messages with an id, each once: one that moves while pages are read is on two of them.
func Messages(all []DTO) []Message {
	var messages []Message
	seen := map[string]bool{}
	for _, d := range all {
		if d.ID != "" && !seen[d.ID] {
			seen[d.ID] = true
			messages = append(messages, d.Message(true))
		}
	}
	return messages
}

func (b bodyDTO) text() string {
	if strings.EqualFold(b.Type, "html") {
		return htmltext.Text(b.Content)
	}
	return strings.TrimSpace(b.Content)
}

// parse returns a time of Graph's in UTC; zero for none. Graph has the year 1 for never.
func parse(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil || t.Year() <= 1 {
		return time.Time{}
	}
	return t.UTC()
}

// ParseTime is for the other times of chats and channels: in UTC, zero for null, for an unreadable one and for the year 1.
func ParseTime(s string) time.Time { return parse(s) }

// noText stands for a message that has only pictures, files or a card.
const noText = "(no text)"

// Preview returns the beginning of the text.
func (m *Message) Preview(most int) string {
	return graph.Truncate(strings.Join(strings.Fields(cmp.Or(m.Text, m.Subject, noText)), " "), most)
}

// maxPreview is the number of characters of the beginning of a text in lists and events.
const maxPreview = 255

// Item returns m as lists and events show it. Without content it holds nothing that was written.
func (m *Message) Item(loc *time.Location, content bool) map[string]any {
	item := map[string]any{
		"message_id": m.ID, "from_display_name": graph.NullIfZero(m.From.Name), "from_id": graph.NullIfZero(m.From.ID), "from_type": graph.NullIfZero(m.From.Kind),
		"received": nil, "importance": graph.NullIfZero(m.Importance), "preview": nil, "subject": nil, "summary": nil,
	}
	if !m.Created.IsZero() {
		item["received"] = m.Created.In(loc)
	}
	if content {
		item["preview"], item["subject"], item["summary"] = m.Preview(maxPreview), graph.NullIfZero(m.Subject), graph.NullIfZero(m.Summary)
	}
	return item
}
