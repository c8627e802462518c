package config_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/config"
)

type meetingRoom struct {
	Room      string   `koanf:"room" required:"true" example:"berlin@contoso.com" doc:"The room."`
	Addresses []string `koanf:"addresses" doc:"The rooms."`
}

type away struct {
	Text string `koanf:"text" doc:"The text."`
}

// kindsWithRooms are kinds of which organizations can have one.
func kindsWithRooms() []config.Kind {
	return append(kinds(),
		config.Kind{Name: "room", Doc: "A room.", Interval: time.Minute, Application: true, WorkOnly: true, New: func() any { return &meetingRoom{} }},
		config.Kind{Name: "away", Doc: "Automatic replies.", Interval: time.Minute, Application: true, OfMailbox: true, New: func() any { return &away{} }},
		config.Kind{Name: "talk", Doc: "Chats.", Interval: time.Minute, UserOnly: "an application cannot talk", New: func() any { return &away{} }},
	)
}

const contoso = `
mqtt: {url: mqtt://localhost}
organizations:
  contoso:
    tenant: contoso.com
    client_id: 01234567-89ab-cdef-0123-456789abcdef
    certificate_file: CERTIFICATE
`

// organization writes a configuration with an organization, and loads it.
func organization(t *testing.T, text string) (*config.Config, error) {
	t.Helper()
	pem, err := os.ReadFile("testdata/account.pem")
	if err != nil {
		t.Fatal(err)
	}
	text = strings.ReplaceAll(text, "CERTIFICATE", write(t, "contoso.pem", string(pem)))
	return config.Load(config.Sources{File: write(t, "c.yaml", text), Environ: environ()}, kindsWithRooms())
}

// An organization is an account without a user, and needs none beside it. rooms is the short form of a sensor.
func TestOrganization(t *testing.T) {
	c, err := organization(t, contoso+"    rooms: {addresses: [berlin@contoso.com], interval: 2m}\n    sensors: {paris: {type: room, room: paris@contoso.com}, ann: {type: away, user: ann@contoso.com}}\n")
	if err != nil {
		t.Fatal(err)
	}
	a := c.Accounts["contoso"]
	if a == nil || !a.Application || a.Tenant != "contoso.com" || a.Timezone != "local" || a.Path() != "organizations.contoso" || c.Organizations["contoso"] == nil {
		t.Fatalf("got the account %+v", a)
	}
	got := map[string]any{}
	for id, s := range a.Sensors {
		if !s.Application {
			t.Errorf("%s: %+v", id, s)
		}
		got[id] = s.Options
	}
	want := map[string]any{"rooms": &meetingRoom{Room: "all", Addresses: []string{"berlin@contoso.com"}}, "paris": &meetingRoom{Room: "paris@contoso.com"}, "ann": &away{}}
	if diff := cmp.Diff(want, got); diff != "" || a.Sensors["rooms"].Interval != 2*time.Minute {
		t.Error(diff)
	}
	if a.Sensors["ann"].User != "ann@contoso.com" || a.Sensors["rooms"].User != "" {
		t.Errorf("the mailboxes are %q and %q", a.Sensors["ann"].User, a.Sensors["rooms"].User)
	}
	shown := c.Redacted()
	if len(shown["accounts"].(map[string]any)) != 0 {
		t.Errorf("it is shown among the accounts: %v", shown["accounts"])
	}
	organizations := shown["organizations"].(map[string]any)["contoso"].(map[string]any)
	if organizations["tenant"] != "contoso.com" || organizations["redirect_uri"] != nil || organizations["sensors"].(map[string]any)["ann"].(map[string]any)["user"] != "ann@contoso.com" {
		t.Errorf("it is shown as %v", organizations)
	}
	if _, shown := (&config.Config{}).Redacted()["organizations"]; shown {
		t.Error("a configuration without organizations shows some")
	}
}

