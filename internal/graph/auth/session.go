// Package auth signs accounts in to Microsoft Entra ID and renews their tokens. No other package imports MSAL.
package auth

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/entra"
	"github.com/graph2mqtt/graph2mqtt/internal/state"
)

// Defaults of Options: a multitenant registration for all kinds of accounts in the global cloud.
const (
	DefaultLogin       = "https://login.microsoftonline.com"
	DefaultAudience    = "https://graph.microsoft.com"
	DefaultTenant      = "common"
	DefaultRedirectURI = "http://localhost"
)

const (
	// renewBefore is the remaining lifetime at which a token is renewed, so that it does not expire in transit.
	renewBefore = 5 * time.Minute

	// retryBackoff is the minimum delay after a failed renewal.
	retryBackoff = 10 * time.Second

	// refusalTTL is the age at which a refused renewal is retried: policies and accounts change.
	refusalTTL = time.Hour

	// refreshTokenLifetime is the time after which an unused sign-in expires.
	// See https://learn.microsoft.com/entra/identity-platform/refresh-tokens.
	refreshTokenLifetime = 90 * 24 * time.Hour

	// minRetryWait separates retries of refusals. maxRetryWait bounds the wait for one, because a timer does not run while the machine
	// sleeps.
	minRetryWait = time.Second
	maxRetryWait = 5 * time.Minute
)

// Options configures the session of one account. Account, ClientID and Dir are required.
type Options struct {
	Account     string // key in the configuration
	User        string // address or id of the only user to accept; "" accepts the user who signs in first
	ClientID    string
	Tenant      string // "common", "organizations", "consumers", a tenant id or domain
	Login       string // root of Entra ID, without tenant
	Audience    string // resource of the scopes
	RedirectURI string // as registered; http://localhost matches every port

	// ClientSecret or Certificate (certificate and private key in PEM) make it a confidential client, as registrations of the
	// platform Web require.
	ClientSecret string
	Certificate  []byte

	// CredentialKey is the configuration key of the secret or certificate, for messages; "" selects client_secret or certificate_file.
	CredentialKey string

	// Unusable is the reason why the configuration cannot be used, such as an unreadable file. The session reports it as its state.
	Unusable error

	// Mail returns the mail address of the user of an access token. It is asked if an address in User is not the one that the user signs
	// in with. Nil: only that one is known.
	Mail func(ctx context.Context, token string) (string, error)

	Transport http.RoundTripper // nil selects http.DefaultTransport
	Dir       *state.Dir
	Log       *slog.Logger
}

func (o Options) confidential() bool { return o.ClientSecret != "" || len(o.Certificate) > 0 }

// credentialKey returns the configuration key of the secret or certificate.
func (o Options) credentialKey() string {
	switch {
	case o.CredentialKey != "":
		return o.CredentialKey
	case len(o.Certificate) > 0:
		return "certificate_file"
	}
	return "client_secret (or client_secret_file)"
}

