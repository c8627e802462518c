// Package chat has the operations of chats and channels in Teams.
package chat

import (
	"context"
	"fmt"
	netmail "net/mail"
	"slices"
	"strings"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/chatmessage"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/chats"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/directory"
	"github.com/graph2mqtt/graph2mqtt/internal/schema"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// The names of the operations that options and entities use.
const (
	SendOperation    = "send"
	MentionByAddress = "mention_by_address"
)

// NoTeams names the things that a personal account lacks.
const NoTeams = "no chats, teams and channels"

// Operations returns the operations of chats. With basic no message can be read.
func Operations(basic bool) []services.Operation {
	open := []graph.Permission{chats.SendPermission(), chats.CreatePermission()}
	send := []graph.Permission{chats.SendPermission()}
	mark := []graph.Permission{chats.MarkPermission()}
	all := []services.Operation{
		{
			Name: SendOperation, Doc: "Sends a message to a chat, or to people: to one person in the existing chat with them, to several in the group chat that graph2mqtt created for exactly these people, or else in a new one. The text is sent unchanged, including links; files are not uploaded. A message may have 28 KB.",
			Permissions: open, Retry: services.AtMostOnce, Example: `{"chat_id": "19:5a1f…@thread.v2", "message": "The garage door is open."}`, Returns: sentFields(), New: func() services.Request { return new(Send) },
		},
		{
			Name: "reply", Doc: "Replies to a message in a chat, with a quote of it.",
			Permissions: send, Retry: services.AtMostOnce, Example: `{"chat_id": "19:5a1f…@thread.v2", "message_id": "1616…", "message": "On my way."}`, Returns: sentFields(), New: func() services.Request { return new(Reply) },
		},
		{
			Name: "react", Doc: "Adds your reaction to a message in a chat, or removes it.",
			Permissions: send, Example: `{"chat_id": "19:5a1f…@thread.v2", "message_id": "1616…", "reaction": "like"}`, Returns: reactedFields(), New: func() services.Request { return new(React) },
		},
		{
			Name: "create", Doc: "Creates a chat. With one person and no topic, it returns the existing chat if there is one; with several people or with a topic, it creates a group chat.",
			Permissions: []graph.Permission{chats.CreatePermission()}, Retry: services.AtMostOnce, Example: `{"to": ["megan@contoso.example", "alex@contoso.example"], "topic": "Lunch"}`, Returns: createdFields(), New: func() services.Request { return new(Create) },
		},
		{
			Name: "mark_read", Doc: "Marks a chat as read.",
			Permissions: mark, Optional: true, Example: `{"chat_id": "19:5a1f…@thread.v2"}`, Returns: markedFields(), New: func() services.Request { return &Mark{read: true} },
		},
		{
			Name: "mark_unread", Doc: "Marks a chat as unread from its newest message on.",
			Permissions: mark, Optional: true, Example: `{"chat_id": "19:5a1f…@thread.v2"}`, Returns: markedFields(), New: func() services.Request { return new(Mark) },
		},
	}
	if basic {
		return all
	}
	return append(all, services.Operation{
		Name: "history", Doc: "Lists the messages of a chat as `messages`, the newest first.",
		Permissions: []graph.Permission{chats.ReadPermission(false)}, Reads: true, Paged: true, Example: `{"chat_id": "19:5a1f…@thread.v2", "limit": 10}`, Returns: historyFields(), New: func() services.Request { return &History{Limit: defaultLimit} },
	})
}

// MessageFields documents a message as [chatmessage.Message.Item] returns it.
func MessageFields() []schema.Field {
	return []schema.Field{
		{Key: "message_id", Type: "text", Doc: "Id of the message."},
		{Key: "from_display_name", Type: "text", Doc: "Name of the sender; null if Graph does not return one, for example because the user was deleted."},
		{Key: "from_id", Type: "text", Doc: "Id of the sender."},
		{Key: "from_type", Type: "text", Doc: "Kind of the sender: `user`, `application`, `device` or `conversation`."},
		{Key: "received", Type: "time", Doc: "When it was sent."},
		{Key: "importance", Type: "text", Doc: "Importance: `normal`, `high` or `urgent`; null if not known."},
		{Key: "preview", Type: "text", Doc: "Beginning of the text, up to 255 characters."},
		{Key: "subject", Type: "text", Doc: "Subject, which most messages lack."},
		{Key: "summary", Type: "text", Doc: "Summary, which most messages lack."},
	}
}

func checkID(field, what, id string) error {
	if strings.TrimSpace(id) == "" {
		return graph.Invalid("%s: want the id of a %s, as in the list", field, what)
	}
	return nil
}

// IsAddress reports whether s is an address and nothing else, such as a name.
func IsAddress(s string) bool {
	a, err := netmail.ParseAddress(s)
	return err == nil && a.Address == s
}

// maxPeople is the largest number of others in a chat that is opened.
const maxPeople = 50

// checkPeople returns an error for addresses that are none.
func checkPeople(to []string) error {
	if len(to) == 0 {
		return graph.Invalid("to: want at least one address")
	}
	if len(to) > maxPeople {
		return graph.Invalid("to: want at most %d addresses, not %d", maxPeople, len(to))
	}
	for _, a := range to {
		if !IsAddress(a) {
			return graph.Invalid("to: want addresses with which people sign in, such as ann@contoso.com, not %s", services.QuoteForError(a))
		}
	}
	return nil
}

// distinct returns the addresses without repetitions. It returns an error where one is the signed-in user's.
func distinct(ctx context.Context, g *graph.Client, to []string) ([]string, error) {
	me, err := directory.SignedIn(ctx, g)
	if err != nil {
		return nil, err
	}
	var others []string
	for _, a := range to {
		if strings.EqualFold(a, me.Address) {
			return nil, graph.Invalid("to: want the addresses of others, not your own")
		}
		if !slices.ContainsFunc(others, func(o string) bool { return strings.EqualFold(o, a) }) {
			others = append(others, a)
		}
	}
	return others, nil
}

// A text is the message of a request.
type text struct {
	Message     string `json:"message" required:"true" doc:"The text. An @ followed by the name or the address of one of the mentions becomes that mention."`
	ContentType string `json:"content_type" enum:"text,html" doc:"Format of the text. Default: text."`
}

func (t text) outgoing() chatmessage.Outgoing {
	return chatmessage.Outgoing{Content: t.Message, HTML: t.ContentType == "html"}
}

// A Sent is a message that was sent.
type Sent struct {
	ChatID    string `json:"chat_id"`
	MessageID any    `json:"message_id"` // text; nil: Graph did not return it
	Group     string `json:"-"`          // key of the group chat that was made for it; "": none
}

// Send sends a message to a chat.
type Send struct {
	sending

	ChatID string   `json:"chat_id" doc:"Id of the chat, as in the list. Either this or to is required."`
	To     []string `json:"to" doc:"Addresses with which the people sign in."`
	text
	Mentions []ChatMention `json:"mentions" doc:"People that the message mentions, or everyone in the chat."`
}

// Validate returns an error for values that Graph would refuse.
func (r *Send) Validate() error {
	switch {
	case r.ChatID != "" && r.To != nil:
		return graph.Invalid("to: not with chat_id")
	case r.To != nil:
		if err := checkPeople(r.To); err != nil {
			return err
		}
	case r.ChatID == "":
		return graph.Invalid("chat_id: want the id of a chat, or to")
	}
	if err := r.outgoing().Check(); err != nil {
		return err
	}
	for i, m := range r.Mentions {
		if err := m.check(i); err != nil {
			return err
		}
		if r.To != nil && m.Address != "" && !slices.ContainsFunc(r.To, func(a string) bool { return strings.EqualFold(a, m.Address) }) {
			return graph.Invalid("mentions[%d].address: want one of to, not %s", i, services.QuoteForError(m.Address))
		}
	}
	return nil
}

// Execute implements services.Request.
func (r *Send) Execute(ctx context.Context, g *graph.Client, _ services.Attempt) (any, error) {
	if err := directory.RequireWork(ctx, g, NoTeams); err != nil {
		return nil, err
	}
	r.sending = sending{} // no message can be expected yet
	chat, key, made := r.ChatID, "", false
	if r.To != nil {
		var err error
		if chat, key, made, err = open(ctx, g, r.To); err != nil {
			return nil, err
		}
	}
	sent, err := r.send(ctx, g, chat)
	if graph.Is(err, graph.NotFound) && key != "" && !made { // the group was deleted, or left
		if chat, err = openNew(ctx, g, r.To, key); err != nil {
			return nil, err
		}
		sent, err = r.send(ctx, g, chat)
	}
	if err != nil {
		return nil, err
	}
	sent.Group = key
	return sent, nil
}

func (r *Send) send(ctx context.Context, g *graph.Client, chat string) (Sent, error) {
	o, err := compose(ctx, g, chat, r.outgoing(), r.Mentions)
	if err != nil {
		return Sent{}, err
	}
	r.expect(ctx, g, chatPlace(chat), o)
	id, err := chats.Send(ctx, g, chat, o)
	return Sent{ChatID: chat, MessageID: graph.NullIfZero(id)}, err
}

// open returns the chat with people and, of a group, its key and whether it was made just now.
func open(ctx context.Context, g *graph.Client, to []string) (chat, key string, made bool, err error) {
	others, err := distinct(ctx, g, to)
	if err != nil {
		return "", "", false, err
	}
	if len(others) == 1 {
		c, err := chats.Open(ctx, g, others, "")
		return c.ID, "", false, err
	}
	key = chats.GroupKey(others)
	if chat, err = chats.Group(ctx, g, key); err != nil || chat != "" {
		return chat, key, false, err
	}
	chat, err = openNew(ctx, g, others, key)
	return chat, key, true, err
}

// openNew makes a group chat and remembers it.
func openNew(ctx context.Context, g *graph.Client, to []string, key string) (string, error) {
	c, err := chats.Open(ctx, g, to, "")
	if err != nil {
		return "", err
	}
	return c.ID, chats.Remember(ctx, g, map[string]string{key: c.ID})
}

// Reply answers a message.
type Reply struct {
	sending

	ChatID    string `json:"chat_id" required:"true" doc:"Id of the chat, as in the list."`
	MessageID string `json:"message_id" required:"true" doc:"Id of the message to reply to."`
	text
	Mentions []ChatMention `json:"mentions" doc:"People that the message mentions, or everyone in the chat."`
}

// Validate returns an error for values that Graph would refuse.
func (r *Reply) Validate() error {
	if err := checkID("chat_id", "chat", r.ChatID); err != nil {
		return err
	}
	if err := checkID("message_id", "message", r.MessageID); err != nil {
		return err
	}
	for i, m := range r.Mentions {
		if err := m.check(i); err != nil {
			return err
		}
	}
	return r.outgoing().Check()
}

// Execute implements services.Request.
func (r *Reply) Execute(ctx context.Context, g *graph.Client, _ services.Attempt) (any, error) {
	if err := directory.RequireWork(ctx, g, NoTeams); err != nil {
		return nil, err
	}
	o, err := compose(ctx, g, r.ChatID, r.outgoing(), r.Mentions)
	if err != nil {
		return nil, err
	}
	r.expect(ctx, g, chatPlace(r.ChatID), o)
	id, err := chats.Reply(ctx, g, r.ChatID, r.MessageID, o)
	if err != nil {
		return nil, err
	}
	return Sent{ChatID: r.ChatID, MessageID: graph.NullIfZero(id)}, nil
}

// React adds or removes a reaction.
type React struct {
	ChatID    string `json:"chat_id" required:"true" doc:"Id of the chat, as in the list."`
	MessageID string `json:"message_id" required:"true" doc:"Id of the message."`
	reaction
}

// A reaction is the reaction of a request.
type reaction struct {
	Reaction string `json:"reaction" required:"true" doc:"An emoji, such as 🎉, or one of like, heart, laugh, surprised, sad and angry."`
	Remove   bool   `json:"remove" doc:"Remove the reaction."`
}

// emoji returns the emoji of the reaction.
func (r reaction) emoji() (string, error) {
	names := map[string]string{"like": "👍", "heart": "❤️", "laugh": "😆", "surprised": "😮", "sad": "😢", "angry": "😠"}
	if e, ok := names[strings.ToLower(r.Reaction)]; ok {
		return e, nil
	}
	runes := []rune(r.Reaction)
	if len(runes) == 0 || len(runes) > 12 || slices.ContainsFunc(runes, func(c rune) bool { return c <= ' ' || c >= 'A' && c <= 'z' }) || runes[0] < 0x80 {
		return "", graph.Invalid("reaction: want an emoji, or one of like, heart, laugh, surprised, sad, angry, not %s", services.QuoteForError(r.Reaction))
	}
	return r.Reaction, nil
}

// A Reacted is a reaction that was added or removed.
type Reacted struct {
	MessageID string `json:"message_id"`
	Reaction  string `json:"reaction"`
	Removed   bool   `json:"removed"`
}

// Validate returns an error for values that Graph would refuse.
func (r *React) Validate() error {
	if err := checkID("chat_id", "chat", r.ChatID); err != nil {
		return err
	}
	if err := checkID("message_id", "message", r.MessageID); err != nil {
		return err
	}
	_, err := r.emoji()
	return err
}

// Execute implements services.Request.
func (r *React) Execute(ctx context.Context, g *graph.Client, _ services.Attempt) (any, error) {
	if err := directory.RequireWork(ctx, g, NoTeams); err != nil {
		return nil, err
	}
	e, err := r.emoji()
	if err != nil {
		return nil, err
	}
	if err := chats.React(ctx, g, r.ChatID, r.MessageID, e, r.Remove); err != nil {
		return nil, err
	}
	return Reacted{r.MessageID, e, r.Remove}, nil
}

// Create opens a chat.
type Create struct {
	To    []string `json:"to" required:"true" doc:"Addresses with which the people sign in."`
	Topic string   `json:"topic" doc:"Topic. It makes the chat a group, also with one person."`
}

// Validate returns an error for values that Graph would refuse.
func (r *Create) Validate() error {
	if n := len([]rune(r.Topic)); n > 250 {
		return graph.Invalid("topic: want at most 250 characters, not %d", n)
	}
	return checkPeople(r.To)
}

// A Created is a chat that was opened.
type Created struct {
	ChatID string `json:"chat_id"`
	Type   any    `json:"chat_type"`
	Topic  any    `json:"topic"`
	Link   any    `json:"web_link"`
	Group  string `json:"-"` // key of the group; "": none that send uses
}

// Execute implements services.Request.
func (r *Create) Execute(ctx context.Context, g *graph.Client, _ services.Attempt) (any, error) {
	if err := directory.RequireWork(ctx, g, NoTeams); err != nil {
		return nil, err
	}
	others, err := distinct(ctx, g, r.To)
	if err != nil {
		return nil, err
	}
	topic := strings.TrimSpace(r.Topic)
	c, err := chats.Open(ctx, g, others, topic)
	if err != nil {
		return nil, err
	}
	created := Created{ChatID: c.ID, Type: graph.NullIfZero(c.Type), Topic: graph.NullIfZero(c.Topic), Link: graph.NullIfZero(c.WebLink)}
	if len(others) > 1 {
		created.Group = chats.GroupKey(others)
		if err := chats.Remember(ctx, g, map[string]string{created.Group: c.ID}); err != nil {
			return nil, err
		}
	}
	return created, nil
}

// Mark marks a chat as read or unread.
type Mark struct {
	read bool

	ChatID string `json:"chat_id" required:"true" doc:"Id of the chat, as in the list."`
}

// A Marked is a chat that was marked.
type Marked struct{ chats.Marked }

// Data returns the data of the response.
func (m Marked) Data() any {
	return map[string]any{"chat_id": m.ID, "read_until": graph.NullIfZero(m.Read)}
}

// Validate returns an error for an empty id.
func (r *Mark) Validate() error { return checkID("chat_id", "chat", r.ChatID) }

// Execute implements services.Request.
func (r *Mark) Execute(ctx context.Context, g *graph.Client, a services.Attempt) (any, error) {
	if err := directory.RequireWork(ctx, g, NoTeams); err != nil {
		return nil, err
	}
	var m chats.Marked
	var err error
	if r.read {
		m, err = chats.MarkRead(ctx, g, r.ChatID, a.Now)
	} else {
		m, err = chats.MarkUnread(ctx, g, r.ChatID)
	}
	if err != nil {
		return nil, err
	}
	if !m.Read.IsZero() {
		m.Read = m.Read.In(a.Now.Location()).Truncate(time.Millisecond)
	}
	return Marked{m}, nil
}

func sentFields() []schema.Field {
	return []schema.Field{
		{Key: "chat_id", Type: "text", Doc: "Id of the chat."},
		{Key: "message_id", Type: "text", Doc: "Id of the message; null if Graph did not return it."},
	}
}

func reactedFields() []schema.Field {
	return []schema.Field{
		{Key: "message_id", Type: "text", Doc: "Id of the message."},
		{Key: "reaction", Type: "text", Doc: "The emoji."},
		{Key: "removed", Type: "true or false", Doc: "Whether the reaction was removed."},
	}
}

func createdFields() []schema.Field {
	return []schema.Field{
		{Key: "chat_id", Type: "text", Doc: "Id of the chat."},
		{Key: "chat_type", Type: "text", Doc: "`oneOnOne` or `group`."},
		{Key: "topic", Type: "text", Doc: "Topic; null: none."},
		{Key: "web_link", Type: "text", Doc: "Address of the chat in Teams."},
	}
}

func markedFields() []schema.Field {
	return []schema.Field{
		{Key: "chat_id", Type: "text", Doc: "Id of the chat."},
		{Key: "read_until", Type: "time", Doc: "Time up to which the chat is read; null: nothing is read."},
	}
}

func missing(field, permission string) error {
	return graph.Invalid("%s: to find somebody by their address, graph2mqtt needs the permission %s; give id and name instead", field, permission)
}

func mentionField(i int, key string) string { return fmt.Sprintf("mentions[%d].%s", i, key) }
