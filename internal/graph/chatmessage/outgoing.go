package chatmessage

import (
	"fmt"
	"html"
	"slices"
	"strings"

	"github.com/microsoftgraph/msgraph-sdk-go/models"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/htmltext"
)

// MaxSize is the largest size of a message in bytes.
//
// https://learn.microsoft.com/microsoftteams/limits-specifications-teams#chat
const MaxSize = 28 << 10

// An Outgoing is a message to send.
type Outgoing struct {
	Content    string
	HTML       bool
	Subject    string // of a message in a channel
	Importance string // normal, high or urgent; "": normal
	Mentions   []OutgoingMention
}

// An OutgoingMention is a mention of one user, or of everybody in a conversation.
type OutgoingMention struct {
	Name         string // as it is shown
	Alias        string // another text that stands for it; "": none
	UserID       string // "": of a conversation
	Conversation string // id of the chat, the channel or the team
	Kind         string // chat, channel or team
}

// Compose returns the message with its mentions in place. Each mention is put where the text has @ and its name or alias, or where
// HTML has <at id="N"> with its number, which begins with 0; one that the text does not have is put before the text.
func Compose(o Outgoing) Outgoing {
	if len(o.Mentions) == 0 {
		return o
	}
	if !o.HTML {
		o.Content, o.HTML = htmltext.FromText(o.Content), true
	}
	before := ""
	for i, m := range o.Mentions {
		mark := fmt.Sprintf(`<at id="%d">`, i)
		if strings.Contains(o.Content, mark) {
			continue
		}
		mark += html.EscapeString(m.Name) + "</at>"
		placed := false
		for _, text := range []string{m.Alias, m.Name} {
			if at := "@" + html.EscapeString(text); text != "" && strings.Contains(o.Content, at) {
				o.Content = strings.Replace(o.Content, at, mark, 1)
				placed = true
				break
			}
		}
		if !placed {
			before += mark + " "
		}
	}
	o.Content = before + o.Content
	return o
}

// Check returns an error for a message that Teams refuses.
func (o Outgoing) Check() error {
	if strings.TrimSpace(o.Content) == "" {
		return graph.Invalid("message: want a text, not an empty one")
	}
	if n := len(o.Content); n > MaxSize {
		return graph.Invalid("message: want at most 28 KB, the limit of Teams, not %.1f KB", float64(n)/1024)
	}
	return nil
}

// Text returns the text of the message without markup, as Message.Text has it.
func (o Outgoing) Text() string {
	kind := "text"
	if o.HTML {
		kind = "html"
	}
	return graph.Truncate(bodyDTO{kind, o.Content}.text(), MaxText)
}

// Model returns the message for the SDK.
func (o Outgoing) Model() (models.ChatMessageable, error) {
	m := models.NewChatMessage()
	m.SetBody(graph.ItemBody(o.Content, o.HTML))
	if o.Subject != "" {
		m.SetSubject(&o.Subject)
	}
	if o.Importance != "" {
		importance, err := models.ParseChatMessageImportance(o.Importance)
		if err != nil || importance == nil {
			return nil, graph.Invalid("importance: unknown value %q", o.Importance)
		}
		m.SetImportance(importance.(*models.ChatMessageImportance))
	}
	var mentions []models.ChatMessageMentionable
	for i, x := range o.Mentions {
		mentioned := models.NewChatMessageMentionedIdentitySet()
		if x.UserID != "" {
			user, kind := models.NewTeamworkUserIdentity(), models.AADUSER_TEAMWORKUSERIDENTITYTYPE
			user.SetId(&x.UserID)
			user.SetDisplayName(&x.Name)
			user.SetUserIdentityType(&kind)
			mentioned.SetUser(user)
		} else {
			conversation := models.NewTeamworkConversationIdentity()
			kind, err := models.ParseTeamworkConversationIdentityType(x.Kind)
			if err != nil || kind == nil {
				return nil, graph.Invalid("mentions: unknown value %q", x.Kind)
			}
			conversation.SetId(&x.Conversation)
			conversation.SetDisplayName(&x.Name)
			conversation.SetConversationIdentityType(kind.(*models.TeamworkConversationIdentityType))
			mentioned.SetConversation(conversation)
		}
		mention := models.NewChatMessageMention()
		mention.SetId(new(int32(i)))
		mention.SetMentionText(&x.Name)
		mention.SetMentioned(mentioned)
		mentions = append(mentions, mention)
	}
	if mentions != nil {
		m.SetMentions(mentions)
	}
	return m, nil
}

// Same returns the messages of a user with the same text as o.
func (o Outgoing) Same(messages []Message, user string) []Message {
	text := normal(o.Text())
	return slices.DeleteFunc(slices.Clone(messages), func(m Message) bool { return !m.Shown() || !m.IsFrom(user) || normal(m.Text) != text })
}

func normal(s string) string { return strings.Join(strings.Fields(s), " ") }
