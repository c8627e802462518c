package mail

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

// Changes are the changes of a folder since the last round of its delta query.
type Changes struct {
	Link    string   // for the next round
	Changed []string // ids of mails that arrived or changed
	Removed []string // ids of mails that left the folder
	Expired bool     // the link is no longer valid; nothing else is set
}

// window is the age of the oldest mail whose changes are requested. With a filter Graph reports at most 5,000 mails in the first
// round.
//
// https://learn.microsoft.com/graph/api/message-delta
const window = 30 * 24 * time.Hour

// Changes returns what changed in the folder with this id since the round that gave link; in the first round, without a link, all
// mails of the last 30 days, or as many of them as Graph reports. Callers that ask for the same link at about the same time share a
// request, and callers with different ones get the same link for the next round.
func (m Mailbox) Changes(ctx context.Context, g *graph.Client, folder, link string, now time.Time) (Changes, error) {
	type key struct{ mailbox, folder, link string }
	const name = "ask for changed mails"
	o, err := graph.Batch(ctx, g, name, key{m.Address, folder, link}, func(ctx context.Context, keys []key) (map[key]outcome[Changes], error) {
		answers := map[key]outcome[Changes]{}
		next := map[key]string{}
		for _, k := range keys {
			c, err := Mailbox{Address: k.mailbox}.changes(ctx, g, name, k.folder, k.link, now)
			if err == nil && !c.Expired {
				// A change between two of these rounds is reported twice to the callers of the later one.
				f := key{k.mailbox, k.folder, ""}
				if next[f] == "" {
					next[f] = c.Link
				}
				c.Link = next[f]
			}
			answers[k] = outcome[Changes]{c, err}
		}
		return answers, nil
	})
	if err != nil {
		return Changes{}, err
	}
	return o.value, m.explain(g, o.err)
}

// An outcome holds the value or the error of one of several requests.
type outcome[T any] struct {
	value T
	err   error
}

// share calls ask once for all callers with the same name and key at about the same time.
func share[T any](ctx context.Context, g *graph.Client, name string, key [2]string, ask func(ctx context.Context, key [2]string) (T, error)) (T, error) {
	o, err := graph.Batch(ctx, g, name, key, func(ctx context.Context, keys [][2]string) (map[[2]string]outcome[T], error) {
		all := map[[2]string]outcome[T]{}
		for _, k := range keys {
			v, err := ask(ctx, k)
			all[k] = outcome[T]{v, err}
		}
		return all, nil
	})
	if err != nil {
		return *new(T), err
	}
	return o.value, o.err
}

type deltaPage struct {
	Value []struct {
		ID      string          `json:"id"`
		Removed json.RawMessage `json:"@removed"`
	} `json:"value"`
	Next  string `json:"@odata.nextLink"`
	Delta string `json:"@odata.deltaLink"`
}

// maxRounds bounds the pages of one round.
const maxRounds = 200

func (m Mailbox) changes(ctx context.Context, g *graph.Client, op, folder, link string, now time.Time) (Changes, error) {
	h := headers("odata.maxpagesize=1000")
	var p deltaPage
	var err error
	if link == "" {
		filter := "receivedDateTime ge " + now.Add(-window).UTC().Format(time.RFC3339)
		p, err = graph.Get[deltaPage](ctx, g, op, m.messages(g, folder).Delta().ToGetRequestInformation, &users.ItemMailFoldersItemMessagesDeltaRequestBuilderGetRequestConfiguration{
			Headers: h, QueryParameters: &users.ItemMailFoldersItemMessagesDeltaRequestBuilderGetQueryParameters{Select: []string{"id"}, Filter: &filter},
		})
	} else {
		err = follow(ctx, g, op, link, h, &p)
	}
	var c Changes
	for pages := 0; ; pages++ {
		switch {
		case link != "" && isExpired(err):
			return Changes{Expired: true}, nil
		case err != nil:
			return Changes{}, err
		case p.Value == nil:
			return Changes{}, graph.Incomplete(op, "list")
		}
		for _, v := range p.Value {
			switch {
			case v.ID == "":
				return Changes{}, graph.Incomplete(op, "id of a mail")
			case len(v.Removed) > 0 && string(v.Removed) != "null":
				c.Removed = append(c.Removed, v.ID)
			default:
				c.Changed = append(c.Changed, v.ID)
			}
		}
		if p.Next == "" {
			break
		}
		if pages == maxRounds {
			return Changes{}, &graph.Error{Reason: graph.Refused, Op: op, Message: "the answer has too many pages"}
		}
		next := p.Next
		p = deltaPage{}
		err = follow(ctx, g, op, next, h, &p)
	}
	if c.Link = p.Delta; c.Link == "" {
		return Changes{}, graph.Incomplete(op, "link for the next round")
	}
	return c, nil
}

