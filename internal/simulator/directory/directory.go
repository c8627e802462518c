// Package directory holds the users of the simulated tenants, and the lock and the clock that all parts of the simulator share.
package directory

import (
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator/control"
)

// PersonalTenant is the tenant of every personal account.
const PersonalTenant = "9188040d-6c67-4c5b-b112-36a304b66dad"

// A User can sign in and has a mailbox with a default calendar.
type User struct {
	ID       string `json:"id"`       // "": derived from the address
	Address  string `json:"address"`  // user principal name, and mail address unless Mail is set
	Mail     string `json:"mail"`     // "": the address
	Name     string `json:"name"`     // display name
	Tenant   string `json:"tenant"`   // a GUID; "": the tenant of the users with the same domain
	Personal bool   `json:"personal"` // a personal Microsoft account; Tenant is PersonalTenant
	TimeZone string `json:"timeZone"` // of the mailbox, a Windows name; "": "UTC"

	JobTitle   string `json:"jobTitle"`
	Department string `json:"department"`
	Manager    string `json:"manager"` // address; "": none
	Photo      []byte `json:"photo"`   // nil: none
}

// An AccessToken is the right to call Graph as a user or as an application.
type AccessToken struct {
	User    *User    // of an application its service principal, which is not in the directory
	Scopes  []string // short names; of an application the roles that were granted in Entra ID
	Expires time.Time

	Application string // client id; "": a user's
}

// A Directory holds the users. Its lock guards the state of all parts of the simulator, and must be held when calling its methods other than Now.
type Directory struct {
	sync.Mutex
	Clock *Clock

	users     []*User // in the order in which they were added
	roles     map[mailboxRole][]string
	addresses []string
	added     []func(*User)
	changed   []func(func() Change)
}

// New returns an empty directory.
func New(now func() time.Time) *Directory { return &Directory{Clock: &Clock{base: now}} }

// Now returns the time of the clock. It needs no lock.
func (d *Directory) Now() time.Time { return d.Clock.State().Now }

// OnAdd calls f, with the lock held, for every user that is added.
func (d *Directory) OnAdd(f func(*User)) { d.added = append(d.added, f) }

// A Change is one change of an item of Graph.
type Change struct {
	Collections []string // that the item is in, such as users/ID/events and users/ID/calendars/ID/events
	ID          string   // of the item
	Type        string   // created, updated or deleted
}

// OnChange calls f, with the lock held, for every change of an item. f calls its argument only if it needs the change.
func (d *Directory) OnChange(f func(change func() Change)) { d.changed = append(d.changed, f) }

// Changed reports a change of an item.
func (d *Directory) Changed(change func() Change) {
	for _, f := range d.changed {
		f(change)
	}
}

// Claim reserves the address of a user or group. It panics if the address is empty or taken.
func (d *Directory) Claim(address string) {
	if address == "" || containsFold(d.addresses, address) {
		panic(control.Conflict("address: want an unused address, not %q", address))
	}
	d.addresses = append(d.addresses, address)
}

// Release makes the address of a group that was removed available again.
func (d *Directory) Release(address string) {
	d.addresses = slices.DeleteFunc(d.addresses, func(a string) bool { return strings.EqualFold(a, address) })
}

// Add adds a user and returns the user with all fields filled in. It panics if the address is missing, or if the address or id is taken.
func (d *Directory) Add(u User) User {
	if u.ID != "" && d.ByID(u.ID) != nil {
		panic(control.Conflict("id: want an unused id, not %q", u.ID))
	}
	d.Claim(u.Address)
	if u.Personal {
		u.Tenant = PersonalTenant
	} else if u.Tenant == "" {
		u.Tenant = d.TenantOf(u.Address)
	}
	if u.ID == "" {
		u.ID = NewGUID(u.Address)
		if u.Personal {
			u.ID = strings.ReplaceAll(u.ID, "-", "")[:16]
		}
	}
	if u.TimeZone == "" {
		u.TimeZone = "UTC"
	}
	d.users = append(d.users, &u)
	for _, f := range d.added {
		f(&u)
	}
	return u
}

// A mailboxRole names an application and the mailbox of a user, by id.
type mailboxRole struct{ client, user string }

