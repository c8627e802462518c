package teams

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator/control"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/directory"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/odata"
)

// A ChatMessage is a message in a chat or a channel.
type ChatMessage struct {
	ID         string          `json:"id,omitempty"`
	From       string          `json:"from,omitempty"`     // address of a user; "": Sender
	Sender     map[string]any  `json:"sender,omitempty"`   // Graph's from of another sender; nil: null, as of a system message
	Type       string          `json:"type,omitempty"`     // "": message; systemEventMessage, unknownFutureValue …
	Body       string          `json:"body"`               //
	HTML       bool            `json:"html,omitempty"`     //
	Subject    string          `json:"subject,omitempty"`  // "": null
	Summary    string          `json:"summary,omitempty"`  // "": null
	Importance string          `json:"importance"`         // "": normal
	Mentions   []ChatMention   `json:"mentions,omitempty"` // the body has <at id="0">…</at> for each
	Created    time.Time       `json:"created,omitzero"`   // zero: now
	Modified   time.Time       `json:"modified,omitzero"`
	Edited     time.Time       `json:"edited,omitzero"`
	Deleted    time.Time       `json:"deleted,omitzero"`
	ReplyTo    string          `json:"replyTo,omitempty"` // in a channel: the id of the first message
	Quotes     []string        `json:"quotes,omitempty"`  // in a chat: the ids of the quoted messages
	Reactions  []ChatReaction  `json:"reactions,omitempty"`
	raw        []any           // mentions as they were posted
	where      map[string]any  // chatId or channelIdentity
	author     *directory.User // From
}

// A ChatMention is somebody or something that a message mentions.
type ChatMention struct {
	Address  string `json:"address,omitempty"`  // of a user
	Name     string `json:"name"`               // as shown
	Everyone string `json:"everyone,omitempty"` // chat, channel or team
}

// A ChatReaction is a reaction to a message.
type ChatReaction struct {
	User string `json:"user"` // address
	Type string `json:"type"` // an emoji
}

// maxMessage is the largest size of a message in bytes.
const maxMessage = 28 << 10

// stampMessage gives a message its id and its times.
func (s *Service) stampMessage(m *ChatMessage) {
	if m.Created.IsZero() {
		m.Created = s.directory.Now()
	}
	m.Created = m.Created.Truncate(time.Millisecond)
	id := max(m.Created.UnixMilli(), 1)
	for s.usedID(id) {
		id++
	}
	s.lastID = max(s.lastID, id)
	m.ID = strconv.FormatInt(id, 10)
	m.Created = time.UnixMilli(id).UTC()
	if m.Modified.IsZero() {
		m.Modified = m.Created
	}
}

// usedID reports whether a message has this id.
func (s *Service) usedID(id int64) bool {
	if id > s.lastID {
		return false
	}
	text := strconv.FormatInt(id, 10)
	is := func(m *ChatMessage) bool { return m.ID == text }
	for _, c := range s.chats {
		if slices.ContainsFunc(c.messages, is) {
			return true
		}
	}
	for _, t := range s.teams {
		for _, c := range t.channels {
			if slices.ContainsFunc(c.messages, is) {
				return true
			}
		}
	}
	return false
}

// PostChatMessage adds a message to a chat, as its sender does, and returns it with all fields filled in.
func (s *Service) PostChatMessage(chat string, m ChatMessage) ChatMessage {
	s.directory.Lock()
	defer s.directory.Unlock()
	c := s.mustChat(chat)
	if m.From != "" {
		m.author = s.directory.MustUser(m.From)
	}
	return *s.addChatMessage(c, m)
}

func (s *Service) addChatMessage(c *chat, m ChatMessage) *ChatMessage {
	s.stampMessage(&m)
	m.where = map[string]any{"chatId": c.ID}
	c.messages = append(c.messages, &m)
	slices.SortStableFunc(c.messages, func(a, b *ChatMessage) int { return a.Created.Compare(b.Created) })
	if m.author != nil { // who writes has read
		v := c.viewpoints[m.author.ID]
		if v.Read.Before(m.Created) {
			v.Read = m.Created
		}
		c.viewpoints[m.author.ID] = v
	}
	s.announce(c, &m, "created")
	return &m
}

