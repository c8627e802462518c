package auth

import (
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

// The pause between renewals of tokens that Graph keeps rejecting doubles from firstRejectionPause to maxRejectionPause.
const (
	firstRejectionPause = 2 * time.Second
	maxRejectionPause   = time.Minute
)

// rejection delays renewals while Graph rejects renewed tokens, too.
type rejection struct {
	token   string // obtained because Graph rejected another one
	claims  string // it was requested with
	pause   time.Duration
	retryAt time.Time // zero until token is rejected
}

// renewed records a token that replaces a rejected one.
func (r *rejection) renewed(token, claims string) {
	r.token, r.claims, r.retryAt = token, claims, time.Time{}
}

// check returns an error while a rejected token must not be renewed.
func (r *rejection) check(rejected, claims string) error {
	switch {
	case rejected != r.token: // it was accepted at first
		*r = rejection{}
		return nil
	case claims != "" && claims != r.claims: // Graph asks for more than the token has
		return nil
	}
	if r.retryAt.IsZero() {
		r.pause = min(max(2*r.pause, firstRejectionPause), maxRejectionPause)
		r.retryAt = time.Now().Add(r.pause)
	}
	if wait := time.Until(r.retryAt); wait > 0 {
		return &graph.RejectedError{RetryAfter: wait}
	}
	return nil
}
