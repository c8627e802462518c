package bridge

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/eventhub"
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/subscriptions"
	"github.com/graph2mqtt/graph2mqtt/internal/runtime"
	"github.com/graph2mqtt/graph2mqtt/internal/state"
)

const (
	// maxQuestions bounds the questions about a shard that are under way: while its machine does not answer, others are not held up. maxIDs
	// bounds the subscriptions in one of them.
	maxQuestions = 8
	maxIDs       = 1000
	// questionTimeout bounds the time until a question is answered.
	questionTimeout = 2 * time.Second
	// Whether this machine can ask others is checked once in checkInterval, and once in failedCheckInterval while it cannot.
	checkInterval       = time.Minute
	failedCheckInterval = 15 * time.Second
	// unheldLeases is the number of leases for which a shard must have no machine before its notifications of an event hub are skipped.
	unheldLeases = 4
)

// A SharedReceiver receives the notifications of all shards of a cluster, wherever a load balancer or an event hub brings them, and passes them
// to the bridges that have the shards: in this process or on another machine.
//
// The secret of each subscription names its shard, under the key of the cluster. So a notification that Microsoft did not send asks nothing
// of other machines.
type SharedReceiver struct {
	dir       *state.Dir
	log       *slog.Logger
	questions []chan struct{} // those under way, by shard
	ignored   atomic.Uint64

	mu       sync.Mutex
	bridges  map[int]*Bridge // of this process, by shard
	failing  map[int]*failingShard
	hub      error // why the event hub cannot be read
	exchange error // of the last check of the connection between the machines; nil: it works
	unopened error // why the newest listener or event hub is not in use
}

// A failingShard is a shard to which the last notifications were not passed.
type failingShard struct {
	unheld  time.Time // since when no machine has it; zero: one may have it
	skipped int       // notifications
}

// NewSharedReceiver returns a receiver for the shards of a cluster.
func NewSharedReceiver(dir *state.Dir, log *slog.Logger) *SharedReceiver {
	r := &SharedReceiver{
		dir: dir, log: log.With("component", "notifications"), questions: make([]chan struct{}, dir.Shards()), bridges: map[int]*Bridge{},
		failing: map[int]*failingShard{},
	}
	for shard := range r.questions {
		r.questions[shard] = make(chan struct{}, maxQuestions)
	}
	return r
}

// Run receives as a configuration says until ctx is done, and as one of changes says from then on. A changed one that cannot be used, for
// example because another program uses the address of the listener, does not end what this machine does for all its shards.
func (r *SharedReceiver) Run(ctx context.Context, c *config.Config, changes <-chan *config.Config) error {
	var used *config.Config
	for begun := false; ; begun = true {
		hub, webhook, err := r.open(c)
		switch {
		case err == nil:
			used = c
			r.report(&r.unopened, nil)
		case !begun:
			return err
		default:
			r.log.Error("notifications not changed, keeping the running listener or event hub", "error", err)
			if hub, webhook, err = r.open(used); err != nil {
				return err
			}
			r.report(&r.unopened, errors.New("the changed listener or event hub of notifications cannot be used, see the log"))
		}
		if c, err = r.receive(ctx, c, hub, webhook, changes); err != nil || c == nil {
			return err
		}
	}
}

// open returns what receives the configured notifications; nil: it is not configured.
func (r *SharedReceiver) open(c *config.Config) (hub *eventhub.Reader, webhook *listener, err error) {
	n := c.Notifications
	notifyHeld := func(ctx context.Context, all []subscriptions.Notification) error {
		return r.notifyHeld(ctx, all, unheldLeases*c.Cluster.Lease)
	}
	if hub, err = readHub(n, notifyHeld, func(err error) { r.report(&r.hub, err) }, true, r.log); err != nil {
		return nil, nil, err
	}
	webhook, err = receive(n, r.notify, r.log)
	return hub, webhook, err
}

// receive receives until ctx is done, or a configuration with other notifications than c comes, which it returns.
func (r *SharedReceiver) receive(ctx context.Context, c *config.Config, hub *eventhub.Reader, webhook *listener, changes <-chan *config.Config) (next *config.Config, err error) {
	r.report(&r.hub, nil)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	work, workContext := errgroup.WithContext(ctx)
	webhook.start(workContext, work)
	if hub != nil {
		work.Go(func() error { return hub.Run(workContext) })
	}
	if c.Notifications.Enabled() {
		work.Go(func() error { return r.check(workContext) })
	}
	work.Go(func() error {
		for {
			select {
			case <-workContext.Done():
				return nil
			case changed := <-changes:
				if config.Diff(c, changed).Has("notifications") {
					next = changed
					stop()
					return nil
				}
			}
		}
	})
	err = work.Wait()
	return next, err
}

// Ignored returns how many notifications were ignored since the start because they have no secret of this cluster's.
func (r *SharedReceiver) Ignored() uint64 { return r.ignored.Load() }

