package runtime

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/auth"
	"github.com/graph2mqtt/graph2mqtt/internal/hub"
	"github.com/graph2mqtt/graph2mqtt/sensors"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// extendInterval is the interval at which an account requests missing permissions without the user: an administrator may have
// consented.
const extendInterval = time.Hour

// An account with more than manySensors evaluates its status less often, by pauseOfSensor for each further sensor: every poll can change the
// status, and each evaluation looks at all sensors.
const (
	manySensors   = 100
	pauseOfSensor = time.Millisecond
)

// syncsInterval is the least time between two writes of when the sensors were last read.
const syncsInterval = time.Minute

// A session hands out the tokens of an account: of the user who signed in, or of the application.
type session interface {
	graph.Tokens
	Status() auth.Status
	// Changed returns a channel that receives after the status changed.
	Changed() <-chan struct{}
	Reload()
	// Run does what is due until ctx is done.
	Run(ctx context.Context) error
	RetryRefused(ctx context.Context) error
}

// An account is one configured account. It runs in the goroutine of Run, which alone changes its set of sensors.
type account struct {
	runtime *Runtime
	config  *config.Account                // all but its sensors, which may change
	current atomic.Pointer[config.Account] // with the sensors as they are now
	log     *slog.Logger

	session session
	user    *auth.Session // session, if a user signs in; nil: an organization
	graph   *graph.Client

	zone   atomic.Pointer[time.Location]
	signIn signIns

	subscriber *subscriber // nil: Graph announces nothing

	applies chan func(ctx context.Context, running *taskSet) // changes of the set of sensors
	dirty   chan struct{}                                    // the status may have changed
	zoneDue chan struct{}                                    // the mailbox's time zone may have changed, or be readable now
	rescans chan struct{}                                    // a rescan was requested
	flows   chan *signInFlow                                 // sign-ins to run

	rejected atomic.Bool // Graph rejects the sign-in for all sensors

	mu        sync.Mutex
	sensors   map[string]*sensor            // members of groups included
	byMailbox map[string]map[string]*sensor // the same by the mailbox of an organization, "" where there is none

	// Used by restore and declare, and then by Run alone.
	status       *hub.AccountStatus // as published
	online       bool               // as published
	reported     string             // sign-in state that was logged last
	syncs        time.Time          // when the sensors' last reads were stored
	unauthorized unauthorized
}

func (r *Runtime) newAccount(c *config.Account) (*account, error) {
	a := &account{
		runtime: r, config: c, log: r.options.Log.With("account", c.ID), sensors: map[string]*sensor{}, byMailbox: map[string]map[string]*sensor{},
		applies: make(chan func(context.Context, *taskSet)), dirty: make(chan struct{}, 1), zoneDue: make(chan struct{}, 1), rescans: make(chan struct{}, 1), flows: make(chan *signInFlow),
	}
	a.current.Store(c)
	var err error
	if c.Application {
		a.session, err = openApplication(c, &r.transports, r.options.Log)
	} else {
		a.user, err = openSession(c, &r.transports, r.options.Dir, r.options.Log)
		a.session = a.user
	}
	if err != nil {
		return nil, err
	}
	o := graph.Options{Tokens: a.session, Log: a.log}
	if count := r.options.OnExchange; count != nil {
		o.OnExchange = func(method string, status int, took time.Duration) { count(c.ID, method, status, took) }
	}
	if c.Application {
		o.Limiter = r.limiters.of(c, r.options.Log)
	}
	if a.graph, err = openGraph(c, &r.transports, o); err != nil {
		return nil, err
	}
	a.zone.Store(a.knownZone())
	return a, nil
}

// restore makes the account's sensors, which continue with what an earlier run stored, and its subscriber with the subscriptions that exist.
// It precedes every other use of them.
func (a *account) restore(subscribed []subscription) {
	syncs := map[string]time.Time{}
	if value, err := a.runtime.options.Store.Get(syncsBucket, a.config.ID); err == nil && value != nil {
		_ = json.Unmarshal(value, &syncs) // without it the snapshots' own times count, which may be an hour older
	}
	another := a.followUser()
	if another {
		clear(syncs)
	}
	for _, configured := range config.Sorted(a.config.Sensors) {
		added := a.newSensors(configured)
		if another { // also the members of groups are those of the user before
			for _, s := range added {
				s.forget()
			}
			added = []*sensor{a.newSensor(configured)}
			added[0].isNew = true
		}
		for _, s := range added {
			s.open()
			s.lastSync = syncs[s.config.ID]
			a.add(s)
		}
	}
	a.subscriber = a.newSubscriber(subscribed)
}

