package auth

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"

	"golang.org/x/oauth2"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

// Browser configures how the redirect of a browser sign-in is received.
type Browser struct {
	// Port is the port to listen on; 0 selects a free one. Used only for redirect addresses on localhost.
	Port int

	// PastedRedirects delivers redirect addresses that the user copied from a browser that cannot reach this machine. It is read
	// until the sign-in ends.
	PastedRedirects <-chan string

	// OnInvalidRedirect is called with the reason why a pasted address was not accepted; the sign-in continues. Required with
	// PastedRedirects.
	OnInvalidRedirect func(error)
}

// SignInByBrowser signs in with the authorization code flow and PKCE (RFC 7636). The user opens a link and signs in; the browser is
// redirected to a server on localhost, or the user pastes the address it was redirected to.
func (s *Session) SignInByBrowser(ctx context.Context, r Request, b Browser) (Result, error) {
	c, err := newClient(s.o)
	if err != nil {
		return Result{}, fmt.Errorf("%s: %w", s.signInOp(), err)
	}
	server, err := startCallbackServer(s.o.RedirectURI, b.Port)
	if err != nil {
		return Result{}, fmt.Errorf("%s: %w", s.signInOp(), err)
	}
	defer server.close()
	// pending is the browser request whose page depends on the outcome.
	var pending *callback
	answer := func(p page) {
		if pending != nil {
			pending.page <- p
			pending = nil
		}
	}
	result, err := s.signIn(ctx, r, false, func(ctx context.Context, p Prompt) (tokenResponse, error) {
		link, t, err := s.link(ctx, c, server.redirect, s.loginHint(r), p.Scopes)
		if err != nil {
			return tokenResponse{}, err
		}
		p.URL, p.Redirect, p.Listening, p.Note = link, server.redirect, server.listening(), s.o.redirectNote()
		r.OnPrompt(p)
		answer(page{to: link})
		var code string
		for code == "" {
			select {
			case <-ctx.Done():
				return tokenResponse{}, ctx.Err()
			case pending = <-server.callbacks:
				if code, err = t.code(pending.query); errors.Is(err, errStaleState) {
					answer(page{title: "This sign-in link is outdated", text: "Open the newest link instead."})
					continue
				}
			case text, ok := <-b.PastedRedirects:
				if !ok {
					b.PastedRedirects = nil
					continue
				}
				var q url.Values
				if q, err = parseRedirect(text, server.redirect); err == nil {
					code, err = t.code(q)
				}
				if err != nil && !errors.As(err, new(*oauthError)) {
					b.OnInvalidRedirect(err)
					continue
				}
			}
			if err != nil {
				return tokenResponse{}, err
			}
		}
		return c.redeem(ctx, code, server.redirect, t.verifier, s.qualify(p.Scopes))
	})
	if err != nil {
		answer(page{title: "Not signed in", text: pageText(err)})
		return Result{}, err
	}
	answer(page{title: "Signed in as " + result.User.Address, text: "You can close this window."})
	return result, nil
}

// redirectNote returns a warning if the redirect address is a page of Microsoft that hides its address from the user.
func (o Options) redirectNote() string {
	if !strings.HasSuffix(strings.TrimSuffix(o.RedirectURI, "/"), "/oauth2/nativeclient") {
		return ""
	}
	return fmt.Sprintf("Microsoft's page may hide that address. Then add %s to the app registration in Entra ID (Authentication, %s) and set redirect_uri: %s",
		DefaultRedirectURI, o.platform(), DefaultRedirectURI)
}

// pageText returns the text of an error for the browser page.
func pageText(err error) string {
	var e *graph.Error
	if errors.As(err, &e) && e.Message != "" {
		return e.Message
	}
	return err.Error()
}

// pkceState identifies one authorization request and holds its PKCE verifier.
type pkceState struct{ state, verifier string }

// link returns the address that starts an authorization request, and its state.
func (s *Session) link(ctx context.Context, c client, redirect, hint string, scopes []string) (string, pkceState, error) {
	t := pkceState{state: rand.Text(), verifier: oauth2.GenerateVerifier()}
	link, err := c.authCodeURL(ctx, redirect, hint, s.requiredClaims(), append(s.qualify(scopes), "openid", "profile", "offline_access"))
	if err != nil {
		return "", t, err
	}
	u, err := url.Parse(link)
	if err != nil {
		return "", t, err
	}
	// MSAL has no options for these parameters.
	q := u.Query()
	q.Set("state", t.state)
	q.Set("code_challenge", oauth2.S256ChallengeFromVerifier(t.verifier))
	q.Set("code_challenge_method", "S256")
	q.Set("response_mode", "query")
	if hint == "" {
		q.Set("prompt", "select_account")
	}
	u.RawQuery = q.Encode()
	return u.String(), t, nil
}

var errStaleState = errors.New("this address belongs to an outdated sign-in link; open the newest link and paste the address that the browser shows afterwards")

// code returns the authorization code of a redirect. If Entra ID refused, the error is an *oauthError.
func (t pkceState) code(q url.Values) (string, error) {
	switch {
	case q.Get("state") != t.state:
		return "", errStaleState
	case q.Has("error"):
		return "", &oauthError{Status: http.StatusBadRequest, Name: q.Get("error"), Suberror: q.Get("error_subcode"), Description: q.Get("error_description")}
	}
	return q.Get("code"), nil
}

