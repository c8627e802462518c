package teams

import (
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator/directory"
)

// The ids of the sample chats and of the sample team.
const (
	LunchChat      = "19:5a1f0c6e8d7b4b0f9a3c2d1e0f4a5b6c@thread.v2"
	ContosoTeam    = "893075dd-2487-4122-925f-022c42e20265"
	ContosoChannel = "19:561fbdbbfca848a484f0a6f00ce9dbbd@thread.tacv2"
)

// seed adds a one-to-one chat, a group chat, and a team with a channel.
func (s *Service) seed(colleagues bool) {
	if !colleagues {
		return
	}
	now := s.directory.Now()
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	private := s.AddChat(Chat{Members: []string{directory.Adele, directory.Megan}, Updated: ago(700 * time.Hour)})
	s.PostChatMessage(private.ID, ChatMessage{From: directory.Adele, Body: "Did you see the plan?", Created: ago(27 * time.Hour)})
	s.PostChatMessage(private.ID, ChatMessage{From: directory.Megan, Body: "Yes, it looks good.", Created: ago(26 * time.Hour)})
	s.SetViewpoint(directory.Adele, private.ID, Viewpoint{Read: ago(25 * time.Hour)})
	lunch := s.AddChat(Chat{ID: LunchChat, Topic: "Lunch", Members: []string{directory.Adele, directory.Megan, directory.Alex}, Updated: ago(500 * time.Hour)})
	s.PostChatMessage(lunch.ID, ChatMessage{From: directory.Alex, HTML: true, Body: "<p>Pizza at <b>noon</b>?</p>", Created: ago(40 * time.Minute)})
	s.AddTeam(Team{ID: ContosoTeam, Name: "Contoso", Members: []string{directory.Adele, directory.Megan, directory.Alex}, Channels: []Channel{{ID: ContosoChannel, Name: "General"}, {Name: "Design"}}})
	first := s.PostChannelMessage(ContosoTeam, ContosoChannel, ChatMessage{From: directory.Megan, Subject: "Welcome", Body: "Welcome to the team.", Created: ago(200 * time.Hour)})
	s.PostChannelMessage(ContosoTeam, ContosoChannel, ChatMessage{From: directory.Alex, Body: "Thank you!", ReplyTo: first.ID, Created: ago(199 * time.Hour)})
}
