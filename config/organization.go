package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph/entra"
	"github.com/graph2mqtt/graph2mqtt/internal/schema"
)

// Organization is a tenant whose rooms and mailboxes are read by the application itself, without a user.
type Organization struct {
	ID                 string
	Name               string             `koanf:"name" doc:"The name of the organization's device. Default: derived from the id."`
	ClientID           string             `koanf:"client_id" required:"true" example:"00000000-0000-0000-0000-000000000000" doc:"The application (client) id of the app registration in Entra ID."`
	Tenant             string             `koanf:"tenant" required:"true" example:"contoso.com" doc:"The id or a domain of the tenant."`
	CertificateFile    string             `koanf:"certificate_file" file:"true" doc:"A file with the certificate and its RSA key without a passphrase (PEM). It can be replaced at any time."`
	FederatedTokenFile string             `koanf:"federated_token_file" doc:"A file with the token of a workload that the app registration trusts (workload identity), instead of a certificate. It is read each time that graph2mqtt signs in."`
	Cloud              Cloud              `koanf:"cloud" enum:"global,us_gov,us_gov_dod,china" doc:"The Microsoft cloud, by name or by its addresses."`
	Timezone           string             `koanf:"timezone" doc:"The time zone of times without one, and of the current day. local: the machine's. A name, such as Europe/Berlin: this one."`
	EnableUpdate       bool               `koanf:"enable_update" doc:"Allow changes: everything that the sensors' types offer, except what must be named in allow. The permissions for them are needed only then."`
	StaleAfter         time.Duration      `koanf:"stale_after" min:"1s" max:"720h" doc:"How long entities keep their last values while Graph cannot be read; at least three intervals of the sensor."`
	Rooms              struct{}           `koanf:"rooms,deferred" doc:"The rooms, each with a device of its own: the keys of a sensor of type room, such as addresses, list or group. It stands for a sensor with the id rooms."`
	Sensors            map[string]*Sensor `koanf:"sensors,deferred" doc:"Further sensors by id, as in an account, of the types room, calendar, email, query, auto_reply, todo and status. Each but those of type room names its mailbox or person with user."`
}

// Mailbox has the key that names the mailbox of an organization's sensor.
type Mailbox struct {
	User string `koanf:"user" required:"true" example:"ann@contoso.com" doc:"The mailbox: its address, or the object id of its user."`
}

// Validate implements schema.Validator.
func (m *Mailbox) Validate() error {
	if m.User == "" || entra.IsMailbox(m.User) { // what is missing is reported anyway
		return nil
	}
	return At("user", fmt.Errorf("want the address of a mailbox, such as ann@contoso.com, or the object id of its user, not %q", m.User))
}

func (o *Organization) setDefaults() {
	o.Timezone, o.StaleAfter = "local", time.Hour
	o.Cloud.SetKeyword("global")
}

// roomsSensor is the id of the sensor that rooms stands for.
const roomsSensor = "rooms"

// Validate implements schema.Validator.
func (o *Organization) Validate() error {
	errs := []error{At("name", checkPrintable(o.Name)), At("client_id", checkClientID(o.ClientID))}
	if slices.Contains([]string{"common", "organizations", "consumers"}, strings.ToLower(o.Tenant)) || !tenant.MatchString(o.Tenant) {
		errs = append(errs, At("tenant", fmt.Errorf("want the id or a domain of the tenant, because an application signs in to one only, not %q", o.Tenant)))
	}
	if (o.CertificateFile == "") == (o.FederatedTokenFile == "") {
		errs = append(errs, At("certificate_file", errors.New("want either certificate_file or federated_token_file")))
	}
	switch {
	case strings.EqualFold(o.Timezone, "local"):
		o.Timezone = "local"
	case strings.EqualFold(o.Timezone, "auto"), strings.EqualFold(o.Timezone, "mailbox"):
		errs = append(errs, At("timezone", fmt.Errorf("want local or a name such as Europe/Berlin, not %q: an application has no mailbox", o.Timezone)))
	default:
		if _, err := time.LoadLocation(o.Timezone); err != nil || o.Timezone == "" {
			errs = append(errs, At("timezone", fmt.Errorf("want local or a name such as Europe/Berlin, not %q", o.Timezone)))
		}
	}
	return errors.Join(errs...)
}

