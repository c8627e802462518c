package teams

import (
	"net/http"
	"slices"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator/control"
)

func (s *Service) controls() []control.Operation {
	return []control.Operation{
		{Method: "GET", Path: "/control/chats", Description: "list the chats", Do: s.readChats},
		{Method: "POST", Path: "/control/chats", Description: "add a chat", Do: s.makeChat},
		{Method: "PATCH", Path: "/control/chats/{chat}", Description: "change topic or members of a chat, or make it foreign", Do: s.changeChat},
		{Method: "PUT", Path: "/control/chats/{chat}/viewpoints/{user}", Description: "set how far a user has read a chat", Do: s.putViewpoint},
		{Method: "GET", Path: "/control/chats/{chat}/messages", Description: "list the messages of a chat, oldest first", Do: s.readChatMessages},
		{Method: "POST", Path: "/control/chats/{chat}/messages", Description: "post a message in a chat", Do: s.makeChatMessage},
		{Method: "PATCH", Path: "/control/chats/{chat}/messages/{message}", Description: "edit the text of a message", Do: s.changeChatMessage},
		{Method: "DELETE", Path: "/control/chats/{chat}/messages/{message}", Description: "delete a message, as its sender does", Do: s.removeChatMessage},
		{Method: "GET", Path: "/control/teams", Description: "list the teams with their channels", Do: s.readTeams},
		{Method: "POST", Path: "/control/teams", Description: "add a team", Do: s.makeTeam},
		{Method: "POST", Path: "/control/teams/{team}/channels", Description: "add a channel to a team", Do: s.makeChannel},
		{Method: "GET", Path: "/control/teams/{team}/channels/{channel}/messages", Description: "list the messages and replies in a channel, oldest first", Do: s.readChannelMessages},
		{Method: "POST", Path: "/control/teams/{team}/channels/{channel}/messages", Description: "post a message or a reply in a channel", Do: s.makeChannelMessage},
	}
}

func (s *Service) readChats(*http.Request) (any, error) { return control.ListOf(s.Chats()), nil }

func (s *Service) makeChat(r *http.Request) (any, error) {
	in, err := control.Decode[Chat](r)
	if err != nil {
		return nil, err
	}
	if known := []string{"", "oneOnOne", "group", "meeting", "unknownFutureValue"}; !slices.Contains(known, in.Type) {
		return nil, control.Invalid("type: want oneOnOne, group, meeting or unknownFutureValue, not %q", in.Type)
	}
	return s.AddChat(in), nil
}

func (s *Service) changeChat(r *http.Request) (any, error) {
	in, err := control.Decode[struct {
		Topic   *string   `json:"topic"`
		Members *[]string `json:"members"`
		Foreign *bool     `json:"foreign"`
	}](r)
	if err != nil {
		return nil, err
	}
	var changed Chat
	s.ChangeChat(r.PathValue("chat"), func(c *Chat) {
		control.Set(&c.Topic, in.Topic)
		if in.Members != nil {
			for _, m := range *in.Members {
				s.directory.MustUser(m)
			}
			c.Members = *in.Members
		}
		control.Set(&c.Foreign, in.Foreign)
		changed = *c
	})
	return changed, nil
}

func (s *Service) putViewpoint(r *http.Request) (any, error) {
	in, err := control.Decode[Viewpoint](r)
	if err != nil {
		return nil, err
	}
	s.SetViewpoint(r.PathValue("user"), r.PathValue("chat"), in)
	return in, nil
}

func (s *Service) readChatMessages(r *http.Request) (any, error) {
	return control.ListOf(s.ChatMessages(r.PathValue("chat"))), nil
}

// decodeMessage reads a message of the control API.
func decodeMessage(r *http.Request) (ChatMessage, error) {
	in, err := control.Decode[ChatMessage](r)
	switch {
	case err != nil:
		return in, err
	case in.ID != "":
		return in, control.Invalid("id: the simulator gives the ids")
	case !slices.Contains([]string{"", "normal", "high", "urgent"}, in.Importance):
		return in, control.Invalid("importance: want normal, high or urgent, not %q", in.Importance)
	}
	for _, m := range in.Mentions {
		if !slices.Contains([]string{"", "chat", "channel", "team"}, m.Everyone) {
			return in, control.Invalid("mentions: everyone: want chat, channel or team, not %q", m.Everyone)
		}
	}
	return in, nil
}

func (s *Service) makeChatMessage(r *http.Request) (any, error) {
	in, err := decodeMessage(r)
	if err != nil {
		return nil, err
	}
	return s.PostChatMessage(r.PathValue("chat"), in), nil
}

func (s *Service) changeChatMessage(r *http.Request) (any, error) {
	in, err := control.Decode[struct {
		Body string `json:"body"`
	}](r)
	if err != nil {
		return nil, err
	}
	s.EditChatMessage(r.PathValue("chat"), r.PathValue("message"), in.Body)
	return nil, nil
}

func (s *Service) removeChatMessage(r *http.Request) (any, error) {
	s.DeleteChatMessage(r.PathValue("chat"), r.PathValue("message"))
	return nil, nil
}

func (s *Service) readTeams(*http.Request) (any, error) { return control.ListOf(s.Teams()), nil }

func (s *Service) makeTeam(r *http.Request) (any, error) {
	in, err := control.Decode[Team](r)
	if err != nil {
		return nil, err
	}
	return s.AddTeam(in), nil
}

func (s *Service) makeChannel(r *http.Request) (any, error) {
	in, err := control.Decode[Channel](r)
	if err != nil {
		return nil, err
	}
	return s.AddChannel(r.PathValue("team"), in), nil
}

func (s *Service) readChannelMessages(r *http.Request) (any, error) {
	return control.ListOf(s.ChannelMessages(r.PathValue("team"), r.PathValue("channel"))), nil
}

func (s *Service) makeChannelMessage(r *http.Request) (any, error) {
	in, err := decodeMessage(r)
	if err != nil {
		return nil, err
	}
	return s.PostChannelMessage(r.PathValue("team"), r.PathValue("channel"), in), nil
}
