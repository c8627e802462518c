package teams

import (
	"cmp"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator/control"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/directory"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/odata"
)

// A Chat is a conversation of several people.
type Chat struct {
	ID      string       `json:"id,omitempty"`      // "": a new one
	Type    string       `json:"type,omitempty"`    // oneOnOne, group, meeting or unknownFutureValue; "": by the number of members
	Topic   string       `json:"topic,omitempty"`   // "": none
	Members []string     `json:"members"`           // addresses of users
	Guests  []ChatMember `json:"guests,omitempty"`  // members without an account in the simulator
	Updated time.Time    `json:"updated,omitzero"`  // when topic or members changed last; zero: now
	Foreign bool         `json:"foreign,omitempty"` // of another tenant: it is listed, but everything below it is refused
}

// A ChatMember is a member of a chat who is no user of the simulator.
type ChatMember struct {
	UserID string `json:"userId"`
	Name   string `json:"name"`  // "": null
	Email  string `json:"email"` // "": null
}

// A Viewpoint is the point up to which a user has read a chat.
type Viewpoint struct {
	Read   time.Time `json:"read,omitzero"` // zero: never, which Graph shows as the year 1
	Hidden bool      `json:"hidden"`
	Null   bool      `json:"null"` // the chat has no viewpoint
}

type chat struct {
	Chat
	created    time.Time
	viewpoints map[string]Viewpoint // by the id of the user
	messages   []*ChatMessage       // oldest first
}

// AddChat adds a chat and returns it with all fields filled in. It panics if a member is unknown or the id is taken.
func (s *Service) AddChat(c Chat) Chat {
	s.directory.Lock()
	defer s.directory.Unlock()
	return s.addChat(c).Chat
}

func (s *Service) addChat(c Chat) *chat {
	for _, m := range c.Members {
		s.directory.MustUser(m)
	}
	if c.Type == "" {
		c.Type = "group"
		if len(c.Members)+len(c.Guests) == 2 && c.Topic == "" {
			c.Type = "oneOnOne"
		}
	}
	if c.ID == "" {
		c.ID = "19:" + strings.ReplaceAll(uuid.NewString(), "-", "") + "@thread.v2"
		switch {
		case c.Type == "meeting":
			c.ID = "19:meeting_" + directory.Random(20) + "@thread.v2"
		case c.Type == "oneOnOne" && len(c.Members) == 2:
			c.ID = "19:" + s.directory.MustUser(c.Members[0]).ID + "_" + s.directory.MustUser(c.Members[1]).ID + "@unq.gbl.spaces"
		}
	}
	if _, taken := s.chat(c.ID); taken {
		panic(control.Conflict("id: want an unused id, not %q", c.ID))
	}
	now := s.directory.Now()
	if c.Updated.IsZero() {
		c.Updated = now
	}
	stored := &chat{Chat: c, created: c.Updated, viewpoints: map[string]Viewpoint{}}
	s.chats = append(s.chats, stored)
	return stored
}

func (s *Service) chat(id string) (*chat, bool) {
	return find(s.chats, func(c *chat) string { return c.ID }, id)
}

func (s *Service) mustChat(id string) *chat {
	c, ok := s.chat(id)
	if !ok {
		panic(control.NotFound("no chat %q", id))
	}
	return c
}

// ChangeChat changes topic, members or whether it is foreign, as in Teams.
func (s *Service) ChangeChat(id string, change func(*Chat)) {
	s.directory.Lock()
	defer s.directory.Unlock()
	c := s.mustChat(id)
	change(&c.Chat)
	c.Updated = s.directory.Now()
}

// Chats returns all chats in the order in which they were made.
func (s *Service) Chats() []Chat {
	s.directory.Lock()
	defer s.directory.Unlock()
	var all []Chat
	for _, c := range s.chats {
		all = append(all, c.Chat)
	}
	return all
}

