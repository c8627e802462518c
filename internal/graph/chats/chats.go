// Package chats is a client for the chats of Microsoft Teams.
package chats

import (
	"context"
	"strings"
	"time"

	abstractions "github.com/microsoft/kiota-abstractions-go"
	sdk "github.com/microsoftgraph/msgraph-sdk-go/chats"
	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/chatmessage"
)

// A Chat is a chat of the signed-in user. Null or missing values are zero.
type Chat struct {
	ID      string
	Type    string // oneOnOne, group, meeting, or one that Microsoft added since
	Topic   string
	WebLink string
	Updated time.Time // when topic or members changed last
	Hidden  bool
	Read    time.Time            // until when the user has read it; zero: never
	Last    *chatmessage.Message // what Graph shows as the newest message; nil: none, or not requested
	Members []Member             // nil: not requested
}

// A Member is a member of a chat.
type Member struct {
	UserID  string
	Name    string
	Address string
	Tenant  string
}

// Label returns what a member is called: the name, or else the address or the id.
func (m Member) Label() string {
	switch {
	case m.Name != "":
		return m.Name
	case m.Address != "":
		return m.Address
	}
	return m.UserID
}

// Name returns what Teams calls the chat: its topic, or the names of the others.
func (c Chat) Name(me string) string {
	if c.Topic != "" {
		return c.Topic
	}
	var names []string
	for _, m := range c.Members {
		if !strings.EqualFold(m.UserID, me) {
			names = append(names, m.Label())
		}
	}
	return strings.Join(names, ", ")
}

type chatDTO struct {
	ID        string           `json:"id"`
	Type      string           `json:"chatType"`
	Topic     string           `json:"topic"`
	WebURL    string           `json:"webUrl"`
	Updated   string           `json:"lastUpdatedDateTime"`
	Viewpoint viewpointDTO     `json:"viewpoint"`
	Last      *chatmessage.DTO `json:"lastMessagePreview"`
	Members   []memberDTO      `json:"members"`
}

type viewpointDTO struct {
	Hidden bool   `json:"isHidden"`
	Read   string `json:"lastMessageReadDateTime"`
}

type memberDTO struct {
	UserID  string `json:"userId"`
	Name    string `json:"displayName"`
	Address string `json:"email"`
	Tenant  string `json:"tenantId"`
}

func (d chatDTO) chat() Chat {
	c := Chat{
		ID: d.ID, Type: d.Type, Topic: strings.TrimSpace(d.Topic), WebLink: d.WebURL, Updated: chatmessage.ParseTime(d.Updated),
		Hidden: d.Viewpoint.Hidden, Read: chatmessage.ParseTime(d.Viewpoint.Read), Members: membersOf(d.Members),
	}
	if d.Last != nil && d.Last.ID != "" {
		last := d.Last.Message(false)
		c.Last = &last
	}
	return c
}

func membersOf(all []memberDTO) []Member {
	var members []Member
	for _, m := range all {
		members = append(members, Member(m))
	}
	return members
}

const (
	opList     = "read the chats"
	opMessages = "read the messages of the chat"
	// pageSize is the largest page of chats and of messages.
	pageSize = 50
	preview  = "lastMessagePreview"
)

// A Page is a page of chats.
type Page struct {
	Chats []Chat
	Next  string // address of the next page; "": there is none
}

// List returns the first page of the chats: the 50 with the newest messages. With basic it needs only Chat.ReadBasic, and the chats are
// in any order and have no messages.
func List(ctx context.Context, g *graph.Client, basic bool) (Page, error) {
	q := &users.ItemChatsRequestBuilderGetQueryParameters{Top: new(int32(pageSize))}
	if !basic {
		q.Expand, q.Orderby = []string{preview}, []string{preview + "/createdDateTime desc"}
	}
	r, err := g.Me().Chats().ToGetRequestInformation(ctx, &users.ItemChatsRequestBuilderGetRequestConfiguration{QueryParameters: q})
	if err != nil {
		return Page{}, err
	}
	return page(ctx, g, r)
}

