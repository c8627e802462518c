// Package auth signs accounts in to Microsoft and keeps them signed in. It is the only importer of MSAL.
package auth

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/state"
)

// What Options has where nothing is given: the registration of the widest kind, in the global cloud.
const (
	DefaultLogin       = "https://login.microsoftonline.com"
	DefaultAudience    = "https://graph.microsoft.com"
	DefaultTenant      = "common"
	DefaultRedirectURI = "http://localhost"
)

const (
	// ahead is how long before its end a token is renewed, so that none ends on its way to Graph.
	ahead = 5 * time.Minute

	// pause is how long a renewal that failed keeps others from trying.
	pause = 10 * time.Second

	// again is how long a refusal stands before it is asked whether it still does: policies and accounts change.
	again = time.Hour

	// lapse is how long a sign-in lives without being used.
	// See https://learn.microsoft.com/entra/identity-platform/refresh-tokens.
	lapse = 90 * 24 * time.Hour

	// look is how often the file is looked at for a sign-in by another process.
	look = time.Second
)

// Options say which account of which cloud. Only Account, ClientID and Dir are required.
type Options struct {
	Account     string // its key in the configuration
	User        string // address or id of who must be signed in; "": the first one is kept
	ClientID    string
	Tenant      string // "common", "organizations", "consumers", a tenant id or domain
	Login       string // root of Entra ID, without tenant
	Audience    string // what Graph's scopes belong to
	RedirectURI string // as in the registration; http://localhost stands for every port

	// ClientSecret or Certificate (PEM of certificate and key) make the client a confidential one, as registrations of the
	// platform Web are.
	ClientSecret string
	Certificate  []byte

	Transport http.RoundTripper // nil: the default one
	Dir       *state.Dir
	Log       *slog.Logger
}

func (o Options) confidential() bool { return o.ClientSecret != "" || len(o.Certificate) > 0 }

// A State is what a sign-in is in.
type State string

// The states, as they are published.
const (
	SignedIn       State = "signed_in"
	SignedOut      State = "signed_out"
	SignInRequired State = "sign_in_required" // Microsoft refused to go on without the user
	Unreadable     State = "unreadable"       // something is stored, and it cannot be read
)

// A User is who signed in.
type User struct {
	ID       string `json:"id"`      // of the object in the tenant
	Address  string `json:"address"` // what is typed to sign in
	Name     string `json:"name"`
	Tenant   string `json:"tenant"` // the tenant's id
	Personal bool   `json:"personal"`
}

// is reports whether an address or an id is the user's.
func (u User) is(name string) bool {
	return strings.EqualFold(u.Address, name) || strings.EqualFold(u.ID, name)
}

// A Status is what is known about a sign-in without asking anybody.
type Status struct {
	State     State
	Message   string // what is wrong and what to do on the command line; "" when signed in
	User      User
	Granted   []string // short names: "Calendars.Read"
	Requested []string
	SignedIn  time.Time
	Expires   time.Time // when it ends unless it is used before; a tenant's policy may end it earlier
}

// A Session is one account's sign-in. Its methods may be called by several goroutines, and beside other processes.
type Session struct {
	o      Options
	client client
	turn   chan struct{} // who holds it renews; a channel, because waiting for it ends with a context

	mu      sync.Mutex
	kept    *kept // nil: nobody is signed in, or unreadable
	broken  error // why it is unreadable
	seen    fs.FileInfo
	failed  error     // the last renewal, by the network's or Microsoft's doing
	until   time.Time // when it may be tried again
	changed chan struct{}
}

// Open reads what is stored of the account's sign-in. It contacts nobody. What is stored and cannot be read is no error but a
// State.
func Open(o Options) (*Session, error) {
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
		return nil, fmt.Errorf("sign-in of %s: login: want an address such as %s, not %q", o.Account, DefaultLogin, o.Login)
	}
	if o.ClientID == "" {
		return nil, fmt.Errorf("sign-in of %s: client_id is missing", o.Account)
	}
	if o.Transport == nil {
		o.Transport = http.DefaultTransport
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	c, err := newClient(o)
	if err != nil {
		return nil, fmt.Errorf("sign-in of %s: %w", o.Account, err)
	}
	s := &Session{o: o, client: c, turn: make(chan struct{}, 1)}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reload()
	s.changed = make(chan struct{}, 1) // from here on there is somebody to tell
	return s, nil
}

// Token returns an access token that is good for some minutes more. Many calls make one renewal. The error is a *graph.Error:
// graph.SignInRequired with a message that says what to do, or one that may pass.
func (s *Session) Token(ctx context.Context) (string, error) { return s.token(ctx, "") }

// Renew returns another token than the one that Graph rejected.
func (s *Session) Renew(ctx context.Context, rejected string) (string, error) {
	return s.token(ctx, rejected)
}

