package chatmessage_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/graph/chatmessage"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
)

const document = `{"id": "1", "replyToId": "2", "messageType": "message", "createdDateTime": "2026-01-15T11:00:00.123Z", "deletedDateTime": null, "subject": " S ", "summary": null,
	"importance": "high", "webUrl": "https://teams.example/1", "from": {"application": null, "device": null, "user": {"id": "u", "displayName": "Megan"}},
	"body": {"contentType": "html", "content": "<p>Hi <at id=\"0\">Adele</at></p>"},
	"mentions": [{"id": 0, "mentionText": "Adele", "mentioned": {"user": {"id": "ME"}, "conversation": null}}, {"id": 1, "mentioned": {"user": null, "conversation": {"id": "c", "conversationIdentityType": "chat"}}}, {"id": 2, "mentioned": {"tag": {"id": "t"}}}]}`

func decode(t testing.TB, document []byte) chatmessage.Message {
	t.Helper()
	var d chatmessage.DTO
	if err := json.Unmarshal(document, &d); err != nil {
		t.Fatal(err)
	}
	return d.Message(true)
}

func TestMessage(t *testing.T) {
	m := decode(t, []byte(document))
	if !m.Shown() || !m.IsFrom("U") || m.IsFrom("me") || !m.MentionsUser("me") || m.MentionsUser("") || !m.MentionsEveryone() || m.Text != "Hi Adele" || m.Subject != "S" {
		t.Errorf("got %+v", m)
	}
	if got := m.Preview(5); got != "Hi A…" {
		t.Errorf("got %q", got)
	}
	graphtest.Damaged(t, []byte(document), func(name string, damaged []byte) {
		m := decode(t, damaged)
		if hidden := strings.HasPrefix(name, ".messageType ") || name == ".deletedDateTime is something new"; m.Shown() == hidden {
			t.Errorf("%s: shown %v", name, m.Shown())
		}
	})
	var none *chatmessage.Message
	if none.Shown() {
		t.Error("no message is shown")
	}
}

func TestCompose(t *testing.T) {
	adele, all := chatmessage.OutgoingMention{Name: "Adele <3", Alias: "adele@contoso.com", UserID: "1"}, chatmessage.OutgoingMention{Name: "Everyone", Alias: "everyone", Conversation: "c", Kind: "chat"}
	for _, tt := range []struct {
		text     string
		html     bool
		mentions []chatmessage.OutgoingMention
		want     string
	}{
		{"a < b", false, nil, "a < b"},
		{"a < b @Adele <3!", false, []chatmessage.OutgoingMention{adele}, `a &lt; b <at id="0">Adele &lt;3</at>!`},
		{"@adele@contoso.com\n@everyone", false, []chatmessage.OutgoingMention{adele, all}, `<at id="0">Adele &lt;3</at><br><at id="1">Everyone</at>`},
		{"Hi", false, []chatmessage.OutgoingMention{adele, all}, `<at id="0">Adele &lt;3</at> <at id="1">Everyone</at> Hi`},
		{`<p><at id="0">A</at></p>`, true, []chatmessage.OutgoingMention{adele}, `<p><at id="0">A</at></p>`},
		{`<p>Hi @everyone</p>`, true, []chatmessage.OutgoingMention{all}, `<p>Hi <at id="0">Everyone</at></p>`},
	} {
		o := chatmessage.Compose(chatmessage.Outgoing{Content: tt.text, HTML: tt.html, Mentions: tt.mentions})
		if o.Content != tt.want || o.HTML != (tt.html || tt.mentions != nil) {
			t.Errorf("%s: got %q", tt.text, o.Content)
		}
	}
}

func TestSame(t *testing.T) {
	message := func(id, user, text string) chatmessage.Message {
		return chatmessage.Message{ID: id, Type: "message", From: chatmessage.Sender{ID: user, Kind: "user"}, Text: text}
	}
	all := []chatmessage.Message{message("1", "me", "a b"), message("2", "other", "a b"), message("3", "me", "a  b\n"), message("4", "me", "b")}
	deleted := message("5", "me", "a b")
	deleted.Deleted = true
	var ids []string
	for _, m := range (chatmessage.Outgoing{Content: "<p>a</p><p>b</p>", HTML: true}).Same(append(all, deleted), "ME") {
		ids = append(ids, m.ID)
	}
	if diff := cmp.Diff([]string{"1", "3"}, ids); diff != "" {
		t.Error(diff)
	}
}

func TestCheck(t *testing.T) {
	for content, want := range map[string]string{
		strings.Repeat("x", chatmessage.MaxSize):     "",
		strings.Repeat("é", chatmessage.MaxSize/2+1): "message: want at most 28 KB, the limit of Teams, not 28.0 KB",
		"\n": "message: want a text, not an empty one",
	} {
		if err := (chatmessage.Outgoing{Content: content}).Check(); want == "" && err != nil || want != "" && (err == nil || err.Error() != want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
