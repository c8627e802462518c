//go:build e2e

package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
	"github.com/graph2mqtt/graph2mqtt/mqtt/homeassistant"
)

const mailTopic = "graph2mqtt/work/mail/"

// mailEvents returns the subjects of the events of a type that a mail sensor's event entity fired, in their order.
func (s *socket) mailEvents(entity, event string) []string {
	var subjects []string
	for _, c := range s.History(entity) {
		if c.New != nil && c.New.Attributes["event_type"] == event {
			subject, _ := c.New.Attributes["subject"].(string)
			subjects = append(subjects, subject)
		}
	}
	return subjects
}

// awaitMailEvent waits until the event entity has fired an event for a subject.
func (s *socket) awaitMailEvent(t testing.TB, entity, event, subject string) {
	t.Helper()
	s.Changes.Await(t, event+" for "+subject, func([]Change) bool { return slices.Contains(s.mailEvents(entity, event), subject) })
}

// TestMail reads a folder and a filter, sends, and changes a mail from Home Assistant.
func TestMail(t *testing.T) {
	EachHomeAssistant(t, func(t *testing.T, ha *HomeAssistant) {
		env := startEnvironment(t, ha, MosquittoOptions{},
			"mail: {type: email, interval: 5s, show_body: true, allow: [default, mark_read, move], notify: {to: [megan@contoso.example], subject: From home}}",
			"bills: {type: query, interval: 5s, subject_contains: bill}")
		const id, event = "sensor.work_mail_", "event.work_mail_event"
		ha.AwaitState(t, id+"matching", "0")
		ha.AwaitState(t, id+"unread", "0")
		ha.AwaitState(t, "sensor.work_bills_matching", "0")
		ha.AwaitState(t, event, "unknown")
		for _, key := range []string{"latest_subject", "latest_from", "latest_received"} {
			ha.AwaitState(t, id+key, "unknown")
		}
		ha.AwaitState(t, "binary_sensor.work_mail_problem", "off")
		ha.AwaitState(t, "binary_sensor.work_bills_problem", "off")
		ha.AwaitState(t, "notify.work_mail_send", "unknown")
		checkMailEntities(t, ha)

		const subject = `Lunch "Grüße" {{ 1 + 1 }} 日本 👋`
		received := time.Now().UTC().Truncate(time.Second)
		mail := env.Microsoft.DeliverMail(simulator.Adele, simulator.Mail{
			Subject: subject, From: simulator.Megan, FromName: "Megan Bowen", To: []string{simulator.Adele}, Received: received, Importance: "high",
			HTML: true, Body: "<p>At <b>noon</b>?</p>",
		})
		ha.AwaitState(t, id+"latest_subject", subject)
		ha.AwaitState(t, id+"latest_from", "Megan Bowen")
		ha.AwaitState(t, id+"latest_received", received.Format("2006-01-02T15:04:05+00:00"))
		ha.AwaitState(t, id+"matching", "1")
		ha.AwaitState(t, id+"unread", "1")
		ha.awaitMailEvent(t, event, "mail_received", subject)
		listed := ha.AwaitEntity(t, id+"matching", "lists the mail", func(s State) bool {
			data, _ := s.Attributes["data"].([]any)
			return len(data) == 1
		})
		item := listed.Attributes["data"].([]any)[0].(map[string]any)
		for key, want := range map[string]any{"subject": subject, "body": "At noon?", "sender": simulator.Megan, "importance": "high", "is_read": false, "message_id": mail.ImmutableID} {
			if diff := cmp.Diff(want, item[key]); diff != "" {
				t.Errorf("data[0].%s (-want +got):\n%s", key, diff)
			}
		}
		ha.AwaitState(t, "sensor.work_bills_unread", "1") // of the folder
		ha.AwaitState(t, "sensor.work_bills_matching", "0")

		env.Microsoft.DeliverMail(simulator.Adele, simulator.Mail{Subject: "Your Bill", From: "billing@power.example"})
		ha.awaitMailEvent(t, event, "mail_received", "Your Bill")
		ha.awaitMailEvent(t, "event.work_bills_event", "mail_received", "Your Bill")
		ha.AwaitState(t, "sensor.work_bills_matching", "1")
		if got := ha.mailEvents("event.work_bills_event", "mail_received"); len(got) != 1 {
			t.Errorf("the filter fired %q", got)
		}

		// Home Assistant marks the mail as read, and Outlook moves it.
		env.Broker.Publish(t, mailTopic+"request/mark_read", string(encode(t, map[string]any{"message_id": mail.ImmutableID})))
		ha.awaitMailEvent(t, event, "mail_read", subject)
		for _, c := range ha.History(event) {
			if c.New != nil && c.New.Attributes["event_type"] == "mail_read" && c.New.Attributes["own"] != true {
				t.Errorf("own is %v", c.New.Attributes["own"])
			}
		}
		ha.AwaitState(t, id+"unread", "1")
		env.Microsoft.MoveMail(simulator.Adele, mail.ImmutableID, "archive")
		ha.awaitMailEvent(t, event, "mail_removed", subject)
		ha.AwaitState(t, id+"matching", "1")

		// The notify entity sends with the configured recipient and subject.
		message := strings.Repeat("Grüße & {{ 1 + 1 }} \"so\" 👋\n", 40)
		responses := env.Broker.Subscribe(t, mailTopic+"response/#")
		ha.Service(t, "notify.send_message", "notify.work_mail_send", map[string]any{"message": message})
		responses.AwaitValues(t, mailTopic+"response/send", map[string]any{"status": "ok"})
		sent := env.Microsoft.SentMails(simulator.Adele)
		if len(sent) != 1 {
			t.Fatalf("%d mails sent", len(sent))
		}
		got := []string{sent[0].Subject, strings.Join(sent[0].To, " "), strings.TrimSpace(strings.ReplaceAll(sent[0].Body, "\r\n", "\n"))}
		if diff := cmp.Diff([]string{"From home", simulator.Megan, strings.TrimSpace(message)}, got); diff != "" || sent[0].HTML {
			t.Errorf("the mail sent (-want +got):\n%s", diff)
		}
		ha.CheckLog(t)

		// After a restart Home Assistant shows the same, and nothing is told again.
		ha.Restart(t)
		ha.AwaitState(t, id+"latest_subject", "Your Bill")
		env.Stop(t)
		env.Start(t)
		seen := env.Broker.Subscribe(t, mailTopic+"event", mailTopic+"availability")
		seen.AwaitPayload(t, mailTopic+"availability", "online")
		env.Microsoft.DeliverMail(simulator.Adele, simulator.Mail{Subject: "Last"})
		ha.awaitMailEvent(t, event, "mail_received", "Last")
		seen.AwaitItem(t, "the event", 0, func(m Message) bool { return m.Topic == mailTopic+"event" })
		if got := seen.Payloads(mailTopic + "event"); len(got) != 1 {
			t.Errorf("events after the restart: %v", got)
		}
		ha.CheckLog(t)
	})
}

