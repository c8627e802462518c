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
	// verifyTime bounds how long Sent Items is searched for a mail; verifyPause separates the searches.
	verifyTime  = time.Minute
	verifyPause = 5 * time.Second
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
	ctx, cancel := context.WithTimeout(ctx, verifyTime)
	defer cancel()
	for {
		id, err := m.Sent(ctx, g, a.ID, a.Now.Add(-clockSkew))
		var e *graph.Error
		switch {
		case id != "":
			return Sent{id}, true, nil
		case ctx.Err() != nil:
			return nil, false, nil
		case err != nil && !(errors.As(err, &e) && e.Transient()):
			return nil, false, err
		}
		select {
		case <-ctx.Done():
			return nil, false, nil
		case <-time.After(verifyPause):
		}
	}
}
