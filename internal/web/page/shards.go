package page

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/web"
	"github.com/graph2mqtt/graph2mqtt/services"
)

const (
	// idleTime is the time after the last request for a snapshot after which the shards are not read any more.
	idleTime = 2 * pollWait
	// firstWait bounds how long a request for a snapshot waits for shards that have not answered yet.
	firstWait = 3 * time.Second
	// shardWait bounds the wait of a request to a shard for a newer snapshot, and shardTimeout that for its answer. They are short, because
	// the machine of the shard may fail.
	shardWait    = 5 * time.Second
	shardTimeout = shardWait + 3*time.Second
	// readPause separates reading a shard with changes from reading it again: one with many accounts changes all the time, and its snapshot is
	// large. retryPause separates attempts to read a shard that does not answer.
	readPause  = 2 * time.Second
	retryPause = 2 * time.Second
	// otherVersionPause delays the snapshot for a page that has another one. It is that of another machine each time if a load balancer
	// distributes the requests of a browser, which then come without a pause.
	otherVersionPause = time.Second
)

const (
	// stateUnreachable is the state of an account whose shard does not answer.
	stateUnreachable = "unreachable"
	// codeUnreachable is the code of the failure to reach a shard, or what the machines share.
	codeUnreachable = "unreachable"
)

// A ConfiguredAccount is an account of the configuration.
type ConfiguredAccount struct {
	ID, Name    string
	Application bool // an organization
	Shard       int
}

// ShardsOptions configure Shards.
type ShardsOptions struct {
	Count int
	// Accounts returns the accounts of all shards.
	Accounts func() []ConfiguredAccount
	// Do has the status page of a shard answer a request, on whichever machine it is.
	Do func(shard int, r *http.Request) (*web.RecordedResponse, error)
	// Problem returns why this machine cannot use what the machines share; nil: it can.
	Problem func() error
	Log     *slog.Logger
}

// Shards are the status pages of the shards of a cluster, which a StatusPage shows as one. While a browser shows it, Run follows what
// changes in them. It is safe for concurrent use.
type Shards struct {
	options ShardsOptions
	asked   chan struct{} // has a value when a snapshot is wanted

	mu        sync.Mutex
	lastAsked time.Time
	pages     []shardPage
	changed   chan struct{} // closed when one of pages changes
}

// A shardPage is the snapshot of a shard.
type shardPage struct {
	version  string
	snapshot snapshot
	err      error // why there is none
}

// errNotAsked is the error of a shard from which nothing was read yet.
var errNotAsked = errors.New("the shard was not asked yet")

// NewShards returns the status pages of shards.
func NewShards(o ShardsOptions) *Shards {
	s := &Shards{options: o, asked: make(chan struct{}, 1), pages: make([]shardPage, o.Count), changed: make(chan struct{})}
	s.forget()
	return s
}

// Run reads the shards while snapshots are wanted, until ctx is done.
func (s *Shards) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.asked:
		}
		if s.idleIn() <= 0 {
			continue
		}
		following, stop := context.WithCancel(ctx)
		var work sync.WaitGroup
		for shard := range s.pages {
			work.Go(func() { s.follow(following, shard) })
		}
		for wait := s.idleIn(); wait > 0 && graph.Pause(ctx, wait) == nil; wait = s.idleIn() {
		}
		stop()
		work.Wait()
		s.forget()
	}
}

// idleIn returns how long the shards are still read if no other snapshot is wanted.
func (s *Shards) idleIn() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Until(s.lastAsked.Add(idleTime))
}

// forget drops the snapshots, which are not kept up to date any more.
func (s *Shards) forget() {
	for shard := range s.pages {
		s.set(shard, shardPage{err: errNotAsked})
	}
}

// follow reads the snapshots of a shard until ctx is done.
func (s *Shards) follow(ctx context.Context, shard int) {
	for version := ""; ctx.Err() == nil; {
		p, err := s.read(ctx, shard, version)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			version = ""
			s.set(shard, shardPage{err: err})
			_ = graph.Pause(ctx, retryPause)
		case p != nil:
			version = p.version
			s.set(shard, *p)
			_ = graph.Pause(ctx, readPause)
		}
	}
}

