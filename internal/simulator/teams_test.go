package simulator_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

// newTeamsClient returns a client of Adele's in the sample tenant with these scopes.
func newTeamsClient(t *testing.T, scopes ...string) graphClient {
	v := newGraphClient(t, scopes...)
	v.s.AddUser(simulator.User{Address: simulator.Megan, Name: "Megan Bowen"})
	v.s.AddUser(simulator.User{Address: simulator.Alex, Name: "Alex Wilber"})
	return v
}

func idsOf(list map[string]any) []string {
	var ids []string
	for _, item := range list["value"].([]any) {
		ids = append(ids, item.(map[string]any)["id"].(string))
	}
	return ids
}

func TestChats(t *testing.T) {
	v := newTeamsClient(t, "Chat.Read")
	now := time.Now().Truncate(time.Millisecond)
	var want []string
	for i := range 60 {
		c := v.s.AddChat(simulator.Chat{Topic: fmt.Sprint(i), Members: []string{simulator.Adele, simulator.Megan, simulator.Alex}})
		v.s.PostChatMessage(c.ID, simulator.ChatMessage{From: simulator.Megan, Body: "x", Created: now.Add(time.Duration(i) * time.Minute)})
		want = append([]string{c.ID}, want...)
	}
	v.s.AddChat(simulator.Chat{Topic: "not mine", Members: []string{simulator.Megan, simulator.Alex}})
	const newest = "/me/chats?$top=50&$expand=lastMessagePreview&$orderby=lastMessagePreview/createdDateTime%20desc"
	first := v.want(200, "GET", newest, "")
	next := first["@odata.nextLink"].(string)
	second := v.want(200, "GET", next[strings.Index(next, "/me/"):], "")
	if diff := cmp.Diff(want, append(idsOf(first), idsOf(second)...)); diff != "" || len(idsOf(first)) != 50 || second["@odata.nextLink"] != nil {
		t.Error(diff)
	}
	chat := first["value"].([]any)[0].(map[string]any)
	preview := chat["lastMessagePreview"].(map[string]any)
	if chat["topic"] != "59" || chat["chatType"] != "group" || chat["viewpoint"].(map[string]any)["lastMessageReadDateTime"] != "0001-01-01T00:00:00Z" || preview["importance"] != nil || preview["isDeleted"] != false {
		t.Errorf("got %v", chat)
	}
	v.s.SetViewpoint(simulator.Adele, want[0], simulator.Viewpoint{Null: true})
	if c := v.want(200, "GET", "/chats/"+want[0]+"?$expand=members,lastMessagePreview", ""); c["viewpoint"] != nil || len(c["members"].([]any)) != 3 {
		t.Errorf("got %v", c)
	}
	for _, query := range []string{"$select=id", "$top=51", "$orderby=topic", "$orderby=lastMessagePreview/createdDateTime", "$expand=messages", "$skip=1"} {
		if resp, _ := v.do("GET", "/me/chats?"+strings.ReplaceAll(query, " ", "%20"), ""); resp.StatusCode != 400 {
			t.Errorf("%s: %s", query, resp.Status)
		}
	}
	v.refused(501, "NotSimulated", "GET", "/me/chats?$filter=chatType%20eq%20'group'", "")
	v.refused(404, "NotFound", "GET", "/chats/19:nowhere@thread.v2", "")
	v.refused(403, "Forbidden", "POST", "/chats/"+want[0]+"/messages", `{"body": {"content": "x"}}`)
	v.token = v.s.Token(simulator.Adele, "Chat.ReadBasic")
	v.want(200, "GET", "/me/chats", "")
	v.want(200, "GET", "/chats/"+want[0]+"/members", "")
	v.refused(403, "Forbidden", "GET", newest, "")
	v.refused(403, "Forbidden", "GET", "/chats/"+want[0]+"/messages", "")
	v.token = v.s.Token(simulator.Adele, "Chat.ReadWrite")
	v.s.ChangeChat(want[0], func(c *simulator.Chat) { c.Foreign = true })
	for _, path := range []string{"", "/members", "/messages"} {
		v.refused(403, "Forbidden", "GET", "/chats/"+want[0]+path, "")
	}
}