// check checks the connection between the machines until ctx is done, and reports when it fails and when it works again.
func (r *SharedReceiver) check(ctx context.Context) error {
	defer r.report(&r.exchange, nil)
	failing := false
	for {
		wait := checkInterval
		err := r.dir.CheckQuestions(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			wait = failedCheckInterval
			if !failing {
				r.log.Warn("notifications cannot be passed to other machines", "error", err, "retry_in", wait)
			}
			r.report(&r.exchange, fmt.Errorf("notifications cannot be passed between the machines: %w", err))
		case failing:
			r.log.Info("notifications can be passed to other machines again")
			fallthrough
		default:
			r.report(&r.exchange, nil)
		}
		failing = err != nil
		if graph.Pause(ctx, wait) != nil {
			return nil
		}
	}
}

// report sets one of the problems, and reports what is wrong then to the bridges of this process.
func (r *SharedReceiver) report(problem *error, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.problem()
	*problem = err
	after := r.problem()
	if before == nil && after == nil || before != nil && after != nil && before.Error() == after.Error() {
		return
	}
	for _, b := range r.bridges {
		b.runtime.ReportReceiver(after)
	}
}

// problem returns why not all notifications are received. The caller holds r.mu.
func (r *SharedReceiver) problem() error {
	for _, err := range []error{r.unopened, r.hub, r.exchange} {
		if err != nil {
			return err
		}
	}
	return nil
}

// shardOptions returns what the runtime of a shard needs.
func (r *SharedReceiver) shardOptions(shard int) *runtime.ShardOptions {
	return &runtime.ShardOptions{
		Shard:       strconv.Itoa(shard),
		ClientState: func(secret string) string { return r.clientState(shard, secret) },
		Held:        func(ctx context.Context, ids []string) ([]string, error) { return r.held(ctx, shard, ids) },
	}
}

// clientState returns a secret with the number of its shard. Graph accepts up to 128 characters.
func (r *SharedReceiver) clientState(shard int, secret string) string {
	return secret + "." + base64.RawURLEncoding.EncodeToString(r.dir.Seal([]byte{byte(shard)}, sealPurpose(secret)))
}

// shardOf returns the shard of a notification. It is not ok if Graph did not send the notification because of a subscription of this cluster.
func (r *SharedReceiver) shardOf(n subscriptions.Notification) (shard int, ok bool) {
	secret, text, _ := strings.Cut(n.ClientState, ".")
	sealed, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return 0, false
	}
	number, err := r.dir.Unseal(sealed, sealPurpose(secret))
	if err != nil || len(number) != 1 {
		return 0, false
	}
	return int(number[0]), int(number[0]) < len(r.questions) // there may have been more shards
}

// sealPurpose binds the number of a shard to a secret.
func sealPurpose(secret string) string { return "shard of the notification " + secret }

// A question asks the bridge of a shard, perhaps on another machine.
type question struct {
	Notifications []subscriptions.Notification `json:"notifications,omitempty"`
	Subscriptions []string                     `json:"subscriptions,omitempty"` // ids
}

// An answer is the answer of the bridge.
type answer struct {
	Error         string   `json:"error,omitempty"`         // why the notifications are not recorded
	Subscriptions []string `json:"subscriptions,omitempty"` // those of the question that it has, or may have
}

// questionsTo returns the name under which the bridge of a shard answers.
func questionsTo(shard int) string { return fmt.Sprintf("shard.%d", shard) }

