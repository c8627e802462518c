// Package runtime runs the configured accounts: their sign-in, sensors, sensor groups and time zone. It puts their states into the
// hub and resolves requests to the sensors and accounts that execute them. It knows no output and no transport.
package runtime

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/hub"
	"github.com/graph2mqtt/graph2mqtt/internal/state"
	"github.com/graph2mqtt/graph2mqtt/sensors"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// Buckets of the store; snapshots have sensors.Bucket.
const (
	membersBucket = "members" // by sensor group
	zonesBucket   = "zones"   // by account: the mailbox's time zone
	usersBucket   = "users"   // by account: id of the user that everything else is of
	syncsBucket   = "syncs"   // by account: when each sensor was last read
)

// A Store commits what must survive a restart, and reads what earlier runs committed. Get returns nil where there is nothing.
type Store interface {
	services.Store
	sensors.Store
	Get(bucket, key string) ([]byte, error)
	// Each calls f for every key of a bucket. It returns the errors of values that cannot be read, which it skips.
	Each(bucket string, f func(key string, value []byte) error) error
}

// Options configure a Runtime.
type Options struct {
	Kinds []sensors.Kind
	Dir   *state.Dir // of the sign-ins
	Store Store
	Hub   *hub.Hub
	Log   *slog.Logger
	// Problem, which may be nil, returns a problem of the whole bridge; nil if there is none. Every account shows it. UpdateStatus is
	// to be called when it changes.
	Problem func() *hub.Problem
	// OnWrite, which may be nil, is called with what Call has written, and the user who is signed in.
	OnWrite func(w services.Write, user string)
	// Transport reaches Entra ID and Graph in tests. Nil: one for all clouds that are verified by the same certificates.
	Transport http.RoundTripper
	// OnExchange is called after each request of an account to Graph; see graph.Options. Nil: nothing is.
	OnExchange func(account, method string, status int, took time.Duration)
	// Notifications has Graph announce changes. Nil: nothing is announced, and subscriptions of earlier runs are deleted.
	Notifications *NotificationOptions
	// Pause is the least time between two requested polls of a sensor or rescans of an account, and from an operation to the next poll. 0: sensors.DefaultPause.
	Pause time.Duration
	// Guard permits requests to Microsoft; nil: always.
	Guard services.Guard
}

// A Runtime owns the accounts. It is safe for concurrent use; Run is called at most once.
type Runtime struct {
	options Options
	applies chan func(ctx context.Context, running *taskSet)
	ended   chan struct{} // closed when Run has returned

	transports transports
	notifier   *notifier // nil: Graph announces nothing
	limiters   limiters

	mu       sync.Mutex
	accounts map[string]*account
}

// New returns a runtime with these accounts, without network requests.
func New(o Options, accounts map[string]*config.Account) (*Runtime, error) {
	r := &Runtime{
		options: o, applies: make(chan func(context.Context, *taskSet)), ended: make(chan struct{}),
		accounts: map[string]*account{}, transports: transports{fixed: o.Transport, guard: o.Guard},
	}
	var err error
	if r.notifier, err = openNotifier(o.Notifications, o.Store); err != nil {
		return nil, err
	}
	made := map[string]*account{}
	for id, c := range config.Sorted(accounts) {
		if made[id], err = r.newAccount(c); err != nil {
			return nil, err
		}
	}
	subscribed := r.loadSubscriptions(accounts)
	for id, a := range config.Sorted(made) {
		a.restore(subscribed[id])
		r.accounts[id] = a
	}
	return r, nil
}

// Run declares all devices, runs the accounts until ctx is done, and returns when nothing of them runs any more.
func (r *Runtime) Run(ctx context.Context) error {
	defer close(r.ended)
	defer r.transports.close()
	var running, background taskSet
	defer background.wait()
	defer running.wait()
	background.start(ctx, "sign-ins", r.followSignIns)
	all := r.all()
	for _, a := range all {
		a.declare()
	}
	r.options.Hub.Ready()
	for _, a := range all {
		running.start(ctx, a.config.ID, a.Run)
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case apply := <-r.applies:
			apply(ctx, &running)
		}
	}
}

// followSignIns reloads the accounts' sign-ins when another process has changed one, until ctx is done.
func (r *Runtime) followSignIns(ctx context.Context) error {
	return r.options.Dir.Watch(ctx, func(name string) {
		for _, a := range r.all() {
			if name == "" || a.user != nil && a.user.IsStoredAs(name) {
				a.session.Reload()
			}
		}
	})
}

// Apply replaces the configuration of accounts by another one that differs from it by changes. It touches only accounts and
// sensors that changed. It returns when they run or ctx is done; Run must have been called.
// With an error everything stays as it was.
func (r *Runtime) Apply(ctx context.Context, accounts map[string]*config.Account, changes config.Changes) (err error) {
	done := make(chan struct{})
	apply := func(lifetime context.Context, running *taskSet) {
		defer close(done)
		err = r.apply(lifetime, running, accounts, changes)
	}
	select {
	case r.applies <- apply:
	case <-r.ended:
		return context.Canceled
	case <-ctx.Done():
		return ctx.Err()
	}
	<-done
	return err
}

