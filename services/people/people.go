// Package people has the operations that look people up. Every sensor of a work account may offer them.
package people

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/directory"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/people"
	"github.com/graph2mqtt/graph2mqtt/internal/schema"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// Operations returns the operations that look people up.
func Operations() []services.Operation {
	permission := func(scope, alternative, purpose, impact string) []graph.Permission {
		return []graph.Permission{{Scope: scope, Alternatives: []string{alternative}, Purpose: purpose, Impact: impact}}
	}
	found := []schema.Field{{Key: "people", Type: "list of objects", Doc: "The people found, at most 100.", Fields: itemFields()}}
	return []services.Operation{
		{
			Name:        "people_search",
			Doc:         "Finds people that you work with by their name or address, the most relevant first.",
			Example:     `{"query": "megan"}`,
			Returns:     found,
			Permissions: []graph.Permission{{Scope: "People.Read", Purpose: "searches the people you work with", Impact: "people_search is unavailable"}},
			Optional:    true, Reads: true, WorkOnly: true, UserOnly: "it searches the people that a user works with; use person or contacts_search",
			New: func() services.Request { return new(Search) },
		},
		{
			Name:        "contacts_search",
			Doc:         "Finds your contacts by name or address. Each given field must match. Contact groups cannot be read through Microsoft Graph and are not found.",
			Example:     `{"surname": "Miller"}`,
			Returns:     found,
			Permissions: permission("Contacts.Read", "Contacts.ReadWrite", "searches your contacts", "contacts_search is unavailable"),
			Optional:    true, Reads: true, WorkOnly: true, New: func() services.Request { return new(Contacts) },
		},
		{
			Name:    "person",
			Doc:     "Returns the name, the address and the photo of somebody in your organization.",
			Example: `{"address": "megan@contoso.example"}`,
			Returns: append(basicFields(),
				schema.Field{Key: "photo_type", Type: "text", Doc: "Type of the photo, such as `image/jpeg`; null: there is no photo."},
				schema.Field{Key: "photo", Type: "text", Doc: "Photo as base64; null: there is none."},
			),
			Permissions: permission("User.ReadBasic.All", "User.Read.All", "looks up names, addresses and photos of colleagues", "person is unavailable"),
			Optional:    true, Reads: true, WorkOnly: true, New: func() services.Request { return new(Person) },
		},
		{
			Name:    "person_full",
			Doc:     "Returns the details of somebody in your organization, including job, department, phone numbers and manager. An administrator must consent.",
			Example: `{"address": "megan@contoso.example"}`,
			Returns: append(append(basicFields(), detailFields()...), schema.Field{Key: "manager", Type: "object", Doc: "The manager; null: there is none.", Fields: basicFields()}),
			Permissions: []graph.Permission{{
				Scope: "User.Read.All", Purpose: "looks up job, department and manager of colleagues", Impact: "person_full is unavailable",
			}},
			Optional: true, Reads: true, WorkOnly: true, New: func() services.Request { return new(PersonFull) },
		},
	}
}

func basicFields() []schema.Field {
	return []schema.Field{
		{Key: "id", Type: "text", Doc: "Id of the person."},
		{Key: "name", Type: "text", Doc: "Display name."},
		{Key: "given_name", Type: "text", Doc: "Given name."},
		{Key: "surname", Type: "text", Doc: "Surname."},
		{Key: "email", Type: "text", Doc: "Mail address."},
		{Key: "user_name", Type: "text", Doc: "Address that the person signs in with; null: not of your organization."},
	}
}

func detailFields() []schema.Field {
	return []schema.Field{
		{Key: "job_title", Type: "text", Doc: "Job title."},
		{Key: "department", Type: "text", Doc: "Department."},
		{Key: "company", Type: "text", Doc: "Company."},
		{Key: "office", Type: "text", Doc: "Office."},
		{Key: "phones", Type: "list of text", Doc: "Phone numbers."},
	}
}

// itemFields documents one of the people found.
func itemFields() []schema.Field {
	return append(append(basicFields(), detailFields()...),
		schema.Field{Key: "emails", Type: "list of text", Doc: "All addresses, the most relevant first."},
		schema.Field{Key: "type", Type: "text", Doc: "`Person` or `Group`; null for contacts."},
	)
}

// basic returns the fields that basicFields documents.
func basic(p people.Person) map[string]any {
	var address string
	if len(p.Addresses) > 0 {
		address = p.Addresses[0]
	}
	return map[string]any{
		"id": graph.NullIfZero(p.ID), "name": graph.NullIfZero(p.Name), "given_name": graph.NullIfZero(p.Given), "surname": graph.NullIfZero(p.Surname),
		"email": graph.NullIfZero(address), "user_name": graph.NullIfZero(p.UserName),
	}
}

// detailed returns the fields that basicFields and detailFields document.
func detailed(p people.Person) map[string]any {
	m := basic(p)
	m["job_title"], m["department"] = graph.NullIfZero(p.JobTitle), graph.NullIfZero(p.Department)
	m["company"], m["office"] = graph.NullIfZero(p.Company), graph.NullIfZero(p.Office)
	m["phones"] = append([]string{}, p.Phones...)
	return m
}

