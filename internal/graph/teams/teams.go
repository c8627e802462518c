// Package teams is a client for the teams and channels of Microsoft Teams.
package teams

import (
	"context"
	"strings"
	"time"

	"github.com/microsoftgraph/msgraph-sdk-go/models"
	sdk "github.com/microsoftgraph/msgraph-sdk-go/teams"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/chatmessage"
)

// A Team is a team that the signed-in user is a member of.
type Team struct{ ID, Name string }

// A Channel is a channel of a team.
type Channel struct{ ID, Name string }

type namedDTO struct {
	ID   string `json:"id"`
	Name string `json:"displayName"`
}

// Joined returns the teams that the signed-in user is a member of.
func Joined(ctx context.Context, g *graph.Client) ([]Team, error) {
	all, err := graph.GetAll[namedDTO](ctx, g, "read the teams", g.Me().JoinedTeams().ToGetRequestInformation, nil)
	if err != nil {
		return nil, explain(g, err, TeamsPermission())
	}
	var teams []Team
	for _, d := range all {
		if d.ID != "" {
			teams = append(teams, Team(d))
		}
	}
	return teams, nil
}

func team(g *graph.Client, id string) *sdk.TeamItemRequestBuilder {
	return sdk.NewTeamsRequestBuilderInternal(map[string]string{}, g.Adapter()).ByTeamId(id)
}

// Channels returns the channels of a team.
func Channels(ctx context.Context, g *graph.Client, id string) ([]Channel, error) {
	all, err := graph.GetAll[namedDTO](ctx, g, "read the channels", team(g, id).Channels().ToGetRequestInformation, &sdk.ItemChannelsRequestBuilderGetRequestConfiguration{
		QueryParameters: &sdk.ItemChannelsRequestBuilderGetQueryParameters{Select: []string{"id", "displayName"}},
	})
	if err != nil {
		return nil, explain(g, err, ChannelsPermission())
	}
	var channels []Channel
	for _, d := range all {
		if d.ID != "" {
			channels = append(channels, Channel(d))
		}
	}
	return channels, nil
}

// TeamsPermission returns the permission for listing teams.
func TeamsPermission() graph.Permission {
	return graph.Permission{Scope: "Team.ReadBasic.All", Purpose: "finds a team by its name", Impact: "teams can be named by their id only"}
}

// ChannelsPermission returns the permission for listing channels.
func ChannelsPermission() graph.Permission {
	return graph.Permission{Scope: "Channel.ReadBasic.All", Purpose: "finds a channel by its name", Impact: "channels can be named by their id only"}
}

// ReadPermission returns the permission for reading the messages of channels.
func ReadPermission() graph.Permission {
	return graph.Permission{Scope: "ChannelMessage.Read.All", Purpose: "reads the messages in channels", Impact: "the messages are unavailable"}
}

// SendPermission returns the permission for sending messages in channels.
func SendPermission() graph.Permission {
	return graph.Permission{Scope: "ChannelMessage.Send", Purpose: "sends messages and reactions in channels", Impact: "no messages can be sent in channels"}
}

// pageSize is the number of messages that are read of a channel.
const pageSize = 20

// maxPages bounds the pages that are read of a channel.
const maxPages = 10

// Messages returns the newest messages of a channel with their replies, in any order: those of a page, or since a time, unless that is
// zero, of as many pages as have changes.
func Messages(ctx context.Context, g *graph.Client, teamID, channel string, since time.Time) ([]chatmessage.Message, error) {
	const op = "read the messages of the channel"
	r, err := team(g, teamID).Channels().ByChannelId(channel).Messages().ToGetRequestInformation(ctx, &sdk.ItemChannelsItemMessagesRequestBuilderGetRequestConfiguration{
		QueryParameters: &sdk.ItemChannelsItemMessagesRequestBuilderGetQueryParameters{Top: new(int32(pageSize)), Expand: []string{"replies"}},
	})
	if err != nil {
		return nil, err
	}
	messages := []chatmessage.Message{}
	seen := map[string]bool{} // an answer moves its message to the front while the pages are read
	for n := 1; ; n++ {
		var page struct {
			Value []chatmessage.DTO `json:"value"`
			Next  string            `json:"@odata.nextLink"`
		}
		if err := g.Do(ctx, op, r, &page); err != nil {
			return nil, explain(g, err, ReadPermission())
		}
		if page.Value == nil {
			return nil, graph.Incomplete(op, "list")
		}
		changed := !since.IsZero() && len(page.Value) > 0
		for _, first := range page.Value {
			for _, m := range chatmessage.Messages(append([]chatmessage.DTO{first}, first.Replies...)) {
				if !seen[m.ID] {
					seen[m.ID] = true
					messages = append(messages, m)
				}
			}
			changed = changed && chatmessage.ParseTime(first.Modified).After(since)
		}
		if page.Next == "" || !changed || n == maxPages {
			return messages, nil
		}
		if r, err = chatmessage.NextPage(op, page.Next); err != nil {
			return nil, err
		}
	}
}

