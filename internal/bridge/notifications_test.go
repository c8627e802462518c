package bridge_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	stdruntime "runtime"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/hub"
	"github.com/graph2mqtt/graph2mqtt/internal/porttest"
	"github.com/graph2mqtt/graph2mqtt/internal/runtime"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
	"github.com/graph2mqtt/graph2mqtt/internal/state"
	"github.com/graph2mqtt/graph2mqtt/internal/web/receiver"
	"github.com/graph2mqtt/graph2mqtt/services"
)

const (
	webhook = "https://hooks.example.com/graph"
	safety  = 15 * time.Minute
)

// A pushFleet is a fleet of one account whose changes are announced.
type pushFleet struct {
	*fleet
	t        *testing.T
	account  string
	handler  func() http.Handler
	received atomic.Int64 // requests at the receiver
	full     *atomic.Bool // the disk takes no wake-ups; nil: it does
}

// startPush starts a fleet with a receiver of notifications in the bubble of a test.
func startPush(t *testing.T, sensors string, prepare ...func(*simulator.Simulator)) *pushFleet {
	t.Helper()
	f := &pushFleet{t: t, account: "a000"}
	s := f.newMicrosoft()
	for _, f := range prepare {
		f(s)
	}
	f.start(fleetSetup{accounts: 1, sensors: sensors, simulator: s, notifications: &runtime.NotificationOptions{URL: webhook, Safety: safety},
		wrap: func(s runtime.Store) runtime.Store {
			return failingStore{s, func(bucket string) bool { return bucket == "wakeups" && f.full != nil && f.full.Load() }}
		}})
	return f
}

// newMicrosoft returns a simulator that sends its notifications to f.
func (f *pushFleet) newMicrosoft() *simulator.Simulator {
	s := simulator.Contoso(simulator.Options{Notify: roundTripper(func(r *http.Request) (*http.Response, error) {
		f.received.Add(1)
		w := httptest.NewRecorder()
		f.handler().ServeHTTP(w, r)
		return w.Result(), nil
	})})
	s.SetTokenLifetime(10_000*time.Hour, 0)
	f.t.Cleanup(s.StopNotifications)
	return s
}

// start starts the fleet with a receiver.
func (f *pushFleet) start(setup fleetSetup) {
	f.t.Helper()
	var handler atomic.Pointer[receiver.Receiver]
	f.handler = func() http.Handler { return handler.Load() }
	setup.onRuntime = func(r *runtime.Runtime) {
		handler.Store(receiver.New(receiver.Options{Notify: r.Notify, Log: slog.New(slog.DiscardHandler)}))
	}
	f.fleet = startFleet(f.t, setup)
	f.Microsoft.FreezeClock(false)
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// status returns what is published of the notifications of the account.
func (f *pushFleet) status() hub.NotificationStatus {
	f.t.Helper()
	var s hub.AccountStatus
	if held := f.Published.Held("graph2mqtt/" + f.account + "/status"); json.Unmarshal(held, &s) != nil || s.Notifications == nil {
		f.t.Fatalf("status %s", held)
	}
	return *s.Notifications
}

// unread returns what the sensor inbox shows.
func (f *pushFleet) unread() string {
	var state map[string]any
	_ = json.Unmarshal(f.Published.Held("graph2mqtt/a000/inbox/state"), &state)
	out, _ := json.Marshal(state["unread"])
	return string(out)
}

// polls returns how often a path was read since the request log was forgotten.
func (f *pushFleet) polls(part string) (n int) {
	for _, r := range f.Microsoft.Requests() {
		if r.Method == http.MethodGet && strings.Contains(r.Path, part) {
			n++
		}
	}
	return n
}

func (f *pushFleet) count(method string) int { return f.Microsoft.Count(method, "/v1.0/subscriptions") }

const pushSensors = `      calendar: {type: calendar}
      inbox: {type: email}
`

// A change is shown within seconds, although polls are rare.
func TestNotificationsAnnounceChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startPush(t, pushSensors)
		time.Sleep(time.Minute)
		var resources []string
		for _, s := range f.Microsoft.Subscriptions() {
			resources = append(resources, s.Resource)
			if s.URL != webhook || s.LifecycleURL != webhook || len(s.ClientState) != 43 {
				t.Errorf("%+v", s)
			}
		}
		if n := f.received.Load(); n != 2*2 {
			t.Errorf("%d requests at the receiver, want one for each of the two addresses of a subscription", n)
		}
		if len(resources) != 2 || resources[0] != "/me/events" || !strings.HasPrefix(resources[1], "/me/mailFolders('") {
			t.Fatalf("subscriptions to %q", resources)
		}
		if s := f.status(); s.State != "ok" || s.Sensors[0].State != "ok" || s.Sensors[1].State != "ok" {
			t.Errorf("%+v", s)
		}
		f.Microsoft.ForgetRequests()
		time.Sleep(time.Hour)
		if n := f.polls("/messages"); n > 5*2 {
			t.Errorf("%d requests for mails within an hour", n)
		}
		if n := f.polls("/calendarView"); n > 5*2 {
			t.Errorf("%d requests for events within an hour", n)
		}
		before := f.unread()
		f.Microsoft.SetDelivery(simulator.Delivery{Copies: 3})
		f.Microsoft.ForgetRequests()
		f.Microsoft.DeliverMail(simulator.Adele, simulator.Mail{Subject: "News"})
		time.Sleep(6 * time.Second)
		if after := f.unread(); after == before {
			t.Errorf("%s unread mails before and %s after one came", before, after)
		}
		polls := f.polls("/mailFolders/") // the changes, the folder and the mails
		time.Sleep(time.Minute)
		if n := f.polls("/mailFolders/"); n != polls {
			t.Errorf("%d requests, and %d more afterwards: three copies are one change", polls, n-polls)
		}
		if s := f.status(); s.State != "ok" || s.Unannounced != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// A subscription that sends nothing is found out by the safety poll.
func TestSilentNotifications(t *testing.T) {
	for name, delivery := range map[string]simulator.Delivery{"silent": {Silent: true}, "wrong client state": {ClientState: "wrong"}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := startPush(t, pushSensors)
				time.Sleep(5 * time.Minute)
				f.Microsoft.SetDelivery(delivery)
				before := f.unread()
				f.Microsoft.DeliverMail(simulator.Adele, simulator.Mail{Subject: "News"})
				time.Sleep(time.Minute)
				if f.unread() != before {
					t.Fatal("it was read although nothing announced it")
				}
				time.Sleep(safety)
				if f.unread() == before {
					t.Fatal("the safety poll did not find it")
				}
				time.Sleep(10 * time.Minute)
				s := f.status()
				if s.State != "degraded" || s.Unannounced != 1 || s.Sensors[1].State != "degraded" || s.Sensors[1].Message == nil || s.Sensors[0].State != "ok" {
					t.Errorf("%+v", s)
				}
				f.Microsoft.ForgetRequests()
				time.Sleep(30 * time.Minute)
				if n := f.polls("/mailFolders/"); n < 60 {
					t.Errorf("%d requests for mails within 30 minutes: want the normal interval", n)
				}
				f.Microsoft.SetDelivery(simulator.Delivery{})
				time.Sleep(time.Hour)
				if s := f.status(); s.State != "ok" || s.Unannounced != 1 {
					t.Errorf("%+v", s)
				}
				f.Microsoft.ForgetRequests()
				time.Sleep(30 * time.Minute)
				if n := f.polls("/mailFolders/"); n > 12 {
					t.Errorf("%d requests for mails within 30 minutes: want the safety polls", n)
				}
			})
		})
	}
}

