package state

import (
	"bytes"
	"compress/flate"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// ErrUnavailable is wrapped by the errors for a cluster of NATS servers that does not answer. What was written in such a request may be
// stored nevertheless.
var ErrUnavailable = errors.New("NATS does not answer")

// A refusal is an ErrUnavailable of servers that do answer: they do not accept what the configuration says.
type refusal string

func (r refusal) Error() string { return string(r) }

// Is implements errors.Is.
func (r refusal) Is(target error) bool { return target == ErrUnavailable }

// errConflict is returned when a value was changed since it was read.
var errConflict = errors.New("it was changed by another process")

// ClusterOptions name the NATS servers that hold the state which several machines share.
type ClusterOptions struct {
	Servers     []string // nats://HOST:PORT or tls://HOST:PORT
	Credentials string   // a file with a user's JWT and nkey; ""
	Username    string
	Password    string
	TLS         *tls.Config   // nil: the defaults
	Bucket      string        // of JetStream
	Replicas    int           // of the bucket when it is created; 0: three in a cluster of servers, otherwise one
	Lease       time.Duration // how long a process that has stopped holds the state
	Shards      int           // the number of parts that the database has, each with a lease of its own; 0: 1
}

const (
	connectTimeout = 5 * time.Second
	requestTimeout = 2 * time.Second
	scanTimeout    = time.Minute
	fileTimeout    = 6 * time.Second // for the servers to elect a leader
	retryInterval  = 100 * time.Millisecond
	deleteTimeout  = time.Second
	heartbeat      = time.Second // of the servers while they have no messages for a consumer

	// inactiveThreshold is the time after which the servers delete a consumer whose machine does not ask for messages.
	inactiveThreshold = 30 * time.Second

	// markerTTL is the time for which a deleted key is marked as deleted.
	markerTTL = "1m"

	// maxChanges bounds one transaction. JetStream accepts 1,000 messages in a batch.
	maxChanges = 900

	// headerReserve is the part of a message's size limit that is left for its headers.
	headerReserve = 4096

	// storeFailed is the code of JetStream's error for a change that cannot be stored: a limit is reached, or the disk is full.
	storeFailed = 10077

	// tooFewServers is the code of JetStream's error for a stream with more replicas than servers of the cluster are ready to hold it.
	tooFewServers = 10005

	// maxKeySize bounds a key as it is part of a subject. A server accepts 4,096 bytes for the whole line.
	maxKeySize = 2048

	replicasInCluster = 3
)

// The headers of JetStream, see https://docs.nats.io/reference/reference-protocols/nats_api_reference and its decision record 50.
const (
	headerBatchID     = "Nats-Batch-Id"
	headerBatchSeq    = "Nats-Batch-Sequence"
	headerBatchCommit = "Nats-Batch-Commit"
	headerTTL         = "Nats-TTL"
	headerOperation   = "KV-Operation"
	operationDelete   = "DEL"
	operationPurge    = "PURGE" // of others, such as the command line of NATS
)

// A bucket is a key-value bucket of JetStream. Reads ask the leader of its stream, so that they see every earlier write.
type bucket struct {
	cluster ClusterOptions
	prefix  string // of the subjects
	conn    *nats.Conn
	js      jetstream.JetStream
	stream  jetstream.Stream
	log     *slog.Logger
	denied  atomic.Pointer[denial] // the newest; nil: none

	reported reportedErrors

	configurations *comparison
	isMember       atomic.Bool               // see Dir.IsMember
	balanced       atomic.Pointer[time.Time] // see Dir.IsSharing
	outages        atomic.Pointer[[]*outage] // of what is repeated while this machine waits for the state or for shards; nil: it does not
}

// A denial is a request without the permission that it needs. The servers do not answer it.
type denial struct {
	at  time.Time
	err error
}

// deniedPattern matches the part of the subject of a denied request that differs each time.
var deniedPattern = regexp.MustCompile(`(_INBOX\.|\$(KV|GRAPH2MQTT)\.[^."]+\.|\$JS\.API\.CONSUMER\.[A-Z.]+\.[^."]+\.)[^"]+`)

// maskDenied replaces that part by the wildcard of permissions.
func maskDenied(text string) string { return deniedPattern.ReplaceAllString(text, "$1>") }

// reportedInterval is the time for which the servers must not have reported an error before it is logged again.
const reportedInterval = 10 * time.Minute

// reportedErrors are the errors that the servers reported lately, by their text: a missing permission with each request, refused credentials with
// each attempt to connect.
type reportedErrors struct {
	mu   sync.Mutex
	last map[string]time.Time
}

// isNew records an error, and reports whether it was not reported lately.
func (r *reportedErrors) isNew(err error, now time.Time) bool {
	text := maskDenied(err.Error())
	r.mu.Lock()
	defer r.mu.Unlock()
	last, ok := r.last[text]
	if r.last == nil {
		r.last = map[string]time.Time{}
	}
	r.last[text] = now
	return !ok || now.Sub(last) >= reportedInterval
}

// An entry is a key of a bucket. Its sequence is 0 if the key never existed.
type entry struct {
	key      string
	sequence uint64
	value    []byte // nil: deleted
}

// A message sets or deletes a key of a bucket.
type message struct {
	key    string
	value  []byte        // nil deletes the key
	expect *uint64       // the sequence that the key must have
	ttl    time.Duration // after which the server removes the key; 0: never
}

// openBucket connects to the servers, and creates the bucket if it does not exist.
func openBucket(ctx context.Context, c ClusterOptions, log *slog.Logger) (_ *bucket, err error) {
	b := &bucket{cluster: c, prefix: "$KV." + c.Bucket + ".", log: log, configurations: newComparison(log)}
	options := []nats.Option{
		nats.Name("graph2mqtt"), nats.MaxReconnects(-1), nats.ReconnectWait(500 * time.Millisecond), nats.ReconnectJitter(100*time.Millisecond, 500*time.Millisecond),
		nats.Timeout(connectTimeout),
		// What is sent late would be stored late, after something newer: everything fails while there is no connection.
		nats.ReconnectBufSize(-1),
		nats.PingInterval(max(time.Second, c.Lease/5)), nats.MaxPingsOutstanding(2),
		nats.IgnoreAuthErrorAbort(), // credentials are renewed in place
		nats.PermissionErrOnSubscribe(true),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warn("connection to NATS lost", "error", err)
			}
		}),
		nats.ReconnectHandler(func(conn *nats.Conn) { log.Info("connected to NATS", "server", conn.ConnectedUrlRedacted()) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			level := slog.LevelWarn
			if errors.Is(err, nats.ErrPermissionViolation) {
				b.denied.Store(&denial{time.Now(), err})
			}
			if !b.reported.isNew(err, time.Now()) {
				level = slog.LevelDebug
			}
			log.Log(context.Background(), level, "NATS reported an error", "error", err)
		}),
	}
	if c.Credentials != "" {
		options = append(options, nats.UserCredentials(c.Credentials))
	}
	if c.Username != "" {
		options = append(options, nats.UserInfo(c.Username, c.Password))
	}
	if c.TLS != nil {
		options = append(options, nats.Secure(c.TLS))
	}
	b.conn, err = nats.Connect(strings.Join(c.Servers, ","), options...)
	if errors.Is(err, nats.ErrAuthorization) {
		return nil, fmt.Errorf("connect to %s: %w", b.servers(), refusal("NATS refuses cluster.username with its password, or cluster.credentials_file"))
	}
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w: %w", b.servers(), ErrUnavailable, err)
	}
	defer func() {
		if err != nil {
			b.conn.Close()
		}
	}()
	if b.js, err = jetstream.New(b.conn, jetstream.WithDefaultTimeout(connectTimeout)); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*connectTimeout)
	defer cancel()
	if err := b.openStream(ctx); err != nil {
		return nil, fmt.Errorf("the bucket %s of NATS at %s: %w", c.Bucket, b.servers(), b.explain(err))
	}
	return b, nil
}