func TestChatMessages(t *testing.T) {
	v := newTeamsClient(t, "Chat.Read")
	start := time.Date(2026, 1, 15, 12, 0, 0, 0, time.UTC)
	id := v.s.AddChat(simulator.Chat{Topic: "x", Members: []string{simulator.Adele, simulator.Megan}}).ID
	var ids []string
	for i := range 5 {
		ids = append(ids, v.s.PostChatMessage(id, simulator.ChatMessage{From: simulator.Megan, Body: fmt.Sprint(i), Created: start.Add(time.Duration(i) * time.Minute)}).ID)
	}
	v.s.EditChatMessage(id, ids[0], "edited") // now
	messages := "/chats/" + id + "/messages?"
	for query, want := range map[string][]string{
		"":                              {ids[0], ids[4], ids[3], ids[2], ids[1]},
		"$orderby=createdDateTime desc": {ids[4], ids[3], ids[2], ids[1], ids[0]},
		"$orderby=lastModifiedDateTime desc&$filter=lastModifiedDateTime gt 2026-01-15T12:02:00Z":                                                  {ids[0], ids[4], ids[3]},
		"$orderby=lastModifiedDateTime desc&$filter=lastModifiedDateTime gt 2026-01-15T12:01:00Z and lastModifiedDateTime lt 2026-01-15T12:04:00Z": {ids[3], ids[2]},
		"$orderby=createdDateTime desc&$filter=createdDateTime lt 2026-01-15T12:02:00Z":                                                            {ids[1], ids[0]},
		// A filter of another property is ignored.
		"$orderby=createdDateTime desc&$filter=lastModifiedDateTime gt 2026-01-15T12:02:00Z": {ids[4], ids[3], ids[2], ids[1], ids[0]},
		"$top=2": {ids[0], ids[4]},
	} {
		got := v.want(200, "GET", messages+strings.ReplaceAll(query, " ", "%20"), "")
		if diff := cmp.Diff(want, idsOf(got)); diff != "" {
			t.Errorf("%s: %s", query, diff)
		}
	}
	for _, query := range []string{
		"$orderby=createdDateTime asc", "$orderby=subject desc", "$top=51", "$select=id",
		"$orderby=createdDateTime desc&$filter=createdDateTime gt 2026-01-15T12:02:00Z", "$orderby=lastModifiedDateTime desc&$filter=lastModifiedDateTime ge 2026-01-15T12:02:00Z",
	} {
		if resp, _ := v.do("GET", messages+strings.ReplaceAll(query, " ", "%20"), ""); resp.StatusCode != 400 {
			t.Errorf("%s: %s", query, resp.Status)
		}
	}
	v.s.DeleteChatMessage(id, ids[4])
	m := v.want(200, "GET", "/me/chats/"+id+"/messages/"+ids[4], "")
	if m["deletedDateTime"] == nil || m["body"].(map[string]any)["content"] != "" {
		t.Errorf("got %v", m)
	}
	v.refused(404, "NotFound", "GET", "/chats/"+id+"/messages/1", "")
}

