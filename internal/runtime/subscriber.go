package runtime

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	mathrand "math/rand/v2"
	"net/url"
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
	// roundTime bounds how long requests about subscriptions are sent before everything is evaluated again: an organization can have
	// thousands. roundPause is the least time between two evaluations.
	roundTime  = 10 * time.Second
	roundPause = time.Second
	// An organization compares its subscriptions with Graph's list once in compareInterval at most: there can be very many.
	compareInterval = 10 * time.Minute
	// maxLifetime is the longest lifetime of a subscription whose end is not known.
	maxLifetime = 4320 * time.Minute
)

// The states of notifications.
const (
	notificationsOK       = "ok"
	notificationsDegraded = "degraded"
	notificationsOff      = "off"
)

// A subscription is a subscription of an account to a resource. What is not stored follows from Graph's list and the resource, so that a
// renewal writes nothing.
type subscription struct {
	Resource    string
	ID          string // "": it must be created
	URL         string
	Nonce       string // see notifier.secret
	Origin      string // see notifier.origin
	Reauthorize bool   `json:",omitempty"` // Graph demands a renewal

	Expires time.Time `json:"-"` // zero: not known
	RenewAt time.Time `json:"-"` // zero: follows from Expires

	since    time.Time // when it was created, or found to exist, in this process; zero: neither
	failedAt time.Time // when the last request about it failed; zero: it succeeded
	retry    retry
}

// noSubscription is the message about a sensor whose changes will be announced.
const noSubscription = "there is no subscription at Microsoft yet"

// isActive reports whether Graph sends notifications about the resource, as far as is known.
func (s *subscription) isActive(now time.Time) bool {
	return s.ID != "" && !s.since.IsZero() && now.Before(s.Expires)
}

// exists reports whether the subscription exists at Graph, as far as is known.
func (s *subscription) exists(now time.Time) bool {
	return s.ID != "" && (s.Expires.IsZero() || now.Before(s.Expires))
}

// A retry records requests that failed.
type retry struct {
	err      error // of the last one; nil: it succeeded
	at       time.Time
	failures int
}

// failed records a request that failed, and reports whether its error is another than before.
func (r *retry) failed(err error, now time.Time) (news bool) {
	wait := min(subscribeRetry<<min(r.failures, 10), maxSubscribeRetry)
	var e *graph.Error
	if errors.As(err, &e) {
		wait = max(wait, e.RetryAfter)
	}
	news = r.err == nil || r.err.Error() != err.Error()
	r.failures++
	r.err, r.at = err, now.Add(wait)
	return news
}

// A subscriber keeps the subscriptions of an account to notifications. Its Run alone sends requests about them.
type subscriber struct {
	account  *account
	notifier *notifier     // nil: only delete what an earlier run left
	due      chan struct{} // something changed
	releases chan chan struct{}
	ended    chan struct{} // closed when Run has returned

	compared   bool            // with Graph's list, since the start or the last sign-in; Run's
	comparedAt time.Time       // Run's
	compareAt  time.Time       // when it is due; zero: it is not; Run's
	strays     []*subscription // at Graph, of earlier runs: they are deleted, those that failed last at the end; Run's

	mu       sync.Mutex
	held     map[string]*subscription // by resource
	byID     map[string]*subscription // those of held that exist
	creating *subscription            // Graph may send notifications before it answers
	blocked  retry                    // of requests that fail for every subscription
	unlisted error                    // of the last comparison; nil: it succeeded
	settled  bool                     // everything was tried once
	released bool                     // nothing is created until the next sign-in
	relist   bool                     // another user may have signed in
}

