package graph

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
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
// again. If no other token is available, the answer is the last rejection. The answer is never nil.
func (c *Client) sendAuthorized(ctx context.Context, r *abstractions.RequestInformation, uri *url.URL, read readAnswer) (*answer, error) {
	token, err := c.tokens.Token(ctx)
	if err != nil {
		return new(answer), err
	}
	last := c.rejections.get(uri.Path)
	for range maxTokens {
		if last != nil && last.token == token {
			var again *RejectedError
			token, err = c.tokens.Renew(ctx, last.token, last.claims)
			switch {
			case errors.As(err, &again):
				return last.answer(again.RetryAfter), nil
			case err != nil:
				return new(answer), err
			}
		}
		a, err := c.exchange(ctx, r, uri, token, read)
		if a.status != http.StatusUnauthorized {
			if a.status != 0 {
				c.rejections.remove(uri.Path)
			}
			return a, err
		}
		last = &rejection{token: token, claims: claimsChallenge(a.header), header: a.header}
		if len(a.body) <= maxRejectionBody {
			last.body = a.body
		}
		c.rejections.set(uri.Path, last)
	}
	return last.answer(0), nil
}

// rejection is an answer of 401.
type rejection struct {
	token  string
	claims string
	header http.Header
	body   []byte
}

// answer returns the rejection as the answer to another request, which was not sent.
func (r *rejection) answer(wait time.Duration) *answer {
	return &answer{status: http.StatusUnauthorized, header: r.header, body: r.body, complete: true, wait: wait}
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