// fingerprint identifies the registration, its tenant and its credential.
func (o Options) fingerprint() string {
	h := sha256.New()
	for _, part := range [][]byte{[]byte(o.Login), []byte(o.Tenant), []byte(o.ClientID), []byte(o.ClientSecret), o.Certificate} {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// platform returns the platform of Entra ID under which the redirect address must be registered.
func (o Options) platform() string {
	if o.confidential() {
		return "Web"
	}
	return "Mobile and desktop applications"
}

// SignInState is the state of a sign-in.
type SignInState string

// States, as published over MQTT.
const (
	SignedIn       SignInState = "signed_in"
	SignedOut      SignInState = "signed_out"
	SignInRequired SignInState = "sign_in_required" // Microsoft requires the user to sign in again
	Unreadable     SignInState = "unreadable"       // the stored sign-in cannot be read
)

// User is a signed-in user.
type User struct {
	ID       string `json:"id"`             // object id in the tenant
	Address  string `json:"address"`        // user principal name or email address, with which the user signs in
	Mail     string `json:"mail,omitempty"` // the mail address, if it was needed to recognize the user
	Name     string `json:"name"`
	Tenant   string `json:"tenant"` // tenant id
	Personal bool   `json:"personal"`
}

// matches reports whether name is an address or the id of the user.
func (u User) matches(name string) bool {
	return slices.ContainsFunc([]string{u.Address, u.ID, u.Mail}, func(known string) bool { return known != "" && strings.EqualFold(known, name) })
}

// Status describes a sign-in as far as known locally.
type Status struct {
	State     SignInState
	Message   string // what is wrong and how to fix it; "" when signed in
	User      User
	Granted   []string // short names: "Calendars.Read"
	Requested []string
	SignedIn  time.Time
	Expires   time.Time // if unused until then; a policy of the tenant may end it earlier
}

// Session is the sign-in of one account. It is safe for concurrent use by several goroutines and processes.
type Session struct {
	o        Options
	client   client              // nil if unusable
	unusable error               // why there is no client
	renewal  *semaphore.Weighted // held while renewing; unlike a mutex, waiting for it ends with a context

	mu          sync.Mutex
	stored      *storedSession // nil if signed out or unreadable
	loadErr     error          // why the stored sign-in is unreadable
	fileVersion state.Version
	version     uint64    // grows with each replacement of stored
	lastFailure error     // transient error of the last renewal
	retryAt     time.Time // earliest next renewal after lastFailure
	changed     chan struct{}
	refused     chan struct{} // a refusal was stored
	rejection   rejection
	retrying    *refusal // to be retried regardless of its age
}

// Open reads the stored sign-in of an account, without network requests. A stored sign-in that cannot be read is not an error but the
// state Unreadable, and a secret or certificate that cannot be used is the state SignInRequired.
func Open(o Options) (*Session, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("sign-in of %s: %w", o.Account, err)
	}
	s := &Session{o: o, renewal: semaphore.NewWeighted(1), refused: make(chan struct{}, 1)}
	s.client, s.unusable = newClient(o)
	s.reload()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changed = make(chan struct{}, 1) // created last, so that the first reload does not count as a change
	return s, nil
}

// Outdated reports whether the registration, its secret or its certificate differ in o.
func (s *Session) Outdated(o Options) bool {
	o, err := o.withDefaults()
	return err != nil || o.fingerprint() != s.o.fingerprint() || (o.Unusable == nil) != (s.o.Unusable == nil)
}

// Check returns why sessions with these options cannot sign in, such as a certificate of another key.
func (o Options) Check() error {
	o, err := o.withDefaults()
	if err == nil {
		_, err = newClient(o)
	}
	return err
}

func (o Options) withDefaults() (Options, error) {
	for _, f := range []struct {
		value    *string
		fallback string
	}{{&o.Tenant, DefaultTenant}, {&o.Login, DefaultLogin}, {&o.Audience, DefaultAudience}, {&o.RedirectURI, DefaultRedirectURI}} {
		if *f.value == "" {
			*f.value = f.fallback
		}
	}
	o.Login, o.Audience = strings.TrimSuffix(o.Login, "/"), strings.TrimSuffix(o.Audience, "/")
	if u, err := url.Parse(o.Login); err != nil || u.Scheme != "https" || u.Host == "" || u.Path != "" {
		return o, fmt.Errorf("login: want an address such as %s, not %q", DefaultLogin, o.Login)
	}
	if strings.EqualFold(o.Tenant, "common") && !entra.AllowsPersonal(o.Tenant, o.Login) {
		o.Tenant = "organizations"
	}
	if o.ClientID == "" {
		return o, errors.New("client_id is missing")
	}
	if o.Transport == nil {
		o.Transport = http.DefaultTransport
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o, nil
}

// Token returns an access token that is valid for some more minutes. Concurrent calls share one renewal. The error is a *graph.Error:
// graph.SignInRequired with a message that says what to do, or a transient one.
func (s *Session) Token(ctx context.Context) (string, error) { return s.token(ctx, "", "") }

// Renew returns an access token other than the one that Graph rejected. claims is the JSON of Graph's claims challenge, or "". If Graph
// rejected a token that Renew returned, the next ones follow after growing pauses; meanwhile the error is a *graph.RejectedError.
func (s *Session) Renew(ctx context.Context, rejected, claims string) (string, error) {
	return s.token(ctx, rejected, claims)
}

func (s *Session) token(ctx context.Context, rejected, claims string) (string, error) {
	s.mu.Lock()
	token, ok := s.validToken(rejected)
	s.mu.Unlock()
	if ok {
		return token, nil
	}
	if err := s.renewal.Acquire(ctx, 1); err != nil {
		return "", s.waitError(err)
	}
	defer s.renewal.Release(1)

	s.reload()
	s.mu.Lock()
	token, ok = s.validToken(rejected)
	err := s.stateError()
	if err == nil && s.lastFailure != nil && time.Now().Before(s.retryAt) {
		err = s.lastFailure
	}
	if err == nil && !ok && rejected != "" {
		err = s.rejection.check(rejected, claims)
	}
	// A token that expires soon is better than none.
	stale, usable := s.staleToken(rejected)
	s.mu.Unlock()
	switch {
	case ok:
		return token, nil
	case err != nil && usable && !graph.Is(err, graph.SignInRequired):
		return stale, nil
	case err != nil:
		return "", err
	}

	token, err = s.renew(ctx, rejected, claims, nil)
	if err == nil && rejected != "" {
		s.mu.Lock()
		s.rejection.renewed(token, claims)
		s.mu.Unlock()
	}
	if err != nil && usable && !graph.Is(err, graph.SignInRequired) {
		s.o.Log.Debug("token could not be renewed before it expires", "account", s.o.Account, "error", err)
		return stale, nil
	}
	return token, err
}

// validToken returns the current token unless it was rejected, expires soon or must not be used anymore.
func (s *Session) validToken(rejected string) (string, bool) {
	if s.stateError() != nil || s.stored.Access == rejected || !s.stored.isFresh(time.Now()) {
		return "", false
	}
	return s.stored.Access, true
}

// staleToken returns the current token even if it expires soon.
func (s *Session) staleToken(rejected string) (string, bool) {
	if s.stored == nil || s.stored.Access == "" || s.stored.Access == rejected || !time.Now().Before(s.stored.Expires) {
		return "", false
	}
	return s.stored.Access, true
}

// stateError returns the error of a state in which no token can be obtained without the user, or nil.
func (s *Session) stateError() error {
	status := s.status()
	if status.State == SignedIn {
		return nil
	}
	if r := s.activeRefusal(); r != nil && s.unusable == nil && s.mismatch() == "" && (time.Since(r.At) >= refusalTTL || r.is(s.retrying)) {
		return nil
	}
	return &graph.Error{Reason: graph.SignInRequired, Message: status.Message}
}

// activeRefusal returns the refusal of the last renewal, or nil. A refusal of the registration ends when the registration changes.
func (s *Session) activeRefusal() *refusal {
	if s.stored == nil || s.stored.Refused == nil {
		return nil
	}
	r := s.stored.Refused
	if r.Registration != "" && r.Registration != s.o.fingerprint() {
		return nil
	}
	return r
}

// RetryRefused retries a refused renewal now instead of after an hour. It does nothing if no renewal was refused.
func (s *Session) RetryRefused(ctx context.Context) error {
	s.reload()
	s.mu.Lock()
	r := s.activeRefusal()
	if r != nil {
		s.retrying, s.lastFailure = r, nil
	}
	s.mu.Unlock()
	if r == nil {
		return nil
	}
	_, err := s.Token(ctx)
	return err
}

// renew requests a new token for the given scopes, or for those granted before. The caller holds the renewal semaphore.
func (s *Session) renew(ctx context.Context, rejected, claims string, scopes []string) (string, error) {
	var token string
	err := s.o.Dir.WithLock(ctx, s.file(), func() error {
		// Another process may have renewed it meanwhile.
		s.reload()
		s.mu.Lock()
		var ok bool
		token, ok = s.validToken(rejected)
		err := s.stateError()
		before := s.stored
		s.mu.Unlock()
		if err != nil || ok && scopes == nil {
			return err
		}
		ask := scopes
		if ask == nil {
			ask = before.Granted
		}
		a, err := s.client.refresh(ctx, before, s.qualify(ask), claims)
		if err != nil {
			return s.refusalError(before, err, claims, scopes == nil)
		}
		after := *before
		after.apply(a, s.shorten(a.scopes, ask))
		token = after.Access
		s.saveRenewed(&after)
		return nil
	})
	if err != nil {
		return "", s.recordRenewal(ctx, err)
	}
	s.recordRenewal(ctx, nil)
	return token, nil
}

// recordRenewal stores the outcome of a renewal for callers that wait for the semaphore.
func (s *Session) recordRenewal(ctx context.Context, err error) error {
	var e *graph.Error
	if err != nil && !errors.As(err, &e) {
		return s.waitError(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastFailure = nil
	if err != nil && ctx.Err() == nil && e.Reason != graph.SignInRequired {
		s.lastFailure, s.retryAt = err, time.Now().Add(max(retryBackoff, e.RetryAfter))
	}
	return err
}

// waitError is returned when ctx ends before the semaphore is acquired, or when the file cannot be locked.
func (s *Session) waitError(err error) error {
	reason := graph.Network
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		reason = graph.Timeout
	}
	return &graph.Error{Reason: reason, Op: s.renewOp(), Err: err}
}

func (s *Session) renewOp() string { return "renew the sign-in of " + s.o.Account }

// refusalError converts the error of a renewal. If persist is set it also stores refusals that need user action, so that they are not
// retried.
func (s *Session) refusalError(before *storedSession, err error, claims string, persist bool) error {
	var o *oauthError
	if !errors.As(err, &o) || o.isTransient() {
		return transientError(s.renewOp(), err)
	}
	why := o.explain(s.o, before.Device)
	r := &refusal{Why: why, At: time.Now(), Claims: cmp.Or(o.Claims, claims)}
	if o.isRegistrationRefusal() {
		r.Registration = s.o.fingerprint()
	}
	if persist {
		if before.Refused == nil || before.Refused.Why != why {
			s.o.Log.Warn("sign-in renewal refused", "account", s.o.Account, "code", o.code(), "reason", why)
		}
		after := *before
		after.Access, after.Refused = "", r
		s.mu.Lock()
		s.retrying = nil
		s.mu.Unlock()
		s.saveRenewed(&after)
	}
	return &graph.Error{Reason: graph.SignInRequired, Message: s.refusalMessage(r), Code: o.code()}
}

// refusalMessage returns why a renewal was refused and, unless the registration must be changed, to sign in again.
func (s *Session) refusalMessage(r *refusal) string {
	if r.Registration != "" {
		return r.Why
	}
	return s.withRemedy(r.Why)
}

// Extend requests more scopes without the user, which succeeds once an administrator has consented. It reports whether more scopes are
// granted now. A refusal changes nothing and is not an error.
func (s *Session) Extend(ctx context.Context, scopes []string) (bool, error) {
	if err := s.renewal.Acquire(ctx, 1); err != nil {
		return false, s.waitError(err)
	}
	defer s.renewal.Release(1)
	before := s.Granted()
	ask := slices.Concat(before, scopes)
	slices.Sort(ask)
	ask = slices.Compact(ask)
	if len(ask) == len(before) {
		return false, nil
	}
	if _, err := s.renew(ctx, "", "", ask); err != nil && !graph.Is(err, graph.SignInRequired) {
		return false, err
	}
	return len(missing(s.Granted(), before)) > 0, nil
}

// Granted returns the granted scopes by their short names, sorted. They include scopes that were granted to the same registration
// before.
func (s *Session) Granted() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stored == nil {
		return nil
	}
	return slices.Clone(s.stored.Granted)
}

// Personal reports whether a personal Microsoft account is signed in.
func (s *Session) Personal() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stored != nil && s.stored.User.Personal
}

// Status returns the state of the sign-in, without network requests.
func (s *Session) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status()
}