// checkClientID validates the id of an app registration.
func checkClientID(id string) error {
	switch {
	case !guid.MatchString(id):
		return fmt.Errorf("want the application (client) id of the app registration, such as %s, not %q", placeholder, id)
	case id == placeholder:
		return errors.New("want the application (client) id of your app registration in Entra ID, not the placeholder of the examples")
	}
	return nil
}

// account returns the account that the organization is for everything but its configuration and its sign-in.
func (o *Organization) account() *Account {
	return &Account{
		ID: o.ID, Name: o.Name, ClientID: o.ClientID, Tenant: o.Tenant, CertificateFile: o.CertificateFile, FederatedTokenFile: o.FederatedTokenFile, Cloud: o.Cloud,
		Timezone: o.Timezone, EnableUpdate: o.EnableUpdate, StaleAfter: o.StaleAfter, RedirectURI: "http://localhost", Application: true,
	}
}

// Path returns the path of the account's keys: "accounts.work", or "organizations.contoso".
func (a *Account) Path() string {
	if a.Application {
		return "organizations." + a.ID
	}
	return "accounts." + a.ID
}

// organizations decodes the organizations and adds them to the accounts.
func (l *loader) organizations(c *Config, raw any) {
	for id, m := range Sorted(l.mappings("organizations", raw)) {
		path := schema.Join("organizations", schema.QuoteKey(id))
		l.Check(path, CheckAccountID(id))
		if c.Accounts[id] != nil {
			l.Report(path, "want another id: there is an account with this one")
			continue
		}
		o := &Organization{ID: id, Name: displayName(id)}
		o.setDefaults()
		l.Decode(path, m, o)
		a := o.account()
		for _, p := range schema.Flatten(path, a.checkFiles()) {
			p.Line = l.lineOf(p)
			a.Problems = append(a.Problems, p)
		}
		a.TokenLine = l.lineOf(Problem{Path: schema.Join(path, "federated_token_file")})
		l.sensors(a, path, m["sensors"])
		l.rooms(a, path, m)
		if len(a.Sensors) == 0 {
			l.warnings = append(l.warnings, path+" has neither rooms nor sensors, so nothing is read; rooms: {} stands for all rooms of the organization")
		}
		o.Sensors = a.Sensors
		if c.Organizations == nil {
			c.Organizations = map[string]*Organization{}
		}
		c.Organizations[id], c.Accounts[id] = o, a
	}
}

// rooms decodes Organization.Rooms, the short form of the sensor with the rooms.
func (l *loader) rooms(a *Account, path string, organization map[string]any) {
	given, ok := organization["rooms"]
	if !ok || given == nil {
		return
	}
	at := schema.Join(path, "rooms")
	m, ok := given.(map[string]any)
	if !ok {
		l.NotMapping(at, given)
		return
	}
	if a.Sensors[roomsSensor] != nil {
		l.Report(at, "want either rooms or a sensor with the id %s: rooms is short for it", roomsSensor)
		return
	}
	raw := map[string]any{"type": "room", "room": "all"}
	for key, value := range m {
		if _, fixed := raw[key]; fixed {
			l.Report(schema.Join(at, key), "not here; for a single room, add a sensor of type room below sensors")
			return
		}
		raw[key] = value
	}
	if s := l.sensor(a, roomsSensor, at, raw); s != nil {
		a.Sensors[roomsSensor] = s
	}
}

// toMap returns the organization as it would be written in a file.
func (o *Organization) toMap(reveal bool) map[string]any {
	a := o.account()
	a.Sensors = o.Sensors
	out := a.toMap(reveal)
	organization := map[string]any{}
	for _, f := range Fields(o) {
		if value, ok := out[f.Key]; ok {
			organization[f.Key] = value
		}
	}
	organization["federated_token_file"] = o.FederatedTokenFile
	return organization
}
