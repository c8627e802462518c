// Package teams simulates the chats, teams and channels of Microsoft Teams.
package teams

import (
	_ "embed"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator/directory"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/odata"
)

// A Service holds the chats and teams of all users. The lock of the directory guards its state.
type Service struct {
	directory *directory.Directory
	chats     []*chat
	teams     []*team
	lastID    int64 // of a message: its time in milliseconds
}

// New returns a Teams without chats and teams.
func New(d *directory.Directory) *Service { return &Service{directory: d} }

// A call is a request to Graph.
type call struct {
	*odata.Call
	s *Service
}

//go:embed permissions.json
var permissions []byte

// Resource returns the chats and teams of Graph.
func (s *Service) Resource() odata.Resource {
	return odata.Resource{Routes: s.routes(), Permissions: permissions, Exceptions: exceptions, Controls: s.controls(), Seed: s.seed}
}

func (s *Service) routes() []odata.Route {
	route := func(t *odata.Type, method, path string, do func(*call) (odata.Response, error), options ...string) odata.Route {
		return odata.Route{Method: method, Path: path, Type: t, Options: options, Do: func(c *odata.Call) (odata.Response, error) { return do(&call{c, s}) }}
	}
	chats, members, messages, joined, channels := chatType(), memberType(), messageType(), teamType(), channelType()
	list := []string{"$top", "$orderby", "$filter", "$skiptoken"}
	var routes []odata.Route
	for _, root := range []string{"", "/me"} {
		routes = append(routes,
			route(chats, "GET", root+"/chats", listChats, append(list, "$expand")...),
			route(chats, "GET", root+"/chats/{chat}", getChat, "$expand"),
			route(messages, "GET", root+"/chats/{chat}/messages", listChatMessages, list...),
			route(messages, "GET", root+"/chats/{chat}/messages/{message}", getChatMessage),
		)
	}
	routes = append(routes,
		route(chats, "POST", "/chats", createChat),
		route(members, "GET", "/chats/{chat}/members", listMembers, "$top", "$skiptoken"),
		route(messages, "POST", "/chats/{chat}/messages", postChatMessage),
		route(messages, "POST", "/chats/{chat}/messages/replyWithQuote", replyWithQuote),
		route(messages, "POST", "/chats/{chat}/messages/{message}/setReaction", setChatReaction(true)),
		route(messages, "POST", "/chats/{chat}/messages/{message}/unsetReaction", setChatReaction(false)),
		route(chats, "POST", "/chats/{chat}/markChatReadForUser", markRead),
		route(chats, "POST", "/chats/{chat}/markChatUnreadForUser", markUnread),
		route(joined, "GET", "/me/joinedTeams", listTeams),
		route(channels, "GET", "/teams/{team}/channels", listChannels, "$filter", "$select"),
		route(channels, "GET", "/teams/{team}/channels/{channel}", getChannel, "$select"),
	)
	const thread = "/teams/{team}/channels/{channel}/messages"
	return append(routes,
		route(messages, "GET", thread, listChannelMessages, "$top", "$expand", "$skiptoken"),
		route(messages, "POST", thread, postChannelMessage),
		route(messages, "GET", thread+"/{message}", getChannelMessage),
		route(messages, "GET", thread+"/{message}/replies", listReplies, "$top", "$skiptoken"),
		route(messages, "POST", thread+"/{message}/replies", postChannelMessage),
		route(messages, "POST", thread+"/{message}/setReaction", setChannelReaction(true)),
		route(messages, "POST", thread+"/{message}/unsetReaction", setChannelReaction(false)),
		route(messages, "POST", thread+"/{message}/replies/{reply}/setReaction", setChannelReaction(true)),
		route(messages, "POST", thread+"/{message}/replies/{reply}/unsetReaction", setChannelReaction(false)),
	)
}

// exceptions returns the rows in which the permission table is wrong.
func exceptions(method, path string, personal bool) []string {
	if personal || method != http.MethodPost {
		return nil
	}
	switch path {
	case "/chats/{id}/messages/replywithquote": // the table has it with a typing error
		return []string{"ChatMessage.Send", "Chat.ReadWrite"}
	case "/chats/{id}/messages/{id}/setreaction", "/chats/{id}/messages/{id}/unsetreaction": // the table has them below /users/{id} only
		return []string{"ChatMessage.Send", "Chat.ReadWrite"}
	}
	return nil
}

func forbidden(format string, args ...any) *odata.Error {
	return odata.NewError(http.StatusForbidden, "Forbidden", format, args...)
}

func notFound(format string, args ...any) *odata.Error {
	return odata.NewError(http.StatusNotFound, "NotFound", format, args...)
}

func identityType() *odata.Type {
	return odata.ComplexType("teamworkUserIdentity", odata.Properties{
		"id": odata.String(), "displayName": odata.String(), "userIdentityType": odata.String(), "tenantId": odata.String(),
	})
}

func identitySetType() *odata.Type {
	conversation := odata.ComplexType("teamworkConversationIdentity", odata.Properties{
		"id": odata.String(), "displayName": odata.String(),
		"conversationIdentityType": odata.Enum("teamworkConversationIdentityType", "team", "channel", "chat"),
	})
	other := odata.ComplexType("identity", odata.Properties{"id": odata.String(), "displayName": odata.String()})
	return odata.ComplexType("chatMessageMentionedIdentitySet", odata.Properties{
		"user": odata.Of(identityType()), "application": odata.Of(other), "device": odata.Of(other), "conversation": odata.Of(conversation),
	})
}