// checkMailEntities compares the entities of the sensors with a golden file: a change in it breaks users.
func checkMailEntities(t *testing.T, ha *HomeAssistant) {
	t.Helper()
	golden := filepath.Join("testdata", "mail_entities.txt")
	got := slices.DeleteFunc(describeEntities(t, ha), func(line string) bool {
		return !strings.Contains(line, "-work-mail-") && !strings.Contains(line, "-work-bills-")
	})
	if *update && ha.AtLeast(t, 2026, 5) {
		writeFile(t, golden, strings.Join(got, "\n")+"\n")
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(strings.TrimSpace(string(want)), "\n"), got); diff != "" {
		t.Errorf("entities (-want +got):\n%s", diff)
	}
}

// TestMailFlood delivers 500 mails at once: each is told once, Home Assistant shows and records all of them, and the attributes stay small.
func TestMailFlood(t *testing.T) {
	EachHomeAssistant(t, func(t *testing.T, ha *HomeAssistant) {
		env := startEnvironment(t, ha, MosquittoOptions{}, "mail: {type: email, interval: 5s, max_items: 100, show_body: true}")
		const matching, event, mails = "sensor.work_mail_matching", "event.work_mail_event", 500
		ha.AwaitState(t, matching, "0")
		seen := env.Broker.Subscribe(t, mailTopic+"#")
		start := time.Now()
		last := start.UTC().Truncate(time.Second)
		subject := func(i int) string { return fmt.Sprintf("Mail %03d", i) }
		body := strings.TrimSpace(strings.Repeat("Grüße 日本 👋. ", 60))
		env.Microsoft.FillMailFolder(simulator.Adele, "", mails, func(i int) simulator.Mail {
			return simulator.Mail{
				Subject: subject(i), From: simulator.Megan, To: []string{simulator.Adele}, Body: body,
				Received: last.Add(-time.Duration(mails-1-i) * time.Second),
			}
		})
		var want []string
		for i := range mails {
			want = append(want, subject(i))
		}
		ha.Changes.Await(t, "500 events", func([]Change) bool { return len(ha.mailEvents(event, "mail_received")) >= mails })
		ha.AwaitState(t, matching, "500")
		ha.AwaitState(t, "sensor.work_mail_unread", "500")

		// Another mail shows that the events of the first ones are complete.
		env.Microsoft.DeliverMail(simulator.Adele, simulator.Mail{Subject: "Last", From: simulator.Megan, Body: body})
		ha.awaitMailEvent(t, event, "mail_received", "Last")
		want = append(want, "Last")
		if diff := cmp.Diff(want, ha.mailEvents(event, "mail_received")); diff != "" {
			t.Errorf("events in Home Assistant (-want +got):\n%s", diff)
		}
		seen.AwaitNewest(t, mailTopic+"event", "is about the last mail", func(payload string) bool { return strings.Contains(payload, `"subject":"Last"`) })
		if got := len(seen.Payloads(mailTopic + "event")); got != mails+1 {
			t.Errorf("%d events over MQTT", got)
		}

		// The newest mail is complete.
		shown := ha.AwaitEntity(t, matching, "lists the last mail", func(s State) bool {
			data, _ := s.Attributes["data"].([]any)
			return s.State == "501" && len(data) > 0 && data[0].(map[string]any)["subject"] == "Last"
		})
		if first := shown.Attributes["data"].([]any)[0].(map[string]any); first["body"] != body {
			t.Errorf("the newest mail has the body %q", first["body"])
		}
		if shown.Attributes["total"] != float64(100) || shown.Attributes["truncated"] != true {
			t.Errorf("total %v, truncated %v", shown.Attributes["total"], shown.Attributes["truncated"])
		}
		largest := 0
		for _, payload := range seen.Payloads(mailTopic + "attributes") {
			largest = max(largest, len(payload))
		}
		if largest == 0 || largest > homeassistant.MaxAttributes {
			t.Errorf("%d bytes of attributes", largest)
		}
		for _, payload := range seen.Payloads(mailTopic + "event") {
			if len(payload) > homeassistant.MaxAttributes {
				t.Errorf("an event of %d bytes", len(payload))
			}
		}

		// The recorder has every event with its attributes, and few states with the list.
		events := ha.awaitRecorded(t, start, event, mails+1)
		size := 0
		for _, s := range events {
			size += len(encode(t, s.Attributes))
			if s.Attributes["subject"] == nil {
				t.Fatalf("an event was recorded without its attributes: %v", s.Attributes)
			}
		}
		states := ha.awaitRecorded(t, start, matching, 1)
		for _, s := range states {
			size += len(encode(t, s.Attributes))
		}
		t.Logf("attributes of at most %d bytes; recorded: %d events, %d states of the list, %d bytes of attributes", largest, len(events), len(states), size)
		if len(states) > 20 {
			t.Errorf("the list was recorded %d times", len(states))
		}
		if limit := 2 << 20; size > limit {
			t.Errorf("%d bytes of attributes were recorded, want at most %d", size, limit)
		}
		ha.CheckLog(t)
	})
}