// notify passes notifications to the bridges of their shards, and returns when they are recorded. With an error, which is a
// *subscriptions.UnrecordedError, they must come again. Notifications of others are counted and ignored.
func (r *SharedReceiver) notify(ctx context.Context, all []subscriptions.Notification) error {
	byShard := map[int][]subscriptions.Notification{}
	for _, n := range all {
		shard, ok := r.shardOf(n)
		if !ok {
			r.ignored.Add(1)
			r.log.Debug("notification of an unknown subscription ignored")
			continue
		}
		byShard[shard] = append(byShard[shard], n)
	}
	var passing sync.WaitGroup
	var mu sync.Mutex
	var unrecorded subscriptions.UnrecordedError
	for shard, part := range byShard {
		passing.Go(func() {
			err := r.pass(ctx, shard, part)
			r.passed(ctx, shard, err)
			if err == nil {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			unrecorded.Rest = append(unrecorded.Rest, part...)
			unrecorded.Err = errors.Join(unrecorded.Err, fmt.Errorf("shard %d: %w", shard, err))
		})
	}
	passing.Wait()
	if unrecorded.Err != nil {
		return &unrecorded
	}
	return nil
}

// notifyHeld is notify without waiting for shards that no machine has had for a time: they would hold up the others, and the bridge that
// takes such a shard polls everything when it starts.
func (r *SharedReceiver) notifyHeld(ctx context.Context, all []subscriptions.Notification, patience time.Duration) error {
	err := r.notify(ctx, all)
	unrecorded := (*subscriptions.UnrecordedError)(nil)
	if !errors.As(err, &unrecorded) {
		return err
	}
	unrecorded.Rest = slices.DeleteFunc(unrecorded.Rest, func(n subscriptions.Notification) bool { return r.skip(n, patience) })
	if len(unrecorded.Rest) == 0 {
		return nil
	}
	return unrecorded
}

// skip reports whether a notification is to be skipped because no machine has had its shard for a time. It is counted.
func (r *SharedReceiver) skip(n subscriptions.Notification, patience time.Duration) bool {
	shard, _ := r.shardOf(n)
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.failing[shard]
	if f == nil || f.unheld.IsZero() || time.Since(f.unheld) < patience {
		return false
	}
	if f.skipped++; f.skipped == 1 {
		r.log.Warn("notifications skipped: no machine has their shard", "shard", shard, "since", f.unheld)
	}
	return true
}

// passed records whether notifications could be passed to a shard, and logs when they cannot, and when they can again.
func (r *SharedReceiver) passed(ctx context.Context, shard int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.failing[shard]
	switch {
	case err == nil && f != nil:
		delete(r.failing, shard)
		r.log.Info("notifications recorded again", "shard", shard, "skipped", f.skipped)
		return
	case err == nil, errors.Is(ctx.Err(), context.Canceled): // the program ends, or who sent them does not wait: it says nothing about the shard
		return
	case f == nil:
		f = &failingShard{}
		r.failing[shard] = f
		r.log.Warn("notifications not recorded", "shard", shard, "error", err)
	}
	switch isUnheld := errors.Is(err, state.ErrNobodyAnswers); {
	case !isUnheld:
		f.unheld = time.Time{}
	case f.unheld.IsZero():
		f.unheld = time.Now()
	}
}

// pass passes notifications to the bridge of their shard.
func (r *SharedReceiver) pass(ctx context.Context, shard int, all []subscriptions.Notification) error {
	a, err := r.ask(ctx, shard, question{Notifications: all})
	switch {
	case errors.Is(err, state.ErrTooLarge) && len(all) > 1:
		half := len(all) / 2
		return errors.Join(r.pass(ctx, shard, all[:half]), r.pass(ctx, shard, all[half:]))
	case err != nil:
		return r.dir.ExplainTimeout(err)
	case a.Error != "":
		return errors.New(a.Error)
	}
	return nil
}

// held returns those of some subscriptions that other shards than self have, or may have.
func (r *SharedReceiver) held(ctx context.Context, self int, ids []string) (held []string, err error) {
	for shard := range r.dir.Shards() {
		if shard == self {
			continue
		}
		for part := range slices.Chunk(ids, maxIDs) {
			a, err := r.ask(ctx, shard, question{Subscriptions: part})
			if err != nil {
				return nil, fmt.Errorf("shard %d: %w", shard, err)
			}
			held = append(held, a.Subscriptions...)
		}
	}
	return held, nil
}

// ask asks the bridge of a shard.
func (r *SharedReceiver) ask(ctx context.Context, shard int, q question) (a answer, err error) {
	r.mu.Lock()
	b := r.bridges[shard]
	r.mu.Unlock()
	if b != nil {
		if a, ok := b.answer(ctx, q); ok {
			return a, nil
		}
	}
	select {
	case r.questions[shard] <- struct{}{}:
		defer func() { <-r.questions[shard] }()
	case <-ctx.Done():
		return a, ctx.Err()
	}
	content, err := json.Marshal(q)
	if err != nil {
		return a, err
	}
	ctx, cancel := context.WithTimeout(ctx, questionTimeout)
	defer cancel()
	text, err := r.dir.Ask(ctx, questionsTo(shard), content)
	if err != nil {
		return a, err
	}
	return a, json.Unmarshal(text, &a)
}

// passTo passes notifications for the shard of a bridge to it until ctx is done.
func (r *SharedReceiver) passTo(ctx context.Context, b *Bridge) error {
	shard := b.options.Shard
	r.mu.Lock()
	r.bridges[shard] = b
	b.runtime.ReportReceiver(r.problem())
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.bridges, shard)
	}()
	stop, err := answerQuestions(r.dir, shard, b.answer)
	if err != nil {
		return err
	}
	<-ctx.Done()
	stop()
	return nil
}

// answerQuestions answers the questions about a shard until stop is called. Without ok a question is not answered.
func answerQuestions(dir *state.Dir, shard int, f func(context.Context, question) (a answer, ok bool)) (stop func(), err error) {
	return dir.Answer(questionsTo(shard), func(ctx context.Context, content []byte) ([]byte, bool) {
		var q question
		if json.Unmarshal(content, &q) != nil || len(q.Notifications)+len(q.Subscriptions) == 0 { // of a later version
			return nil, false
		}
		ctx, cancel := context.WithTimeout(ctx, questionTimeout)
		defer cancel()
		a, ok := f(ctx, q)
		if !ok {
			return nil, false
		}
		content, err := json.Marshal(a)
		return content, err == nil
	})
}

// answer answers a question, unless another machine may have the shard by now.
func (b *Bridge) answer(ctx context.Context, q question) (a answer, ok bool) {
	if err := b.notify(ctx, q.Notifications); err != nil {
		a.Error = err.Error()
	}
	a.Subscriptions = b.runtime.HoldsSubscriptions(q.Subscriptions)
	return a, b.holdsShard()
}

// holdsShard reports whether no other machine can have the shard of the bridge.
func (b *Bridge) holdsShard() bool { return b.options.Lease == nil || b.options.Lease.Err() == nil }
