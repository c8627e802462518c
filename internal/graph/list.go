package graph

import (
	"context"
	"errors"

	abstractions "github.com/microsoft/kiota-abstractions-go"
)

// List sends a request for a collection and follows it to its last page. The headers of r go with every page; of errors, see
// [Client.Do].
func List[T any](ctx context.Context, c *Client, op string, r *abstractions.RequestInformation) ([]T, error) {
	lane, err := c.lane(r)
	if err != nil {
		return nil, c.failure(ctx, op, new(answer), err)
	}
	var all []T
	seen := map[string]bool{}
	for {
		var page struct {
			Value []T    `json:"value"`
			Next  string `json:"@odata.nextLink"`
		}
		if err := c.do(ctx, lane, op, r, &page); err != nil {
			return nil, err
		}
		if page.Value == nil {
			return nil, &Error{Reason: Refused, Op: op, Err: errors.New("the answer is not a list")}
		}
		all = append(all, page.Value...)
		if page.Next == "" {
			return all, nil
		}
		if seen[page.Next] {
			return nil, &Error{Reason: Refused, Op: op, Err: errors.New("the pages of the answer lead in a circle")}
		}
		seen[page.Next] = true
		next, err := c.root.Parse(page.Next)
		if err != nil {
			return nil, &Error{Reason: Refused, Op: op, Err: errors.New("the address of the next page cannot be read")}
		}
		headers := r.Headers
		r = abstractions.NewRequestInformation()
		r.Method = abstractions.GET
		r.Headers = headers
		r.SetUri(*next)
	}
}
