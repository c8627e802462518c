package graph

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"

	abstractions "github.com/microsoft/kiota-abstractions-go"
)

// RejectedError is returned by Tokens.Renew when Graph rejects tokens that were just renewed.
type RejectedError struct {
	RetryAfter time.Duration // until the next renewal
}

func (e *RejectedError) Error() string {
	return fmt.Sprintf("Microsoft Graph refuses the sign-in although it was just renewed; the next attempt is in %s", e.RetryAfter.Round(time.Second))
}

// IsUnauthorized reports whether Graph refused the request with 401 although the token was just renewed.
func IsUnauthorized(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Status == http.StatusUnauthorized
}

// maxTokens bounds the tokens that one request is sent with: the current one, a renewed one, and one with the claims that Graph asks
// for.
const maxTokens = 3

// sendAuthorized sends a request with a token that was not rejected for this path. It renews a rejected token and sends the request
// again. If no other token is to be had, the answer is the last rejection.
func (c *Client) sendAuthorized(ctx context.Context, path string, r *abstractions.RequestInformation, a *answer) (err error) {
	if a.token, err = c.tokens.Token(ctx); err != nil {
		return err
	}
	rejected := c.rejections.get(path)
	for range maxTokens {
		if rejected != nil && rejected.token == a.token {
			var again *RejectedError
			a.token, err = c.tokens.Renew(ctx, rejected.token, rejected.claims)
			switch {
			case errors.As(err, &again):
				a.status, a.header, a.body, a.complete, a.wait = http.StatusUnauthorized, rejected.header, rejected.body, true, again.RetryAfter
				return nil
			case err != nil:
				return err
			}
		}
		err = c.adapter.SendNoContent(ctx, r, nil)
		if a.status != http.StatusUnauthorized {
			if a.status != 0 {
				c.rejections.remove(path)
			}
			return err
		}
		rejected = &rejection{token: a.token, claims: a.claims, header: a.header}
		if len(a.body) <= maxRejectionBody {
			rejected.body = a.body
		}
		c.rejections.set(path, rejected)
		a.status, a.header, a.body, a.complete = 0, nil, nil, false
		a.sent.Store(false)
	}
	a.status, a.header, a.body, a.complete = http.StatusUnauthorized, rejected.header, rejected.body, true
	return nil
}

// rejection is an answer of 401.
type rejection struct {
	token  string
	claims string
	header http.Header
	body   []byte
}

const (
	maxRejections    = 100
	maxRejectionBody = 4 << 10
)

// rejections holds the last rejection of each path that Graph answers with 401. Other paths may accept the same token.
type rejections struct {
	mu     sync.Mutex
	byPath map[string]*rejection
}

func (r *rejections) get(path string) *rejection {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.byPath[path]
}

func (r *rejections) set(path string, rejected *rejection) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byPath == nil || len(r.byPath) >= maxRejections {
		r.byPath = map[string]*rejection{}
	}
	r.byPath[path] = rejected
}

func (r *rejections) remove(path string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.byPath, path)
}

// claimsChallenge returns the claims that Graph wants in a token, as JSON, or "".
//
// https://learn.microsoft.com/entra/identity-platform/claims-challenge
func claimsChallenge(h http.Header) string {
	for _, challenge := range h.Values("WWW-Authenticate") {
		m := claimsParameter.FindStringSubmatch(challenge)
		if m == nil {
			continue
		}
		encoded := strings.NewReplacer("-", "+", "_", "/", "=", "").Replace(m[1])
		claims, err := base64.RawStdEncoding.DecodeString(encoded)
		var object map[string]any
		if err == nil && json.Unmarshal(claims, &object) == nil && object != nil {
			return string(claims)
		}
	}
	return ""
}

var claimsParameter = regexp.MustCompile(`(?i)\bclaims="([^"]+)"`)