func (b *bucket) servers() string { return strings.Join(b.cluster.Servers, ", ") }

// openStream opens the stream of the bucket, or creates it, and has it configured as it must be.
func (b *bucket) openStream(ctx context.Context) (err error) {
	name := "KV_" + b.cluster.Bucket
	b.stream, err = b.js.Stream(ctx, name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		replicas := b.replicas()
		b.stream, err = b.js.CreateStream(ctx, jetstream.StreamConfig{
			Name: name, Description: "state of graph2mqtt", Subjects: []string{b.prefix + ">"}, Storage: jetstream.FileStorage, Replicas: replicas,
			MaxMsgsPerSubject: 1, MaxMsgs: -1, MaxBytes: -1, MaxMsgSize: -1, MaxConsumers: -1, Discard: jetstream.DiscardNew,
			AllowRollup: true, DenyDelete: true, AllowMsgTTL: true, AllowAtomicPublish: true,
		})
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another machine starts at the same time
			b.stream, err = b.js.Stream(ctx, name)
		} else if err != nil && replicas > 1 && !isUnavailable(err) {
			err = fmt.Errorf("create it with %d replicas: %w; start as many servers with JetStream, or set cluster.replicas", replicas, err)
			var api *jetstream.APIError
			if errors.As(err, &api) && api.ErrorCode == tooFewServers { // the others may be starting
				return refusal(err.Error())
			}
			return err
		}
	}
	if err != nil {
		return err
	}
	c := b.stream.CachedInfo().Config
	switch {
	case c.MaxMsgsPerSubject != 1 || c.Storage != jetstream.FileStorage || c.MaxAge != 0 || !slices.Equal(c.Subjects, []string{b.prefix + ">"}):
		return errors.New("it was made for something else; delete it, or set cluster.bucket to another name")
	case c.AllowDirect || !c.AllowMsgTTL || !c.AllowAtomicPublish:
		c.AllowDirect, c.AllowMsgTTL, c.AllowAtomicPublish = false, true, true // a read of a follower may be outdated
		if b.stream, err = b.js.UpdateStream(ctx, c); err != nil {
			return err
		}
		c = b.stream.CachedInfo().Config
	}
	if !c.AllowAtomicPublish || !c.AllowMsgTTL {
		return fmt.Errorf("the server has version %s; want NATS 2.12 or later", b.conn.ConnectedServerVersion())
	}
	if c.Replicas == 1 {
		b.log.Warn("the state is on one NATS server only and is lost with it", "bucket", b.cluster.Bucket)
	}
	return nil
}

