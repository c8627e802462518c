package runtime

import (
	"errors"
	"net/http"
	"slices"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/schema"
	"github.com/graph2mqtt/graph2mqtt/sensors"
)

// mailboxOf returns the mailbox of an organization's sensor, or "".
func mailboxOf(c *config.Sensor) string {
	if o, ok := c.Options.(sensors.Sensor).Options().(interface{ MailboxAddress() string }); ok {
		return o.MailboxAddress()
	}
	return c.User
}

// ExplainMailbox explains the error of a request of an organization's sensor, for which it needs these permissions, if the application
// has no access to the mailbox: that is in no token. It returns other errors as they are.
func ExplainMailbox(c *config.Sensor, permissions []graph.Permission, err error) error {
	var e *graph.Error
	mailbox := ""
	if c.Application && errors.As(err, &e) && e.Explanation == "" {
		mailbox = mailboxOf(c)
	}
	switch {
	case mailbox == "":
	case graph.HasCode(err, "ErrorInvalidUser", "Request_ResourceNotFound", "ResourceNotFound"):
		return graph.Explain(err, "there is no mailbox %s", mailbox)
	case e.Status == http.StatusForbidden && len(exchangeRoles(c, permissions)) > 0:
		return graph.Explain(err, "the application has no access to the mailbox %s; an administrator assigns it the Exchange role %s for this mailbox, which takes up to two hours to have an effect",
			mailbox, schema.JoinWords(exchangeRoles(c, permissions), "and"))
	}
	return err
}

// exchangeRoles returns the roles that Exchange assigns for some of the permissions of a sensor, as the configuration needs them: one that
// may write where the sensor writes as well.
func exchangeRoles(c *config.Sensor, some []graph.Permission) []string {
	var all []graph.Permission
	if c.Read {
		all = c.Options.(sensors.Sensor).Permissions()
	}
	for _, op := range Operations(c) {
		all = append(all, op.Permissions...)
	}
	var roles []string
	for _, role := range graph.Scopes(graph.ApplicationPermissions(all)) {
		info, _ := graph.LookupRole(role)
		if info.Exchange && slices.ContainsFunc(graph.ApplicationPermissions(some), func(p graph.Permission) bool { return p.Satisfied([]string{role}) }) {
			roles = append(roles, graph.ExchangeRole(role))
		}
	}
	return roles
}