// newSubscriber returns the subscriber of an account with the subscriptions that exist already; nil if there is nothing to do.
func (a *account) newSubscriber(existing []subscription) *subscriber {
	s := &subscriber{
		account: a, notifier: a.runtime.notifier, due: make(chan struct{}, 1), releases: make(chan chan struct{}), ended: make(chan struct{}),
		held: map[string]*subscription{}, byID: map[string]*subscription{}, compareAt: time.Now(),
	}
	for _, sub := range existing {
		s.held[sub.Resource] = &sub
		if sub.ID != "" {
			s.byID[sub.ID] = &sub
		}
	}
	if s.notifier == nil && len(s.held) == 0 {
		return nil
	}
	return s
}

// loadSubscriptions returns the subscriptions of earlier runs by account. It deletes what is stored of accounts that are not configured any
// more: at Graph their subscriptions end by themselves.
func (r *Runtime) loadSubscriptions(accounts map[string]*config.Account) map[string][]subscription {
	all := map[string][]subscription{}
	var obsolete []string
	var together []string // accounts whose subscriptions an earlier version stored as one value
	var unreadable []error
	err := r.options.Store.Each(subscriptionsBucket, func(key string, value []byte) error {
		account, _, single := strings.Cut(key, "/")
		if accounts[account] == nil {
			obsolete = append(obsolete, key)
			return nil
		}
		if !single {
			var subs []subscription
			if err := json.Unmarshal(value, &subs); err != nil {
				unreadable = append(unreadable, err)
				return nil
			}
			all[account], together, obsolete = append(all[account], subs...), append(together, account), append(obsolete, key)
			return nil
		}
		var sub subscription
		if err := json.Unmarshal(value, &sub); err != nil {
			unreadable = append(unreadable, err)
			return nil
		}
		all[account] = append(all[account], sub)
		return nil
	})
	if err := errors.Join(append(unreadable, err)...); err != nil {
		r.options.Log.Warn("stored subscriptions unreadable", "error", err) // Graph's list has them
	}
	if len(obsolete) > 0 {
		r.options.Store.Commit(func(tx services.Tx) {
			for _, key := range obsolete {
				tx.Delete(subscriptionsBucket, key)
			}
			for _, account := range together {
				for _, sub := range all[account] {
					putSubscription(tx, account, sub)
				}
			}
		}, func(err error) { logStoreError(r.options.Log, err) })
	}
	return all
}

// existing returns the subscriptions that exist, for a successor.
func (s *subscriber) existing() []subscription {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []subscription
	for _, sub := range s.held {
		if sub.ID != "" {
			all = append(all, subscription{Resource: sub.Resource, ID: sub.ID, URL: sub.URL, Nonce: sub.Nonce, Origin: sub.Origin, Reauthorize: sub.Reauthorize})
		}
	}
	return all
}

// subscriptionKey returns the key of a subscription in its bucket. A resource can be longer than a key may be.
func subscriptionKey(account, resource string) string {
	sum := sha256.Sum256([]byte(resource))
	return account + "/" + base64.RawURLEncoding.EncodeToString(sum[:15])
}

func putSubscription(tx services.Tx, account string, sub subscription) {
	value, err := json.Marshal(sub)
	if err != nil {
		panic(err) // texts only
	}
	tx.Put(subscriptionsBucket, subscriptionKey(account, sub.Resource), value)
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
			if graph.Pause(ctx, roundPause) != nil { // for more that changes
				return nil
			}
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
		s.relist, s.compared, s.compareAt, s.strays = false, false, time.Now(), nil
	}
	s.mu.Unlock()
	if !s.account.signedIn() || released {
		return maxStatusInterval
	}
	if s.notifier != nil && !s.compareAt.IsZero() && !time.Now().Before(s.compareAt) {
		s.compare(ctx)
	}
	want, unknown := s.wanted()
	end := time.Now().Add(roundTime)
	var work []func()
	for _, sub := range s.subscriptions() {
		if _, ok := want[sub.Resource]; !ok && !unknown[mailboxIn(sub.Resource)] {
			work = append(work, func() { s.delete(ctx, sub) })
		}
	}
	if s.compared {
		for _, sub := range s.dueIn(want, time.Now().Round(0)) {
			work = append(work, func() { s.keep(ctx, sub, want[sub.Resource]) })
		}
	}
	for len(work) > 0 && ctx.Err() == nil && time.Now().Before(end) && !s.isBlocked() {
		work[0]()
		work = work[1:]
	}
	if s.compared {
		s.deleteStrays(ctx, end)
	}
	if ctx.Err() != nil {
		return maxStatusInterval
	}
	s.mu.Lock()
	s.settled = s.settled || s.compared && len(work) == 0 || s.blocked.err != nil || s.unlisted != nil
	s.mu.Unlock()
	now := time.Now().Round(0)
	next := now.Add(maxStatusInterval)
	for _, at := range slices.Concat(s.deadlines(want, len(work) > 0, now), s.strayDeadlines(), s.judge(now)) {
		next = earlier(next, at)
	}
	signal(s.account.dirty)
	return max(time.Until(next), requestPause) // guard against a busy loop
}