// What Graph refuses is refused, and what it accepts takes effect.
func TestChatWrites(t *testing.T) {
	v := newTeamsClient(t, "Chat.ReadWrite")
	user := func(id string) string {
		return `{"@odata.type": "#microsoft.graph.aadUserConversationMember", "roles": ["owner"], "user@odata.bind": "` + v.s.GraphURL() + `/v1.0/users('` + id + `')"}`
	}
	open := func(kind, rest string, users ...string) string {
		var members []string
		for _, u := range users {
			members = append(members, user(u))
		}
		return `{"chatType": "` + kind + `", "members": [` + strings.Join(members, ",") + `]` + rest + `}`
	}
	one := v.want(201, "POST", "/chats", open("oneOnOne", "", adeleID, simulator.Megan))
	if again := v.want(201, "POST", "/chats", open("oneOnOne", "", simulator.Megan, simulator.Adele)); again["id"] != one["id"] {
		t.Errorf("two chats: %v, %v", one["id"], again["id"])
	}
	group := v.want(201, "POST", "/chats", open("group", `, "topic": "T"`, adeleID, simulator.Megan, simulator.Alex))
	if again := v.want(201, "POST", "/chats", open("group", `, "topic": "T"`, adeleID, simulator.Megan, simulator.Alex)); again["id"] == group["id"] {
		t.Error("one group for two requests")
	}
	v.s.AddUser(simulator.User{Address: "pat@fabrikam.example", Name: "Pat"})
	for _, body := range []string{
		open("oneOnOne", "", simulator.Megan, simulator.Alex), open("oneOnOne", "", adeleID), open("oneOnOne", "", adeleID, simulator.Adele), open("oneOnOne", `, "topic": "x"`, adeleID, simulator.Megan),
		open("meeting", "", adeleID, simulator.Megan), open("group", "", adeleID), `{}`, `{"chatType": "group", "members": [{"roles": ["owner"], "user@odata.bind": "x"}]}`,
		strings.ReplaceAll(open("group", "", adeleID, simulator.Megan), `"owner"`, `"king"`),
	} {
		v.refused(400, "BadRequest", "POST", "/chats", body)
	}
	v.refused(404, "NotFound", "POST", "/chats", open("oneOnOne", "", adeleID, "nobody@contoso.example"))
	v.refused(404, "NotFound", "POST", "/chats", open("oneOnOne", "", adeleID, "pat@fabrikam.example"))

	id := group["id"].(string)
	var megan string
	for _, u := range v.s.Users() {
		if u.Address == simulator.Megan {
			megan = u.ID
		}
	}
	mention := func(id int, who string) string {
		return fmt.Sprintf(`{"id": %d, "mentionText": "x", "mentioned": %s}`, id, who)
	}
	message := func(content, kind string, mentions ...string) string {
		return fmt.Sprintf(`{"body": {"contentType": %q, "content": %q}, "mentions": [%s]}`, kind, content, strings.Join(mentions, ","))
	}
	messages := "/chats/" + id + "/messages"
	sent := v.want(201, "POST", messages, message(`<at id="0">Megan</at> <at id="1">All</at>`, "html", mention(0, `{"user": {"id": "`+megan+`"}}`), mention(1, `{"conversation": {"id": "`+id+`", "conversationIdentityType": "chat"}}`)))
	for _, body := range []string{
		`{}`, message(" ", "text"), message("x", "markdown"), message("x", "html", mention(0, `{"user": {"id": "`+megan+`"}}`)), message(`<at id="0">M</at>`, "text", mention(0, `{"user": {"id": "`+megan+`"}}`)),
		message(`<at id="0">M</at>`, "html"), message(`<at id="0">M</at>`, "html", mention(0, `{"user": {"id": "nobody"}}`)), message(`<at id="0">M</at>`, "html", mention(0, `{}`)),
		message(`<at id="0">M</at>`, "html", mention(0, `{"conversation": {"id": "c", "conversationIdentityType": "channel"}}`)), `{"body": {"content": "x"}, "importance": "low"}`, `{"body": {"content": "x"}, "nonsense": 1}`,
	} {
		v.refused(400, "BadRequest", "POST", messages, body)
	}
	v.refused(413, "RequestEntityTooLarge", "POST", messages, message(strings.Repeat("x", 28<<10+1), "text"))
	v.refused(501, "NotSimulated", "POST", messages, `{"body": {"content": "x"}, "attachments": ["a"]}`)
	v.refused(404, "NotFound", "POST", "/chats/19:nowhere@thread.v2/messages", message("x", "text"))

	quoted := v.want(201, "POST", messages+"/replyWithQuote", `{"messageIds": ["`+sent["id"].(string)+`"], "replyMessage": {"body": {"content": "a < b"}}}`)
	if content := quoted["body"].(map[string]any)["content"].(string); !strings.HasPrefix(content, "<attachment id=") || !strings.HasSuffix(content, "a &lt; b") {
		t.Errorf("got %q", content)
	}
	v.refused(404, "NotFound", "POST", messages+"/replyWithQuote", `{"messageIds": ["1"], "replyMessage": {"body": {"content": "x"}}}`)
	for _, body := range []string{`{"messageIds": [], "replyMessage": {"body": {"content": "x"}}}`, `{"messageIds": ["1"]}`, `{"ids": []}`} {
		v.refused(400, "BadRequest", "POST", messages+"/replyWithQuote", body)
	}
	at := messages + "/" + sent["id"].(string)
	for range 2 {
		v.want(204, "POST", at+"/setReaction", `{"reactionType": "💘"}`)
	}
	if got := v.s.ChatMessages(id)[0].Reactions; len(got) != 1 {
		t.Errorf("got %v", got)
	}
	v.want(204, "POST", at+"/unsetReaction", `{"reactionType": "💘"}`)
	if got := v.s.ChatMessages(id)[0].Reactions; len(got) != 0 {
		t.Errorf("got %v", got)
	}
	for _, body := range []string{`{"reactionType": "love"}`, `{}`, `{"type": "💘"}`} {
		v.refused(400, "BadRequest", "POST", at+"/setReaction", body)
	}
	me := `{"user": {"id": "` + adeleID + `", "tenantId": "` + simulator.ContosoTenant + `"}`
	v.want(204, "POST", "/chats/"+id+"/markChatUnreadForUser", me+`, "lastMessageReadDateTime": "2026-01-15T12:00:00Z"}`)
	if got := v.s.Viewpoint(simulator.Adele, id); !got.Read.Equal(time.Date(2026, 1, 15, 12, 0, 0, 0, time.UTC)) {
		t.Errorf("got %v", got)
	}
	v.want(204, "POST", "/chats/"+id+"/markChatReadForUser", me+`}`)
	v.refused(403, "Forbidden", "POST", "/chats/"+id+"/markChatReadForUser", `{"user": {"id": "`+megan+`", "tenantId": "`+simulator.ContosoTenant+`"}}`)
	v.refused(400, "BadRequest", "POST", "/chats/"+id+"/markChatReadForUser", `{"user": {"id": "`+adeleID+`"}}`)
}