// announce reports a change of a message in a chat.
func (s *Service) announce(c *chat, m *ChatMessage, kind string) {
	s.directory.Changed(func() directory.Change {
		return directory.Change{Collections: []string{"chats/" + c.ID + "/messages"}, ID: m.ID, Type: kind}
	})
}

// ChatMessages returns the messages of a chat, the oldest first.
func (s *Service) ChatMessages(chat string) []ChatMessage {
	s.directory.Lock()
	defer s.directory.Unlock()
	return values(s.mustChat(chat).messages)
}

func values(all []*ChatMessage) []ChatMessage {
	var out []ChatMessage
	for _, m := range all {
		out = append(out, *m)
	}
	return out
}

// EditChatMessage changes the text of a message, as its sender does.
func (s *Service) EditChatMessage(chat, id, body string) {
	s.directory.Lock()
	defer s.directory.Unlock()
	c := s.mustChat(chat)
	m := mustMessage(c.messages, id)
	m.Body, m.Edited, m.Modified = body, s.directory.Now(), s.directory.Now()
	s.announce(c, m, "updated")
}

// DeleteChatMessage deletes a message, as its sender does: it stays without its text.
func (s *Service) DeleteChatMessage(chat, id string) {
	s.directory.Lock()
	defer s.directory.Unlock()
	c := s.mustChat(chat)
	m := mustMessage(c.messages, id)
	m.Body, m.Deleted, m.Modified = "", s.directory.Now(), s.directory.Now()
	s.announce(c, m, "updated")
}

func messageID(m *ChatMessage) string { return m.ID }

func mustMessage(all []*ChatMessage, id string) *ChatMessage {
	m, ok := find(all, messageID, id)
	if !ok {
		panic(control.NotFound("no message %q", id))
	}
	return m
}

// messageJSON returns a message as Graph shows it.
func (s *Service) messageJSON(m *ChatMessage) map[string]any {
	kind := m.Type
	if kind == "" {
		kind = "message"
	}
	contentType := "text"
	if m.HTML {
		contentType = "html"
	}
	var from any
	if m.author != nil {
		from = map[string]any{"application": nil, "device": nil, "user": s.userJSON(m.author)}
	} else if m.Sender != nil {
		from = m.Sender
	}
	content := m.Body
	var attachments []any
	for _, id := range m.Quotes {
		attachments = append(attachments, map[string]any{"id": id, "contentType": "messageReference", "contentUrl": nil, "content": `{"messageId":"` + id + `"}`, "name": nil})
	}
	var event any
	if kind != "message" {
		content, contentType = "<systemEventMessage/>", "html"
		event = map[string]any{"@odata.type": "#microsoft.graph.membersAddedEventMessageDetail"}
	}
	reactions := []any{}
	for _, r := range m.Reactions {
		u := s.directory.MustUser(r.User)
		reactions = append(reactions, map[string]any{"reactionType": r.Type, "user": map[string]any{"user": s.userJSON(u)}})
	}
	mentions := m.raw
	if mentions == nil {
		mentions = s.mentionsJSON(m)
	}
	body := map[string]any{
		"id": m.ID, "replyToId": orNil(m.ReplyTo), "etag": strconv.FormatInt(m.Modified.UnixMilli(), 10), "messageType": kind,
		"createdDateTime": stamp(m.Created), "lastModifiedDateTime": stamp(m.Modified), "lastEditedDateTime": pointer(m.Edited), "deletedDateTime": pointer(m.Deleted),
		"subject": orNil(m.Subject), "summary": orNil(m.Summary), "importance": "normal", "locale": "en-us", "webUrl": nil, "chatId": nil,
		"policyViolation": nil, "eventDetail": event, "from": from, "body": map[string]any{"contentType": contentType, "content": content},
		"attachments": append([]any{}, attachments...), "mentions": mentions, "reactions": reactions, "messageHistory": []any{},
	}
	if m.Importance != "" {
		body["importance"] = m.Importance
	}
	for k, v := range m.where {
		body[k] = v
	}
	return body
}

func (s *Service) mentionsJSON(m *ChatMessage) []any {
	all := []any{}
	for i, x := range m.Mentions {
		mentioned := map[string]any{"application": nil, "device": nil, "conversation": nil, "user": nil}
		if x.Everyone != "" {
			mentioned["conversation"] = map[string]any{"id": "19:x", "displayName": x.Name, "conversationIdentityType": x.Everyone}
		} else {
			mentioned["user"] = s.userJSON(s.directory.MustUser(x.Address))
		}
		all = append(all, map[string]any{"id": i, "mentionText": x.Name, "mentioned": mentioned})
	}
	return all
}