func (s *Session) token(ctx context.Context, rejected string) (string, error) {
	s.mu.Lock()
	token, ok := s.ready(rejected)
	s.mu.Unlock()
	if ok {
		return token, nil
	}
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return "", s.waited(ctx.Err())
	}

	s.mu.Lock()
	s.reload()
	token, ok = s.ready(rejected)
	err := s.refusal()
	if err == nil && s.failed != nil && time.Now().Before(s.until) {
		err = s.failed
	}
	// A token that is soon at its end is better than none.
	rest, useful := s.rest(rejected)
	s.mu.Unlock()
	switch {
	case ok:
		return token, nil
	case err != nil && useful && !graph.Is(err, graph.SignInRequired):
		return rest, nil
	case err != nil:
		return "", err
	}

	token, err = s.renew(ctx, rejected, nil)
	if err != nil && useful && !graph.Is(err, graph.SignInRequired) {
		s.o.Log.Debug("a token could not be renewed ahead of its end", "account", s.o.Account, "error", err)
		return rest, nil
	}
	return token, err
}

// ready returns the token that is at hand, unless it is rejected, too old or nobody's any more.
func (s *Session) ready(rejected string) (string, bool) {
	if s.refusal() != nil || s.kept.Access == rejected || !s.kept.fresh(time.Now()) {
		return "", false
	}
	return s.kept.Access, true
}

// rest returns a token that has little time left.
func (s *Session) rest(rejected string) (string, bool) {
	if s.kept == nil || s.kept.Access == "" || s.kept.Access == rejected || !time.Now().Before(s.kept.Expires) {
		return "", false
	}
	return s.kept.Access, true
}

// refusal is the error of a state in which there is no token, and none to be tried for.
func (s *Session) refusal() error {
	status := s.status()
	if status.State == SignedIn || s.kept != nil && s.kept.Refused != nil && s.mismatch() == "" && time.Since(s.kept.Refused.At) >= again {
		return nil
	}
	return &graph.Error{Reason: graph.SignInRequired, Message: status.Message}
}

// renew gets a new token, with the scopes granted before or those given. The caller holds the turn.
func (s *Session) renew(ctx context.Context, rejected string, scopes []string) (string, error) {
	var token string
	err := s.o.Dir.WithLock(ctx, s.file(), func() error {
		// Another process may have been faster.
		s.mu.Lock()
		s.reload()
		var ok bool
		token, ok = s.ready(rejected)
		err := s.refusal()
		before := s.kept
		s.mu.Unlock()
		if err != nil || ok && scopes == nil {
			return err
		}
		ask := scopes
		if ask == nil {
			ask = before.Granted
		}
		a, err := s.client.refresh(ctx, before, s.long(ask))
		if err != nil {
			return s.refused(before, err, scopes == nil)
		}
		after := *before
		after.take(a, s.short(a.scopes, ask))
		token = after.Access
		s.keep(&after)
		return nil
	})
	if err != nil {
		return "", s.renewed(ctx, err)
	}
	s.renewed(ctx, nil)
	return token, nil
}

// renewed remembers how a renewal went, for those who wait for the same.
func (s *Session) renewed(ctx context.Context, err error) error {
	var e *graph.Error
	if err != nil && !errors.As(err, &e) {
		return s.waited(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = nil
	if err != nil && ctx.Err() == nil && e.Reason != graph.SignInRequired {
		s.failed, s.until = err, time.Now().Add(max(pause, e.RetryAfter))
	}
	return err
}

// waited is the error of somebody whose patience ended before it was their turn, or of a lock that cannot be had.
func (s *Session) waited(err error) error {
	reason := graph.Network
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		reason = graph.Timeout
	}
	return &graph.Error{Reason: reason, Op: s.op(), Err: err}
}

func (s *Session) op() string { return "renew the sign-in of " + s.o.Account }

// refused turns Microsoft's answer into an error, and where the user must act and it is to stand, writes it down, so that nobody asks in vain.
func (s *Session) refused(before *kept, err error, stands bool) error {
	var o *oauthError
	if !errors.As(err, &o) || o.passes() {
		return passing(s.op(), err)
	}
	why := o.explain(s.o, before.Device)
	if stands {
		if before.Refused == nil || before.Refused.Why != why {
			s.o.Log.Warn("Microsoft refused to renew the sign-in", "account", s.o.Account, "code", o.code(), "why", why)
		}
		after := *before
		after.Access, after.Refused = "", &refused{Why: why, At: time.Now()}
		s.keep(&after)
	}
	return &graph.Error{Reason: graph.SignInRequired, Message: s.sentence(why), Code: o.code()}
}

// Extend tries, without the user, to have more scopes granted, as they are once an administrator consented. A refusal changes nothing
// and is no error. It reports whether more is granted now.
func (s *Session) Extend(ctx context.Context, scopes []string) (bool, error) {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return false, s.waited(ctx.Err())
	}
	before := s.Granted()
	ask := slices.Concat(before, scopes)
	slices.Sort(ask)
	ask = slices.Compact(ask)
	if len(ask) == len(before) {
		return false, nil
	}
	if _, err := s.renew(ctx, "", ask); err != nil && !graph.Is(err, graph.SignInRequired) {
		return false, err
	}
	return len(missing(s.Granted(), before)) > 0, nil
}