// awaitRecorded waits until the recorder has n states of an entity since start, and returns all of them except unknown and unavailable ones.
func (ha *HomeAssistant) awaitRecorded(t testing.TB, start time.Time, entity string, n int) []State {
	t.Helper()
	tick := time.NewTicker(time.Second) // the recorder does not tell when it has committed
	defer tick.Stop()
	end := time.After(waitTimeout)
	path := "/api/history/period/" + url.PathEscape(start.UTC().Format(time.RFC3339)) + "?significant_changes_only=0&filter_entity_id=" + entity +
		"&end_time=" + url.QueryEscape(time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	for {
		var all [][]State
		ha.REST(t, "GET", path, nil, &all)
		var states []State
		for _, s := range slices.Concat(all...) {
			if s.State != "unknown" && s.State != "unavailable" && !s.LastChanged.Before(start) {
				states = append(states, s)
			}
		}
		if len(states) >= n {
			return states
		}
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("the recorder has %d states of %s, want %d", len(states), entity, n)
		}
	}
}

// TestMailBlueprints imports the blueprints of docs by their address, instantiates them and sees what they do.
func TestMailBlueprints(t *testing.T) {
	EachHomeAssistant(t, func(t *testing.T, ha *HomeAssistant) {
		files := httptest.NewServer(http.FileServer(http.Dir("../../docs/blueprints")))
		defer files.Close()
		env := startEnvironment(t, ha, MosquittoOptions{}, "mail: {type: email, interval: 5s}")
		ha.AwaitState(t, "sensor.work_mail_matching", "0")

		ha.instantiate(t, ha.importBlueprint(t, files.URL, "script", "send_mail"), "send_mail", map[string]any{"device": ha.Devices(t)["graph2mqtt-work-mail"].ID})
		ha.instantiate(t, ha.importBlueprint(t, files.URL, "automation", "new_mail"), "new_mail", map[string]any{"mail_event": "event.work_mail_event", "senders": []string{"MEGAN@", "Adele"}})

		send := func(data map[string]any) (result struct {
			Sent          bool
			Code, Message string
		}) {
			t.Helper()
			var response struct{ Response any }
			response.Response = &result
			ha.Call(t, "call_service", map[string]any{"domain": "script", "service": "send_mail", "service_data": data, "return_response": true}, &response)
			return result
		}
		const title, message = `Alarm "Grüße" 日本`, "The door\n{{ 1 + 1 }} \"is\" open."
		if r := send(map[string]any{
			"title": title, "message": message, "to": simulator.Megan + ", " + simulator.Alex, "cc": "lee@contoso.example", "importance": "high",
		}); !r.Sent {
			t.Errorf("not sent: %+v", r)
		}
		// A number is a text.
		if r := send(map[string]any{"title": 42, "message": "<b>7</b>", "message_is_html": true, "to": []string{simulator.Megan}}); !r.Sent {
			t.Errorf("not sent: %+v", r)
		}
		if r := send(map[string]any{"title": "x", "message": "x", "to": "megan"}); r.Sent || r.Code != "invalid_argument" || !strings.Contains(r.Message, "to: want addresses") {
			t.Errorf("a wrong address: %+v", r)
		}
		// Without a recipient it goes to oneself.
		if r := send(map[string]any{"title": "Note *to* self", "message": "Remember"}); !r.Sent {
			t.Errorf("not sent: %+v", r)
		}
		type mail struct {
			Subject, Body, Importance string
			To, Cc                    []string
			HTML                      bool
		}
		var sent []mail
		for _, m := range slices.Backward(env.Microsoft.SentMails(simulator.Adele)) {
			sent = append(sent, mail{m.Subject, strings.ReplaceAll(m.Body, "\r\n", "\n"), m.Importance, m.To, m.Cc, m.HTML})
		}
		if diff := cmp.Diff([]mail{
			{Subject: title, Body: message, Importance: "high", To: []string{simulator.Megan, simulator.Alex}, Cc: []string{"lee@contoso.example"}},
			{Subject: "42", Body: "<b>7</b>", Importance: "normal", To: []string{simulator.Megan}, HTML: true},
			{Subject: "Note *to* self", Body: "Remember", Importance: "normal", To: []string{simulator.Adele}},
		}, sent); diff != "" {
			t.Errorf("sent (-want +got):\n%s", diff)
		}

		// Each mail is notified once, except those of other senders.
		ha.awaitMailEvent(t, "event.work_mail_event", "mail_received", "Note *to* self")
		for _, m := range []simulator.Mail{{Subject: "Buy!", From: "news@fabrikam.example"}, {Subject: "Lunch?", From: simulator.Megan, FromName: "Megan Bowen", Body: "At noon?"}} {
			env.Microsoft.DeliverMail(simulator.Adele, m)
			ha.awaitMailEvent(t, "event.work_mail_event", "mail_received", m.Subject)
		}
		env.Stop(t) // the entity becomes unavailable and shows the last event again
		ha.AwaitState(t, "event.work_mail_event", "unavailable")
		env.Start(t)
		env.Microsoft.DeliverMail(simulator.Adele, simulator.Mail{Subject: "Dinner?", From: simulator.Megan, FromName: "Megan Bowen"})
		ha.awaitMailEvent(t, "event.work_mail_event", "mail_received", "Dinner?")
		want := []string{`Mail from Adele Vance: **Note \*to\* self** | Remember`, "Mail from Megan Bowen: **Dinner\\?**", "Mail from Megan Bowen: **Lunch\\?** | At noon\\?"}
		ha.awaitNotifications(t, want)
		ha.CheckLog(t)
	})
}

// awaitNotifications waits for as many notifications as wanted, and compares their titles and texts without the link, in order.
func (ha *HomeAssistant) awaitNotifications(t testing.TB, want []string) {
	t.Helper()
	tick := time.NewTicker(200 * time.Millisecond) // a notification is no event of the bus
	defer tick.Stop()
	end := time.After(waitTimeout)
	for {
		var notifications []struct{ Title, Message string }
		ha.Call(t, "persistent_notification/get", nil, &notifications)
		var got []string
		for _, n := range notifications {
			text, link, _ := strings.Cut(n.Message, "[Open in Outlook](https://outlook.office365.com/")
			if link == "" {
				t.Errorf("no link in %q", n.Message)
			}
			got = append(got, strings.TrimSpace(n.Title+": "+strings.ReplaceAll(strings.TrimSpace(text), "\n\n", " | ")))
		}
		slices.Sort(got)
		if len(got) >= len(want) {
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("notifications (-want +got):\n%s", diff)
			}
			return
		}
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("notifications %q, want %q", got, want)
		}
	}
}