func listChatMessages(c *call) (odata.Response, error) {
	x, err := c.chat()
	if err != nil {
		return odata.Response{}, err
	}
	match, paths, err := c.Filter()
	if err != nil {
		return odata.Response{}, err
	}
	orders, err := c.Orders()
	if err != nil {
		return odata.Response{}, err
	}
	order := odata.Order{Path: "lastModifiedDateTime", Descending: true}
	if len(orders) > 0 {
		order = orders[0]
	}
	if len(orders) > 1 || !order.Descending || order.Path != "lastModifiedDateTime" && order.Path != "createdDateTime" {
		return odata.Response{}, odata.BadRequest("The query parameter '$orderby' supports 'lastModifiedDateTime desc' and 'createdDateTime desc' only.")
	}
	// A filter of another property than the one of $orderby is ignored.
	filtered := len(orders) == 1 && slices.Equal(paths, []string{order.Path})
	if text := " " + strings.ToLower(c.Query.Get("$filter")) + " "; filtered {
		for _, operator := range []string{" ge ", " le ", " eq ", " ne ", " or "} {
			if strings.Contains(text, operator) || order.Path == "createdDateTime" && strings.Contains(text, " gt ") {
				return odata.Response{}, odata.BadRequest("The query parameter '$filter' supports 'gt' and 'lt' of lastModifiedDateTime and 'lt' of createdDateTime only.")
			}
		}
	}
	var all []map[string]any
	for _, m := range slices.Backward(x.messages) {
		if j := c.s.messageJSON(m); !filtered || match(j) {
			all = append(all, j)
		}
	}
	slices.SortStableFunc(all, func(a, b map[string]any) int { return odata.CompareBy([]odata.Order{order}, a, b) })
	return c.page("chats('"+url.PathEscape(x.ID)+"')/messages", len(all), 20, maxPage, func(i int) map[string]any { return all[i] })
}

// chatMessage returns the message in the path.
func (c *call) chatMessage() (*ChatMessage, error) {
	x, err := c.chat()
	if err != nil {
		return nil, err
	}
	m, ok := find(x.messages, messageID, c.Params["message"])
	if !ok {
		return nil, notFound("The message '%s' was not found.", c.Params["message"])
	}
	return m, nil
}

func getChatMessage(c *call) (odata.Response, error) {
	m, err := c.chatMessage()
	if err != nil {
		return odata.Response{}, err
	}
	return c.Entity("chats/messages", c.s.messageJSON(m)), nil
}

func postChatMessage(c *call) (odata.Response, error) {
	in, err := c.Decode()
	if err != nil {
		return odata.Response{}, err
	}
	x, err := c.chat()
	if err != nil {
		return odata.Response{}, err
	}
	m, err := c.message(in, x)
	if err != nil {
		return odata.Response{}, err
	}
	return c.created(c.s.addChatMessage(x, m)), nil
}

func (c *call) created(m *ChatMessage) odata.Response {
	resp := c.Entity("chats/messages", c.s.messageJSON(m))
	resp.Status = http.StatusCreated
	return resp
}

func replyWithQuote(c *call) (odata.Response, error) {
	p, err := c.Parameters(&odata.Type{Name: "parameters", Properties: odata.Properties{"messageIds": odata.String().Many(), "replyMessage": odata.Of(messageType())}})
	if err != nil {
		return odata.Response{}, err
	}
	x, err := c.chat()
	if err != nil {
		return odata.Response{}, err
	}
	ids, _ := p["messageIds"].([]any)
	if len(ids) == 0 || len(ids) > 10 {
		return odata.Response{}, odata.BadRequest("The parameter 'messageIds' must have 1 to 10 items.")
	}
	in, ok := p["replyMessage"].(map[string]any)
	if !ok {
		return odata.Response{}, odata.BadRequest("The parameter 'replyMessage' is required.")
	}
	m, err := c.message(in, x)
	if err != nil {
		return odata.Response{}, err
	}
	for _, v := range ids {
		id, _ := v.(string)
		if _, ok := find(x.messages, messageID, id); !ok {
			return odata.Response{}, notFound("The message '%s' was not found.", id)
		}
		m.Quotes = append(m.Quotes, id)
	}
	// Teams puts the quotes before the text, which becomes HTML.
	if !m.HTML {
		m.Body, m.HTML = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(m.Body), true
	}
	for _, id := range m.Quotes {
		m.Body = fmt.Sprintf("<attachment id=\"%s\"></attachment>\n%s", id, m.Body)
	}
	return c.created(c.s.addChatMessage(x, m)), nil
}

