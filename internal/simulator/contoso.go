package simulator

import "time"

// The sample tenant.
const (
	ContosoTenant = "5f1c8f0e-6a3e-4c52-9c1a-0d6c3f2f9a10"
	ContosoClient = "2c1f9c5e-3b7a-4f0d-8e61-7a4b0c9d5e21" // app registration for work and personal accounts, with public client flows
	Adele         = "adele@contoso.example"
	Megan         = "megan@contoso.example"
	Alex          = "alex@contoso.example"
	Ann           = "ann@outlook.example" // a personal account
)

// Contoso returns a Simulator with one tenant and one user: Adele Vance, with a mailbox in the time zone of Berlin, a second calendar, disabled
// automatic replies with texts, presence Available, and an app registration.
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

// ContosoWithColleagues returns Contoso with colleagues of Adele, of whom Alex shares his calendar with her, a personal account,
// meetings around the time of Options.Now, and a series on the second Tuesday of the month.
func ContosoWithColleagues(o Options) *Simulator {
	s := Contoso(o)
	s.AddUser(User{Address: Megan, Name: "Megan Bowen", Tenant: ContosoTenant, TimeZone: "Pacific Standard Time"})
	s.AddUser(User{Address: Alex, Name: "Alex Wilber", Tenant: ContosoTenant, TimeZone: "GMT Standard Time"})
	s.AddUser(User{Address: Ann, Name: "Ann Example", Personal: true, TimeZone: "W. Europe Standard Time"})
	s.SetPresence(Megan, Presence{Availability: "Busy", Activity: "InAMeeting"})
	s.SetPresence(Alex, Presence{Availability: "DoNotDisturb", Activity: "Presenting"})
	s.Share(Alex, Adele, false)
	s.AcceptCalendar(Adele, Alex, "")

	hour := s.now().UTC().Truncate(time.Hour)
	at := func(hours float64) time.Time { return hour.Add(time.Duration(hours * float64(time.Hour))) }
	review := []Attendee{{Address: Adele, Name: "Adele Vance", Response: "accepted"}, {Address: Alex, Name: "Alex Wilber"}}
	for _, e := range []Event{
		{Subject: "Budget", Start: at(0), End: at(1), Location: "Room 1"},
		{Subject: "Design review", Start: at(2), End: at(3), Organizer: Megan, Response: "accepted", Attendees: review, JoinURL: "https://teams.example/join/1"},
		{Subject: "Lunch with Ann", Start: at(4), End: at(5), ShowAs: "oof", Sensitivity: "private"},
		{Subject: "Train to Leeds", Start: at(26), End: at(29.5), ShowAs: "workingElsewhere"},
		{Subject: "Board meeting", Start: at(0), End: at(2), Recurrence: map[string]any{
			"pattern": map[string]any{"type": "relativeMonthly", "interval": 1, "daysOfWeek": []string{"tuesday"}, "index": "second"},
			"range":   map[string]any{"type": "noEnd", "startDate": hour.AddDate(0, -1, 0).Format(time.DateOnly)},
		}},
	} {
		s.AddEvent(Adele, "", e)
	}
	s.AddEvent(Adele, "Birthdays", Event{Subject: "Megan's birthday", Start: at(24), End: at(48), AllDay: true})
	s.AddEvent(Megan, "", Event{Subject: "Design review", Start: at(2), End: at(3), Attendees: review, JoinURL: "https://teams.example/join/1"})
	s.AddEvent(Alex, "", Event{Subject: "Presentation", Start: at(0), End: at(1.5)})
	s.AddEvent(Ann, "", Event{Subject: "Dentist", Start: at(20), End: at(21)})
	return s
}
