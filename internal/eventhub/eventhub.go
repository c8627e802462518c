// Package eventhub reads the notifications that Microsoft Graph sends to an event hub of Azure, through the Kafka endpoint of the hub.
//
// https://learn.microsoft.com/graph/change-notifications-delivery-event-hubs
package eventhub

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"golang.org/x/sync/errgroup"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/subscriptions"
)

const (
	// What Microsoft recommends for clients of Kafka: Azure closes connections that are idle for 4 minutes.
	//
	// https://learn.microsoft.com/azure/event-hubs/apache-kafka-configurations
	sessionTimeout = 30 * time.Second
	metadataMaxAge = 3 * time.Minute
	// A failed attempt to record notifications or to reach the hub is repeated after minRetry, then after twice that and so on, at most
	// after maxRetry.
	minRetry = time.Second
	maxRetry = 30 * time.Second
	// recordTimeout bounds one attempt to record notifications.
	recordTimeout = 10 * time.Second
	// maxRecords bounds the records that are taken at once, and maxFetch the bytes that are requested: messages have at most 1 MiB.
	maxRecords = 500
	maxFetch   = 4 << 20
	// leaveTimeout bounds what precedes the end: telling the hub what was read, and leaving the consumer group.
	leaveTimeout = 3 * time.Second
)

// user is the user name with which a connection string is the password.
const user = "$ConnectionString"

// validation is the id of the subscription in the message with which Graph tries an event hub.
const validation = "NA"

// Options configure a Reader.
type Options struct {
	Address string      // of the Kafka endpoint: "contoso.servicebus.windows.net:9093"
	TLS     *tls.Config // nil: the connection is not encrypted
	// Dial opens connections. Nil: over TCP, with TLS.
	Dial             func(ctx context.Context, network, address string) (net.Conn, error)
	ConnectionString string
	Hub, Group       string // the name of the event hub, and of the consumer group that remembers what was read
	// Notify takes notifications, which may be those of others. It returns when they are on disk; with an error they are passed again, or
	// the rest of a *subscriptions.UnrecordedError.
	Notify func(context.Context, []subscriptions.Notification) error
	// OnState is called with an error when the event hub cannot be read, and with nil when it can be read again.
	OnState func(error)
	Shared  bool // other machines read with the same group, so this one may have nothing to read
	Log     *slog.Logger
}

// A Reader reads an event hub.
type Reader struct {
	options Options
	health  health
}

// New returns a reader.
func New(o Options) *Reader { return &Reader{options: o} }

// Run reads until ctx is done. What was not recorded by then is read again by the next run with the same consumer group.
func (r *Reader) Run(ctx context.Context) error {
	work, ctx := errgroup.WithContext(ctx)
	work.Go(func() error { return r.watch(ctx) })
	work.Go(func() error {
		for ctx.Err() == nil {
			if err := r.connect(ctx); err != nil {
				return err
			}
		}
		return nil
	})
	return work.Wait()
}

// connect reads with one client until ctx is done or another client is needed.
func (r *Reader) connect(ctx context.Context) error {
	// Not ctx: at the end the hub is told what was read.
	connected, disconnect := context.WithCancel(context.WithoutCancel(ctx))
	defer disconnect()
	client, err := kgo.NewClient(r.client(connected)...)
	if err != nil {
		return err
	}
	r.read(ctx, client)
	late := time.AfterFunc(leaveTimeout, disconnect)
	defer late.Stop()
	client.Close()
	r.health.hasNone()
	return nil
}

// client returns the options of the client.
func (r *Reader) client(ctx context.Context) []kgo.Opt {
	options := []kgo.Opt{
		kgo.WithContext(ctx), kgo.SeedBrokers(r.options.Address), kgo.ClientID("graph2mqtt"), kgo.DisableClientMetrics(),
		kgo.SASL(plain.Auth{User: user, Pass: r.options.ConnectionString}.AsMechanism()),
		kgo.MetadataMaxAge(metadataMaxAge), kgo.RetryBackoffFn(func(failures int) time.Duration { return min(minRetry<<min(max(failures-1, 0), 10), maxRetry) }),
		kgo.ConsumeTopics(r.options.Hub), kgo.ConsumerGroup(r.options.Group), kgo.SessionTimeout(sessionTimeout), kgo.FetchMaxBytes(maxFetch),
		// Without a position of the group everything that the hub still has is read: others' notifications are ignored.
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		// Only marked records count as read, every few seconds, when a partition is taken away and at the end.
		kgo.AutoCommitMarks(),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, added map[string][]int32) { r.health.has(added, 1) }),
		kgo.OnPartitionsRevoked(r.revoked),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, lost map[string][]int32) { r.health.has(lost, -1) }),
		// A missing event hub is such an error, which the client would try in silence.
		kgo.KeepRetryableFetchErrors(),
		kgo.WithHooks(&hooks{r}),
	}
	switch {
	case r.options.Dial != nil:
		options = append(options, kgo.Dialer(r.options.Dial))
	case r.options.TLS != nil:
		options = append(options, kgo.DialTLSConfig(r.options.TLS))
	}
	return options
}

