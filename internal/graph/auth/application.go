package auth

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/confidential"
	"golang.org/x/sync/semaphore"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

// credentialRetry is the time after which a refused application tries again: its certificate may have been replaced or registered
// meanwhile.
const credentialRetry = time.Minute

// ApplicationOptions configure the session of an application. Account, ClientID, Tenant and one of Certificate and Assertion are
// required.
type ApplicationOptions struct {
	Account  string // key in the configuration
	ClientID string
	Tenant   string // id or domain
	Login    string // root of Entra ID, without tenant
	Audience string // resource of the permissions

	// Certificate returns certificate and private key in PEM. It is called for each token, so that they can be replaced at any time.
	Certificate func() ([]byte, error)
	// Assertion returns the token of a workload that the app registration trusts. It is called as Certificate.
	Assertion func() (string, error)
	// CredentialKey is the configuration key of the one or the other, for messages.
	CredentialKey string

	Unusable  error             // as in Options
	Transport http.RoundTripper // nil selects http.DefaultTransport
	Log       *slog.Logger
}

// Application is the session of an application that signs in by itself, without a user. Nothing of it is stored. It is safe for
// concurrent use.
type Application struct {
	o       ApplicationOptions
	base    Options             // of messages and addresses
	renewal *semaphore.Weighted // held while a token is requested
	changed chan struct{}
	wake    chan struct{} // a refusal is to be retried

	mu        sync.Mutex
	token     *storedSession // of the current token only access token and times; nil: none
	roles     []string       // of the current token
	granted   []string       // as Granted returns them, for the token; nil: not known yet
	opaque    bool           // the current token does not show its roles
	refused   string         // why the last request was refused; "" unless it was
	failure   error          // of the last request
	retryAt   time.Time      // earliest next request after failure
	rejection rejection
}

// OpenApplication returns the session of an application, without network requests.
func OpenApplication(o ApplicationOptions) (*Application, error) {
	base, err := Options{
		Account: o.Account, ClientID: o.ClientID, Tenant: o.Tenant, Login: o.Login, Audience: o.Audience, Certificate: []byte{0}, CredentialKey: o.CredentialKey,
		Transport: o.Transport, Log: o.Log,
	}.withDefaults()
	if err != nil {
		return nil, err
	}
	a := &Application{o: o, base: base, renewal: semaphore.NewWeighted(1), changed: make(chan struct{}, 1), wake: make(chan struct{}, 1)}
	if _, err := a.credential(); err != nil {
		a.refused, a.failure, a.retryAt = err.Error(), &graph.Error{Reason: graph.SignInRequired, Message: err.Error()}, time.Now().Add(credentialRetry)
		a.wake <- struct{}{}
	}
	return a, nil
}

// credential returns the credential as it is now.
func (a *Application) credential() (confidential.Credential, error) {
	switch {
	case a.o.Unusable != nil:
		return confidential.Credential{}, a.o.Unusable
	case a.o.Assertion != nil:
		assertion, err := a.o.Assertion()
		if err != nil {
			return confidential.Credential{}, err
		}
		return confidential.NewCredFromAssertionCallback(func(context.Context, confidential.AssertionRequestOptions) (string, error) { return assertion, nil }), nil
	}
	certificate, err := a.o.Certificate()
	if err != nil {
		return confidential.Credential{}, err
	}
	o := a.base
	o.Certificate = certificate
	return credentialOf(o)
}

// Token returns an access token that is valid for some more minutes. Concurrent calls share one request. The error is a *graph.Error.
func (a *Application) Token(ctx context.Context) (string, error) { return a.get(ctx, "", "") }

// Renew returns an access token other than the one that Graph rejected; see [Session.Renew].
func (a *Application) Renew(ctx context.Context, rejected, claims string) (string, error) {
	return a.get(ctx, rejected, claims)
}

func (a *Application) get(ctx context.Context, rejected, claims string) (string, error) {
	if token, _, ok := a.current(rejected); ok {
		return token, nil
	}
	if err := a.renewal.Acquire(ctx, 1); err != nil {
		return "", transientError(a.op(), err)
	}
	defer a.renewal.Release(1)
	token, stale, ok := a.current(rejected)
	if ok {
		return token, nil
	}
	a.mu.Lock()
	var err error
	if a.failure != nil && time.Now().Before(a.retryAt) {
		err = a.failure
	} else if rejected != "" {
		err = a.rejection.check(rejected, claims)
	}
	a.mu.Unlock()
	if err == nil {
		token, err = a.request(ctx, claims)
		if rejected != "" {
			a.mu.Lock()
			if err == nil {
				a.rejection.renewed(token, claims)
			} else if graph.Is(err, graph.SignInRequired) && a.token != nil && a.token.Access == rejected {
				a.token.Expires = time.Time{} // otherwise the retry would find a valid token and request none
			}
			a.mu.Unlock()
		}
	}
	if err != nil && stale != "" { // better than none
		return stale, nil
	}
	return token, err
}

// current returns the current token if it is good for some more minutes, and stale if it has not expired, unless it was rejected.
func (a *Application) current(rejected string) (token, stale string, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	if a.token == nil || a.token.Access == rejected || !now.Before(a.token.Expires) {
		return "", "", false
	}
	return a.token.Access, a.token.Access, a.token.isFresh(now)
}

func (a *Application) op() string { return "sign in as the application of " + a.o.Account }

