// Package graph is a rate-limited, authenticated client for Microsoft Graph.
//
// The request builders of Microsoft's SDK make the requests; [Get], [GetAll], [Send] and [Call] send them: they add the token,
// respect the limits, turn failures into an [Error] and decode the answers into the small structs of their callers.
package graph

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"mime"
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

// maxConnections bounds the connections to one host. With HTTP/2 the requests of all accounts share one connection, but without a
// bound each request that is sent before it exists would open its own.
const maxConnections = 16

// requestTimeout bounds one request with its token and its answer.
const requestTimeout = 30 * time.Second

// Tokens hands out the access tokens of one account.
type Tokens interface {
	// Token returns a token that is valid now. Its error is an *Error with the reason SignInRequired when the user must act.
	Token(ctx context.Context) (string, error)
	// Renew returns a token other than the one that Graph rejected, or an error as Token does. claims is the JSON of Graph's claims
	// challenge, or "". If Graph rejects tokens that were just renewed, it returns a *RejectedError instead of one token after another.
	Renew(ctx context.Context, rejected, claims string) (string, error)
	// Personal reports whether a personal Microsoft account is signed in.
	Personal() bool
	// Granted returns the scopes that the tokens carry, in their short form: "Calendars.Read".
	Granted() []string
}

// Options configure a Client.
type Options struct {
	Root      string            // https://graph.microsoft.com, without a version
	Transport http.RoundTripper // nil: NewTransport
	Tokens    Tokens
	ClientID  string // of the app registration
	// Application reports that Tokens are those of an application, without a user.
	Application bool
	// Limiter bounds the requests to Exchange of all clients that have it. Nil: only those in one mailbox are bounded.
	Limiter *Limiter
	Log     *slog.Logger
	// OnExchange is called after each request that reached the network, with the status of the answer, 0 without one, and the time
	// until its header. Nil: nothing is.
	OnExchange func(method string, status int, took time.Duration)
}

// A Client sends the requests of one account. It is safe for concurrent use.
type Client struct {
	connection
	owner string // of an application: the mailbox that takes the place of the signed-in user's; "": none

	mu        sync.Mutex         // guards the following
	batches   map[any]any        // batchKey[K, V] → *batch[K, V]
	onces     map[any]any        // onceKey[T] → *onceSuccess[T]
	downloads []*download        // the oldest first
	mailboxes map[string]*Client // by ForMailbox, by the mailbox in lower case
}

// A connection holds what the clients of one account share.
type connection struct {
	root        *url.URL
	base        string // root and version
	clientID    string
	application bool     // there is no user
	limiter     *Limiter // nil: none
	tokens      Tokens
	log         *slog.Logger
	adapter     *khttp.NetHttpRequestAdapter
	http        *http.Client
	transport   http.RoundTripper
	throttle    *throttle
	exchanged   func(method string, status int, took time.Duration) // nil: nothing is counted
	bounds      bounds

	rejections *rejections
	counters   *counters
}

// counters count since the start; see Stats.
type counters struct{ requests, throttled, errors atomic.Uint64 }