// A notification that comes late, but within Microsoft's time, is none that is missing.
func TestLateNotifications(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startPush(t, pushSensors)
		time.Sleep(5 * time.Minute)
		f.Microsoft.SetDelivery(simulator.Delivery{Delay: 2 * time.Minute})
		for range 40 { // some come before a safety poll, others after
			f.Microsoft.DeliverMail(simulator.Adele, simulator.Mail{Subject: "News"})
			time.Sleep(7 * time.Minute)
		}
		if s := f.status(); s.State != "ok" || s.Unannounced != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// The time within which a notification must come begins when the poll that found the change has ended.
func TestLateNotificationsOfASlowPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &pushFleet{t: t, account: "a000"}
		var slow atomic.Bool
		f.start(fleetSetup{accounts: 1, sensors: pushSensors, simulator: f.newMicrosoft(), notifications: &runtime.NotificationOptions{URL: webhook, Safety: safety},
			transport: func(next http.RoundTripper) http.RoundTripper {
				return roundTripper(func(r *http.Request) (*http.Response, error) {
					if strings.Contains(r.URL.Path, "/messages") && slow.CompareAndSwap(true, false) {
						time.Sleep(20 * time.Second)
						f.Microsoft.DeliverMail(simulator.Adele, simulator.Mail{Subject: "News"})
					}
					return next.RoundTrip(r)
				})
			}})
		time.Sleep(5 * time.Minute)
		before := f.unread()
		f.Microsoft.SetDelivery(simulator.Delivery{Delay: 4*time.Minute + 50*time.Second}) // too late by the beginning of the poll
		slow.Store(true)
		time.Sleep(time.Hour)
		if f.unread() == before {
			t.Fatal("the safety poll did not find it")
		}
		if s := f.status(); s.State != "ok" || s.Unannounced != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestLifecycleNotifications(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startPush(t, pushSensors)
		time.Sleep(5 * time.Minute)
		id := f.Microsoft.Subscriptions()[1].ID
		f.Microsoft.ForgetRequests()
		f.Microsoft.SendLifecycle(id, "reauthorizationRequired")
		time.Sleep(time.Minute)
		if n := f.Microsoft.Count(http.MethodPatch, "/v1.0/subscriptions/"+id); n != 1 {
			t.Errorf("%d renewals, want 1", n)
		}
		f.Microsoft.ForgetRequests()
		f.Microsoft.SetDelivery(simulator.Delivery{Copies: 100})
		f.Microsoft.SendLifecycle(id, "reauthorizationRequired")
		time.Sleep(time.Minute)
		if n := f.Microsoft.Count(http.MethodPatch, "/v1.0/subscriptions/"+id); n < 1 || n > 2 {
			t.Errorf("%d renewals for 100 copies, want at most one more", n)
		}
		f.Microsoft.SetDelivery(simulator.Delivery{})
		f.Microsoft.ForgetRequests()
		f.Microsoft.SendLifecycle(id, "missed")
		time.Sleep(time.Minute)
		if f.polls("/mailFolders/") == 0 || f.polls("/calendarView") > 0 {
			t.Errorf("%d requests for mails and %d for events after missed notifications about mails", f.polls("/mailFolders/"), f.polls("/calendarView"))
		}
		f.Microsoft.ForgetRequests()
		f.Microsoft.SendLifecycle(id, "subscriptionRemoved")
		time.Sleep(time.Minute)
		if f.polls("/mailFolders/") == 0 || f.count(http.MethodPost) != 1 {
			t.Errorf("%d requests for mails and %d subscriptions after one was removed", f.polls("/mailFolders/"), f.count(http.MethodPost))
		}
		if all := f.Microsoft.Subscriptions(); len(all) != 2 || all[1].ID == id {
			t.Errorf("%+v", all)
		}
		if s := f.status(); s.State != "ok" {
			t.Errorf("%+v", s)
		}
		f.Microsoft.ForgetRequests()
		f.Microsoft.SetDelivery(simulator.Delivery{ClientState: "wrong"})
		f.Microsoft.SendLifecycle(f.Microsoft.Subscriptions()[1].ID, "subscriptionRemoved")
		time.Sleep(time.Minute)
		if n := f.count(http.MethodPost); n != 0 {
			t.Errorf("%d subscriptions because a stranger said that one was removed", n)
		}
	})
}

