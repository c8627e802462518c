package mail_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
	"github.com/graph2mqtt/graph2mqtt/services"
	"github.com/graph2mqtt/graph2mqtt/services/mail"
)

// attachments returns a request for each attachment of a mail, by its name.
func attachments(t testing.TB, s *simulator.Simulator, id string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, a := range must(t, s, mail.Target{}, "attachments", `{"message_id": "`+id+`"}`).(services.Page).Value.(map[string]any)["attachments"].([]map[string]any) {
		all[fmt.Sprint(a["name"])] = fmt.Sprintf(`{"message_id": %q, "attachment_id": %q}`, id, a["attachment_id"])
	}
	return all
}

func TestAttachment(t *testing.T) {
	s := contoso(t)
	content := make([]byte, 3_100_000)
	for i := range content {
		content[i] = byte(rand.Uint32())
	}
	sizes := map[string]int{"empty": 0, "one": 1, "part": 192 << 10, "more": 192<<10 + 1, "2.9 MB": 2_900_000, "3.1 MB": 3_100_000}
	m := simulator.Mail{Subject: "files"}
	for name, size := range sizes {
		m.Attachments = append(m.Attachments, simulator.Attachment{Name: name, ContentType: "application/pdf", Content: content[:size]})
	}
	requests := attachments(t, s, s.DeliverMail(simulator.Adele, m).ImmutableID)
	for name, size := range sizes {
		s.ForgetRequests()
		all := pages(t, s, mail.Target{}, "attachment", requests[name], nil)
		var joined strings.Builder
		offset := 0
		for i, page := range all {
			data := page.Value.(map[string]any)
			if data["offset"] != int64(offset) || data["name"] != name || data["type"] != "application/pdf" || data["kind"] != "file" || data["size"] != size {
				t.Errorf("%s, page %d: got %v, %v, %v, %v, %v", name, i, data["offset"], data["name"], data["type"], data["kind"], data["size"])
			}
			text := data["content"].(string)
			if len(text) > 256<<10 {
				t.Errorf("%s, page %d: %d characters", name, i, len(text))
			}
			joined.WriteString(text)
			offset += len(text) / 4 * 3
		}
		got, err := base64.StdEncoding.DecodeString(joined.String())
		if err != nil || !bytes.Equal(got, content[:size]) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		if want := max(1, (size+192<<10-1)/(192<<10)); len(all) != want || len(s.Requests()) != 2 {
			t.Errorf("%s: %d pages, want %d, %d requests", name, len(all), want, len(s.Requests()))
		}
	}
}

// A large attachment is downloaded once, and from another place only if that is asked for.
func TestLargeAttachment(t *testing.T) {
	const size = 40 << 20
	s := contoso(t)
	request := attachments(t, s, s.DeliverMail(simulator.Adele, simulator.Mail{Attachments: []simulator.Attachment{{Name: "large", Size: size}}}).ImmutableID)["large"]
	s.ForgetRequests()
	n := 0
	all := pages(t, s, mail.Target{}, "attachment", request, nil)
	for _, page := range all {
		n += len(page.Value.(map[string]any)["content"].(string)) / 4 * 3
	}
	if requests := len(s.Requests()); n < size || n > size+2 || requests != 2 {
		t.Errorf("%d bytes with %d requests", n, requests)
	}
	op, r, err := decode(t, mail.Target{}, "attachment", request)
	if err != nil {
		t.Fatal(err)
	}
	g := graphtest.Client(t, s, simulator.Adele, graph.Scopes(op.Permissions)...)
	at := func(offset int) (services.Page, error) {
		position, err := json.Marshal(all[0].Next)
		if err != nil {
			t.Fatal(err)
		}
		position = bytes.Replace(position, []byte(fmt.Sprintf(`"o":%d`, 192<<10)), []byte(fmt.Sprintf(`"o":%d`, offset)), 1)
		v, err := r.Execute(t.Context(), g, services.Attempt{Now: time.Now(), Position: position})
		page, _ := v.(services.Page)
		return page, err
	}
	if page, err := at(size - 1000); err != nil || page.Next != nil || len(page.Value.(map[string]any)["content"].(string)) != (1000+2)/3*4 {
		t.Errorf("the end: %v, %v", page.Next, err)
	}
	if _, err := at(size + 1); err == nil || err.Error() != "read the attachment: Graph answered 200: the content is shorter than before" {
		t.Errorf("got %v", err)
	}
}

func TestAttachedItems(t *testing.T) {
	s := contoso(t)
	requests := attachments(t, s, s.DeliverMail(simulator.Adele, simulator.Mail{Attachments: []simulator.Attachment{
		{Kind: "item", Name: "mail", Item: &simulator.Mail{Subject: "inner", From: "ann@contoso.com", Body: "text"}}, {Kind: "reference", Name: "link", SourceURL: "https://contoso.com"},
		{Name: "broken", Content: []byte("x"), Unreadable: true},
	}}).ImmutableID)
	page := must(t, s, mail.Target{}, "attachment", requests["mail"]).(services.Page)
	data := page.Value.(map[string]any)
	content, err := base64.StdEncoding.DecodeString(data["content"].(string))
	if err != nil || !strings.Contains(string(content), "Subject: inner\r\n") || data["type"] != "message/rfc822" || data["kind"] != "item" || page.Next != nil {
		t.Errorf("got %v, %s, %v", data, content, err)
	}
	for name, want := range map[string]string{
		"link":   `attachment_id: "link" is a link to a file, which has no content in the mail; open the mail by its web_link to follow it`,
		"broken": "read the attachment: Graph answered 500 ErrorInternalServerError: An internal server error occurred. The operation failed.",
	} {
		if _, err := call(t, s, mail.Target{}, "attachment", requests[name]); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", name, err, want)
		}
	}
	if _, err := call(t, s, mail.Target{}, "attachment", strings.Replace(requests["mail"], `"attachment_id": "`, `"attachment_id": "AAAA`, 1)); !graph.Is(err, graph.NotFound) {
		t.Errorf("an unknown id: %v", err)
	}
}

// A mail may have more attachments than one response takes.
func TestManyAttachments(t *testing.T) {
	s := contoso(t)
	m := simulator.Mail{}
	for i := range 150 {
		m.Attachments = append(m.Attachments, simulator.Attachment{Name: fmt.Sprintf("%03d %s", i, strings.Repeat("<", 1000)), Content: []byte("x")})
	}
	id := s.DeliverMail(simulator.Adele, m).ImmutableID
	var names []string
	all := pages(t, s, mail.Target{}, "attachments", `{"message_id": "`+id+`"}`, nil)
	for _, page := range all {
		for _, a := range page.Value.(map[string]any)["attachments"].([]map[string]any) {
			names = append(names, a["name"].(string)[:3])
		}
	}
	if len(all) < 2 || len(names) != 150 || names[0] != "000" || names[149] != "149" {
		t.Errorf("%d pages, %d attachments", len(all), len(names))
	}
}
