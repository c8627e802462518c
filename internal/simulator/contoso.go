package simulator

import "github.com/graph2mqtt/graph2mqtt/internal/simulator/directory"

// The sample tenant.
const (
	ContosoTenant = directory.ContosoTenant
	ContosoClient = "2c1f9c5e-3b7a-4f0d-8e61-7a4b0c9d5e21" // app registration for work and personal accounts, with public client flows
	Adele         = directory.Adele
	Megan         = directory.Megan
	Alex          = directory.Alex
	Ann           = directory.Ann       // a personal account
	Marketing     = directory.Marketing // a Microsoft 365 group of Adele and Megan
)

// Contoso returns a Simulator with one tenant and one user: Adele Vance, with a mailbox in the time zone of Berlin, a second calendar, disabled
// automatic replies with texts, presence Available, and an app registration.
func Contoso(o Options) *Simulator { return newContoso(o, false) }

// ContosoWithColleagues returns Contoso with colleagues of Adele, of whom Alex shares his calendar with her, a personal account,
// meetings around the time of Options.Now, a series on the second Tuesday of the month, a group with a calendar, and mails of the last days.
func ContosoWithColleagues(o Options) *Simulator { return newContoso(o, true) }

func newContoso(o Options, colleagues bool) *Simulator {
	s := New(o)
	s.Register(Registration{
		ClientID:     ContosoClient,
		Name:         "graph2mqtt",
		RedirectURIs: []string{"http://localhost", "https://login.microsoftonline.com/common/oauth2/nativeclient"},
		PublicClient: true,
	})
	s.directory.Lock()
	s.directory.AddContoso(colleagues)
	s.directory.Unlock()
	for _, r := range s.resources {
		if r.Seed != nil {
			r.Seed(colleagues)
		}
	}
	return s
}
