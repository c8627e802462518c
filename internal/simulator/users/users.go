// Package users simulates the users of Graph.
package users

import (
	"cmp"
	_ "embed"
	"net/http"
	"slices"
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
			{Method: "GET", Path: "/users/{user}/photos/{photo}/$value", Type: resource, Do: func(c *odata.Call) (odata.Response, error) { return getPhoto(d, c) }},
		},
		Permissions: permissions,
		Exceptions:  exceptions,
		Application: application,
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

// application returns the application permissions for an operation.
func application(_, path string) []string {
	if strings.HasSuffix(path, "/photos/{id}/$value") {
		return []string{"User.ReadBasic.All", "User.Read.All", "ProfilePhoto.Read.All"}
	}
	return []string{"User.ReadBasic.All", "User.Read.All", "Directory.Read.All"}
}

// exceptions returns the rows in which the permission table is wrong.
func exceptions(_, path string, personal bool) []string {
	switch {
	case strings.HasSuffix(path, "/photos/{id}/$value"): // the table has no content
		return []string{"User.Read", "User.ReadBasic.All", "User.Read.All", "ProfilePhoto.Read.All", "ProfilePhoto.ReadWrite.All"}
	case path == "/users/{id}":
		// The user's own; getUser checks the others.
		return []string{"User.Read", "User.ReadWrite", "User.ReadBasic.All", "User.Read.All", "User.ReadWrite.All"}
	case path == "/me" && personal:
		return []string{"User.Read", "User.ReadWrite"}
	}
	return nil
}

func getUser(d *directory.Directory, c *odata.Call) (odata.Response, error) {
	u, err := target(d, c)
	if err != nil {
		return odata.Response{}, err
	}
	full := c.Granted("User.Read.All", "User.ReadWrite.All", "Directory.Read.All")
	if hidden := []string{"jobTitle", "department", "companyName", "officeLocation", "mobilePhone", "businessPhones"}; u != c.User && !full &&
		(c.Query.Has("$expand") || slices.ContainsFunc(hidden, func(name string) bool { return slices.Contains(strings.Split(c.Query.Get("$select"), ","), name) })) {
		return odata.Response{}, c.Route.Type.Denied
	}
	var manager any
	if m := d.ByAddress(u.Manager); m != nil {
		manager = map[string]any{
			"@odata.type": "#microsoft.graph.user", "id": m.ID, "displayName": m.Name, "mail": m.Address, "userPrincipalName": m.Address,
		}
	}
	given, sur, _ := strings.Cut(u.Name, " ")
	body, err := c.Project(map[string]any{
		"businessPhones": []string{}, "displayName": u.Name, "givenName": given, "jobTitle": orNil(u.JobTitle), "department": orNil(u.Department), "manager": manager, "mail": cmp.Or(u.Mail, u.Address),
		"mobilePhone": nil, "officeLocation": nil, "preferredLanguage": "en-US", "surname": sur, "userPrincipalName": u.Address, "id": u.ID,
		"directReports": []any{}, "memberOf": []any{},
	})
	if err != nil {
		return odata.Response{}, err
	}
	return c.Entity("users", body), nil
}

// target returns the user in the path, or the signed-in one.
func target(d *directory.Directory, c *odata.Call) (*directory.User, error) {
	id, ok := c.Params["user"]
	if !ok {
		return c.User, nil
	}
	u := d.ByID(id)
	if u == nil || u.Tenant != c.User.Tenant {
		return nil, odata.NewError(http.StatusNotFound, "Request_ResourceNotFound",
			"Resource '%s' does not exist or one of its queried reference-property objects are not present.", id)
	}
	// Without User.ReadBasic.All or more, /users/{id} is an alias of /me.
	if u != c.User && !c.Granted("User.ReadBasic.All", "User.Read.All", "User.ReadWrite.All", "Directory.Read.All") {
		return nil, c.Route.Type.Denied
	}
	return u, nil
}

// getPhoto returns the photo of a user, which is the same in every size.
//
// https://learn.microsoft.com/graph/api/profilephoto-get
func getPhoto(d *directory.Directory, c *odata.Call) (odata.Response, error) {
	u, err := target(d, c)
	switch {
	case err != nil:
		return odata.Response{}, err
	case u.Photo == nil:
		return odata.Response{}, odata.NewError(http.StatusNotFound, "ImageNotFound", "Microsoft.Fast.Profile.Core.Exception.ImageNotFoundException")
	}
	return odata.Response{Status: http.StatusOK, ContentType: "image/jpeg", Text: string(u.Photo)}, nil
}

func orNil(s string) any {
	if s == "" {
		return nil
	}
	return s
}