// Every mistake is answered with its key and what is accepted.
func TestInvalidOrganizations(t *testing.T) {
	for keys, want := range map[string]string{
		"    rooms: 7\n": "organizations.contoso.rooms (line 8): want a mapping of keys, not 7",
		"    rooms: {room: berlin@contoso.com}\n":                                                                        "organizations.contoso.rooms.room (line 8): not here; for a single room, add a sensor of type room below sensors",
		"    rooms: {adresses: [a@b.c]}\n":                                                                               "organizations.contoso.rooms.adresses (line 8): unknown key; did you mean addresses?",
		"    rooms: {addresses: [a@b.c]}\n    sensors: {rooms: {type: room, room: a@b.c}}\n":                             "organizations.contoso.rooms (line 8): want either rooms or a sensor with the id rooms: rooms is short for it",
		"    sensors: {inbox: {type: email}}\n":                                                                          "organizations.contoso.sensors.inbox.type (line 8): email is for accounts, to which a user signs in; organizations have away and room",
		"    sensors: {lunch: {type: talk}}\n":                                                                           "organizations.contoso.sensors.lunch.type (line 8): talk is for accounts, to which a user signs in: an application cannot talk; organizations have away and room",
		"    sensors: {ann: {type: away}}\n":                                                                             "organizations.contoso.sensors.ann.user (line 8) is required, such as ann@contoso.com",
		"    sensors: {ann: {type: away, user: ann}}\n":                                                                  `organizations.contoso.sensors.ann.user (line 8): want the address of a mailbox, such as ann@contoso.com, or the object id of its user, not "ann"`,
		"    sensors: {berlin: {type: room, room: a@b.c, user: a@b.c}}\n":                                                "organizations.contoso.sensors.berlin.user (line 8): room has no such key, only away and status; known keys: ",
		"accounts: {work: {client_id: 01234567-89ab-cdef-0123-456789abcdef, sensors: {a: {type: away, user: a@b.c}}}}\n": "accounts.work.sensors.a.user (line 8): only in an organization; in an account, the mailbox is that of the user who signs in",
		"    timezone: mailbox\n":                                                                                        `organizations.contoso.timezone (line 8): want local or a name such as Europe/Berlin, not "mailbox": an application has no mailbox`,
		"    timezone: Berlin\n":                                                                                         `organizations.contoso.timezone (line 8): want local or a name such as Europe/Berlin, not "Berlin"`,
		"    federated_token_file: token\n":                                                                              "organizations.contoso.certificate_file (line 7): want either certificate_file or federated_token_file",
		"    user: ann@contoso.com\n":                                                                                    "organizations.contoso.user (line 8): unknown key",
		"accounts: {contoso: {client_id: 01234567-89ab-cdef-0123-456789abcdef}}\n":                                       "organizations.contoso (line 4): want another id: there is an account with this one",
	} {
		_, err := organization(t, contoso+keys)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v\nwant %s", keys, err, want)
		}
	}
	for old, replaced := range map[string][2]string{
		"tenant: contoso.com":                             {"tenant: common", `organizations.contoso.tenant (line 5): want the id or a domain of the tenant, because an application signs in to one only, not "common"`},
		"client_id: 01234567-89ab-cdef-0123-456789abcdef": {"client_id: contoso", "organizations.contoso.client_id (line 6): want the application (client) id of the app registration"},
		"  contoso:": {"  bridge:", "organizations.bridge (line 4): want another id: this one is reserved for the bridge"},
	} {
		if _, err := organization(t, strings.Replace(contoso, old, replaced[0], 1)); err == nil || !strings.Contains(err.Error(), replaced[1]) {
			t.Errorf("%s: got %v\nwant %s", replaced[0], err, replaced[1])
		}
	}
	if _, err := config.Load(config.Sources{File: write(t, "c.yaml", "mqtt: {url: mqtt://localhost}\norganizations: {}\n"), Environ: environ()}, kindsWithRooms()); err == nil || !strings.Contains(err.Error(), "accounts is required") {
		t.Errorf("a configuration without accounts: %v", err)
	}
}

// An organization in which nothing is to be read is accepted, so that its sensors can be added later, with a warning.
func TestOrganizationWithoutSensors(t *testing.T) {
	const warning = "organizations.contoso has neither rooms nor sensors, so nothing is read; rooms: {} stands for all rooms of the organization"
	for keys, want := range map[string][]string{
		"": {warning}, "    rooms:\n": {warning}, "    sensors: {}\n": {warning}, "    rooms: {}\n": nil, "    sensors: {paris: {type: room, room: paris@contoso.com}}\n": nil,
	} {
		c, err := organization(t, contoso+keys)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, c.Warnings); diff != "" {
			t.Errorf("%q: %s", keys, diff)
		}
	}
}

// A new certificate changes nothing: it is read for each token. A changed key does.
func TestOrganizationChanges(t *testing.T) {
	pem, err := os.ReadFile("testdata/account.pem")
	if err != nil {
		t.Fatal(err)
	}
	certificate := write(t, "contoso.pem", string(pem))
	load := func(keys string) *config.Config {
		t.Helper()
		c, err := config.Load(config.Sources{File: write(t, "c.yaml", strings.ReplaceAll(contoso, "CERTIFICATE", certificate)+keys), Environ: environ()}, kindsWithRooms())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	before := load("    sensors: {berlin: {type: room, room: berlin@contoso.com}}\n")
	if err := os.WriteFile(certificate, append(pem, '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
	if c := config.Diff(before, load("    sensors: {berlin: {type: room, room: berlin@contoso.com}}\n")); c.Any() {
		t.Errorf("a new certificate: %+v", c)
	}
	if c := config.Diff(before, load("    sensors: {berlin: {type: room, room: b@contoso.com}}\n")); !cmp.Equal(c.Sensors.Changed, []string{"contoso/berlin"}) || len(c.Accounts.Changed) > 0 {
		t.Errorf("a changed sensor: %+v", c)
	}
	if c := config.Diff(before, load("    stale_after: 2h\n    sensors: {berlin: {type: room, room: berlin@contoso.com}}\n")); !cmp.Equal(c.Accounts.Changed, []string{"contoso"}) {
		t.Errorf("a changed key: %+v", c)
	}
}
