// Package people simulates the people and the contacts of a user.
package people

import (
	_ "embed"
	"net/http"
	"strings"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator/control"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/directory"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/odata"
)

// A Service holds the contacts of all users. The lock of the directory guards its state.
type Service struct {
	directory *directory.Directory
	contacts  map[*directory.User][]Contact
}

// New returns the contacts of the directory's users.
func New(d *directory.Directory) *Service {
	return &Service{directory: d, contacts: map[*directory.User][]Contact{}}
}

// A Contact is a contact in the default folder of a user.
type Contact struct {
	Given   string `json:"givenName"`
	Surname string `json:"surname"`
	Address string `json:"address"`
	Phone   string `json:"phone"`
	Company string `json:"company"`
}

// AddContact adds a contact to the default folder of the user with this address.
func (s *Service) AddContact(address string, c Contact) {
	s.directory.Lock()
	defer s.directory.Unlock()
	u := s.directory.MustUser(address)
	s.contacts[u] = append(s.contacts[u], c)
}

//go:embed permissions.json
var permissions []byte

// Resource returns the people and contacts of Graph.
func (s *Service) Resource() odata.Resource {
	person, contact := personType(), contactType()
	contactOptions := []string{"$select", "$filter", "$top", "$skip", "$orderby", "$count"}
	return odata.Resource{
		Routes: []odata.Route{
			{Method: "GET", Path: "/me/people", Type: person, Options: []string{"$select", "$search", "$top", "$filter"}, Do: s.searchPeople},
			{Method: "GET", Path: "/me/contacts", Type: contact, Options: contactOptions, Do: s.listContacts},
			{Method: "GET", Path: "/users/{user}/contacts", Type: contact, Options: contactOptions, Do: s.listContacts},
		},
		Permissions: permissions,
		Application: func(_, path string) []string {
			if strings.HasSuffix(path, "/contacts") {
				return []string{"Contacts.Read"}
			}
			return nil
		},
		Controls: []control.Operation{
			{Method: "POST", Path: "/control/users/{user}/contacts", Description: "add a contact to the default folder", Do: s.postContact},
		},
		Seed: s.seed,
	}
}

func (s *Service) postContact(r *http.Request) (any, error) {
	in, err := control.Decode[Contact](r)
	if err != nil {
		return nil, err
	}
	s.AddContact(r.PathValue("user"), in)
	return in, nil
}

func (s *Service) seed(colleagues bool) {
	if colleagues {
		s.AddContact(directory.Adele, Contact{Given: "Peter", Surname: "Miller", Address: "peter@fabrikam.example", Phone: "+1 425 555 0100", Company: "Fabrikam"})
		s.AddContact(directory.Adele, Contact{Given: "Petra", Surname: "Millers", Address: "petra@fabrikam.example"})
		s.AddContact(directory.Adele, Contact{Given: "Ann", Surname: "O'Neill", Address: "ann@outlook.example"})
	}
}

func personType() *odata.Type {
	address := odata.ComplexType("scoredEmailAddress", odata.Properties{"address": odata.String(), "relevanceScore": odata.Double()})
	phone := odata.ComplexType("phone", odata.Properties{"type": odata.String(), "number": odata.String()})
	kind := odata.ComplexType("personType", odata.Properties{"class": odata.String(), "subclass": odata.String()})
	t := &odata.Type{
		Name: "microsoft.graph.person",
		Properties: odata.Properties{
			"id": odata.String().Computed(), "scoredEmailAddresses": odata.Of(address).Many(), "phones": odata.Of(phone).Many(), "personType": odata.Of(kind),
		},
		Denied: odata.AccessDenied(),
	}
	for _, name := range []string{
		"displayName", "givenName", "surname", "userPrincipalName", "jobTitle", "department", "companyName", "officeLocation", "imAddress", "profession",
	} {
		t.Properties[name] = odata.String()
	}
	return t
}

func contactType() *odata.Type {
	address := odata.ComplexType("emailAddress", odata.Properties{"name": odata.String(), "address": odata.String()})
	t := &odata.Type{
		Name: "microsoft.graph.contact",
		Properties: odata.Properties{
			"id": odata.String().Computed(), "emailAddresses": odata.Of(address).Many(), "businessPhones": odata.String().Many(), "homePhones": odata.String().Many(),
			"categories": odata.String().Many(),
		},
		Denied: odata.AccessDenied(), Mailbox: true,
	}
	for _, name := range []string{
		"displayName", "givenName", "surname", "mobilePhone", "jobTitle", "department", "companyName", "officeLocation", "personalNotes",
	} {
		t.Properties[name] = odata.String()
	}
	return t
}

// searchPeople returns the other users of the tenant and the contacts.
//
// https://learn.microsoft.com/graph/people-example
func (s *Service) searchPeople(c *odata.Call) (odata.Response, error) {
	search := strings.ToLower(strings.Trim(c.Query.Get("$search"), `"`))
	c.Query.Del("$search") // a page is all there is
	all := []map[string]any{}
	add := func(p map[string]any, address string) {
		if strings.Contains(strings.ToLower(p["displayName"].(string)+" "+address), search) {
			all = append(all, p)
		}
	}
	addresses := func(a string) []any { return []any{map[string]any{"address": a, "relevanceScore": 30.0}} }
	for _, u := range s.directory.Users() {
		if u == c.User || u.Tenant != c.User.Tenant || u.Personal {
			continue
		}
		given, surname, _ := strings.Cut(u.Name, " ")
		add(map[string]any{
			"id": u.ID, "displayName": u.Name, "givenName": given, "surname": surname, "userPrincipalName": u.Address, "scoredEmailAddresses": addresses(u.Address),
			"phones": []any{}, "jobTitle": orNil(u.JobTitle), "department": orNil(u.Department),
			"personType": map[string]any{"class": "Person", "subclass": "OrganizationUser"},
		}, u.Address)
	}
	for _, k := range s.contacts[c.User] {
		add(map[string]any{
			"id": directory.NewGUID(k.Address), "displayName": strings.TrimSpace(k.Given + " " + k.Surname), "givenName": k.Given, "surname": k.Surname,
			"userPrincipalName": "", "scoredEmailAddresses": addresses(k.Address), "phones": []any{},
			"personType": map[string]any{"class": "Person", "subclass": "PersonalContact"},
		}, k.Address)
	}
	return c.Collection("users('"+c.User.ID+"')/people", all)
}

func (s *Service) listContacts(c *odata.Call) (odata.Response, error) {
	owner := s.directory.ByID(c.Owner())
	if owner == nil {
		return odata.Response{}, odata.InvalidUser(c.Owner())
	}
	all := []map[string]any{}
	for _, k := range s.contacts[owner] {
		e := map[string]any{
			"id": "AAMk" + directory.NewGUID(k.Address), "displayName": strings.TrimSpace(k.Given + " " + k.Surname), "givenName": k.Given, "surname": k.Surname,
			"emailAddresses": []any{map[string]any{"name": k.Address, "address": k.Address}}, "businessPhones": []any{}, "homePhones": []any{},
			"mobilePhone": orNil(k.Phone), "companyName": orNil(k.Company), "categories": []any{},
		}
		all = append(all, e)
	}
	return c.Collection("users('"+owner.ID+"')/contacts", all)
}

func orNil(s string) any {
	if s == "" {
		return nil
	}
	return s
}
