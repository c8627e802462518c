package runtime

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	mathrand "math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/auth"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/subscriptions"
	"github.com/graph2mqtt/graph2mqtt/internal/hub"
	"github.com/graph2mqtt/graph2mqtt/sensors"
	"github.com/graph2mqtt/graph2mqtt/services"
)

const (
	// A subscription that failed is tried again after subscribeRetry, then after twice that and so on, at most after maxSubscribeRetry.
	subscribeRetry    = time.Minute
	maxSubscribeRetry = time.Hour
	// subscribeTimeout bounds one request about subscriptions: Graph asks the receiver before it answers.
	subscribeTimeout = 30 * time.Second
	// clockMargin shortens lifetimes: Graph refuses one that is too long by its own clock.
	clockMargin = 2 * time.Minute
	// After a change that was not announced a sensor polls at its own interval for fallback.
	fallback = time.Hour
	// announceSlack is added to the time within which Microsoft says that notifications come.
	announceSlack = 2 * time.Minute
)

// The states of notifications.
const (
	notificationsOK       = "ok"
	notificationsDegraded = "degraded"
	notificationsOff      = "off"
)

// A subscription is a subscription of an account to a resource.
type subscription struct {
	Resource string
	ID       string // "": it must be created
	URL      string
	Nonce    string // see notifier.clientState
	Expires  time.Time
	RenewAt  time.Time

	since    time.Time // when it was created, or found to exist, in this process; zero: neither
	err      error     // of the last attempt to create or renew it
	retryAt  time.Time // after err
	failures int
}

// isActive reports whether Graph sends notifications about the resource, as far as is known.
func (s *subscription) isActive(now time.Time) bool {
	return s.ID != "" && !s.since.IsZero() && now.Before(s.Expires)
}

// failed records an attempt that failed, and reports whether its error is another than before.
func (s *subscription) failed(err error, now time.Time) (news bool) {
	wait := min(subscribeRetry<<min(s.failures, 10), maxSubscribeRetry)
	var e *graph.Error
	if errors.As(err, &e) {
		wait = max(wait, e.RetryAfter)
	}
	news = s.err == nil || s.err.Error() != err.Error()
	s.failures++
	s.err, s.retryAt = err, now.Add(wait)
	return news
}

// A subscriber keeps the subscriptions of an account to notifications. Its Run alone sends requests about them.
type subscriber struct {
	account  *account
	notifier *notifier     // nil: only delete what an earlier run left
	due      chan struct{} // something changed
	releases chan chan struct{}
	ended    chan struct{} // closed when Run has returned

	compared bool      // with Graph's list, since the start or the last sign-in; Run's
	retryAt  time.Time // of the comparison; Run's

	mu       sync.Mutex
	held     map[string]*subscription // by resource
	creating *subscription            // Graph may send notifications before it answers
	settled  bool                     // everything was tried once
	released bool                     // nothing is created until the next sign-in
	relist   bool                     // another user may have signed in
}

// newSubscriber returns the subscriber of an account with the subscriptions of earlier runs; nil if there is nothing to do.
func (a *account) newSubscriber() *subscriber {
	if a.config.Application { // it has no /me
		return nil
	}
	s := &subscriber{
		account: a, notifier: a.runtime.notifier, due: make(chan struct{}, 1), releases: make(chan chan struct{}), ended: make(chan struct{}),
		held: map[string]*subscription{},
	}
	var stored []*subscription
	value, err := a.runtime.options.Store.Get(subscriptionsBucket, a.config.ID)
	if err == nil && value != nil {
		err = json.Unmarshal(value, &stored)
	}
	if err != nil {
		a.log.Warn("stored subscriptions unreadable", "error", err) // Graph's list has them
	}
	for _, sub := range stored {
		s.held[sub.Resource] = sub
	}
	if s.notifier == nil && len(s.held) == 0 {
		return nil
	}
	return s
}

