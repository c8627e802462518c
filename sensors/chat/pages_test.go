package chat_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
	"github.com/graph2mqtt/graph2mqtt/sensors/chat"
)

// A chat that moves from one page to the next while they are read is listed once, and its messages are reported once.
func TestPagesThatShift(t *testing.T) {
	now := time.Date(2026, 1, 15, 11, 0, 0, 0, time.UTC)
	message := func(id string, at time.Time) string {
		return fmt.Sprintf(`{"id": %q, "messageType": "message", "createdDateTime": %q, "from": {"user": {"id": "2"}}}`, id, at.Format(time.RFC3339))
	}
	id, written := "1", now.Add(-time.Hour)
	g, err := graph.New(graph.Options{Root: "https://graph.example", Tokens: graphtest.Tokens{Scopes: []string{"User.Read", "Chat.Read"}}, Transport: graphtest.RoundTripper(func(r *http.Request) (*http.Response, error) {
		chats := `{"value": [{"id": "19:a", "lastMessagePreview": ` + message(id, written) + `}]`
		switch {
		case strings.HasSuffix(r.URL.Path, "/me/chats") && written.Before(now):
			return graphtest.Answer(200, chats+"}"), nil
		case strings.HasSuffix(r.URL.Path, "/me/chats"):
			return graphtest.Answer(200, chats+`, "@odata.nextLink": "https://graph.example/v1.0/more"}`), nil
		case strings.HasSuffix(r.URL.Path, "/more"):
			return graphtest.Answer(200, chats+"}"), nil
		case strings.HasSuffix(r.URL.Path, "/messages"):
			return graphtest.Answer(200, `{"value": [`+message(id, written)+`]}`), nil
		case strings.HasSuffix(r.URL.Path, "/members"):
			return graphtest.Answer(200, `{"value": []}`), nil
		case strings.Contains(r.URL.Path, "/messages/"):
			return graphtest.Answer(200, message(id, written)), nil
		}
		return graphtest.Answer(200, `{"id": "1", "userPrincipalName": "adele@contoso.com"}`), nil
	})})
	if err != nil {
		t.Fatal(err)
	}
	o := chat.ChatKind().New().Options().(*chat.Options)
	before, err := o.Poll(t.Context(), g, nil, now)
	if err != nil {
		t.Fatal(err)
	}
	id, written = "2", now.Add(time.Minute)
	after, err := o.Poll(t.Context(), g, before, now.Add(2*time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	if events := o.Events(before, after, now); len(after.Chats) != 1 || len(events) != 1 {
		t.Errorf("%d chats and %d events", len(after.Chats), len(events))
	}
}

// A message whose time lies far ahead hides neither later ones of its chat nor those of others, and fires one event.
func TestMessageOfTheFuture(t *testing.T) {
	now := time.Date(2026, 1, 15, 11, 0, 0, 0, time.UTC)
	messages := map[string]time.Time{"1": now.Add(-time.Hour), "other": now.Add(-time.Hour)}
	shown := map[string]string{"19:a": "1"} // the newest message of each chat
	message := func(id string) string {
		return fmt.Sprintf(`{"id": %q, "messageType": "message", "createdDateTime": %q, "from": {"user": {"id": "2"}}, "body": {"content": %q}}`, id, messages[id].Format(time.RFC3339), id)
	}
	g, err := graph.New(graph.Options{Root: "https://graph.example", Tokens: graphtest.Tokens{Scopes: []string{"User.Read", "Chat.Read"}}, Transport: graphtest.RoundTripper(func(r *http.Request) (*http.Response, error) {
		var all []string
		switch {
		case strings.HasSuffix(r.URL.Path, "/me/chats"):
			for id, last := range shown {
				all = append(all, fmt.Sprintf(`{"id": %q, "lastMessagePreview": %s}`, id, message(last)))
			}
		case strings.HasSuffix(r.URL.Path, "/19:a/messages"):
			for id := range messages {
				if id != "other" {
					all = append(all, message(id))
				}
			}
		case strings.HasSuffix(r.URL.Path, "/19:b/messages"):
			all = []string{message("other")}
		case strings.Contains(r.URL.Path, "/messages/"):
			_, id, _ := strings.Cut(r.URL.Path, "/messages/")
			return graphtest.Answer(200, message(id)), nil
		case strings.HasSuffix(r.URL.Path, "/members"):
		default:
			return graphtest.Answer(200, `{"id": "1", "userPrincipalName": "adele@contoso.com"}`), nil
		}
		return graphtest.Answer(200, `{"value": [`+strings.Join(all, ", ")+`]}`), nil
	})})
	if err != nil {
		t.Fatal(err)
	}
	d := source(t, nil)
	expect(t, "first", d.Poll(t, g, now))
	for _, step := range []struct{ chat, id string }{{"19:a", "tomorrow"}, {"19:a", "3"}, {"19:a", "4"}, {"19:b", "other"}} {
		now = now.Add(time.Minute)
		messages[step.id] = now.Add(-time.Second)
		if step.id == "tomorrow" {
			messages[step.id] = now.AddDate(1, 0, 0)
		}
		shown[step.chat] = step.id
		expect(t, step.id, d.Poll(t, g, now), "message_received "+step.id)
		expect(t, step.id+", again", d.Poll(t, g, now))
	}
}