// wanted returns what the sensors' changes are announced by, by resource, and the mailboxes of which that is not known of all sensors.
func (s *subscriber) wanted() (want map[string]sensors.ChangeFeed, unknown map[string]bool) {
	want, unknown = map[string]sensors.ChangeFeed{}, map[string]bool{}
	if s.notifier == nil {
		return want, unknown
	}
	shared := map[string]bool{}
	for _, of := range s.account.all() {
		w, reason := of.changeFeed()
		if len(w.Resources) == 0 && reason == "" {
			unknown[of.mailbox] = true
		}
		for _, resource := range w.Resources {
			want[resource], shared[resource] = w, w.Item != ""
		}
	}
	if unknown[""] { // there can be one for all items, and not all are known
		maps.DeleteFunc(want, func(resource string, _ sensors.ChangeFeed) bool { return shared[resource] })
	}
	return want, unknown
}

// dueIn returns the subscriptions that must be created or renewed now: first those that would end, and last those that failed before, the one
// that failed last at the end, so that a mailbox whose requests fail does not hold up others.
func (s *subscriber) dueIn(want map[string]sensors.ChangeFeed, now time.Time) []*subscription {
	s.mu.Lock()
	defer s.mu.Unlock()
	var due []*subscription
	for resource, w := range want {
		sub := s.held[resource]
		if sub == nil {
			sub = &subscription{Resource: resource}
			s.held[resource] = sub
		}
		exists := sub.exists(now)
		if exists && sub.RenewAt.IsZero() {
			sub.RenewAt = renewalOf(sub.Expires, w.Lifetime)
		}
		isKept := exists && s.notifier.isCurrent(sub) && !sub.Reauthorize && now.Before(sub.RenewAt)
		if !isKept && !now.Before(sub.retry.at) {
			due = append(due, sub)
		}
	}
	rank := func(sub *subscription) int {
		switch {
		case !sub.failedAt.IsZero():
			return 2
		case sub.ID == "":
			return 1
		}
		return 0
	}
	slices.SortFunc(due, func(a, b *subscription) int {
		return cmp.Or(rank(a)-rank(b), a.failedAt.Compare(b.failedAt), cmp.Compare(a.Resource, b.Resource))
	})
	return due
}

