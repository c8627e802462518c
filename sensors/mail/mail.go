// Package mail shows the mails of a folder.
package mail

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/mail"
	"github.com/graph2mqtt/graph2mqtt/sensors"
)

const (
	interval = 30 * time.Second
	maxItems = 5
	maxScan  = 500
)

// Email returns the kind email.
func Email() sensors.Kind {
	return sensors.Kind{
		Name:    "email",
		Aliases: []string{"mail", "email_sensor", "email_sensors"},
		Title:   "Mail",
		Doc: "The mails of a folder, your own or that of a shared mailbox: how many there are, how many are unread, and the newest ones. " +
			"Most polls only ask whether anything changed; counts and list are read if something has changed, and at every tenth poll. " +
			"A change that Microsoft does not report, such as reading or deleting a mail that is older than 30 days, therefore appears after at most ten " +
			"intervals (5 minutes by default). The events `mail_read` and `mail_removed` are fired only for mails in the list. " +
			"With `enable_update` you can send, reply and forward. To mark, flag, categorize, move or delete mails, name these operations in `allow`.",
		Interval:    interval,
		Application: true, OfMailbox: true,
		New: func() sensors.Sensor {
			return sensors.Of(&Options{Folder: inbox, MaxItems: maxItems})
		},
		Attributes: attributeFields(),
		Events:     events(),
		Describe:   describe,
		Candidates: candidates,
	}
}

// Filter returns the kind query.
func Filter() sensors.Kind {
	return sensors.Kind{
		Name:    "query",
		Aliases: []string{"query_sensor", "query_sensors"},
		Title:   "Mail filter",
		Doc: "The mails of a folder that match a filter: their sender, subject, importance, attachments or text. All options that are set must match. " +
			"Everything else works as with `email`; `unread` counts the whole folder. If a mail starts or stops matching because it was changed, the list " +
			"changes, but an event is fired only if it was read.",
		Interval:    interval,
		PollsWith:   "email",
		Application: true, OfMailbox: true,
		New: func() sensors.Sensor {
			return sensors.Of(&Query{Options: Options{Folder: inbox, MaxItems: maxItems}, MaxScan: maxScan})
		},
		Attributes: attributeFields(),
		Events:     events(),
		Describe:   describe,
	}
}

const inbox = "Inbox"

// Permissions implements sensors.Source.
func (o *Options) Permissions() []graph.Permission {
	return []graph.Permission{o.mailbox().ReadPermission()}
}

// Poll implements sensors.Source.
func (o *Options) Poll(ctx context.Context, g *graph.Client, last *Snapshot, now time.Time) (*Snapshot, error) {
	return o.poll(ctx, g, o.selection(), last, now)
}

// Poll implements sensors.Source.
func (q *Query) Poll(ctx context.Context, g *graph.Client, last *Snapshot, now time.Time) (*Snapshot, error) {
	return q.poll(ctx, g, q.selection(), last, now)
}

// candidates lists the folders of the mailbox.
func candidates(ctx context.Context, g *graph.Client) ([]sensors.Candidate, error) {
	folders, err := mail.Mailbox{}.Folders(ctx, g)
	if err != nil {
		return nil, err
	}
	var found []sensors.Candidate
	for _, f := range folders {
		found = append(found, sensors.Candidate{
			Name:    f.Name,
			Options: map[string]string{"folder": f.Path},
			Note:    fmt.Sprintf("%d unread of %d", f.Unread, f.Total),
			SelectedBy: sensors.SelectedBy(func(o *Options) bool {
				return o.SharedMailbox == "" && strings.EqualFold(o.Folder, f.Path)
			}),
		})
	}
	return found, nil
}