// Run keeps the subscriptions until ctx is done. Without notifications it ends when it has deleted those of earlier runs.
func (s *subscriber) Run(ctx context.Context) error {
	defer close(s.ended)
	for {
		timer := time.NewTimer(s.reconcile(ctx))
		if s.notifier == nil && s.isEmpty() {
			timer.Stop()
			return nil
		}
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-s.due:
		case done := <-s.releases:
			s.deleteAll(ctx)
			close(done)
		case <-timer.C:
		}
		timer.Stop()
	}
}

func (s *subscriber) isEmpty() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.held) == 0
}

// reconcile creates, renews and deletes subscriptions as the sensors need them, and returns how long nothing is to be done.
func (s *subscriber) reconcile(ctx context.Context) time.Duration {
	s.mu.Lock()
	released := s.released
	if s.relist {
		s.relist, s.compared, s.retryAt = false, false, time.Time{}
	}
	s.mu.Unlock()
	if !s.account.signedIn() || released {
		return maxStatusInterval
	}
	want, complete := s.wanted()
	if s.notifier != nil && !s.compared && !time.Now().Before(s.retryAt) {
		s.compare(ctx)
	}
	for _, sub := range s.subscriptions() {
		if _, ok := want[sub.Resource]; !ok && complete {
			s.delete(ctx, sub)
		}
	}
	if s.compared {
		for resource, w := range config.Sorted(want) {
			s.keep(ctx, resource, w)
		}
	}
	if ctx.Err() != nil {
		return maxStatusInterval
	}
	s.mu.Lock()
	s.settled = s.settled || s.compared
	s.mu.Unlock()
	now := time.Now().Round(0)
	next := now.Add(maxStatusInterval)
	for _, at := range append(s.deadlines(want, now), s.judge(now)...) {
		next = earlier(next, at)
	}
	signal(s.account.dirty)
	return max(time.Until(next), requestPause) // guard against a busy loop
}

// wanted returns what the sensors' changes are announced by, by resource, and whether that is known of all sensors.
func (s *subscriber) wanted() (want map[string]sensors.ChangeFeed, complete bool) {
	want, complete = map[string]sensors.ChangeFeed{}, true
	if s.notifier == nil {
		return want, complete
	}
	shared := map[string]bool{}
	for _, of := range s.account.all() {
		w, reason := of.changeFeed()
		complete = complete && (len(w.Resources) > 0 || reason != "")
		for _, resource := range w.Resources {
			want[resource], shared[resource] = w, w.Item != ""
		}
	}
	if !complete { // there can be one for all items, and not all are known
		maps.DeleteFunc(want, func(resource string, _ sensors.ChangeFeed) bool { return shared[resource] })
	}
	return want, complete
}

// combined returns the resource that a pattern stands for with the items of all sensors of the account.
func (a *account) combined(pattern string) string {
	var items []string
	for _, of := range a.all() {
		if w, _ := of.ownFeed(); w.Item != "" && slices.Contains(w.Resources, pattern) {
			items = append(items, "'"+w.Item+"'")
		}
	}
	slices.Sort(items)
	return strings.ReplaceAll(pattern, "%s", strings.Join(slices.Compact(items), ","))
}

// changeFeed returns what announces the sensor's changes, or why nothing does. Without both it is not known yet.
func (s *sensor) changeFeed() (sensors.ChangeFeed, string) {
	w, reason := s.ownFeed()
	if w.Item != "" {
		w.Resources = slices.Clone(w.Resources)
		for i, pattern := range w.Resources {
			w.Resources[i] = s.account.combined(pattern)
		}
	}
	return w, reason
}