// Subscriptions are renewed before they end.
func TestRenewals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startPush(t, pushSensors)
		time.Sleep(time.Minute)
		first := f.Microsoft.Subscriptions()
		f.Microsoft.ForgetRequests()
		for range 9 * 24 {
			time.Sleep(time.Hour)
			for _, s := range f.Microsoft.Subscriptions() {
				if left := time.Until(s.Expires); left < 20*time.Hour {
					t.Fatalf("%s ends in %s", s.Resource, left)
				}
			}
			if t.Failed() {
				break
			}
		}
		if last := f.Microsoft.Subscriptions(); len(last) != 2 || last[0].ID != first[0].ID || last[1].ID != first[1].ID {
			t.Errorf("%+v, want %+v renewed", last, first)
		}
		if n := f.Microsoft.Count(http.MethodPatch, "/v1.0/subscriptions/"); n < 8 || n > 12 {
			t.Errorf("%d renewals within 9 days, want 8 to 12", n)
		}
		if n := f.count(http.MethodPost); n != 0 {
			t.Errorf("%d more subscriptions", n)
		}
	})
}

// Sensors that Graph sends no notifications about keep polling, and say why.
func TestWithoutNotifications(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startPush(t, `      birthdays: {type: calendar, calendar: Birthdays}
      out_of_office: {type: auto_reply}
      shared: {type: calendar, shared_mailbox: adele@contoso.example}
      shared_mails: {type: email, shared_mailbox: adele@contoso.example}
`)
		time.Sleep(time.Hour)
		if n := f.count(http.MethodPost); n != 0 {
			t.Errorf("%d subscriptions", n)
		}
		s := f.status()
		if s.State != "off" || len(s.Sensors) != 4 {
			t.Fatalf("%+v", s)
		}
		for _, sensor := range s.Sensors {
			if sensor.State != "off" || sensor.Message == nil || !strings.HasPrefix(*sensor.Message, "Microsoft sends no") {
				t.Errorf("%+v", sensor)
			}
		}
	})
}

// The messages of chats are announced, but not what was read: such sensors poll as often as before.
func TestNotificationsOfChats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var chat string
		f := startPush(t, "      team: {type: chat, chats: [Launch]}\n      all: {type: chat}\n", func(s *simulator.Simulator) {
			s.AddUser(simulator.User{Address: simulator.Megan, Name: "Megan Bowen"})
			chat = s.AddChat(simulator.Chat{Topic: "Launch", Type: "group", Members: []string{simulator.Adele, simulator.Megan}}).ID
		})
		time.Sleep(5 * time.Minute)
		if all := f.Microsoft.Subscriptions(); len(all) != 1 || all[0].Resource != "/chats/"+chat+"/messages" {
			t.Fatalf("%+v", all)
		}
		s := f.status()
		if s.State != "ok" || s.Sensors[0].State != "off" || s.Sensors[0].Message == nil || s.Sensors[1].State != "ok" {
			t.Errorf("%+v", s)
		}
		f.Microsoft.ForgetRequests()
		f.Microsoft.PostChatMessage(chat, simulator.ChatMessage{From: simulator.Megan, Body: "Hello"})
		time.Sleep(6 * time.Second)
		if n := f.polls("/chats"); n == 0 {
			t.Error("a message was announced, and nothing read")
		}
		f.Microsoft.ForgetRequests()
		time.Sleep(30 * time.Minute)
		if n := f.polls("/chats"); n < 30 {
			t.Errorf("%d requests within 30 minutes: want the normal interval", n)
		}
		f.Microsoft.SetDelivery(simulator.Delivery{Silent: true})
		f.Microsoft.PostChatMessage(chat, simulator.ChatMessage{From: simulator.Megan, Body: "Hello"})
		time.Sleep(30 * time.Minute)
		if s := f.status(); s.State != "ok" || s.Unannounced != 0 {
			t.Errorf("%+v: an ordinary poll found it", s)
		}
	})
}

// There is one subscription to the presences of all who are watched. It is renewed within the hour, and replaced when one is added.
func TestNotificationsOfPresences(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ids := map[string]string{}
		f := startPush(t, "      own: {type: status}\n      megan: {type: status, user: "+simulator.Megan+"}\n      alex: {type: status, user: "+simulator.Alex+"}\n", func(s *simulator.Simulator) {
			ids[simulator.Megan] = s.AddUser(simulator.User{Address: simulator.Megan, Name: "Megan Bowen"}).ID
			ids[simulator.Alex] = s.AddUser(simulator.User{Address: simulator.Alex, Name: "Alex Wilber"}).ID
		})
		time.Sleep(5 * time.Minute)
		first := f.Microsoft.Subscriptions()
		if len(first) != 1 || !strings.Contains(first[0].Resource, ids[simulator.Megan]) || !strings.Contains(first[0].Resource, ids[simulator.Alex]) {
			t.Fatalf("%+v", first)
		}
		f.Microsoft.ForgetRequests()
		time.Sleep(3 * time.Hour)
		if again := f.Microsoft.Subscriptions(); len(again) != 1 || again[0].ID != first[0].ID || f.Microsoft.Count(http.MethodPatch, "/v1.0/subscriptions/") < 3 {
			t.Errorf("%+v, want the same subscription, renewed", again)
		}
		if s := f.status(); s.State != "ok" {
			t.Errorf("%+v", s)
		}
		f.Microsoft.SetPresence(simulator.Megan, simulator.Presence{Availability: "DoNotDisturb"})
		time.Sleep(6 * time.Second)
		if state := f.Published.Held("graph2mqtt/a000/megan/state"); !bytes.Contains(state, []byte("DoNotDisturb")) {
			t.Errorf("%s", state)
		}
		without := *f.Config.Accounts["a000"]
		without.Sensors = maps.Clone(without.Sensors)
		delete(without.Sensors, "alex")
		if err := f.Runtime.Apply(t.Context(), map[string]*config.Account{"a000": &without}, config.Changes{Sensors: config.Delta{Removed: []string{"a000/alex"}}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		if left := f.Microsoft.Subscriptions(); len(left) != 1 || strings.Contains(left[0].Resource, ids[simulator.Alex]) || !strings.Contains(left[0].Resource, ids[simulator.Megan]) {
			t.Errorf("%+v", left)
		}
	})
}

