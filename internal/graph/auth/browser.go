package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
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

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

// A Browser is how a sign-in with the browser comes back.
type Browser struct {
	// Port to listen on, 0: any. Only for redirect addresses on localhost.
	Port int

	// Pasted are the addresses that the user copies out of the browser where it cannot reach us. It is read until the sign-in ends.
	Pasted <-chan string

	// Unusable is called with what is wrong with a pasted address. The sign-in goes on. Required where Pasted is.
	Unusable func(error)
}

// SignInByBrowser signs in with an authorization code and PKCE (RFC 7636): the user opens a link, signs in, and the browser comes
// back to us with the code, or its last address is pasted.
func (s *Session) SignInByBrowser(ctx context.Context, r Request, b Browser) (Result, error) {
	c, err := newClient(s.o)
	if err != nil {
		return Result{}, fmt.Errorf("%s: %w", s.signingIn(), err)
	}
	door, err := openDoor(s.o.RedirectURI, b.Port)
	if err != nil {
		return Result{}, fmt.Errorf("%s: %w", s.signingIn(), err)
	}
	defer door.close()
	// The browser that brought the last answer, and waits to be told what came of it.
	var visit *visit
	leave := func(p page) {
		if visit != nil {
			visit.page <- p
			visit = nil
		}
	}
	result, err := s.signIn(ctx, r, false, func(ctx context.Context, p Prompt) (answer, error) {
		link, t, err := s.link(ctx, c, door.redirect, p.Scopes)
		if err != nil {
			return answer{}, err
		}
		p.URL, p.Redirect, p.Waiting = link, door.redirect, door.listening()
		r.Show(p)
		leave(page{to: link})
		var code string
		for code == "" {
			select {
			case <-ctx.Done():
				return answer{}, ctx.Err()
			case visit = <-door.visits:
				if code, err = t.code(visit.query); errors.Is(err, errOlder) {
					leave(page{title: "This is the answer to an older attempt", text: "Open the newest link instead."})
					continue
				}
			case text, ok := <-b.Pasted:
				if !ok {
					b.Pasted = nil
					continue
				}
				var q url.Values
				if q, err = pasted(text, door.redirect); err == nil {
					code, err = t.code(q)
				}
				if err != nil && !errors.As(err, new(*oauthError)) {
					b.Unusable(err)
					continue
				}
			}
			if err != nil {
				return answer{}, err
			}
		}
		return c.redeem(ctx, code, door.redirect, t.verifier, s.long(p.Scopes))
	})
	if err != nil {
		leave(page{title: "Not signed in", text: plain(err)})
		return Result{}, err
	}
	leave(page{title: "Signed in as " + result.User.Address, text: "You can close this window."})
	return result, nil
}

// plain is what the browser's page says of an error.
func plain(err error) string {
	var e *graph.Error
	if errors.As(err, &e) && e.Message != "" {
		return e.Message
	}
	return err.Error()
}

// A ticket tells our own attempt from every other.
type ticket struct{ state, verifier string }

// link makes a ticket and the address that begins the attempt.
func (s *Session) link(ctx context.Context, c client, redirect string, scopes []string) (string, ticket, error) {
	t := ticket{state: rand.Text(), verifier: rand.Text() + rand.Text()}
	hint := s.hint()
	link, err := c.link(ctx, redirect, hint, append(s.long(scopes), "openid", "profile", "offline_access"))
	if err != nil {
		return "", t, err
	}
	u, err := url.Parse(link)
	if err != nil {
		return "", t, err
	}
	// What MSAL's own function has no options for.
	q := u.Query()
	challenge := sha256.Sum256([]byte(t.verifier))
	q.Set("state", t.state)
	q.Set("code_challenge", base64.RawURLEncoding.EncodeToString(challenge[:]))
	q.Set("code_challenge_method", "S256")
	q.Set("response_mode", "query")
	if hint == "" {
		q.Set("prompt", "select_account")
	}
	u.RawQuery = q.Encode()
	return u.String(), t, nil
}

var errOlder = errors.New("this address belongs to an older attempt: open the newest link, and paste the address on which it ends")

// code takes the code out of what the browser came back with. Refusals are an *oauthError.
func (t ticket) code(q url.Values) (string, error) {
	switch {
	case q.Get("state") != t.state:
		return "", errOlder
	case q.Has("error"):
		return "", &oauthError{Status: http.StatusBadRequest, Name: q.Get("error"), Description: q.Get("error_description")}
	}
	return q.Get("code"), nil
}

// pasted reads an address, or its query, as people and terminals mangle them.
func pasted(text, redirect string) (url.Values, error) {
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
		return nil, fmt.Errorf("this is the link to open: paste the address on which it ends, which begins with %s", redirect)
	case err == nil && (q.Has("code") || q.Has("error")):
		return nil, errors.New("this is only a part of the address: paste all of it, with code and state")
	}
	return nil, fmt.Errorf("this is not the address on which the browser ends: want one such as %s/?code=…&state=…", strings.TrimSuffix(redirect, "/"))
}

// A door is where the browser comes back: a server on localhost, or nowhere.
type door struct {
	redirect string
	visits   chan *visit // nil: nobody listens
	done     chan struct{}
	server   *http.Server
	serving  sync.WaitGroup
}

// A visit is a browser that came back.
type visit struct {
	query url.Values
	page  chan page // what it is shown; holds one
}

// A page is shown, or leads on.
type page struct{ to, title, text string }

// openDoor listens where the redirect address is on localhost.
func openDoor(redirect string, port int) (*door, error) {
	d := &door{redirect: redirect}
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
	d.redirect, d.visits, d.done = u.String(), make(chan *visit), make(chan struct{})
	d.server = &http.Server{Handler: d.handler(u.Path), ReadHeaderTimeout: 10 * time.Second}
	for _, l := range listeners {
		d.serving.Go(func() { _ = d.server.Serve(l) })
	}
	return d, nil
}

// listenLocal listens on both addresses that localhost may be.
func listenLocal(port int) ([]net.Listener, int, error) {
	for try := 0; ; try++ {
		four, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			if errors.Is(err, syscall.EADDRINUSE) {
				return nil, 0, fmt.Errorf("another program listens on http://localhost:%d; choose another port with --port, as far as the registration allows", port)
			}
			return nil, 0, fmt.Errorf("listen on http://localhost:%d: %w", port, err)
		}
		got := four.Addr().(*net.TCPAddr).Port
		six, err := net.Listen("tcp", net.JoinHostPort("::1", strconv.Itoa(got)))
		switch {
		case err == nil:
			return []net.Listener{four, six}, got, nil
		case errors.Is(err, syscall.EADDRINUSE) && port == 0 && try < 5:
			four.Close() // somebody else's on the other address: a browser could go there
			continue
		}
		return []net.Listener{four}, got, nil
	}
}

func (d *door) listening() bool { return d.visits != nil }

func (d *door) close() {
	if d.server == nil {
		return
	}
	close(d.done)
	// The last page is on its way; a browser that keeps its connection open is not waited for.
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if d.server.Shutdown(ctx) != nil {
		d.server.Close()
	}
	d.serving.Wait()
}

func (d *door) handler(path string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if r.Method != http.MethodGet || strings.Trim(r.URL.Path, "/") != strings.Trim(path, "/") || q.Get("code") == "" && q.Get("error") == "" {
			http.NotFound(w, r)
			return
		}
		v := &visit{query: q, page: make(chan page, 1)}
		select {
		case d.visits <- v:
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
	// The address of this page holds the code.
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