// read returns the snapshot of a shard when it differs from a version; nil: it does not.
func (s *Shards) read(ctx context.Context, shard int, version string) (*shardPage, error) {
	ctx, cancel := context.WithTimeout(ctx, shardTimeout)
	defer cancel()
	query := url.Values{"after": {version}, "wait": {strconv.Itoa(int(shardWait / time.Second))}}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "/api/state?"+query.Encode(), nil)
	if err != nil {
		return nil, err
	}
	response, err := s.options.Do(shard, r)
	switch {
	case err != nil:
		return nil, err
	case response.Status == http.StatusNotModified:
		return nil, nil
	case response.Status != http.StatusOK:
		return nil, failureOf(response)
	}
	var e struct {
		Version string   `json:"version"`
		State   snapshot `json:"state"`
	}
	if err := json.Unmarshal(response.Body, &e); err != nil || e.State.Program.Broker == nil || e.State.Program.Graph == nil {
		return nil, errors.New("its machine has another version of graph2mqtt")
	}
	return &shardPage{version: e.Version, snapshot: e.State}, nil
}

// failureOf returns the error in an answer.
func failureOf(response *web.RecordedResponse) failure {
	var e struct {
		Error failure `json:"error"`
	}
	if err := json.Unmarshal(response.Body, &e); err != nil || e.Error.Message == "" {
		return failure{Code: codeUnreachable, Message: cmp.Or(strings.TrimSpace(string(response.Body)), http.StatusText(response.Status))}
	}
	return e.Error
}

// set sets the snapshot of a shard.
func (s *Shards) set(shard int, p shardPage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pages[shard] = p
	close(s.changed)
	s.changed = make(chan struct{})
}

// watch has Run read the shards for a while, and returns a channel that is closed when a snapshot changes.
func (s *Shards) watch() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastAsked = time.Now()
	select {
	case s.asked <- struct{}{}:
	default:
	}
	return s.changed
}