// A subscription that cannot be renewed is created again as soon as it has ended.
func TestFailedRenewals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startPush(t, pushSensors)
		time.Sleep(time.Minute)
		first := f.Microsoft.Subscriptions()
		f.Microsoft.Fail(simulator.Fault{Method: "PATCH", Path: "/v1.0/subscriptions", Status: 500, Times: -1})
		time.Sleep(time.Until(first[0].Expires) - time.Minute)
		if s := f.status(); s.State != "ok" {
			t.Errorf("%+v before the end", s)
		}
		time.Sleep(2 * time.Minute)
		if again := f.Microsoft.Subscriptions(); len(again) != 2 || again[0].ID == first[0].ID || again[1].ID == first[1].ID {
			t.Errorf("%+v, want two new ones", again)
		}
		if s := f.status(); s.State != "ok" {
			t.Errorf("%+v", s)
		}
	})
}

// While Microsoft does not reach the receiver, everything is polled as without notifications.
func TestUnreachableReceiver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startPush(t, pushSensors, func(s *simulator.Simulator) {
			s.Fail(simulator.Fault{Method: "POST", Path: "/v1.0/subscriptions", Status: 400, Code: "ValidationError", Message: "Subscription validation request failed. The request timed out.", Times: -1})
		})
		time.Sleep(2 * time.Hour)
		s := f.status()
		if s.State != "degraded" || s.Sensors[1].Message == nil || !strings.Contains(*s.Sensors[1].Message, "Microsoft cannot reach "+webhook) {
			t.Errorf("%+v", s)
		}
		if n := f.count(http.MethodPost); n < 5 || n > 8 {
			t.Errorf("%d attempts within two hours, want 5 to 8: one tells for both resources", n)
		}
		f.Microsoft.ForgetRequests()
		time.Sleep(30 * time.Minute)
		if n := f.polls("/mailFolders/"); n < 60 {
			t.Errorf("%d requests for mails within 30 minutes: want the normal interval", n)
		}
		f.Microsoft.ClearFaults()
		time.Sleep(time.Hour)
		if s := f.status(); s.State != "ok" {
			t.Errorf("%+v", s)
		}
	})
}

// Microsoft asks the receiver about new subscriptions only, so a renewal leaves its failure as it is.
func TestRenewalsWithUnreachableReceiver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startPush(t, pushSensors)
		time.Sleep(5 * time.Minute)
		all := f.Microsoft.Subscriptions()
		f.Microsoft.Fail(simulator.Fault{Method: "POST", Path: "/v1.0/subscriptions", Status: 400, Code: "ValidationError", Message: "Subscription validation request failed. The request timed out.", Times: -1})
		f.Microsoft.ForgetRequests()
		f.Microsoft.SendLifecycle(all[1].ID, "subscriptionRemoved")
		for range 12 {
			time.Sleep(10 * time.Minute)
			f.Microsoft.SendLifecycle(all[0].ID, "reauthorizationRequired")
		}
		if n := f.Microsoft.Count(http.MethodPatch, "/v1.0/subscriptions/"+all[0].ID); n < 3 {
			t.Errorf("%d renewals", n)
		}
		if n := f.count(http.MethodPost); n < 5 || n > 8 {
			t.Errorf("%d attempts within two hours, want 5 to 8, as without renewals", n)
		}
		s := f.status()
		if s.Sensors[0].State != "ok" || s.Sensors[1].State != "degraded" || s.Sensors[1].Message == nil || !strings.Contains(*s.Sensors[1].Message, "Microsoft cannot reach "+webhook) {
			t.Errorf("%+v", s)
		}
		f.Microsoft.ClearFaults()
		time.Sleep(time.Hour)
		if s := f.status(); s.State != "ok" || s.Sensors[1].State != "ok" {
			t.Errorf("%+v", s)
		}
	})
}

// Two accounts of one user leave each other's subscriptions alone.
func TestNotificationsOfOneUserTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startPush(t, pushSensors, func(s *simulator.Simulator) {})
		time.Sleep(5 * time.Minute)
		first := f.Microsoft.Subscriptions()
		second := *f.Config.Accounts["a000"]
		second.ID, second.Name = "a001", "Second"
		signInFleet(t, f.dir, &config.Config{Accounts: map[string]*config.Account{"a001": &second}}, f.Microsoft)
		f.Microsoft.FreezeClock(false)
		both := map[string]*config.Account{"a000": f.Config.Accounts["a000"], "a001": &second}
		if err := f.Runtime.Apply(t.Context(), both, config.Changes{Accounts: config.Delta{Added: []string{"a001"}}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		all := f.Microsoft.Subscriptions()
		if len(all) != 4 || all[0].ID != first[0].ID || all[1].ID != first[1].ID {
			t.Errorf("%+v, want the first two and two more", all)
		}
		before := f.unread()
		f.Microsoft.DeliverMail(simulator.Adele, simulator.Mail{Subject: "News"})
		time.Sleep(6 * time.Second)
		if f.unread() == before || string(f.Published.Held("graph2mqtt/a000/inbox/state")) != string(f.Published.Held("graph2mqtt/a001/inbox/state")) {
			t.Errorf("%s and %s", f.Published.Held("graph2mqtt/a000/inbox/state"), f.Published.Held("graph2mqtt/a001/inbox/state"))
		}
	})
}