// New returns a client without contacting Graph.
func New(o Options) (*Client, error) {
	root, err := url.Parse(o.Root)
	switch {
	case err != nil || root.Host == "" || root.Scheme != "https" && root.Scheme != "http" || strings.Trim(root.Path, "/") != "" || root.RawQuery != "" || root.User != nil:
		return nil, fmt.Errorf("the address of Microsoft Graph: want one such as https://graph.microsoft.com, not %q", o.Root)
	case o.Tokens == nil:
		return nil, errors.New("a Graph client without tokens")
	}
	c := newClient(connection{
		root: root, base: root.Scheme + "://" + root.Host + "/v1.0",
		clientID: o.ClientID, application: o.Application, limiter: o.Limiter, tokens: o.Tokens, log: o.Log, transport: o.Transport, exchanged: o.OnExchange,
		bounds: defaultBounds(), rejections: &rejections{}, counters: &counters{},
	}, "")
	if c.transport == nil {
		c.transport = NewTransport()
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	c.throttle = newThrottle(c.log)
	// Kiota's default handlers come in random order, compress request bodies, and retry requests that must not be sent twice.
	c.http = &http.Client{
		Transport:     khttp.NewCustomTransportWithParentTransport(c.transport, core.NewGraphTelemetryHandler(nil)),
		CheckRedirect: c.checkRedirect,
	}
	// The serializer that knows the SDK's models writes what was set, and null where nil was.
	writer := store.NewBackingStoreSerializationWriterProxyFactory(jsonserialization.NewJsonSerializationWriterFactory())
	c.adapter, err = khttp.NewNetHttpRequestAdapterWithParseNodeFactoryAndSerializationWriterFactoryAndHttpClient(
		noAuthentication{}, jsonserialization.NewJsonParseNodeFactory(), writer, c.http)
	if err != nil {
		return nil, fmt.Errorf("make the adapter of Microsoft Graph: %w", err)
	}
	c.adapter.SetBaseUrl(c.base)
	return c, nil
}

func newClient(shared connection, owner string) *Client {
	return &Client{connection: shared, owner: owner, batches: map[any]any{}, onces: map[any]any{}, mailboxes: map[string]*Client{}}
}

// ForMailbox returns the client of an application for one mailbox, which is named by its address or by the id of its user: Me is that
// user. It shares the limits and the counters of c, which closes it.
func (c *Client) ForMailbox(mailbox string) *Client {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := strings.ToLower(mailbox)
	of := c.mailboxes[key]
	if of == nil {
		of = newClient(c.connection, mailbox)
		c.mailboxes[key] = of
	}
	return of
}

// withMailboxes returns c and its clients for mailboxes.
func (c *Client) withMailboxes() []*Client {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append(slices.Collect(maps.Values(c.mailboxes)), c)
}

// Mailbox returns the mailbox of a client of ForMailbox, otherwise "".
func (c *Client) Mailbox() string { return c.owner }

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
		MaxIdleConnsPerHost:    maxInFlight,
		MaxConnsPerHost:        maxConnections,
		MaxResponseHeaderBytes: 1 << 20,
		ForceAttemptHTTP2:      true,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 10 * time.Second},
	}
}

// Close ends the downloads and closes the idle connections.
func (c *Client) Close() {
	for _, of := range c.withMailboxes() {
		of.closeDownloads(0)
	}
	(&http.Client{Transport: c.transport}).CloseIdleConnections()
}

// Me returns a fresh request builder of the signed-in user, or of the mailbox of ForMailbox. Builders are not to be shared between
// goroutines.
func (c *Client) Me() *users.UserItemRequestBuilder { return c.User(cmp.Or(c.owner, meToken)) }

// User returns a fresh request builder of a user, by id or user principal name.
func (c *Client) User(id string) *users.UserItemRequestBuilder {
	return users.NewUserItemRequestBuilderInternal(map[string]string{"baseurl": c.base, "user%2Did": id}, c.adapter)
}

// Group returns a fresh request builder of the calendar of a group, by id. Its requests have the forms of those of a user; the SDK's
// builders of groups would make the program much larger.
func (c *Client) Group(id string) *users.UserItemRequestBuilder { return c.User(groupToken + id) }

// Reference returns the address of an entity of a set, for a property that ends in @odata.bind.
func (c *Client) Reference(set, id string) string {
	return c.base + "/" + set + "('" + strings.ReplaceAll(url.PathEscape(id), "'", "''") + "')"
}

// Adapter returns the adapter for further request builders. Send their requests with Get, GetAll, Send or Call: the sending
// methods of the builders have no token.
func (c *Client) Adapter() abstractions.RequestAdapter { return c.adapter }

// ClientID returns the id of the app registration.
func (c *Client) ClientID() string { return c.clientID }

