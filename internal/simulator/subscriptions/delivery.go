package subscriptions

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator/control"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/directory"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/odata"
)

const (
	// Graph waits for the answer to a validation for handshakeTimeout, and for that to a notification for sendTimeout.
	handshakeTimeout = 10 * time.Second
	sendTimeout      = 10 * time.Second
	// Notifications that were not accepted are sent again for retryFor.
	retryAfter = 10 * time.Second
	retryFor   = 4 * time.Hour
	// maxSent is the number of notifications that are remembered.
	maxSent = 1000
)

// Delivery configures how notifications are sent. The zero value is how Graph should behave.
type Delivery struct {
	Silent      bool          // nothing is sent
	Delay       time.Duration // from the change to the notification
	Copies      int           // how often each notification is sent; 0: once
	ClientState string        // sent instead of that of the subscription; "": the right one
	Quota       int           // subscriptions per user; 0: 1,000
}

// A Notification is one request that was sent.
type Notification struct {
	URL    string          `json:"url"`
	Status int             `json:"status"` // of the answer; 0: none
	Body   json.RawMessage `json:"body"`
}

// SetDelivery changes how notifications are sent from now on.
func (s *Service) SetDelivery(d Delivery) {
	s.directory.Lock()
	defer s.directory.Unlock()
	switch {
	case d.Delay < 0:
		panic(control.Invalid("delay: want at least 0s, not %s", d.Delay))
	case d.Copies < 0:
		panic(control.Invalid("copies: want at least 0, not %d", d.Copies))
	case d.Quota < 0:
		panic(control.Invalid("quota: want at least 0, not %d", d.Quota))
	}
	s.delivery = d
}

// Notifications returns the requests that were sent and answered, or not, the oldest first; at most the last thousand.
func (s *Service) Notifications() []Notification {
	s.directory.Lock()
	defer s.directory.Unlock()
	return append([]Notification(nil), s.sent...)
}

// validate asks the addresses of a new subscription whether they want it.
//
// https://learn.microsoft.com/graph/change-notifications-delivery-webhooks, "notificationUrl validation"
func (s *Service) validate(ctx context.Context, sub *Subscription) *odata.Error {
	addresses := []string{sub.URL}
	if sub.LifecycleURL != "" {
		addresses = append(addresses, sub.LifecycleURL)
	}
	for _, address := range addresses {
		if why := s.handshake(ctx, address); why != "" {
			return odata.NewError(http.StatusBadRequest, "ValidationError", "Subscription validation request failed. %s", why)
		}
	}
	return nil
}

// handshake returns what is wrong with the answer to a validation, or "".
func (s *Service) handshake(ctx context.Context, address string) string {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	if strings.HasPrefix(address, eventHubPrefix) {
		return s.tryEventHub(ctx, address)
	}
	token := "Validation: Testing client application reachability for subscription Request-Id: " + directory.Random(36)
	u, err := url.Parse(address)
	if err != nil {
		return "The address cannot be read."
	}
	query := u.Query()
	query.Set("validationToken", token)
	u.RawQuery = query.Encode()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), http.NoBody)
	if err != nil {
		return "The address cannot be read."
	}
	r.Header.Set("Content-Type", "text/plain; charset=utf-8")
	response, err := s.client.Do(r)
	if err != nil {
		if ctx.Err() != nil {
			return "The request timed out."
		}
		return "The address cannot be reached."
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 4<<10))
	kind, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type"))
	switch {
	case response.StatusCode != http.StatusOK:
		return "Notification endpoint must respond with 200 OK to validation request."
	case err != nil, kind != "text/plain", string(body) != token:
		return "Response must exactly match validationToken query parameter."
	}
	return ""
}

// tryEventHub puts a message of no subscription into an event hub, and returns what is wrong, or "".
//
// https://learn.microsoft.com/graph/change-notifications-delivery-event-hubs
func (s *Service) tryEventHub(ctx context.Context, address string) string {
	if s.eventHub == nil {
		return "This simulator has no event hub."
	}
	const none = "NA"
	message, err := json.Marshal(map[string]any{"value": []any{map[string]any{
		"subscriptionId": none, "subscriptionExpirationDateTime": none, "clientState": none, "resource": none,
		"changeType":   "Validation: Testing client application reachability for subscription Request-Id: " + directory.Random(36),
		"resourceData": map[string]any{"@odata.type": none, "@odata.id": none, "id": none},
	}}})
	if err != nil {
		panic(err) // texts only
	}
	if err := s.eventHub(ctx, address, message); err != nil {
		return "The event hub cannot be reached."
	}
	return ""
}