// Subscriptions that end while Microsoft is away are created again, and what changed meanwhile is read.
func TestExpiryDuringAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startPush(t, pushSensors)
		time.Sleep(5 * time.Minute)
		first := f.Microsoft.Subscriptions()
		before := f.unread()
		f.Microsoft.Fail(simulator.Fault{Status: http.StatusServiceUnavailable, Times: -1})
		f.Microsoft.DeliverMail(simulator.Adele, simulator.Mail{Subject: "News"})
		time.Sleep(4 * 24 * time.Hour)
		if all := f.Microsoft.Subscriptions(); len(all) != 0 {
			t.Fatalf("%+v have not ended", all)
		}
		if s := f.status(); s.State != "degraded" {
			t.Errorf("%+v", s)
		}
		f.Microsoft.ClearFaults()
		time.Sleep(2 * time.Hour)
		all := f.Microsoft.Subscriptions()
		if len(all) != 2 || all[0].ID == first[0].ID || all[1].ID == first[1].ID {
			t.Errorf("%+v, want two new ones", all)
		}
		if s := f.status(); s.State != "ok" || s.Unannounced != 0 || f.unread() == before {
			t.Errorf("%+v, %s unread mails before and %s after", s, before, f.unread())
		}
	})
}

// While the event hub cannot be read, everything is polled as without notifications.
func TestUnreadableEventHub(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startPush(t, pushSensors)
		time.Sleep(5 * time.Minute)
		f.Runtime.ReportReceiver(errors.New("the event hub cannot be read: no such host"))
		f.Microsoft.SetDelivery(simulator.Delivery{Delay: 80 * time.Minute}) // as if they waited in the hub
		time.Sleep(time.Minute)
		if s := f.status(); s.State != "degraded" || s.Sensors[1].State != "degraded" || s.Sensors[1].Message == nil || *s.Sensors[1].Message != "the event hub cannot be read: no such host" {
			t.Errorf("%+v", s)
		}
		f.Microsoft.ForgetRequests()
		f.Microsoft.DeliverMail(simulator.Adele, simulator.Mail{Subject: "News"})
		time.Sleep(30 * time.Minute)
		if n := f.polls("/mailFolders/"); n < 60 {
			t.Errorf("%d requests for mails within 30 minutes: want the normal interval", n)
		}
		time.Sleep(48 * time.Minute)
		f.Runtime.ReportReceiver(nil)
		time.Sleep(10 * time.Minute)
		if s := f.status(); s.State != "ok" || s.Unannounced != 0 {
			t.Errorf("%+v", s)
		}
		f.Microsoft.ForgetRequests()
		time.Sleep(30 * time.Minute)
		if n := f.polls("/mailFolders/"); n > 12 {
			t.Errorf("%d requests for mails within 30 minutes: want the safety polls", n)
		}
	})
}

// A failingStore fails the commits that fail accepts.
type failingStore struct {
	runtime.Store
	fail func(bucket string) bool
}

// Commit implements services.Store.
func (s failingStore) Commit(write func(services.Tx), done func(error)) {
	seen := new(bucketsOf)
	write(seen)
	if slices.ContainsFunc(seen.buckets, s.fail) {
		done(errors.New("the disk is full"))
		return
	}
	s.Store.Commit(write, done)
}

// bucketsOf records the buckets that a transaction writes.
type bucketsOf struct{ buckets []string }

func (b *bucketsOf) Put(bucket, _ string, _ []byte) { b.buckets = append(b.buckets, bucket) }
func (b *bucketsOf) Delete(bucket, _ string)        { b.buckets = append(b.buckets, bucket) }

// What was answered with 202 is on disk. What is not is answered so that Graph sends it again.
func TestNotificationIsRecordedBeforeItIsAccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var full atomic.Bool
		f := startPush(t, pushSensors)
		time.Sleep(5 * time.Minute)
		inbox := f.Microsoft.Subscriptions()[1]
		notify := func(clientState string) int {
			w := httptest.NewRecorder()
			body := fmt.Sprintf(`{"value": [{"subscriptionId": %q, "clientState": %q, "changeType": "updated"}]}`, inbox.ID, clientState)
			f.handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/graph", strings.NewReader(body)))
			return w.Code
		}
		recorded := func() bool {
			value, err := f.Database.Bucket("wakeups").Get("a000/inbox")
			if err != nil {
				t.Fatal(err)
			}
			return value != nil
		}
		commits := func() uint64 { return f.Database.Stats().Commits }
		f.full = &full
		full.Store(true)
		if code := notify(inbox.ClientState); code != http.StatusServiceUnavailable || recorded() {
			t.Errorf("%d although the disk is full", code)
		}
		for range 1000 {
			if code := notify(inbox.ClientState); code != http.StatusServiceUnavailable {
				t.Fatalf("%d although the disk is full", code)
			}
		}
		if recorded() {
			t.Error("a wake-up is recorded although the disk is full")
		}
		full.Store(false)
		time.Sleep(time.Minute)
		before := commits()
		if code := notify("wrong"); code != http.StatusAccepted || recorded() || commits() != before {
			t.Errorf("a wrong client state: %d, recorded %t, %d commits", code, recorded(), commits()-before)
		}
		if code := notify(inbox.ClientState); code != http.StatusAccepted || !recorded() || commits() != before+1 {
			t.Errorf("%d, recorded %t, %d commits", code, recorded(), commits()-before)
		}
		accepted, ignored := f.Runtime.Notified()
		if ignored != 1 || accepted != 1+1000+1 {
			t.Errorf("%d accepted and %d ignored", accepted, ignored)
		}
		for range 100 { // replayed before the poll
			if code := notify(inbox.ClientState); code != http.StatusAccepted {
				t.Errorf("%d", code)
			}
		}
		if n := commits() - before; n != 1 {
			t.Errorf("%d commits for one wake-up", n)
		}
		time.Sleep(2 * time.Hour) // it is removed with the next commit, or after an hour
		if recorded() {
			t.Error("the wake-up is recorded after the poll")
		}
	})
}