// storeSyncs stores when the sensors were last read, with the next commit and at most once in syncsInterval: snapshots are not
// written while nothing changes.
func (a *account) storeSyncs() {
	if time.Since(a.syncs) < syncsInterval {
		return
	}
	a.syncs = time.Now()
	syncs := map[string]time.Time{}
	for _, s := range a.all() {
		s.mu.Lock()
		if !s.lastSync.IsZero() {
			syncs[s.config.ID] = s.lastSync.UTC().Truncate(time.Second)
		}
		s.mu.Unlock()
	}
	value, err := json.Marshal(syncs)
	if err != nil {
		a.log.Error("times of the last reads not stored", "error", err)
		return
	}
	a.runtime.options.Store.CommitLazily(func(tx services.Tx) { tx.Put(syncsBucket, a.config.ID, value) })
}

func (a *account) id() hub.ID { return hub.ID{Account: a.config.ID} }

// declare declares the account and its sensors to the hub, with the states that an earlier run stored.
func (a *account) declare() {
	a.runtime.options.Hub.Declare(a.device())
	for _, s := range a.all() {
		s.declare()
	}
	a.updateStatus()
}

// Run runs the account's sign-in, sensors and time zone until ctx is done.
func (a *account) Run(ctx context.Context) error {
	var running, background taskSet
	defer background.wait()
	defer running.wait()
	a.warnOfUTC()
	for _, s := range a.all() {
		running.start(ctx, s.config.ID, s.Run)
	}
	background.start(ctx, "session", a.session.Run)
	background.start(ctx, "upkeep", a.runUpkeep)
	if a.subscriber != nil {
		background.start(ctx, "subscriptions", a.subscriber.Run)
	}
	var due, evaluated time.Time // of the status
	for {
		if now := time.Now(); !now.Before(due) {
			due, evaluated = now.Add(max(a.updateStatus(), a.statusPause())), now
			a.storeSyncs()
		}
		timer := time.NewTimer(time.Until(due))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		case <-a.dirty:
			due = earlier(due, evaluated.Add(a.statusPause()))
		case apply := <-a.applies:
			apply(ctx, &running)
			due = time.Time{}
		case flow := <-a.flows:
			background.stop("sign-in") // one of another way
			background.start(ctx, "sign-in", func(ctx context.Context) error { return flow.run(ctx, a) })
			due = time.Time{}
		case <-a.session.Changed():
			due = time.Time{}
			if a.followUser() {
				a.startAgain(ctx, &running)
			}
			if a.signedIn() {
				a.subscriber.resume()
				a.refresh()
				a.rescan()
				signal(a.zoneDue)
			}
		}
		timer.Stop()
	}
}

// runUpkeep follows the mailbox's time zone, requests missing permissions, and does rescans.
func (a *account) runUpkeep(ctx context.Context) error {
	zoneAt, extendAt := time.Now(), time.Now().Add(extendInterval)
	rescans := pace{pause: cmp.Or(a.runtime.options.Pause, sensors.DefaultPause)}
	var zoneFailure string // logged last
	for {
		next := earlier(zoneAt, extendAt)
		if !rescans.due.IsZero() {
			next = earlier(next, rescans.due)
		}
		timer := time.NewTimer(time.Until(next))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-a.zoneDue:
			zoneAt = time.Now()
		case <-a.rescans:
			rescans.ask(time.Now())
		case <-timer.C:
		}
		timer.Stop()
		if rescans.take(time.Now()) {
			if err := a.session.RetryRefused(ctx); err != nil {
				a.log.Debug("sign-in still refused", "error", err)
			}
			a.rescan()
			zoneAt, extendAt = time.Now(), time.Now()
		}
		if !time.Now().Before(extendAt) {
			extendAt = time.Now().Add(extendInterval)
			a.extend(ctx)
		}
		if !time.Now().Before(zoneAt) {
			zoneAt = time.Now().Add(a.followZone(ctx, &zoneFailure))
		}
	}
}

// reconfigure replaces changed sensors of an account that is otherwise the same. It returns when they run or ctx is done.
func (a *account) reconfigure(ctx context.Context, after *config.Account, changes config.Delta) {
	if len(changes.Added)+len(changes.Removed)+len(changes.Changed) == 0 {
		return
	}
	a.current.Store(after)
	a.zone.Store(a.knownZone()) // depends on the permissions requested
	signal(a.zoneDue)
	var added []*sensor
	for _, id := range slices.Concat(changes.Added, changes.Changed) {
		added = append(added, a.newSensors(after.Sensors[id])...)
	}
	a.reconcile(ctx, slices.Concat(changes.Removed, changes.Changed), added)
	warnOfMissing(added)
}

