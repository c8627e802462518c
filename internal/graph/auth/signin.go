package auth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

// A Request is what a sign-in asks for.
type Request struct {
	// Scopes are ever smaller sets of short names. The first is what is wanted; each other is asked for, by itself, where the one before it
	// is refused.
	Scopes [][]string

	// Show tells the user what to do next. It is called once for each set that is asked for, and must return soon.
	Show func(Prompt)
}

// A Prompt is what the user must do.
type Prompt struct {
	URL      string    // to open in a browser
	Code     string    // to enter there, when signing in by device code
	Redirect string    // where the browser ends up, when signing in with the browser
	Waiting  bool      // the browser's way back is listened for; else its address must be pasted
	Expires  time.Time // of the code

	Scopes  []string // asked for now
	Refused []string // asked for before, and not now
	Why     string   // they were refused; "" in the first prompt
}

// A Result is what a sign-in came to.
type Result struct {
	User    User
	Granted []string
	Missing []string // of what was wanted
}

// attempt asks for one set of scopes.
type attempt func(ctx context.Context, p Prompt) (answer, error)

// signIn makes attempts until one succeeds or fails for another reason than its scopes.
func (s *Session) signIn(ctx context.Context, r Request, device bool, try attempt) (Result, error) {
	fail := func(why string) (Result, error) {
		return Result{}, &graph.Error{Reason: graph.SignInRequired, Op: s.signingIn(), Message: why}
	}
	if len(r.Scopes) == 0 {
		return fail("no permissions to ask for")
	}
	var p Prompt
	for i, scopes := range r.Scopes {
		if i > 0 {
			if p.Refused = missing(p.Scopes, scopes); p.Refused == nil {
				continue // it asks for all that was refused
			}
		}
		p.Scopes = scopes
		a, err := try(ctx, p)
		var o *oauthError
		switch {
		case err == nil:
			return s.signedIn(ctx, a, scopes, r.Scopes[0], device)
		case errors.As(err, &o) && o.refuses():
			p.Why = o.explain(s.o, device)
		case errors.As(err, &o) && !o.passes():
			return fail(o.explain(s.o, device))
		case ctx.Err() != nil:
			return Result{}, fmt.Errorf("%s: %w", s.signingIn(), ctx.Err())
		case errors.Is(err, errNoRefreshToken), errors.Is(err, errNoDeviceCode):
			return Result{}, fmt.Errorf("%s: %w", s.signingIn(), err)
		default:
			return Result{}, passing(s.signingIn(), err)
		}
	}
	return fail("Microsoft refused even the smallest set of permissions: " + p.Why)
}

func (s *Session) signingIn() string { return "sign in to " + s.o.Account }

// signedIn takes up an answer, unless it is somebody else's.
func (s *Session) signedIn(ctx context.Context, a answer, asked, wanted []string, device bool) (Result, error) {
	k := &kept{ClientID: s.o.ClientID, Login: s.o.Login, Requested: slices.Clone(wanted), Device: device, SignedIn: time.Now()}
	k.take(a, s.short(a.scopes, asked))
	if len(k.Granted) == 0 {
		return Result{}, &graph.Error{Reason: graph.SignInRequired, Op: s.signingIn(), Message: "Microsoft granted none of the permissions"}
	}
	err := s.o.Dir.WithLock(ctx, s.file(), func() error {
		s.mu.Lock()
		s.reload()
		before := s.kept
		s.mu.Unlock()
		if s.o.User != "" && !k.User.is(s.o.User) {
			return fmt.Errorf("this is %s, and the configuration wants %s; sign in as %s, or change accounts.%s.user",
				k.User.Address, s.o.User, s.o.User, s.o.Account)
		}
		if before != nil && before.Home != k.Home {
			return fmt.Errorf("this is %s, and %s is signed in; sign in as %s, or first run: graph2mqtt logout %s",
				k.User.Address, before.User.Address, before.User.Address, s.o.Account)
		}
		return s.store(k)
	})
	if err != nil {
		return Result{}, fmt.Errorf("%s: %w", s.signingIn(), err)
	}
	return Result{User: k.User, Granted: k.Granted, Missing: missing(wanted, k.Granted)}, nil
}

// hint is whose address the sign-in page is to begin with.
func (s *Session) hint() string {
	if strings.Contains(s.o.User, "@") {
		return s.o.User
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kept == nil {
		return ""
	}
	return s.kept.User.Address
}

// SignInByDevice signs in by a code that the user enters in any browser. Some organisations block this way: see SignInByBrowser.
func (s *Session) SignInByDevice(ctx context.Context, r Request) (Result, error) {
	c, err := newClient(s.o)
	if err != nil {
		return Result{}, fmt.Errorf("%s: %w", s.signingIn(), err)
	}
	return s.signIn(ctx, r, true, func(ctx context.Context, p Prompt) (answer, error) {
		code, wait, err := c.device(ctx, s.long(p.Scopes))
		if err != nil {
			return answer{}, err
		}
		p.URL, p.Code, p.Expires = code.VerificationURL, code.UserCode, code.ExpiresOn
		r.Show(p)
		a, err := wait(ctx)
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			err = &oauthError{Name: "expired_token", Status: 400}
		}
		return a, err
	})
}