func (s *Session) status() Status {
	if s.loadErr != nil {
		message := s.withRemedy("the stored sign-in cannot be read: " + s.loadErr.Error())
		if errors.Is(s.loadErr, state.ErrOtherKey) {
			message = "the stored sign-in " + s.loadErr.Error() + ", or " + s.remedy()
		}
		return Status{State: Unreadable, Message: message}
	}
	if s.stored == nil && s.unusable != nil {
		return Status{State: SignInRequired, Message: s.unusable.Error()}
	}
	if s.stored == nil {
		return Status{State: SignedOut, Message: s.withRemedy("not signed in")}
	}
	st := Status{
		State: SignedIn, User: s.stored.User, Granted: slices.Clone(s.stored.Granted), Requested: slices.Clone(s.stored.Requested),
		SignedIn: s.stored.SignedIn, Expires: s.stored.Renewed.Add(refreshTokenLifetime),
	}
	if s.unusable != nil {
		st.State, st.Message = SignInRequired, s.unusable.Error()
	} else if why := s.mismatch(); why != "" {
		st.State, st.Message = SignInRequired, s.withRemedy(why)
	} else if r := s.activeRefusal(); r != nil {
		st.State, st.Message = SignInRequired, s.refusalMessage(r)
	}
	return st
}

// mismatch returns why the stored sign-in does not fit the configuration, or "".
func (s *Session) mismatch() string {
	switch {
	case s.stored.ClientID != s.o.ClientID:
		return fmt.Sprintf("the sign-in belongs to the client_id %s, but the configuration has %s", s.stored.ClientID, s.o.ClientID)
	case s.stored.Login != s.o.Login:
		return fmt.Sprintf("the sign-in belongs to the cloud %s, but the configuration has %s", s.stored.Login, s.o.Login)
	case s.o.User != "" && !s.stored.User.matches(s.o.User):
		return fmt.Sprintf("%s is signed in, but the configuration expects %s", s.stored.User.Address, s.o.User)
	}
	return ""
}