// await waits until every shard has answered or failed, at most for firstWait.
func (s *Shards) await(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, firstWait)
	defer cancel()
	for {
		changed := s.watch()
		s.mu.Lock()
		isComplete := !slices.ContainsFunc(s.pages, func(p shardPage) bool { return p.err == errNotAsked })
		s.mu.Unlock()
		if isComplete {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

// merge adds what the shards show to a snapshot.
func (s *Shards) merge(to *snapshot) {
	s.mu.Lock()
	pages := slices.Clone(s.pages)
	s.mu.Unlock()
	if err := s.options.Problem(); err != nil {
		to.Problems = append(to.Problems, problem{Code: codeUnreachable, Message: err.Error()})
	}
	program := &to.Program
	program.Graph = &requestCounts{}
	for _, p := range pages {
		if p.err != nil {
			continue
		}
		if b := *p.snapshot.Program.Broker; program.Broker == nil {
			program.Broker = &b
		} else {
			program.Broker.Connected = program.Broker.Connected && b.Connected
			program.Broker.Connections += b.Connections
		}
		g := p.snapshot.Program.Graph
		program.Graph.Requests += g.Requests
		program.Graph.Errors += g.Errors
		program.Graph.Waits += g.Waits
		to.Accounts = append(to.Accounts, p.snapshot.Accounts...)
		to.Requests = append(to.Requests, p.snapshot.Requests...)
		if to.Calendars != nil && p.snapshot.Calendars != nil {
			to.Calendars.Accounts = append(to.Calendars.Accounts, p.snapshot.Calendars.Accounts...)
		}
	}
	if program.Broker == nil {
		program.Broker = &broker{}
	}
	found := map[string]bool{}
	for _, a := range to.Accounts {
		found[a.ID] = true
	}
	for _, a := range s.options.Accounts() {
		if !found[a.ID] {
			to.Accounts = append(to.Accounts, unreachable(a, pages[a.Shard].err))
		}
	}
	slices.SortStableFunc(to.Accounts, func(a, b account) int { return strings.Compare(a.ID, b.ID) })
	slices.SortStableFunc(to.Requests, func(a, b request) int {
		switch { // those that wait come first
		case a.Completed != nil && b.Completed != nil:
			return b.Completed.Compare(*a.Completed)
		case a.Completed == nil && b.Completed == nil:
			return b.Received.Compare(a.Received)
		case a.Completed == nil:
			return -1
		}
		return 1
	})
	to.Requests = to.Requests[:min(len(to.Requests), maxRequests)]
	if to.Calendars != nil {
		slices.SortStableFunc(to.Calendars.Accounts, func(a, b calendarUser) int { return strings.Compare(a.Account, b.Account) })
	}
}

// unreachable describes an account that no shard shows.
func unreachable(a ConfiguredAccount, err error) account {
	message := "Its machine has another configuration, without this account."
	if err != nil {
		message = fmt.Sprintf("Shard %d: %v.", a.Shard, err)
	}
	return account{
		ID: a.ID, Name: a.Name, State: stateUnreachable, Application: a.Application, Error: message,
		Permissions: []PermissionInfo{}, Problems: []problem{}, Sensors: []sensor{},
	}
}

// shardOf returns the shard of an account.
func (s *Shards) shardOf(account string) (shard int, ok bool) {
	all := s.options.Accounts()
	i := slices.IndexFunc(all, func(a ConfiguredAccount) bool { return a.ID == account })
	if i < 0 {
		return 0, false
	}
	return all[i].Shard, true
}

// act has the shard of an account execute an action, or all shards.
func (s *Shards) act(ctx context.Context, a action) (any, error) {
	if a.Account == "" {
		return s.actInAll(ctx, a)
	}
	shard, ok := s.shardOf(a.Account)
	if !ok {
		return nil, unknownAccount(a.Account)
	}
	return s.actIn(ctx, shard, a)
}

// actInAll has all shards execute an action. It returns the first failure.
func (s *Shards) actInAll(ctx context.Context, a action) (result any, err error) {
	errs := make([]error, s.options.Count)
	var work sync.WaitGroup
	for shard := range errs {
		work.Go(func() {
			if _, err := s.actIn(ctx, shard, a); err != nil {
				var f failure
				if !errors.As(err, &f) {
					f = failure{Code: string(services.Internal), Message: err.Error()}
				}
				f.Message = fmt.Sprintf("shard %d: %s", shard, f.Message)
				errs[shard] = f
			}
		})
	}
	work.Wait()
	if i := slices.IndexFunc(errs, func(err error) bool { return err != nil }); i >= 0 {
		return nil, errs[i]
	}
	return map[string]any{"data": nil}, nil
}

// actIn has a shard execute an action.
func (s *Shards) actIn(ctx context.Context, shard int, a action) (any, error) {
	body, err := json.Marshal(a)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "/api/actions", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	response, err := s.options.Do(shard, r)
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded): // it may have been executed
		return nil, errNoAnswer
	case err != nil:
		return nil, failure{Code: codeUnreachable, Message: err.Error()}
	case response.Status != http.StatusOK:
		return nil, failureOf(response)
	}
	return json.RawMessage(response.Body), nil
}

// relay has the shard of an account answer a request.
func (s *Shards) relay(w http.ResponseWriter, r *http.Request, account string) {
	shard, ok := s.shardOf(account)
	if !ok {
		writeInvalidLink(w)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	response, err := s.options.Do(shard, r)
	if errors.As(err, new(*http.MaxBytesError)) {
		writeError(w, http.StatusRequestEntityTooLarge, errTooLarge)
		return
	}
	if err != nil {
		w.Header().Set("Retry-After", "5")
		s.options.Log.Debug("sign-in link not answered", "account", account, "error", err) // the reason is not for others
		writeError(w, http.StatusServiceUnavailable, failure{Code: codeUnreachable, Message: "the account cannot be reached at the moment", RetryAfter: 5})
		return
	}
	response.WriteTo(w)
}
