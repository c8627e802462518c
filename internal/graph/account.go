package graph

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/microsoftgraph/msgraph-sdk-go/users"
)

// An Account says who is signed in.
type Account struct {
	ID      string
	Address string // of the mailbox, or else the user principal name
	Name    string
	// Personal accounts have no presence, no Teams, no groups and no colleagues.
	Personal bool
}

// Account asks once who is signed in, and remembers it.
func (c *Client) Account(ctx context.Context) (Account, error) {
	return c.account.get(ctx, func() (Account, error) {
		const op = "read who is signed in"
		var user struct{ ID, DisplayName, Mail, UserPrincipalName string }
		r, err := c.Me().ToGetRequestInformation(ctx, &users.UserItemRequestBuilderGetRequestConfiguration{
			QueryParameters: &users.UserItemRequestBuilderGetQueryParameters{Select: []string{"id", "displayName", "mail", "userPrincipalName"}},
		})
		if err != nil {
			return Account{}, fmt.Errorf("%s: %w", op, err)
		}
		if err := c.Do(ctx, op, r, &user); err != nil {
			return Account{}, err
		}
		if user.ID == "" {
			return Account{}, &Error{Reason: Refused, Op: op, Err: errors.New("the answer does not say")}
		}
		return Account{user.ID, cmp.Or(user.Mail, user.UserPrincipalName), user.DisplayName, c.tokens.Personal()}, nil
	})
}

// MailboxZone asks for the time zone of the mailbox. The error of one that nobody knows names it.
func (c *Client) MailboxZone(ctx context.Context) (*time.Location, error) {
	const op = "read the time zone of the mailbox"
	r, err := c.Me().MailboxSettings().ToGetRequestInformation(ctx, &users.ItemMailboxSettingsRequestBuilderGetRequestConfiguration{
		QueryParameters: &users.ItemMailboxSettingsRequestBuilderGetQueryParameters{Select: []string{"timeZone"}},
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	var settings struct{ TimeZone string }
	if err := c.Do(ctx, op, r, &settings); err != nil {
		return nil, err
	}
	zone, err := Location(settings.TimeZone)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	return zone, nil
}

// remembered is asked for until there is an answer, by one at a time.
type remembered[T any] struct {
	turn  chan struct{} // holds one
	value *T
}

func newRemembered[T any]() *remembered[T] { return &remembered[T]{turn: make(chan struct{}, 1)} }

func (m *remembered[T]) get(ctx context.Context, ask func() (T, error)) (T, error) {
	select {
	case m.turn <- struct{}{}:
		defer func() { <-m.turn }()
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
	if m.value == nil {
		value, err := ask()
		if err != nil {
			return value, err
		}
		m.value = &value
	}
	return *m.value, nil
}
