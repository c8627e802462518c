// Package graph asks Microsoft Graph, politely.
//
// Requests are made by the request builders of Microsoft's SDK and sent by [Client.Do] and [List], which see to tokens, limits
// and errors, and decode the answers into the small structs of those who asked.
package graph

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	abstractions "github.com/microsoft/kiota-abstractions-go"
	"github.com/microsoft/kiota-abstractions-go/store"
	khttp "github.com/microsoft/kiota-http-go"
	jsonserialization "github.com/microsoft/kiota-serialization-json-go"
	core "github.com/microsoftgraph/msgraph-sdk-go-core"
	"github.com/microsoftgraph/msgraph-sdk-go/users"
)

const (
	requestTimeout = 30 * time.Second // of one request, its token and its answer
	maxAnswer      = 32 << 20         // bytes
)

// Tokens hands out the access tokens of one account.
type Tokens interface {
	// Token is a token that is valid now. Its error is an *Error with the reason SignInRequired when the user must act.
	Token(ctx context.Context) (string, error)
	// Renew returns a token other than the one that Graph rejected, or an error as Token does. claims is the JSON of Graph's claims
	// challenge, or "". If Graph rejects tokens that were just renewed, it returns a *RejectedError instead of one token after another.
	Renew(ctx context.Context, rejected, claims string) (string, error)
	// Personal reports whether a personal Microsoft account is signed in.
	Personal() bool
	// Granted are the scopes that the tokens carry, in their short form: "Calendars.Read".
	Granted() []string
}

// Options say how to reach Graph, and as whom.
type Options struct {
	Root      string            // https://graph.microsoft.com, without a version
	Transport http.RoundTripper // nil: NewTransport
	Tokens    Tokens
	ClientID  string // of the app registration
	Log       *slog.Logger
}

// A Client asks Graph on behalf of one account. It may be used by many goroutines.
type Client struct {
	root      *url.URL
	base      string // root and version
	clientID  string
	tokens    Tokens
	log       *slog.Logger
	adapter   *khttp.NetHttpRequestAdapter
	transport http.RoundTripper

	gate    gate
	account *remembered[Account]

	rejections rejections

	gathering sync.Mutex
	gathers   map[any]any // gatherKey[K, V] → *gathered[K, V]

	requests, throttled, errors atomic.Uint64
}