// isBlocked reports whether requests about subscriptions fail for every one of them now.
func (s *subscriber) isBlocked() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Now().Before(s.blocked.at)
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
	failure, answered := s.err, s.state != nil
	s.mu.Unlock()
	w := s.source.ChangeFeed(snapshot)
	isApplication := s.account.config.Application
	permission := s.account.permission(w.Permission)
	switch {
	case w.UserOnly && isApplication:
		return sensors.ChangeFeed{}, "Microsoft sends no notifications about this to applications"
	case w.Reason != "":
		return sensors.ChangeFeed{}, w.Reason
	case w.ApplicationOnly && !isApplication:
		return sensors.ChangeFeed{}, "Microsoft sends no notifications about the calendars of others"
	case permission.Scope != "" && !permission.Satisfied(s.account.session.Granted()):
		return sensors.ChangeFeed{}, "Microsoft sends notifications about this only with " + permission.Scope + ", which is not granted"
	case w.WorkOnly && s.account.graph.Personal():
		return sensors.ChangeFeed{}, "Microsoft sends notifications about this to work and school accounts only"
	case w.GlobalOnly && s.account.graph.NationalCloud():
		return sensors.ChangeFeed{}, "Microsoft sends notifications about this in the global cloud only"
	case s.account.missingError(s.source.Permissions()) != nil:
		return sensors.ChangeFeed{}, "" // it cannot be read either, which is reported
	case isApplication && (!answered || graph.Is(failure, graph.PermissionMissing) || graph.Is(failure, graph.NotFound)):
		return sensors.ChangeFeed{}, "" // a subscription to a mailbox that the application cannot read would be refused as well
	}
	if s.mailbox != "" {
		w.Resources = slices.Clone(w.Resources)
		for i, resource := range w.Resources {
			w.Resources[i] = "/users/" + s.mailbox + strings.TrimPrefix(resource, "/me")
		}
	}
	return w, ""
}

// resourceMailbox returns an organization's mailbox as it is in resources, for sensors that name it in another case share a subscription.
func resourceMailbox(c *config.Sensor) string {
	if !c.Application {
		return ""
	}
	return url.PathEscape(strings.ToLower(mailboxOf(c)))
}

// mailboxIn returns the mailbox that is in the resource of an organization, otherwise "".
func mailboxIn(resource string) string {
	rest, ok := strings.CutPrefix(resource, "/users/")
	if !ok {
		return ""
	}
	mailbox, _, _ := strings.Cut(rest, "/")
	return mailbox
}

// subscriptions returns all subscriptions by resource.
func (s *subscriber) subscriptions() []*subscription {
	s.mu.Lock()
	defer s.mu.Unlock()
	return byID(s.held)
}

// update changes the subscriptions to resources, stores them, and returns when they are committed or about to be.
func (s *subscriber) update(change func(), resources ...string) {
	s.mu.Lock()
	change()
	s.mu.Unlock()
	if len(resources) > 0 {
		s.account.runtime.options.Store.Commit(func(tx services.Tx) { s.store(tx, resources) }, s.account.logStoreError)
	}
}

// store writes the subscriptions to resources as they are now.
func (s *subscriber) store(tx services.Tx, resources []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, resource := range resources {
		if sub := s.held[resource]; sub != nil && sub.ID != "" {
			putSubscription(tx, s.account.config.ID, *sub)
		} else {
			tx.Delete(subscriptionsBucket, subscriptionKey(s.account.config.ID, resource))
		}
	}
}

// forget deletes what is stored of the subscriptions.
func (s *subscriber) forget(tx services.Tx) {
	if s == nil {
		return
	}
	for _, sub := range s.subscriptions() {
		tx.Delete(subscriptionsBucket, subscriptionKey(s.account.config.ID, sub.Resource))
	}
}

