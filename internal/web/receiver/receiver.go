// Package receiver answers the requests with which Microsoft Graph announces changes.
//
// https://learn.microsoft.com/graph/change-notifications-delivery-webhooks
package receiver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph/subscriptions"
)

const (
	// readTimeout bounds the reading of a body, and recordTimeout what follows: Graph drops notifications to an address that often takes
	// longer than 3 s to answer.
	readTimeout   = 10 * time.Second
	recordTimeout = 2 * time.Second
	// maxToken is the length of the longest validation token that is answered.
	maxToken = 4 << 10
)

// Options configure a Receiver.
type Options struct {
	// Notify takes notifications, which are sent by anybody. It returns when they are on disk; with an error all are sent again, also with a
	// *subscriptions.UnrecordedError.
	Notify func(context.Context, []subscriptions.Notification) error
	Log    *slog.Logger
}

// A Receiver is the handler of the address of notifications.
type Receiver struct {
	options Options
	failing atomic.Bool // the last notifications were not recorded
	trying  atomic.Bool // one request tries whether they can be recorded again
}

// New returns a receiver.
func New(o Options) *Receiver { return &Receiver{options: o} }

// ServeHTTP implements http.Handler.
func (h *Receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		answer(w, http.StatusMethodNotAllowed, "use POST")
		return
	}
	if query := r.URL.Query(); query.Has("validationToken") {
		validate(w, query.Get("validationToken"))
		return
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(readTimeout)) // a test may have no connection
	all, err := subscriptions.Parse(r.Body)
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		answer(w, http.StatusRequestEntityTooLarge, "the body is too large")
		return
	}
	if errors.Is(err, subscriptions.ErrTooMany) {
		answer(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("want at most %d notifications in one request", subscriptions.MaxNotifications))
		return
	}
	if err != nil {
		h.options.Log.Debug("notifications refused", "error", err)
		answer(w, http.StatusBadRequest, "want notifications of Microsoft Graph as JSON")
		return
	}
	if !h.record(r.Context(), all) {
		answer(w, http.StatusServiceUnavailable, "try again")
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

// record passes notifications on and reports whether they are recorded. While they cannot be, one request at a time tries it, so that
// all others are answered at once, however many come.
func (h *Receiver) record(ctx context.Context, all []subscriptions.Notification) bool {
	if h.failing.Load() {
		if !h.trying.CompareAndSwap(false, true) {
			return false
		}
		defer h.trying.Store(false)
	}
	ctx, cancel := context.WithTimeout(ctx, recordTimeout)
	defer cancel()
	err := h.options.Notify(ctx, all)
	switch unrecorded := (*subscriptions.UnrecordedError)(nil); {
	case errors.As(err, &unrecorded):
	case err != nil && !h.failing.Swap(true):
		h.options.Log.Warn("notifications not recorded", "error", err)
	case err == nil && h.failing.Swap(false):
		h.options.Log.Info("notifications recorded again")
	}
	return err == nil
}

// validate answers the request with which Graph makes sure that the address wants notifications.
func validate(w http.ResponseWriter, token string) {
	if token == "" || len(token) > maxToken {
		answer(w, http.StatusBadRequest, "want a validationToken")
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte(token)) // who asked may be gone
}

func answer(w http.ResponseWriter, code int, message string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	_, _ = w.Write([]byte(message + "\n"))
}