// Next returns the page at an address that a Page has.
func Next(ctx context.Context, g *graph.Client, address string) (Page, error) {
	r, err := chatmessage.NextPage(opList, address)
	if err != nil {
		return Page{}, err
	}
	return page(ctx, g, r)
}

func page(ctx context.Context, g *graph.Client, r *abstractions.RequestInformation) (Page, error) {
	var d struct {
		Value []chatDTO `json:"value"`
		Next  string    `json:"@odata.nextLink"`
	}
	if err := g.Do(ctx, opList, r, &d); err != nil {
		return Page{}, explain(g, err)
	}
	if d.Value == nil {
		return Page{}, graph.Incomplete(opList, "list")
	}
	return Page{chatsOf(d.Value), d.Next}, nil
}

func chatsOf(all []chatDTO) []Chat {
	var chats []Chat
	for _, d := range all {
		if d.ID != "" {
			chats = append(chats, d.chat())
		}
	}
	return chats
}

// All returns all chats with up to 25 members each, in any order.
func All(ctx context.Context, g *graph.Client) ([]Chat, error) {
	all, err := graph.GetAll[chatDTO](ctx, g, opList, g.Me().Chats().ToGetRequestInformation, &users.ItemChatsRequestBuilderGetRequestConfiguration{
		QueryParameters: &users.ItemChatsRequestBuilderGetQueryParameters{Top: new(int32(pageSize)), Expand: []string{"members"}},
	})
	if err != nil {
		return nil, explain(g, err)
	}
	return chatsOf(all), nil
}

func item(g *graph.Client, id string) *sdk.ChatItemRequestBuilder {
	return sdk.NewChatsRequestBuilderInternal(map[string]string{}, g.Adapter()).ByChatId(id)
}

// Read returns one chat, with its last message unless basic, and with up to 25 members if members.
func Read(ctx context.Context, g *graph.Client, id string, basic, members bool) (Chat, error) {
	const op = "read the chat"
	q := &sdk.ChatItemRequestBuilderGetQueryParameters{}
	if !basic {
		q.Expand = append(q.Expand, preview)
	}
	if members {
		q.Expand = append(q.Expand, "members")
	}
	d, err := graph.Get[chatDTO](ctx, g, op, item(g, id).ToGetRequestInformation, &sdk.ChatItemRequestBuilderGetRequestConfiguration{QueryParameters: q})
	switch {
	case err != nil:
		return Chat{}, explainChat(g, err)
	case d.ID == "":
		return Chat{}, graph.Incomplete(op, "id")
	}
	return d.chat(), nil
}

// Members returns the members of a chat.
func Members(ctx context.Context, g *graph.Client, id string) ([]Member, error) {
	all, err := graph.GetAll[memberDTO](ctx, g, "read the members of the chat", item(g, id).Members().ToGetRequestInformation, nil)
	if err != nil {
		return nil, explainChat(g, err)
	}
	return append([]Member{}, membersOf(all)...), nil
}

// MessagesSince returns the messages of a chat that were written after since, in any order. Edits, deletions and reactions do not count.
func MessagesSince(ctx context.Context, g *graph.Client, id string, since time.Time) ([]chatmessage.Message, error) {
	filter := "lastModifiedDateTime gt " + since.UTC().Format("2006-01-02T15:04:05.000Z")
	all, err := graph.GetAll[chatmessage.DTO](ctx, g, opMessages, item(g, id).Messages().ToGetRequestInformation, messagesQuery(pageSize, "lastModifiedDateTime", &filter))
	if err != nil {
		return nil, explainChat(g, err)
	}
	var messages []chatmessage.Message
	for _, m := range chatmessage.Messages(all) {
		if m.Created.After(since) {
			messages = append(messages, m)
		}
	}
	return messages, nil
}

