package chats

import (
	"context"
	"errors"
	"strings"
	"time"

	sdk "github.com/microsoftgraph/msgraph-sdk-go/chats"
	"github.com/microsoftgraph/msgraph-sdk-go/models"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/chatmessage"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/directory"
)

// SendPermission returns the permission for sending messages and reactions.
func SendPermission() graph.Permission {
	return graph.Permission{
		Scope: "ChatMessage.Send", Alternatives: []string{"Chat.ReadWrite"},
		Purpose: "sends messages and reactions in your chats", Impact: "no messages can be sent in chats",
	}
}

// CreatePermission returns the permission for making chats.
func CreatePermission() graph.Permission {
	return graph.Permission{
		Scope: "Chat.Create", Alternatives: []string{"Chat.ReadWrite"},
		Purpose: "opens chats with people", Impact: "messages can only be sent in existing chats",
	}
}

// MarkPermission returns the permission for marking chats as read.
func MarkPermission() graph.Permission {
	return graph.Permission{Scope: "Chat.ReadWrite", Purpose: "marks chats as read and unread", Impact: "chats cannot be marked as read"}
}

// Send sends a message and returns its id.
func Send(ctx context.Context, g *graph.Client, chat string, o chatmessage.Outgoing) (string, error) {
	message, err := o.Model()
	if err != nil {
		return "", err
	}
	return sent(graph.Send[chatmessage.DTO](ctx, g, "send the message", item(g, chat).Messages().ToPostRequestInformation, message, nil))(g)
}

// sent returns the id of a message that was sent.
func sent(d chatmessage.DTO, err error) func(*graph.Client) (string, error) {
	return func(g *graph.Client) (string, error) { return d.ID, explainChat(g, err) }
}

// Reply answers a message with a quote of it and returns the id of the answer.
func Reply(ctx context.Context, g *graph.Client, chat, id string, o chatmessage.Outgoing) (string, error) {
	message, err := o.Model()
	if err != nil {
		return "", err
	}
	var body sdk.ItemMessagesReplyWithQuotePostRequestBodyable = sdk.NewItemMessagesReplyWithQuotePostRequestBody()
	body.SetMessageIds([]string{id})
	body.SetReplyMessage(message)
	return sent(graph.Send[chatmessage.DTO](ctx, g, "reply to the message", item(g, chat).Messages().ReplyWithQuote().ToPostRequestInformation, body, nil))(g)
}

// React adds a reaction, an emoji, to a message, or removes it.
func React(ctx context.Context, g *graph.Client, chat, id, reaction string, remove bool) error {
	m := item(g, chat).Messages().ByChatMessageId(id)
	if remove {
		var body sdk.ItemMessagesItemUnsetReactionPostRequestBodyable = sdk.NewItemMessagesItemUnsetReactionPostRequestBody()
		body.SetReactionType(&reaction)
		_, err := graph.Send[graph.None](ctx, g, "remove the reaction", m.UnsetReaction().ToPostRequestInformation, body, nil)
		return explainChat(g, err)
	}
	var body sdk.ItemMessagesItemSetReactionPostRequestBodyable = sdk.NewItemMessagesItemSetReactionPostRequestBody()
	body.SetReactionType(&reaction)
	_, err := graph.Send[graph.None](ctx, g, "react to the message", m.SetReaction().ToPostRequestInformation, body, nil)
	return explainChat(g, err)
}

// A Marked is a chat whose viewpoint was changed.
type Marked struct {
	ID   string
	Read time.Time // until when it is read; zero: never
}

// MarkRead marks a chat as read.
func MarkRead(ctx context.Context, g *graph.Client, id string, now time.Time) (Marked, error) {
	user, c, err := viewer(ctx, g, id)
	if err != nil {
		return Marked{}, err
	}
	if c.Last != nil && c.Last.Created.After(now) { // by Microsoft's clock
		now = c.Last.Created
	}
	var body sdk.ItemMarkChatReadForUserPostRequestBodyable = sdk.NewItemMarkChatReadForUserPostRequestBody()
	body.SetUser(user)
	_, err = graph.Send[graph.None](ctx, g, "mark the chat as read", item(g, id).MarkChatReadForUser().ToPostRequestInformation, body, nil)
	return Marked{id, now.UTC()}, explainChat(g, err)
}