// New returns a client. It contacts nobody.
func New(o Options) (*Client, error) {
	root, err := url.Parse(o.Root)
	switch {
	case err != nil || root.Host == "" || root.Scheme != "https" && root.Scheme != "http" || strings.Trim(root.Path, "/") != "" || root.RawQuery != "" || root.User != nil:
		return nil, fmt.Errorf("the address of Microsoft Graph: want one such as https://graph.microsoft.com, not %q", o.Root)
	case o.Tokens == nil:
		return nil, errors.New("a Graph client without tokens")
	}
	c := &Client{
		root: root, base: root.Scheme + "://" + root.Host + "/v1.0",
		clientID: o.ClientID, tokens: o.Tokens, log: o.Log, transport: o.Transport,
		gate:    gate{lanes: map[string]*lane{}},
		account: newRemembered[Account](),
		gathers: map[any]any{},
	}
	if c.transport == nil {
		c.transport = NewTransport()
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	// The serializer that knows the SDK's models writes what was set, and null where nil was.
	writer := store.NewBackingStoreSerializationWriterProxyFactory(jsonserialization.NewJsonSerializationWriterFactory())
	c.adapter, err = khttp.NewNetHttpRequestAdapterWithParseNodeFactoryAndSerializationWriterFactoryAndHttpClient(
		authentication{c}, jsonserialization.NewJsonParseNodeFactory(), writer, &http.Client{
			// Kiota's own list comes in random order, compresses what is sent, and retries what must not be sent twice.
			Transport: khttp.NewCustomTransportWithParentTransport(&wire{c, c.transport},
				core.NewGraphTelemetryHandler(nil), khttp.NewParametersNameDecodingHandler(), me{}),
			CheckRedirect: c.redirect,
		})
	if err != nil {
		return nil, fmt.Errorf("make the adapter of Microsoft Graph: %w", err)
	}
	c.adapter.SetBaseUrl(c.base)
	return c, nil
}

// NewTransport returns a transport with HTTP/2, a timeout on everything that can hang, and the proxies of the environment.
func NewTransport() *http.Transport {
	return &http.Transport{
		Proxy: func(r *http.Request) (*url.URL, error) {
			proxy, err := http.ProxyFromEnvironment(r)
			if err != nil { // it would show the password in the address
				return nil, errors.New("the proxy that the environment names is not a valid address")
			}
			return proxy, nil
		},
		DialContext:            (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:    10 * time.Second,
		ResponseHeaderTimeout:  requestTimeout,
		ExpectContinueTimeout:  time.Second,
		IdleConnTimeout:        90 * time.Second,
		MaxIdleConnsPerHost:    inFlight,
		MaxResponseHeaderBytes: 1 << 20,
		ForceAttemptHTTP2:      true,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 10 * time.Second},
	}
}

// Close closes the idle connections.
func (c *Client) Close() {
	(&http.Client{Transport: c.transport}).CloseIdleConnections()
}

// Me returns a fresh request builder of the signed-in user. Builders are not to be shared between goroutines.
func (c *Client) Me() *users.UserItemRequestBuilder { return c.User(meToken) }

// User returns a fresh request builder of a user, by id or user principal name.
func (c *Client) User(id string) *users.UserItemRequestBuilder {
	return users.NewUserItemRequestBuilderInternal(map[string]string{"baseurl": c.base, "user%2Did": id}, c.adapter)
}

// Adapter is what other request builders are made with. What they make is sent by Do and List.
func (c *Client) Adapter() abstractions.RequestAdapter { return c.adapter }

// ClientID is the id of the app registration.
func (c *Client) ClientID() string { return c.clientID }

// Granted reports whether a permission is there.
func (c *Client) Granted(n Permission) bool { return n.Satisfied(c.tokens.Granted()) }

// Stats count since the start.
type Stats struct {
	Requests       uint64    // that reached the network
	Throttled      uint64    // answers that asked to wait
	Errors         uint64    // requests that failed, for whatever reason but the caller's
	ThrottledUntil time.Time // zero: nothing is held back
}

// Stats returns the counters as they are now.
func (c *Client) Stats() Stats {
	return Stats{c.requests.Load(), c.throttled.Load(), c.errors.Load(), c.gate.until()}
}

// PreferImmutableIDs asks Graph for ids that survive a move to another folder.
//
// https://learn.microsoft.com/graph/outlook-immutable-id
func PreferImmutableIDs(h *abstractions.RequestHeaders) { h.Add("Prefer", `IdType="ImmutableId"`) }

// Do sends a request and decodes the JSON of the answer into out; with a nil out the answer is ignored. An answer to a write may
// be empty: out stays as it was.
//
// Errors are *Error and begin with op, what was tried: "read the mailbox settings". Where ctx was cancelled, errors.Is finds
// context.Canceled. No request takes longer than 30 seconds.
func (c *Client) Do(ctx context.Context, op string, r *abstractions.RequestInformation, out any) error {
	lane, err := c.lane(r)
	if err != nil {
		return c.failure(ctx, op, new(answer), err)
	}
	return c.do(ctx, lane, op, r, out)
}

func (c *Client) do(ctx context.Context, l *lane, op string, r *abstractions.RequestInformation, out any) error {
	a := new(answer)
	err := c.send(ctx, l, r, a)
	if err == nil {
		err = a.decode(out)
	}
	if err != nil {
		return c.failure(ctx, op, a, err)
	}
	return nil
}

// An answer is what is known of a request.
type answer struct {
	token    string
	claims   string      // that Graph wants in a token, as JSON
	reads    bool        // the request changes nothing
	sent     atomic.Bool // it may have reached Graph
	status   int         // 0: none
	header   http.Header
	wait     time.Duration
	complete bool // the whole of it arrived
	body     []byte
}

type answerKey struct{}

// answerOf is the answer that is waited for; a builder's own Get has none.
func answerOf(ctx context.Context) *answer {
	a, ok := ctx.Value(answerKey{}).(*answer)
	if !ok {
		a = new(answer)
	}
	return a
}

// address is where a request goes, before it is sent.
func (c *Client) address(r *abstractions.RequestInformation) (*url.URL, error) {
	if r.PathParameters == nil {
		r.PathParameters = map[string]string{}
	}
	r.PathParameters["baseurl"] = c.base
	uri, err := r.GetUri()
	if err != nil {
		return nil, &Error{Reason: InvalidArgument, Message: "the address of the request cannot be made", Err: withoutURL(err)}
	}
	return uri, nil
}

func (c *Client) lane(r *abstractions.RequestInformation) (*lane, error) {
	uri, err := c.address(r)
	if err != nil {
		return nil, err
	}
	return c.gate.lane(limit(uri.Path)), nil
}

func (c *Client) send(ctx context.Context, l *lane, r *abstractions.RequestInformation, a *answer) error {
	uri, err := c.address(r)
	if err != nil {
		return err
	}
	a.reads = reads(r.Method, uri.Path)
	if err := l.enter(ctx); err != nil {
		return err
	}
	defer l.leave()
	defer r.Headers.Remove("Authorization")

	ctx, cancel := context.WithTimeout(context.WithValue(ctx, answerKey{}, a), requestTimeout)
	defer cancel()
	handler := abstractions.NewRequestHandlerOption()
	handler.SetResponseHandler(func(response any, _ abstractions.ErrorMappings) (any, error) {
		return nil, a.read(response.(*http.Response))
	})
	ctx = context.WithValue(ctx, abstractions.ResponseHandlerOptionKey, handler)
	err = c.sendAuthorized(ctx, uri.Path, r, a)
	if a.status != 0 && a.status != http.StatusUnauthorized {
		a.wait = retryAfter(a.header)
	}
	switch {
	case a.throttled():
		c.throttled.Add(1)
		a.wait = l.close(a.wait)
	case a.status != 0 && a.status < 500:
		l.open()
	}
	if err == nil && !a.carriedOut() {
		err = errors.New("refused")
	}
	return err
}

// throttled reports whether the answer is to wait.
func (a *answer) throttled() bool {
	return a.status == http.StatusTooManyRequests || a.status == http.StatusServiceUnavailable && a.wait > 0
}

func (a *answer) carriedOut() bool { return a.status >= 200 && a.status <= 299 }

// read takes the answer in. The body of a long answer is not worth a connection.
func (a *answer) read(res *http.Response) error {
	defer res.Body.Close()
	a.status, a.header = res.StatusCode, res.Header
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil:
		return fmt.Errorf("the answer broke off: %w", err)
	case len(body) > maxAnswer:
		a.complete = true
		return fmt.Errorf("the answer is larger than %d MiB", maxAnswer>>20)
	}
	a.complete, a.body = true, body
	return nil
}

