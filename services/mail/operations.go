// Package mail has the operations of the mails of a mailbox.
package mail

import (
	"context"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/mail"
	"github.com/graph2mqtt/graph2mqtt/internal/schema"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// Send is the name of the operation that sends a mail.
const Send = "send"

// SendLarge is the name of the operation that sends a mail of any size.
const SendLarge = "send_large"

// A Target is the mailbox that operations are bound to.
type Target struct {
	Mailbox     mail.Mailbox
	SendAs      []string // addresses in whose name mails may be sent
	Directories []string // where files to attach may be; absolute paths
	Large       bool     // the operation send may send mails of any size
	Folder      string   // of requests that name none; "": Inbox
}

// Operations returns the operations of the mailbox. Those that send verify in Sent Items whether a mail without an answer was
// sent; the others are idempotent.
func Operations(t Target) []services.Operation {
	send := []graph.Permission{t.Mailbox.SendPermission(len(t.SendAs) > 0)}
	answer := []graph.Permission{t.Mailbox.SendPermission(false)}
	write := []graph.Permission{t.Mailbox.WritePermission()}
	draft := t.Mailbox.WritePermission()
	draft.Purpose, draft.Impact = "makes drafts of large mails", "no large mails can be sent"
	return append([]services.Operation{
		{
			Name: Send, Doc: "Sends a mail, to yourself if no recipient is given. The files of a mail may have about 2.9 MB in total. At most 30 mails per minute are sent.",
			Permissions: send, Retry: services.AtMostOnce, Example: `{"to": ["megan@contoso.example"], "subject": "Alarm", "message": "The garage door is open."}`, Returns: sentFields(), New: func() services.Request { return &SendRequest{target: t} },
		},
		{
			Name: SendLarge, Doc: "Sends a mail of any size that Exchange accepts: creates a draft, uploads the files, and sends it. If this operation is allowed, send does the same for mails that are too large for one request.",
			Permissions: append([]graph.Permission{draft}, send...), Optional: true, Retry: services.AtMostOnce, Example: `{"to": ["megan@contoso.example"], "subject": "Recording", "message": "See the video."}`, Returns: sentFields(), New: func() services.Request { return &SendRequest{target: t, large: true} },
		},
		{
			Name: "reply", Doc: "Replies to the sender of a mail. The original mail follows the message.",
			Permissions: answer, Retry: services.AtMostOnce, Example: `{"message_id": "AAkA…", "message": "Yes."}`, Returns: sentFields(), New: func() services.Request { return &Reply{answering: answering{target: t}} },
		},
		{
			Name: "reply_all", Doc: "Replies to the sender and all recipients of a mail. The original mail follows the message.",
			Permissions: answer, Retry: services.AtMostOnce, Example: `{"message_id": "AAkA…", "message": "Yes."}`, Returns: sentFields(), New: func() services.Request { return &Reply{answering: answering{target: t}, all: true} },
		},
		{
			Name: "forward", Doc: "Forwards a mail with its attachments. The original mail follows the message.",
			Permissions: answer, Retry: services.AtMostOnce, Example: `{"message_id": "AAkA…", "to": ["megan@contoso.example"], "message": "Please see below."}`, Returns: sentFields(), New: func() services.Request { return &Forward{answering: answering{target: t}} },
		},
		{
			Name: "mark_read", Doc: "Marks a mail as read or unread.",
			Permissions: write, Optional: true, Retry: services.Idempotent, Example: `{"message_id": "AAkA…"}`, Returns: changedFields(), New: func() services.Request { return &MarkRead{target: t} },
		},
		{
			Name: "flag", Doc: "Sets or removes the follow-up flag of a mail.",
			Permissions: write, Optional: true, Retry: services.Idempotent, Example: `{"message_id": "AAkA…", "status": "flagged", "due": "2026-12-01"}`, Returns: changedFields(), New: func() services.Request { return &Flag{target: t} },
		},
		{
			Name: "categorize", Doc: "Sets the categories of a mail, or adds and removes some.",
			Permissions: write, Optional: true, Retry: services.Idempotent, Example: `{"message_id": "AAkA…", "add": ["Home"]}`, Returns: changedFields(), New: func() services.Request { return &Categorize{target: t} },
		},
		{
			Name: "move", Doc: "Moves a mail into another folder. Its message_id does not change.",
			Permissions: write, Optional: true, Retry: services.Idempotent, Example: `{"message_id": "AAkA…", "folder": "Archive"}`, Returns: movedFields(), New: func() services.Request { return &Move{target: t} },
		},
		{
			Name: "delete", Doc: "Moves a mail to Deleted Items.",
			Permissions: write, Optional: true, Retry: services.Idempotent, Example: `{"message_id": "AAkA…"}`, Returns: movedFields(), New: func() services.Request { return &Delete{target: t} },
		},
	}, readOperations(t)...)
}

// checkID returns an error for an empty id, which would name all mails.
func checkID(id string) error {
	if id == "" {
		return graph.Invalid("message_id: want the id of a mail, as in the list")
	}
	return nil
}

// MarkRead marks a mail as read or unread.
type MarkRead struct {
	target Target

	MessageID string `json:"message_id" required:"true" doc:"Id of the mail, as in the list."`
	IsRead    *bool  `json:"is_read" doc:"Whether to mark the mail as read or as unread. Default: true."`
}

// Validate returns an error for values that Graph would refuse.
func (r *MarkRead) Validate() error { return checkID(r.MessageID) }

// Execute implements services.Request.
func (r *MarkRead) Execute(ctx context.Context, g *graph.Client, _ services.Attempt) (any, error) {
	read := r.IsRead == nil || *r.IsRead
	return r.target.Mailbox.Update(ctx, g, r.MessageID, mail.Fields{Read: &read})
}

// Flag sets the follow-up flag of a mail.
type Flag struct {
	target Target

	MessageID string  `json:"message_id" required:"true" doc:"Id of the mail, as in the list."`
	Status    string  `json:"status" required:"true" enum:"notFlagged,flagged,complete" doc:"State of the flag."`
	Start     *string `json:"start" doc:"Date on which to start. Default: the due date."`
	Due       *string `json:"due" doc:"Date on which it is due."`
}

// Validate returns an error for values that Graph would refuse.
func (r *Flag) Validate() error {
	if err := checkID(r.MessageID); err != nil {
		return err
	}
	if (r.Start != nil || r.Due != nil) && r.Status != "flagged" {
		return graph.Invalid("status: want flagged with start or due, not %s", r.Status)
	}
	if r.Start != nil && r.Due == nil {
		return graph.Invalid("start: want due as well")
	}
	_, err := r.fields()
	return err
}

func (r *Flag) fields() (f mail.FlagFields, err error) {
	f.Status = r.Status
	if r.Due == nil {
		return f, nil
	}
	if f.Due, err = services.ParseDate("due", *r.Due); err != nil {
		return f, err
	}
	f.Start = f.Due // Graph refuses a due date without a start
	if r.Start != nil {
		if f.Start, err = services.ParseDate("start", *r.Start); err != nil {
			return f, err
		}
	}
	if f.Due.Before(f.Start) {
		return f, graph.Invalid("due: want a date that is not before start, %s, not %s", *r.Start, *r.Due)
	}
	return f, nil
}

// Execute implements services.Request.
func (r *Flag) Execute(ctx context.Context, g *graph.Client, _ services.Attempt) (any, error) {
	f, err := r.fields()
	if err != nil {
		return nil, err
	}
	return r.target.Mailbox.Update(ctx, g, r.MessageID, mail.Fields{Flag: &f})
}

// Move moves a mail into another folder.
type Move struct {
	target Target

	MessageID string `json:"message_id" required:"true" doc:"Id of the mail, as in the list."`
	Folder    string `json:"folder" required:"true" doc:"The folder: its path, such as Inbox/Bills, or a well-known name such as Archive."`
}

// Validate returns an error for values that Graph would refuse.
func (r *Move) Validate() error {
	if err := checkID(r.MessageID); err != nil {
		return err
	}
	if _, err := mail.SplitPath(r.Folder); err != nil {
		return graph.Invalid("folder: %s", err.Error())
	}
	return nil
}

// Execute implements services.Request.
func (r *Move) Execute(ctx context.Context, g *graph.Client, _ services.Attempt) (any, error) {
	folder, err := r.target.Mailbox.FindFolder(ctx, g, r.Folder)
	if err != nil {
		return nil, err
	}
	return move(ctx, g, r.target.Mailbox, r.MessageID, folder.ID)
}

func move(ctx context.Context, g *graph.Client, m mail.Mailbox, id, folder string) (any, error) {
	moved, err := m.Move(ctx, g, id, folder)
	if moved.Folder == "" {
		moved.Folder = folder
	}
	return moved, err
}

// Delete moves a mail to Deleted Items.
type Delete struct {
	target Target

	MessageID string `json:"message_id" required:"true" doc:"Id of the mail, as in the list."`
}

// Validate returns an error for values that Graph would refuse.
func (r *Delete) Validate() error { return checkID(r.MessageID) }

// Execute implements services.Request.
func (r *Delete) Execute(ctx context.Context, g *graph.Client, _ services.Attempt) (any, error) {
	return move(ctx, g, r.target.Mailbox, r.MessageID, mail.DeletedItems)
}

// sentFields documents the answer of operations that send.
func sentFields() []schema.Field {
	return []schema.Field{{Key: "message_id", Type: "text", Doc: "Id of the copy in Sent Items; null if Graph did not return it."}}
}

// changedFields documents the answer of operations that change a mail.
func changedFields() []schema.Field {
	return []schema.Field{
		{Key: "message_id", Type: "text", Doc: "Id of the mail."},
		{Key: "is_read", Type: "true or false", Doc: "Whether the mail is read."},
		{Key: "categories", Type: "list of text", Doc: "Its categories."},
		{Key: "flag", Type: "object", Doc: "Its follow-up flag."},
	}
}

// movedFields documents the answer of operations that move a mail.
func movedFields() []schema.Field {
	return []schema.Field{{Key: "message_id", Type: "text", Doc: "Id of the mail."}}
}
