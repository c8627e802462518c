package subscriptions_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/subscriptions"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

// willing answers every handshake.
func willing(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"text/plain"}}, Body: io.NopCloser(strings.NewReader(r.URL.Query().Get("validationToken")))}, nil
}

func TestSubscription(t *testing.T) {
	s := simulator.Contoso(simulator.Options{Notify: graphtest.RoundTripper(willing)})
	t.Cleanup(s.StopNotifications)
	g := graphtest.Client(t, s, simulator.Adele, "User.Read", "Calendars.Read")
	want := subscriptions.Subscription{Resource: "/me/events", URL: "https://hooks.example.com/graph", ClientState: "secret", Expires: time.Now().Add(time.Hour)}
	made, err := subscriptions.Create(t.Context(), g, want)
	if err != nil || made.ID == "" || made.ClientState != "secret" || made.Expires.Sub(want.Expires).Abs() > time.Second {
		t.Fatalf("%+v %v", made, err)
	}
	if at := s.Subscriptions(); len(at) != 1 || at[0].LifecycleURL != want.URL || at[0].ClientState != "secret" || at[0].ChangeType != subscriptions.Changes {
		t.Errorf("%+v", at)
	}
	until := time.Now().Add(3 * time.Hour)
	if got, err := subscriptions.Renew(t.Context(), g, made.ID, until); err != nil || got.Sub(until).Abs() > time.Second {
		t.Errorf("%s %v", got, err)
	}
	all, err := subscriptions.List(t.Context(), g)
	if err != nil || len(all) != 1 || all[0].ID != made.ID || all[0].URL != want.URL || all[0].Resource != want.Resource || all[0].ClientState != "" {
		t.Errorf("%+v %v", all, err)
	}
	for range 2 { // the second finds nothing
		if err := subscriptions.Delete(t.Context(), g, made.ID); err != nil {
			t.Error(err)
		}
	}
	if _, err := subscriptions.Renew(t.Context(), g, made.ID, until); !graph.Is(err, graph.NotFound) {
		t.Errorf("renewing what does not exist: %v", err)
	}
}

func TestRefusedSubscription(t *testing.T) {
	s := simulator.Contoso(simulator.Options{Notify: graphtest.RoundTripper(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusBadGateway, Body: http.NoBody}, nil
	})})
	t.Cleanup(s.StopNotifications)
	g := graphtest.Client(t, s, simulator.Adele, "User.Read", "Calendars.Read")
	const url = "https://hooks.example.com/graph"
	for resource, want := range map[string]string{
		"/me/events":   "subscribe to notifications: Microsoft cannot reach " + url + ", or it is not answered by graph2mqtt: Subscription validation request failed. Notification endpoint must respond with 200 OK to validation request. (Graph answered 400 ValidationError)",
		"/me/messages": "subscribe to notifications: Microsoft refuses notifications: a permission is missing, or there are too many subscriptions (Graph answered 403 ExtensionError)",
	} {
		_, err := subscriptions.Create(t.Context(), g, subscriptions.Subscription{Resource: resource, URL: url, Expires: time.Now().Add(time.Hour)})
		if err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", resource, err, want)
		}
	}
}

// Graph refuses an event hub that it cannot send to.
func TestRefusedEventHub(t *testing.T) {
	const hub = "EventHub:https://contoso.servicebus.windows.net/eventhubname/graph?tenantId=contoso.com"
	s := simulator.Contoso(simulator.Options{EventHub: func(context.Context, string, []byte) error { return errors.New("no such host") }})
	t.Cleanup(s.StopNotifications)
	g := graphtest.Client(t, s, simulator.Adele, "User.Read", "Calendars.Read")
	_, err := subscriptions.Create(t.Context(), g, subscriptions.Subscription{Resource: "/me/events", URL: hub, Expires: time.Now().Add(time.Hour)})
	const want = "subscribe to notifications: Microsoft cannot send to the event hub: Subscription validation request failed. The event hub cannot be reached. (Graph answered 400 ValidationError)"
	if err == nil || err.Error() != want || !subscriptions.IsReceiverFailure(err) {
		t.Errorf("%v, want %s", err, want)
	}

	for code, want := range map[string]struct {
		receiver bool
		message  string
	}{
		"InvalidRequest": {true, "subscribe to notifications: Microsoft cannot send to the event hub: Reason. (Graph answered 400 InvalidRequest)"},
		"ExtensionError": {false, "subscribe to notifications: Graph answered 400 ExtensionError: Reason."}, // of Exchange
	} {
		s.Fail(simulator.Fault{Method: http.MethodPost, Path: "/v1.0/subscriptions", Status: http.StatusBadRequest, Code: code, Message: "Reason."})
		_, err := subscriptions.Create(t.Context(), g, subscriptions.Subscription{Resource: "/me/events", URL: hub, Expires: time.Now().Add(time.Hour)})
		if err == nil || err.Error() != want.message || subscriptions.IsReceiverFailure(err) != want.receiver {
			t.Errorf("%s: %v, a failure of the receiver: %t", code, err, subscriptions.IsReceiverFailure(err))
		}
	}
}

