package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/entra"
)

// Request describes a sign-in.
type Request struct {
	// Scopes lists sets of short scope names, each smaller than the one before. The first set is requested; each other set is
	// requested if the one before it is refused.
	Scopes [][]string

	// User is the address or id of the only user to accept, "" if Options.User and the stored sign-in decide. See ExpectedUser.
	User string

	// OnPrompt is called with the instructions for the user, once for each requested set. It must not block.
	OnPrompt func(Prompt)
}

// A Prompt holds what the user needs to sign in.
type Prompt struct {
	URL       string    // address to open in a browser
	Code      string    // code to enter there; device code flow only
	Redirect  string    // address the browser is redirected to; browser flow only
	Listening bool      // the redirect is received automatically; otherwise the user must paste its address
	Expires   time.Time // expiry of the code

	// Note warns that the browser may not show the redirect address, and says how to avoid that; usually "".
	Note string

	Scopes  []string // requested now
	Refused []string // requested before, and no longer
	Why     string   // why they were refused; "" in the first prompt
}

// Result is the outcome of a sign-in.
type Result struct {
	User    User
	Granted []string
	Missing []string // wanted and not granted
}

// requestTokens runs the flow for one set of scopes.
type requestTokens func(ctx context.Context, p Prompt) (tokenResponse, error)

// signIn requests the sets of scopes in order, until one is granted or fails for another reason than its scopes.
func (s *Session) signIn(ctx context.Context, r Request, device bool, request requestTokens) (Result, error) {
	fail := func(why string) (Result, error) {
		return Result{}, &graph.Error{Reason: graph.SignInRequired, Op: s.signInOp(), Message: why}
	}
	if len(r.Scopes) == 0 {
		return fail("no permissions to ask for")
	}
	var p Prompt
	for i, scopes := range r.Scopes {
		if i > 0 {
			if p.Refused = missing(p.Scopes, scopes); p.Refused == nil {
				continue // it contains every scope that was refused
			}
		}
		p.Scopes = scopes
		a, err := request(ctx, p)
		var o *oauthError
		switch {
		case err == nil:
			return s.saveSignIn(ctx, a, r, scopes, device)
		case errors.As(err, &o) && o.isConsentRefusal():
			p.Why = o.explain(s.o, device)
		case errors.As(err, &o) && !o.isTransient():
			return fail(o.explain(s.o, device))
		case ctx.Err() != nil:
			return Result{}, fmt.Errorf("%s: %w", s.signInOp(), ctx.Err())
		case errors.Is(err, errNoRefreshToken), errors.Is(err, errNoDeviceCode):
			return Result{}, fmt.Errorf("%s: %w", s.signInOp(), err)
		default:
			return Result{}, transientError(s.signInOp(), err)
		}
	}
	return fail("Microsoft refused even the smallest set of permissions: " + p.Why)
}

func (s *Session) signInOp() string { return "sign in to " + s.o.Account }

// saveSignIn stores the sign-in unless it belongs to another user than expected.
func (s *Session) saveSignIn(ctx context.Context, a tokenResponse, r Request, asked []string, device bool) (Result, error) {
	wanted := r.Scopes[0]
	k := &storedSession{ClientID: s.o.ClientID, Login: s.o.Login, Requested: slices.Clone(wanted), Device: device, SignedIn: time.Now()}
	k.apply(a, s.shorten(a.scopes, asked))
	if len(k.Granted) == 0 {
		return Result{}, &graph.Error{Reason: graph.SignInRequired, Op: s.signInOp(), Message: "Microsoft granted none of the permissions"}
	}
	if err := s.findMail(ctx, k, r); err != nil {
		return Result{}, err
	}
	err := s.o.Dir.WithLock(ctx, s.file(), func() error {
		s.reload()
		s.mu.Lock()
		before := s.stored
		s.mu.Unlock()
		if s.o.User != "" && !k.User.matches(s.o.User) {
			return fmt.Errorf("%s signed in, but the configuration expects %s; sign in as %s, or change accounts.%s.user",
				k.User.Address, s.o.User, s.o.User, s.o.Account)
		}
		if r.User != "" && !k.User.matches(r.User) {
			return fmt.Errorf("%s signed in, but only %s is accepted; sign in as %s, or run: graph2mqtt login %s",
				k.User.Address, r.User, r.User, s.o.Account)
		}
		if before != nil && before.Home != k.Home {
			return fmt.Errorf("%s signed in, but the stored sign-in belongs to %s; sign in as %s, or first run: graph2mqtt logout %s",
				k.User.Address, before.User.Address, before.User.Address, s.o.Account)
		}
		return s.save(k)
	})
	if err != nil {
		return Result{}, fmt.Errorf("%s: %w", s.signInOp(), err)
	}
	return Result{User: k.User, Granted: k.Granted, Missing: missing(wanted, k.Granted)}, nil
}

