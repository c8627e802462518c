package mail

import (
	"context"
	"time"

	"github.com/microsoftgraph/msgraph-sdk-go/models"
	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

// Fields are the properties of a mail to set. Nil fields stay unchanged.
type Fields struct {
	Read       *bool
	Categories *[]string
	Flag       *FlagFields
}

// FlagFields are a follow-up flag to set.
type FlagFields struct {
	Status     string    // notFlagged, flagged or complete
	Start, Due time.Time // dates in their own zones; zero: none
}

// A Changed is the result of changing a mail.
type Changed struct{ Message }

// Data returns the answer to the request that changed it.
func (c Changed) Data() any {
	return map[string]any{"message_id": c.ID, "is_read": c.Read, "categories": append([]string{}, c.Categories...), "flag": c.Item(time.UTC)["flag"]}
}

// A Moved is the result of moving a mail.
type Moved struct{ ID, Folder string }

// Data returns the answer to the request that moved it.
func (m Moved) Data() any { return map[string]any{"message_id": m.ID} }

// Update changes the mail with this id.
func (m Mailbox) Update(ctx context.Context, g *graph.Client, id string, f Fields) (Changed, error) {
	const op = "change the mail"
	var message models.Messageable = models.NewMessage()
	if f.Read != nil {
		message.SetIsRead(f.Read)
	}
	if f.Categories != nil {
		message.SetCategories(*f.Categories)
	}
	if f.Flag != nil {
		flag, err := f.Flag.model()
		if err != nil {
			return Changed{}, err
		}
		message.SetFlag(flag)
	}
	d, err := graph.Send[messageDTO](ctx, g, op, m.user(g).Messages().ByMessageId(id).ToPatchRequestInformation, message,
		&users.ItemMessagesMessageItemRequestBuilderPatchRequestConfiguration{Headers: headers()})
	if err != nil {
		return Changed{}, m.explain(g, err)
	}
	changed, err := d.message(op)
	return Changed{changed}, graph.Unconfirmed(err)
}

func (f FlagFields) model() (models.FollowupFlagable, error) {
	flag := models.NewFollowupFlag()
	status, err := models.ParseFollowupFlagStatus(f.Status)
	if err != nil || status == nil {
		return nil, graph.Invalid("status: unknown value %q", f.Status)
	}
	flag.SetFlagStatus(status.(*models.FollowupFlagStatus))
	if !f.Start.IsZero() {
		flag.SetStartDateTime(graph.FormatDate(f.Start))
	}
	if !f.Due.IsZero() {
		flag.SetDueDateTime(graph.FormatDate(f.Due))
	}
	return flag, nil
}

// DeletedItems is the folder of deleted mails, as Move takes it.
const DeletedItems = "deleteditems"

// Move moves the mail with this id into a folder, which is named by its id or a well-known name.
func (m Mailbox) Move(ctx context.Context, g *graph.Client, id, folder string) (Moved, error) {
	const op = "move the mail"
	var body users.ItemMessagesItemMovePostRequestBodyable = users.NewItemMessagesItemMovePostRequestBody()
	body.SetDestinationId(&folder)
	d, err := graph.Send[struct {
		ID     string `json:"id"`
		Folder string `json:"parentFolderId"`
	}](ctx, g, op, m.user(g).Messages().ByMessageId(id).Move().ToPostRequestInformation, body,
		&users.ItemMessagesItemMoveRequestBuilderPostRequestConfiguration{Headers: headers()})
	if err != nil {
		return Moved{}, m.explain(g, err)
	}
	if d.ID == "" {
		d.ID = id // it is immutable
	}
	return Moved{d.ID, d.Folder}, nil
}