// ownFeed is changeFeed with the pattern of a resource that is for several sensors.
func (s *sensor) ownFeed() (sensors.ChangeFeed, string) {
	if s.poller == nil {
		return sensors.ChangeFeed{}, "it is not polled"
	}
	s.mu.Lock()
	var snapshot any
	if s.state != nil {
		snapshot = s.state.Snapshot
	}
	s.mu.Unlock()
	w := s.source.ChangeFeed(snapshot)
	granted := s.account.session.Granted()
	switch {
	case w.Reason != "":
		return sensors.ChangeFeed{}, w.Reason
	case w.Permission.Scope != "" && !w.Permission.Satisfied(granted):
		return sensors.ChangeFeed{}, "Microsoft sends notifications about this only with " + w.Permission.Scope + ", which is not granted"
	case w.WorkOnly && s.account.graph.Personal():
		return sensors.ChangeFeed{}, "Microsoft sends notifications about this to work and school accounts only"
	case w.GlobalOnly && s.account.graph.NationalCloud():
		return sensors.ChangeFeed{}, "Microsoft sends notifications about this in the global cloud only"
	case graph.MissingError(granted, s.source.Permissions()) != nil:
		return sensors.ChangeFeed{}, "" // it cannot be read either, which is reported
	}
	return w, ""
}

// subscriptions returns all subscriptions by resource.
func (s *subscriber) subscriptions() []*subscription {
	s.mu.Lock()
	defer s.mu.Unlock()
	return byID(s.held)
}

// update changes what is held, stores it, and returns when it is committed or about to be.
func (s *subscriber) update(change func()) {
	s.mu.Lock()
	change()
	s.mu.Unlock()
	s.account.runtime.options.Store.Commit(s.store, s.account.logStoreError)
}

// store writes the subscriptions that exist.
func (s *subscriber) store(tx services.Tx) {
	var all []*subscription
	for _, sub := range s.subscriptions() {
		if sub.ID != "" {
			all = append(all, sub)
		}
	}
	if len(all) == 0 {
		tx.Delete(subscriptionsBucket, s.account.config.ID)
		return
	}
	s.mu.Lock()
	value, err := json.Marshal(all)
	s.mu.Unlock()
	if err != nil {
		s.account.log.Error("subscriptions not stored", "error", err)
		return
	}
	tx.Put(subscriptionsBucket, s.account.config.ID, value)
}

// compare compares the subscriptions with those at Graph: some may have ended while the program was away, and others be left of a run
// that did not get to store them.
func (s *subscriber) compare(ctx context.Context) {
	now := time.Now().Round(0)
	listed, err := func() ([]subscriptions.Subscription, error) {
		if err := s.notifier.wait(ctx); err != nil {
			return nil, err
		}
		ctx, cancel := context.WithTimeout(ctx, subscribeTimeout)
		defer cancel()
		return subscriptions.List(ctx, s.account.graph)
	}()
	if err != nil {
		s.retryAt = now.Add(subscribeRetry)
		if ctx.Err() == nil && !graph.Is(err, graph.SignInRequired) {
			s.account.log.Warn("subscriptions not compared", "error", err, "retry_in", subscribeRetry)
		}
		return
	}
	s.compared = true
	known := map[string]bool{}
	lost := false
	s.mu.Lock()
	for _, sub := range s.held {
		i := slices.IndexFunc(listed, func(l subscriptions.Subscription) bool { return l.ID == sub.ID && sub.ID != "" })
		if i < 0 || sub.URL != s.notifier.URL {
			lost = lost || sub.ID != "" && i < 0
			if i < 0 {
				sub.ID = ""
			}
			continue
		}
		known[sub.ID] = true
		sub.Expires = listed[i].Expires
		if sub.since.IsZero() {
			sub.since = now
		}
	}
	s.mu.Unlock()
	if lost {
		s.update(func() {})
	}
	for _, l := range listed {
		if !known[l.ID] && l.URL == s.notifier.URL && !s.account.runtime.isHeldByOthers(l.ID, s) {
			s.deleteAt(ctx, l.ID)
		}
	}
}

// isHeldByOthers reports whether a subscription is, or may be, one of another account: several accounts can have the same user.
func (r *Runtime) isHeldByOthers(id string, self *subscriber) bool {
	for _, a := range r.all() {
		if a.subscriber != nil && a.subscriber != self && a.subscriber.mayHold(id) {
			return true
		}
	}
	return false
}

