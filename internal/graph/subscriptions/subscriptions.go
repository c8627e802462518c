// Package subscriptions creates, renews and deletes subscriptions to Graph's change notifications, and decodes the notifications.
//
// https://learn.microsoft.com/graph/api/resources/subscription
package subscriptions

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	abstractions "github.com/microsoft/kiota-abstractions-go"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

// MinLifetime is the shortest lifetime: Graph makes shorter ones as long.
const MinLifetime = 45 * time.Minute

// pagePause is the time between two pages of a list. Graph answers between 25 and 40 requests for lists within 20 seconds.
//
// https://learn.microsoft.com/graph/throttling-limits#subscription-service-limits
const pagePause = time.Second

// EventHub starts the address of an event hub of Azure.
const EventHub = "EventHub:"

// Changes are the types of changes that a subscription is about unless it has its own.
const Changes = "created,updated,deleted"

// A Subscription asks Graph to announce changes of a resource at an address.
type Subscription struct {
	ID          string
	Resource    string // "/me/events"
	Changes     string // the types of changes, such as "updated"; "": Changes. Not of List
	URL         string // of notifications, also of those about the subscription itself
	ClientState string // secret that comes with every notification; Graph shows it only when the subscription is created
	Expires     time.Time
}

type subscriptionDTO struct {
	ID           string    `json:"id,omitempty"`
	ChangeType   string    `json:"changeType,omitempty"`
	Resource     string    `json:"resource,omitempty"`
	URL          string    `json:"notificationUrl,omitempty"`
	LifecycleURL string    `json:"lifecycleNotificationUrl,omitempty"`
	ClientState  string    `json:"clientState,omitempty"`
	Expires      time.Time `json:"expirationDateTime"`
}

func (d subscriptionDTO) subscription() Subscription {
	return Subscription{ID: d.ID, Resource: d.Resource, URL: d.URL, ClientState: d.ClientState, Expires: d.Expires}
}

// Create creates a subscription, whose address Graph asks before it answers. It returns it with its id and the end that Graph set.
//
// https://learn.microsoft.com/graph/api/subscription-post-subscriptions
func Create(ctx context.Context, g *graph.Client, s Subscription) (Subscription, error) {
	const op = "subscribe to notifications"
	var created subscriptionDTO
	err := send(ctx, g, op, abstractions.POST, "", subscriptionDTO{
		ChangeType: cmp.Or(s.Changes, Changes), Resource: s.Resource, URL: s.URL, LifecycleURL: s.URL, ClientState: s.ClientState, Expires: s.Expires.UTC(),
	}, &created)
	switch {
	case err != nil:
		return s, explain(err, s.URL)
	case created.ID == "":
		return s, graph.Incomplete(op, "id")
	}
	s.ID, s.Expires = created.ID, expiry(created.Expires, s.Expires)
	return s, nil
}

// Renew extends a subscription, also one that Graph wants to be authorized again, and returns when it ends.
//
// https://learn.microsoft.com/graph/api/subscription-update
func Renew(ctx context.Context, g *graph.Client, id string, until time.Time) (time.Time, error) {
	var renewed subscriptionDTO
	if err := send(ctx, g, "renew the subscription to notifications", abstractions.PATCH, id, subscriptionDTO{Expires: until.UTC()}, &renewed); err != nil {
		return time.Time{}, err
	}
	return expiry(renewed.Expires, until), nil
}

// expiry returns the end that Graph set, or the requested one where it set none.
func expiry(set, requested time.Time) time.Time {
	if set.IsZero() {
		return requested
	}
	return set
}

// Delete deletes a subscription. One that does not exist is no error.
//
// https://learn.microsoft.com/graph/api/subscription-delete
func Delete(ctx context.Context, g *graph.Client, id string) error {
	err := g.Do(ctx, "delete the subscription to notifications", request(abstractions.DELETE, id), nil)
	if graph.Is(err, graph.NotFound) {
		return nil
	}
	return err
}

// List returns the subscriptions that this app registration has of the signed-in user, without their ClientState. An application gets those
// to all mailboxes, also those that the registration has of users. Very many take a minute: Graph answers few such requests at a time.
//
// https://learn.microsoft.com/graph/api/subscription-list
func List(ctx context.Context, g *graph.Client) ([]Subscription, error) {
	listed, err := graph.ListWithPause[subscriptionDTO](ctx, g, "list the subscriptions to notifications", request(abstractions.GET, ""), pagePause)
	var all []Subscription
	for _, s := range listed {
		all = append(all, s.subscription())
	}
	return all, err
}

// request returns a request for all subscriptions or one. The SDK's builders of subscriptions would make the program larger.
func request(method abstractions.HttpMethod, id string) *abstractions.RequestInformation {
	r := abstractions.NewRequestInformationWithMethodAndUrlTemplateAndPathParameters(method, "{+baseurl}/subscriptions{/id}", map[string]string{})
	if id != "" {
		r.PathParameters["id"] = id
	}
	return r
}

func send(ctx context.Context, g *graph.Client, op string, method abstractions.HttpMethod, id string, body subscriptionDTO, out *subscriptionDTO) error {
	content, err := json.Marshal(body)
	if err != nil {
		return err
	}
	r := request(method, id)
	r.SetStreamContentAndContentType(content, "application/json")
	return g.Do(ctx, op, r, out)
}

// IsReceiverFailure reports whether a subscription was refused because of the address of the notifications. Then all are.
func IsReceiverFailure(err error) bool {
	e, ok := asError(err)
	return ok && e.Status == http.StatusBadRequest && e.Explanation != ""
}

// extensionError is the code of errors of the service that has the resource, such as Exchange, which does not know the receiver.
const extensionError = "ExtensionError"

// explain adds an explanation to the error of a subscription that was refused.
func explain(err error, url string) error {
	e, ok := asError(err)
	switch {
	case !ok:
		return err
	case e.Status == http.StatusBadRequest && strings.HasPrefix(url, EventHub) && !strings.EqualFold(e.Code, extensionError):
		return graph.Explain(err, "Microsoft cannot send to the event hub: %s", strings.TrimSpace(cmp.Or(e.Message, e.Code)))
	case e.Status == http.StatusBadRequest && (strings.EqualFold(e.Code, "ValidationError") || strings.Contains(e.Message, "validation request failed")):
		return graph.Explain(err, "Microsoft cannot reach %s, or it is not answered by graph2mqtt: %s", url, strings.TrimSpace(cmp.Or(e.Message, e.Code)))
	case e.Status == http.StatusForbidden:
		return graph.Explain(err, "Microsoft refuses notifications: a permission is missing, or there are too many subscriptions")
	}
	return err
}
