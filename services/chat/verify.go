package chat

import (
	"context"
	"errors"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/chatmessage"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/chats"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/directory"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/teams"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// verifyTime bounds how long a message of unknown outcome is looked for.
const verifyTime = 20 * time.Second

// errSeveral is the error of a search that finds more than one message.
var errSeveral = errors.New("several messages have the same text")

// A place is the chat or channel that a message is sent to.
type place struct {
	permission graph.Permission // for reading there
	messages   func(context.Context, *graph.Client) ([]chatmessage.Message, error)
	result     func(id string) any
}

func chatPlace(chat string) place {
	return place{
		permission: chats.ReadPermission(false),
		messages: func(ctx context.Context, g *graph.Client) ([]chatmessage.Message, error) {
			return chats.Newest(ctx, g, chat, 50)
		},
		result: func(id string) any { return Sent{ChatID: chat, MessageID: id} },
	}
}

func channelPlace(team teams.Team, channel teams.Channel) place {
	return place{
		permission: teams.ReadPermission(),
		messages: func(ctx context.Context, g *graph.Client) ([]chatmessage.Message, error) {
			return teams.Messages(ctx, g, team.ID, channel.ID, time.Time{})
		},
		result: func(id string) any { return Posted{Channel: channel.ID, MessageID: id} },
	}
}

// A sending finds out whether a message was sent: it was if there is exactly one more message of the user's with the same text than
// before. After a restart it is not known how many there were.
type sending struct {
	place   place
	message chatmessage.Outgoing
	before  map[string]bool // ids of the messages with the same text; nil: not known
}

// expect notes which messages with the same text there are before o is sent.
func (s *sending) expect(ctx context.Context, g *graph.Client, p place, o chatmessage.Outgoing) {
	*s = sending{place: p, message: o}
	if !g.Granted(p.permission) {
		return
	}
	same, err := s.same(ctx, g)
	if err != nil {
		return // it can be sent all the same
	}
	s.before = map[string]bool{}
	for _, m := range same {
		s.before[m.ID] = true
	}
}

func (s *sending) same(ctx context.Context, g *graph.Client) ([]chatmessage.Message, error) {
	me, err := directory.SignedIn(ctx, g)
	if err != nil {
		return nil, err
	}
	messages, err := s.place.messages(ctx, g)
	return s.message.Same(messages, me.ID), err
}

// Verify implements services.Verifier.
func (s *sending) Verify(ctx context.Context, g *graph.Client, _ services.Attempt) (any, bool, error) {
	switch {
	case s.place.messages == nil:
		return nil, false, nil
	case !g.Granted(s.place.permission):
		return nil, false, errors.New("the permission " + s.place.permission.Scope + " is required to find out whether the message was sent")
	case s.before == nil:
		return nil, false, nil
	}
	result, found, err := services.Search(ctx, verifyTime, func(ctx context.Context) (any, bool, error) {
		same, err := s.same(ctx, g)
		var added []string
		for _, m := range same {
			if !s.before[m.ID] {
				added = append(added, m.ID)
			}
		}
		switch len(added) {
		case 0:
			return nil, false, err
		case 1:
			return s.place.result(added[0]), true, nil
		}
		return nil, false, errSeveral
	})
	if errors.Is(err, errSeveral) {
		return nil, false, nil
	}
	return result, found, err
}
