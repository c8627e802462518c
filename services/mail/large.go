package mail

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/mail"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// cleanupTime bounds the removal of a draft, which is done although the time of its request may be over.
const cleanupTime = 10 * time.Second

// sendLarge sends a mail by means of a draft. If it is certain that the mail was not sent, the draft is removed.
func sendLarge(ctx context.Context, g *graph.Client, m mail.Mailbox, o mail.Outgoing) (any, error) {
	id, err := m.CreateDraft(ctx, g, o)
	if err != nil {
		// A draft whose id was lost is removed before the next attempt and by Verify.
		return nil, mail.NotSent(errors.Join(err, removeIncomplete(ctx, g, m, o.Key)))
	}
	for _, f := range o.Files {
		if err == nil {
			err = m.Attach(ctx, g, id, f)
		}
	}
	if err == nil {
		err = m.Complete(ctx, g, id, o.Key)
	}
	if err != nil {
		return nil, errors.Join(mail.NotSent(err), remove(ctx, g, m, id))
	}
	err = m.SendDraft(ctx, g, id, o.From)
	var e *graph.Error
	switch {
	case err == nil:
		return Sent{id}, nil
	case errors.As(err, &e) && !e.OutcomeUnknown:
		return nil, errors.Join(err, remove(ctx, g, m, id))
	}
	return nil, err
}

func remove(ctx context.Context, g *graph.Client, m mail.Mailbox, id string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
	defer cancel()
	return mail.NotSent(m.RemoveDraft(ctx, g, id))
}

// removeIncomplete removes the draft of a mail that was never sent.
func removeIncomplete(ctx context.Context, g *graph.Client, m mail.Mailbox, key string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
	defer cancel()
	id, complete, err := m.FindDraft(ctx, g, key)
	if err != nil || id == "" || complete {
		return mail.NotSent(err)
	}
	return mail.NotSent(m.RemoveDraft(ctx, g, id))
}

// verifyLarge verifies a mail that may have a draft: it removes a draft that was never sent, and otherwise looks for the mail in
// Sent Items.
func verifyLarge(ctx context.Context, g *graph.Client, m mail.Mailbox, a services.Attempt) (any, bool, error) {
	id, complete, err := m.FindDraft(ctx, g, a.ID)
	switch {
	case err != nil:
		return nil, false, err
	case id != "" && !complete:
		if err := m.RemoveDraft(ctx, g, id); err != nil {
			return nil, false, err
		}
		return nil, false, errors.New("the mail was not sent, and its draft was removed")
	}
	sent, found, err := verify(ctx, g, m, a)
	if found || err != nil || id == "" {
		return sent, found, err
	}
	return nil, false, fmt.Errorf("the mail is still a draft, with the message_id %s", id)
}