// Send sends a message, or with replyTo an answer to that message, and returns its id.
func Send(ctx context.Context, g *graph.Client, teamID, channel, replyTo string, o chatmessage.Outgoing) (string, error) {
	message, err := o.Model()
	if err != nil {
		return "", err
	}
	messages := team(g, teamID).Channels().ByChannelId(channel).Messages()
	var d chatmessage.DTO
	if replyTo == "" {
		d, err = graph.Send[chatmessage.DTO](ctx, g, "send the message", messages.ToPostRequestInformation, message, nil)
	} else {
		d, err = graph.Send[chatmessage.DTO](ctx, g, "reply to the message", messages.ByChatMessageId(replyTo).Replies().ToPostRequestInformation, models.ChatMessageable(message), nil)
	}
	return d.ID, explain(g, err, SendPermission())
}

// React adds a reaction, an emoji, to a message, or removes it. replyTo is the message that it answers, if it is an answer.
func React(ctx context.Context, g *graph.Client, teamID, channel, replyTo, id, reaction string, remove bool) error {
	const add, removing = "react to the message", "remove the reaction"
	messages := team(g, teamID).Channels().ByChannelId(channel).Messages()
	var err error
	switch {
	case replyTo == "" && !remove:
		var body sdk.ItemChannelsItemMessagesItemSetReactionPostRequestBodyable = sdk.NewItemChannelsItemMessagesItemSetReactionPostRequestBody()
		body.SetReactionType(&reaction)
		_, err = graph.Send[graph.None](ctx, g, add, messages.ByChatMessageId(id).SetReaction().ToPostRequestInformation, body, nil)
	case replyTo == "":
		var body sdk.ItemChannelsItemMessagesItemUnsetReactionPostRequestBodyable = sdk.NewItemChannelsItemMessagesItemUnsetReactionPostRequestBody()
		body.SetReactionType(&reaction)
		_, err = graph.Send[graph.None](ctx, g, removing, messages.ByChatMessageId(id).UnsetReaction().ToPostRequestInformation, body, nil)
	case !remove:
		var body sdk.ItemChannelsItemMessagesItemRepliesItemSetReactionPostRequestBodyable = sdk.NewItemChannelsItemMessagesItemRepliesItemSetReactionPostRequestBody()
		body.SetReactionType(&reaction)
		_, err = graph.Send[graph.None](ctx, g, add, messages.ByChatMessageId(replyTo).Replies().ByChatMessageId1(id).SetReaction().ToPostRequestInformation, body, nil)
	default:
		var body sdk.ItemChannelsItemMessagesItemRepliesItemUnsetReactionPostRequestBodyable = sdk.NewItemChannelsItemMessagesItemRepliesItemUnsetReactionPostRequestBody()
		body.SetReactionType(&reaction)
		_, err = graph.Send[graph.None](ctx, g, removing, messages.ByChatMessageId(replyTo).Replies().ByChatMessageId1(id).UnsetReaction().ToPostRequestInformation, body, nil)
	}
	return explain(g, err, SendPermission())
}

// explain returns an error that explains in the user's words why Teams refuses.
func explain(g *graph.Client, err error, p graph.Permission) error {
	switch {
	case graph.Is(err, graph.NotFound):
		return graph.Explain(err, "there is no such team, channel or message")
	case graph.Is(err, graph.PermissionMissing) && g.Granted(p):
		return graph.Explain(err, "Microsoft Teams refuses; are you a member of the team, and does your account have a Teams license?")
	}
	return err
}

// IsTeamID reports whether a team is given by its id.
func IsTeamID(s string) bool { return graph.IsObjectID(s) }

// IsChannelID reports whether a channel is given by its id.
func IsChannelID(s string) bool { return strings.HasPrefix(s, "19:") && strings.Contains(s, "@") }

// FindTeam returns the team with this id or name. Names are looked up once.
func FindTeam(ctx context.Context, g *graph.Client, team string) (Team, error) {
	if IsTeamID(team) {
		return Team{ID: team}, nil
	}
	return graph.OnceListed(ctx, g, "team "+team, func() (Team, error) {
		all, err := Joined(ctx, g)
		if err != nil {
			return Team{}, err
		}
		return graph.FindByName("team", team, all, func(t Team) string { return t.ID }, func(t Team) string { return t.Name },
			func(t Team) bool { return t.Name == team },
			func(t Team) bool { return strings.EqualFold(t.Name, team) },
		)
	})
}

// FindChannel returns the channel of a team with this id or name. Names are looked up once.
func FindChannel(ctx context.Context, g *graph.Client, team Team, channel string) (Channel, error) {
	if IsChannelID(channel) {
		return Channel{ID: channel}, nil
	}
	return graph.OnceListed(ctx, g, "channel "+team.ID+" "+channel, func() (Channel, error) {
		all, err := Channels(ctx, g, team.ID)
		if err != nil {
			return Channel{}, err
		}
		return graph.FindByName("channel", channel, all, func(c Channel) string { return c.ID }, func(c Channel) string { return c.Name },
			func(c Channel) bool { return c.Name == channel },
			func(c Channel) bool { return strings.EqualFold(c.Name, channel) },
		)
	})
}