// A wake-up that an earlier run recorded and did not get to is made up for, and everything is read.
func TestRecordedWakeUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startPush(t, pushSensors, func(*simulator.Simulator) {})
		time.Sleep(5 * time.Minute)
		f.Microsoft.ForgetRequests()
		if err := f.Database.CommitSync(func(tx state.Tx) { tx.Put("wakeups", "a000/inbox", []byte("2026-11-27T00:00:00Z")) }); err != nil {
			t.Fatal(err)
		}
		changed := *f.Config.Accounts["a000"]
		changed.Name = "Renamed" // so that the account starts again
		if err := f.Runtime.Apply(t.Context(), map[string]*config.Account{"a000": &changed}, config.Changes{Accounts: config.Delta{Changed: []string{"a000"}}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if n := f.Microsoft.Count(http.MethodGet, "/v1.0/me/mailFolders/"); n != 1+3 { // the first poll sees no change, that of the wake-up reads everything
			t.Errorf("%d requests for mails", n)
		}
		time.Sleep(2 * time.Hour)
		if value, err := f.Database.Bucket("wakeups").Get("a000/inbox"); err != nil || value != nil {
			t.Errorf("%s %v", value, err)
		}
		if f.count(http.MethodPost) != 0 || len(f.Microsoft.Subscriptions()) != 2 {
			t.Errorf("%d subscriptions were made, %d exist, want the same two", f.count(http.MethodPost), len(f.Microsoft.Subscriptions()))
		}
	})
}

// Signing out ends the notifications; signing in again is not needed for them to stay away.
func TestSignOutUnsubscribes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startPush(t, pushSensors)
		time.Sleep(5 * time.Minute)
		done := make(chan services.Response, 1)
		f.dispatcher.Submit(services.Inbound{Target: services.Ref{Account: "a000"}, Operation: "sign_out", Payload: []byte("{}"), Owner: true, Received: time.Now(), Done: func(r services.Response) { done <- r }})
		if r := <-done; r.Error != nil {
			t.Fatal(r.Error)
		}
		if left := f.Microsoft.Subscriptions(); len(left) != 0 {
			t.Errorf("%+v", left)
		}
		f.Microsoft.ForgetRequests()
		time.Sleep(time.Hour)
		if n := f.Microsoft.Count("", "/v1.0/subscriptions"); n != 0 {
			t.Errorf("%d requests about subscriptions after the sign-out", n)
		}
	})
}

// Subscriptions end with their sensor and their account.
func TestRemovalUnsubscribes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startPush(t, pushSensors)
		time.Sleep(5 * time.Minute)
		without := *f.Config.Accounts["a000"]
		without.Sensors = map[string]*config.Sensor{"calendar": without.Sensors["calendar"]}
		if err := f.Runtime.Apply(t.Context(), map[string]*config.Account{"a000": &without}, config.Changes{Sensors: config.Delta{Removed: []string{"a000/inbox"}}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if left := f.Microsoft.Subscriptions(); len(left) != 1 || left[0].Resource != "/me/events" {
			t.Errorf("%+v", left)
		}
		if err := f.Runtime.Apply(t.Context(), nil, config.Changes{Accounts: config.Delta{Removed: []string{"a000"}}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if left := f.Microsoft.Subscriptions(); len(left) != 0 {
			t.Errorf("%+v", left)
		}
		if value, err := f.Database.Bucket("subscriptions").Get("a000"); err != nil || value != nil {
			t.Errorf("%s %v", value, err)
		}
	})
}

// Without notifications nothing of them runs, is written or is requested.
func TestNothingWithoutNotifications(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startFleet(t, fleetSetup{accounts: 1, sensors: pushSensors})
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		var stacks bytes.Buffer
		if err := pprof.Lookup("goroutine").WriteTo(&stacks, 2); err != nil {
			t.Fatal(err)
		}
		for _, part := range []string{"subscriber", "receiver", "notifier", "eventhub", "franz-go"} {
			if strings.Contains(stacks.String(), part) {
				t.Errorf("a goroutine of %s runs", part)
			}
		}
		for _, bucket := range []string{"notifications", "subscriptions", "wakeups"} {
			if err := f.Database.Bucket(bucket).Each(func(key string, _ []byte) error { return errors.New(key) }); err != nil {
				t.Errorf("%s has %v", bucket, err)
			}
		}
		if n := f.Microsoft.Count("", "/v1.0/subscriptions"); n != 0 {
			t.Errorf("%d requests about subscriptions", n)
		}
		if status := f.Published.Held("graph2mqtt/a000/status"); bytes.Contains(status, []byte("notifications")) {
			t.Errorf("%s", status)
		}
	})
}

// freeAddress returns an address on which nothing listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	return fmt.Sprintf("127.0.0.1:%d", porttest.Free(t))
}