// mayHold reports whether a subscription is one of the account, or may be the one that is being created.
func (s *subscriber) mayHold(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sub := range s.held {
		if sub.ID == id {
			return true
		}
	}
	return s.creating != nil
}

// keep creates or renews the subscription to a resource where that is due.
func (s *subscriber) keep(ctx context.Context, resource string, w sensors.ChangeFeed) {
	now := time.Now().Round(0)
	s.mu.Lock()
	sub := s.held[resource]
	if sub == nil {
		sub = &subscription{Resource: resource}
		s.held[resource] = sub
	}
	waits := now.Before(sub.retryAt)
	exists := sub.ID != "" && now.Before(sub.Expires)
	moved := exists && sub.URL != s.notifier.URL
	renews := exists && !moved && !now.Before(sub.RenewAt)
	s.mu.Unlock()
	switch {
	case waits, ctx.Err() != nil:
	case moved:
		s.deleteAt(ctx, sub.ID)
		s.create(ctx, sub, w)
	case !exists:
		s.create(ctx, sub, w)
	case renews:
		s.renew(ctx, sub, w)
	}
}

// send sends a request about a subscription when it may.
func (s *subscriber) send(ctx context.Context, request func(context.Context) error) error {
	if err := s.notifier.wait(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, subscribeTimeout)
	defer cancel()
	return request(ctx)
}

// create creates a subscription, and has its sensors read what changed before.
func (s *subscriber) create(ctx context.Context, sub *subscription, w sensors.ChangeFeed) {
	made := subscription{Resource: sub.Resource, URL: s.notifier.URL, Nonce: rand.Text()}
	s.mu.Lock()
	s.creating = &made
	s.mu.Unlock()
	var created subscriptions.Subscription
	err := s.send(ctx, func(ctx context.Context) (err error) {
		created, err = subscriptions.Create(ctx, s.account.graph, subscriptions.Subscription{
			Resource: made.Resource, Changes: w.Changes, URL: made.URL, ClientState: s.notifier.clientState(s.account.config.ID, made.Resource, made.Nonce),
			Expires: time.Now().Add(w.Lifetime - clockMargin),
		})
		return err
	})
	now := time.Now().Round(0)
	if err != nil {
		s.mu.Lock()
		s.creating = nil
		s.mu.Unlock()
		var e *graph.Error
		if errors.As(err, &e) && (e.OutcomeUnknown || e.Reason == graph.Conflict) {
			s.compared, s.retryAt = false, now.Add(subscribeRetry) // it may exist, and be in the way
		}
		s.failed(ctx, sub, err, now)
		return
	}
	failures := 0
	s.update(func() {
		s.creating, failures = nil, sub.failures
		*sub = made
		sub.ID, sub.Expires, sub.RenewAt, sub.since = created.ID, created.Expires, renewalOf(now, created.Expires), now
	})
	if failures > 0 {
		s.account.log.Info("notifications work again", "failures", failures)
	}
	for _, of := range s.sensorsOf(sub.Resource) {
		of.poller.Wake()
	}
}

// renewalOf returns when a subscription is renewed: when a third of its life is left, or a little earlier, so that not all are renewed
// at once.
func renewalOf(now, expires time.Time) time.Time {
	life := expires.Sub(now)
	return now.Add(life*2/3 - mathrand.N(max(life/20, 1)))
}