// Granted reports whether a permission is granted.
func (c *Client) Granted(n Permission) bool {
	if c.application {
		n, _ = n.Application()
	}
	return n.Satisfied(c.tokens.Granted())
}

// Personal reports whether a personal Microsoft account is signed in.
func (c *Client) Personal() bool { return c.tokens.Personal() }

// NationalCloud reports whether the account is in one of Microsoft's national clouds, which lack some parts of Graph.
//
// https://learn.microsoft.com/graph/deployments
func (c *Client) NationalCloud() bool {
	return slices.Contains([]string{"graph.microsoft.us", "dod-graph.microsoft.us", "microsoftgraph.chinacloudapi.cn"}, strings.ToLower(c.root.Hostname()))
}

// Stats counts since the start.
type Stats struct {
	Requests       uint64    // that reached the network
	Throttled      uint64    // answers that asked to wait
	Errors         uint64    // requests that failed, except where the caller gave up
	ThrottledUntil time.Time // zero: nothing is throttled
	// ThrottledFor sums up the times for which requests were held back because an answer asked to wait. It includes those to come.
	ThrottledFor time.Duration
}

// Stats returns the current counters.
func (c *Client) Stats() Stats {
	until, total := c.throttle.state()
	return Stats{c.counters.requests.Load(), c.counters.throttled.Load(), c.counters.errors.Load(), until, total}
}

// PreferImmutableIDs asks Graph for ids that survive a move to another folder.
//
// https://learn.microsoft.com/graph/outlook-immutable-id
func PreferImmutableIDs(h *abstractions.RequestHeaders) { h.Add("Prefer", `IdType="ImmutableId"`) }

// Do sends a request and decodes the JSON of the answer into out. If out is nil only the status counts, but a body that is not
// JSON is an error: it comes from a proxy in between, not from Graph. The answer to a write may be empty, which leaves out
// unchanged.
//
// Errors are *Error and begin with op, the attempted action: "read the mailbox settings". If ctx was canceled, errors.Is finds
// context.Canceled. No request takes longer than 30 seconds.
func (c *Client) Do(ctx context.Context, op string, r *abstractions.RequestInformation, out any) error {
	_, err := c.do(ctx, new(*bucket), op, r, out)
	return err
}

// do is Do for a request that counts against the limit of b; if that is nil, b is set to the bucket of the address. It returns the
// number of bytes of the answer.
func (c *Client) do(ctx context.Context, b **bucket, op string, r *abstractions.RequestInformation, out any) (int, error) {
	uri, err := c.address(r)
	if err != nil {
		return 0, c.newError(ctx, op, new(answer), err)
	}
	if *b == nil {
		*b = c.throttle.bucket(c.limitOf(uri.Path))
	}
	a, err := c.send(ctx, *b, r, uri)
	if err == nil {
		err = a.decode(out)
	}
	if err != nil {
		return 0, c.newError(ctx, op, a, err)
	}
	return len(a.body), nil
}

// limitOf names the limit that a request counts against. The requests of an organization about the subscriptions to one mailbox have a limit
// of their own: that one is throttled must not hold others up.
func (c *Client) limitOf(path string) string {
	limit := limitOf(path)
	if limit == subscriptionsLimit && c.owner != "" {
		limit += " of " + strings.ToLower(c.owner)
	}
	return limit
}

// address returns where a request goes. Only Graph must get the token.
func (c *Client) address(r *abstractions.RequestInformation) (*url.URL, error) {
	if r.PathParameters == nil {
		r.PathParameters = map[string]string{}
	}
	r.PathParameters["baseurl"] = c.base
	uri, err := r.GetUri()
	if err != nil {
		return nil, &Error{Reason: InvalidArgument, Message: "the address of the request cannot be made", Err: withoutURL(err)}
	}
	if c.application && strings.Contains(uri.Path, meToken) {
		return nil, &Error{Reason: InvalidArgument, Message: "an application has no signed-in user"}
	}
	return uri, c.isGraphHost(uri)
}