// compare compares the subscriptions with those at Graph: some may have ended while the program was away, and others be left of a run
// that did not get to store them.
func (s *subscriber) compare(ctx context.Context) {
	now := time.Now().Round(0)
	listed, err := func() ([]subscriptions.Subscription, error) {
		if err := s.notifier.wait(ctx); err != nil {
			return nil, err
		}
		return subscriptions.List(ctx, s.account.graph)
	}()
	if ctx.Err() != nil {
		return
	}
	s.mu.Lock()
	news := err != nil && (s.unlisted == nil || s.unlisted.Error() != err.Error())
	s.unlisted = err
	s.mu.Unlock()
	if err != nil {
		retryIn := subscribeRetry
		if s.account.config.Application && graph.Is(err, graph.PermissionMissing) {
			// Its permissions can be those that Exchange assigns, which are in no token. A renewal shows as well whether a subscription exists.
			retryIn, s.compared = maxSubscribeRetry, true
		}
		s.compareAt = now.Add(retryIn)
		if news && !graph.Is(err, graph.SignInRequired) {
			s.account.log.Warn("subscriptions not compared", "error", err, "retry_in", retryIn)
		}
		return
	}
	s.compared, s.comparedAt, s.compareAt = true, now, time.Time{}
	expiries := map[string]time.Time{}
	for _, l := range listed {
		expiries[l.ID] = l.Expires
	}
	known := map[string]bool{}
	var lost []string
	s.mu.Lock()
	for _, sub := range s.held {
		expires, ok := expiries[sub.ID]
		switch {
		case sub.ID == "":
		case !ok:
			s.setID(sub, "")
			lost = append(lost, sub.Resource)
		default:
			if !expires.Equal(sub.Expires) {
				sub.Expires, sub.RenewAt = expires, time.Time{}
			}
			if sub.URL == s.notifier.URL {
				known[sub.ID] = true
				if sub.since.IsZero() {
					sub.since = now
				}
			}
		}
	}
	s.mu.Unlock()
	s.update(func() {}, lost...)
	var unknown []string
	for _, l := range listed {
		if !known[l.ID] && l.URL == s.notifier.URL && !s.account.runtime.isHeldByOthers(l.ID, s) {
			unknown = append(unknown, l.ID)
		}
	}
	s.strays = nil
	for _, id := range s.withoutOtherShards(ctx, unknown, now) {
		s.strays = append(s.strays, &subscription{ID: id, Expires: expiries[id]})
	}
}

// withoutOtherShards returns those of some subscriptions that no other shard has: accounts of other shards can have the same user or
// application. While that is not known it returns none, and everything is compared again later.
func (s *subscriber) withoutOtherShards(ctx context.Context, ids []string, now time.Time) []string {
	if len(ids) == 0 || s.notifier.Shards == nil {
		return ids
	}
	held, err := s.notifier.Shards.Held(ctx, ids)
	if err != nil {
		s.account.log.Debug("subscriptions at Microsoft kept: another shard may have them", "error", err)
		s.compareSoon(now)
		return nil
	}
	return slices.DeleteFunc(ids, func(id string) bool { return slices.Contains(held, id) })
}

// deleteStrays deletes subscriptions of earlier runs until end. One that cannot be deleted now is tried again after the others, and ends by
// itself.
func (s *subscriber) deleteStrays(ctx context.Context, end time.Time) {
	var left, failed []*subscription
	for _, stray := range s.strays {
		now := time.Now().Round(0)
		switch {
		case !stray.exists(now):
		case ctx.Err() != nil, !now.Before(end), s.isBlocked(), now.Before(stray.retry.at):
			left = append(left, stray)
		case !s.deleteAt(ctx, s.account.graph, stray.ID):
			stray.retry.failed(errors.New("not deleted"), now)
			failed = append(failed, stray)
		}
	}
	s.strays = append(left, failed...)
}

// strayDeadlines returns when subscriptions of earlier runs must be deleted.
func (s *subscriber) strayDeadlines() []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []time.Time
	for _, stray := range s.strays {
		at := stray.retry.at
		if at.Before(s.blocked.at) {
			at = s.blocked.at
		}
		all = append(all, at)
	}
	return all
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
	return s.byID[id] != nil || s.creating != nil
}

// setID sets the id of a subscription; "": it does not exist. The caller holds mu.
func (s *subscriber) setID(sub *subscription, id string) {
	delete(s.byID, sub.ID)
	if sub.ID = id; id != "" {
		s.byID[id] = sub
	}
}

