package teams_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/teams"
)

const page = `{"value": [{"id": "1", "messageType": "message", "createdDateTime": "2026-01-15T11:00:00Z", "lastModifiedDateTime": "2026-01-15T11:05:00Z", "body": {"contentType": "text", "content": "Hi"},
	"replies": [{"id": "2", "replyToId": "1", "messageType": "message", "createdDateTime": "2026-01-15T11:05:00Z", "body": {"contentType": "text", "content": "Bye"}}]}]}`

func answering(t testing.TB, status int, body string, scopes ...string) *graph.Client {
	t.Helper()
	g, err := graph.New(graph.Options{Root: "https://graph.example", Tokens: graphtest.Tokens{Scopes: scopes}, Transport: graphtest.RoundTripper(func(*http.Request) (*http.Response, error) {
		return graphtest.Answer(status, body), nil
	})})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestMessages(t *testing.T) {
	messages, err := teams.Messages(t.Context(), answering(t, 200, page), "t", "c", time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range messages {
		got = append(got, m.ID+" "+m.ReplyTo+" "+m.Text)
	}
	if diff := cmp.Diff([]string{"1  Hi", "2 1 Bye"}, got); diff != "" {
		t.Error(diff)
	}
	graphtest.Damaged(t, []byte(page), func(name string, document []byte) {
		_, err := teams.Messages(t.Context(), answering(t, 200, string(document)), "t", "c", time.Time{})
		if lost := strings.HasPrefix(name, ".value "); (err != nil) != lost {
			t.Errorf("%s: %v", name, err)
		}
	})
	circle := strings.Replace(page, `{"value"`, `{"@odata.nextLink": "https://graph.example/v1.0/x", "value"`, 1)
	g := answering(t, 200, circle)
	if messages, err := teams.Messages(t.Context(), g, "t", "c", time.Unix(1, 0)); err != nil || len(messages) != 2 || g.Stats().Requests != 10 {
		t.Errorf("pages without an end: %d messages by %d requests, %v", len(messages), g.Stats().Requests, err)
	}
}

func TestRefusals(t *testing.T) {
	const body = `{"error": {"code": "Forbidden", "message": "x"}}`
	for scope, want := range map[string]string{
		"ChannelMessage.Read.All": "read the messages of the channel: Microsoft Teams refuses; are you a member of the team, and does your account have a Teams license? (Graph answered 403 Forbidden)",
		"ChannelMessage.Send":     "read the messages of the channel: Graph answered 403 Forbidden: x",
	} {
		if _, err := teams.Messages(t.Context(), answering(t, 403, body, scope), "t", "c", time.Time{}); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", scope, err, want)
		}
	}
}

func TestNames(t *testing.T) {
	g := answering(t, 200, `{"value": [{"id": "1", "displayName": "Contoso"}, {"displayName": "no id"}, {"id": "2"}]}`)
	if team, err := teams.FindTeam(t.Context(), g, "CONTOSO"); err != nil || team != (teams.Team{ID: "1", Name: "Contoso"}) {
		t.Errorf("got %v, %v", team, err)
	}
	if channel, err := teams.FindChannel(t.Context(), g, teams.Team{ID: "1"}, "contoso"); err != nil || channel != (teams.Channel{ID: "1", Name: "Contoso"}) {
		t.Errorf("got %v, %v", channel, err)
	}
	for id, is := range map[string]bool{"893075dd-2487-4122-925f-022c42e20265": true, "893075dd24874122925f022c42e20265": false, "Contoso": false, "": false} {
		if teams.IsTeamID(id) != is {
			t.Errorf("%q", id)
		}
	}
	for id, is := range map[string]bool{"19:a@thread.tacv2": true, "19:00 meeting": false, "General": false} {
		if teams.IsChannelID(id) != is {
			t.Errorf("%q", id)
		}
	}
}
