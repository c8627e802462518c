package graph

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
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
	return Once(ctx, c, "account", func() (Account, error) {
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
		// In Entra ID an id is a UUID, in a personal account 16 hexadecimal digits.
		return Account{user.ID, cmp.Or(user.Mail, user.UserPrincipalName), user.DisplayName, uuid.Validate(user.ID) != nil}, nil
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
