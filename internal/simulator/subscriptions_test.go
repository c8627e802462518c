package simulator_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

// A webhook receives notifications.
type webhook struct {
	*httptest.Server
	bodies chan string
	answer func(w http.ResponseWriter, token string) // to the handshake; nil: as Graph wants it
	status int                                       // of the answers to notifications
}

func newWebhook(t *testing.T) *webhook {
	t.Helper()
	h := &webhook{bodies: make(chan string, 100), status: http.StatusAccepted}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if token := r.URL.Query().Get("validationToken"); token != "" {
			if h.answer != nil {
				h.answer(w, token)
				return
			}
			w.Header().Set("Content-Type", "text/plain")
			_, _ = io.WriteString(w, token)
			return
		}
		body, _ := io.ReadAll(r.Body)
		w.WriteHeader(h.status)
		h.bodies <- string(body)
	}))
	t.Cleanup(h.Close)
	return h
}

// next returns the notification that comes next.
func (h *webhook) next(t *testing.T) map[string]any {
	t.Helper()
	select {
	case body := <-h.bodies:
		var out struct{ Value []map[string]any }
		if err := json.Unmarshal([]byte(body), &out); err != nil || len(out.Value) != 1 {
			t.Fatalf("%s: %v", body, err)
		}
		return out.Value[0]
	case <-time.After(10 * time.Second):
		t.Fatal("no notification")
	}
	return nil
}

// newSubscriber returns a client that may subscribe to everything.
func newSubscriber(t *testing.T) graphClient {
	t.Helper()
	v := newColleaguesClient(t)
	v.token = v.s.Token(simulator.Adele, "User.Read", "Calendars.Read", "Mail.Read", "Tasks.Read", "Chat.Read", "Presence.Read.All")
	t.Cleanup(v.s.StopNotifications)
	return v
}

func subscriptionBody(h *webhook, resource string) string {
	return fmt.Sprintf(`{"changeType": "created,updated,deleted", "resource": %q, "notificationUrl": "%[2]s/graph", "lifecycleNotificationUrl": "%[2]s/graph", "clientState": "s", "expirationDateTime": %q}`,
		resource, h.URL, time.Now().Add(50*time.Minute).UTC().Format(time.RFC3339))
}

func TestSubscriptions(t *testing.T) {
	v := newSubscriber(t)
	h := newWebhook(t)
	folder := v.want(200, "GET", "/me/mailFolders/inbox", "")["id"].(string)
	list := v.want(200, "GET", "/me/todo/lists", "")["value"].([]any)[0].(map[string]any)["id"].(string)
	chat := v.s.Chats()[0].ID
	megan := userID(v.s, simulator.Megan)
	changes := map[string]func(){
		"/me/events": func() {
			v.s.AddEvent(simulator.Adele, "", simulator.Event{Subject: "x", Start: time.Now(), End: time.Now().Add(time.Hour)})
		},
		"me/messages": func() { v.s.DeliverMail(simulator.Adele, simulator.Mail{Subject: "x"}) },
		"/me/mailFolders('" + folder + "')/messages": func() { v.s.DeliverMail(simulator.Adele, simulator.Mail{Subject: "x"}) },
		"/me/mailFolders/Inbox/messages":             func() { v.s.DeliverMail(simulator.Adele, simulator.Mail{Subject: "x"}) },
		"/users/" + simulator.Adele + "/events": func() {
			v.s.AddEvent(simulator.Adele, "", simulator.Event{Subject: "x", Start: time.Now(), End: time.Now().Add(time.Hour)})
		},
		"/me/todo/lists/" + list + "/tasks":                         func() { v.s.AddTask(simulator.Adele, "", simulator.Task{Title: "x"}) },
		"/chats/" + chat + "/messages":                              func() { v.s.PostChatMessage(chat, simulator.ChatMessage{From: simulator.Adele, Body: "x"}) },
		"/communications/presences?$filter=id in ('" + megan + "')": func() { v.s.SetPresence(simulator.Megan, simulator.Presence{Availability: "Away"}) },
	}
	for resource, change := range changes {
		body := subscriptionBody(h, resource)
		if strings.Contains(resource, "presences") {
			v.want(400, "POST", "/subscriptions", body)
			body = strings.Replace(body, "created,updated,deleted", "updated", 1)
		}
		made := v.want(201, "POST", "/subscriptions", body)
		v.want(200, "PATCH", "/subscriptions/"+made["id"].(string), fmt.Sprintf(`{"expirationDateTime": %q}`, time.Now().Add(55*time.Minute).UTC().Format(time.RFC3339)))
		change()
		n := h.next(t)
		if n["subscriptionId"] != made["id"] || n["clientState"] != "s" || n["changeType"] == nil {
			t.Errorf("%s: %v", resource, n)
		}
		v.want(204, "DELETE", "/subscriptions/"+made["id"].(string), "")
	}
	v.s.AddEvent(simulator.Adele, "", simulator.Event{Subject: "x", Start: time.Now(), End: time.Now().Add(time.Hour)})
	if n := len(v.s.Subscriptions()) + len(h.bodies); n != 0 {
		t.Errorf("%d subscriptions or notifications are left", n)
	}
}