func messagesQuery(top int, order string, filter *string) *sdk.ItemMessagesRequestBuilderGetRequestConfiguration {
	return &sdk.ItemMessagesRequestBuilderGetRequestConfiguration{QueryParameters: &sdk.ItemMessagesRequestBuilderGetQueryParameters{
		Top: new(int32(top)), Orderby: []string{order + " desc"}, Filter: filter,
	}}
}

// Newest returns the newest messages of a chat, up to 50, the newest first.
func Newest(ctx context.Context, g *graph.Client, id string, most int) ([]chatmessage.Message, error) {
	d, err := graph.Get[struct {
		Value []chatmessage.DTO `json:"value"`
	}](ctx, g, opMessages, item(g, id).Messages().ToGetRequestInformation, messagesQuery(min(most, pageSize), "createdDateTime", nil))
	if err != nil {
		return nil, explainChat(g, err)
	}
	if d.Value == nil {
		return nil, graph.Incomplete(opMessages, "list")
	}
	return chatmessage.Messages(d.Value), nil
}

// Each calls visit with the messages of a chat, the newest first, until visit returns false or an error. before, if not zero, excludes
// those that were written then or later.
func Each(ctx context.Context, g *graph.Client, id string, before time.Time, visit func(chatmessage.Message) (more bool, err error)) error {
	var filter *string
	if !before.IsZero() {
		filter = new("createdDateTime lt " + before.UTC().Format("2006-01-02T15:04:05.000Z"))
	}
	r, err := item(g, id).Messages().ToGetRequestInformation(ctx, messagesQuery(pageSize, "createdDateTime", filter))
	if err != nil {
		return err
	}
	return explainChat(g, graph.Each(ctx, g, opMessages, r, func(d chatmessage.DTO) (bool, error) {
		for _, m := range chatmessage.Messages([]chatmessage.DTO{d}) {
			if more, err := visit(m); err != nil || !more {
				return false, err
			}
		}
		return true, nil
	}))
}

// ReadMessage returns one message of a chat.
func ReadMessage(ctx context.Context, g *graph.Client, chat, id string) (chatmessage.Message, error) {
	const op = "read the message"
	d, err := graph.Get[chatmessage.DTO](ctx, g, op, item(g, chat).Messages().ByChatMessageId(id).ToGetRequestInformation, nil)
	switch {
	case err != nil:
		return chatmessage.Message{}, explainChat(g, err)
	case d.ID == "":
		return chatmessage.Message{}, graph.Incomplete(op, "id")
	}
	return d.Message(true), nil
}

// ReadPermission returns the permission for reading chats.
func ReadPermission(basic bool) graph.Permission {
	if basic {
		return graph.Permission{
			Scope: "Chat.ReadBasic", Alternatives: []string{"Chat.Read", "Chat.ReadWrite"},
			Purpose: "reads which chats you have, and who is in them", Impact: "the chats are unavailable",
		}
	}
	return graph.Permission{
		Scope: "Chat.Read", Alternatives: []string{"Chat.ReadWrite"},
		Purpose: "reads your chats and their messages", Impact: "the chats are unavailable",
	}
}

// explain returns an error that explains in the user's words why Teams refuses although the permission is granted.
func explain(g *graph.Client, err error) error {
	if graph.Is(err, graph.PermissionMissing) && g.Granted(ReadPermission(true)) {
		return graph.Explain(err, "Microsoft Teams refuses; does your account have a Teams license?")
	}
	return err
}

// explainChat is explain for what is below one chat.
func explainChat(g *graph.Client, err error) error {
	switch {
	case graph.Is(err, graph.NotFound):
		return graph.Explain(err, "there is no such chat or message, or you are not in the chat")
	case graph.Is(err, graph.PermissionMissing) && (g.Granted(ReadPermission(true)) || g.Granted(SendPermission())):
		return graph.Explain(err, "Microsoft Teams refuses; the chat may belong to another organization that does not allow it")
	}
	return err
}
