package chatmessage

import (
	"net/url"

	abstractions "github.com/microsoft/kiota-abstractions-go"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

// NextPage returns the request for the page at an address of Graph's. op names the attempted action.
func NextPage(op, address string) (*abstractions.RequestInformation, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, &graph.Error{Reason: graph.Refused, Op: op, Message: "the address of the next page cannot be read"}
	}
	r := abstractions.NewRequestInformation()
	r.Method = abstractions.GET
	r.SetUri(*u)
	return r, nil
}