// SetViewpoint sets how far a user has read a chat.
func (s *Service) SetViewpoint(address, chat string, v Viewpoint) {
	s.directory.Lock()
	defer s.directory.Unlock()
	s.mustChat(chat).viewpoints[s.directory.MustUser(address).ID] = v
}

// Viewpoint returns how far a user has read a chat.
func (s *Service) Viewpoint(address, chat string) Viewpoint {
	s.directory.Lock()
	defer s.directory.Unlock()
	return s.mustChat(chat).viewpoints[s.directory.MustUser(address).ID]
}

func (c *chat) has(u *directory.User) bool {
	return slices.ContainsFunc(c.Members, func(m string) bool { return strings.EqualFold(m, u.Address) })
}

// last returns the newest message, or nil.
func (c *chat) last() *ChatMessage {
	if len(c.messages) == 0 {
		return nil
	}
	return c.messages[len(c.messages)-1]
}

func (c *chat) lastCreated() time.Time {
	if m := c.last(); m != nil {
		return m.Created
	}
	return time.Time{}
}

// members returns the members as JSON.
func (s *Service) members(c *chat) []any {
	all := []any{}
	add := func(id, name, email, tenant string) {
		all = append(all, map[string]any{
			"@odata.type": "#microsoft.graph.aadUserConversationMember", "id": "MCMjMCMj" + id, "roles": []any{"owner"}, "displayName": orNil(name), "userId": id,
			"email": orNil(email), "tenantId": tenant, "visibleHistoryStartDateTime": "0001-01-01T00:00:00Z",
		})
	}
	for _, m := range c.Members {
		u := s.directory.MustUser(m)
		add(u.ID, u.Name, u.Address, u.Tenant)
	}
	for _, g := range c.Guests {
		add(g.UserID, g.Name, g.Email, "")
	}
	return all
}

func (s *Service) chatJSON(c *chat, u *directory.User) map[string]any {
	tenant := u.Tenant
	if c.Foreign {
		tenant = "9f4b3c9e-0a5c-4b8e-9d55-6d2c11f0a001"
	}
	body := map[string]any{
		"id": c.ID, "topic": orNil(c.Topic), "createdDateTime": stamp(c.created), "lastUpdatedDateTime": stamp(c.Updated), "chatType": c.Type,
		"webUrl":   "https://teams.microsoft.com/l/chat/" + url.PathEscape(c.ID) + "/0?tenantId=" + tenant,
		"tenantId": tenant, "onlineMeetingInfo": nil, "isHiddenForAllMembers": false, "viewpoint": nil, "lastMessagePreview": nil,
	}
	if v := c.viewpoints[u.ID]; !v.Null {
		read := "0001-01-01T00:00:00Z"
		if !v.Read.IsZero() {
			read = stamp(v.Read)
		}
		body["viewpoint"] = map[string]any{"isHidden": v.Hidden, "lastMessageReadDateTime": read}
	}
	members := s.members(c)
	body["members"] = members[:min(len(members), maxExpanded)]
	if m := c.last(); m != nil {
		j := s.messageJSON(m)
		preview := map[string]any{"isDeleted": !m.Deleted.IsZero()}
		for _, key := range []string{"id", "createdDateTime", "messageType", "from", "body", "eventDetail"} {
			preview[key] = j[key]
		}
		if !m.Deleted.IsZero() {
			preview["body"] = map[string]any{"contentType": "text", "content": ""}
		}
		body["lastMessagePreview"] = preview
	}
	return body
}

const (
	// maxExpanded is the largest number of members that $expand returns.
	maxExpanded = 25
	// maxPage is the largest page of chats and messages.
	maxPage = 50
)

// checkExpand refuses what the granted permission does not give.
func (c *call) checkExpand() error {
	preview := strings.Contains(strings.ToLower(c.Query.Get("$expand")+c.Query.Get("$orderby")), "lastmessagepreview")
	if preview && !c.Granted("Chat.Read", "Chat.ReadWrite") {
		return denied()
	}
	return nil
}

