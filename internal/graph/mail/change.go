package mail

import (
	"cmp"
	"context"
	"time"

	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

// window is the age of the oldest mail whose changes are requested. With a filter Graph reports at most 5,000 mails in the first
// round.
//
// https://learn.microsoft.com/graph/api/message-delta
const window = 30 * 24 * time.Hour

// Changes returns what changed in the folder with this id since the round that gave link; in the first round, without a link, all
// mails of the last 30 days, or as many of them as Graph reports. Callers that ask for the same link at about the same time share a
// request, and callers with different ones get the same link for the next round.
func (m Mailbox) Changes(ctx context.Context, g *graph.Client, folder, link string, now time.Time) (graph.DeltaChanges[graph.Item], error) {
	const name = "ask for changed mails"
	o, err := graph.BatchOf(ctx, g, name, [2]string{m.Address, folder}, link, func(ctx context.Context, links []string) (map[string]outcome, error) {
		answers := map[string]outcome{}
		next := ""
		for _, link := range links {
			c, err := m.changes(ctx, g, name, folder, link, now)
			if err == nil && !c.Expired {
				// A change between two of these rounds is reported twice to the callers of the later one.
				next = cmp.Or(next, c.Link)
				c.Link = next
			}
			answers[link] = outcome{c, err}
		}
		return answers, nil
	})
	if err != nil {
		return graph.DeltaChanges[graph.Item]{}, err
	}
	return o.changes, m.explain(g, o.err)
}

// An outcome holds the answer to one of several requests, or its error.
type outcome struct {
	changes graph.DeltaChanges[graph.Item]
	err     error
}

// share calls ask once for all callers with the same name and key at about the same time.
func share[T any](ctx context.Context, g *graph.Client, name string, key [2]string, ask func(ctx context.Context, key [2]string) (T, error)) (T, error) {
	return graph.BatchOf(ctx, g, name, key, key, func(ctx context.Context, _ [][2]string) (map[[2]string]T, error) {
		v, err := ask(ctx, key)
		return map[[2]string]T{key: v}, err
	})
}

func (m Mailbox) changes(ctx context.Context, g *graph.Client, op, folder, link string, now time.Time) (graph.DeltaChanges[graph.Item], error) {
	h := headers("odata.maxpagesize=1000")
	filter := "receivedDateTime ge " + now.Add(-window).UTC().Format(time.RFC3339)
	return graph.Delta[graph.Item](ctx, g, op, "a mail", link, h, m.messages(g, folder).Delta().ToGetRequestInformation, &users.ItemMailFoldersItemMessagesDeltaRequestBuilderGetRequestConfiguration{
		Headers: h, QueryParameters: &users.ItemMailFoldersItemMessagesDeltaRequestBuilderGetQueryParameters{Select: []string{"id"}, Filter: &filter},
	})
}

// Probe returns the probe of the folder with this id. It is for mailboxes of others, where Graph reports no changes.
func (m Mailbox) Probe(ctx context.Context, g *graph.Client, folder string) (graph.Probe, error) {
	const op = "ask whether mails changed"
	p, err := share(ctx, g, op, [2]string{m.Address, folder}, func(ctx context.Context, k [2]string) (graph.Probe, error) {
		return Mailbox{Address: k[0]}.probe(ctx, g, op, k[1])
	})
	return p, m.explain(g, err)
}

func (m Mailbox) probe(ctx context.Context, g *graph.Client, op, folder string) (graph.Probe, error) {
	return graph.GetProbe(ctx, g, op, m.messages(g, folder).ToGetRequestInformation, &users.ItemMailFoldersItemMessagesRequestBuilderGetRequestConfiguration{
		Headers: headers(), QueryParameters: &users.ItemMailFoldersItemMessagesRequestBuilderGetQueryParameters{
			Count: new(true), Top: new(int32(1)), Select: []string{"id", "lastModifiedDateTime"}, Orderby: []string{"lastModifiedDateTime desc"},
		},
	})
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