// replicas returns the number of servers that are to hold a new stream.
func (b *bucket) replicas() int {
	switch {
	case b.cluster.Replicas > 0:
		return b.cluster.Replicas
	case b.conn.ConnectedClusterName() != "":
		return replicasInCluster
	}
	return 1
}

// explain makes errors that say why the servers did not answer.
func (b *bucket) explain(err error) error { return b.explainStream("KV_"+b.cluster.Bucket, err) }

// explainStream is explain for a request to a stream.
func (b *bucket) explainStream(name string, err error) error {
	if errors.Is(err, jetstream.ErrStreamNotFound) && name == "KV_"+b.cluster.Bucket {
		return b.deletedError()
	}
	if err == nil || !isUnavailable(err) || errors.Is(err, ErrUnavailable) {
		return err
	}
	waited := requestTimeout
	if b.stream == nil { // it is being opened
		waited = 2 * connectTimeout
	}
	if d := b.denied.Load(); d != nil && errors.Is(err, context.DeadlineExceeded) && time.Since(d.at) < waited+time.Second {
		return refusal("the user of NATS lacks a permission: " + d.err.Error())
	}
	if !b.conn.IsConnected() {
		return fmt.Errorf("%w: no connection to %s", ErrUnavailable, b.servers())
	}
	if errors.Is(err, nats.ErrNoResponders) {
		return b.explainNoResponders(name)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// explainNoResponders returns the error for a request to a stream that no server answers.
func (b *bucket) explainNoResponders(name string) error {
	ctx, cancel := context.WithTimeout(context.Background(), deleteTimeout)
	defer cancel()
	_, err := b.js.Stream(ctx, name)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound) && name == "KV_"+b.cluster.Bucket:
		return fmt.Errorf("%w: %w", ErrUnavailable, b.deletedError())
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return fmt.Errorf("%w: the stream was deleted", ErrUnavailable)
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return fmt.Errorf("%w: JetStream is not enabled on the servers", ErrUnavailable)
	case err == nil:
		return fmt.Errorf("%w: the bucket or stream has no leader at the moment", ErrUnavailable)
	}
	return fmt.Errorf("%w: JetStream has no leader at the moment, or the bucket or stream was deleted", ErrUnavailable)
}

func (b *bucket) deletedError() error {
	return fmt.Errorf("the bucket %s of NATS was deleted; restore it, or start graph2mqtt again to make an empty one", b.cluster.Bucket)
}

func isUnavailable(err error) bool {
	for _, known := range []error{
		ErrUnavailable, context.DeadlineExceeded, context.Canceled, nats.ErrTimeout, nats.ErrNoResponders, nats.ErrConnectionClosed, nats.ErrConnectionReconnecting,
		nats.ErrDisconnected, nats.ErrReconnectBufExceeded, nats.ErrNoServers, jetstream.ErrNoStreamResponse, jetstream.ErrJetStreamNotEnabled,
	} {
		if errors.Is(err, known) {
			return true
		}
	}
	var api *jetstream.APIError
	return errors.As(err, &api) && api.Code == 503 && api.ErrorCode != storeFailed
}

