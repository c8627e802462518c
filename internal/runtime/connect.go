package runtime

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/auth"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/directory"
	"github.com/graph2mqtt/graph2mqtt/internal/state"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// OpenSession opens the sign-in of an account, without network requests. A file of the configuration that cannot be used is not an
// error but the state of the sign-in.
func OpenSession(c *config.Account, dir *state.Dir, log *slog.Logger) (*auth.Session, error) {
	return openSession(c, new(transports), dir, log)
}

func openSession(c *config.Account, t *transports, dir *state.Dir, log *slog.Logger) (*auth.Session, error) {
	o := signInOptions(c, t)
	o.Dir, o.Log = dir, log
	return auth.Open(o)
}

// OpenApplication opens the session of an organization, without network requests.
func OpenApplication(c *config.Account, log *slog.Logger) (*auth.Application, error) {
	return openApplication(c, new(transports), log)
}

func openApplication(c *config.Account, t *transports, log *slog.Logger) (*auth.Application, error) {
	transport, err := t.of(c)
	o := auth.ApplicationOptions{
		Account: c.ID, ClientID: c.ClientID, Tenant: c.Tenant, Login: c.Cloud.Login, Audience: c.Cloud.Audience, Unusable: err, Transport: transport, Log: log,
	}
	if c.FederatedTokenFile != "" {
		o.CredentialKey = c.Path() + ".federated_token_file"
		o.Assertion = func() (string, error) {
			b, err := readCredential(o.CredentialKey, c.FederatedTokenFile)
			return strings.TrimSpace(string(b)), err
		}
	} else {
		o.CredentialKey = c.Path() + ".certificate_file"
		o.Certificate = func() ([]byte, error) { return readCredential(o.CredentialKey, c.CertificateFile) }
	}
	return auth.OpenApplication(o)
}

