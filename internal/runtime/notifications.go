package runtime

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/subscriptions"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// Buckets of the store for notifications.
const (
	notificationsBucket = "notifications" // the key that the secrets of subscriptions are derived from
	subscriptionsBucket = "subscriptions" // by account and resource, see subscriptionKey
	wakeupsBucket       = "wakeups"       // by sensor: when a change was announced that was not read yet
)

// requestPause is the least time between two requests about subscriptions, of all accounts.
const requestPause = 500 * time.Millisecond

// NotificationOptions configure subscriptions to Graph's change notifications.
type NotificationOptions struct {
	URL    string        // to which Microsoft sends notifications
	Safety time.Duration // between two polls of a sensor whose changes are announced
	Shards *ShardOptions // nil: every notification comes to this process
}

// ShardOptions configure subscriptions whose notifications can come to another process, which passes them on.
type ShardOptions struct {
	Shard string // that a subscription is made for; one that was made for another is replaced
	// ClientState adds to a secret where notifications must be passed to. What precedes the first dot of its result is the secret.
	ClientState func(secret string) string
	// Held returns those of some subscriptions that other shards have, or may have.
	Held func(ctx context.Context, ids []string) ([]string, error)
}

// A notifier holds the secrets and limits that the subscriptions of all accounts share.
type notifier struct {
	NotificationOptions
	key      []byte
	accepted atomic.Uint64 // notifications, also those that were not recorded and come again
	ignored  atomic.Uint64 // notifications that belong to no subscription

	mu      sync.Mutex
	next    time.Time // when the next request about subscriptions may be sent
	failure string    // why nothing that Graph sends is received; "": it is, as far as is known
}

// receiverFailure returns why no notifications are received; "": they are, as far as is known.
func (n *notifier) receiverFailure() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.failure
}

// ReportReceiver reports that nothing that Graph sends is received, or with nil that it is received again. Meanwhile the sensors are
// polled as without notifications.
func (r *Runtime) ReportReceiver(err error) {
	if r.notifier == nil {
		return
	}
	r.notifier.mu.Lock()
	r.notifier.failure = ""
	if err != nil {
		r.notifier.failure = services.Truncate(err.Error(), maxFailure)
	}
	r.notifier.mu.Unlock()
	for _, a := range r.all() {
		a.subscriber.changed()
	}
}

// openNotifier returns the notifier, with a new key if there is none.
func openNotifier(o *NotificationOptions, store Store) (*notifier, error) {
	if o == nil {
		return nil, nil
	}
	n := &notifier{NotificationOptions: *o}
	var err error
	if n.key, err = store.Get(notificationsBucket, "key"); err != nil {
		return nil, fmt.Errorf("read the key of notifications: %w", err)
	}
	if n.key == nil {
		n.key = make([]byte, sha256.Size)
		_, _ = rand.Read(n.key) // never fails
		store.Commit(func(tx services.Tx) { tx.Put(notificationsBucket, "key", n.key) }, nil)
	}
	return n, nil
}

// origin identifies what the secrets of subscriptions depend on: the key, and the shard if there are several.
func (n *notifier) origin() string {
	shard := ""
	if n.Shards != nil {
		shard = n.Shards.Shard
	}
	return n.secret("origin", shard, "")[:12]
}

// isCurrent reports whether the notifications of a subscription come to where they are received now, with a secret that is known. After
// the state was copied to another number of shards, or the key was lost, they do not.
func (n *notifier) isCurrent(s *subscription) bool { return s.URL == n.URL && s.Origin == n.origin() }

// clientState returns what comes with every notification of a subscription.
func (n *notifier) clientState(account, resource, nonce string) string {
	secret := n.secret(account, resource, nonce)
	if n.Shards == nil {
		return secret
	}
	return n.Shards.ClientState(secret)
}

// secret returns the secret of a subscription. The nonce differs from one subscription of a resource to the next.
func (n *notifier) secret(account, resource, nonce string) string {
	sum := hmac.New(sha256.New, n.key)
	for _, part := range []string{account, resource, nonce} {
		fmt.Fprintf(sum, "%d %s ", len(part), part)
	}
	return base64.RawURLEncoding.EncodeToString(sum.Sum(nil))
}

// matches compares a secret in constant time.
func (n *notifier) matches(clientState, account, resource, nonce string) bool {
	secret, _, _ := strings.Cut(clientState, ".")
	return subtle.ConstantTimeCompare([]byte(secret), []byte(n.secret(account, resource, nonce))) == 1
}

