package bridge

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"sync"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/state"
	"github.com/graph2mqtt/graph2mqtt/internal/web"
)

const (
	// relayTimeout bounds the time until another machine has answered a request. It is longer than what the handlers take, and shorter than
	// what the listener allows.
	relayTimeout = 68 * time.Second
	// briefTimeout bounds the time until another machine has given a ticket, or shown that it lives, and is the interval at which it must.
	briefTimeout = 3 * time.Second
	// A ticket is valid for ticketTime. maxTickets bounds those of a shard that were not used yet.
	ticketTime = 10 * time.Second
	maxTickets = 1000
)

// errMoving is the error of requests that a bridge does not answer because it ends, or because their ticket is not valid.
var errMoving = errors.New("the shard moves to another machine")

// requestsTo returns the name under which the bridge of a shard gives tickets for HTTP requests about its accounts.
func requestsTo(shard int) string { return fmt.Sprintf("http.%d", shard) }

// askRequest has the machine that answers for a shard answer a request. An empty question to the name of the shard asks for a ticket. The answer
// is a name of the bridge alone, a newline and the ticket. The question to that name is the ticket, a newline and the encoded request.
func askRequest(dir *state.Dir, shard int, r *http.Request) (*web.RecordedResponse, error) {
	encoded, err := web.EncodeRequest(r)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), relayTimeout)
	defer cancel()
	text, err := askBriefly(ctx, dir, requestsTo(shard))
	if err != nil {
		return nil, err
	}
	name, ticket, _ := bytes.Cut(text, []byte("\n"))
	ctx, giveUp := context.WithCancelCause(ctx)
	var watching sync.WaitGroup
	watching.Go(func() { watchMachine(ctx, dir, string(name), giveUp) })
	defer watching.Wait()
	defer giveUp(nil)
	answer, err := dir.Ask(ctx, string(name), bytes.Join([][]byte{ticket, encoded}, []byte("\n")))
	switch {
	case errors.Is(err, state.ErrTooLarge): // also when it is asked again
		return &web.RecordedResponse{Status: http.StatusInsufficientStorage, Body: []byte(err.Error())}, nil
	case err != nil && errors.Is(context.Cause(ctx), state.ErrUnanswered):
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, err
	}
	return web.DecodeResponse(answer)
}

// askBriefly asks a machine what it answers at once unless it has failed.
func askBriefly(ctx context.Context, dir *state.Dir, name string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, briefTimeout)
	defer cancel()
	return dir.Ask(ctx, name, nil)
}

// watchMachine calls giveUp when the bridge with a name does not exist any more, or does not answer twice. It returns when ctx is done.
func watchMachine(ctx context.Context, dir *state.Dir, name string, giveUp context.CancelCauseFunc) {
	for failures := 0; graph.Pause(ctx, briefTimeout) == nil; {
		_, err := askBriefly(ctx, dir, name)
		if !errors.Is(err, state.ErrUnanswered) {
			failures = 0
			continue
		}
		if failures++; failures == 2 || errors.Is(err, state.ErrNobodyAnswers) {
			giveUp(err)
		}
	}
}

// answerRequests answers the requests about a shard that other machines received, until stop is called. It gives no tickets while holds reports
// that another machine may have the shard.
func answerRequests(dir *state.Dir, shard int, holds func() bool, h http.Handler, log *slog.Logger) (stop func(), err error) {
	valid := tickets{}
	name := requestsTo(shard) + "." + rand.Text()
	stopTickets, err := dir.Answer(requestsTo(shard), func(context.Context, []byte) ([]byte, bool) {
		return []byte(name + "\n" + valid.issue()), holds()
	})
	if err != nil {
		return nil, err
	}
	stopRequests, err := dir.Answer(name, func(ctx context.Context, question []byte) ([]byte, bool) {
		if len(question) == 0 {
			return nil, true
		}
		ticket, encoded, _ := bytes.Cut(question, []byte("\n"))
		r, err := web.DecodeRequest(ctx, encoded)
		if err != nil { // of a later version
			return nil, false
		}
		var response *web.RecordedResponse
		if valid.use(string(ticket)) {
			response = web.Record(h, r, log)
		}
		if response == nil || response.Status == 0 {
			response = &web.RecordedResponse{Status: http.StatusServiceUnavailable, Body: []byte(errMoving.Error())}
		}
		answer, err := response.Encode()
		return answer, err == nil
	})
	if err != nil {
		stopTickets()
		return nil, err
	}
	return func() {
		stopTickets()
		stopRequests()
	}, nil
}

// Tickets permit one request each. Without them, a client of NATS without the key could record a question and have its change made again.
type tickets struct {
	mu     sync.Mutex
	issued map[string]time.Time // when those that were not used yet end
}

// issue returns a new ticket.
func (t *tickets) issue() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	maps.DeleteFunc(t.issued, func(_ string, end time.Time) bool { return now.After(end) })
	for ticket := range t.issued {
		if len(t.issued) < maxTickets {
			break
		}
		delete(t.issued, ticket)
	}
	if t.issued == nil {
		t.issued = map[string]time.Time{}
	}
	ticket := rand.Text()
	t.issued[ticket] = now.Add(ticketTime)
	return ticket
}

// use reports whether a ticket is valid. It is not any more afterwards.
func (t *tickets) use(ticket string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	end, ok := t.issued[ticket]
	delete(t.issued, ticket)
	return ok && !time.Now().After(end)
}