func TestSubscriptionRefusals(t *testing.T) {
	v := newSubscriber(t)
	h := newWebhook(t)
	h.answer = func(w http.ResponseWriter, _ string) { w.WriteHeader(http.StatusNotFound) }
	if e := v.want(400, "POST", "/subscriptions", subscriptionBody(h, "/me/events"))["error"].(map[string]any); e["code"] != "ValidationError" {
		t.Errorf("%v", e)
	}
	h.answer = func(w http.ResponseWriter, token string) { _, _ = io.WriteString(w, url.QueryEscape(token)) }
	v.want(400, "POST", "/subscriptions", subscriptionBody(h, "/me/events"))
	h.answer = nil
	replaced := func(old, with string) string {
		return strings.Replace(subscriptionBody(h, "/me/events"), old, with, 1)
	}
	until := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339) }
	expiry := func(d time.Duration) string {
		return fmt.Sprintf(`{"changeType": "created", "resource": "/me/events", "notificationUrl": "%s/graph", "expirationDateTime": %q}`, h.URL, until(d))
	}
	for body, status := range map[string]int{
		replaced("created,", "made,"):                                              400,
		replaced("http://127.0.0.1", "http://example.com"):                         400,
		subscriptionBody(h, "/me/contacts"):                                        400,
		subscriptionBody(h, "/me/events?$top=1"):                                   400,
		subscriptionBody(h, "/users/nobody@contoso.example/events"):                404,
		expiry(-time.Minute):                                                       400,
		expiry(4231 * time.Minute):                                                 400,
		expiry(4229 * time.Minute):                                                 201,
		subscriptionBody(h, "/communications/presences"):                           400,
		strings.Replace(expiry(time.Hour*2), "/me/events", "/chats/1/messages", 1): 400, // needs a lifecycle URL
	} {
		v.want(status, "POST", "/subscriptions", body)
	}
	id := v.s.Subscriptions()[0].ID
	v.want(200, "PATCH", "/subscriptions/"+id, fmt.Sprintf(`{"expirationDateTime": %q}`, until(time.Minute)))
	if left := time.Until(v.s.Subscriptions()[0].Expires); left < 44*time.Minute {
		t.Errorf("it ends in %s, want at least 45 minutes", left)
	}
	v.want(400, "PATCH", "/subscriptions/"+id, `{"resource": "/me/messages"}`)
	v.s.SetDelivery(simulator.Delivery{Quota: 1})
	v.want(403, "POST", "/subscriptions", subscriptionBody(h, "/me/events"))
	v.control(200, "PATCH", "/clock", `{"advance": "46m"}`)
	if all := v.s.Subscriptions(); len(all) != 0 {
		t.Errorf("%+v have not ended", all)
	}
	v.want(404, "PATCH", "/subscriptions/"+id, `{}`)
}

func userID(s *simulator.Simulator, address string) string {
	for _, u := range s.Users() {
		if u.Address == address {
			return u.ID
		}
	}
	return ""
}

func TestDelivery(t *testing.T) {
	v := newSubscriber(t)
	h := newWebhook(t)
	id := v.want(201, "POST", "/subscriptions", subscriptionBody(h, "/me/messages"))["id"].(string)
	v.control(204, "PUT", "/notifications", `{"copies": 2, "clientState": "wrong", "delay": "1ms"}`)
	v.s.DeliverMail(simulator.Adele, simulator.Mail{Subject: "x"})
	for range 2 {
		if n := h.next(t); n["clientState"] != "wrong" {
			t.Errorf("%v", n)
		}
	}
	v.control(204, "PUT", "/notifications", `{"silent": true}`)
	v.s.DeliverMail(simulator.Adele, simulator.Mail{Subject: "x"})
	v.control(204, "PUT", "/notifications", `{}`)
	for _, event := range []string{"reauthorizationRequired", "missed", "subscriptionRemoved"} {
		v.control(204, "POST", "/subscriptions/"+id+"/lifecycle", fmt.Sprintf(`{"event": %q}`, event))
		if n := h.next(t); n["lifecycleEvent"] != event || n["clientState"] != "s" {
			t.Errorf("%v", n)
		}
	}
	if n := len(v.control(200, "GET", "/subscriptions", "")["value"].([]any)); n != 0 {
		t.Errorf("%d subscriptions after one was removed", n)
	}
	sent := func() int { return len(v.control(200, "GET", "/notifications", "")["value"].([]any)) }
	for end := time.Now().Add(10 * time.Second); sent() < 5 && time.Now().Before(end); { // they are counted when they are answered
		runtime.Gosched()
	}
	if n := sent(); n != 5 {
		t.Errorf("%d notifications were sent, want 5", n)
	}
	v.control(404, "POST", "/subscriptions/"+id+"/lifecycle", `{"event": "missed"}`)
	id = v.want(201, "POST", "/subscriptions", subscriptionBody(h, "/me/messages"))["id"].(string)
	v.control(400, "POST", "/subscriptions/"+id+"/lifecycle", `{"event": "lost"}`)
	v.control(400, "PUT", "/notifications", `{"copies": -1}`)
	v.control(204, "DELETE", "/subscriptions/"+id, "")
}