// parseRedirect parses a pasted address or its query, tolerating quotes, brackets and line breaks.
func parseRedirect(text, redirect string) (url.Values, error) {
	text = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || strings.ContainsRune("\"'<>`“”„", r) {
			return -1
		}
		return r
	}, text)
	text = strings.ReplaceAll(text, "&amp;", "&")
	query := text
	if i := strings.LastIndexAny(text, "?#"); i >= 0 {
		query = text[i+1:]
	}
	q, err := url.ParseQuery(query)
	switch {
	case err == nil && q.Has("state") && (q.Get("code") != "" || q.Get("error") != ""):
		return q, nil
	case err == nil && q.Has("code_challenge"):
		return nil, fmt.Errorf("this is the sign-in link; paste the address that the browser shows afterwards, which begins with %s", redirect)
	case err == nil && (q.Has("code") || q.Has("error")):
		return nil, errors.New("this is only a part of the address; paste all of it, with code and state")
	}
	return nil, fmt.Errorf("this is not a redirect address: want one such as %s/?code=…&state=…", strings.TrimSuffix(redirect, "/"))
}

// callbackServer receives the OAuth redirect on localhost; it does nothing for other redirect addresses.
type callbackServer struct {
	redirect  string
	callbacks chan *callback // nil if not listening
	done      chan struct{}
	server    *http.Server
	serving   sync.WaitGroup
}

// callback is a redirect that reached the server.
type callback struct {
	query url.Values
	page  chan page // the page to answer with; buffered
}

// page is the answer to a redirect: a text, or the next address to open.
type page struct{ to, title, text string }

// startCallbackServer starts listening if the redirect address is on localhost.
func startCallbackServer(redirect string, port int) (*callbackServer, error) {
	d := &callbackServer{redirect: redirect}
	u, err := url.Parse(redirect)
	if err != nil || u.Scheme == "" || u.Host == "" {
		return nil, fmt.Errorf("redirect_uri: want an address such as %s, not %q", DefaultRedirectURI, redirect)
	}
	if host := u.Hostname(); u.Scheme != "http" || host != "localhost" && host != "127.0.0.1" {
		return d, nil
	}
	if port == 0 && u.Port() != "" {
		if port, err = strconv.Atoi(u.Port()); err != nil {
			return nil, fmt.Errorf("redirect_uri: %w", err)
		}
	}
	listeners, port, err := listenLocal(port)
	if err != nil {
		return nil, err
	}
	u.Host = net.JoinHostPort(u.Hostname(), strconv.Itoa(port))
	d.redirect, d.callbacks, d.done = u.String(), make(chan *callback), make(chan struct{})
	d.server = &http.Server{Handler: d.handler(u.Path), ReadHeaderTimeout: 10 * time.Second}
	for _, l := range listeners {
		d.serving.Go(func() { _ = d.server.Serve(l) })
	}
	return d, nil
}

// listenLocal listens on the IPv4 and the IPv6 address of localhost.
func listenLocal(port int) ([]net.Listener, int, error) {
	for try := 0; ; try++ {
		four, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			if errors.Is(err, syscall.EADDRINUSE) {
				return nil, 0, fmt.Errorf("another program is listening on http://localhost:%d; choose another one with --port", port)
			}
			return nil, 0, fmt.Errorf("listen on http://localhost:%d: %w", port, err)
		}
		got := four.Addr().(*net.TCPAddr).Port
		six, err := net.Listen("tcp", net.JoinHostPort("::1", strconv.Itoa(got)))
		switch {
		case err == nil:
			return []net.Listener{four, six}, got, nil
		case errors.Is(err, syscall.EADDRINUSE) && port == 0 && try < 5:
			four.Close() // a browser could reach another program on the IPv6 address
			continue
		}
		return []net.Listener{four}, got, nil
	}
}

func (d *callbackServer) listening() bool { return d.callbacks != nil }

func (d *callbackServer) close() {
	if d.server == nil {
		return
	}
	close(d.done)
	// Let the last page be sent, without waiting for idle connections.
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if d.server.Shutdown(ctx) != nil {
		d.server.Close()
	}
	d.serving.Wait()
}

func (d *callbackServer) handler(path string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if r.Method != http.MethodGet || strings.Trim(r.URL.Path, "/") != strings.Trim(path, "/") || q.Get("code") == "" && q.Get("error") == "" {
			http.NotFound(w, r)
			return
		}
		v := &callback{query: q, page: make(chan page, 1)}
		select {
		case d.callbacks <- v:
		case <-d.done:
			page{title: "This sign-in has ended", text: "Begin a new one on the command line."}.write(w, r)
			return
		case <-r.Context().Done():
			return
		}
		select {
		case p := <-v.page:
			p.write(w, r)
		case <-r.Context().Done():
		}
	})
}

func (p page) write(w http.ResponseWriter, r *http.Request) {
	// The address of this page contains the authorization code.
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.Header().Set("Cache-Control", "no-store")
	if p.to != "" {
		http.Redirect(w, r, p.to, http.StatusFound)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = io.WriteString(w, `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>graph2mqtt</title>`+
		`<body style="font-family:sans-serif;max-width:32em;margin:4em auto;padding:0 1em"><h1>`+html.EscapeString(p.title)+`</h1><p>`+html.EscapeString(p.text)+`</p></body></html>`)
}