// withRemedy appends the command that solves the problem.
func (s *Session) withRemedy(why string) string { return why + "; " + s.remedy() }

func (s *Session) remedy() string { return "run: graph2mqtt login " + s.o.Account }

// Changed returns a channel that receives after the status changed. Changes may be merged.
func (s *Session) Changed() <-chan struct{} { return s.changed }

// Reload reads the stored sign-in again if another process changed it, such as a login. It is called when the state directory
// changed, see [state.Dir.Watch].
func (s *Session) Reload() { s.reload() }

// IsStoredAs reports whether name is that of the file of the sign-in.
func (s *Session) IsStoredAs(name string) bool { return name == s.file() }

// Run retries old refusals until ctx is done. It returns nil.
func (s *Session) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Stop()
		if due, ok := s.nextRetry(); ok {
			timer.Reset(min(max(time.Until(due), minRetryWait), maxRetryWait))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.refused:
		case <-timer.C:
			if due, ok := s.nextRetry(); ok && !time.Now().Before(due) {
				// The outcome is stored, and reported by Status.
				_, _ = s.Token(ctx)
			}
		}
	}
}

// nextRetry returns when the refusal of the last renewal is to be retried, or false if there is none that can be.
func (s *Session) nextRetry() (time.Time, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stored == nil || s.stored.Refused == nil || s.unusable != nil || s.mismatch() != "" {
		return time.Time{}, false
	}
	due := s.retryAt
	if r := s.activeRefusal(); r != nil && !r.is(s.retrying) {
		if old := r.At.Add(refusalTTL); old.After(due) {
			due = old
		}
	}
	return due, true
}