// The bridge receives notifications over its own listener, keeps its subscriptions over a restart, creates those anew that ended
// meanwhile, and deletes them when notifications are no longer configured.
func TestNotificationsOfTheBridge(t *testing.T) {
	h := newHarness(t)
	address := freeAddress(t)
	h.push = fmt.Sprintf("{webhook: {listen: %q, url: %q}}", address, "http://"+address+"/graph")
	sensors := []string{"calendar: {type: calendar}", "inbox: {type: email}"}
	h.one("", sensors...)
	h.SignIn("work")
	works := func(payload string) bool {
		var s hub.AccountStatus
		return json.Unmarshal([]byte(payload), &s) == nil && s.Notifications != nil && s.Notifications.State == "ok" &&
			!slices.ContainsFunc(s.Notifications.Sensors, func(n hub.SensorNotifications) bool { return n.State != "ok" })
	}
	requests := make(chan string, 1000)
	h.Microsoft.OnRequest(func(r simulator.Request) {
		if strings.HasPrefix(r.Path, "/v1.0/subscriptions") && r.Method != http.MethodGet {
			requests <- r.Method
		}
	})
	h.Start()
	h.Holds("graph2mqtt/work/status", works)
	first := h.Microsoft.Subscriptions()
	if len(first) != 2 {
		t.Fatalf("%+v", first)
	}
	unread := func(more int) func(string) bool {
		n := 0
		for _, m := range h.Microsoft.Mails(simulator.Adele, "") {
			if !m.Read {
				n++
			}
		}
		return func(payload string) bool { return includes(payload, map[string]any{"unread": n + more}) }
	}
	h.Holds("graph2mqtt/work/inbox/state", unread(0))
	isOneMore := unread(1)
	h.Microsoft.DeliverMail(simulator.Adele, simulator.Mail{Subject: "News"})
	h.Holds("graph2mqtt/work/inbox/state", isOneMore)
	h.Holds("homeassistant/device/graph2mqtt-work/config", func(p string) bool { return strings.Contains(p, "['notifications']['state']") })

	h.Stop()
	mark := h.mark()
	h.Start()
	h.Next(mark, "graph2mqtt/work/status", works)
	for _, m := range h.since(mark) { // an earlier run has subscribed
		if m.Topic == "graph2mqtt/work/status" && !works(m.Payload) {
			t.Errorf("the status after a restart is %s", m.Payload)
		}
	}
	if again := h.Microsoft.Subscriptions(); len(again) != 2 || again[0].ID != first[0].ID || again[1].ID != first[1].ID {
		t.Errorf("%+v after a restart, want %+v", again, first)
	}
	h.Stop()
	if n := len(requests); n != 2 {
		t.Errorf("%d changes of subscriptions, want that two were made", n)
	}
	for len(requests) > 0 {
		<-requests
	}

	h.Microsoft.RemoveSubscription(first[0].ID) // it ended while the bridge was away
	h.Start()
	select {
	case <-requests: // it is created again
	case <-time.After(waitTimeout):
		t.Fatal("no request")
	}
	h.Holds("graph2mqtt/work/status", works)
	if again := h.Microsoft.Subscriptions(); len(again) != 2 || again[0].ID != first[1].ID || again[1].ID == first[0].ID {
		t.Errorf("%+v after an outage", again)
	}
	h.Stop()

	for len(requests) > 0 {
		<-requests
	}
	h.push = ""
	h.one("", sensors...)
	h.Start()
	for range 2 {
		select {
		case method := <-requests:
			if method != http.MethodDelete {
				t.Errorf("%s", method)
			}
		case <-time.After(waitTimeout):
			t.Fatal("the subscriptions stay")
		}
	}
	if left := h.Microsoft.Subscriptions(); len(left) != 0 {
		t.Errorf("%+v", left)
	}
}

// The event hub of tests.
const hubName, hubGroup = "graph", "graph2mqtt"

// startHub starts an event hub, and returns its connection string and a client that writes into it.
func startHub(t *testing.T, partitions int32) (cluster *kfake.Cluster, connectionString string, producer *kgo.Client) {
	t.Helper()
	parts := "SharedAccessKeyName=listen;SharedAccessKey=very+secret;UseDevelopmentEmulator=true;EntityPath=" + hubName
	address := freeAddress(t)
	connectionString = "Endpoint=sb://" + address + ";" + parts
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	cluster, err = kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(number), kfake.SeedTopics(partitions, hubName), kfake.EnableSASL(), kfake.Superuser("PLAIN", "$ConnectionString", connectionString))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	producer, err = kgo.NewClient(kgo.SeedBrokers(address), kgo.SASL(plain.Auth{User: "$ConnectionString", Pass: connectionString}.AsMechanism()))
	if err != nil {
		t.Fatal(err)
	}
	return cluster, connectionString, producer
}

