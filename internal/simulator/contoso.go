package simulator

// What the tenant of Contoso is made of.
const (
	ContosoTenant = "5f1c8f0e-6a3e-4c52-9c1a-0d6c3f2f9a10"
	ContosoClient = "2c1f9c5e-3b7a-4f0d-8e61-7a4b0c9d5e21" // a registration for work and personal accounts, with public client flows
	Adele         = "adele@contoso.example"
)

// Contoso makes a Simulator with one tenant: Adele Vance, her mailbox in the zone of Berlin with a second calendar, automatic replies
// that are disabled but have their texts, her presence in Teams, Available, and an app registration.
func Contoso(o Options) *Simulator {
	s := New(o)
	s.Register(Registration{
		ClientID:     ContosoClient,
		Name:         "graph2mqtt",
		RedirectURIs: []string{"http://localhost", "https://login.microsoftonline.com" + nativeClient},
		PublicClient: true,
	})
	s.AddUser(User{ID: "87d349ed-44d7-43e1-9a83-5f2406dee5bd", Address: Adele, Name: "Adele Vance", Tenant: ContosoTenant, TimeZone: "W. Europe Standard Time"})
	s.SetAutomaticReplies(Adele, AutomaticReplies{
		ExternalAudience: "all",
		InternalReply:    wrapHTML("<p>I am away. Please ask Megan.</p>"),
		ExternalReply:    wrapHTML("<p>I am away and will answer when I am back.</p>"),
	})
	s.AddCalendar(Adele, "Birthdays")
	s.SetPresence(Adele, Presence{Availability: "Available", WorkLocation: "office", WorkLocationSource: "scheduled"})
	return s
}