// isExpired reports whether Graph does not know a delta link any more.
//
// https://learn.microsoft.com/graph/delta-query-overview#synchronization-reset
func isExpired(err error) bool {
	var e *graph.Error
	return errors.As(err, &e) && (e.Status == http.StatusGone || graph.HasCode(err, "syncStateNotFound", "SyncStateNotFound", "SyncStateInvalid", "resyncRequired"))
}

// A Probe holds the last change of a folder: two that are equal say that nothing changed.
type Probe struct {
	Count  int
	Newest string    // id of the mail that changed last
	At     time.Time // when
}

// Probe returns the probe of the folder with this id. It is for mailboxes of others, where Graph reports no changes.
func (m Mailbox) Probe(ctx context.Context, g *graph.Client, folder string) (Probe, error) {
	const op = "ask whether mails changed"
	p, err := share(ctx, g, op, [2]string{m.Address, folder}, func(ctx context.Context, k [2]string) (Probe, error) {
		return Mailbox{Address: k[0]}.probe(ctx, g, op, k[1])
	})
	return p, m.explain(g, err)
}

func (m Mailbox) probe(ctx context.Context, g *graph.Client, op, folder string) (Probe, error) {
	type answer struct {
		Count *int `json:"@odata.count"`
		Value []struct {
			ID string    `json:"id"`
			At time.Time `json:"lastModifiedDateTime"`
		} `json:"value"`
	}
	a, err := graph.Get[answer](ctx, g, op, m.messages(g, folder).ToGetRequestInformation, &users.ItemMailFoldersItemMessagesRequestBuilderGetRequestConfiguration{
		Headers: headers(), QueryParameters: &users.ItemMailFoldersItemMessagesRequestBuilderGetQueryParameters{
			Count: new(true), Top: new(int32(1)), Select: []string{"id", "lastModifiedDateTime"}, Orderby: []string{"lastModifiedDateTime desc"},
		},
	})
	switch {
	case err != nil:
		return Probe{}, err
	case a.Count == nil:
		return Probe{}, graph.Incomplete(op, "count")
	}
	p := Probe{Count: *a.Count}
	if len(a.Value) > 0 {
		p.Newest, p.At = a.Value[0].ID, a.Value[0].At.UTC()
	}
	return p, nil
}

// SharedFolder is Folder; callers at about the same time share a request.
func (m Mailbox) SharedFolder(ctx context.Context, g *graph.Client, id string) (Folder, error) {
	f, err := share(ctx, g, "read the folder", [2]string{m.Address, id}, func(ctx context.Context, k [2]string) (Folder, error) {
		return Mailbox{Address: k[0]}.Folder(ctx, g, k[1])
	})
	return f, m.explain(g, err)
}

// FindSharedFolder is FindFolder; callers at about the same time share the requests.
func (m Mailbox) FindSharedFolder(ctx context.Context, g *graph.Client, path string) (Folder, error) {
	f, err := share(ctx, g, "find the folder", [2]string{m.Address, path}, func(ctx context.Context, k [2]string) (Folder, error) {
		return Mailbox{Address: k[0]}.FindFolder(ctx, g, k[1])
	})
	return f, m.explain(g, err)
}