// wait waits until a request about subscriptions may be sent.
func (n *notifier) wait(ctx context.Context) error {
	if n == nil { // what an earlier run left is deleted
		return graph.Pause(ctx, requestPause)
	}
	n.mu.Lock()
	at := time.Now()
	if n.next.After(at) {
		at = n.next
	}
	n.next = at.Add(requestPause)
	n.mu.Unlock()
	return graph.Pause(ctx, time.Until(at))
}

// Notify wakes the sensors whose changes are announced, and does what Graph asks for a subscription. Notifications that belong to no
// subscription, or do not have its secret, are counted and ignored. It returns when what was announced survives the end of the process;
// with an error the notifications must be sent again.
func (r *Runtime) Notify(ctx context.Context, all []subscriptions.Notification) error {
	n := r.notifier
	if n == nil {
		return nil
	}
	now := time.Now().Round(0)
	woken := map[*sensor]bool{}
	changed := map[*subscriber][]string{} // the resources whose subscriptions must be stored
	accounts := r.all()
	for _, notification := range all {
		of := findRecipient(accounts, notification)
		s := of.subscriber
		if s == nil {
			n.ignored.Add(1)
			r.options.Log.Debug("notification of an unknown subscription ignored")
			continue
		}
		n.accepted.Add(1)
		wakes, stores := s.receive(of.resource, notification)
		if stores {
			changed[s] = append(changed[s], of.resource)
		}
		if !wakes {
			continue
		}
		for _, sensor := range s.sensorsOf(of.resource) {
			woken[sensor] = true
		}
	}
	return r.recordWakeUps(ctx, woken, changed, now)
}

// HoldsSubscriptions returns those of some subscriptions that the accounts have, or may have.
func (r *Runtime) HoldsSubscriptions(ids []string) (held []string) {
	for _, id := range ids {
		if r.isHeldByOthers(id, nil) {
			held = append(held, id)
		}
	}
	return held
}

// Notified returns how many notifications were accepted since the start, and how many ignored.
func (r *Runtime) Notified() (accepted, ignored uint64) {
	if r.notifier == nil {
		return 0, 0
	}
	return r.notifier.accepted.Load(), r.notifier.ignored.Load()
}

// A recipient is the subscriber of a subscription.
type recipient struct {
	subscriber      *subscriber // nil: there is none
	resource, nonce string
}

// findRecipient returns the recipient of a notification that is genuine, among those of some accounts.
func findRecipient(accounts []*account, n subscriptions.Notification) recipient {
	for _, a := range accounts {
		s := a.subscriber
		if s == nil || s.notifier == nil {
			continue
		}
		s.mu.Lock()
		of, creating := s.byID[n.SubscriptionID], s.creating
		if of == nil {
			of = creating // it has no id yet
		}
		var found recipient
		if of != nil {
			found = recipient{s, of.Resource, of.Nonce}
		}
		s.mu.Unlock()
		if found.nonce != "" && s.notifier.matches(n.ClientState, a.config.ID, found.resource, found.nonce) {
			return found
		}
	}
	return recipient{}
}

// recordWakeUps wakes sensors, and returns when that is on disk.
func (r *Runtime) recordWakeUps(ctx context.Context, woken map[*sensor]bool, changed map[*subscriber][]string, now time.Time) error {
	var unrecorded []*sensor
	for s := range woken {
		if s.announce(now) {
			unrecorded = append(unrecorded, s)
		}
	}
	if len(unrecorded) == 0 && len(changed) == 0 {
		return nil
	}
	value := []byte(now.UTC().Format(time.RFC3339))
	result := make(chan error, 1)
	r.options.Store.Commit(func(tx services.Tx) {
		for _, s := range unrecorded {
			tx.Put(wakeupsBucket, s.key(), value)
		}
		for s, resources := range changed {
			s.store(tx, resources)
		}
	}, func(err error) {
		for _, s := range unrecorded {
			s.recorded(err == nil)
		}
		result <- err
	})
	for s := range changed {
		signal(s.due)
	}
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// announce wakes the sensor because of a notification, and reports whether that must be recorded.
func (s *sensor) announce(now time.Time) (unrecorded bool) {
	s.mu.Lock()
	s.push.heardAt, s.push.suspectAt = now, time.Time{}
	unrecorded = !s.push.recorded
	s.mu.Unlock()
	s.poller.Wake()
	return unrecorded
}

// recorded handles the outcome of storing a wake-up.
func (s *sensor) recorded(ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.push.recorded = s.push.recorded || ok
}