// send sends a request as soon as its bucket lets it through. The answer is never nil.
func (c *Client) send(ctx context.Context, b *bucket, r *abstractions.RequestInformation, uri *url.URL) (*answer, error) {
	a := new(answer) // until it is known
	if err := b.check(); err != nil {
		return a, err
	}
	limiter := c.limiter
	if !b.outlook {
		limiter = nil
	}
	if err := limiter.acquire(ctx); err != nil {
		return a, err
	}
	var began time.Time // zero: the request was not sent
	defer func() { limiter.release(began, a.status != 0 && a.status < 500, a.throttled()) }()
	if err := b.acquire(ctx); err != nil { // after the limiter: polls that wait there for long must not hold up others of the mailbox
		return a, err
	}
	defer b.release()
	began = time.Now()
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	a, err := c.sendAuthorized(ctx, r, uri, (*answer).read)
	return a, c.settle(b, a, err)
}

// settle applies what an answer says about the limit of b, and returns the error of the request.
func (c *Client) settle(b *bucket, a *answer, err error) error {
	switch {
	case a.throttled():
		c.counters.throttled.Add(1)
		a.wait = b.block(a.wait)
	case a.status != 0 && a.status < 500:
		b.reset()
	}
	if err == nil && !a.successful() {
		err = errors.New("refused")
	}
	return err
}

// exchange sends a request once and reads its answer. The answer is never nil.
func (c *Client) exchange(ctx context.Context, r *abstractions.RequestInformation, uri *url.URL, token string, read readAnswer) (*answer, error) {
	a := &answer{reads: isRead(r.Method, uri.Path)}
	var sent atomic.Bool
	sent.Store(true) // by a transport that does not trace
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn:      func(string) { sent.Store(false) },
		WroteHeaders: func() { sent.Store(true) },
	})
	request, err := newRequest(ctx, r, uri)
	if err != nil {
		return a, err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	c.counters.requests.Add(1)
	began := time.Now()
	response, err := c.http.Do(request)
	if c.exchanged != nil {
		status := 0
		if err == nil {
			status = response.StatusCode
		}
		c.exchanged(request.Method, status, time.Since(began))
	}
	if dial := (*net.OpError)(nil); errors.As(err, &dial) && dial.Op == "dial" {
		sent.Store(false)
	}
	a.sent = sent.Load()
	if err != nil {
		return a, err
	}
	if !a.reads {
		traceWrite(ctx, response)
	}
	return a, read(a, response, c.bounds)
}

// newRequest returns the HTTP request for a builder's request information.
func newRequest(ctx context.Context, r *abstractions.RequestInformation, uri *url.URL) (*http.Request, error) {
	u := *uri
	for token, owner := range map[string]string{meToken: "/me", groupToken: "/groups/"} {
		u.Path = strings.Replace(u.Path, "/users/"+token, owner, 1)
		u.RawPath = strings.Replace(u.RawPath, "/users/"+token, owner, 1)
	}
	u.RawQuery = strings.ReplaceAll(u.RawQuery, "%24", "$") // of $select
	request, err := http.NewRequestWithContext(ctx, r.Method.String(), "", bytes.NewReader(r.Content))
	if err != nil {
		return nil, err
	}
	request.URL, request.Host = &u, u.Host
	if r.Headers != nil {
		for _, key := range r.Headers.ListKeys() {
			for _, value := range r.Headers.Get(key) {
				request.Header.Add(key, value)
			}
		}
	}
	return request, nil
}

// An answer is the outcome of one HTTP exchange.
type answer struct {
	reads    bool // the request changes nothing
	sent     bool // the request may have reached Graph
	status   int  // 0: there was no answer
	header   http.Header
	wait     time.Duration // as Retry-After asks
	complete bool          // the body is all of it
	body     []byte
}

// throttled reports whether the answer asks to wait.
func (a *answer) throttled() bool {
	return a.status == http.StatusTooManyRequests || a.status == http.StatusServiceUnavailable && a.wait > 0
}

func (a *answer) successful() bool { return a.status >= 200 && a.status <= 299 }

