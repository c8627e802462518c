// Package directory is a client for the users of Microsoft Graph.
package directory

import (
	"cmp"
	"context"
	"strings"

	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

// A User is a user of an organization, or the owner of a personal account.
type User struct {
	ID      string
	Address string // of the mailbox, or else the user principal name
	Name    string
	// Personal accounts have no presence, no Teams, no groups and no colleagues.
	Personal bool
}

// SignedIn returns the signed-in user, or the one whose mailbox an application uses. It is read once for each client. Of a mailbox that is
// named by its address, nothing is read, because the application may have no right to read users: only Address is set.
func SignedIn(ctx context.Context, g *graph.Client) (User, error) {
	if strings.Contains(g.Mailbox(), "@") {
		return User{Address: g.Mailbox()}, nil
	}
	return graph.Once(ctx, g, "signed-in user", func() (User, error) {
		const op = "read who is signed in"
		u, err := graph.Get[userDTO](ctx, g, op, g.Me().ToGetRequestInformation, &users.UserItemRequestBuilderGetRequestConfiguration{
			QueryParameters: &users.UserItemRequestBuilderGetQueryParameters{Select: []string{"id", "displayName", "mail", "userPrincipalName"}},
		})
		switch {
		case g.Mailbox() != "" && graph.Is(err, graph.PermissionMissing):
			return User{}, graph.Explain(err, "the address of the mailbox %s is not known: the application may not read users; name the mailbox by its address", g.Mailbox())
		case err != nil:
			return User{}, err
		case u.ID == "":
			return User{}, graph.Incomplete(op, "id")
		}
		return User{u.ID, cmp.Or(u.Mail, u.UserPrincipalName), u.DisplayName, g.Personal()}, nil
	})
}

// RequireWork returns an error unless the signed-in user belongs to an organization. lacks names what personal accounts do not have:
// "no presence".
func RequireWork(ctx context.Context, g *graph.Client, lacks string) error {
	if g.Application() {
		return nil
	}
	u, err := SignedIn(ctx, g)
	if err == nil && u.Personal {
		err = &graph.Error{Reason: graph.Refused, Message: "a personal Microsoft account has " + lacks}
	}
	return err
}

// FindID returns the object id, in lower case, of the user with this address or user principal name.
func FindID(ctx context.Context, g *graph.Client, address string) (string, error) {
	const op = "look up the user"
	u, err := graph.Get[userDTO](ctx, g, op, g.User(address).ToGetRequestInformation, &users.UserItemRequestBuilderGetRequestConfiguration{
		QueryParameters: &users.UserItemRequestBuilderGetQueryParameters{Select: []string{"id"}},
	})
	switch {
	case graph.Is(err, graph.NotFound):
		return "", graph.Explain(err, "there is no user %s in your organization", address)
	case err != nil:
		return "", err
	case !graph.IsObjectID(u.ID):
		return "", graph.Incomplete(op, "id")
	}
	return strings.ToLower(u.ID), nil
}

type userDTO struct{ ID, DisplayName, Mail, UserPrincipalName string }

// Find returns the user with this address or user principal name.
func Find(ctx context.Context, g *graph.Client, address string) (User, error) {
	const op = "look up the user"
	u, err := graph.Get[userDTO](ctx, g, op, g.User(address).ToGetRequestInformation, &users.UserItemRequestBuilderGetRequestConfiguration{
		QueryParameters: &users.UserItemRequestBuilderGetQueryParameters{Select: []string{"id", "displayName"}},
	})
	switch {
	case graph.Is(err, graph.NotFound):
		return User{}, graph.Explain(err, "there is no user %s in your organization", address)
	case err != nil:
		return User{}, err
	case u.ID == "":
		return User{}, graph.Incomplete(op, "id")
	}
	return User{ID: u.ID, Address: address, Name: cmp.Or(u.DisplayName, address)}, nil
}