// consentPage returns where a user takes back the permissions granted to an application.
func consentPage(u User, login string) string {
	switch cloud := entra.CloudOf(login); {
	case u.Personal:
		return "at https://account.live.com/consent/Manage"
	case cloud == entra.USGovernment:
		return "at https://myapps.microsoft.us"
	case cloud == entra.China:
		return "in the My Apps portal of the organization"
	}
	return "at https://myapps.microsoft.com"
}

// SignOut deletes the stored sign-in. remains describes the consent that Microsoft still stores.
func (s *Session) SignOut(ctx context.Context) (remains string, err error) {
	err = s.o.Dir.WithLock(ctx, s.file(), func() error {
		s.mu.Lock()
		user, login := User{}, s.o.Login
		if s.stored != nil {
			user, login = s.stored.User, s.stored.Login
		}
		s.mu.Unlock()
		if err := s.o.Dir.Remove(s.file()); err != nil {
			return err
		}
		remains = "Microsoft still remembers which permissions were granted; take them back " + consentPage(user, login)
		s.reload()
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("sign %s out: %w", s.o.Account, err)
	}
	return remains, nil
}

// file returns the name of the stored sign-in.
func (s *Session) file() string { return "tokens-" + s.o.Account }

// reload reads the file if it changed since it was last read.
func (s *Session) reload() {
	for !s.tryReload() {
	}
}

// tryReload is reload, but reports false and changes nothing if the sign-in was replaced meanwhile.
func (s *Session) tryReload() bool {
	s.mu.Lock()
	known, version := s.fileVersion, s.version
	loaded := version > 0 && s.loadErr == nil
	s.mu.Unlock()
	stored, err := s.o.Dir.Version(s.file())
	if err == nil && known.Equal(stored) {
		return true
	}
	if errors.Is(err, state.ErrUnavailable) && loaded {
		return true // the sign-in as it was read stays in use
	}
	if err != nil {
		stored = state.Version{}
	}
	k, err := read(s.o.Dir, s.file())
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.version != version {
		return false
	}
	s.replace(k, err, stored)
	return true
}

// save writes a sign-in and makes it the current one. The caller holds the lock of the file.
func (s *Session) save(k *storedSession) error {
	if err := k.write(s.o.Dir, s.file()); err != nil {
		return err
	}
	stored, err := s.o.Dir.Version(s.file())
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.replace(k, nil, stored)
	return nil
}

// saveRenewed saves the result of a renewal. It stays in use if the disk cannot be written.
func (s *Session) saveRenewed(k *storedSession) {
	err := s.save(k)
	if err == nil {
		return
	}
	s.o.Log.Error("sign-in could not be stored; it will be lost when the program exits", "account", s.o.Account, "error", err)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.replace(k, nil, s.fileVersion)
}

// replace sets the current sign-in and signals Changed if the status differs. The caller holds mu.
func (s *Session) replace(k *storedSession, loadErr error, stored state.Version) {
	before := s.status()
	s.stored, s.loadErr, s.fileVersion = k, loadErr, stored
	s.version++
	if k != nil && k.Refused != nil {
		select {
		case s.refused <- struct{}{}:
		default:
		}
	}
	after := s.status()
	if before.State == after.State && before.Message == after.Message && before.User == after.User &&
		slices.Equal(before.Granted, after.Granted) && before.SignedIn.Equal(after.SignedIn) {
		return
	}
	s.lastFailure = nil
	select {
	case s.changed <- struct{}{}:
	default:
	}
}