// findMail looks up the mail address of a user who is expected by another address than the one to sign in with. Only an organization's own
// administrators set that of its users: of a tenant that anyone may come from, it proves nothing.
func (s *Session) findMail(ctx context.Context, k *storedSession, r Request) error {
	unknown := slices.ContainsFunc([]string{s.o.User, r.User}, func(name string) bool { return strings.Contains(name, "@") && !k.User.matches(name) })
	if !unknown || s.o.Mail == nil || !entra.IsOrganization(s.o.Tenant) {
		return nil
	}
	mail, err := s.o.Mail(ctx, k.Access)
	if err != nil {
		return fmt.Errorf("%s: check that %s is the expected user: %w", s.signInOp(), k.User.Address, err)
	}
	k.User.Mail = mail
	return nil
}

// ExpectedUser returns the address of the only user whose sign-in is accepted: that of Options.User or of the stored sign-in. It is "" if
// any user may sign in.
func (s *Session) ExpectedUser() string {
	if s.o.User != "" {
		return s.o.User
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stored == nil {
		return ""
	}
	return s.stored.User.Address
}

// loginHint returns the address to prefill on the sign-in page.
func (s *Session) loginHint(r Request) string {
	for _, user := range []string{r.User, s.ExpectedUser()} {
		if strings.Contains(user, "@") {
			return user
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stored == nil {
		return ""
	}
	return s.stored.User.Address
}

// requiredClaims returns the claims that the sign-in must satisfy because a renewal was refused without them.
func (s *Session) requiredClaims() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stored == nil || s.stored.Refused == nil {
		return ""
	}
	return s.stored.Refused.Claims
}

// SignInByDevice signs in with the device code flow: the user enters a code in any browser. Some organizations block this flow; see
// SignInByBrowser.
func (s *Session) SignInByDevice(ctx context.Context, r Request) (Result, error) {
	c, err := newClient(s.o)
	if err != nil {
		return Result{}, fmt.Errorf("%s: %w", s.signInOp(), err)
	}
	return s.signIn(ctx, r, true, func(ctx context.Context, p Prompt) (tokenResponse, error) {
		code, poll, err := c.device(ctx, s.qualify(p.Scopes), s.requiredClaims())
		if err != nil {
			return tokenResponse{}, err
		}
		p.URL, p.Code, p.Expires = code.VerificationURL, code.UserCode, code.ExpiresOn
		r.OnPrompt(p)
		return pollDeviceCode(ctx, time.Duration(code.Interval)*time.Second, code.ExpiresOn, poll)
	})
}

// slowDown is added to the polling interval when the token endpoint asks for it or cannot answer (RFC 8628, section 3.5).
const slowDown = 5 * time.Second

// pollDeviceCode polls until the user has decided or the code has expired. An interval of 0 selects the default of RFC 8628.
func pollDeviceCode(ctx context.Context, interval time.Duration, expires time.Time, poll func(context.Context) (tokenResponse, error)) (tokenResponse, error) {
	if interval <= 0 {
		interval = 5 * time.Second
	}
	for {
		select {
		case <-ctx.Done():
			return tokenResponse{}, ctx.Err()
		case <-time.After(min(interval, time.Until(expires))):
		}
		if !time.Now().Before(expires) {
			return tokenResponse{}, &oauthError{Name: "expired_token", Status: http.StatusBadRequest}
		}
		a, err := poll(ctx)
		var o *oauthError
		switch {
		case err == nil, errors.Is(err, errNoRefreshToken), ctx.Err() != nil, errors.As(err, &o) && !o.isTransient():
			return a, err
		case o == nil || o.Name != "authorization_pending":
			interval += slowDown
		}
	}
}