// readCredential reads the file that a key of the configuration names.
func readCredential(key, file string) ([]byte, error) {
	b, err := config.ReadPEM(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return b, nil
}

// OpenGraph returns the Graph client of an account, without network requests.
func OpenGraph(c *config.Account, session graph.Tokens, log *slog.Logger) (*graph.Client, error) {
	return openGraph(c, new(transports), graph.Options{Tokens: session, Log: log})
}

// openGraph completes the options of a client by the configuration of its account.
func openGraph(c *config.Account, t *transports, o graph.Options) (*graph.Client, error) {
	o.Transport, _ = t.of(c) // the session reports the error
	o.Root, o.ClientID, o.Application = c.Cloud.Graph, c.ClientID, c.Application
	g, err := graph.New(o)
	if err != nil {
		return nil, fmt.Errorf("account %s: %w", c.ID, err)
	}
	return g, nil
}

// signInOptions returns the options of an account's session, without its state directory and log.
func signInOptions(c *config.Account, t *transports) auth.Options {
	transport, err := t.of(c)
	o := auth.Options{
		Unusable: err,
		Account:  c.ID, User: c.User, ClientID: c.ClientID, Tenant: c.Tenant, Login: c.Cloud.Login, Audience: c.Cloud.Audience,
		RedirectURI: c.RedirectURI, ClientSecret: c.ClientSecret.Reveal(), Transport: transport,
	}
	o.Mail = func(ctx context.Context, token string) (string, error) {
		g, err := openGraph(c, t, graph.Options{Tokens: newToken(token)})
		if err != nil {
			return "", err
		}
		u, err := directory.SignedIn(ctx, g)
		return u.Address, err
	}
	if c.CertificateFile != "" {
		o.CredentialKey = c.Path() + ".certificate_file"
		o.Certificate, err = readCredential(o.CredentialKey, c.CertificateFile)
		if o.Unusable == nil {
			o.Unusable = err
		}
	}
	return o
}

// A newToken is the token of a sign-in that is not stored yet. It implements graph.Tokens.
type newToken string

// Token implements graph.Tokens.
func (t newToken) Token(context.Context) (string, error) { return string(t), nil }

// Renew implements graph.Tokens.
func (newToken) Renew(context.Context, string, string) (string, error) {
	return "", &graph.Error{Reason: graph.SignInRequired, Message: "Graph rejected the new token"}
}

// Personal implements graph.Tokens.
func (newToken) Personal() bool { return false }

// Granted implements graph.Tokens.
func (newToken) Granted() []string { return nil }

// transports holds one transport for all accounts whose servers are verified by the same certificates.
type transports struct {
	fixed http.RoundTripper // nil: none; for tests
	guard services.Guard    // nil: none

	mu    sync.Mutex
	byPEM map[[sha256.Size]byte]http.RoundTripper
}

// of returns the transport of an account for Entra ID and Graph. With an error it refuses every request.
func (t *transports) of(c *config.Account) (http.RoundTripper, error) {
	transport, err := t.unguarded(c)
	if t.guard != nil {
		transport = guardedTransport{transport, t.guard}
	}
	return transport, err
}

func (t *transports) unguarded(c *config.Account) (http.RoundTripper, error) {
	if t.fixed != nil {
		return t.fixed, nil
	}
	var pem []byte
	if c.Cloud.CAFile != "" {
		var err error
		if pem, err = config.ReadPEM(c.Cloud.CAFile); err != nil {
			err = fmt.Errorf("%s.cloud.ca_file: %w", c.Path(), err)
			return refusingTransport{err}, err
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	key := sha256.Sum256(pem)
	if existing, ok := t.byPEM[key]; ok {
		return existing, nil
	}
	transport := graph.NewTransport()
	if c.Cloud.CAFile != "" {
		pool, err := config.ParseCertPool(pem)
		if err != nil {
			err = fmt.Errorf("%s.cloud.ca_file: read %s: %w", c.Path(), c.Cloud.CAFile, err)
			return refusingTransport{err}, err
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool}
	}
	if t.byPEM == nil {
		t.byPEM = map[[sha256.Size]byte]http.RoundTripper{}
	}
	t.byPEM[key] = transport
	return transport, nil
}

// limiters holds one limiter for all organizations with the same application in the same tenant.
type limiters struct {
	mu       sync.Mutex
	limiters map[string]*graph.Limiter
}

// of returns the limiter of an organization.
func (l *limiters) of(c *config.Account, log *slog.Logger) *graph.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := strings.ToLower(c.Cloud.Login + " " + c.Tenant + " " + c.ClientID)
	if l.limiters == nil {
		l.limiters = map[string]*graph.Limiter{}
	}
	if l.limiters[key] == nil {
		l.limiters[key] = graph.NewLimiter(log)
	}
	return l.limiters[key]
}

// close closes the idle connections.
func (t *transports) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, transport := range t.byPEM {
		(&http.Client{Transport: transport}).CloseIdleConnections()
	}
}

// A guardedTransport sends requests while they are permitted, and cancels those that are under way when the permission ends.
type guardedTransport struct {
	next  http.RoundTripper
	guard services.Guard
}

// RoundTrip implements http.RoundTripper.
func (t guardedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	permitted := t.guard.Context()
	ctx, cancel := context.WithCancelCause(r.Context())
	stop := context.AfterFunc(permitted, func() { cancel(context.Cause(permitted)) })
	end := func() { stop(); cancel(nil) }
	// The context of a process that was paused may not be done yet.
	if err := t.guard.Err(); err != nil {
		end()
		if r.Body != nil {
			_ = r.Body.Close()
		}
		return nil, err
	}
	response, err := t.next.RoundTrip(r.WithContext(ctx))
	if err != nil {
		end()
		return nil, err
	}
	response.Body = guardedBody{response.Body, end}
	return response, nil
}

// CloseIdleConnections closes those of the transport below.
func (t guardedTransport) CloseIdleConnections() {
	(&http.Client{Transport: t.next}).CloseIdleConnections()
}

type guardedBody struct {
	io.ReadCloser
	end func()
}

func (b guardedBody) Close() error {
	defer b.end()
	return b.ReadCloser.Close()
}

// A refusingTransport fails every request.
type refusingTransport struct{ err error }

// RoundTrip implements http.RoundTripper.
func (t refusingTransport) RoundTrip(*http.Request) (*http.Response, error) { return nil, t.err }
