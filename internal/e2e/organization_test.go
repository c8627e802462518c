//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

const application = "7d2f7a43-94b6-4a53-8f6c-0d1d0b7c5a11"

// ConfigureOrganization writes a configuration with an organization that may read the rooms of its tenant, and registers its certificate.
// more are lines of YAML.
func (env *Environment) ConfigureOrganization(t testing.TB, id, rooms string, more ...string) {
	t.Helper()
	certificate, withKey, err := simulator.NewCertificate(time.Now().Add(-time.Hour), time.Now().AddDate(1, 0, 0))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(env.Program.Dir, "application.pem")
	writeFile(t, file, string(withKey))
	env.Microsoft.Register(simulator.Registration{
		ClientID: application, Tenant: simulator.ContosoTenant, Certificates: string(certificate), Roles: []string{"Place.Read.All", "Calendars.Read", "Calendars.ReadWrite"},
	})
	lines := append(more, "organizations:", "  "+id+":", "    tenant: contoso.example", "    client_id: "+application, "    certificate_file: "+file,
		fmt.Sprintf("    cloud: {login: %q, graph: %q, audience: https://graph.microsoft.com, ca_file: %q}", env.Microsoft.LoginURL(), env.Microsoft.GraphURL(), env.caFile),
		"    rooms: "+rooms)
	env.Program.Configure(t, strings.Join(lines, "\n")+"\n")
}

// countStates returns how many entities whose ids match have each state.
func (s *socket) countStates(match func(id string) bool) map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	counts := map[string]int{}
	for id, state := range s.states {
		if match(id) {
			counts[state.State]++
		}
	}
	return counts
}

// cpuTime returns the processor time that a Home Assistant has used that was started as installed. It does not depend on what else the machine does.
func (ha *HomeAssistant) cpuTime(t testing.TB) time.Duration {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", ha.Process.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	const ticks = 100 // a second
	var used time.Duration
	for _, field := range fields[11:13] { // utime and stime
		n, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		used += time.Duration(n) * time.Second / ticks
	}
	return used
}

// TestRoomsAfterRestart restarts Home Assistant with 500 rooms, and prints how long it takes until it has the states of all. The broker has the
// setting of the page about organizations, without which it discards what Home Assistant has not read yet.
func TestRoomsAfterRestart(t *testing.T) {
	const rooms = 500
	EachHomeAssistant(t, func(t *testing.T, ha *HomeAssistant) {
		page, err := os.ReadFile("../../docs/organizations.md")
		if err != nil {
			t.Fatal(err)
		}
		setting := regexp.MustCompile("(?m)^max_queued_messages .*$").Find(page)
		if setting == nil {
			t.Fatal("organizations.md has no setting of Mosquitto")
		}
		env := NewEnvironment(t, MosquittoOptions{Configuration: string(setting)})
		ha.AddBroker(t, env.Broker)
		now := time.Now()
		for i := range rooms {
			address := fmt.Sprintf("room-%03d@contoso.example", i)
			env.Microsoft.AddRoom(simulator.Room{Address: address, Name: fmt.Sprintf("Room %03d", i)})
			if i%2 == 0 {
				env.Microsoft.AddEvent(address, "", simulator.Event{Subject: "Review", Start: now.Add(-time.Hour), End: now.Add(12 * time.Hour)})
			}
		}
		env.ConfigureOrganization(t, "contoso", "{}", "mqtt: {url: "+env.Broker.URL+"}")
		isBusy := func(id string) bool {
			return strings.HasPrefix(id, "binary_sensor.contoso_rooms_room_") && strings.HasSuffix(id, "_busy")
		}
		complete := func() {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			if err := ha.Changes.Until(ctx, func([]Change) bool {
				counts := ha.countStates(isBusy)
				return counts["on"] == rooms/2 && counts["off"] == rooms-rooms/2
			}); err != nil {
				t.Fatalf("%v; the rooms are %v", err, ha.countStates(isBusy))
			}
		}
		began := time.Now()
		env.Start(t)
		complete()
		entities := ha.countStates(func(id string) bool { return strings.Contains(id, ".contoso_rooms_room_") })
		all := 0
		for _, n := range entities {
			all += n
		}
		t.Logf("found %d rooms with %d entities in %s", rooms, all, time.Since(began).Round(100*time.Millisecond))

		requests := env.Microsoft.Total()
		if code := ha.Stop(t); code != 0 {
			t.Errorf("Home Assistant ended with %d", code)
		}
		began = time.Now()
		ha.StartAsInstalled(t) // returns when all integrations are set up
		started := time.Since(began)
		complete()
		events := 0
		for _, c := range ha.Changes.All() {
			if isBusy(c.EntityID) && c.New != nil && c.New.State != "unavailable" {
				events++
			}
		}
		t.Logf("Home Assistant started in %s and had the states of %d rooms after %s (target: 30s), with %s of processor time and %d events of their occupancy",
			started.Round(100*time.Millisecond), rooms, time.Since(began).Round(100*time.Millisecond), ha.cpuTime(t), events)
		for _, r := range env.Microsoft.Requests()[requests:] {
			if strings.HasPrefix(r.Path, "/v1.0/me") {
				t.Errorf("%s %s", r.Method, r.Path)
			}
		}
		env.Stop(t)
	})
}

