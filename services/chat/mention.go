package chat

import (
	"context"
	"strings"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/chatmessage"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/chats"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/directory"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/teams"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// A person is a mention of one person.
type person struct {
	ID      string `json:"id" doc:"Object id of the person."`
	Name    string `json:"name" doc:"Name that is shown. Default: the person's, if address is given."`
	Address string `json:"address" doc:"Address with which the person signs in, instead of the id."`
}

// check returns an error unless exactly one of id, address and others is given.
func (p person) check(i int, others int, known string) error {
	given := others
	if p.ID != "" {
		given++
	}
	if p.Address != "" {
		given++
	}
	switch {
	case given != 1:
		return graph.Invalid("mentions[%d]: want one of %s", i, known)
	case p.ID != "" && !graph.IsObjectID(p.ID):
		return graph.Invalid("%s: want an object id, such as 87d349ed-44d7-43e1-9a83-5f2406dee5bd, not %s", mentionField(i, "id"), services.QuoteForError(p.ID))
	case p.ID != "" && strings.TrimSpace(p.Name) == "":
		return graph.Invalid("%s: want the name that is shown, with id", mentionField(i, "name"))
	case p.Address != "" && !IsAddress(p.Address):
		return graph.Invalid("%s: want an address, such as ann@contoso.com, not %s", mentionField(i, "address"), services.QuoteForError(p.Address))
	}
	return nil
}

// A ChatMention is a mention in a chat.
type ChatMention struct {
	person
	Everyone bool `json:"everyone" doc:"Everybody in the chat."`
}

func (m ChatMention) check(i int) error {
	others := 0
	if m.Everyone {
		others++
	}
	return m.person.check(i, others, "id (with name), address and everyone")
}

// compose returns a message for a chat with its mentions. One that cannot be resolved is an error.
func compose(ctx context.Context, g *graph.Client, chat string, o chatmessage.Outgoing, mentions []ChatMention) (chatmessage.Outgoing, error) {
	var members []chats.Member
	for i, m := range mentions {
		switch {
		case m.Everyone:
			o.Mentions = append(o.Mentions, chatmessage.OutgoingMention{Name: named(m.Name, "Everyone"), Alias: "everyone", Conversation: chat, Kind: "chat"})
		case m.ID != "":
			o.Mentions = append(o.Mentions, chatmessage.OutgoingMention{Name: m.Name, UserID: m.ID})
		default:
			if members == nil {
				if !g.Granted(chats.ReadPermission(true)) {
					return o, missing(mentionField(i, "address"), "Chat.ReadBasic or Chat.Read")
				}
				var err error
				if members, err = chats.Members(ctx, g, chat); err != nil {
					return o, err
				}
			}
			found := false
			for _, who := range members {
				if strings.EqualFold(who.Address, m.Address) {
					found = true
					o.Mentions = append(o.Mentions, chatmessage.OutgoingMention{Name: named(m.Name, who.Label()), Alias: m.Address, UserID: who.UserID})
					break
				}
			}
			if !found {
				return o, graph.Invalid("%s: want the address of a member of the chat, not %s", mentionField(i, "address"), services.QuoteForError(m.Address))
			}
		}
	}
	o = chatmessage.Compose(o)
	return o, o.Check()
}

func named(name, fallback string) string {
	if name = strings.TrimSpace(name); name != "" {
		return name
	}
	return fallback
}

// A ChannelMention is a mention in a channel.
type ChannelMention struct {
	person
	Channel bool `json:"channel" doc:"The channel: everybody who follows it."`
	Team    bool `json:"team" doc:"The team: all its members."`
}

func (m ChannelMention) check(i int, byAddress bool) error {
	others := 0
	for _, given := range []bool{m.Channel, m.Team} {
		if given {
			others++
		}
	}
	if m.Address != "" && !byAddress {
		return graph.Invalid("%s: only if allow names %s; give id and name instead", mentionField(i, "address"), MentionByAddress)
	}
	return m.person.check(i, others, "id (with name), address, channel and team")
}

// composeInChannel returns a message for a channel with its mentions. One that cannot be resolved is an error.
func composeInChannel(ctx context.Context, g *graph.Client, team teams.Team, channel teams.Channel, o chatmessage.Outgoing, mentions []ChannelMention) (chatmessage.Outgoing, error) {
	for _, m := range mentions {
		switch {
		case m.Channel:
			o.Mentions = append(o.Mentions, chatmessage.OutgoingMention{Name: named(m.Name, named(channel.Name, "Channel")), Alias: "channel", Conversation: channel.ID, Kind: "channel"})
		case m.Team:
			o.Mentions = append(o.Mentions, chatmessage.OutgoingMention{Name: named(m.Name, named(team.Name, "Team")), Alias: "team", Conversation: team.ID, Kind: "team"})
		case m.ID != "":
			o.Mentions = append(o.Mentions, chatmessage.OutgoingMention{Name: m.Name, UserID: m.ID})
		default:
			who, err := directory.Find(ctx, g, m.Address)
			if err != nil {
				return o, err
			}
			o.Mentions = append(o.Mentions, chatmessage.OutgoingMention{Name: named(m.Name, who.Name), Alias: m.Address, UserID: who.ID})
		}
	}
	o = chatmessage.Compose(o)
	return o, o.Check()
}
