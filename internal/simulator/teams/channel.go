package teams

import (
	"net/http"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator/control"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/directory"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/odata"
)

// A Team is a team with its channels. A new one has the channel General.
type Team struct {
	ID       string    `json:"id,omitempty"` // "": a new one
	Name     string    `json:"name"`
	Members  []string  `json:"members"` // addresses of users
	Channels []Channel `json:"channels,omitempty"`
}

// A Channel is a channel of a team.
type Channel struct {
	ID   string `json:"id,omitempty"` // "": a new one
	Name string `json:"name"`
}

type team struct {
	Team
	channels []*channel
}

type channel struct {
	Channel
	messages []*ChatMessage // with the replies, oldest first
}

// AddTeam adds a team and returns it with all fields filled in. It panics if a member is unknown or the id is taken.
func (s *Service) AddTeam(t Team) Team {
	s.directory.Lock()
	defer s.directory.Unlock()
	for _, m := range t.Members {
		s.directory.MustUser(m)
	}
	if t.ID == "" {
		t.ID = uuid.NewString()
	}
	if _, taken := s.team(t.ID); taken {
		panic(control.Conflict("id: want an unused id, not %q", t.ID))
	}
	if len(t.Channels) == 0 {
		t.Channels = []Channel{{Name: "General"}}
	}
	stored := &team{Team: t}
	for _, c := range t.Channels {
		stored.add(c)
	}
	s.teams = append(s.teams, stored)
	return stored.value()
}

// AddChannel adds a channel to a team.
func (s *Service) AddChannel(team string, c Channel) Channel {
	s.directory.Lock()
	defer s.directory.Unlock()
	return s.mustTeam(team).add(c)
}

func (t *team) add(c Channel) Channel {
	if c.ID == "" {
		c.ID = "19:" + strings.ReplaceAll(uuid.NewString(), "-", "") + "@thread.tacv2"
	}
	t.channels = append(t.channels, &channel{Channel: c})
	return c
}

func (t *team) value() Team {
	v := t.Team
	v.Channels = nil
	for _, c := range t.channels {
		v.Channels = append(v.Channels, c.Channel)
	}
	return v
}

// Teams returns all teams in the order in which they were made.
func (s *Service) Teams() []Team {
	s.directory.Lock()
	defer s.directory.Unlock()
	var all []Team
	for _, t := range s.teams {
		all = append(all, t.value())
	}
	return all
}

func (s *Service) team(id string) (*team, bool) {
	return find(s.teams, func(t *team) string { return t.ID }, id)
}

func (s *Service) mustTeam(id string) *team {
	t, ok := s.team(id)
	if !ok {
		panic(control.NotFound("no team %q", id))
	}
	return t
}

func channelID(c *channel) string { return c.ID }

func (s *Service) mustChannel(team, id string) *channel {
	c, ok := find(s.mustTeam(team).channels, channelID, id)
	if !ok {
		panic(control.NotFound("no channel %q", id))
	}
	return c
}

// PostChannelMessage adds a message or, with ReplyTo, a reply to a channel, as its sender does, and returns it with all fields filled in.
func (s *Service) PostChannelMessage(team, channel string, m ChatMessage) ChatMessage {
	s.directory.Lock()
	defer s.directory.Unlock()
	c := s.mustChannel(team, channel)
	if m.From != "" {
		m.author = s.directory.MustUser(m.From)
	}
	if m.ReplyTo != "" {
		mustMessage(c.messages, m.ReplyTo)
	}
	return *s.addChannelMessage(team, c, m)
}

func (s *Service) addChannelMessage(team string, c *channel, m ChatMessage) *ChatMessage {
	s.stampMessage(&m)
	m.where = map[string]any{"channelIdentity": map[string]any{"teamId": team, "channelId": c.ID}}
	if first, ok := find(c.messages, messageID, m.ReplyTo); ok && first.Modified.Before(m.Created) {
		first.Modified = m.Created
	}
	c.messages = append(c.messages, &m)
	return &m
}

// ChannelMessages returns the messages and replies of a channel, the oldest first.
func (s *Service) ChannelMessages(team, channel string) []ChatMessage {
	s.directory.Lock()
	defer s.directory.Unlock()
	return values(s.mustChannel(team, channel).messages)
}

func (t *team) has(u *directory.User) bool {
	return slices.ContainsFunc(t.Members, func(m string) bool { return strings.EqualFold(m, u.Address) })
}

func listTeams(c *call) (odata.Response, error) {
	value := []map[string]any{}
	for _, t := range c.s.teams {
		if t.has(c.User) {
			value = append(value, map[string]any{"id": t.ID, "displayName": t.Name, "description": nil})
		}
	}
	return odata.Response{Status: http.StatusOK, Body: map[string]any{"@odata.context": c.Context("teams"), "@odata.count": len(value), "value": value}}, nil
}

