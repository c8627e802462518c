package auth_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/auth"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
	"github.com/graph2mqtt/graph2mqtt/internal/state"
)

const nativeRedirect = "https://login.microsoftonline.com/common/oauth2/nativeclient"

var (
	reading = []string{"Calendars.Read", "MailboxSettings.Read", "User.Read"}
	writing = []string{"Calendars.ReadWrite", "MailboxSettings.ReadWrite", "User.Read"}
)

// environment is the simulated Contoso, a state directory and a log.
type environment struct {
	t   *testing.T
	sim *simulator.Simulator
	dir string
	log *syncBuffer
}

// syncBuffer is a buffer for concurrent use.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func newEnvironment(t *testing.T) *environment {
	t.Helper()
	for _, name := range []string{"GRAPH2MQTT_KEY", "CREDENTIALS_DIRECTORY"} {
		t.Setenv(name, "")
	}
	w := &environment{t: t, sim: simulator.Contoso(simulator.Options{}), dir: t.TempDir(), log: new(syncBuffer)}
	// No token, code or secret may be logged, in any test.
	t.Cleanup(func() {
		for _, secret := range []string{"eyJ0eXAi", "1.AR", "1.AX", "shh-secret"} {
			if strings.Contains(w.log.String(), secret) {
				t.Errorf("the log holds %s…:\n%s", secret, w.log)
			}
		}
	})
	return w
}

// stateDir opens the state directory, as another process would.
func (w *environment) stateDir() *state.Dir {
	w.t.Helper()
	dir, err := state.Open(w.dir, "", slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		w.t.Fatal(err)
	}
	return dir
}

// open opens another session, as another process would.
func (w *environment) open(change ...func(*auth.Options)) *auth.Session {
	w.t.Helper()
	log := slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	dir := w.stateDir()
	o := auth.Options{
		Account: "work", ClientID: simulator.ContosoClient, Login: w.sim.LoginURL(), RedirectURI: nativeRedirect,
		Transport: w.sim.Transport(), Dir: dir, Log: log,
	}
	for _, f := range change {
		f(&o)
	}
	s, err := auth.Open(o)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// visit opens a link as a browser does and returns the address it is redirected to.
func (w *environment) visit(link string) string {
	w.t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, link, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	res, err := w.sim.Transport().RoundTrip(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	to := res.Header.Get("Location")
	if to == "" {
		body, _ := io.ReadAll(res.Body)
		w.t.Fatalf("no redirect from the sign-in page: %s", body)
	}
	return to
}

// signIn signs in with pasted addresses and returns the prompts, too.
func (w *environment) signIn(s *auth.Session, scopes ...[]string) (auth.Result, []auth.Prompt, error) {
	w.t.Helper()
	var prompts []auth.Prompt
	addresses := make(chan string, 1)
	result, err := s.SignInByBrowser(w.t.Context(), auth.Request{Scopes: scopes, OnPrompt: func(p auth.Prompt) {
		prompts = append(prompts, p)
		addresses <- w.visit(p.URL)
	}}, auth.Browser{PastedRedirects: addresses, OnInvalidRedirect: func(err error) { w.t.Errorf("address refused: %v", err) }})
	return result, prompts, err
}

// signedIn returns a session after a sign-in.
func (w *environment) signedIn(scopes ...string) *auth.Session {
	w.t.Helper()
	s := w.open()
	if _, _, err := w.signIn(s, scopes); err != nil {
		w.t.Fatal(err)
	}
	return s
}

// token returns a token and checks that Graph accepts it.
func (w *environment) token(s *auth.Session) string {
	w.t.Helper()
	token, err := s.Token(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	w.accepted(token)
	return token
}

func (w *environment) accepted(token string) {
	w.t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, w.sim.GraphURL()+"/v1.0/me", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	res, err := w.sim.Transport().RoundTrip(r)
	if err != nil {
		w.t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		w.t.Errorf("Graph answers %s to the token", res.Status)
	}
}

// tokens returns the number of requests to the token endpoint.
func (w *environment) tokens() int { return w.sim.Count(http.MethodPost, "/common/oauth2/v2.0/token") }

func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || err.Error() != want {
		t.Errorf("error:\n  %v\nwant:\n  %s", err, want)
	}
}

func wantSignInRequired(t *testing.T, err error, want string) {
	t.Helper()
	wantError(t, err, want)
	if !graph.Is(err, graph.SignInRequired) {
		t.Errorf("the error is no graph.SignInRequired")
	}
}

func wantStatus(t *testing.T, s *auth.Session, state auth.SignInState, message string) {
	t.Helper()
	if got := s.Status(); got.State != state || got.Message != message {
		t.Errorf("status:\n  %s: %s\nwant:\n  %s: %s", got.State, got.Message, state, message)
	}
}

func wantChanged(t *testing.T, s *auth.Session) {
	t.Helper()
	select {
	case <-s.Changed():
	default:
		t.Error("the change was not signaled")
	}
}

// isRetryable reports whether an error is transient.
func isRetryable(err error) bool {
	var e *graph.Error
	return errors.As(err, &e) && e.Retryable()
}
