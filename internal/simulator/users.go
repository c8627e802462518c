package simulator

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/google/uuid"
)

// PersonalTenant is the tenant of every personal account.
const PersonalTenant = "9188040d-6c67-4c5b-b112-36a304b66dad"

// A User can sign in and has a mailbox with a default calendar.
type User struct {
	ID       string `json:"id"`       // "": derived from the address
	Address  string `json:"address"`  // user principal name and mail address
	Name     string `json:"name"`     // display name
	Tenant   string `json:"tenant"`   // a GUID; "": the tenant of the users with the same domain
	Personal bool   `json:"personal"` // a personal Microsoft account; Tenant is PersonalTenant
	TimeZone string `json:"timeZone"` // of the mailbox, a Windows name; "": "UTC"
}

// An account is a user with everything stored for them.
type account struct {
	User
	settings     mailboxSettings
	presence     presence
	refreshError AADSTS // fails every token refresh
}

// AddUser adds a user with a mailbox and returns the user with all fields filled in.
// It panics if the address is missing, or if the address or id is taken.
func (s *Simulator) AddUser(u User) User {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u.Address == "" || s.byAddress(u.Address) != nil || s.mailboxByAddress(u.Address) != nil {
		panic(&usageError{http.StatusConflict, fmt.Sprintf("want an address that is new, not %q", u.Address)})
	}
	if u.ID != "" && s.byID(u.ID) != nil {
		panic(&usageError{http.StatusConflict, fmt.Sprintf("want an id that is new, not %q", u.ID)})
	}
	if u.Personal {
		u.Tenant = PersonalTenant
	} else if u.Tenant == "" {
		u.Tenant = s.tenantOf(u.Address)
	}
	if u.ID == "" {
		u.ID = newGUID(u.Address)
		if u.Personal {
			u.ID = strings.ReplaceAll(u.ID, "-", "")[:16]
		}
	}
	if u.TimeZone == "" {
		u.TimeZone = "UTC"
	}
	a := &account{User: u, settings: newMailboxSettings(u, s.now())}
	s.users = append(s.users, a)
	s.outlook.addMailbox(a.ID, a.Name, a.Address)
	return u
}

// tenantOf returns the tenant of the other users with this domain.
func (s *Simulator) tenantOf(address string) string {
	_, domain, _ := strings.Cut(strings.ToLower(address), "@")
	for _, a := range s.users {
		if !a.Personal && strings.HasSuffix(strings.ToLower(a.Address), "@"+domain) {
			return a.Tenant
		}
	}
	return uuid.NewSHA1(uuid.NameSpaceDNS, []byte(domain)).String()
}

// newGUID derives an id from an address, so that tests and demos are reproducible.
func newGUID(address string) string {
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte("mailto:"+strings.ToLower(address))).String()
}

// Users returns all users in the order in which they were added.
func (s *Simulator) Users() []User {
	s.mu.Lock()
	defer s.mu.Unlock()
	users := make([]User, len(s.users))
	for i, a := range s.users {
		users[i] = a.User
	}
	return users
}

func (s *Simulator) byAddress(address string) *account {
	i := slices.IndexFunc(s.users, func(a *account) bool { return strings.EqualFold(a.Address, address) })
	if i < 0 {
		return nil
	}
	return s.users[i]
}

// byID accepts an address too, as Graph does.
func (s *Simulator) byID(id string) *account {
	i := slices.IndexFunc(s.users, func(a *account) bool { return strings.EqualFold(a.ID, id) || strings.EqualFold(a.Address, id) })
	if i < 0 {
		return nil
	}
	return s.users[i]
}

// A usageError reports a wrong call of the control API: its methods panic with it, over HTTP it is an error response.
type usageError struct {
	status int
	text   string
}

func (m *usageError) Error() string { return "simulator: " + m.text }

// mustUser returns the user with this address, and panics if there is none.
func (s *Simulator) mustUser(address string) *account {
	a := s.byAddress(address)
	if a == nil {
		panic(&usageError{http.StatusNotFound, fmt.Sprintf("no user %q", address)})
	}
	return a
}

// oid returns the object id in tokens: Graph's id, except for personal accounts, where it is derived from it.
func (u User) oid() string {
	if u.Personal && len(u.ID) == 16 {
		return "00000000-0000-0000-" + u.ID[:4] + "-" + u.ID[4:]
	}
	return u.ID
}

func userRoutes() []route {
	return []route{
		{method: "GET", path: "/me", kind: user, options: []string{"$select", "$expand"}, do: getUser},
		{method: "GET", path: "/users/{user}", kind: user, options: []string{"$select", "$expand"}, do: getUser},
	}
}

func getUser(c *call) (response, error) {
	a := c.user
	if id, ok := c.params["user"]; ok {
		if a = c.s.byID(id); a == nil || a.Tenant != c.user.Tenant {
			return response{}, &failure{http.StatusNotFound, "Request_ResourceNotFound",
				fmt.Sprintf("Resource '%s' does not exist or one of its queried reference-property objects are not present.", id)}
		}
		// Without User.ReadBasic.All or more, /users/{id} is an alias of /me.
		if a != c.user && !c.granted("User.ReadBasic.All", "User.Read.All", "User.ReadWrite.All") {
			return response{}, user.denied()
		}
	}
	given, sur, _ := strings.Cut(a.Name, " ")
	body, err := c.project(map[string]any{
		"businessPhones": []string{}, "displayName": a.Name, "givenName": given, "jobTitle": nil, "mail": a.Address,
		"mobilePhone": nil, "officeLocation": nil, "preferredLanguage": "en-US", "surname": sur, "userPrincipalName": a.Address, "id": a.ID,
	}, "accountEnabled", "ageGroup", "assignedLicenses", "assignedPlans", "city", "companyName", "country", "createdDateTime", "creationType", "department",
		"employeeId", "imAddresses", "mailboxSettings", "mailNickname", "otherMails", "postalCode", "proxyAddresses", "state", "streetAddress", "usageLocation", "userType")
	if err != nil {
		return response{}, err
	}
	return c.entity("users", body), nil
}
