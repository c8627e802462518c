package state

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A Stream is a stream of JetStream beside the bucket of a cluster. Messages are only added to it: not even its user can change or delete
// one. They are not encrypted.
type Stream struct {
	bucket *bucket
	name   string
	maxAge time.Duration

	mu     sync.Mutex
	opened bool
}

// Stream returns the stream with a name, which is created when the first message is appended. Messages older than maxAge are removed by the
// servers; 0: never. It returns nil if the state is not in a cluster.
func (d *Dir) Stream(name string, maxAge time.Duration) *Stream {
	if d.shared == nil {
		return nil
	}
	return &Stream{bucket: d.shared.bucket, name: name, maxAge: maxAge}
}

// Append adds a message with the subject "<name>.<topic>", or "<name>" without a topic, and returns when the servers have stored it. A message
// with the id of one of the last two minutes is not added again.
func (s *Stream) Append(topic, id string, data []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	if err := s.open(ctx); err != nil {
		return fmt.Errorf("the stream %s of NATS at %s: %w", s.name, s.bucket.servers(), s.bucket.explainStream(s.name, err))
	}
	subject := s.name
	if topic != "" {
		subject += "." + escape(topic)
	}
	m := nats.NewMsg(subject)
	m.Data = data
	if _, err := s.bucket.js.PublishMsg(ctx, m, jetstream.WithMsgID(id), jetstream.WithExpectStream(s.name)); err != nil {
		return fmt.Errorf("the stream %s of NATS: %w", s.name, s.bucket.explainStream(s.name, err))
	}
	return nil
}

// open opens the stream once, or creates it.
func (s *Stream) open(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opened {
		return nil
	}
	b := s.bucket
	wanted := jetstream.StreamConfig{
		Name: s.name, Description: "changes that graph2mqtt made", Subjects: []string{s.name, s.name + ".>"}, Storage: jetstream.FileStorage, Replicas: b.replicas(),
		MaxMsgs: -1, MaxBytes: -1, MaxMsgSize: -1, MaxConsumers: -1, MaxAge: s.maxAge, Discard: jetstream.DiscardOld, DenyDelete: true, DenyPurge: true,
	}
	stream, err := b.js.Stream(ctx, s.name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		stream, err = b.js.CreateStream(ctx, wanted)
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another machine creates it at the same time
			stream, err = b.js.Stream(ctx, s.name)
		}
	}
	if err != nil {
		return err
	}
	c := stream.CachedInfo().Config
	switch {
	case !slices.Equal(c.Subjects, wanted.Subjects) || c.Storage != wanted.Storage || !c.DenyDelete || !c.DenyPurge:
		return errors.New("it was made for something else; delete it, or set audit.stream to another name")
	case c.MaxAge != s.maxAge:
		c.MaxAge = s.maxAge
		if _, err := b.js.UpdateStream(ctx, c); err != nil {
			return err
		}
	}
	s.opened = true
	return nil
}