// An application subscribes to the mailboxes that it may read, with /users alone, and sees its own subscriptions only. Presences and tasks are
// for users.
func TestSubscriptionsOfApplications(t *testing.T) {
	v := applicationClient(t, "Mail.ReadBasic.All", "Tasks.Read.All", "Presence.Read.All")
	t.Cleanup(v.s.StopNotifications)
	v.s.SetMailboxRoles(application, room, "Calendars.Read")
	h := newWebhook(t)
	refused := func(resource string) {
		t.Helper()
		v.want(403, "POST", "/subscriptions", strings.Replace(subscriptionBody(h, resource), "created,updated,deleted", "updated", 1))
	}
	v.want(400, "POST", "/subscriptions", subscriptionBody(h, "/me/events"))
	v.want(404, "POST", "/subscriptions", subscriptionBody(h, "/users/unknown@contoso.example/events"))
	refused("/users/" + simulator.Adele + "/events") // Exchange assigned the room only
	refused("/users/" + simulator.Ann + "/messages") // of another tenant
	refused("/users/" + simulator.Adele + "/todo/lists/1/tasks")
	refused("/communications/presences?$filter=id in ('" + userID(v.s, simulator.Megan) + "')")
	refused("/chats/" + v.s.Chats()[0].ID + "/messages")

	events := v.want(201, "POST", "/subscriptions", subscriptionBody(h, "/users/"+room+"/events"))["id"].(string)
	mails := v.want(201, "POST", "/subscriptions", subscriptionBody(h, "/users/"+simulator.Adele+"/messages"))["id"].(string)
	v.s.AddEvent(simulator.Adele, "", simulator.Event{Subject: "x", Start: time.Now(), End: time.Now().Add(time.Hour)})
	v.s.AddEvent(room, "", simulator.Event{Subject: "x", Start: time.Now(), End: time.Now().Add(time.Hour)})
	if n := h.next(t); n["subscriptionId"] != events || n["tenantId"] != simulator.ContosoTenant {
		t.Errorf("%v", n)
	}
	v.s.DeliverMail(simulator.Adele, simulator.Mail{Subject: "x"})
	if n := h.next(t); n["subscriptionId"] != mails {
		t.Errorf("%v", n)
	}
	if all := v.s.Subscriptions(); all[0].User != room || all[1].User != simulator.Adele {
		t.Errorf("%+v", all)
	}

	user := v
	user.token = v.s.Token(simulator.Adele, "User.Read", "Mail.Read")
	user.want(404, "GET", "/subscriptions/"+mails, "")
	own := user.want(201, "POST", "/subscriptions", subscriptionBody(h, "/me/messages"))["id"].(string)
	if all := v.want(200, "GET", "/subscriptions", "")["value"].([]any); len(all) != 2 {
		t.Errorf("%v", all)
	}
	v.want(404, "DELETE", "/subscriptions/"+own, "")

	until := fmt.Sprintf(`{"expirationDateTime": %q}`, time.Now().Add(55*time.Minute).UTC().Format(time.RFC3339))
	v.want(200, "PATCH", "/subscriptions/"+events, until)
	v.s.SetMailboxRoles(application, room)
	v.want(403, "PATCH", "/subscriptions/"+events, until)
	v.s.SetDelivery(simulator.Delivery{Quota: 2}) // of the mailbox, of users and applications together
	v.want(403, "POST", "/subscriptions", subscriptionBody(h, "/users/"+simulator.Adele+"/mailFolders/inbox/messages"))
	v.want(204, "DELETE", "/subscriptions/"+events, "")
}
