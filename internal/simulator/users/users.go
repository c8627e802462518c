// Package users simulates the users of Graph.
package users

import (
	_ "embed"
	"net/http"
	"strings"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator/directory"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/odata"
)

//go:embed permissions.json
var permissions []byte

// Resource returns the users of Graph.
func Resource(d *directory.Directory) odata.Resource {
	resource := userType()
	get := func(c *odata.Call) (odata.Response, error) { return getUser(d, c) }
	options := []string{"$select", "$expand"}
	return odata.Resource{
		Routes: []odata.Route{
			{Method: "GET", Path: "/me", Type: resource, Options: options, Do: get},
			{Method: "GET", Path: "/users/{user}", Type: resource, Options: options, Do: get},
		},
		Permissions: permissions,
		Exceptions:  exceptions,
		Controls:    d.Controls(),
	}
}

func userType() *odata.Type {
	object := &odata.Type{Name: "microsoft.graph.directoryObject", Open: true}
	t := &odata.Type{
		Name: "microsoft.graph.user",
		Properties: odata.Properties{
			"accountEnabled": odata.Boolean(), "businessPhones": odata.String().Many(), "imAddresses": odata.String().Many(), "otherMails": odata.String().Many(),
			"proxyAddresses": odata.String().Many(), "createdDateTime": odata.DateTimeOffset(), "id": odata.String().Computed(),
			"assignedLicenses": odata.Of(object).Many(), "assignedPlans": odata.Of(object).Many(), "mailboxSettings": odata.Of(object),
			"manager": odata.Of(object).Link(true), "directReports": odata.Of(object).Many().Link(true), "memberOf": odata.Of(object).Many().Link(true),
		},
		Denied: odata.NewError(http.StatusForbidden, "Authorization_RequestDenied", "Insufficient privileges to complete the operation."),
	}
	for _, name := range []string{
		"ageGroup", "city", "companyName", "country", "creationType", "department", "displayName", "employeeId", "givenName", "jobTitle", "mail", "mailNickname",
		"mobilePhone", "officeLocation", "postalCode", "preferredLanguage", "state", "streetAddress", "surname", "usageLocation", "userPrincipalName", "userType",
	} {
		t.Properties[name] = odata.String()
	}
	return t
}

// exceptions returns the rows in which the permission table is wrong.
func exceptions(_, path string, personal bool) []string {
	switch {
	case path == "/users/{id}":
		// The user's own; getUser checks the others.
		return []string{"User.Read", "User.ReadWrite", "User.ReadBasic.All", "User.Read.All", "User.ReadWrite.All"}
	case path == "/me" && personal:
		return []string{"User.Read", "User.ReadWrite"}
	}
	return nil
}

func getUser(d *directory.Directory, c *odata.Call) (odata.Response, error) {
	u := c.User
	if id, ok := c.Params["user"]; ok {
		if u = d.ByID(id); u == nil || u.Tenant != c.User.Tenant {
			return odata.Response{}, odata.NewError(http.StatusNotFound, "Request_ResourceNotFound",
				"Resource '%s' does not exist or one of its queried reference-property objects are not present.", id)
		}
		// Without User.ReadBasic.All or more, /users/{id} is an alias of /me.
		if u != c.User && !c.Granted("User.ReadBasic.All", "User.Read.All", "User.ReadWrite.All") {
			return odata.Response{}, c.Route.Type.Denied
		}
	}
	given, sur, _ := strings.Cut(u.Name, " ")
	body, err := c.Project(map[string]any{
		"businessPhones": []string{}, "displayName": u.Name, "givenName": given, "jobTitle": nil, "mail": u.Address,
		"mobilePhone": nil, "officeLocation": nil, "preferredLanguage": "en-US", "surname": sur, "userPrincipalName": u.Address, "id": u.ID,
		"directReports": []any{}, "memberOf": []any{},
	})
	if err != nil {
		return odata.Response{}, err
	}
	return c.Entity("users", body), nil
}