func (r *Runtime) apply(ctx context.Context, running *taskSet, accounts map[string]*config.Account, changes config.Changes) error {
	replaced := slices.Concat(changes.Accounts.Added, changes.Accounts.Changed)
	// New accounts and sensors are made before running ones are touched.
	replacements := map[string]*account{}
	for _, id := range replaced {
		a, err := r.newAccount(accounts[id])
		if err != nil {
			return err
		}
		replacements[id] = a
	}
	for _, id := range changes.Accounts.Removed {
		running.stop(id)
		removed := r.account(id)
		removed.remove()
		r.set(id, nil)
		if removed.subscriber != nil {
			running.start(ctx, "subscriptions of "+id, removed.unsubscribe)
		}
	}
	for id, a := range config.Sorted(replacements) {
		before := r.account(id)
		running.stop(id)
		if before == nil {
			a.restore(nil)
		} else {
			a.restore(before.subscriber.existing())
			before.removeAllBut(a) // first, or sensors that continue would be declared as unavailable
		}
		r.set(id, a)
		a.declare()
		warnOfMissing(a.all())
		running.start(ctx, id, a.Run)
	}
	for _, a := range r.all() {
		if replacements[a.config.ID] == nil {
			a.reconfigure(ctx, accounts[a.config.ID], sensorsOf(a.config.ID, changes.Sensors))
		}
	}
	return nil
}

// sensorsOf returns the part of a difference of "account/sensor" paths that concerns one account, as sensor ids.
func sensorsOf(account string, d config.Delta) config.Delta {
	ids := func(paths []string) []string {
		var ids []string
		for _, path := range paths {
			if id, ok := strings.CutPrefix(path, account+"/"); ok {
				ids = append(ids, id)
			}
		}
		return ids
	}
	return config.Delta{Added: ids(d.Added), Removed: ids(d.Removed), Changed: ids(d.Changed)}
}

// all returns the accounts by id.
func (r *Runtime) all() []*account {
	r.mu.Lock()
	defer r.mu.Unlock()
	return byID(r.accounts)
}

func (r *Runtime) account(id string) *account {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.accounts[id]
}

// set replaces an account; nil removes it.
func (r *Runtime) set(id string, a *account) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if a == nil {
		delete(r.accounts, id)
		return
	}
	r.accounts[id] = a
}

// Resolve implements services.Resolver for accounts and sensors.
func (r *Runtime) Resolve(ref services.Ref) (services.Target, error) {
	a := r.account(ref.Account)
	if a == nil {
		return nil, &services.Error{Code: services.UnknownSensor, Message: fmt.Sprintf("there is no account %s any more", ref.Account)}
	}
	if ref.Sensor == "" {
		return accountTarget{a}, nil
	}
	if s := a.sensor(ref.Sensor); s != nil {
		return s, nil
	}
	return nil, a.unknownSensor(ref.Sensor)
}

func (a *account) unknownSensor(id string) error {
	return &services.Error{Code: services.UnknownSensor, Message: fmt.Sprintf("account %s has no sensor %s; known: %s", a.config.ID, services.QuoteForError(id), list(a.sensorIDs()))}
}

// Completed emits an event about a finished request on its account.
func (r *Runtime) Completed(ref services.Ref, response services.Response) {
	if ref.Account == "" || ref.Sensor == "" {
		return
	}
	e := entity.Event{Type: commandOK, Data: map[string]any{"sensor": ref.Sensor, "op": response.Op, "transaction": response.Transaction}}
	if response.Error != nil {
		e.Type = commandFailed
		e.Data["code"], e.Data["message"] = response.Error.Code, response.Error.Message
	}
	r.options.Hub.Emit(hub.ID{Account: ref.Account}, e)
}

// Refresh polls every sensor of every account as soon as allowed.
func (r *Runtime) Refresh() {
	for _, a := range r.all() {
		a.refresh()
	}
}

// Polled reports whether every account has polled or listed something since the start, whatever came of it.
func (r *Runtime) Polled() bool {
	return !slices.ContainsFunc(r.all(), func(a *account) bool { return !a.polled() })
}

// An AccountStats describes the connection of an account to Graph.
type AccountStats struct {
	ID            string
	SignInExpires time.Time // if the sign-in is not used until then; zero: nobody is signed in, or unknown
	Graph         graph.Stats
}

// AccountStats describes the connections of all accounts, by id.
func (r *Runtime) AccountStats() []AccountStats {
	var all []AccountStats
	for _, a := range r.all() {
		all = append(all, AccountStats{a.config.ID, a.session.Status().Expires, a.graph.Stats()})
	}
	return all
}

// UpdateStatus has the status of every account evaluated again.
func (r *Runtime) UpdateStatus() {
	for _, a := range r.all() {
		signal(a.dirty)
	}
}

// Stats sums up the requests to Graph of all accounts.
func (r *Runtime) Stats() graph.Stats {
	var sum graph.Stats
	for _, a := range r.all() {
		s := a.graph.Stats()
		sum.Requests += s.Requests
		sum.Throttled += s.Throttled
		sum.Errors += s.Errors
	}
	return sum
}

// kind returns a kind of sensor that the configuration was checked against.
func (r *Runtime) kind(name string) sensors.Kind {
	return r.options.Kinds[slices.IndexFunc(r.options.Kinds, func(k sensors.Kind) bool { return k.Name == name })]
}

// byID returns the values of a map in the order of their ids.
func byID[V any](m map[string]V) []V {
	values := make([]V, 0, len(m))
	for _, v := range config.Sorted(m) {
		values = append(values, v)
	}
	return values
}

// list joins names for an error message.
func list(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ", ")
}