// renew extends a subscription. One that has ended is created again.
func (s *subscriber) renew(ctx context.Context, sub *subscription, w sensors.ChangeFeed) {
	var expires time.Time
	err := s.send(ctx, func(ctx context.Context) (err error) {
		expires, err = subscriptions.Renew(ctx, s.account.graph, sub.ID, time.Now().Add(w.Lifetime-clockMargin))
		return err
	})
	now := time.Now().Round(0)
	switch {
	case graph.Is(err, graph.NotFound):
		s.create(ctx, sub, w)
	case err != nil:
		s.failed(ctx, sub, err, now)
		s.mu.Lock()
		if now.Before(sub.Expires) { // then it can be created again
			sub.retryAt = earlier(sub.retryAt, sub.Expires)
		}
		s.mu.Unlock()
	default:
		s.update(func() {
			sub.Expires, sub.RenewAt, sub.err, sub.failures, sub.retryAt = expires, renewalOf(now, expires), nil, 0, time.Time{}
		})
	}
}

// failed records a request about a subscription that failed, and logs it once.
func (s *subscriber) failed(ctx context.Context, sub *subscription, err error, now time.Time) {
	if ctx.Err() != nil {
		return
	}
	s.mu.Lock()
	news := sub.failed(err, now)
	retryIn := sub.retryAt.Sub(now)
	s.mu.Unlock()
	if !news || graph.Is(err, graph.SignInRequired) || graph.IsUnauthorized(err) {
		return
	}
	var names []string
	for _, of := range s.sensorsOf(sub.Resource) {
		names = append(names, of.config.ID)
	}
	s.account.log.Warn("no notifications", "sensor", strings.Join(names, " "), "error", err, "retry_in", retryIn)
}

// delete deletes a subscription that is not needed any more. One that cannot be deleted now is tried again, and ends by itself.
func (s *subscriber) delete(ctx context.Context, sub *subscription) {
	now := time.Now().Round(0)
	s.mu.Lock()
	waits, exists := now.Before(sub.retryAt), sub.ID != "" && now.Before(sub.Expires)
	s.mu.Unlock()
	if waits && exists {
		return
	}
	if exists && !s.deleteAt(ctx, sub.ID) {
		s.mu.Lock()
		sub.failed(errors.New("not deleted"), now)
		s.mu.Unlock()
		return
	}
	s.update(func() { delete(s.held, sub.Resource) })
}

// deleteAt deletes a subscription at Graph and reports whether it is gone.
func (s *subscriber) deleteAt(ctx context.Context, id string) bool {
	if id == "" {
		return true
	}
	err := s.send(ctx, func(ctx context.Context) error { return subscriptions.Delete(ctx, s.account.graph, id) })
	if err != nil && ctx.Err() == nil {
		s.account.log.Debug("subscription not deleted", "error", err)
	}
	return err == nil
}

// deleteAll deletes all subscriptions, as far as that is possible, and forgets them.
func (s *subscriber) deleteAll(ctx context.Context) {
	for _, sub := range s.subscriptions() {
		s.deleteAt(ctx, sub.ID)
	}
	s.update(func() { s.held = map[string]*subscription{} })
}

