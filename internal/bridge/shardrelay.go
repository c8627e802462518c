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

	"github.com/graph2mqtt/graph2mqtt/internal/state"
	"github.com/graph2mqtt/graph2mqtt/internal/web"
)

const (
	// relayTimeout bounds the time until another machine has answered a request. It is longer than what the handlers take, and shorter than
	// what the listener allows.
	relayTimeout = 68 * time.Second
	// ticketTimeout bounds the time until another machine has given a ticket, which it does at once unless it has failed.
	ticketTimeout = 3 * time.Second
	// A ticket is valid for ticketTime. maxTickets bounds those of a shard that were not used yet.
	ticketTime = 10 * time.Second
	maxTickets = 1000
)

// errMoving is the error of requests that a bridge does not answer because it ends, or because another one issued their ticket.
var errMoving = errors.New("the shard moves to another machine")

// requestsTo returns the name under which the bridge of a shard answers HTTP requests about its accounts.
func requestsTo(shard int) string { return fmt.Sprintf("http.%d", shard) }

// askRequest has the machine that answers for a shard answer a request. The question is a ticket, a newline and the encoded request; an empty
// question asks for a ticket. A request can take long: whether the machine lives is found out before.
func askRequest(dir *state.Dir, shard int, r *http.Request) (*web.RecordedResponse, error) {
	encoded, err := web.EncodeRequest(r)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), relayTimeout)
	defer cancel()
	ticket, err := askTicket(ctx, dir, shard)
	if err != nil {
		return nil, err
	}
	answer, err := dir.Ask(ctx, requestsTo(shard), bytes.Join([][]byte{ticket, encoded}, []byte("\n")))
	switch {
	case errors.Is(err, state.ErrTooLarge): // also when it is asked again
		return &web.RecordedResponse{Status: http.StatusInsufficientStorage, Body: []byte(err.Error())}, nil
	case err != nil:
		return nil, err
	}
	return web.DecodeResponse(answer)
}

// askTicket asks the machine that answers for a shard for a ticket.
func askTicket(ctx context.Context, dir *state.Dir, shard int) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, ticketTimeout)
	defer cancel()
	return dir.Ask(ctx, requestsTo(shard), nil)
}

// answerRequests answers the requests about a shard that other machines received, until stop is called.
func answerRequests(dir *state.Dir, shard int, h http.Handler, log *slog.Logger) (stop func(), err error) {
	valid := tickets{}
	return dir.Answer(requestsTo(shard), func(ctx context.Context, question []byte) ([]byte, bool) {
		if len(question) == 0 {
			return []byte(valid.issue()), true
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
}

// Tickets permit one request each. Without them, whoever can send messages over NATS could have a change made again without the key, by
// sending the question again.
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
