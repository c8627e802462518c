package chat

import (
	"context"
	"slices"
	"strings"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/chatmessage"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/directory"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/teams"
	"github.com/graph2mqtt/graph2mqtt/internal/schema"
	"github.com/graph2mqtt/graph2mqtt/services"
)

type chatMessage = chatmessage.Message

// A Target is the channels of a team that operations are bound to, by id or name.
type Target struct {
	Team      string
	Channels  []string
	ByAddress bool // people may be mentioned by their address
}

// LookUpPermissions returns the permissions that finding the channels needs: none where team and channels are given by their ids.
func (t Target) LookUpPermissions() []graph.Permission {
	var all []graph.Permission
	if !teams.IsTeamID(t.Team) {
		all = append(all, teams.TeamsPermission())
	}
	if slices.ContainsFunc(t.Channels, func(c string) bool { return !teams.IsChannelID(c) }) {
		all = append(all, teams.ChannelsPermission())
	}
	return all
}

// ChannelOperations returns the operations of channels.
func ChannelOperations(t Target) []services.Operation {
	send := append([]graph.Permission{teams.SendPermission()}, t.LookUpPermissions()...)
	find := graph.Permission{Scope: "User.ReadBasic.All", Purpose: "finds people who are mentioned by their address", Impact: "people can be mentioned by their id only"}
	return []services.Operation{
		{
			Name: SendOperation, Doc: "Sends a message to a channel. The text is sent unchanged, including links; files are not uploaded. A message may have 28 KB.",
			Permissions: send, Retry: services.AtMostOnce, Example: `{"subject": "Alarm", "message": "The garage door is open.", "importance": "high"}`, Returns: postedFields(), New: func() services.Request { return &SendToChannel{target: t} },
		},
		{
			Name: "reply", Doc: "Replies to a message in a channel.",
			Permissions: send, Retry: services.AtMostOnce, Example: `{"message_id": "1617…", "message": "It is closed."}`, Returns: postedFields(), New: func() services.Request { return &ReplyInChannel{target: t} },
		},
		{
			Name: "react", Doc: "Adds your reaction to a message in a channel, or removes it.",
			Permissions: send, Example: `{"message_id": "1617…", "reaction": "like"}`, Returns: reactedFields(), New: func() services.Request { return &ReactInChannel{target: t} },
		},
		{
			Name: MentionByAddress, Doc: "Sends a message like send. If this operation is allowed, send and reply can also mention people by their address.",
			Permissions: append(slices.Clone(send), find), Optional: true, Retry: services.AtMostOnce, Example: `{"message": "@megan@contoso.example, please look.", "mentions": [{"address": "megan@contoso.example"}]}`, Returns: postedFields(),
			New: func() services.Request { t := t; t.ByAddress = true; return &SendToChannel{target: t} },
		},
	}
}

// inChannel names the channel of a request.
type inChannel struct {
	Channel string `json:"channel" doc:"The channel, as the sensor's option names it. Required if the sensor has several channels."`
}

// name returns the channel of a request.
func (t Target) name(given string) (string, error) {
	if given == "" && len(t.Channels) == 1 {
		return t.Channels[0], nil
	}
	if i := slices.IndexFunc(t.Channels, func(c string) bool { return strings.EqualFold(c, given) }); i >= 0 {
		return t.Channels[i], nil
	}
	if given == "" {
		return "", graph.Invalid("channel is required: want one of %s", strings.Join(t.Channels, ", "))
	}
	return "", graph.Invalid("channel: want one of %s, not %s", strings.Join(t.Channels, ", "), services.QuoteForError(given))
}

// find returns the team and the channel of a request.
func (t Target) find(ctx context.Context, g *graph.Client, given string) (teams.Team, teams.Channel, error) {
	if err := directory.RequireWork(ctx, g, NoTeams); err != nil {
		return teams.Team{}, teams.Channel{}, err
	}
	name, err := t.name(given)
	if err != nil {
		return teams.Team{}, teams.Channel{}, err
	}
	team, err := teams.FindTeam(ctx, g, t.Team)
	if err != nil {
		return team, teams.Channel{}, err
	}
	channel, err := teams.FindChannel(ctx, g, team, name)
	return team, channel, err
}

// A Posted is a message that was sent to a channel.
type Posted struct {
	Channel   string `json:"channel_id"`
	MessageID any    `json:"message_id"` // text; nil: Graph did not return it
}

