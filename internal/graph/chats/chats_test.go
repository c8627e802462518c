package chats_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/chatmessage"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/chats"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
)

const page = `{"@odata.nextLink": "https://graph.example/v1.0/me/chats?$skiptoken=x", "value": [{
	"id": "19:a@thread.v2", "topic": "Lunch", "chatType": "group", "lastUpdatedDateTime": "2025-06-05T00:31:32.806Z", "webUrl": "https://teams.example/l/chat/a",
	"viewpoint": {"isHidden": true, "lastMessageReadDateTime": "2026-01-15T10:00:00.047Z"},
	"members": [{"userId": "1", "displayName": "Adele Vance", "email": "adele@contoso.com", "tenantId": "t"}, {"userId": "2", "displayName": null, "email": "megan@contoso.com"}, {"userId": "3"}],
	"lastMessagePreview": {"id": "7", "createdDateTime": "2026-01-15T11:00:00Z", "isDeleted": false, "messageType": "message", "body": {"contentType": "html", "content": "<p>Hi &amp; bye</p>"},
		"from": {"application": null, "device": null, "user": {"id": "2", "displayName": "Megan Bowen"}}}}]}`

func client(t testing.TB, f func(*http.Request) (*http.Response, error)) *graph.Client {
	t.Helper()
	g, err := graph.New(graph.Options{Root: "https://graph.example", Transport: graphtest.RoundTripper(f), Tokens: graphtest.Tokens{Scopes: []string{"Chat.Read", "ChatMessage.Send", "Chat.Create"}}})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func answering(t testing.TB, status int, body string) *graph.Client {
	return client(t, func(*http.Request) (*http.Response, error) { return graphtest.Answer(status, body), nil })
}

func TestList(t *testing.T) {
	var asked []string
	g := client(t, func(r *http.Request) (*http.Response, error) {
		asked = append(asked, r.URL.Path+"?"+r.URL.RawQuery)
		return graphtest.Answer(200, page), nil
	})
	got, err := chats.List(t.Context(), g, false)
	if err != nil {
		t.Fatal(err)
	}
	want := chats.Page{Next: "https://graph.example/v1.0/me/chats?$skiptoken=x", Chats: []chats.Chat{{
		ID: "19:a@thread.v2", Type: "group", Topic: "Lunch", WebLink: "https://teams.example/l/chat/a", Updated: time.Date(2025, 6, 5, 0, 31, 32, 806e6, time.UTC), Hidden: true,
		Read:    time.Date(2026, 1, 15, 10, 0, 0, 47e6, time.UTC),
		Members: []chats.Member{{UserID: "1", Name: "Adele Vance", Address: "adele@contoso.com", Tenant: "t"}, {UserID: "2", Address: "megan@contoso.com"}, {UserID: "3"}},
		Last: &chatmessage.Message{
			ID: "7", Type: "message", Created: time.Date(2026, 1, 15, 11, 0, 0, 0, time.UTC), From: chatmessage.Sender{ID: "2", Name: "Megan Bowen", Kind: "user"}, Text: "Hi & bye",
		},
	}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if name := got.Chats[0].Name("1"); name != "Lunch" {
		t.Errorf("got %q", name)
	}
	got.Chats[0].Topic = ""
	if name := got.Chats[0].Name("1"); name != "megan@contoso.com, 3" {
		t.Errorf("got %q", name)
	}
	if _, err := chats.Next(t.Context(), g, got.Next); err != nil {
		t.Error(err)
	}
	if _, err := chats.List(t.Context(), g, true); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{
		"/v1.0/me/chats?$expand=lastMessagePreview&$orderby=lastMessagePreview/createdDateTime%20desc&$top=50", "/v1.0/me/chats?$skiptoken=x", "/v1.0/me/chats?$top=50",
	}, asked, cmp.Transformer("slash", func(s string) string { return strings.ReplaceAll(s, "%2F", "/") })); diff != "" {
		t.Error(diff)
	}
}

// Answers with a null, missing or unknown part are read as far as they go, or are an error.
func TestDamagedAnswers(t *testing.T) {
	graphtest.Damaged(t, []byte(page), func(name string, document []byte) {
		got, err := chats.List(t.Context(), answering(t, 200, string(document)), false)
		switch {
		case err != nil && !strings.HasPrefix(err.Error(), "read the chats: "):
			t.Errorf("%s: %v", name, err)
		case err == nil && strings.HasPrefix(name, ".value "):
			t.Errorf("%s: no error", name)
		case err != nil:
		case len(got.Chats) != 1 && !strings.HasPrefix(name, ".value[0].id "):
			t.Errorf("%s: %+v", name, got)
		}
	})
	var list struct{ Value []map[string]any }
	if err := json.Unmarshal([]byte(page), &list); err != nil {
		t.Fatal(err)
	}
	chat, err := json.Marshal(list.Value[0])
	if err != nil {
		t.Fatal(err)
	}
	graphtest.Damaged(t, chat, func(name string, document []byte) {
		_, err := chats.Read(t.Context(), answering(t, 200, string(document)), "19:a", false, true)
		if lost := strings.HasPrefix(name, ".id ") && !strings.HasSuffix(name, "new"); (err != nil) != lost {
			t.Errorf("%s: %v", name, err)
		}
	})
	for _, body := range []string{"{}", "null", `{"value": null}`, `{"value": 1}`, "[]"} {
		if _, err := chats.List(t.Context(), answering(t, 200, body), false); err == nil {
			t.Errorf("%s: no error", body)
		}
		if _, err := chats.Newest(t.Context(), answering(t, 200, body), "19:a", 20); err == nil {
			t.Errorf("%s: no error", body)
		}
		if _, err := chats.MessagesSince(t.Context(), answering(t, 200, body), "19:a", time.Time{}); err == nil {
			t.Errorf("%s: no error", body)
		}
	}
	if _, err := chats.Next(t.Context(), answering(t, 200, page), ":"); err == nil || err.Error() != "read the chats: the address of the next page cannot be read" {
		t.Errorf("got %v", err)
	}
	if _, err := chats.Next(t.Context(), answering(t, 200, page), "https://evil.example/x"); err == nil || err.Error() != "read the chats: Graph's answer leads to another server, https://evil.example" {
		t.Errorf("got %v", err)
	}
}

// A message that moves from one page to the next while they are read is returned once.
func TestMessagesOnPagesThatShift(t *testing.T) {
	g := client(t, func(r *http.Request) (*http.Response, error) {
		const message = `{"id": "%s", "messageType": "message", "createdDateTime": "2026-01-15T11:00:00Z"}`
		if r.URL.Query().Has("$skiptoken") {
			return graphtest.Answer(200, `{"value": [`+fmt.Sprintf(message, "2")+`, `+fmt.Sprintf(message, "1")+`]}`), nil
		}
		return graphtest.Answer(200, `{"@odata.nextLink": "https://graph.example/v1.0/x?$skiptoken=x", "value": [`+fmt.Sprintf(message, "3")+`, `+fmt.Sprintf(message, "2")+`]}`), nil
	})
	got, err := chats.MessagesSince(t.Context(), g, "19:a", time.Unix(1, 0))
	var ids []string
	for _, m := range got {
		ids = append(ids, m.ID)
	}
	if diff := cmp.Diff([]string{"3", "2", "1"}, ids); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

// Teams' refusals are explained to the user.
func TestRefusals(t *testing.T) {
	const body = `{"error": {"code": "Forbidden", "message": "x"}}`
	_, err := chats.List(t.Context(), answering(t, 403, body), false)
	if want := "read the chats: Microsoft Teams refuses; does your account have a Teams license? (Graph answered 403 Forbidden)"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	_, err = chats.Members(t.Context(), answering(t, 403, body), "19:a")
	if want := "read the members of the chat: Microsoft Teams refuses; the chat may belong to another organization that does not allow it (Graph answered 403 Forbidden)"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// Only a chat with one person can be opened twice without harm.
func TestOpenWithoutAnswer(t *testing.T) {
	g := client(t, func(r *http.Request) (*http.Response, error) {
		if r.Method == http.MethodGet {
			return graphtest.Answer(200, `{"id": "1", "userPrincipalName": "adele@contoso.com"}`), nil
		}
		return graphtest.Answer(201, `{}`), nil
	})
	for addresses, unknown := range map[string]bool{"megan@contoso.com": false, "megan@contoso.com alex@contoso.com": true} {
		_, err := chats.Open(t.Context(), g, strings.Fields(addresses), "")
		e, ok := err.(*graph.Error)
		if !ok || e.OutcomeUnknown != unknown {
			t.Errorf("%s: got %v", addresses, err)
		}
	}
}

func TestGroups(t *testing.T) {
	g := answering(t, 200, "{}")
	key := chats.GroupKey([]string{"B@contoso.com", "a@contoso.com", "b@contoso.com"})
	if key != "a@contoso.com,b@contoso.com" {
		t.Errorf("got %s", key)
	}
	if id, err := chats.Group(t.Context(), g, key); id != "" || err != nil {
		t.Errorf("got %q, %v", id, err)
	}
	if err := chats.Remember(t.Context(), g, map[string]string{key: "19:x"}); err != nil {
		t.Error(err)
	}
	if id, err := chats.Group(t.Context(), g, key); id != "19:x" || err != nil {
		t.Errorf("got %q, %v", id, err)
	}
}
