package subscriptions

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

// The lifecycle events.
//
// https://learn.microsoft.com/graph/change-notifications-lifecycle-events
const (
	ReauthorizationRequired = "reauthorizationRequired" // renew it, or nothing is sent any more
	SubscriptionRemoved     = "subscriptionRemoved"     // create it again, and read
	Missed                  = "missed"                  // notifications were lost: read
)

// A Notification announces a change of a subscription's resource, or something about the subscription.
type Notification struct {
	SubscriptionID string `json:"subscriptionId"`
	ClientState    string `json:"clientState"`
	Lifecycle      string `json:"lifecycleEvent"` // "": a change
}

// An UnrecordedError is returned if some of several notifications are not recorded, by a function that has logged why. It does not mean that
// later notifications cannot be recorded.
type UnrecordedError struct {
	Rest []Notification
	Err  error
}

func (e *UnrecordedError) Error() string { return e.Err.Error() }

// Unwrap returns the reason.
func (e *UnrecordedError) Unwrap() error { return e.Err }

// MaxNotifications bounds the notifications of one request.
const MaxNotifications = 1000

// ErrTooMany is returned for a request with more notifications.
var ErrTooMany = fmt.Errorf("more than %d notifications in one request", MaxNotifications)

// Parse decodes the notifications of one request. It reads them one at a time and drops everything else that they contain.
func Parse(r io.Reader) ([]Notification, error) {
	d := json.NewDecoder(r)
	errForm := errors.New("want a JSON object with a list of notifications in value")
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, readError(err, errForm)
	}
	var all []Notification
	found := false
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, readError(err, errForm)
		}
		if key != "value" {
			var ignored json.RawMessage
			if err := d.Decode(&ignored); err != nil {
				return nil, readError(err, errForm)
			}
			continue
		}
		if t, err := d.Token(); err != nil || t != json.Delim('[') || found {
			return nil, readError(err, errForm)
		}
		found = true
		for d.More() {
			var n Notification
			if err := d.Decode(&n); err != nil {
				return nil, readError(err, errForm)
			}
			if all = append(all, n); len(all) > MaxNotifications {
				return nil, ErrTooMany
			}
		}
		if _, err := d.Token(); err != nil {
			return nil, readError(err, errForm)
		}
	}
	if _, err := d.Token(); err != nil || !found {
		return nil, readError(err, errForm)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, readError(err, errForm)
	}
	return all, nil
}

// readError returns err if the body could not be read, and otherwise form, which does not repeat what a stranger sent.
func readError(err, form error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	if err == nil || errors.As(err, &syntax) || errors.As(err, &kind) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return form
	}
	return err
}

func asError(err error) (*graph.Error, bool) {
	var e *graph.Error
	return e, errors.As(err, &e)
}