// AddSite sets up the MQTT integration for the topics of one site, as its user.
func (ha *HomeAssistant) AddSite(t testing.TB, m *Mosquitto, prefix string) {
	t.Helper()
	birth := m.Subscribe(t, prefix+"/status")
	defer birth.Close(t)
	type result struct {
		Type   string
		FlowID string      `json:"flow_id"`
		Schema []formField `json:"data_schema"`
		Result struct {
			EntryID string `json:"entry_id"`
		}
	}
	given := map[string]any{
		"broker": "127.0.0.1", "port": m.Port, "username": m.Options.Username, "password": m.Options.Password, "set_client_cert": false, "set_ca_cert": "off",
		"discovery": true, "discovery_prefix": prefix, "birth_enable": true, "birth_topic": prefix + "/status", "birth_payload": "online",
		"will_enable": true, "will_topic": prefix + "/status", "will_payload": "offline",
	}
	const flows = "/api/config/config_entries/"
	var form, made result
	ha.REST(t, "POST", flows+"flow", map[string]any{"handler": "mqtt", "show_advanced_options": true}, &form)
	ha.REST(t, "POST", flows+"flow/"+form.FlowID, fillForm(form.Schema, given), &made)
	if made.Type != "create_entry" {
		t.Fatalf("Home Assistant refuses the broker: %+v", made)
	}
	var options result
	ha.REST(t, "POST", flows+"options/flow", map[string]any{"handler": made.Result.EntryID, "show_advanced_options": true}, &options)
	for range 3 { // older versions ask for the broker first
		if options.Type == "create_entry" {
			break
		}
		id := options.FlowID
		answers := fillForm(options.Schema, given)
		options = result{}
		ha.REST(t, "POST", flows+"options/flow/"+id, answers, &options)
	}
	if options.Type != "create_entry" {
		t.Fatalf("Home Assistant refuses the topics: %+v", options)
	}
	birth.AwaitPayload(t, prefix+"/status", "online")
}

// TestSites shows the rooms of two tenants in two Home Assistants on one broker, with the access list of the page about organizations: neither
// sees or changes anything of the other.
func TestSites(t *testing.T) {
	eachInstallation(t, func(t *testing.T, dir string) {
		page, err := os.ReadFile("../../docs/organizations.md")
		if err != nil {
			t.Fatal(err)
		}
		list := regexp.MustCompile("(?ms)^```text\n(user bridge-north\n.*?)^```").FindSubmatch(page)
		if list == nil {
			t.Fatal("organizations.md has no access list")
		}
		file := filepath.Join(t.TempDir(), "acl")
		writeFile(t, file, string(list[1])+strings.ReplaceAll(string(list[1]), "north", "south"))
		broker := StartMosquitto(t, MosquittoOptions{Configuration: "allow_anonymous true\nacl_file " + file})
		as := func(user string) *Mosquitto {
			other := *broker
			other.Options.Username, other.Options.Password = user, "any"
			return &other
		}
		type site struct {
			name, room string
			env        *Environment
			ha         *HomeAssistant
			seen       *Subscription
		}
		var sites []*site
		for i, name := range []string{"north", "south"} {
			s := &site{name: name, room: []string{"berlin", "paris"}[i]}
			s.env = &Environment{Microsoft: simulator.Contoso(simulator.Options{}), Broker: as("bridge-" + name), Program: NewProgram(t, "")}
			s.env.serve(t)
			s.env.Microsoft.AddRoom(simulator.Room{Address: s.room + "@contoso.example", Name: s.room})
			s.env.ConfigureOrganization(t, name, "{enable_update: true}",
				fmt.Sprintf("mqtt: {url: %q, username: bridge-%s, password: any, base_topic: graph2mqtt-%s}", broker.URL, name, name),
				fmt.Sprintf("homeassistant: {discovery_topic: homeassistant-%s, status_topic: homeassistant-%s/status}", name, name))
			s.seen = as("homeassistant-"+name).Subscribe(t, "#")
			s.ha = StartHomeAssistant(t, dir)
			s.ha.AddSite(t, as("homeassistant-"+name), "homeassistant-"+name)
			s.env.Start(t)
			sites = append(sites, s)
		}
		entity := func(s *site, platform, key string) string {
			return platform + "." + s.name + "_rooms_" + s.room + "_" + key
		}
		for i, s := range sites {
			other := sites[1-i]
			s.ha.AwaitState(t, entity(s, "binary_sensor", "busy"), "off")
			// It is dropped: had it arrived, it would be answered before the request of the site itself.
			as("homeassistant-"+s.name).Publish(t, "graph2mqtt-"+other.name+"/"+other.name+"/rooms/request/book", `{"room": "`+other.room+`"}`)
		}
		for _, s := range sites {
			s.ha.Service(t, "button.press", entity(s, "button", "book"), nil)
			s.ha.AwaitState(t, entity(s, "binary_sensor", "busy"), "on")
		}
		for i, s := range sites {
			other := sites[1-i]
			if n := s.env.Microsoft.Count("POST", "/v1.0/users/"+s.room+"@contoso.example/events"); n != 1 {
				t.Errorf("%s: %d bookings, want 1", s.name, n)
			}
			if n := len(s.ha.Entities(t)); n == 0 {
				t.Errorf("%s has no entities", s.name)
			}
			for _, e := range s.ha.Entities(t) {
				if strings.Contains(e.EntityID+e.UniqueID, other.name) || strings.Contains(e.EntityID, other.room) {
					t.Errorf("%s shows %s", s.name, e.EntityID)
				}
			}
			if answers := s.seen.Payloads("graph2mqtt-" + s.name + "/" + s.name + "/rooms/response/book"); len(answers) > 0 { // a button has a topic of its own
				t.Errorf("%s answers %s: %q", s.name, other.name, answers)
			}
			for _, m := range s.seen.All() {
				if !strings.HasPrefix(m.Topic, "graph2mqtt-"+s.name+"/") && !strings.HasPrefix(m.Topic, "homeassistant-"+s.name+"/") {
					t.Errorf("%s sees %v", s.name, m)
				}
			}
			s.ha.CheckLog(t)
			s.env.Stop(t)
		}
	})
}