var marker = regexp.MustCompile(`<at id="(\d+)">`)

// message checks a posted message. x is the chat that it is for; nil for a channel.
func (c *call) message(in map[string]any, x *chat) (ChatMessage, error) {
	body, _ := in["body"].(map[string]any)
	content, _ := body["content"].(string)
	kind, _ := body["contentType"].(string)
	m := ChatMessage{From: c.User.Address, author: c.User, Body: content, HTML: strings.EqualFold(kind, "html")}
	m.Subject, _ = in["subject"].(string)
	m.Summary, _ = in["summary"].(string)
	m.Importance, _ = in["importance"].(string)
	for _, key := range []string{"attachments", "hostedContents"} {
		if files, _ := in[key].([]any); len(files) > 0 {
			return m, odata.NotSimulated("messages with %s.", key)
		}
	}
	if strings.TrimSpace(content) == "" {
		return m, odata.BadRequest("Missing body content.")
	}
	if len(content) > maxMessage {
		return m, odata.NewError(http.StatusRequestEntityTooLarge, "RequestEntityTooLarge", "The size of the message exceeds the limit of 28 KB.")
	}
	mentions, _ := in["mentions"].([]any)
	var ids []string
	for _, v := range mentions {
		mention, _ := v.(map[string]any)
		id := fmt.Sprint(mention["id"])
		ids = append(ids, id)
		if !m.HTML || !strings.Contains(content, `<at id="`+id+`">`) {
			return m, odata.BadRequest("Neither Body nor adaptive card content contains marker for mention with Id '%s'.", id)
		}
		mentioned, _ := mention["mentioned"].(map[string]any)
		user, _ := mentioned["user"].(map[string]any)
		conversation, _ := mentioned["conversation"].(map[string]any)
		switch {
		case user != nil:
			userID, _ := user["id"].(string)
			u := c.s.directory.ByID(userID)
			if u == nil || u.Tenant != c.User.Tenant || x != nil && !x.has(u) {
				return m, odata.BadRequest("The mentioned user '%s' is not a member of the conversation.", userID)
			}
			user["displayName"], user["userIdentityType"] = u.Name, "aadUser"
		case conversation != nil && (x != nil) == (conversation["conversationIdentityType"] == "chat"):
		default:
			return m, odata.BadRequest("The mention with Id '%s' has no valid identity.", id)
		}
	}
	for _, found := range marker.FindAllStringSubmatch(content, -1) {
		if m.HTML && !slices.Contains(ids, found[1]) {
			return m, odata.BadRequest("The body contains a marker for the mention with Id '%s', which is not in 'mentions'.", found[1])
		}
	}
	m.raw = append([]any{}, mentions...)
	return m, nil
}

// react adds or removes the user's reaction of the body to a message.
func (c *call) react(m *ChatMessage, set bool) error {
	p, err := c.Parameters(&odata.Type{Name: "parameters", Properties: odata.Properties{"reactionType": odata.String()}})
	if err != nil {
		return err
	}
	kind, _ := p["reactionType"].(string)
	if r, _ := utf8.DecodeRuneInString(kind); kind == "" || r < 0x80 {
		return odata.BadRequest("Invalid reaction type '%s'.", kind)
	}
	own := ChatReaction{User: c.User.Address, Type: kind}
	m.Reactions = slices.DeleteFunc(slices.Clone(m.Reactions), func(r ChatReaction) bool { return r == own })
	if set {
		m.Reactions = append(m.Reactions, own)
	}
	m.Modified = c.Now
	return nil
}

func setChatReaction(set bool) func(*call) (odata.Response, error) {
	return func(c *call) (odata.Response, error) {
		m, err := c.chatMessage()
		if err != nil {
			return odata.Response{}, err
		}
		return odata.Response{Status: http.StatusNoContent}, c.react(m, set)
	}
}
