// Package people is a client for the people that a user works with, the user's contacts, and the users of the organization.
package people

import (
	"context"
	"net/http"
	"strings"

	abstractions "github.com/microsoft/kiota-abstractions-go"
	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

// A Person is somebody that the signed-in user works with, a contact or a user of the organization. Unknown parts are empty.
type Person struct {
	ID                   string
	Name, Given, Surname string
	UserName             string // that they sign in with
	Addresses            []string
	Phones               []string
	JobTitle, Department string
	Company, Office      string
	Class                string // Person or Group, of those that the user works with
}

// A personDTO is Graph's person, contact or user. Each part of it may be null or missing.
type personDTO struct {
	ID                string   `json:"id"`
	DisplayName       string   `json:"displayName"`
	GivenName         string   `json:"givenName"`
	Surname           string   `json:"surname"`
	UserPrincipalName string   `json:"userPrincipalName"`
	Mail              string   `json:"mail"`
	JobTitle          string   `json:"jobTitle"`
	Department        string   `json:"department"`
	CompanyName       string   `json:"companyName"`
	OfficeLocation    string   `json:"officeLocation"`
	MobilePhone       string   `json:"mobilePhone"`
	BusinessPhones    []string `json:"businessPhones"`
	HomePhones        []string `json:"homePhones"`
	EmailAddresses    []struct{ Address string }
	ScoredAddresses   []struct{ Address string } `json:"scoredEmailAddresses"`
	Phones            []struct{ Number string }  `json:"phones"`
	PersonType        struct{ Class string }     `json:"personType"`
	Manager           *personDTO                 `json:"manager"`
}

func (d personDTO) person() Person {
	p := Person{
		ID: d.ID, Name: d.DisplayName, Given: d.GivenName, Surname: d.Surname, UserName: d.UserPrincipalName,
		JobTitle: d.JobTitle, Department: d.Department, Company: d.CompanyName, Office: d.OfficeLocation, Class: d.PersonType.Class,
	}
	add := func(list *[]string, s string) {
		if s != "" {
			*list = append(*list, s)
		}
	}
	add(&p.Addresses, d.Mail)
	for _, a := range append(d.ScoredAddresses, d.EmailAddresses...) {
		add(&p.Addresses, a.Address)
	}
	add(&p.Phones, d.MobilePhone)
	for _, n := range append(d.BusinessPhones, d.HomePhones...) {
		add(&p.Phones, n)
	}
	for _, n := range d.Phones {
		add(&p.Phones, n.Number)
	}
	return p
}

func persons(all []personDTO) []Person {
	found := []Person{}
	for _, d := range all {
		found = append(found, d.person())
	}
	return found
}

// MaxFound is the maximum number of people that Search and Contacts return.
const MaxFound = 100

// Search returns people that the signed-in user works with and that match a text, the most relevant first. Without a text it returns
// the most relevant ones.
//
// https://learn.microsoft.com/graph/people-example
func Search(ctx context.Context, g *graph.Client, text string) ([]Person, error) {
	const op = "search for people"
	query := users.ItemPeopleRequestBuilderGetQueryParameters{
		Top: new(int32(MaxFound)),
		Select: []string{
			"id", "displayName", "givenName", "surname", "userPrincipalName", "scoredEmailAddresses", "phones", "jobTitle", "department", "companyName",
			"officeLocation", "personType",
		},
	}
	if text != "" {
		query.Search = new(`"` + strings.NewReplacer(`"`, " ", `\`, " ").Replace(text) + `"`)
	}
	page, err := graph.Get[struct{ Value []personDTO }](ctx, g, op, g.Me().People().ToGetRequestInformation,
		&users.ItemPeopleRequestBuilderGetRequestConfiguration{QueryParameters: &query})
	if err == nil && page.Value == nil {
		err = graph.NotAList(op)
	}
	return persons(page.Value), err
}

// A ContactFilter selects contacts: each given part must match.
type ContactFilter struct {
	Given, Surname string // how it begins, in any case
	Address        string // a whole address, in any case
}

// Contacts returns the contacts of the signed-in user's default folder that match the filter, at most MaxFound.
func Contacts(ctx context.Context, g *graph.Client, f ContactFilter) ([]Person, error) {
	var filter string
	switch {
	case f.Address != "": // Exchange combines it with no other filter
		filter = "emailAddresses/any(a:a/address eq " + quoted(f.Address) + ")"
	case f.Surname != "":
		filter = "startswith(surname," + quoted(f.Surname) + ")"
	default:
		filter = "startswith(givenName," + quoted(f.Given) + ")"
	}
	all, err := graph.GetAll[personDTO](ctx, g, "search for contacts", g.Me().Contacts().ToGetRequestInformation,
		&users.ItemContactsRequestBuilderGetRequestConfiguration{QueryParameters: &users.ItemContactsRequestBuilderGetQueryParameters{
			Filter: &filter, Top: new(int32(250)),
			Select: []string{
				"id", "displayName", "givenName", "surname", "emailAddresses", "mobilePhone", "businessPhones", "homePhones", "jobTitle", "department",
				"companyName", "officeLocation",
			},
		}})
	if err != nil {
		return nil, err
	}
	found := []Person{}
	for _, p := range persons(all) {
		if hasPrefixFold(p.Given, f.Given) && hasPrefixFold(p.Surname, f.Surname) && len(found) < MaxFound {
			found = append(found, p)
		}
	}
	return found, nil
}

func hasPrefixFold(s, prefix string) bool {
	return strings.HasPrefix(strings.ToLower(s), strings.ToLower(prefix))
}

// quoted returns a text as a literal of OData.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// Find returns the user of the organization with this id or sign-in address.
func Find(ctx context.Context, g *graph.Client, user string) (Person, error) {
	d, err := read(ctx, g, user, []string{"id", "displayName", "givenName", "surname", "mail", "userPrincipalName"}, nil)
	return d.person(), err
}

// FindFull is Find with what only an administrator may allow to read. manager is nil if there is none.
func FindFull(ctx context.Context, g *graph.Client, user string) (p Person, manager *Person, err error) {
	d, err := read(ctx, g, user, []string{
		"id", "displayName", "givenName", "surname", "mail", "userPrincipalName", "jobTitle", "department", "companyName", "officeLocation", "mobilePhone",
		"businessPhones",
	}, []string{"manager($select=id,displayName,mail,userPrincipalName)"})
	if d.Manager != nil {
		manager = new(d.Manager.person())
	}
	return d.person(), manager, err
}

func read(ctx context.Context, g *graph.Client, user string, fields, expand []string) (personDTO, error) {
	const op = "look up the user"
	d, err := graph.Get[personDTO](ctx, g, op, g.User(user).ToGetRequestInformation, &users.UserItemRequestBuilderGetRequestConfiguration{
		QueryParameters: &users.UserItemRequestBuilderGetQueryParameters{Select: fields, Expand: expand},
	})
	switch {
	case graph.Is(err, graph.NotFound):
		return d, graph.Explain(err, "there is no user %s in your organization", user)
	case err == nil && d.ID == "":
		return d, graph.Incomplete(op, "id")
	}
	return d, err
}

// A Photo is a picture of somebody.
type Photo struct {
	Type    string // such as image/jpeg
	Content []byte
}

// photoSize is the size of the photo that is read, in pixels. Graph has it for each photo.
//
// https://learn.microsoft.com/graph/api/profilephoto-get
const photoSize = "120x120"

// ReadPhoto returns the photo of the user with this id; nil if there is none.
func ReadPhoto(ctx context.Context, g *graph.Client, id string) (*Photo, error) {
	build := func(ctx context.Context, _ *struct{}) (*abstractions.RequestInformation, error) {
		return g.User(id).Photos().ByProfilePhotoId(photoSize).Content().ToGetRequestInformation(ctx, nil)
	}
	content, err := graph.Get[[]byte](ctx, g, "read the photo", build, nil)
	if graph.Is(err, graph.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &Photo{http.DetectContentType(content), content}, nil
}