// get returns the entry of a key.
func (b *bucket) get(ctx context.Context, key string) (entry, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	m, err := b.stream.GetLastMsgForSubject(ctx, b.prefix+key)
	return b.entryOf(key, m, err)
}

// patiently calls f until it succeeds or fails for another reason than that the servers do not answer, at most until ctx is done.
func patiently(ctx context.Context, f func() error) error {
	for {
		err := f()
		if !errors.Is(err, ErrUnavailable) {
			return err
		}
		timer := time.NewTimer(retryInterval)
		select {
		case <-ctx.Done():
			timer.Stop()
			return err
		case <-timer.C:
		}
	}
}

// next returns the first entry after a sequence whose key matches filter.
func (b *bucket) next(ctx context.Context, sequence uint64, filter string) (entry, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	m, err := b.stream.GetMsg(ctx, sequence+1, jetstream.WithGetMsgSubject(b.prefix+filter))
	return b.entryOf("", m, err)
}

func (b *bucket) entryOf(key string, m *jetstream.RawStreamMsg, err error) (entry, error) {
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return entry{key: key}, nil
	case err != nil:
		return entry{}, b.explain(err)
	}
	return newEntry(strings.TrimPrefix(m.Subject, b.prefix), m.Sequence, m.Header, m.Data), nil
}

func newEntry(key string, sequence uint64, header nats.Header, data []byte) entry {
	e := entry{key: key, sequence: sequence}
	if operation := header.Get(headerOperation); operation != operationDelete && operation != operationPurge {
		e.value = notNil(data)
	}
	return e
}

// scan calls f for the newest entry of every key that matches filter, in the order of their sequences. It sees everything up to the entry
// of the key until, whose sequence is at least the given one.
func (b *bucket) scan(ctx context.Context, filter, until string, sequence uint64, f func(entry)) error {
	ctx, cancel := context.WithTimeout(ctx, scanTimeout)
	defer cancel()
	return b.each(ctx, scanTimeout, []string{filter, until}, func(e entry) (more bool) {
		if e.key != until {
			f(e)
			return true
		}
		// A consumer runs on any server, which may not have stored the latest messages yet; it sends them in their order.
		return e.sequence < sequence
	})
}

// follow calls f for the newest entry of every key that matches one of the filters, and for each later one, until ctx is done or the
// servers do not send any more.
func (b *bucket) follow(ctx context.Context, filters []string, f func(entry)) error {
	return b.each(ctx, requestTimeout, filters, func(e entry) (more bool) { f(e); return true })
}

// each calls f for the newest entry of every key that matches one of the filters, in the order of their sequences, and for each later one,
// until f returns false. It waits for the consumer of the servers for at most createTimeout.
func (b *bucket) each(ctx context.Context, createTimeout time.Duration, filters []string, f func(entry) (more bool)) error {
	subjects := make([]string, len(filters))
	for i, filter := range filters {
		subjects[i] = b.prefix + filter
	}
	creating, cancel := context.WithTimeout(ctx, createTimeout)
	defer cancel()
	consumer, err := b.stream.OrderedConsumer(creating, jetstream.OrderedConsumerConfig{
		FilterSubjects: subjects, DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy,
		InactiveThreshold: inactiveThreshold,
		MaxResetAttempts:  3, // without a bound it tries for ever when the bucket was deleted, also after ctx is done
	})
	if err != nil {
		return b.explain(err)
	}
	// A request for messages that is lost, as while the servers have just started, is repeated after two heartbeats.
	messages, err := consumer.Messages(jetstream.PullHeartbeat(heartbeat))
	if err != nil {
		return b.explain(err)
	}
	defer b.deleteConsumer(ctx, consumer)
	defer messages.Stop()
	for {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return b.explain(err)
		}
		meta, err := m.Metadata()
		if err != nil {
			return err
		}
		if !f(newEntry(strings.TrimPrefix(m.Subject(), b.prefix), meta.Sequence.Stream, m.Headers(), m.Data())) {
			return nil
		}
	}
}

// deleteConsumer deletes a consumer that is not needed any more. If that fails the servers delete it later.
func (b *bucket) deleteConsumer(ctx context.Context, c jetstream.Consumer) {
	info := c.CachedInfo()
	if info == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), deleteTimeout)
	defer cancel()
	if err := b.stream.DeleteConsumer(ctx, info.Name); err != nil {
		b.log.Debug("a consumer at NATS is deleted later", "error", err)
	}
}

