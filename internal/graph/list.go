package graph

import (
	"context"
	"errors"
	"fmt"
	"time"

	abstractions "github.com/microsoft/kiota-abstractions-go"
)

// bounds limits what is read: an endless answer must not fill the memory of a small machine.
type bounds struct {
	answer  int64 // bytes of one answer
	refusal int64 // bytes of an answer that is an error
	list    int   // bytes of all pages of a list
	pages   int
}

// defaultBounds returns bounds that leave room: a page of 1,000 events with their bodies has a few MiB.
func defaultBounds() bounds {
	return bounds{answer: 16 << 20, refusal: 64 << 10, list: 64 << 20, pages: 500}
}

// List sends a request for a collection and follows it to its last page. The headers of r go with every page; of errors, see
// [Client.Do].
func List[T any](ctx context.Context, c *Client, op string, r *abstractions.RequestInformation) ([]T, error) {
	return ListWithPause[T](ctx, c, op, r, 0)
}

// Pause waits for d, or until ctx is done, whose error it returns.
func Pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ListWithPause is [List] with a pause after each page but the first.
func ListWithPause[T any](ctx context.Context, c *Client, op string, r *abstractions.RequestInformation, pause time.Duration) ([]T, error) {
	var all []T
	bytes, pages := 0, 0
	err := eachPage(ctx, c, op, r, func(items []T, n int) (more bool, err error) {
		if pages++; pages > 1 && pause > 0 {
			if err := Pause(ctx, pause); err != nil {
				return false, err
			}
		}
		if bytes += n; bytes > c.bounds.list {
			return false, &Error{Reason: Refused, Op: op, Err: fmt.Errorf("the pages of the answer are larger than %d MiB", c.bounds.list>>20)}
		}
		all = append(all, items...)
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// Each is [List] for a collection that need not be held in memory: it calls visit with each item until visit returns false or an error.
func Each[T any](ctx context.Context, c *Client, op string, r *abstractions.RequestInformation, visit func(T) (more bool, err error)) error {
	return eachPage(ctx, c, op, r, func(items []T, _ int) (more bool, err error) {
		for _, i := range items {
			if more, err := visit(i); err != nil || !more {
				return false, err
			}
		}
		return true, nil
	})
}

// NotAList returns the error of an answer that should be a list. It does not show that there is nothing.
func NotAList(op string) error {
	return &Error{Reason: Refused, Op: op, Err: errors.New("the answer is not a list")}
}

// eachPage calls visit with the items of each page and the page's size in bytes, until visit returns false or an error.
func eachPage[T any](ctx context.Context, c *Client, op string, r *abstractions.RequestInformation, visit func(items []T, size int) (more bool, err error)) error {
	refused := func(format string, args ...any) error {
		return &Error{Reason: Refused, Op: op, Err: fmt.Errorf(format, args...)}
	}
	var b *bucket // Graph may name the same mailbox otherwise on the next page
	seen := map[string]bool{}
	for {
		var page struct {
			Value []T    `json:"value"`
			Next  string `json:"@odata.nextLink"`
		}
		n, err := c.do(ctx, &b, op, r, &page)
		if err != nil {
			return err
		}
		if page.Value == nil {
			return NotAList(op)
		}
		more, err := visit(page.Value, n)
		switch {
		case err != nil || !more || page.Next == "":
			return err
		case seen[page.Next]:
			return refused("the pages of the answer lead in a circle")
		}
		if seen[page.Next] = true; len(seen) == c.bounds.pages {
			return refused("the answer has more than %d pages", c.bounds.pages)
		}
		next, err := c.root.Parse(page.Next)
		if err != nil {
			return refused("the address of the next page cannot be read")
		}
		headers := r.Headers
		r = abstractions.NewRequestInformation()
		r.Method = abstractions.GET
		r.Headers = headers
		r.SetUri(*next)
	}
}
