package bridge

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph/auth"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// extendEvery is how often it is tried, silently, whether an administrator has consented to what is missing.
const extendEvery = time.Hour

// A signInRequest is what can be asked of a sign-in over MQTT.
type signInRequest struct {
	Way     string // device_code (default) or browser
	Address string // on which the browser ended, pasted
}

// signing is a sign-in that was started over MQTT and has not ended.
type signing struct {
	mu     sync.Mutex
	prompt *auth.Prompt
	pasted chan string
	cancel context.CancelFunc
	wrong  chan error // what is wrong with a pasted address; nil when the sign-in has ended well
}

func (s *signing) shown() *auth.Prompt {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.prompt
}

// signIn starts a sign-in, or goes on with one by a pasted address, and answers when the user has something to do or it is over.
func (a *account) signIn(ctx context.Context, living *sync.WaitGroup, r signInRequest, answer func(any, error)) {
	switch {
	case r.Address != "":
		current := a.signing.Load()
		if current == nil || current.pasted == nil {
			answer(nil, &services.Error{Code: services.Conflict, Message: `no sign-in waits for an address; start one with {"way": "browser"}`})
			return
		}
		living.Go(func() { answer(current.paste(ctx, r.Address)) })
		return
	case r.Way != "" && r.Way != "device_code" && r.Way != "browser":
		answer(nil, &services.Error{Code: services.InvalidArgument, Message: "way: want device_code or browser, not " + r.Way})
		return
	}
	if before := a.signing.Load(); before != nil {
		before.cancel()
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &signing{cancel: cancel, wrong: make(chan error, 1)}
	if r.Way == "browser" {
		s.pasted = make(chan string)
	}
	a.signing.Store(s)
	answer = once(answer)
	living.Go(func() {
		defer cancel()
		request := auth.Request{Scopes: SignInScopes(a.current.Load()), OnPrompt: func(p auth.Prompt) {
			s.mu.Lock()
			s.prompt = &p
			s.mu.Unlock()
			a.update()
			answer(map[string]any{"url": p.URL, "code": text(p.Code), "expires_at": moment(p.Expires)}, nil)
		}}
		var err error
		if s.pasted == nil {
			_, err = a.session.SignInByDevice(ctx, request)
		} else {
			_, err = a.session.SignInByBrowser(ctx, request, auth.Browser{PastedRedirects: s.pasted, OnInvalidRedirect: func(err error) {
				select {
				case s.wrong <- err:
				default:
				}
			}})
		}
		a.signing.CompareAndSwap(s, nil)
		select {
		case s.wrong <- err:
		default:
		}
		if err != nil && !errors.Is(err, context.Canceled) {
			a.log.Warn("the sign-in failed", "error", err)
		}
		answer(nil, err)
		a.update()
	})
}

// paste hands over an address and says what came of it.
func (s *signing) paste(ctx context.Context, address string) (any, error) {
	select {
	case s.pasted <- address:
	case err := <-s.wrong: // it has ended meanwhile
		return nil, err
	case <-ctx.Done():
		return nil, &services.Error{Code: services.ShuttingDown, Message: "graph2mqtt stops"}
	}
	select {
	case err := <-s.wrong:
		if err != nil {
			return nil, &services.Error{Code: services.InvalidArgument, Message: "address: " + err.Error()}
		}
		return nil, nil
	case <-ctx.Done():
		return nil, &services.Error{Code: services.ShuttingDown, Message: "graph2mqtt stops"}
	}
}

// once lets through the first answer only.
func once(answer func(any, error)) func(any, error) {
	var first sync.Once
	return func(data any, err error) { first.Do(func() { answer(data, err) }) }
}

// signInStatus is the state of the sign-in as the status topic tells it.
func (a *account) signInStatus(s auth.Status) signIn {
	in := signIn{State: s.State, Message: text(s.Message)}
	if current := a.signing.Load(); current != nil {
		if p := current.shown(); p != nil {
			in.URL, in.Code, in.ExpiresAt = text(p.URL), text(p.Code), moment(p.Expires)
		}
	}
	return in
}

// extend tries whether more is granted by now than was.
func (a *account) extend(ctx context.Context) {
	if !a.signedIn() || a.ready(AccountPermissions(a.current.Load())) == nil {
		return
	}
	if _, err := a.session.Extend(ctx, SignInScopes(a.current.Load())[0]); err != nil {
		a.log.Debug("no further permission was granted", "error", err)
	}
}
