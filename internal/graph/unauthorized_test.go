package graph_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

// renewals records the calls of Renew. Only the first limit calls return a token.
type renewals struct {
	current int
	limit   int
	calls   []string
}

func (r *renewals) name() string { return fmt.Sprintf("secret-token-%d", r.current) }

func (r *renewals) Token(context.Context) (string, error) { return r.name(), nil }

func (r *renewals) Renew(_ context.Context, rejected, claims string) (string, error) {
	r.calls = append(r.calls, strings.TrimSpace(rejected+" "+claims))
	if len(r.calls) > r.limit {
		return "", &graph.RejectedError{RetryAfter: 7 * time.Second}
	}
	r.current++
	return r.name(), nil
}

func (r *renewals) Granted() []string { return nil }

func (r *renewals) Personal() bool { return false }

func TestClaimsChallengeIsPassedOn(t *testing.T) {
	const claims = `{"access_token":{"acrs":{"essential":true,"value":"c1?>"}}}`
	for name, challenge := range map[string]string{
		"padded":   `Bearer realm="", error="insufficient_claims", claims="` + base64.StdEncoding.EncodeToString([]byte(claims)) + `"`,
		"unpadded": `Bearer claims="` + base64.RawURLEncoding.EncodeToString([]byte(claims)) + `", realm=""`,
	} {
		t.Run(name, func(t *testing.T) {
			tokens := &renewals{limit: 9}
			srv := func(w http.ResponseWriter, r *http.Request) {
				switch r.Header.Get("Authorization") {
				case "Bearer secret-token-0":
					w.WriteHeader(http.StatusUnauthorized)
				case "Bearer secret-token-1":
					w.Header().Set("WWW-Authenticate", challenge)
					w.WriteHeader(http.StatusUnauthorized)
				}
			}
			_, server := serve(t, srv)
			c := client(t, graph.Options{Root: server.URL, Tokens: tokens})
			if err := c.Do(t.Context(), "write", write(t, c), nil); err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff([]string{"secret-token-0", "secret-token-1 " + claims}, tokens.calls); diff != "" {
				t.Errorf("renewals (-want +got):\n%s", diff)
			}
		})
	}
}

func TestInvalidClaimsChallenge(t *testing.T) {
	for _, claims := range []string{"!", "bm8=", "W10=", "bnVsbA=="} {
		tokens := &renewals{limit: 1}
		_, server := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("WWW-Authenticate", `Bearer claims="`+claims+`"`)
			w.WriteHeader(http.StatusUnauthorized)
		})
		c := client(t, graph.Options{Root: server.URL, Tokens: tokens})
		if err := c.Do(t.Context(), "read", read(t, c), nil); !graph.IsUnauthorized(err) {
			t.Errorf("claims %s: %v", claims, err)
		}
		if diff := cmp.Diff([]string{"secret-token-0", "secret-token-1"}, tokens.calls); diff != "" {
			t.Errorf("claims %s: renewals (-want +got):\n%s", claims, diff)
		}
	}
}

// A lasting 401 is an error with a pause. The rejected token is not sent again to that path, and other paths use it.
func TestLastingUnauthorized(t *testing.T) {
	tokens := &renewals{limit: 1}
	var asked []string
	rejecting := true
	_, server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, fmt.Sprintf("%s %s", r.URL.Path, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer secret-token-")))
		if rejecting && strings.HasSuffix(r.URL.Path, "/mailboxSettings") {
			w.WriteHeader(http.StatusUnauthorized)
			io.WriteString(w, `{"error": {"code": "InvalidAuthenticationToken", "message": "Access token validation failure."}}`)
		}
	})
	c := client(t, graph.Options{Root: server.URL, Tokens: tokens})
	const message = "read: Microsoft Graph refuses the sign-in (401 InvalidAuthenticationToken) although it was just renewed: Access token validation failure."
	want := graph.Error{Reason: graph.Refused, Status: 401, Code: "InvalidAuthenticationToken", RetryAfter: 7 * time.Second}
	wants(t, c.Do(t.Context(), "read", read(t, c), nil), message, want)
	wants(t, c.Do(t.Context(), "read", read(t, c), nil), message, want)
	if err := c.Do(t.Context(), "write", write(t, c), nil); err != nil {
		t.Errorf("another path: %v", err)
	}
	if diff := cmp.Diff([]string{"/v1.0/me/mailboxSettings 0", "/v1.0/me/mailboxSettings 1", "/v1.0/me/events 1"}, asked); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}

	asked, rejecting, tokens.limit = nil, false, 99
	for range 2 {
		if err := c.Do(t.Context(), "read", read(t, c), nil); err != nil && !strings.HasSuffix(err.Error(), "the answer is empty") {
			t.Errorf("once Graph accepts it: %v", err)
		}
	}
	if diff := cmp.Diff([]string{"/v1.0/me/mailboxSettings 2", "/v1.0/me/mailboxSettings 2"}, asked); diff != "" {
		t.Errorf("requests once Graph accepts it (-want +got):\n%s", diff)
	}
}