func listChats(c *call) (odata.Response, error) {
	if c.Query.Has("$filter") {
		return odata.Response{}, odata.NotSimulated("$filter of chats.")
	}
	if err := c.checkExpand(); err != nil {
		return odata.Response{}, err
	}
	var all []*chat
	for _, x := range c.s.chats {
		if x.has(c.User) {
			all = append(all, x)
		}
	}
	switch order := c.Query.Get("$orderby"); {
	case strings.EqualFold(order, "lastMessagePreview/createdDateTime desc"):
		slices.SortStableFunc(all, func(a, b *chat) int { return b.lastCreated().Compare(a.lastCreated()) })
	case order != "":
		return odata.Response{}, odata.BadRequest("The query parameter '$orderby' supports 'lastMessagePreview/createdDateTime desc' only.")
	}
	return c.page("chats", len(all), 20, maxPage, func(i int) map[string]any { return c.s.chatJSON(all[i], c.User) })
}

// next returns the address of the next page.
func (c *call) next(skip int) string {
	q := c.Request.URL.Query()
	maps.DeleteFunc(q, func(k string, _ []string) bool { return strings.EqualFold(k, "$skiptoken") })
	q.Set("$skiptoken", strconv.Itoa(skip))
	return "https://" + c.Request.Host + c.Request.URL.EscapedPath() + "?" + strings.ReplaceAll(q.Encode(), "%24", "$")
}

// chat returns the chat in the path, which the user must be a member of.
func (c *call) chat() (*chat, error) {
	x, ok := c.s.chat(c.Params["chat"])
	switch {
	case !ok || !x.has(c.User):
		return nil, notFound("The chat '%s' was not found, or the user is not a member of it.", c.Params["chat"])
	case x.Foreign:
		return nil, forbidden("The chat belongs to another tenant, which does not allow the request.")
	}
	return x, nil
}

func getChat(c *call) (odata.Response, error) {
	if err := c.checkExpand(); err != nil {
		return odata.Response{}, err
	}
	x, err := c.chat()
	if err != nil {
		return odata.Response{}, err
	}
	body, err := c.Project(c.s.chatJSON(x, c.User))
	if err != nil {
		return odata.Response{}, err
	}
	return c.Entity("chats", body), nil
}

func listMembers(c *call) (odata.Response, error) {
	x, err := c.chat()
	if err != nil {
		return odata.Response{}, err
	}
	all := c.s.members(x)
	return c.page("chats('"+url.PathEscape(x.ID)+"')/members", len(all), 100, 999, func(i int) map[string]any { return all[i].(map[string]any) })
}

var boundUser = regexp.MustCompile(`^https://[^/]+/v1\.0/users(?:\('(.+)'\)|/([^/']+))$`)