func (a *answer) decode(out any) error {
	switch {
	case out == nil, len(a.body) == 0 && !a.reads:
		return nil
	case len(a.body) == 0:
		return errors.New("the answer is empty")
	}
	if err := json.Unmarshal(a.body, out); err != nil {
		return fmt.Errorf("the answer cannot be read: %w", plain(err))
	}
	return nil
}

// plain says what is wrong with JSON without showing any of it.
func plain(err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return syntax
	case errors.As(err, &kind):
		value, _, _ := strings.Cut(kind.Value, " ")
		return fmt.Errorf("%q is of type %s", kind.Field, value)
	}
	return errors.New("it holds a value of another form")
}

// reads reports whether a request changes nothing: some of what is asked is too long for a GET.
func reads(method abstractions.HttpMethod, path string) bool {
	if method == abstractions.GET || method == abstractions.HEAD {
		return true
	}
	action := strings.TrimPrefix(path[strings.LastIndexByte(path, '/')+1:], "microsoft.graph.")
	return slices.Contains([]string{"getSchedule", "getPresencesByUserId", "findMeetingTimes", "translateExchangeIds"}, action)
}

// authentication puts a token on requests to Graph, and on no others.
type authentication struct{ *Client }

func (c authentication) AuthenticateRequest(ctx context.Context, r *abstractions.RequestInformation, _ map[string]any) error {
	uri, err := c.address(r)
	if err != nil {
		return err
	}
	if err := c.ours(uri); err != nil {
		return err
	}
	a := answerOf(ctx)
	if a.token == "" {
		if a.token, err = c.tokens.Token(ctx); err != nil {
			return err
		}
	}
	r.Headers.Remove("Authorization")
	r.Headers.Add("Authorization", "Bearer "+a.token)
	return nil
}

func (c *Client) ours(u *url.URL) error {
	if u.Scheme != c.root.Scheme || u.Host != c.root.Host {
		return &Error{Reason: Refused, Message: fmt.Sprintf("Graph's answer leads to another server, %s://%s", u.Scheme, u.Host)}
	}
	return nil
}

// redirect follows what Graph has moved within itself; a write is not repeated elsewhere.
func (c *Client) redirect(r *http.Request, via []*http.Request) error {
	if via[0].Method != http.MethodGet || len(via) > 3 || c.ours(r.URL) != nil {
		return http.ErrUseLastResponse
	}
	return nil
}

const meToken = "me-token-to-replace"

// me turns the SDK's placeholder into /me. Kiota's handler for it forgets that an id in the path may hold an escaped slash.
type me struct{}

func (me) Intercept(p khttp.Pipeline, index int, r *http.Request) (*http.Response, error) {
	u := *r.URL
	u.Path = strings.Replace(u.Path, "/users/"+meToken, "/me", 1)
	u.RawPath = strings.Replace(u.RawPath, "/users/"+meToken, "/me", 1)
	r.URL = &u
	return p.Next(r, index)
}

// wire is the last before the network.
type wire struct {
	*Client
	next http.RoundTripper
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	a := answerOf(r.Context())
	w.requests.Add(1)
	a.sent.Store(true) // by a transport that does not trace
	r = r.Clone(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
		GetConn:      func(string) { a.sent.Store(false) },
		WroteHeaders: func() { a.sent.Store(true) },
	}))
	if r.Body != nil {
		// Kiota says neither how long the body is nor how to get it again when a connection turns out to be dead.
		content, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err != nil {
			return nil, err
		}
		r.ContentLength = int64(len(content))
		r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }
		r.Body, _ = r.GetBody()
	}
	res, err := w.next.RoundTrip(r)
	if dial := (*net.OpError)(nil); errors.As(err, &dial) && dial.Op == "dial" {
		a.sent.Store(false)
	}
	if err == nil {
		a.claims = claimsChallenge(res.Header)
		res.Header.Del("WWW-Authenticate") // kiota would answer a challenge, and stumble over an unexpected one
	}
	return res, err
}