func TestChannels(t *testing.T) {
	v := newTeamsClient(t, "Team.ReadBasic.All", "Channel.ReadBasic.All", "ChannelMessage.Read.All", "ChannelMessage.Send")
	team := v.s.AddTeam(simulator.Team{Name: "Contoso", Members: []string{simulator.Adele, simulator.Megan}, Channels: []simulator.Channel{{Name: "General"}, {Name: "News"}}})
	other := v.s.AddTeam(simulator.Team{Name: "Other", Members: []string{simulator.Megan}})
	if diff := cmp.Diff([]string{team.ID}, idsOf(v.want(200, "GET", "/me/joinedTeams", ""))); diff != "" {
		t.Error(diff)
	}
	general := team.Channels[0].ID
	if diff := cmp.Diff([]string{general, team.Channels[1].ID}, idsOf(v.want(200, "GET", "/teams/"+team.ID+"/channels?$select=id,displayName", ""))); diff != "" {
		t.Error(diff)
	}
	if c := v.want(200, "GET", "/teams/"+team.ID+"/channels/"+general, ""); c["displayName"] != "General" {
		t.Errorf("got %v", c)
	}
	messages := "/teams/" + team.ID + "/channels/" + general + "/messages"
	first := v.want(201, "POST", messages, `{"subject": "S", "importance": "urgent", "body": {"content": "first"}}`)["id"].(string)
	second := v.want(201, "POST", messages, `{"body": {"contentType": "html", "content": "<at id=\"0\">General</at>"}, "mentions": [{"id": 0, "mentionText": "General", "mentioned": {"conversation": {"id": "`+general+`", "conversationIdentityType": "channel"}}}]}`)["id"].(string)
	reply := v.want(201, "POST", messages+"/"+first+"/replies", `{"body": {"content": "reply"}}`)["id"].(string)
	list := v.want(200, "GET", messages+"?$top=50&$expand=replies", "")
	if diff := cmp.Diff([]string{first, second}, idsOf(list)); diff != "" {
		t.Errorf("the thread with the newest reply comes first: %s", diff)
	}
	if replies := list["value"].([]any)[0].(map[string]any)["replies"].([]any); len(replies) != 1 || replies[0].(map[string]any)["replyToId"] != first {
		t.Errorf("got %v", replies)
	}
	if diff := cmp.Diff([]string{reply}, idsOf(v.want(200, "GET", messages+"/"+first+"/replies", ""))); diff != "" {
		t.Error(diff)
	}
	v.want(200, "GET", messages+"/"+second, "")
	v.want(204, "POST", messages+"/"+first+"/setReaction", `{"reactionType": "👍"}`)
	v.want(204, "POST", messages+"/"+first+"/replies/"+reply+"/setReaction", `{"reactionType": "👍"}`)
	v.refused(404, "NotFound", "POST", messages+"/"+reply+"/setReaction", `{"reactionType": "👍"}`)
	v.refused(404, "NotFound", "POST", messages+"/1/replies", `{"body": {"content": "x"}}`)
	v.refused(404, "NotFound", "GET", "/teams/"+team.ID+"/channels/19:x@thread.tacv2/messages", "")
	v.refused(404, "NotFound", "GET", "/teams/"+simulator.ContosoTeam+"/channels", "")
	v.refused(403, "Forbidden", "GET", "/teams/"+other.ID+"/channels", "")
	v.refused(400, "BadRequest", "GET", "/teams/contoso/channels", "")
	for _, query := range []string{"$top=51", "$orderby=createdDateTime%20desc", "$filter=id%20eq%20'1'", "$expand=members"} {
		if resp, _ := v.do("GET", messages+"?"+query, ""); resp.StatusCode != 400 {
			t.Errorf("%s: %s", query, resp.Status)
		}
	}
	v.refused(501, "NotSimulated", "GET", messages+"/delta()", "")
	v.token = v.s.Token(simulator.Adele, "ChannelMessage.Send")
	v.refused(403, "Forbidden", "GET", messages, "")
	v.refused(403, "Forbidden", "GET", "/me/joinedTeams", "")
	v.token = v.s.Token(simulator.Adele, "ChannelMessage.Read.All")
	v.refused(403, "Forbidden", "POST", messages, `{"body": {"content": "x"}}`)
}