// Granted are the scopes that Microsoft granted, by their short names, sorted; also those granted at another time to the same
// registration.
func (s *Session) Granted() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kept == nil {
		return nil
	}
	return slices.Clone(s.kept.Granted)
}

// Status says what the sign-in is in. It contacts nobody.
func (s *Session) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status()
}

func (s *Session) status() Status {
	if s.broken != nil {
		message := s.sentence("the stored sign-in cannot be read: " + s.broken.Error())
		if errors.Is(s.broken, state.ErrOtherKey) {
			message = "the stored sign-in " + s.broken.Error() + ", or " + s.todo()
		}
		return Status{State: Unreadable, Message: message}
	}
	if s.kept == nil {
		return Status{State: SignedOut, Message: s.sentence("nobody is signed in")}
	}
	st := Status{
		State: SignedIn, User: s.kept.User, Granted: slices.Clone(s.kept.Granted), Requested: slices.Clone(s.kept.Requested),
		SignedIn: s.kept.SignedIn, Expires: s.kept.Renewed.Add(lapse),
	}
	why := s.mismatch()
	if why == "" && s.kept.Refused != nil {
		why = s.kept.Refused.Why
	}
	if why != "" {
		st.State, st.Message = SignInRequired, s.sentence(why)
	}
	return st
}

// mismatch says why a sign-in is not the one that the configuration wants.
func (s *Session) mismatch() string {
	switch {
	case s.kept.ClientID != s.o.ClientID:
		return fmt.Sprintf("the sign-in belongs to the client_id %s, and the configuration has %s", s.kept.ClientID, s.o.ClientID)
	case s.kept.Login != s.o.Login:
		return fmt.Sprintf("the sign-in belongs to the cloud %s, and the configuration has %s", s.kept.Login, s.o.Login)
	case s.o.User != "" && !s.kept.User.is(s.o.User):
		return fmt.Sprintf("%s is signed in, and the configuration wants %s", s.kept.User.Address, s.o.User)
	}
	return ""
}

// sentence adds what to do.
func (s *Session) sentence(why string) string { return why + "; " + s.todo() }

func (s *Session) todo() string { return "run: graph2mqtt login " + s.o.Account }

// Changed receives after the status changed; several changes may be one. See Watch.
func (s *Session) Changed() <-chan struct{} { return s.changed }

// Watch takes up what other processes do, such as a login, within a second, and asks now and then whether a refusal still stands,
// until the context ends.
func (s *Session) Watch(ctx context.Context) {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s.mu.Lock()
		s.reload()
		retry := s.kept != nil && s.kept.Refused != nil && s.refusal() == nil
		s.mu.Unlock()
		if retry {
			// Its error is the refusal that is known, or nothing to do with it.
			_, _ = s.Token(ctx)
		}
	}
}

// SignOut forgets the sign-in, here and on the disk, and returns what Microsoft remembers all the same.
func (s *Session) SignOut(ctx context.Context) (remains string, err error) {
	err = s.o.Dir.WithLock(ctx, s.file(), func() error {
		if err := s.o.Dir.Remove(s.file()); err != nil {
			return err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.kept != nil && s.kept.User.Personal {
			remains = "Microsoft still remembers which permissions were granted; take them back at https://account.live.com/consent/Manage"
		} else {
			remains = "Microsoft still remembers which permissions were granted; take them back at https://myapps.microsoft.com"
		}
		s.reload()
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("sign %s out: %w", s.o.Account, err)
	}
	return remains, nil
}

// file is the name of what is stored.
func (s *Session) file() string { return "tokens-" + s.o.Account }

// reload takes up the file if it is another one than the one last seen. The caller holds mu.
func (s *Session) reload() {
	info, err := s.o.Dir.Stat(s.file())
	if err == nil && s.seen != nil && os.SameFile(s.seen, info) && s.seen.ModTime().Equal(info.ModTime()) {
		return
	}
	if err != nil {
		info = nil
	}
	k, err := read(s.o.Dir, s.file())
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	s.set(k, err, info)
}

// store writes a sign-in and takes it up. The caller holds the lock of the file.
func (s *Session) store(k *kept) error {
	if err := k.write(s.o.Dir, s.file()); err != nil {
		return err
	}
	info, err := s.o.Dir.Stat(s.file())
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.set(k, nil, info)
	return nil
}

// keep is store for what came without the user: a disk that cannot be written does not undo it.
func (s *Session) keep(k *kept) {
	err := s.store(k)
	if err == nil {
		return
	}
	s.o.Log.Error("the sign-in cannot be stored, and what is new of it is lost with the end of the program", "account", s.o.Account, "error", err)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.set(k, nil, s.seen)
}

// set puts what is known in place, and tells if it is something else. The caller holds mu.
func (s *Session) set(k *kept, broken error, seen fs.FileInfo) {
	before := s.status()
	s.kept, s.broken, s.seen = k, broken, seen
	after := s.status()
	if before.State == after.State && before.Message == after.Message && before.User == after.User &&
		slices.Equal(before.Granted, after.Granted) && before.SignedIn.Equal(after.SignedIn) {
		return
	}
	s.failed = nil
	select {
	case s.changed <- struct{}{}:
	default:
	}
}
