// Package mail is a client for the mails of Microsoft Graph and their folders.
package mail

import (
	abstractions "github.com/microsoft/kiota-abstractions-go"
	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

// A Mailbox names a mailbox.
type Mailbox struct {
	Address string // or id of another user's mailbox; "": the signed-in user's
	Basic   bool   // only properties that Mail.ReadBasic allows are read
}

// ReadPermission returns the permission for reading the mails.
func (m Mailbox) ReadPermission() graph.Permission {
	need := graph.Permission{
		Scope:        "Mail.Read",
		Alternatives: []string{"Mail.ReadWrite"},
		Purpose:      "reads the mails of a folder",
		Impact:       "the mails are unavailable",
	}
	switch {
	case m.Address != "":
		need.Scope, need.Alternatives = "Mail.Read.Shared", []string{"Mail.ReadWrite.Shared"}
		need.Purpose = "reads the mails of a mailbox that others share"
	case m.Basic:
		need.Scope, need.Alternatives = "Mail.ReadBasic", []string{"Mail.Read", "Mail.ReadWrite"}
		need.Purpose = "reads who sent which mail, but not what is in it"
	}
	return need
}

func (m Mailbox) user(g *graph.Client) *users.UserItemRequestBuilder {
	if m.Address == "" {
		return g.Me()
	}
	return g.User(m.Address)
}

// explain adds an explanation to err for the user if the mailbox of another user cannot be read.
func (m Mailbox) explain(g *graph.Client, err error) error {
	switch {
	case m.Address == "":
	case graph.HasCode(err, "ErrorInvalidUser", "Request_ResourceNotFound", "ResourceNotFound"):
		return graph.Explain(err, "there is no mailbox %s", m.Address)
	case graph.Is(err, graph.PermissionMissing) && g.Granted(m.ReadPermission()):
		return graph.Explain(err, "you have no access to the mailbox %s", m.Address)
	}
	return err
}

// headers returns the headers that ask for immutable ids and for what prefer names.
func headers(prefer ...string) *abstractions.RequestHeaders {
	h := abstractions.NewRequestHeaders()
	graph.PreferImmutableIDs(h)
	for _, p := range prefer {
		h.Add("Prefer", p)
	}
	return h
}