func denied() *odata.Error {
	return forbidden("Missing scope permissions on the request.")
}

func memberType() *odata.Type {
	return &odata.Type{Name: "microsoft.graph.conversationMember", Denied: denied(), Properties: odata.Properties{
		"id": odata.String(), "displayName": odata.String(), "roles": odata.String().Many(), "userId": odata.String(), "email": odata.String(),
		"tenantId": odata.String(), "visibleHistoryStartDateTime": odata.DateTimeOffset(),
	}}
}

func chatType() *odata.Type {
	viewpoint := odata.ComplexType("chatViewpoint", odata.Properties{"isHidden": odata.Boolean(), "lastMessageReadDateTime": odata.DateTimeOffset()})
	preview := odata.ComplexType("chatMessageInfo", odata.Properties{"id": odata.String(), "createdDateTime": odata.DateTimeOffset()})
	return &odata.Type{Name: "microsoft.graph.chat", Denied: denied(), Properties: odata.Properties{
		"id": odata.String(), "topic": odata.String(), "chatType": odata.String(), "createdDateTime": odata.DateTimeOffset(),
		"lastUpdatedDateTime": odata.DateTimeOffset(), "webUrl": odata.String(), "tenantId": odata.String(), "onlineMeetingInfo": odata.String(),
		"viewpoint": odata.Of(viewpoint), "isHiddenForAllMembers": odata.Boolean(),
		"members": odata.Of(memberType()).Many().Link(true), "lastMessagePreview": odata.Of(preview).Link(true),
	}}
}

func messageType() *odata.Type {
	mention := odata.ComplexType("chatMessageMention", odata.Properties{
		"id": odata.Int32(), "mentionText": odata.String(), "mentioned": odata.Of(identitySetType()),
	})
	t := &odata.Type{Name: "microsoft.graph.chatMessage", Denied: denied(), Properties: odata.Properties{
		"id": odata.String().Computed(), "replyToId": odata.String().Computed(), "etag": odata.String().Computed(), "messageType": odata.String().Computed(),
		"createdDateTime": odata.DateTimeOffset().Computed(), "lastModifiedDateTime": odata.DateTimeOffset().Computed(),
		"lastEditedDateTime": odata.DateTimeOffset().Computed(), "deletedDateTime": odata.DateTimeOffset().Computed(),
		"subject": odata.String(), "summary": odata.String(), "importance": odata.Enum("chatMessageImportance", "normal", "high", "urgent"),
		"body": odata.ItemBody(), "mentions": odata.Of(mention).Many(), "chatId": odata.String().Computed(), "webUrl": odata.String().Computed(),
		"locale": odata.String().Computed(), "from": odata.String().Computed(), "eventDetail": odata.String().Computed(),
		"reactions": odata.String().Computed(), "attachments": odata.String().Many(), "hostedContents": odata.String().Many(),
	}}
	t.Properties["replies"] = odata.Of(&odata.Type{Name: t.Name, Properties: t.Properties}).Many().Link(true)
	return t
}

func teamType() *odata.Type {
	return &odata.Type{Name: "microsoft.graph.team", Denied: denied(), Properties: odata.Properties{
		"id": odata.String(), "displayName": odata.String(), "description": odata.String(),
	}}
}

func channelType() *odata.Type {
	return &odata.Type{Name: "microsoft.graph.channel", Denied: denied(), Properties: odata.Properties{
		"id": odata.String(), "displayName": odata.String(), "description": odata.String(), "membershipType": odata.String(), "createdDateTime": odata.DateTimeOffset(),
	}}
}

// page returns a page of n entities. Teams gives an opaque $skiptoken for the next one.
func (c *call) page(set string, n, fallback, most int, entity func(i int) map[string]any) (odata.Response, error) {
	if _, err := c.Project(map[string]any{}); err != nil { // unknown names are refused even if there is no entity
		return odata.Response{}, err
	}
	top, err := c.Number("$top", fallback, 1, most)
	if err != nil {
		return odata.Response{}, err
	}
	skip, err := c.Number("$skiptoken", 0, 0, 1<<30)
	if err != nil {
		return odata.Response{}, err
	}
	value := []map[string]any{}
	for i := min(skip, n); i < min(skip+top, n); i++ {
		e, err := c.Project(entity(i))
		if err != nil {
			return odata.Response{}, err
		}
		value = append(value, e)
	}
	body := map[string]any{"@odata.context": c.Context(set), "@odata.count": len(value), "value": value}
	if skip+top < n {
		body["@odata.nextLink"] = c.next(skip + top)
	}
	return odata.Response{Status: http.StatusOK, Body: body}, nil
}

// pointer formats a time of Graph's, null for the zero time.
func pointer(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return stamp(t)
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

func orNil(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func (s *Service) userJSON(u *directory.User) map[string]any {
	return map[string]any{"id": u.ID, "displayName": u.Name, "userIdentityType": "aadUser", "tenantId": u.Tenant}
}

// find returns the item whose id is given, compared without regard to case as Graph does.
func find[T any](all []T, id func(T) string, wanted string) (found T, ok bool) {
	i := slices.IndexFunc(all, func(v T) bool { return strings.EqualFold(id(v), wanted) })
	if i < 0 {
		return found, false
	}
	return all[i], true
}