// A readAnswer reads a response into an answer, as answer.read does.
type readAnswer func(*answer, *http.Response, bounds) error

// read reads the status, the header and the body of a response, and closes it.
func (a *answer) read(response *http.Response, bounds bounds) error {
	defer response.Body.Close() // without reading on: the rest of a body that is too long is not worth the connection
	a.status, a.header, a.wait = response.StatusCode, response.Header, retryAfter(response.Header)
	limit := bounds.answer
	if !a.successful() {
		limit = bounds.refusal
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, limit+1))
	switch {
	case err != nil:
		return fmt.Errorf("the answer broke off: %w", err)
	case int64(len(body)) > limit && a.successful():
		a.complete = true
		return fmt.Errorf("the answer is larger than %d MiB", limit>>20)
	}
	a.complete, a.body = true, body
	return nil
}

func (a *answer) decode(out any) error {
	kind, _, _ := mime.ParseMediaType(a.header.Get("Content-Type"))
	switch {
	case len(a.body) == 0 && (out == nil || !a.reads):
		return nil
	case len(a.body) == 0:
		return errors.New("the answer is empty")
	case isBinary(out):
		*out.(*[]byte) = a.body
		return nil
	case kind == "text/html":
		return errors.New("the answer is a web page, not Graph's")
	case out == nil && json.Valid(a.body):
		return nil
	case out == nil:
		return errors.New("the answer is not JSON")
	}
	if err := json.Unmarshal(a.body, out); err != nil {
		return fmt.Errorf("the answer cannot be read: %w", sanitizeJSONError(err))
	}
	return nil
}

// isBinary reports whether the answer is wanted as it comes.
func isBinary(out any) bool {
	_, ok := out.(*[]byte)
	return ok
}

// sanitizeJSONError returns an error that says what is wrong with a JSON document without showing any of it.
func sanitizeJSONError(err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return syntax
	case errors.As(err, &kind):
		value, _, _ := strings.Cut(kind.Value, " ")
		return fmt.Errorf("%q is of type %s", kind.Field, value)
	}
	return errors.New("it has a value of the wrong type")
}

// isRead reports whether a request changes nothing. Some reads are a POST because their parameters are too long for a GET.
func isRead(method abstractions.HttpMethod, path string) bool {
	if method == abstractions.GET || method == abstractions.HEAD {
		return true
	}
	action := strings.TrimPrefix(path[strings.LastIndexByte(path, '/')+1:], "microsoft.graph.")
	return slices.Contains([]string{"getSchedule", "getPresencesByUserId", "findMeetingTimes", "translateExchangeIds"}, action)
}

// noAuthentication is the authentication of the adapter, which sends nothing itself.
type noAuthentication struct{}

func (noAuthentication) AuthenticateRequest(context.Context, *abstractions.RequestInformation, map[string]any) error {
	return errors.New("requests are sent by package graph, not by their builders")
}

// isGraphHost returns an error for an address of any other server, which must not get the token.
func (c *Client) isGraphHost(u *url.URL) error {
	if u.Scheme != c.root.Scheme || u.Host != c.root.Host {
		return &Error{Reason: Refused, Message: fmt.Sprintf("Graph's answer leads to another server, %s://%s", u.Scheme, u.Host)}
	}
	return nil
}

// checkRedirect follows a read that Graph has moved within itself; a write is not repeated elsewhere.
func (c *Client) checkRedirect(r *http.Request, via []*http.Request) error {
	if via[0].Method != http.MethodGet || len(via) > 3 || c.isGraphHost(r.URL) != nil {
		return http.ErrUseLastResponse
	}
	c.counters.requests.Add(1)
	return nil
}

// meToken is the SDK's placeholder for the signed-in user. Kiota's own handler for it forgets that an id in the path may hold an
// escaped slash.
const meToken = "me-token-to-replace"

// groupToken marks the id of a group in the place of a user's.
const groupToken = "group-token-to-replace-"