func TestParse(t *testing.T) {
	got, err := subscriptions.Parse(strings.NewReader(`{"validationTokens": ["x", {}], "value": [
		{"subscriptionId": "1", "clientState": "a", "changeType": "created", "resource": "x", "resourceData": {"id": "y", "more": [1]}},
		{"subscriptionId": "2", "clientState": null, "lifecycleEvent": "missed"}], "more": null}`))
	want := []subscriptions.Notification{{SubscriptionID: "1", ClientState: "a"}, {SubscriptionID: "2", Lifecycle: "missed"}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	for _, body := range []string{
		"", "null", "[]", "{}", `"x"`, "{", `{"value"`, `{"value":`, `{"value": 1}`, `{"value": [`, `{"value": [{]}`, `{"value": [1]}`, `{"value": ["x"]}`, `{"value": [{"subscriptionId": 1}]}`,
		`{"value": []} x`, `{"value": []}{"value": []}`, `{"value": [], "value": []}`, `{"x": }`, "\x00", `{"value": [` + strings.Repeat("{},", 1000) + `{}]}`, `{"x": ` + strings.Repeat("[", 20_000),
	} {
		if got, err := subscriptions.Parse(strings.NewReader(body)); err == nil || len(err.Error()) > 100 {
			t.Errorf("%.40q: %v %v", body, got, err)
		}
	}
	if got, err := subscriptions.Parse(strings.NewReader(`{"value": []}`)); err != nil || len(got) != 0 {
		t.Errorf("%v %v", got, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"value": [{"subscriptionId": "1"}]}`))
	f.Add([]byte(`{"value": [{"lifecycleEvent": "missed"}], "x": [[]]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		all, err := subscriptions.Parse(strings.NewReader(string(body)))
		if err != nil && all != nil {
			t.Errorf("%q: %v with %v", body, err, all)
		}
	})
}

// The subscriptions of an application are listed to the last page. A mailbox that is throttled holds no other up.
func TestSubscriptionsOfAnApplication(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simulator.Contoso(simulator.Options{Notify: graphtest.RoundTripper(willing)})
		defer s.StopNotifications()
		g := graphtest.Application(t, s, "7d2f7a43-94b6-4a53-8f6c-0d1d0b7c5a11", "Calendars.Read")
		const rooms = 25
		address := func(i int) string { return fmt.Sprintf("room%d@contoso.example", i) }
		create := func(i int) error {
			_, err := subscriptions.Create(t.Context(), g.ForMailbox(address(i)), subscriptions.Subscription{
				Resource: "/users/" + address(i) + "/events", URL: "https://hooks.example.com/graph", Expires: time.Now().Add(time.Hour),
			})
			return err
		}
		for i := range rooms {
			s.AddUser(simulator.User{Address: address(i), Name: "Room"})
			if i == 0 {
				s.Fail(simulator.Fault{Method: http.MethodPost, Path: "/v1.0/subscriptions", Status: http.StatusTooManyRequests, RetryAfter: "3600"})
			}
			if err := create(i); graph.Is(err, graph.Throttled) != (i == 0) || i > 0 && err != nil {
				t.Errorf("%s: %v", address(i), err)
			}
		}
		if err := create(0); !graph.Is(err, graph.Throttled) || s.Count(http.MethodPost, "/v1.0/subscriptions") != rooms {
			t.Errorf("%v after %d requests, want the first room to wait", err, s.Count(http.MethodPost, "/v1.0/subscriptions"))
		}
		began := time.Now()
		all, err := subscriptions.List(t.Context(), g)
		if took := time.Since(began); err != nil || len(all) != rooms-1 || took < time.Second || took > 5*time.Second {
			t.Errorf("%d subscriptions after %s, %v", len(all), took, err)
		}
	})
}