// team returns the team in the path, which the user must be a member of.
func (c *call) team() (*team, error) {
	if uuid.Validate(c.Params["team"]) != nil {
		return nil, odata.BadRequest("teamId needs to be a valid GUID.")
	}
	t, ok := c.s.team(c.Params["team"])
	switch {
	case !ok:
		return nil, notFound("No team found with Group Id %s.", c.Params["team"])
	case !t.has(c.User):
		return nil, forbidden("The user is not a member of the team.")
	}
	return t, nil
}

func channelJSON(x *channel) map[string]any {
	return map[string]any{"id": x.ID, "displayName": x.Name, "description": nil, "membershipType": "standard", "createdDateTime": "2020-05-27T19:22:25.692Z"}
}

func listChannels(c *call) (odata.Response, error) {
	t, err := c.team()
	if err != nil {
		return odata.Response{}, err
	}
	var all []map[string]any
	for _, x := range t.channels {
		all = append(all, channelJSON(x))
	}
	return c.Collection("teams('"+t.ID+"')/channels", all)
}

// channel returns the team and the channel in the path.
func (c *call) channel() (*team, *channel, error) {
	t, err := c.team()
	if err != nil {
		return nil, nil, err
	}
	x, ok := find(t.channels, channelID, c.Params["channel"])
	if !ok {
		return nil, nil, notFound("The channel '%s' was not found.", c.Params["channel"])
	}
	return t, x, nil
}

func getChannel(c *call) (odata.Response, error) {
	_, x, err := c.channel()
	if err != nil {
		return odata.Response{}, err
	}
	body, err := c.Project(channelJSON(x))
	if err != nil {
		return odata.Response{}, err
	}
	return c.Entity("channels", body), nil
}

// replies returns the replies to a message as JSON, the newest first.
func (c *call) replies(x *channel, id string) []any {
	all := []any{}
	for _, m := range slices.Backward(x.messages) {
		if m.ReplyTo == id {
			all = append(all, c.s.messageJSON(m))
		}
	}
	return all
}

func listChannelMessages(c *call) (odata.Response, error) {
	_, x, err := c.channel()
	if err != nil {
		return odata.Response{}, err
	}
	var all []*ChatMessage
	for _, m := range x.messages {
		if m.ReplyTo == "" {
			all = append(all, m)
		}
	}
	slices.SortStableFunc(all, func(a, b *ChatMessage) int { return b.Modified.Compare(a.Modified) })
	return c.page("teams/channels/messages", len(all), 20, maxPage, func(i int) map[string]any {
		j := c.s.messageJSON(all[i])
		j["replies"] = c.replies(x, all[i].ID)
		return j
	})
}

// channelMessage returns the message in the path, or the reply.
func (c *call) channelMessage() (*channel, *ChatMessage, error) {
	_, x, err := c.channel()
	if err != nil {
		return nil, nil, err
	}
	id, first := c.Params["message"], ""
	if reply := c.Params["reply"]; reply != "" {
		id, first = reply, id
	}
	m, ok := find(x.messages, messageID, id)
	if !ok || m.ReplyTo != first {
		return nil, nil, notFound("The message '%s' was not found.", id)
	}
	return x, m, nil
}

func getChannelMessage(c *call) (odata.Response, error) {
	_, m, err := c.channelMessage()
	if err != nil {
		return odata.Response{}, err
	}
	return c.Entity("teams/channels/messages", c.s.messageJSON(m)), nil
}

func listReplies(c *call) (odata.Response, error) {
	x, m, err := c.channelMessage()
	if err != nil {
		return odata.Response{}, err
	}
	all := c.replies(x, m.ID)
	return c.page("teams/channels/messages/replies", len(all), 20, maxPage, func(i int) map[string]any { return all[i].(map[string]any) })
}

// postChannelMessage posts a message, or a reply to the message in the path.
func postChannelMessage(c *call) (odata.Response, error) {
	in, err := c.Decode()
	if err != nil {
		return odata.Response{}, err
	}
	t, x, err := c.channel()
	if err != nil {
		return odata.Response{}, err
	}
	m, err := c.message(in, nil)
	if err != nil {
		return odata.Response{}, err
	}
	if id := c.Params["message"]; id != "" {
		if _, _, err := c.channelMessage(); err != nil {
			return odata.Response{}, err
		}
		m.ReplyTo = id
	}
	return c.created(c.s.addChannelMessage(t.ID, x, m)), nil
}

func setChannelReaction(set bool) func(*call) (odata.Response, error) {
	return func(c *call) (odata.Response, error) {
		_, m, err := c.channelMessage()
		if err != nil {
			return odata.Response{}, err
		}
		return odata.Response{Status: http.StatusNoContent}, c.react(m, set)
	}
}
