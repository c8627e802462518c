package mail

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// maxSends is the number of mails that an account sends within a minute at most, as Exchange does. It ends the loop of an automation that
// answers its own mails.
//
// https://learn.microsoft.com/office365/servicedescriptions/exchange-online-service-description/exchange-online-limits#sending-limits
const maxSends = 30

// A limiter counts the mails of an account.
type limiter struct {
	mu   sync.Mutex // guards sent
	sent []time.Time
}

// limit returns an error where the account has sent as many mails as it may.
func limit(ctx context.Context, g *graph.Client) error {
	l, err := graph.Once(ctx, g, "sent mails", func() (*limiter, error) { return new(limiter), nil })
	if err != nil {
		return err
	}
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.sent) > 0 && now.Sub(l.sent[0]) >= time.Minute {
		l.sent = l.sent[1:]
	}
	if len(l.sent) >= maxSends {
		wait := time.Minute - now.Sub(l.sent[0])
		return &services.WaitError{
			Err:        &services.Error{Code: services.Code(graph.Throttled), Message: fmt.Sprintf("at most %d mails per minute are sent; try again in %s", maxSends, wait.Round(time.Second))},
			RetryAfter: wait,
		}
	}
	l.sent = append(l.sent, now)
	return nil
}