// found returns the response of a search.
func found(all []people.Person) map[string]any {
	items := []map[string]any{}
	for _, p := range all {
		m := detailed(p)
		m["emails"], m["type"] = append([]string{}, p.Addresses...), graph.NullIfZero(p.Class)
		items = append(items, m)
	}
	return map[string]any{"people": items}
}

func requireWork(ctx context.Context, g *graph.Client) error {
	return directory.RequireWork(ctx, g, "no organization whose people could be looked up")
}

// maxText is the maximum length of a text to search for, in characters.
const maxText = 200

func checkText(field, s string) error {
	if n := utf8.RuneCountInString(s); n > maxText {
		return graph.Invalid("%s: want at most %d characters, not %d", field, maxText, n)
	}
	return nil
}

// Search finds people that the user works with.
type Search struct {
	Query string `json:"query" required:"true" doc:"Name or address, or the beginning of one."`
}

// Validate returns an error for a text that finds nothing.
func (r *Search) Validate() error {
	if strings.TrimSpace(r.Query) == "" {
		return graph.Invalid("query: want a name or an address, not an empty text")
	}
	return checkText("query", strings.TrimSpace(r.Query))
}

// Execute implements services.Request.
func (r *Search) Execute(ctx context.Context, g *graph.Client, _ services.Attempt) (any, error) {
	if err := requireWork(ctx, g); err != nil {
		return nil, err
	}
	all, err := people.Search(ctx, g, strings.TrimSpace(r.Query))
	return found(all), err
}

// Contacts finds contacts.
type Contacts struct {
	GivenName string `json:"given_name" doc:"Beginning of the given name, ignoring case."`
	Surname   string `json:"surname" doc:"Beginning of the surname, ignoring case."`
	Email     string `json:"email" doc:"Complete mail address, ignoring case."`
}

// Validate returns an error for a request that selects nothing.
func (r *Contacts) Validate() error {
	f := r.filter()
	if f == (people.ContactFilter{}) {
		return graph.Invalid("want given_name, surname or email")
	}
	if f.Address != "" && !strings.Contains(f.Address, "@") {
		return graph.Invalid("email: want an address, such as ann@contoso.com, not %s", services.QuoteForError(r.Email))
	}
	return errors.Join(checkText("given_name", f.Given), checkText("surname", f.Surname), checkText("email", f.Address))
}

func (r *Contacts) filter() people.ContactFilter {
	return people.ContactFilter{Given: strings.TrimSpace(r.GivenName), Surname: strings.TrimSpace(r.Surname), Address: strings.TrimSpace(r.Email)}
}

// Execute implements services.Request.
func (r *Contacts) Execute(ctx context.Context, g *graph.Client, _ services.Attempt) (any, error) {
	if err := requireWork(ctx, g); err != nil {
		return nil, err
	}
	all, err := people.Contacts(ctx, g, r.filter())
	return found(all), err
}

// selector names somebody in the organization.
type selector struct {
	Address string `json:"address" doc:"The address that the person signs in with. Either this or id is required."`
	ID      string `json:"id" doc:"The object id of the person, as people_search returns it for colleagues."`
}

// Validate returns an error unless exactly one person is named.
func (s *selector) Validate() error {
	switch {
	case (s.Address == "") == (s.ID == ""):
		return graph.Invalid("want either address or id")
	case s.Address != "" && !strings.Contains(s.Address, "@"):
		return graph.Invalid("address: want one such as ann@contoso.com, not %s", services.QuoteForError(s.Address))
	case s.ID != "" && !graph.IsObjectID(s.ID):
		return graph.Invalid("id: want an object id, such as 87d349ed-44d7-43e1-9a83-5f2406dee5bd, not %s", services.QuoteForError(s.ID))
	}
	return checkText("address", s.Address)
}

func (s *selector) user() string { return s.Address + s.ID }

// Person returns somebody in the organization.
type Person struct{ selector }

// Execute implements services.Request.
func (r *Person) Execute(ctx context.Context, g *graph.Client, _ services.Attempt) (any, error) {
	if err := requireWork(ctx, g); err != nil {
		return nil, err
	}
	p, err := people.Find(ctx, g, r.user())
	if err != nil {
		return nil, err
	}
	photo, err := people.ReadPhoto(ctx, g, p.ID)
	if err != nil {
		return nil, err
	}
	m := basic(p)
	m["photo_type"], m["photo"] = nil, nil
	if photo != nil {
		m["photo_type"], m["photo"] = photo.Type, base64.StdEncoding.EncodeToString(photo.Content)
	}
	return m, nil
}

// PersonFull returns somebody in the organization with what only an administrator may allow to read.
type PersonFull struct{ selector }

// Execute implements services.Request.
func (r *PersonFull) Execute(ctx context.Context, g *graph.Client, _ services.Attempt) (any, error) {
	if err := requireWork(ctx, g); err != nil {
		return nil, err
	}
	p, manager, err := people.FindFull(ctx, g, r.user())
	if err != nil {
		return nil, err
	}
	m := detailed(p)
	m["manager"] = nil
	if manager != nil {
		m["manager"] = basic(*manager)
	}
	return m, nil
}
