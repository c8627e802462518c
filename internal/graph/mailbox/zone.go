package mailbox

import (
	"context"
	"fmt"
	"time"

	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

// TimeZone returns the time zone of the mailbox. The error of an unknown zone names it.
func TimeZone(ctx context.Context, g *graph.Client) (*time.Location, error) {
	const op = "read the time zone of the mailbox"
	settings, err := graph.Get[struct{ TimeZone string }](ctx, g, op, g.Me().MailboxSettings().ToGetRequestInformation, &users.ItemMailboxSettingsRequestBuilderGetRequestConfiguration{
		QueryParameters: &users.ItemMailboxSettingsRequestBuilderGetQueryParameters{Select: []string{"timeZone"}},
	})
	switch {
	case err != nil:
		return nil, err
	case settings.TimeZone == "":
		return nil, graph.Incomplete(op, "time zone")
	}
	zone, err := graph.Location(settings.TimeZone)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	return zone, nil
}