// publish writes messages in one transaction and returns the sequence of the last one. The error is errConflict if a key does not have the
// expected sequence.
func (b *bucket) publish(ctx context.Context, messages ...message) (sequence uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	id := nuid.Next()
	var answer *nats.Msg
	for i, m := range messages {
		out := nats.NewMsg(b.prefix + m.key)
		out.Data = m.value
		if m.value == nil {
			out.Header.Set(headerOperation, operationDelete)
			out.Header.Set(headerTTL, markerTTL)
		}
		if m.ttl > 0 {
			out.Header.Set(headerTTL, m.ttl.String())
		}
		if m.expect != nil {
			out.Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(*m.expect, 10))
		}
		if len(messages) > 1 {
			out.Header.Set(headerBatchID, id)
			out.Header.Set(headerBatchSeq, strconv.Itoa(i+1))
		}
		if i < len(messages)-1 {
			if err := b.conn.PublishMsg(out); err != nil {
				return 0, b.explain(err)
			}
			continue
		}
		if len(messages) > 1 {
			out.Header.Set(headerBatchCommit, "1")
		}
		if answer, err = b.conn.RequestMsgWithContext(ctx, out); err != nil {
			return 0, b.explain(err)
		}
	}
	var ack struct {
		Sequence uint64              `json:"seq"`
		Error    *jetstream.APIError `json:"error"`
	}
	switch err := json.Unmarshal(answer.Data, &ack); {
	case err != nil:
		return 0, fmt.Errorf("unreadable answer of JetStream: %w", err)
	case ack.Error == nil:
		return ack.Sequence, nil
	case ack.Error.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence, ack.Error.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant:
		return 0, errConflict
	case ack.Error.ErrorCode == storeFailed:
		return 0, fmt.Errorf("the NATS servers cannot store it: %s; raise the limit of the bucket %s or of the servers, or free some space on their disks", ack.Error.Description, b.cluster.Bucket)
	}
	return 0, b.explain(ack.Error)
}

// check returns an error for a value or a key that is too large.
func (b *bucket) check(key string, size int) error {
	if len(key) > maxKeySize {
		return fmt.Errorf("the key has %d bytes; want at most %d", len(key), maxKeySize)
	}
	if limit := b.conn.MaxPayload() - headerReserve; int64(size) > limit {
		return fmt.Errorf("the value has %d bytes after compression, but the NATS servers accept at most %d; raise max_payload of the servers, or have fewer items read", size, limit)
	}
	return nil
}

func (b *bucket) close() { b.conn.Close() }

// escape returns a name as one token of a subject. Tokens are distinct for distinct names.
func escape(name string) string {
	var out strings.Builder
	for i := range len(name) {
		switch c := name[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_':
			out.WriteByte(c)
		default:
			fmt.Fprintf(&out, "=%02X", c)
		}
	}
	return out.String()
}

// unescape reverts escape.
func unescape(token string) (string, error) {
	var out strings.Builder
	for i := 0; i < len(token); i++ {
		if token[i] != '=' {
			out.WriteByte(token[i])
			continue
		}
		if i+2 >= len(token) {
			return "", ErrCorrupt
		}
		c, err := strconv.ParseUint(token[i+1:i+3], 16, 8)
		if err != nil {
			return "", ErrCorrupt
		}
		out.WriteByte(byte(c))
		i += 2
	}
	return out.String(), nil
}

// The first byte of a packed value.
const (
	packedPlain = iota
	packedFlate
)

// minCompressed is the size from which compression is worth it.
const minCompressed = 200

// pack compresses a value.
func pack(plain []byte) []byte {
	if len(plain) >= minCompressed {
		out := bytes.NewBuffer([]byte{packedFlate})
		w, _ := flate.NewWriter(out, flate.DefaultCompression) // the level is valid
		_, _ = w.Write(plain)                                  // a buffer accepts everything
		_ = w.Close()
		if out.Len() <= len(plain) {
			return out.Bytes()
		}
	}
	return append([]byte{packedPlain}, plain...)
}

// unpack reverts pack.
func unpack(packed []byte) ([]byte, error) {
	if len(packed) == 0 {
		return nil, ErrCorrupt
	}
	switch packed[0] {
	case packedPlain:
		return packed[1:], nil
	case packedFlate:
		plain, err := io.ReadAll(flate.NewReader(bytes.NewReader(packed[1:])))
		if err != nil {
			return nil, ErrCorrupt
		}
		return plain, nil
	}
	return nil, ErrCorrupt
}
