package runtime

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/auth"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// Ways to sign in.
const (
	deviceCodeWay = "device_code"
	browserWay    = "browser"
)

// minDeviceCodeInterval is the least time between two device codes that are requested from Microsoft.
const minDeviceCodeInterval = 10 * time.Second

// signIns holds the sign-in of an account that was requested and has not ended. There is at most one.
type signIns struct {
	mu       sync.Mutex
	current  *signInFlow
	codeFrom time.Time // when the newest device code was requested
	failure  error     // of the newest one, once it has ended
}

// A signInFlow is one sign-in from its request to its end.
type signInFlow struct {
	way       string
	redirects chan string // pasted addresses, of the browser way
	invalid   chan error  // why a pasted address was refused
	prompted  chan struct{}
	ended     chan struct{} // closed when result is set

	mu     sync.Mutex
	prompt *auth.Prompt // set before prompted is closed
	result error
}

// lastFailure returns the error with which the newest sign-in ended; nil while one is pending.
func (s *signIns) lastFailure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failure
}

// prompt returns the user's instructions for the pending sign-in; nil if there is none.
func (s *signIns) prompt() *auth.Prompt {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == nil {
		return nil
	}
	return s.current.lastPrompt()
}

// begin returns the pending sign-in, or a new one if none is pending or if the pending one uses another way.
func (s *signIns) begin(way string) (flow *signInFlow, isNew bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current != nil && s.current.way == way {
		return s.current, false, nil
	}
	if way == deviceCodeWay {
		if wait := minDeviceCodeInterval - time.Since(s.codeFrom); wait > 0 {
			return nil, false, &graph.Error{Reason: graph.Throttled, Message: "a code was requested a moment ago", RetryAfter: wait}
		}
		s.codeFrom = time.Now()
	}
	flow = &signInFlow{way: way, redirects: make(chan string), invalid: make(chan error, 1), prompted: make(chan struct{}), ended: make(chan struct{})}
	s.current, s.failure = flow, nil
	return flow, true, nil
}

// end forgets a sign-in that has ended, except for its error.
func (s *signIns) end(flow *signInFlow, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == flow {
		s.current, s.failure = nil, err
	}
}

// paste completes the pending sign-in with the address on which the browser ended.
func (s *signIns) paste(ctx context.Context, address string) error {
	s.mu.Lock()
	flow := s.current
	s.mu.Unlock()
	if flow == nil || flow.way != browserWay {
		return &services.Error{Code: services.Conflict, Message: `no sign-in waits for an address; start one with {"way": "browser"}`}
	}
	select {
	case flow.redirects <- address:
	case <-flow.ended:
		return flow.response()
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-flow.invalid:
		return &services.Error{Code: services.InvalidArgument, Message: "address: " + err.Error()}
	case <-flow.ended:
		return flow.response()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run signs in until the user has done so, the code has expired or ctx is done.
func (f *signInFlow) run(ctx context.Context, a *account) error {
	request := auth.Request{Scopes: SignInScopes(a.current.Load()), User: a.user.ExpectedUser(), OnPrompt: func(p auth.Prompt) {
		f.mu.Lock()
		first := f.prompt == nil
		f.prompt = &p
		f.mu.Unlock()
		if first {
			close(f.prompted)
		}
		signal(a.dirty)
	}}
	if f.way == browserWay {
		_, f.result = a.user.SignInByBrowser(ctx, request, auth.Browser{PastedRedirects: f.redirects, OnInvalidRedirect: func(err error) {
			select {
			case f.invalid <- err:
			default:
			}
		}})
	} else {
		_, f.result = a.user.SignInByDevice(ctx, request)
	}
	failure := f.result
	if errors.Is(failure, context.Canceled) {
		failure = nil
	}
	if failure != nil {
		a.log.Warn("sign-in failed", "error", failure)
	}
	a.signIn.end(f, failure)
	close(f.ended)
	signal(a.dirty)
	return nil
}

// response returns the error of a sign-in that has ended as that of a request that waited for it; nil if the user is signed in.
func (f *signInFlow) response() error {
	switch {
	case f.result == nil:
		return nil
	case errors.Is(f.result, context.Canceled):
		return &services.Error{Code: services.Conflict, Message: "this sign-in was canceled, or another one was started in its place"}
	case errors.As(f.result, new(*graph.Error)):
		return &services.LoggedError{Err: f.result}
	}
	return &services.LoggedError{Err: &services.Error{Code: services.Code(graph.SignInRequired), Message: f.result.Error()}}
}

func (f *signInFlow) lastPrompt() *auth.Prompt {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.prompt
}

// A signInRequest starts a sign-in, or completes one with the address on which the browser ended.
type signInRequest struct {
	account *account

	Way     string `json:"way" enum:"device_code,browser" doc:"How to sign in. Default: device_code."`
	Address string `json:"address" doc:"The address on which the browser ended. Completes a sign-in by browser."`
}

// A signInPrompt holds what the user needs to sign in.
type signInPrompt struct {
	URL       string     `json:"url"`
	Code      *string    `json:"code"`
	ExpiresAt *time.Time `json:"expires_at"`
}

// Execute implements services.Request. It returns when the user has something to do, or the sign-in has ended.
func (r *signInRequest) Execute(ctx context.Context, _ *graph.Client, attempt services.Attempt) (any, error) {
	a := r.account
	if r.Address != "" {
		return nil, a.signIn.paste(ctx, r.Address)
	}
	if !attempt.Owner {
		if err := a.checkSignInAllowed(); err != nil {
			return nil, err
		}
	}
	way := deviceCodeWay
	if r.Way != "" {
		way = r.Way
	}
	flow, isNew, err := a.signIn.begin(way)
	if err != nil {
		return nil, err
	}
	if isNew {
		select {
		case a.flows <- flow:
		case <-ctx.Done():
			a.signIn.end(flow, nil)
			return nil, ctx.Err()
		}
	}
	select {
	case <-flow.prompted:
	case <-flow.ended:
		return nil, flow.response()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	p := flow.lastPrompt()
	return signInPrompt{URL: p.URL, Code: optionalText(p.Code), ExpiresAt: moment(p.Expires)}, nil
}

// checkSignInAllowed refuses a first sign-in over MQTT, where every client of the broker could sign in as anybody, unless the
// configuration names the user or allows it.
func (a *account) checkSignInAllowed() error {
	if a.config.SignInOverMQTT || a.user.ExpectedUser() != "" {
		return nil
	}
	return &services.Error{Code: services.Conflict, Message: fmt.Sprintf(
		"the first sign-in of %[1]s is not accepted here: run graph2mqtt login %[1]s, or set accounts.%[1]s.user or accounts.%[1]s.sign_in_over_mqtt: true", a.config.ID)}
}

// extend requests the missing permissions without the user.
func (a *account) extend(ctx context.Context) {
	if a.user == nil || !a.signedIn() || a.checkGranted(AccountPermissions(a.current.Load())) == nil {
		return
	}
	if _, err := a.user.Extend(ctx, SignInScopes(a.current.Load())[0]); err != nil {
		a.log.Debug("no further permission granted", "error", err)
	}
}