// The bridge reads notifications from an event hub, and the rest is as with its own listener. Without the keys nothing of it runs.
func TestEventHubOfTheBridge(t *testing.T) {
	cluster, connectionString, producer := startHub(t, 2)
	const url = "EventHub:https://127.0.0.1/eventhubname/" + hubName + "?tenantId=contoso.example"
	h := newHarnessWith(t, simulator.Options{EventHub: func(ctx context.Context, to string, message []byte) error {
		if to != url {
			return fmt.Errorf("no event hub %q", to)
		}
		return producer.ProduceSync(ctx, &kgo.Record{Topic: hubName, Value: message}).FirstErr()
	}})
	t.Cleanup(h.Microsoft.StopNotifications)
	h.push = fmt.Sprintf("{eventhubs: {connection_string_file: %q, url: %q}}", h.path("eventhub"), url)
	if err := os.WriteFile(h.path("eventhub"), []byte(connectionString+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.one("", "inbox: {type: email}")
	h.SignIn("work")
	h.Start()
	h.Holds("graph2mqtt/work/status", func(payload string) bool {
		var s hub.AccountStatus
		return json.Unmarshal([]byte(payload), &s) == nil && s.Notifications != nil && s.Notifications.State == "ok"
	})
	unread := 0
	for _, m := range h.Microsoft.Mails(simulator.Adele, "") {
		if !m.Read {
			unread++
		}
	}
	h.Holds("graph2mqtt/work/inbox/state", func(p string) bool { return includes(p, map[string]any{"unread": unread}) })
	h.Microsoft.DeliverMail(simulator.Adele, simulator.Mail{Subject: "News"})
	h.Holds("graph2mqtt/work/inbox/state", func(p string) bool { return includes(p, map[string]any{"unread": unread + 1}) })
	h.Stop()
	sent, read := int64(0), int64(0)
	for _, p := range cluster.PartitionInfos(hubName) {
		sent += p.HighWatermark
	}
	for _, c := range cluster.GroupInfo(hubGroup).Commits[hubName] {
		read += c.Offset
	}
	if sent < 3 || read != sent { // two addresses of a subscription are tried, and a mail came
		t.Errorf("%d of %d messages count as read", read, sent)
	}
	if log := h.Log.String(); strings.Contains(log, "secret") || strings.Contains(log, "level=WARN") {
		t.Errorf("%s", log)
	}

	h.push = ""
	h.one("", "inbox: {type: email}")
	mark := h.mark()
	h.Start()
	h.Next(mark, "graph2mqtt/work/inbox/availability", func(p string) bool { return p == "online" })
	producer.Close()
	for _, part := range []string{"internal/eventhub", "pkg/kgo", "web/receiver"} {
		// Those of the producer end some time after Close.
		for end := time.Now().Add(waitTimeout); goroutinesIn(part) > 0; stdruntime.Gosched() {
			if time.Now().After(end) {
				t.Fatalf("a goroutine of %s runs", part)
			}
		}
	}
	if info := cluster.GroupInfo(hubGroup); len(info.Members) != 0 {
		t.Errorf("%+v", info.Members)
	}
}

// announcedPart reports whether the requests of a path are saved by notifications of pushSensors.
func announcedPart(path string) bool {
	return partOf(path) == mailPart || partOf(path) == calendarPart
}

// measureAccounts returns how many requests a minute accounts send that have a change each hour: all, those of sensors that are
// announced, and those about subscriptions.
func measureAccounts(t *testing.T, accounts int, notifications bool) (all, announced, subscriptions float64) {
	t.Helper()
	var notify atomic.Pointer[runtime.Runtime]
	s := simulator.Contoso(simulator.Options{Notify: roundTripper(func(r *http.Request) (*http.Response, error) {
		w := httptest.NewRecorder()
		receiver.New(receiver.Options{Notify: notify.Load().Notify, Log: testLogger(t)}).ServeHTTP(w, r)
		return w.Result(), nil
	})})
	t.Cleanup(s.StopNotifications)
	s.SetTokenLifetime(10_000*time.Hour, 0)
	var counts [3]atomic.Int64
	setup := fleetSetup{
		accounts: accounts, sensors: pushSensors + "      out_of_office: {type: auto_reply}\n      presence: {type: status}\n", simulator: s, onRuntime: notify.Store, ownMailboxes: true,
		transport: func(next http.RoundTripper) http.RoundTripper {
			return roundTripper(func(r *http.Request) (*http.Response, error) {
				counts[0].Add(1)
				switch {
				case strings.Contains(r.URL.Path, "/subscriptions"):
					counts[2].Add(1)
				case announcedPart(r.URL.Path):
					counts[1].Add(1)
				}
				return next.RoundTrip(r)
			})
		},
	}
	if notifications {
		setup.notifications = &runtime.NotificationOptions{URL: webhook, Safety: safety}
	}
	f := startFleet(t, setup)
	s.FreezeClock(false)
	time.Sleep(time.Hour) // there are two requests about subscriptions a second
	if want := 2 * accounts; notifications && len(s.Subscriptions()) != want {
		t.Fatalf("%d subscriptions, want %d", len(s.Subscriptions()), want)
	}
	var before [3]int64
	for i := range counts {
		before[i] = counts[i].Load()
	}
	const minutes = 60
	for i := range minutes {
		for a := range accounts {
			if a%60 == i%60 {
				s.DeliverMail(address(fmt.Sprintf("a%03d", a)), simulator.Mail{Subject: "News"})
			}
		}
		time.Sleep(time.Minute)
	}
	if n := f.Published.holding("availability", "online"); n != 4*accounts {
		t.Errorf("%d sensors are online, want %d", n, 4*accounts)
	}
	rate := func(i int) float64 { return float64(counts[i].Load()-before[i]) / minutes }
	return rate(0), rate(1), rate(2)
}

// accountsTable prints what n accounts cost, and what 10,000 would.
func accountsTable(n int, without, with [3]float64) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-34s %12s %12s %8s\n", fmt.Sprintf("requests a minute of %d accounts", n), "without", "with", "saved")
	for i, name := range []string{"all", "mail and calendar", "subscriptions"} {
		saved := ""
		if without[i] > 0 {
			saved = fmt.Sprintf("%.0f %%", 100*(1-with[i]/without[i]))
		}
		fmt.Fprintf(&b, "%-34s %12.1f %12.1f %8s\n", name, without[i], with[i], saved)
	}
	scale := 10_000 / float64(n)
	fmt.Fprintf(&b, "%-34s %12.0f %12.0f\n", "all, of 10,000 accounts", without[0]*scale, with[0]*scale)
	return b.String()
}

// Notifications save most requests of the sensors that are announced, and cost next to nothing themselves.
func TestRequestsOfManyAccounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const accounts = 5
		var without, with [3]float64
		without[0], without[1], without[2] = measureAccounts(t, accounts, false)
		with[0], with[1], with[2] = measureAccounts(t, accounts, true)
		t.Logf("\n%s", accountsTable(accounts, without, with))
		if with[1] > without[1]/5 {
			t.Errorf("%.1f requests a minute of mail and calendar, without notifications %.1f: want at most a fifth", with[1], without[1])
		}
		if without[2] != 0 || with[2] > accounts/100. {
			t.Errorf("%.2f requests a minute about subscriptions, without notifications %.2f", with[2], without[2])
		}
		if other, before := with[0]-with[1]-with[2], without[0]-without[1]; other > before*1.01 {
			t.Errorf("%.1f other requests a minute, before %.1f", other, before)
		}
	})
}

// BenchmarkRequestsOfManyAccounts measures the requests a minute of accounts with and without notifications, and prints them with -v.
func BenchmarkRequestsOfManyAccounts(b *testing.B) {
	accounts := 200
	if testing.Short() {
		accounts = 5
	}
	var without, with [3]float64
	for b.Loop() {
		// Only a test has a clock of its own.
		ok := testing.RunTests(func(string, string) (bool, error) { return true, nil }, []testing.InternalTest{{Name: b.Name(), F: func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				without[0], without[1], without[2] = measureAccounts(t, accounts, false)
				with[0], with[1], with[2] = measureAccounts(t, accounts, true)
			})
		}}})
		if !ok {
			b.Fatal("the accounts could not be measured")
		}
	}
	b.Logf("\n%s", accountsTable(accounts, without, with))
	b.ReportMetric(without[0]/float64(accounts), "requests/min/account")
	b.ReportMetric(with[0]/float64(accounts), "requests/min/account-notified")
}