// warnOfMissing logs what a changed configuration needs and was not granted.
func warnOfMissing(changed []*sensor) {
	for _, s := range changed {
		if s.parent != nil || !s.account.signedIn() { // a group's members need what the group needs
			continue
		}
		for _, m := range s.missingScopes() {
			remedy := "; run: graph2mqtt login "
			if s.account.config.Application {
				remedy = "; run: graph2mqtt permissions "
			}
			s.log.Warn("the configuration needs a permission that is not granted", "permission", m.Scope, "error", m.Message+remedy+s.account.config.ID)
		}
	}
}

// reconcile stops the sensors in removed, with the members of groups, and starts added, which replace sensors with the same id. It
// returns when that is done or ctx is done.
func (a *account) reconcile(ctx context.Context, removed []string, added []*sensor) {
	done := make(chan struct{})
	apply := func(lifetime context.Context, running *taskSet) {
		defer close(done)
		if ctx.Err() != nil {
			return // the group that asked for it was removed meanwhile
		}
		a.replace(lifetime, running, removed, added)
		a.subscriber.changed()
	}
	select {
	case a.applies <- apply:
		select {
		case <-done:
		case <-ctx.Done():
		}
	case <-ctx.Done():
	}
}

// replace does what reconcile does, on the goroutine of Run.
func (a *account) replace(ctx context.Context, running *taskSet, removed []string, added []*sensor) {
	before := a.detach(running, removed)
	for _, s := range added {
		maps.Copy(before, a.detach(running, []string{s.config.ID}))
		s.open()
		a.add(s)
		if replaced, ok := before[s.config.ID]; ok {
			replaced.supersede(s)
			delete(before, s.config.ID)
		}
		s.declare()
		running.start(ctx, s.config.ID, s.Run)
	}
	for _, s := range before {
		s.remove()
	}
	signal(a.dirty)
}

// userID returns the id of the user who is signed in; "": not known.
func (a *account) userID() string { return a.session.Status().User.ID }

// followUser notes who is signed in, and reports whether that is another user than before. What was stored is not theirs then.
func (a *account) followUser() (changed bool) {
	user := a.userID()
	if user == "" {
		return false
	}
	before, err := a.runtime.options.Store.Get(usersBucket, a.config.ID)
	if err != nil {
		a.log.Warn("the user before is not known", "error", err)
	}
	if string(before) == user {
		return false
	}
	write := func(tx services.Tx) { tx.Put(usersBucket, a.config.ID, []byte(user)) }
	if before == nil {
		a.runtime.options.Store.CommitLazily(write) // with the first snapshots: without them, nothing is stored that could be another user's
		return false
	}
	a.runtime.options.Store.Commit(write, a.logStoreError)
	return true
}

// startAgain replaces every sensor by one that knows nothing of the user before.
func (a *account) startAgain(ctx context.Context, running *taskSet) {
	a.log.Info("another user is signed in; starting again without what was stored")
	a.graph.Forget()
	var ids []string
	var added []*sensor
	for id, configured := range config.Sorted(a.current.Load().Sensors) {
		ids = append(ids, id)
		s := a.newSensor(configured)
		s.isNew = true
		added = append(added, s)
	}
	for _, s := range a.detach(running, ids) {
		if s.parent != nil {
			s.remove()
		} else {
			s.forget()
		}
	}
	a.replace(ctx, running, nil, added)
}

// detach stops sensors, with the members of groups, and takes them out of the account.
func (a *account) detach(running *taskSet, ids []string) map[string]*sensor {
	detached := map[string]*sensor{}
	for _, id := range ids {
		s := a.sensor(id)
		if s == nil {
			continue
		}
		running.stop(id)
		a.mu.Lock()
		delete(a.sensors, id)
		if delete(a.byMailbox[s.mailbox], id); len(a.byMailbox[s.mailbox]) == 0 {
			delete(a.byMailbox, s.mailbox)
		}
		a.mu.Unlock()
		detached[id] = s
		if s.group != nil {
			maps.Copy(detached, a.detach(running, a.memberIDs(s)))
		}
	}
	return detached
}

// remove deletes the account and its sensors from the outputs and the store.
func (a *account) remove() {
	a.removeAllBut(nil)
	a.runtime.options.Hub.Remove(a.id())
	a.runtime.options.Store.Commit(func(tx services.Tx) {
		tx.Delete(zonesBucket, a.config.ID)
		tx.Delete(syncsBucket, a.config.ID)
		tx.Delete(usersBucket, a.config.ID)
		a.subscriber.forget(tx)
	}, a.logStoreError)
}

// unsubscribe deletes the subscriptions of an account that was removed.
func (a *account) unsubscribe(ctx context.Context) error {
	for _, sub := range a.subscriber.existing() {
		a.subscriber.deleteAt(ctx, a.subscriber.graphOf(sub.Resource), sub.ID)
	}
	return nil
}