// SetMailboxRoles sets the roles that an application has for one mailbox, as Exchange's role-based access control for applications
// assigns them. They are in no token.
//
// https://learn.microsoft.com/exchange/permissions-exo/application-rbac
func (d *Directory) SetMailboxRoles(client, address string, roles []string) {
	if d.roles == nil {
		d.roles = map[mailboxRole][]string{}
	}
	d.roles[mailboxRole{client, d.MustUser(address).ID}] = slices.Clone(roles)
}

// MailboxRoles returns the roles that an application has for the mailbox of the user with an id.
func (d *Directory) MailboxRoles(client, id string) []string { return d.roles[mailboxRole{client, id}] }

// TenantOf returns the tenant of the users with the domain of an address.
func (d *Directory) TenantOf(address string) string {
	_, domain, _ := strings.Cut(strings.ToLower(address), "@")
	for _, u := range d.users {
		if !u.Personal && strings.HasSuffix(strings.ToLower(u.Address), "@"+domain) {
			return u.Tenant
		}
	}
	return uuid.NewSHA1(uuid.NameSpaceDNS, []byte(domain)).String()
}

// NewGUID derives an id from an address, so that tests and demos are reproducible.
func NewGUID(address string) string {
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte("mailto:"+strings.ToLower(address))).String()
}

// Random returns n unguessable characters that are safe in a URL.
func Random(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)[:n]
}

// Users returns all users in the order in which they were added.
func (d *Directory) Users() []*User { return d.users }

func (d *Directory) find(match func(*User) bool) *User {
	if i := slices.IndexFunc(d.users, match); i >= 0 {
		return d.users[i]
	}
	return nil
}

// ByAddress returns the user with this address, or nil.
func (d *Directory) ByAddress(address string) *User {
	return d.find(func(u *User) bool { return strings.EqualFold(u.Address, address) })
}

// ByID returns the user with this id or, as Graph accepts it too, address; or nil.
func (d *Directory) ByID(id string) *User {
	return d.find(func(u *User) bool { return strings.EqualFold(u.ID, id) || strings.EqualFold(u.Address, id) })
}

// MustUser returns the user with this address, and panics if there is none.
func (d *Directory) MustUser(address string) *User {
	u := d.ByAddress(address)
	if u == nil {
		panic(control.NotFound("no user %q", address))
	}
	return u
}

// NameOf returns the name of the user with this address, or the address.
func (d *Directory) NameOf(address string) string {
	if u := d.ByAddress(address); u != nil {
		return u.Name
	}
	return address
}

// ObjectID returns the object id in tokens: Graph's id, except for personal accounts, where it is derived from it.
func (u User) ObjectID() string {
	if u.Personal && len(u.ID) == 16 {
		return "00000000-0000-0000-" + u.ID[:4] + "-" + u.ID[4:]
	}
	return u.ID
}

// BelongsTo reports whether the user can sign in at a tenant, which may be common, organizations, consumers, an id or a domain.
func (u User) BelongsTo(tenant string) bool {
	switch tenant {
	case "common":
		return true
	case "organizations":
		return !u.Personal
	case "consumers":
		return u.Personal
	}
	_, domain, _ := strings.Cut(u.Address, "@")
	return strings.EqualFold(u.Tenant, tenant) || !u.Personal && strings.EqualFold(domain, tenant)
}

func containsFold(list []string, s string) bool {
	return slices.ContainsFunc(list, func(t string) bool { return strings.EqualFold(s, t) })
}

// Controls returns the operations on users and the clock.
func (d *Directory) Controls() []control.Operation {
	locked := func(f func() any) any {
		d.Lock()
		defer d.Unlock()
		return f()
	}
	return append(d.Clock.controls(),
		control.Operation{Method: "GET", Path: "/control/users", Description: "list the users", Do: func(*http.Request) (any, error) {
			return locked(func() any {
				all := []User{}
				for _, u := range d.users {
					all = append(all, *u)
				}
				return control.ListOf(all)
			}), nil
		}},
		control.Operation{Method: "POST", Path: "/control/users", Description: "add a user with a mailbox", Do: func(r *http.Request) (any, error) {
			in, err := control.Decode[User](r)
			if err != nil {
				return nil, err
			}
			if err := control.CheckAddress(in.Address, "megan@contoso.example"); err != nil {
				return nil, err
			}
			return locked(func() any { return d.Add(in) }), nil
		}},
	)
}
