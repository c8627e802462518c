package graph

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	abstractions "github.com/microsoft/kiota-abstractions-go"
)

// DeltaChanges are the changes of a collection since the last round of its delta query.
type DeltaChanges[T any] struct {
	Link    string   // for the next round
	Changed []T      // items that are new or changed, each of which has an id
	Removed []string // ids of items that are gone
	Expired bool     // the link is no longer valid; nothing else is set
}

// An Item is the part of an item that every delta query returns.
type Item struct {
	ID string `json:"id"`
}

// Any reports whether there are changes.
func (c DeltaChanges[T]) Any() bool { return len(c.Changed)+len(c.Removed) > 0 }

type deltaPage struct {
	Value []json.RawMessage `json:"value"`
	Next  string            `json:"@odata.nextLink"`
	Delta string            `json:"@odata.deltaLink"`
}

// maxRounds bounds the pages of one round.
const maxRounds = 200

// Delta returns what changed since the round of a delta query that gave link. Without a link it starts with the request that build
// returns for configuration. Each page is requested with headers. item names what the collection holds: "a mail".
//
// https://learn.microsoft.com/graph/delta-query-overview
func Delta[T, C any](ctx context.Context, g *Client, op, item, link string, headers *abstractions.RequestHeaders, build func(context.Context, *C) (*abstractions.RequestInformation, error), configuration *C) (DeltaChanges[T], error) {
	var p deltaPage
	var err error
	if link == "" {
		p, err = Get[deltaPage](ctx, g, op, build, configuration)
	} else {
		err = Follow(ctx, g, op, link, headers, &p)
	}
	var c DeltaChanges[T]
	seen := map[string]bool{}
	for pages := 0; ; pages++ {
		switch {
		case link != "" && (isExpired(err) || pages == 0 && isUnknown(err)):
			return DeltaChanges[T]{Expired: true}, nil
		case err != nil:
			return DeltaChanges[T]{}, err
		case p.Value == nil:
			return DeltaChanges[T]{}, Incomplete(op, "list")
		}
		for _, raw := range p.Value {
			var head struct {
				Item
				Removed json.RawMessage `json:"@removed"`
			}
			var v T
			if err := errors.Join(json.Unmarshal(raw, &head), json.Unmarshal(raw, &v)); err != nil {
				return DeltaChanges[T]{}, &Error{Reason: Refused, Op: op, Err: fmt.Errorf("the answer cannot be read: %w", sanitizeJSONError(err))}
			}
			switch {
			case head.ID == "":
				return DeltaChanges[T]{}, Incomplete(op, "id of "+item)
			case len(head.Removed) > 0 && string(head.Removed) != "null":
				c.Removed = append(c.Removed, head.ID)
			default:
				c.Changed = append(c.Changed, v)
			}
		}
		if p.Next == "" {
			break
		}
		if pages == maxRounds {
			return DeltaChanges[T]{}, &Error{Reason: Refused, Op: op, Message: "the answer has too many pages"}
		}
		next := p.Next
		if seen[next] {
			return DeltaChanges[T]{}, &Error{Reason: Refused, Op: op, Message: "the pages of the answer lead in a circle"}
		}
		seen[next] = true
		p = deltaPage{}
		err = Follow(ctx, g, op, next, headers, &p)
	}
	if c.Link = p.Delta; c.Link == "" {
		return DeltaChanges[T]{}, Incomplete(op, "link for the next round")
	}
	return c, nil
}

// Follow reads the page that a link of Graph's leads to into out.
func Follow(ctx context.Context, g *Client, op, link string, headers *abstractions.RequestHeaders, out any) error {
	address, err := url.Parse(link)
	if err != nil {
		return &Error{Reason: Refused, Op: op, Message: "the address of the next page cannot be read"}
	}
	r := abstractions.NewRequestInformation()
	r.Method, r.Headers = abstractions.GET, headers
	r.SetUri(*address)
	return g.Do(ctx, op, r, out)
}

// isExpired reports whether Graph does not know a delta link any more.
//
// https://learn.microsoft.com/graph/delta-query-overview#synchronization-reset
func isExpired(err error) bool {
	var e *Error
	return errors.As(err, &e) && (e.Status == http.StatusGone || HasCode(err, "syncStateNotFound", "SyncStateNotFound", "SyncStateInvalid", "resyncRequired"))
}

// isUnknown reports whether Graph refuses a link as such. It may be damaged, or that of a collection that is gone; a new round tells
// which. To keep it would mean to be refused forever.
func isUnknown(err error) bool {
	var e *Error
	return errors.As(err, &e) && (e.Status == http.StatusBadRequest || e.Status == http.StatusNotFound)
}

// A Probe holds the last change of a collection: two that are equal say that nothing changed.
type Probe struct {
	Count  int
	Newest string    // id of the item that changed last
	At     time.Time // when
}

// Equal reports whether p and o are the same.
func (p Probe) Equal(o Probe) bool {
	return p.Count == o.Count && p.Newest == o.Newest && p.At.Equal(o.At)
}

// GetProbe returns the probe of a collection for which Graph has no delta query. build requests id and lastModifiedDateTime of the
// item that changed last, and the count of all.
func GetProbe[C any](ctx context.Context, g *Client, op string, build func(context.Context, *C) (*abstractions.RequestInformation, error), configuration *C) (Probe, error) {
	type answer struct {
		Count *int `json:"@odata.count"`
		Value []struct {
			ID string    `json:"id"`
			At time.Time `json:"lastModifiedDateTime"`
		} `json:"value"`
	}
	a, err := Get[answer](ctx, g, op, build, configuration)
	switch {
	case err != nil:
		return Probe{}, err
	case a.Count == nil:
		return Probe{}, Incomplete(op, "count")
	}
	p := Probe{Count: *a.Count}
	if len(a.Value) > 0 {
		p.Newest, p.At = a.Value[0].ID, a.Value[0].At.UTC()
	}
	return p, nil
}