func postedFields() []schema.Field {
	return []schema.Field{
		{Key: "channel_id", Type: "text", Doc: "Id of the channel."},
		{Key: "message_id", Type: "text", Doc: "Id of the message; null if Graph did not return it."},
	}
}

func checkChannelMessage(t Target, channel string, o chatmessage.Outgoing, mentions []ChannelMention) error {
	if _, err := t.name(channel); err != nil {
		return err
	}
	for i, m := range mentions {
		if err := m.check(i, t.ByAddress); err != nil {
			return err
		}
	}
	return o.Check()
}

// post sends a message to a channel, or with replyTo an answer.
func (s *sending) post(ctx context.Context, g *graph.Client, t Target, name, replyTo string, o chatmessage.Outgoing, mentions []ChannelMention) (any, error) {
	team, channel, err := t.find(ctx, g, name)
	if err != nil {
		return nil, err
	}
	if o, err = composeInChannel(ctx, g, team, channel, o, mentions); err != nil {
		return nil, err
	}
	s.expect(ctx, g, channelPlace(team, channel), o)
	id, err := teams.Send(ctx, g, team.ID, channel.ID, replyTo, o)
	if err != nil {
		return nil, err
	}
	return Posted{channel.ID, graph.NullIfZero(id)}, nil
}

// SendToChannel sends a message to a channel.
type SendToChannel struct {
	sending
	target Target

	inChannel
	text
	Subject    string           `json:"subject" doc:"Subject."`
	Importance string           `json:"importance" enum:"normal,high,urgent" doc:"Importance. Default: normal."`
	Mentions   []ChannelMention `json:"mentions" doc:"People, channels or teams that the message mentions."`
}

func (r *SendToChannel) message() chatmessage.Outgoing {
	o := r.outgoing()
	o.Subject, o.Importance = r.Subject, r.Importance
	return o
}

// Validate returns an error for values that Graph would refuse.
func (r *SendToChannel) Validate() error {
	return checkChannelMessage(r.target, r.Channel, r.message(), r.Mentions)
}

// Execute implements services.Request.
func (r *SendToChannel) Execute(ctx context.Context, g *graph.Client, _ services.Attempt) (any, error) {
	return r.post(ctx, g, r.target, r.Channel, "", r.message(), r.Mentions)
}

// ReplyInChannel answers a message in a channel.
type ReplyInChannel struct {
	sending
	target Target

	inChannel
	MessageID string `json:"message_id" required:"true" doc:"Id of the first message of the thread."`
	text
	Importance string           `json:"importance" enum:"normal,high,urgent" doc:"Importance. Default: normal."`
	Mentions   []ChannelMention `json:"mentions" doc:"People, channels or teams that the message mentions."`
}

func (r *ReplyInChannel) message() chatmessage.Outgoing {
	o := r.outgoing()
	o.Importance = r.Importance
	return o
}

// Validate returns an error for values that Graph would refuse.
func (r *ReplyInChannel) Validate() error {
	if err := checkID("message_id", "message", r.MessageID); err != nil {
		return err
	}
	return checkChannelMessage(r.target, r.Channel, r.message(), r.Mentions)
}

// Execute implements services.Request.
func (r *ReplyInChannel) Execute(ctx context.Context, g *graph.Client, _ services.Attempt) (any, error) {
	return r.post(ctx, g, r.target, r.Channel, r.MessageID, r.message(), r.Mentions)
}

// ReactInChannel adds or removes a reaction in a channel.
type ReactInChannel struct {
	target Target

	inChannel
	MessageID string `json:"message_id" required:"true" doc:"Id of the message."`
	ReplyTo   string `json:"reply_to" doc:"If the message is a reply: the id of the first message of the thread."`
	reaction
}

// Validate returns an error for values that Graph would refuse.
func (r *ReactInChannel) Validate() error {
	if err := checkID("message_id", "message", r.MessageID); err != nil {
		return err
	}
	if _, err := r.target.name(r.Channel); err != nil {
		return err
	}
	_, err := r.emoji()
	return err
}

// Execute implements services.Request.
func (r *ReactInChannel) Execute(ctx context.Context, g *graph.Client, _ services.Attempt) (any, error) {
	team, channel, err := r.target.find(ctx, g, r.Channel)
	if err != nil {
		return nil, err
	}
	e, err := r.emoji()
	if err != nil {
		return nil, err
	}
	if err := teams.React(ctx, g, team.ID, channel.ID, r.ReplyTo, r.MessageID, e, r.Remove); err != nil {
		return nil, err
	}
	return Reacted{r.MessageID, e, r.Remove}, nil
}