// createChat: see https://learn.microsoft.com/graph/api/chat-post.
func createChat(c *call) (odata.Response, error) {
	var in struct {
		Type    string `json:"chatType"`
		Topic   string `json:"topic"`
		Members []struct {
			Roles []string `json:"roles"`
			User  string   `json:"user@odata.bind"`
		} `json:"members"`
	}
	if err := json.Unmarshal(c.Body, &in); err != nil {
		return odata.Response{}, odata.BadRequest("Unable to read JSON request payload.")
	}
	var members []string
	for _, m := range in.Members {
		bound := boundUser.FindStringSubmatch(m.User)
		if bound == nil {
			return odata.Response{}, odata.BadRequest("Invalid value '%s' for 'user@odata.bind'.", m.User)
		}
		if !slices.Equal(m.Roles, []string{"owner"}) && !slices.Equal(m.Roles, []string{"guest"}) {
			return odata.Response{}, odata.BadRequest("Each member must have the role 'owner' or 'guest'.")
		}
		id, err := url.PathUnescape(cmp.Or(strings.ReplaceAll(bound[1], "''", "'"), bound[2]))
		if err != nil {
			return odata.Response{}, odata.BadRequest("Invalid value '%s' for 'user@odata.bind'.", m.User)
		}
		u := c.s.directory.ByID(id)
		if u == nil || u.Tenant != c.User.Tenant {
			return odata.Response{}, notFound("The user '%s' was not found in the tenant.", id)
		}
		if !slices.Contains(members, u.Address) {
			members = append(members, u.Address)
		}
	}
	switch {
	case !slices.Contains(members, c.User.Address):
		return odata.Response{}, odata.BadRequest("The caller must be one of the members specified in the request body.")
	case in.Type == "oneOnOne" && len(members) != 2:
		return odata.Response{}, odata.BadRequest("A oneOnOne chat must have exactly 2 distinct members.")
	case in.Type == "oneOnOne" && in.Topic != "":
		return odata.Response{}, odata.BadRequest("A topic is allowed for group chats only.")
	case in.Type == "group" && len(members) < 2:
		return odata.Response{}, odata.BadRequest("A group chat must have at least 2 members.")
	case in.Type != "oneOnOne" && in.Type != "group":
		return odata.Response{}, odata.BadRequest("The chatType '%s' is not supported.", in.Type)
	}
	var x *chat
	if in.Type == "oneOnOne" {
		for _, known := range c.s.chats {
			if known.Type == "oneOnOne" && len(known.Members) == 2 && !slices.ContainsFunc(members, func(m string) bool { return !slices.Contains(known.Members, m) }) {
				x = known
			}
		}
	}
	if x == nil {
		x = c.s.addChat(Chat{Type: in.Type, Topic: in.Topic, Members: members})
	}
	body, err := c.Project(c.s.chatJSON(x, c.User))
	if err != nil {
		return odata.Response{}, err
	}
	resp := c.Entity("chats", body)
	resp.Status = http.StatusCreated
	return resp, nil
}

// viewpoint decodes the parameters of actions that change a viewpoint.
func (c *call) viewpoint(extra odata.Properties) (*chat, map[string]any, error) {
	t := &odata.Type{Name: "parameters", Properties: odata.Properties{"user": odata.Of(identityType())}}
	maps.Copy(t.Properties, extra)
	p, err := c.Parameters(t)
	if err != nil {
		return nil, nil, err
	}
	user, _ := p["user"].(map[string]any)
	if id, _ := user["id"].(string); !strings.EqualFold(id, c.User.ID) {
		return nil, nil, forbidden("The viewpoint of another user cannot be changed.")
	}
	if tenant, _ := user["tenantId"].(string); !strings.EqualFold(tenant, c.User.Tenant) {
		return nil, nil, odata.BadRequest("The 'tenantId' of the user is required and must be the user's.")
	}
	x, err := c.chat()
	return x, p, err
}

func markRead(c *call) (odata.Response, error) {
	x, _, err := c.viewpoint(nil)
	if err != nil {
		return odata.Response{}, err
	}
	v := x.viewpoints[c.User.ID]
	v.Read, v.Null = c.Now, false
	if last := x.lastCreated(); last.After(v.Read) {
		v.Read = last
	}
	x.viewpoints[c.User.ID] = v
	return odata.Response{Status: http.StatusNoContent}, nil
}

func markUnread(c *call) (odata.Response, error) {
	x, p, err := c.viewpoint(odata.Properties{"lastMessageReadDateTime": odata.DateTimeOffset()})
	if err != nil {
		return odata.Response{}, err
	}
	v := x.viewpoints[c.User.ID]
	v.Read, v.Null = time.Time{}, false
	if text, ok := p["lastMessageReadDateTime"].(string); ok {
		v.Read, _ = time.Parse(time.RFC3339, text) // checked by Parameters
	}
	x.viewpoints[c.User.ID] = v
	return odata.Response{Status: http.StatusNoContent}, nil
}
