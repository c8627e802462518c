// Package chat shows the chats and channels of Microsoft Teams.
package chat

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/chats"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/directory"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/teams"
	"github.com/graph2mqtt/graph2mqtt/sensors"
)

const (
	chatInterval    = time.Minute
	channelInterval = 5 * time.Minute
	maxChats        = 20
	// advisedInterval is the interval below which a configuration is warned about.
	advisedInterval = time.Minute
)

// terms quotes Microsoft about polling Teams.
//
// https://learn.microsoft.com/graph/api/resources/teams-api-overview#polling-requirements
const terms = "Microsoft's terms do not allow this kind of reading: \"If your app polls to see whether a resource has changed, you can only do that once per day.\" " +
	"Apps that do not follow this are \"in violation of the Microsoft APIs Terms of Use. This may result in additional throttling or the suspension or termination of your use of the Microsoft APIs.\" " +
	"No useful `interval` complies with this. Choose a long one; `graph2mqtt check` warns about intervals below 60 s."

// ChatKind returns the kind chat.
func ChatKind() sensors.Kind {
	return sensors.Kind{
		Name:    "chat",
		Aliases: []string{"chats", "teams_chat", "chat_sensor"},
		Title:   "Chat",
		Doc: "Your chats in Teams: the newest message in all of them, how many chats are unread, and the list of chats. A poll reads one page, the 50 chats with the newest messages. " +
			"System messages of Teams, such as that somebody joined, do not count. " + terms,
		Interval:        chatInterval,
		AdvisedInterval: advisedInterval,
		WorkOnly:        true,
		UserOnly:        "Microsoft does not let applications send messages",
		New:             func() sensors.Sensor { return sensors.Of(&Options{MaxChats: maxChats, ShowContent: true}) },
		Attributes:      attributeFields(),
		Events:          events(),
		Describe:        describe,
		Candidates:      chatCandidates,
	}
}

// ChannelKind returns the kind channel.
func ChannelKind() sensors.Kind {
	return sensors.Kind{
		Name:    "channel",
		Aliases: []string{"channels", "teams_channel"},
		Title:   "Channel",
		Doc: "Channels of a team in Teams. You can send messages there; with `read: true`, for which an administrator must consent, the sensor also shows their newest messages and replies. " +
			"Names of teams and channels are resolved at the start and by `rescan`. " + terms,
		Interval:        channelInterval,
		AdvisedInterval: advisedInterval,
		WorkOnly:        true,
		WriteOnly:       true,
		UserOnly:        "Microsoft does not let applications send messages",
		New:             func() sensors.Sensor { return sensors.Of(new(ChannelOptions)) },
		Attributes:      channelAttributeFields(),
		Events:          channelEvents(),
		Describe:        describe,
		Candidates:      channelCandidates,

		CandidatePermissions: []graph.Permission{teams.TeamsPermission(), teams.ChannelsPermission()},
	}
}

// chatCandidates lists the chats.
func chatCandidates(ctx context.Context, g *graph.Client) ([]sensors.Candidate, error) {
	me, err := directory.SignedIn(ctx, g)
	if err != nil {
		return nil, err
	}
	all, err := chats.All(ctx, g)
	if err != nil {
		return nil, err
	}
	var found []sensors.Candidate
	for _, c := range all {
		name := c.Name(me.ID)
		if name == "" {
			name = c.Type
		}
		found = append(found, sensors.Candidate{Name: name, Options: map[string]string{"chats": c.ID}, SelectedBy: sensors.SelectedBy(func(o *Options) bool {
			return slices.ContainsFunc(o.Chats, func(chat string) bool { return chat == c.ID || isNamed(c, me.ID, chat) })
		})})
	}
	return found, nil
}

// channelCandidates lists the channels of all teams.
func channelCandidates(ctx context.Context, g *graph.Client) ([]sensors.Candidate, error) {
	joined, err := teams.Joined(ctx, g)
	if err != nil {
		return nil, err
	}
	var found []sensors.Candidate
	for _, t := range joined {
		channels, err := teams.Channels(ctx, g, t.ID)
		if graph.Is(err, graph.PermissionMissing) || graph.Is(err, graph.NotFound) {
			continue // an archived team, or one that was just left
		}
		if err != nil {
			return nil, err
		}
		for _, c := range channels {
			found = append(found, sensors.Candidate{Name: t.Name + " " + c.Name, Options: map[string]string{"team": t.ID, "channel": c.ID}, SelectedBy: sensors.SelectedBy(func(o *ChannelOptions) bool {
				return (o.Team == t.ID || strings.EqualFold(o.Team, t.Name)) &&
					slices.ContainsFunc(o.target().Channels, func(channel string) bool { return channel == c.ID || strings.EqualFold(channel, c.Name) })
			})})
		}
	}
	return found, nil
}

// isChatID reports whether a chat is given by its id.
func isChatID(s string) bool { return strings.HasPrefix(s, "19:") || strings.HasPrefix(s, "48:") }

// resolve returns the ids of the configured chats, and asks Graph for names that last does not know.
func (o *Options) resolve(ctx context.Context, g *graph.Client, s *Snapshot) error {
	var all []chats.Chat
	for i, name := range o.Chats {
		if isChatID(name) || s.Names[name] != "" {
			continue
		}
		if all == nil {
			var err error
			if all, err = chats.All(ctx, g); err != nil {
				return err
			}
		}
		found := graph.Matching(all,
			func(c chats.Chat) bool { return c.Name(s.Me) == name },
			func(c chats.Chat) bool { return isNamed(c, s.Me, name) },
		)
		switch len(found) {
		case 1:
			names := map[string]string{name: found[0].ID}
			for k, v := range s.Names {
				names[k] = v
			}
			s.Names = names
		case 0:
			return &graph.Error{Reason: graph.NotFound, Message: fmt.Sprintf("chats[%d]: there is no chat %q; graph2mqtt discover lists all", i, name)}
		default:
			return graph.Invalid("chats[%d]: %d chats are called %q; want the id, which graph2mqtt discover prints", i, len(found), name)
		}
	}
	return nil
}

// isNamed reports whether a name of the configuration is that of a chat, in any case: what Teams shows to the user with the id me, or
// the address of the only other person.
func isNamed(c chats.Chat, me, name string) bool {
	return strings.EqualFold(c.Name(me), name) ||
		c.Type == "oneOnOne" && slices.ContainsFunc(c.Members, func(m chats.Member) bool { return strings.EqualFold(m.Address, name) })
}