// request requests a token with the credential as it is now. The caller holds the semaphore.
func (a *Application) request(ctx context.Context, claims string) (string, error) {
	token, expires, err := a.exchange(ctx, claims)
	a.mu.Lock()
	defer a.mu.Unlock()
	before := a.refused
	a.refused, a.failure = "", nil
	var refusal *oauthError
	switch {
	case err == nil:
		a.token = &storedSession{Access: token, Expires: expires, Renewed: time.Now()}
		a.roles, a.opaque = rolesOf(token)
		a.granted = nil
	case errors.As(err, &refusal) && !refusal.isTransient():
		a.refuse(refusal.explain(a.base, false), refusal.code())
	case errors.As(err, new(*credentialError)):
		a.refuse(err.Error(), "")
	case ctx.Err() == nil:
		e := transientError(a.op(), err)
		a.refused, a.failure, a.retryAt = before, e, time.Now().Add(max(retryBackoff, e.RetryAfter))
	default:
		a.refused = before
		return "", transientError(a.op(), err)
	}
	if a.refused != before {
		if a.refused != "" {
			a.base.Log.Warn("sign-in of the application refused", "account", a.o.Account, "reason", a.refused)
		}
		signal(a.changed)
	}
	if a.refused != "" {
		signal(a.wake)
	}
	return token, a.failure
}

// refuse records why a request was refused. The caller holds mu.
func (a *Application) refuse(why, code string) {
	a.refused, a.retryAt = why, time.Now().Add(credentialRetry)
	a.failure = &graph.Error{Reason: graph.SignInRequired, Message: why, Code: code}
}

// A credentialError is the reason why the credential cannot be used.
type credentialError struct{ error }

// exchange sends the request for a token. A client of MSAL is made for each one, so that it has the newest credential and no cache.
func (a *Application) exchange(ctx context.Context, claims string) (token string, expires time.Time, err error) {
	credential, err := a.credential()
	if err != nil {
		return "", time.Time{}, &credentialError{err}
	}
	web := &http.Client{
		Transport: recorder{a.base.Transport}, Timeout: requestTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	client, err := confidential.New(a.base.Login+"/"+a.base.Tenant, a.base.ClientID, credential, confidential.WithHTTPClient(web), confidential.WithInstanceDiscovery(false))
	if err != nil {
		return "", time.Time{}, &credentialError{err}
	}
	ctx, ex := withExchange(ctx)
	r, err := client.AcquireTokenByCredential(ctx, []string{a.base.Audience + "/.default"}, confidential.WithClaims(claims))
	return r.AccessToken, r.ExpiresOn, ex.error(err)
}

// rolesOf returns the application permissions in a token. Those that Exchange assigns are in none.
func rolesOf(token string) (roles []string, opaque bool) {
	_, rest, _ := strings.Cut(token, ".")
	payload, _, _ := strings.Cut(rest, ".")
	plain, err := base64.RawURLEncoding.DecodeString(payload)
	var claims struct {
		Roles []string `json:"roles"`
	}
	if err != nil || json.Unmarshal(plain, &claims) != nil {
		return nil, true
	}
	slices.Sort(claims.Roles)
	return claims.Roles, false
}

// Personal implements graph.Tokens.
func (a *Application) Personal() bool { return false }

// Granted returns the application permissions that the token has, and those that Exchange may have assigned for some mailboxes, which
// only a request shows. Before the first token everything may be granted.
func (a *Application) Granted() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.granted != nil {
		return a.granted
	}
	granted := graph.ExchangeRoles()
	if a.token == nil || a.opaque {
		granted = append(granted, graph.DirectoryRoles()...)
	} else {
		granted = append(granted, a.roles...)
	}
	slices.Sort(granted)
	a.granted = slices.Clip(slices.Compact(granted))
	return a.granted
}

// HasToken reports whether a token was received since the start.
func (a *Application) HasToken() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.token != nil
}

// Status returns the state of the session. Granted are the permissions in the token alone.
func (a *Application) Status() Status {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := Status{State: SignedIn, Granted: slices.Clone(a.roles)}
	if a.refused != "" {
		s.State, s.Message = SignInRequired, a.refused
	}
	return s
}

// Changed returns a channel that receives after the session was refused, or accepted again. Changes may be merged.
func (a *Application) Changed() <-chan struct{} { return a.changed }

// Reload does nothing: the credential is read for each token.
func (a *Application) Reload() {}

// Run retries refused requests until ctx is done. It returns nil.
func (a *Application) Run(ctx context.Context) error {
	for {
		a.mu.Lock()
		refused, at := a.refused != "", a.retryAt
		a.mu.Unlock()
		wait := maxRetryWait
		if refused {
			wait = max(time.Until(at), minRetryWait)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-a.wake:
		case <-timer.C:
			if refused {
				_, _ = a.Token(ctx) // Status reports the outcome
			}
		}
		timer.Stop()
	}
}

// RetryRefused retries a refused request now. It does nothing if none was refused.
func (a *Application) RetryRefused(ctx context.Context) error {
	a.mu.Lock()
	refused := a.refused != ""
	if refused {
		a.retryAt = time.Time{}
	}
	a.mu.Unlock()
	if !refused {
		return nil
	}
	_, err := a.Token(ctx)
	return err
}

// signal wakes the receiver of a channel with room for one value.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
