package state

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// ErrUnanswered is wrapped by the errors for a question that no machine of the cluster has answered.
var ErrUnanswered = errors.New("no machine of the cluster answers")

// ErrNobodyAnswers is wrapped by the errors for a question to a name that no machine of the cluster has at the moment.
var ErrNobodyAnswers = fmt.Errorf("%w: none has it at the moment", ErrUnanswered)

// ErrTooLarge is wrapped by the errors for a question or an answer that the servers do not transport.
var ErrTooLarge = errors.New("larger than the NATS servers accept")

// denialTime bounds the time after a denial during which questions without an answer are taken to have failed because of it.
const denialTime = 10 * time.Second

const (
	// maxAnswering bounds the questions for one name that are answered at the same time.
	maxAnswering = 64
	// maxPending and maxPendingBytes bound the questions for one name that wait.
	maxPending, maxPendingBytes = 1000, 16 << 20
	// resubscribeInterval separates attempts to receive questions while the user of NATS lacks the permission.
	resubscribeInterval = 15 * time.Second
	// drainTime bounds how long the end of answering waits for the servers.
	drainTime = 2 * time.Second
	// failureHeader of an answer says why there is none. Its only value is tooLarge.
	failureHeader = "Graph2mqtt-Failure"
	tooLarge      = "too large"
)

// questionSubject returns the subject of the questions for a name.
func (b *bucket) questionSubject(name string) string {
	return "$GRAPH2MQTT." + b.cluster.Bucket + "." + name
}

// questionFor distinguishes questions for different names, and answerTo the answers to different questions, so that none can be sent again as
// another one.
func questionFor(name string) string { return sealedFor + "question " + name }

func answerTo(sealed []byte) string {
	sum := sha256.Sum256(sealed)
	return sealedFor + "answer " + string(sum[:])
}

// Ask sends a question to the machine that answers for a name and returns the answer. It waits until ctx is done. Nothing is stored.
func (d *Dir) Ask(ctx context.Context, name string, question []byte) ([]byte, error) {
	b := d.shared.bucket
	sealed := d.sealPacked(question, questionFor(name))
	if err := b.checkMessage(sealed); err != nil {
		return nil, err
	}
	m, err := b.conn.RequestWithContext(ctx, b.questionSubject(name), sealed)
	if err != nil {
		return nil, b.explainQuestion(err)
	}
	if m.Header.Get(failureHeader) == tooLarge {
		return nil, fmt.Errorf("the answer is %w; raise max_payload of the servers", ErrTooLarge)
	}
	answer, err := d.unsealPacked(m.Data, answerTo(sealed))
	if err != nil {
		return nil, fmt.Errorf("the answer of another machine %w", err)
	}
	return answer, nil
}

// checkMessage returns an error for a message that is too large.
func (b *bucket) checkMessage(sealed []byte) error {
	if limit := b.conn.MaxPayload() - headerReserve; int64(len(sealed)) > limit {
		return fmt.Errorf("a message of %d bytes is %w; raise max_payload of the servers", len(sealed), ErrTooLarge)
	}
	return nil
}

// ExplainTimeout returns an error that tells that the servers of the shared state did not answer in time, for one that tells only that the
// time is over. It returns every other error as it is, and all without a cluster.
func (d *Dir) ExplainTimeout(err error) error {
	if d.shared == nil || !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrUnavailable) {
		return err
	}
	b := d.shared.bucket
	if !b.conn.IsConnected() {
		return fmt.Errorf("the shared state cannot be reached: %w: no connection to %s", ErrUnavailable, b.servers())
	}
	return fmt.Errorf("the shared state cannot be reached in time: %w: %s", ErrUnavailable, b.servers())
}

// explainQuestion makes errors that say why a question has no answer.
func (b *bucket) explainQuestion(err error) error {
	last, d := b.conn.LastError(), b.denied.Load() // d is set a little later; last stays also when the permission was granted
	if errors.Is(last, nats.ErrPermissionViolation) && (d == nil || time.Since(d.at) < denialTime) {
		if text := last.Error(); strings.Contains(text, b.questionSubject("")) || strings.Contains(text, nats.InboxPrefix) {
			return refusal("the user of NATS lacks a permission: " + maskDenied(text))
		}
	}
	switch {
	case !b.conn.IsConnected():
		return fmt.Errorf("%w: no connection to %s", ErrUnavailable, b.servers())
	case errors.Is(err, nats.ErrNoResponders):
		return ErrNobodyAnswers
	case isUnavailable(err):
		return ErrUnanswered
	}
	return err
}