// release deletes all subscriptions before a sign-out. Nothing is created until somebody signs in or resume is called.
func (s *subscriber) release(ctx context.Context) {
	if s == nil {
		return
	}
	s.mu.Lock()
	s.released = true
	s.mu.Unlock()
	done := make(chan struct{})
	select {
	case s.releases <- done:
	case <-s.ended:
		return
	case <-ctx.Done():
		return
	}
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// resume creates subscriptions again. Those that exist are compared with Graph's first: another user may have signed in.
func (s *subscriber) resume() {
	if s == nil {
		return
	}
	s.mu.Lock()
	s.released, s.relist = false, true
	for _, sub := range s.held {
		sub.retryAt, sub.failures = time.Time{}, 0
	}
	s.mu.Unlock()
	signal(s.due)
}

// changed has the subscriptions compared with what the sensors need.
func (s *subscriber) changed() {
	if s != nil {
		signal(s.due)
	}
}

// find returns the resource of a notification that is genuine.
func (s *subscriber) find(n subscriptions.Notification) (resource string, ok bool) {
	if s.notifier == nil {
		return "", false
	}
	s.mu.Lock()
	var of subscription
	for _, sub := range s.held {
		if sub.ID != "" && sub.ID == n.SubscriptionID {
			of = *sub
		}
	}
	if of.ID == "" && s.creating != nil {
		of = *s.creating
	}
	s.mu.Unlock()
	return of.Resource, of.Nonce != "" && s.notifier.matches(n.ClientState, s.account.config.ID, of.Resource, of.Nonce)
}

// receive does what a notification asks for its subscription, and reports whether the sensors must read and the subscriptions must be
// stored.
func (s *subscriber) receive(resource string, n subscriptions.Notification, now time.Time) (wakes, stores bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub := s.held[resource]
	switch {
	case n.Lifecycle == "", n.Lifecycle == subscriptions.Missed:
		return true, false
	case sub == nil || sub.ID != n.SubscriptionID:
		return false, false
	case n.Lifecycle == subscriptions.ReauthorizationRequired:
		sub.RenewAt, sub.retryAt = now, time.Time{}
		return false, true
	case n.Lifecycle == subscriptions.SubscriptionRemoved:
		sub.ID, sub.retryAt = "", time.Time{}
		return true, true
	}
	return false, false // of a later version of Graph
}

// sensorsOf returns the sensors whose changes a resource announces.
func (s *subscriber) sensorsOf(resource string) []*sensor {
	var found []*sensor
	for _, of := range s.account.all() {
		if w, _ := of.changeFeed(); slices.Contains(w.Resources, resource) {
			found = append(found, of)
		}
	}
	return found
}

// deadlines returns when subscriptions must be renewed, created again or deleted.
func (s *subscriber) deadlines(want map[string]sensors.ChangeFeed, now time.Time) []time.Time {
	if s.notifier != nil && !s.compared {
		return []time.Time{s.retryAt}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []time.Time
	for _, sub := range s.held {
		at := sub.retryAt
		_, wanted := want[sub.Resource]
		if wanted && sub.ID != "" && at.Before(sub.RenewAt) {
			at = sub.RenewAt
		}
		if at.After(now) || wanted {
			all = append(all, at)
		}
	}
	return all
}

// A sensorPush holds what is known of the notifications about a sensor.
type sensorPush struct {
	heardAt     time.Time     // when the last one came
	recorded    bool          // that one came is on disk
	polledAt    time.Time     // when the last successful poll began
	suspectAt   time.Time     // when a poll found a change that was not announced yet; zero: none
	fallback    time.Time     // until then it polls at its own interval
	unannounced int           // changes that were never announced
	interval    time.Duration // as set; 0: its own
}

// activeSince returns since when notifications about all resources are sent, as far as is known; zero: they are not.
func (s *subscriber) activeSince(resources []string, now time.Time) time.Time {
	if s.notifier.receiverFailure() != "" {
		return time.Time{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var since time.Time
	for _, resource := range resources {
		sub := s.held[resource]
		if sub == nil || !sub.isActive(now) {
			return time.Time{}
		}
		if sub.since.After(since) {
			since = sub.since
		}
	}
	return since
}

// polled records a poll that succeeded. One that finds a change that nothing has announced marks the notifications as unreliable.
func (s *subscriber) polled(of *sensor, p sensors.Poll) {
	if s == nil || s.notifier == nil || p.Err != nil {
		return
	}
	w, _ := of.changeFeed()
	at := p.At.Round(0)
	since := s.activeSince(w.Resources, at)
	of.mu.Lock()
	push := &of.push
	before := push.polledAt
	push.polledAt = at
	announced := push.heardAt.After(before.Add(-w.Latency))
	if p.Changed && !w.Partial && !announced && !since.IsZero() && before.After(since) && push.suspectAt.IsZero() {
		push.suspectAt = at
	}
	read := push.recorded && !push.heardAt.After(at)
	if read {
		push.recorded = false
	}
	of.mu.Unlock()
	if read {
		s.account.runtime.options.Store.CommitLazily(func(tx services.Tx) { tx.Delete(wakeupsBucket, of.key()) })
	}
	if p.Changed || len(w.Resources) > 0 && since.IsZero() {
		signal(s.due)
	}
}

// judge decides how often the sensors poll, and returns when that changes if nothing happens.
func (s *subscriber) judge(now time.Time) []time.Time {
	if s.notifier == nil {
		return nil
	}
	var next []time.Time
	for _, of := range s.account.all() {
		if of.poller == nil {
			continue
		}
		w, _ := of.changeFeed()
		active := !s.activeSince(w.Resources, now).IsZero()
		interval := of.config.Interval
		of.mu.Lock()
		push := &of.push
		late := w.Latency + announceSlack
		if !push.suspectAt.IsZero() && !now.Before(push.suspectAt.Add(late)) {
			push.suspectAt, push.fallback = time.Time{}, now.Add(fallback)
			push.unannounced++
			of.log.Warn("a change was not announced, polling at the normal interval", "retry_in", fallback)
		}
		if !push.suspectAt.IsZero() {
			next = append(next, push.suspectAt.Add(late))
		}
		switch {
		case !active, w.Partial:
		case now.Before(push.fallback):
			next = append(next, push.fallback)
		default:
			interval = max(interval, s.notifier.Safety)
		}
		changed := cmp.Or(push.interval, of.config.Interval) != interval
		push.interval = interval
		of.mu.Unlock()
		if changed {
			of.poller.SetInterval(interval)
		}
	}
	return next
}

// status describes the notifications of the account; nil if they are not configured.
func (s *subscriber) status() *hub.NotificationStatus {
	if s == nil || s.notifier == nil {
		return nil
	}
	now := time.Now().Round(0)
	n := &hub.NotificationStatus{State: notificationsOff, Sensors: []hub.SensorNotifications{}}
	s.mu.Lock()
	settled := s.settled
	s.mu.Unlock()
	for _, of := range s.account.all() {
		if of.poller == nil {
			continue
		}
		w, reason := of.changeFeed()
		of.mu.Lock()
		n.Unannounced += of.push.unannounced
		suspended := now.Before(of.push.fallback)
		of.mu.Unlock()
		state := hub.SensorNotifications{Sensor: of.config.ID, State: notificationsOff}
		switch {
		case len(w.Resources) == 0:
			state.Message = optionalText(reason)
		case !s.activeSince(w.Resources, now).IsZero() && !suspended:
			state.State = notificationsOK
		case suspended:
			state.State, state.Message = notificationsDegraded, optionalText("a change was not announced, so it is polled at its normal interval for an hour")
		case settled:
			state.State, state.Message = notificationsDegraded, optionalText(s.failure(w.Resources))
		}
		switch {
		case state.State == notificationsDegraded, state.State == notificationsOK && n.State == notificationsOff:
			n.State = state.State
		}
		n.Sensors = append(n.Sensors, state)
	}
	return n
}

// failure returns why notifications about one of the resources are not sent.
func (s *subscriber) failure(resources []string) string {
	if failure := s.notifier.receiverFailure(); failure != "" {
		return failure
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, resource := range resources {
		if sub := s.held[resource]; sub != nil && sub.err != nil {
			return services.Truncate(sub.err.Error(), maxFailure)
		}
	}
	return "there is no subscription at Microsoft yet"
}

// Unsubscribe deletes the subscriptions of an account that send notifications to an address, for a sign-out outside of a running
// program.
func Unsubscribe(ctx context.Context, c *config.Account, session *auth.Session, url string, log *slog.Logger) error {
	g, err := OpenGraph(c, session, log)
	if err != nil {
		return err
	}
	defer g.Close()
	all, err := subscriptions.List(ctx, g)
	if err != nil {
		return err
	}
	var errs []error
	for _, s := range all {
		if s.URL == url {
			errs = append(errs, subscriptions.Delete(ctx, g, s.ID))
		}
	}
	return errors.Join(errs...)
}
