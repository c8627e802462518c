package mail

import (
	"context"
	"errors"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/mail"
	"github.com/graph2mqtt/graph2mqtt/services"
)

const (
	// verifyTime bounds how long Sent Items is searched for a mail.
	verifyTime = time.Minute
	// clockSkew bounds the difference between this machine's clock and Exchange's.
	clockSkew = 15 * time.Minute
)

// A Sent is a mail that was sent.
type Sent struct {
	MessageID any `json:"message_id"` // text; nil: not known, Graph does not return it
}

// verify looks for the mail of an attempt in Sent Items.
func verify(ctx context.Context, g *graph.Client, m mail.Mailbox, a services.Attempt) (any, bool, error) {
	if !m.CanVerify(g) {
		return nil, false, errors.New("the permission Mail.Read is required to find out whether the mail was sent")
	}
	return services.Search(ctx, verifyTime, func(ctx context.Context) (any, bool, error) {
		id, err := m.Sent(ctx, g, a.ID, a.Now.Add(-clockSkew))
		return Sent{id}, id != "", err
	})
}