// Answer answers the questions for a name until stop is called, which waits for those that were sent to this machine. The context of handle has
// no deadline. Without ok a question is not answered. Questions that were not sealed with the key of the cluster are dropped. A question that was
// recorded can be sent again by a client without the key.
func (d *Dir) Answer(name string, handle func(ctx context.Context, question []byte) (answer []byte, ok bool)) (stop func(), err error) {
	sub, err := d.subscribe(name)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		slots := make(chan struct{}, maxAnswering)
		drained := false
		for {
			m, err := nextQuestion(ctx, sub)
			if err != nil && ctx.Err() != nil { // no other machine gets what the servers have sent to this one, so it is still answered
				if !drained {
					drained = true
					d.drain(sub)
				}
				m, err = sub.NextMsg(time.Nanosecond)
			}
			switch {
			case err == nil:
				slots <- struct{}{}
				running.Go(func() {
					defer func() { <-slots }()
					d.answer(name, m, handle)
				})
			case errors.Is(err, nats.ErrSlowConsumer): // some are lost and asked again
			case errors.Is(err, context.DeadlineExceeded): // none has come
			case errors.Is(err, nats.ErrPermissionViolation): // the servers do not restore a subscription that they refused
				_ = sub.Unsubscribe()
				select {
				case <-ctx.Done():
					return
				case <-time.After(resubscribeInterval):
				}
				if sub, err = d.subscribe(name); err != nil {
					return
				}
			default:
				_ = sub.Unsubscribe() // it ends with the connection, too
				return
			}
		}
	})
	return func() {
		cancel()
		running.Wait()
	}, nil
}

// drain ends a subscription. Afterwards all questions that the servers have sent to it have arrived, unless they do not answer within
// drainTime.
func (d *Dir) drain(sub *nats.Subscription) {
	conn := d.shared.bucket.conn
	if err := sub.Drain(); err == nil && conn.IsConnected() {
		_ = conn.FlushTimeout(drainTime)
	}
}

// nextQuestion waits for a question for resubscribeInterval. It begins to wait again and again because the client reports a refused subscription
// only then.
func nextQuestion(ctx context.Context, sub *nats.Subscription) (*nats.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, resubscribeInterval)
	defer cancel()
	return sub.NextMsgWithContext(ctx)
}

// subscribe begins to receive the questions for a name.
func (d *Dir) subscribe(name string) (*nats.Subscription, error) {
	b := d.shared.bucket
	sub, err := b.conn.SubscribeSync(b.questionSubject(name))
	if err == nil { // a client without the key gets no answer, but its questions could fill the memory
		err = sub.SetPendingLimits(maxPending, maxPendingBytes)
	}
	if err != nil {
		return nil, b.explain(err)
	}
	return sub, nil
}

// answer answers a question.
func (d *Dir) answer(name string, m *nats.Msg, handle func(context.Context, []byte) ([]byte, bool)) {
	question, err := d.unsealPacked(m.Data, questionFor(name))
	if err != nil {
		d.log.Debug("question of another machine dropped", "error", err)
		return
	}
	answer, ok := handle(context.Background(), question)
	if !ok {
		return
	}
	response := &nats.Msg{Data: d.sealPacked(answer, answerTo(m.Data))}
	if d.shared.bucket.checkMessage(response.Data) != nil {
		response = &nats.Msg{Header: nats.Header{failureHeader: []string{tooLarge}}}
	}
	if err := m.RespondMsg(response); err != nil {
		d.log.Debug("question of another machine not answered", "error", err)
	}
}

// CheckQuestions returns why this machine cannot ask others or answer them: it asks itself.
func (d *Dir) CheckQuestions(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	name := "check." + d.id
	stop, err := d.Answer(name, func(_ context.Context, question []byte) ([]byte, bool) { return question, true })
	if err != nil {
		return err
	}
	defer stop()
	_, err = d.Ask(ctx, name, nil)
	return err
}