// removeAllBut deletes the sensors that the account's successor does not have; nil has none.
func (a *account) removeAllBut(successor *account) {
	for _, s := range a.all() {
		if successor != nil {
			if same := successor.sensor(s.config.ID); same != nil {
				s.supersede(same)
				continue
			}
		}
		s.remove()
	}
}

// all returns the sensors by id.
func (a *account) all() []*sensor {
	a.mu.Lock()
	defer a.mu.Unlock()
	return byID(a.sensors)
}

// add adds a sensor.
func (a *account) add(s *sensor) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sensors[s.config.ID] = s
	if a.byMailbox[s.mailbox] == nil {
		a.byMailbox[s.mailbox] = map[string]*sensor{}
	}
	a.byMailbox[s.mailbox][s.config.ID] = s
}

// statusPause returns the least time between two evaluations of the status that no sign-in and no change of the sensors asks for.
func (a *account) statusPause() time.Duration {
	return pauseOfSensor * time.Duration(max(a.size()-manySensors, 0))
}

// size returns the number of sensors.
func (a *account) size() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.sensors)
}

func (a *account) sensor(id string) *sensor {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.sensors[id]
}

func (a *account) sensorIDs() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Sorted(maps.Keys(a.sensors))
}

// memberIDs returns the ids of a group's members.
func (a *account) memberIDs(of *sensor) []string {
	var ids []string
	for _, s := range a.all() {
		if s.parent == of {
			ids = append(ids, s.config.ID)
		}
	}
	return ids
}

// polled reports whether a sensor has been polled, or the members of a group listed, since the start; true if there is nothing to read.
func (a *account) polled() bool {
	reads := false
	for _, s := range a.all() {
		polled := false
		switch {
		case s.group != nil:
			s.group.mu.Lock()
			polled = s.group.listed
			s.group.mu.Unlock()
		case s.poller != nil:
			s.mu.Lock()
			polled = !s.polledAt.IsZero()
			s.mu.Unlock()
		default:
			continue
		}
		if polled {
			return true
		}
		reads = true
	}
	return !reads
}

func (a *account) signedIn() bool { return a.session.Status().State == auth.SignedIn }

// checkGranted returns a *graph.Error if the account is not signed in or a permission is not granted.
func (a *account) checkGranted(permissions []graph.Permission) error {
	if s := a.session.Status(); s.State != auth.SignedIn {
		return &graph.Error{Reason: graph.SignInRequired, Message: s.Message}
	}
	return a.missing(permissions)
}

// missing returns a *graph.Error that names the permissions that are not granted and what to do, or nil.
func (a *account) missing(permissions []graph.Permission) error {
	err := a.missingError(permissions)
	var e *graph.Error
	switch {
	case !errors.As(err, &e):
	case a.config.Application:
		e.Message += "; an administrator grants them, see: graph2mqtt permissions " + a.config.ID
	default:
		e.Message += "; run: graph2mqtt login " + a.config.ID
	}
	return err
}

// missingError is graph.MissingError for permissions of a sensor.
func (a *account) missingError(permissions []graph.Permission) error {
	if a.config.Application {
		permissions = graph.ApplicationPermissions(permissions)
	}
	return graph.MissingError(a.session.Granted(), permissions)
}

// refresh polls every sensor as soon as allowed.
func (a *account) refresh() {
	for _, s := range a.all() {
		s.refresh()
	}
}

// A pace keeps a pause between two runs of an action. Requests that come meanwhile are merged into the next run.
type pace struct {
	pause time.Duration
	due   time.Time // zero: no request is pending
	last  time.Time
}

func (p *pace) ask(now time.Time) {
	if p.due.IsZero() {
		p.due = now
		if !p.last.IsZero() && now.Before(p.last.Add(p.pause)) {
			p.due = p.last.Add(p.pause)
		}
	}
}

// take reports whether the action is due, and clears the request if so.
func (p *pace) take(now time.Time) bool {
	if p.due.IsZero() || now.Before(p.due) {
		return false
	}
	p.due, p.last = time.Time{}, now
	return true
}

// rescan lists the members of groups now, and forgets what earlier lists showed.
func (a *account) rescan() {
	a.graph.Relist()
	for _, s := range a.all() {
		if s.group != nil {
			signal(s.group.due)
		}
	}
}

func (a *account) logStoreError(err error) { logStoreError(a.log, err) }

func logStoreError(log *slog.Logger, err error) {
	if err != nil && !errors.Is(err, context.Canceled) {
		log.Error("writing the state failed", "error", err)
	}
}

// signal wakes the receiver of a channel with room for one value; several signals become one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// earlier returns the earlier of two times.
func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