// read passes on what the hub has until ctx is done, or a partition was refused for so long that another client is needed: a client does not
// find the partitions of an event hub that was deleted and created again.
func (r *Reader) read(ctx context.Context, client *kgo.Client) {
	begun := time.Now()
	for {
		r.health.wait(true)
		fetched := client.PollRecords(ctx, maxRecords)
		r.health.wait(false)
		if ctx.Err() != nil {
			return
		}
		isRefused, isPartition := false, false
		fetched.EachError(func(_ string, partition int32, err error) {
			if session := (*kgo.ErrGroupSession)(nil); errors.As(err, &session) { // OnGroupManageError has it, too
				return
			}
			r.refused(err)
			isRefused, isPartition = true, isPartition || partition >= 0
		})
		records := fetched.Records()
		if !r.record(ctx, r.notifications(records)) {
			return
		}
		client.MarkCommitRecords(records...)
		switch {
		case !isRefused:
		case isPartition && r.health.silent(begun) > silence:
			return
		case graph.Pause(ctx, minRetry) != nil: // the client asks again at once
			return
		}
	}
}

// revoked commits what was read of partitions that another machine reads from now on.
func (r *Reader) revoked(ctx context.Context, client *kgo.Client, partitions map[string][]int32) {
	if err := client.CommitMarkedOffsets(ctx); err != nil { // the other machine reads it again
		r.options.Log.Debug("what was read was not committed at the event hub", "error", r.text(err))
	}
	r.health.has(partitions, -1)
}

// notifications returns the notifications in records. Others may write into the hub, too: what is none is ignored, or it would be in
// the way for ever.
func (r *Reader) notifications(records []*kgo.Record) []subscriptions.Notification {
	var all []subscriptions.Notification
	for _, record := range records {
		found, err := subscriptions.Parse(bytes.NewReader(record.Value))
		if err != nil {
			r.options.Log.Debug("message of the event hub ignored", "error", err)
			continue
		}
		all = append(all, found...)
	}
	return slices.DeleteFunc(all, func(n subscriptions.Notification) bool { return n.SubscriptionID == validation })
}

// record passes notifications on until they are recorded. It reports false if the program ends before that.
func (r *Reader) record(ctx context.Context, all []subscriptions.Notification) bool {
	if len(all) == 0 {
		return ctx.Err() == nil
	}
	wait := minRetry
	for failing := false; ; {
		err := r.notify(ctx, all)
		if ctx.Err() != nil {
			return false
		}
		switch unrecorded := (*subscriptions.UnrecordedError)(nil); {
		case errors.As(err, &unrecorded):
			all = unrecorded.Rest
		case err != nil && !failing:
			failing = true
			r.options.Log.Warn("notifications not recorded", "error", err)
		case err == nil && failing:
			r.options.Log.Info("notifications recorded again")
		}
		if err == nil {
			return true
		}
		if graph.Pause(ctx, wait) != nil {
			return false
		}
		wait = min(2*wait, maxRetry)
	}
}

func (r *Reader) notify(ctx context.Context, all []subscriptions.Notification) error {
	ctx, cancel := context.WithTimeout(ctx, recordTimeout)
	defer cancel()
	return r.options.Notify(ctx, all)
}

// text returns an error's text without the secret, and without the port of this side, which differs each time.
func (r *Reader) text(err error) string {
	if op := (*net.OpError)(nil); errors.As(err, &op) && op.Source != nil {
		err = &net.OpError{Op: op.Op, Net: op.Net, Addr: op.Addr, Err: op.Err}
	}
	text := err.Error()
	if secret := r.options.ConnectionString; secret != "" {
		text = strings.ReplaceAll(text, secret, "[redacted]")
	}
	return text
}