// keep creates or renews a subscription that is due.
func (s *subscriber) keep(ctx context.Context, sub *subscription, w sensors.ChangeFeed) {
	s.mu.Lock()
	id, exists, moved := sub.ID, sub.exists(time.Now()), !s.notifier.isCurrent(sub)
	s.mu.Unlock()
	switch {
	case exists && !moved:
		s.renew(ctx, sub, w)
	case exists:
		s.deleteAt(ctx, s.graphOf(sub.Resource), id)
		fallthrough
	default:
		s.create(ctx, sub, w)
	}
}

// graphOf returns the client for requests about the subscription to a resource: of an organization that of the mailbox, which has a limit of its own.
func (s *subscriber) graphOf(resource string) *graph.Client {
	if mailbox := mailboxIn(resource); mailbox != "" {
		return s.account.graph.ForMailbox(mailbox)
	}
	return s.account.graph
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
	made := subscription{Resource: sub.Resource, URL: s.notifier.URL, Nonce: rand.Text(), Origin: s.notifier.origin()}
	s.mu.Lock()
	s.creating = &made
	s.mu.Unlock()
	var created subscriptions.Subscription
	err := s.send(ctx, func(ctx context.Context) (err error) {
		created, err = subscriptions.Create(ctx, s.graphOf(made.Resource), subscriptions.Subscription{
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
			s.compareSoon(now) // it may exist, and be in the way
		}
		s.failed(ctx, sub, err, now)
		return
	}
	failures := 0
	s.update(func() {
		s.creating, failures = nil, sub.retry.failures+s.blocked.failures
		s.setID(sub, "")
		*sub, s.blocked = made, retry{}
		s.setID(sub, created.ID)
		sub.Expires, sub.RenewAt, sub.since = created.Expires, renewalOf(created.Expires, created.Expires.Sub(now)), now
	}, sub.Resource)
	s.reportRecovery(failures)
	for _, of := range s.sensorsOf(sub.Resource) {
		of.poller.Wake()
	}
}

// compareSoon has the subscriptions compared with Graph's list again.
func (s *subscriber) compareSoon(now time.Time) {
	s.compareAt = now.Add(subscribeRetry)
	if next := s.comparedAt.Add(compareInterval); s.account.config.Application && next.After(s.compareAt) {
		s.compareAt = next
	}
}

// renewalOf returns when a subscription with a lifetime is renewed: when a third of it is left, or a little earlier, so that not all are
// renewed at once.
func renewalOf(expires time.Time, lifetime time.Duration) time.Time {
	return expires.Add(-lifetime/3 - mathrand.N(max(lifetime/20, 1)))
}

// renew extends a subscription. One that has ended is created again.
func (s *subscriber) renew(ctx context.Context, sub *subscription, w sensors.ChangeFeed) {
	s.mu.Lock()
	id := sub.ID
	s.mu.Unlock()
	var expires time.Time
	err := s.send(ctx, func(ctx context.Context) (err error) {
		expires, err = subscriptions.Renew(ctx, s.graphOf(sub.Resource), id, time.Now().Add(w.Lifetime-clockMargin))
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
			sub.retry.at, s.blocked.at = earlier(sub.retry.at, sub.Expires), earlier(s.blocked.at, sub.Expires)
		}
		s.mu.Unlock()
	default:
		var stored []string
		s.mu.Lock()
		if sub.Reauthorize {
			stored = append(stored, sub.Resource)
		}
		failures, blocked := sub.retry.failures, s.blocked
		if !subscriptions.IsReceiverFailure(blocked.err) { // Graph asks the receiver about new subscriptions only
			failures, blocked = failures+blocked.failures, retry{}
		}
		s.mu.Unlock()
		s.update(func() {
			sub.Expires, sub.RenewAt, sub.Reauthorize, sub.retry, s.blocked = expires, renewalOf(expires, expires.Sub(now)), false, retry{}, blocked
			sub.failedAt = time.Time{}
			if sub.since.IsZero() {
				sub.since = now
			}
		}, stored...)
		s.reportRecovery(failures)
	}
}

// reportRecovery logs that requests about subscriptions succeed again.
func (s *subscriber) reportRecovery(failures int) {
	if failures > 0 {
		s.account.log.Info("notifications work again", "failures", failures)
	}
}

// failed records a request about a subscription that failed, and logs it once.
func (s *subscriber) failed(ctx context.Context, sub *subscription, err error, now time.Time) {
	if ctx.Err() != nil {
		return
	}
	of := &sub.retry
	concernsAll := s.concernsAll(err)
	if concernsAll {
		of = &s.blocked
	}
	s.mu.Lock()
	sub.failedAt = now
	news := of.failed(err, now)
	retryIn := of.at.Sub(now)
	s.mu.Unlock()
	if !news || graph.Is(err, graph.SignInRequired) || graph.IsUnauthorized(err) {
		return
	}
	log := s.account.log
	if !concernsAll {
		var names []string
		for _, of := range s.sensorsOf(sub.Resource) {
			names = append(names, of.config.ID)
		}
		slices.Sort(names)
		log = log.With("sensor", strings.Join(names, " "))
	}
	log.Warn("no notifications", "error", err, "retry_in", retryIn)
}

// concernsAll reports whether a request about any other subscription would fail in the same way.
func (s *subscriber) concernsAll(err error) bool {
	return graph.Is(err, graph.SignInRequired) || graph.IsUnauthorized(err) || graph.Is(err, graph.Network) || subscriptions.IsReceiverFailure(err) ||
		graph.Is(err, graph.Throttled) && !s.account.config.Application
}

// delete deletes a subscription that is not needed any more. One that cannot be deleted now is tried again, and ends by itself.
func (s *subscriber) delete(ctx context.Context, sub *subscription) {
	now := time.Now().Round(0)
	s.mu.Lock()
	id, waits, exists := sub.ID, now.Before(sub.retry.at), sub.exists(now)
	s.mu.Unlock()
	if waits && exists {
		return
	}
	if exists && !s.deleteAt(ctx, s.graphOf(sub.Resource), id) {
		s.mu.Lock()
		sub.retry.failed(errors.New("not deleted"), now)
		if sub.Expires.IsZero() {
			sub.Expires = now.Add(maxLifetime)
		}
		s.mu.Unlock()
		return
	}
	s.update(func() { delete(s.byID, id); delete(s.held, sub.Resource) }, sub.Resource)
}

// deleteAt deletes a subscription at Graph and reports whether it is gone.
func (s *subscriber) deleteAt(ctx context.Context, g *graph.Client, id string) bool {
	err := s.send(ctx, func(ctx context.Context) error { return subscriptions.Delete(ctx, g, id) })
	if err != nil && ctx.Err() == nil {
		s.account.log.Debug("subscription not deleted", "error", err)
	}
	return err == nil
}

// deleteAll deletes all subscriptions, as far as that is possible, and forgets them.
func (s *subscriber) deleteAll(ctx context.Context) {
	var resources []string
	for _, sub := range s.existing() {
		resources = append(resources, sub.Resource)
		s.deleteAt(ctx, s.graphOf(sub.Resource), sub.ID)
	}
	for _, stray := range s.strays {
		s.deleteAt(ctx, s.account.graph, stray.ID)
	}
	s.strays = nil
	s.update(func() { s.held, s.byID = map[string]*subscription{}, map[string]*subscription{} }, resources...)
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
	s.released, s.relist, s.blocked = false, true, retry{}
	for _, sub := range s.held {
		sub.retry.at, sub.retry.failures = time.Time{}, 0
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

// receive does what a notification asks for its subscription, and reports whether the sensors must read and the subscription must be
// stored.
func (s *subscriber) receive(resource string, n subscriptions.Notification) (wakes, stores bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub := s.held[resource]
	switch {
	case n.Lifecycle == "", n.Lifecycle == subscriptions.Missed:
		return true, false
	case sub == nil || sub.ID != n.SubscriptionID:
		return false, false
	case n.Lifecycle == subscriptions.ReauthorizationRequired:
		stores = !sub.Reauthorize
		sub.Reauthorize, sub.retry.at = true, time.Time{}
		return false, stores
	case n.Lifecycle == subscriptions.SubscriptionRemoved:
		s.setID(sub, "")
		sub.retry.at = time.Time{}
		return true, true
	}
	return false, false // of a later version of Graph
}

// sensorsOf returns the sensors whose changes a resource announces.
func (s *subscriber) sensorsOf(resource string) []*sensor {
	s.account.mu.Lock()
	found := byID(s.account.byMailbox[mailboxIn(resource)])
	s.account.mu.Unlock()
	return slices.DeleteFunc(found, func(of *sensor) bool {
		w, _ := of.changeFeed()
		return !slices.Contains(w.Resources, resource)
	})
}

// deadlines returns when subscriptions must be renewed, created again or deleted; unfinished reports that some are due already.
func (s *subscriber) deadlines(want map[string]sensors.ChangeFeed, unfinished bool, now time.Time) []time.Time {
	var all []time.Time
	if s.notifier != nil && !s.compareAt.IsZero() {
		all = append(all, s.compareAt)
	}
	if s.notifier != nil && !s.compared {
		return all
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sub := range s.held {
		at := sub.retry.at
		_, wanted := want[sub.Resource]
		if wanted && sub.exists(now) && !sub.Reauthorize && s.notifier.isCurrent(sub) && at.Before(sub.RenewAt) {
			at = sub.RenewAt
		}
		if at.Before(s.blocked.at) {
			at = s.blocked.at
		}
		if at.After(now) || wanted || unfinished {
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
		push.suspectAt = at.Add(p.Took) // it may have waited for its turn
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
		if reason == "" && of.err != nil {
			reason = "it cannot be read, see its problem"
		}
		if reason == "" && of.state == nil {
			reason = "it has not been read yet"
		}
		of.mu.Unlock()
		state := hub.SensorNotifications{Sensor: of.config.ID, State: notificationsOff}
		switch {
		case len(w.Resources) == 0:
			state.Message = optionalText(reason)
		case !suspended && (!s.activeSince(w.Resources, now).IsZero() || !settled && s.areStored(w.Resources, now)):
			state.State = notificationsOK
		case suspended:
			state.State, state.Message = notificationsDegraded, optionalText("a change was not announced, so it is polled at its normal interval for an hour")
		case settled:
			state.State, state.Message = notificationsDegraded, optionalText(s.failure(w.Resources))
		default:
			state.Message = optionalText(noSubscription)
		}
		switch {
		case state.State == notificationsDegraded, state.State == notificationsOK && n.State == notificationsOff:
			n.State = state.State
		}
		n.Sensors = append(n.Sensors, state)
	}
	return n
}

// areStored reports whether an earlier run has subscribed to the resources. Until they are compared with Graph's list they are taken to
// exist.
func (s *subscriber) areStored(resources []string, now time.Time) bool {
	if s.notifier.receiverFailure() != "" {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return !slices.ContainsFunc(resources, func(resource string) bool {
		sub := s.held[resource]
		return sub == nil || !sub.exists(now) || sub.Reauthorize || !s.notifier.isCurrent(sub)
	})
}

// failure returns why notifications about one of the resources are not sent.
func (s *subscriber) failure(resources []string) string {
	if failure := s.notifier.receiverFailure(); failure != "" {
		return failure
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, resource := range resources {
		if sub := s.held[resource]; sub != nil && sub.retry.err != nil {
			return services.Truncate(sub.retry.err.Error(), maxFailure)
		}
	}
	if err := cmp.Or(s.blocked.err, s.unlisted); err != nil {
		return services.Truncate(err.Error(), maxFailure)
	}
	return noSubscription
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