// send sends a notification about a subscription in the background.
func (s *Service) send(sub *Subscription, address string, n map[string]any) {
	d := s.delivery
	if d.Silent {
		return
	}
	n["subscriptionId"], n["subscriptionExpirationDateTime"] = sub.ID, sub.Expires.UTC().Format(time.RFC3339)
	n["tenantId"], n["clientState"] = sub.user.Tenant, orNil(sub.ClientState)
	if d.ClientState != "" {
		n["clientState"] = d.ClientState
	}
	body, err := json.Marshal(map[string]any{"value": []any{n}})
	if err != nil {
		panic(err) // texts only
	}
	for range max(d.Copies, 1) {
		s.sending.Go(func() {
			if s.wait(d.Delay) {
				s.post(address, body)
			}
		})
	}
}

// wait waits, and reports false if the service stops meanwhile.
func (s *Service) wait(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.stopped:
		return false
	}
}

// post sends a notification until it is accepted.
func (s *Service) post(address string, body []byte) {
	began, pause := time.Now(), retryAfter
	for {
		status := s.postOnce(address, body)
		s.directory.Lock()
		if len(s.sent) >= maxSent {
			s.sent = s.sent[1:]
		}
		s.sent = append(s.sent, Notification{address, status, body})
		s.directory.Unlock()
		if status >= 200 && status <= 299 || time.Since(began) > retryFor || !s.wait(pause) {
			return
		}
		pause *= 2
	}
}

// postOnce returns the status of the answer; 0: there was none.
func (s *Service) postOnce(address string, body []byte) int {
	ctx, cancel := context.WithTimeout(context.Background(), sendTimeout)
	defer cancel()
	s.sending.Go(func() {
		select {
		case <-s.stopped:
			cancel()
		case <-ctx.Done():
		}
	})
	if strings.HasPrefix(address, eventHubPrefix) {
		if s.eventHub(ctx, address, body) != nil {
			return 0
		}
		return http.StatusAccepted
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return 0
	}
	r.Header.Set("Content-Type", "application/json; charset=utf-8")
	response, err := s.client.Do(r)
	if err != nil {
		return 0
	}
	_ = response.Body.Close()
	return response.StatusCode
}

func (s *Service) controls() []control.Operation {
	return []control.Operation{
		{Method: "GET", Path: "/control/subscriptions", Description: "list the subscriptions", Do: func(*http.Request) (any, error) { return control.ListOf(s.Subscriptions()), nil }},
		{Method: "DELETE", Path: "/control/subscriptions/{subscription}", Description: "remove a subscription without telling its client", Do: func(r *http.Request) (any, error) {
			s.RemoveSubscription(r.PathValue("subscription"))
			return nil, nil
		}},
		{Method: "POST", Path: "/control/subscriptions/{subscription}/lifecycle", Description: "send a lifecycle notification about a subscription", Do: func(r *http.Request) (any, error) {
			in, err := control.Decode[struct {
				Event string `json:"event"`
			}](r)
			if err != nil {
				return nil, err
			}
			s.SendLifecycle(r.PathValue("subscription"), in.Event)
			return nil, nil
		}},
		{Method: "GET", Path: "/control/notifications", Description: "list the notifications that were sent, oldest first", Do: func(*http.Request) (any, error) { return control.ListOf(s.Notifications()), nil }},
		{Method: "PUT", Path: "/control/notifications", Description: "set how notifications are sent: not at all, late, several times, with a wrong clientState", Do: s.putDelivery},
	}
}

func (s *Service) putDelivery(r *http.Request) (any, error) {
	in, err := control.Decode[struct {
		Silent      bool   `json:"silent"`
		Delay       string `json:"delay"`
		Copies      int    `json:"copies"`
		ClientState string `json:"clientState"`
		Quota       int    `json:"quota"`
	}](r)
	if err != nil {
		return nil, err
	}
	d := Delivery{Silent: in.Silent, Copies: in.Copies, ClientState: in.ClientState, Quota: in.Quota}
	if in.Delay != "" {
		if d.Delay, err = control.Duration("delay", in.Delay); err != nil {
			return nil, err
		}
	}
	s.SetDelivery(d)
	return nil, nil
}