// MarkUnread marks a chat as unread from its newest message on.
func MarkUnread(ctx context.Context, g *graph.Client, id string) (Marked, error) {
	user, c, err := viewer(ctx, g, id)
	if err != nil {
		return Marked{}, err
	}
	var until time.Time
	var body sdk.ItemMarkChatUnreadForUserPostRequestBodyable = sdk.NewItemMarkChatUnreadForUserPostRequestBody()
	body.SetUser(user)
	if c.Last != nil && !c.Last.Created.IsZero() {
		until = c.Last.Created.Add(-time.Millisecond).Truncate(time.Second) // the SDK writes seconds
		body.SetLastMessageReadDateTime(&until)
	}
	_, err = graph.Send[graph.None](ctx, g, "mark the chat as unread", item(g, id).MarkChatUnreadForUser().ToPostRequestInformation, body, nil)
	return Marked{id, until}, explainChat(g, err)
}

// viewer returns the signed-in user as a member of a chat.
func viewer(ctx context.Context, g *graph.Client, id string) (models.TeamworkUserIdentityable, Chat, error) {
	me, err := directory.SignedIn(ctx, g)
	if err != nil {
		return nil, Chat{}, err
	}
	c, err := Read(ctx, g, id, false, true)
	if err != nil {
		return nil, c, err
	}
	tenant := tenantOf(c.Members, me.ID)
	if tenant == "" { // beyond the members that come with the chat
		if c.Members, err = Members(ctx, g, id); err != nil {
			return nil, c, err
		}
		tenant = tenantOf(c.Members, me.ID)
	}
	user := models.NewTeamworkUserIdentity()
	user.SetId(&me.ID)
	if tenant != "" {
		user.SetAdditionalData(map[string]any{"tenantId": tenant})
	}
	return user, c, nil
}

func tenantOf(members []Member, id string) string {
	for _, m := range members {
		if strings.EqualFold(m.UserID, id) {
			return m.Tenant
		}
	}
	return ""
}

// Open returns the chat with people, given by the addresses that they sign in with: the existing one with one person, or a new one, and
// a new group with several.
func Open(ctx context.Context, g *graph.Client, addresses []string, topic string) (Chat, error) {
	const op = "open the chat"
	me, err := directory.SignedIn(ctx, g)
	if err != nil {
		return Chat{}, err
	}
	kind := models.ONEONONE_CHATTYPE
	if len(addresses) > 1 || topic != "" {
		kind = models.GROUP_CHATTYPE
	}
	chat := models.NewChat()
	chat.SetChatType(&kind)
	if topic != "" {
		chat.SetTopic(&topic)
	}
	var members []models.ConversationMemberable
	for _, a := range append([]string{me.ID}, addresses...) {
		m := models.NewAadUserConversationMember()
		m.SetRoles([]string{"owner"})
		m.SetAdditionalData(map[string]any{"user@odata.bind": g.Reference("users", a)})
		members = append(members, m)
	}
	chat.SetMembers(members)
	d, err := graph.Send[chatDTO](ctx, g, op, sdk.NewChatsRequestBuilderInternal(map[string]string{}, g.Adapter()).ToPostRequestInformation, models.Chatable(chat), nil)
	var e *graph.Error
	switch {
	case err == nil && d.ID != "":
		return d.chat(), nil
	case err == nil:
		err = graph.Unconfirmed(graph.Incomplete(op, "id"))
	case errors.As(err, &e) && !e.Transient() && (e.Reason == graph.NotFound || e.Reason == graph.InvalidArgument || e.Reason == graph.PermissionMissing && g.Granted(CreatePermission())):
		return Chat{}, graph.Explain(err, "Microsoft Teams does not find everybody: want the addresses with which people of your organization sign in; a mail address may differ, and people outside must be in a chat already")
	}
	if kind == models.ONEONONE_CHATTYPE && errors.As(err, &e) && e.OutcomeUnknown {
		known := *e
		known.OutcomeUnknown = false // asking again for a chat with one person returns the same one
		return Chat{}, &known
	}
	return Chat{}, err
}
