package bridge_test

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
	"github.com/graph2mqtt/graph2mqtt/internal/runtime"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

// A neighbor is a sensor of an account with many.
type neighbor struct {
	kind, name, options string
	path                string // part of the paths of its requests, and of no others
}

// neighbors fills Adele's account and returns its sensors, each of which reads something else: at least one of each kind.
func neighbors(s *simulator.Simulator) []neighbor {
	s.AddUser(simulator.User{Address: simulator.Megan, Name: "Megan Bowen"})
	team := func(name string) simulator.Team {
		return s.AddTeam(simulator.Team{Name: name, Members: []string{simulator.Adele}})
	}
	group := func(address string) simulator.Group {
		return s.AddGroup(simulator.Group{Name: address, Address: address, Members: []string{simulator.Adele}})
	}
	chat := s.AddChat(simulator.Chat{Members: []string{simulator.Adele, simulator.Megan}})
	s.PostChatMessage(chat.ID, simulator.ChatMessage{From: simulator.Megan, Body: "Hello"})
	plan := s.AddPlan(simulator.PlannerPlan{Title: "Move", Members: []string{simulator.Adele}})
	s.AddPlannerTask(simulator.PlannerTask{Plan: plan.ID, Title: "Pack", Assigned: []string{simulator.Adele}})
	family := s.AddCalendar(simulator.Adele, "Family").ID
	bills, travel := s.AddMailFolder(simulator.Adele, "Bills").ID, s.AddMailFolder(simulator.Adele, "Travel").ID
	s.AddMail(simulator.Adele, "Bills", simulator.Mail{Subject: "Power", Read: true})
	work := s.AddTodoList(simulator.Adele, "Work").ID
	s.AddTask(simulator.Adele, "Work", simulator.Task{Title: "Report"})
	projects, sports := group("project@contoso.example"), group("sports@contoso.example")
	contoso, garden := team("Contoso"), team("Garden")
	tasks := s.TodoLists(simulator.Adele)[0].ID
	const berlin = "berlin@contoso.example"
	s.AddRoom(simulator.Room{Address: berlin, Name: "Berlin", Managers: []string{simulator.Adele}})
	return []neighbor{
		{"auto_reply", "out_of_office", "", "/mailboxSettings"},
		{"calendar", "calendar", "", "/me/calendar/"},
		{"calendar", "family", "calendar: " + family, family},
		{"channel", "contoso", fmt.Sprintf("read: true, team: %s, channel: %q", contoso.ID, contoso.Channels[0].ID), contoso.ID},
		{"channel", "garden", fmt.Sprintf("read: true, team: %s, channel: %q", garden.ID, garden.Channels[0].ID), garden.ID},
		{"chat", "chats", "", "/chats"},
		{"email", "bills", "folder: Bills", bills},
		{"group_calendar", "projects", "group: " + projects.ID, projects.ID},
		{"group_calendar", "sports", "group: " + sports.ID, sports.ID},
		{"planner", "planner", "", "/planner/"},
		{"query", "travel", "folder: Travel, is_unread: true", travel},
		{"room", "berlin", "room: " + berlin, berlin},
		{"status", "presence", "", "/me/presence"},
		{"status", "megan", "user: " + simulator.Megan, "/communications/"},
		{"todo", "tasks", "list: " + tasks, tasks},
		{"todo", "work", "list: " + work, work},
	}
}

// owner returns the sensor that a request is for; "": that is unknown.
func owner(all []neighbor, path string) string {
	i := slices.IndexFunc(all, func(n neighbor) bool { return strings.Contains(path+"/", n.path) })
	if i < 0 && strings.HasPrefix(path, "/v1.0/me/calendarView") {
		i = slices.IndexFunc(all, func(n neighbor) bool { return n.name == "calendar" })
	}
	if i < 0 {
		return ""
	}
	return all[i].name
}

// failures are the ways in which Graph fails for one sensor.
func failures() map[string]func(*http.Request) (*http.Response, error) {
	status := func(code int, name string) func(*http.Request) (*http.Response, error) {
		return func(*http.Request) (*http.Response, error) {
			return graphtest.Answer(code, fmt.Sprintf(`{"error": {"code": %q, "message": "No."}}`, name), "Content-Type", "application/json"), nil
		}
	}
	return map[string]func(*http.Request) (*http.Response, error){
		"403": status(http.StatusForbidden, "ErrorAccessDenied"),
		"404": status(http.StatusNotFound, "ErrorItemNotFound"),
		"500": status(http.StatusInternalServerError, "ErrorInternalServerError"),
		"garbage": func(*http.Request) (*http.Response, error) {
			return graphtest.Answer(http.StatusOK, "<html>Welcome to the Wi-Fi</html>", "Content-Type", "text/html"), nil
		},
		"hang": func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		},
	}
}

// A switchboard fails the requests of one sensor and counts those of each.
type switchboard struct {
	next http.RoundTripper

	mu     sync.Mutex // guards the following
	all    []neighbor
	victim string
	fail   func(*http.Request) (*http.Response, error)
	counts map[string]int
}

func (s *switchboard) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	name, fail := owner(s.all, r.URL.Path), s.fail
	if name == "" || name != s.victim {
		fail = nil
	}
	s.counts[name]++
	s.mu.Unlock()
	if fail != nil {
		return fail(r)
	}
	return s.next.RoundTrip(r)
}

// set makes the requests of a sensor fail from now on; nil ends that. It returns how many requests each sensor sent before.
func (s *switchboard) set(victim string, fail func(*http.Request) (*http.Response, error)) map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	counts := s.counts
	s.victim, s.fail, s.counts = victim, fail, map[string]int{}
	return counts
}

// A sensor that fails leaves every other one untouched: those keep polling, and nothing of them changes.
func TestOneFailingSensor(t *testing.T) {
	t.Parallel()
	for name, fail := range failures() {
		t.Run(name, func(t *testing.T) { testOneFailingSensor(t, fail) })
	}
}

func testOneFailingSensor(t *testing.T, fail func(*http.Request) (*http.Response, error)) {
	synctest.Test(t, func(t *testing.T) {
		board := &switchboard{counts: map[string]int{}}
		s := simulator.Contoso(simulator.Options{})
		all := neighbors(s)
		board.all = all
		var sensors strings.Builder
		covered := map[string]bool{}
		for _, n := range all {
			covered[n.kind] = true
			fmt.Fprintf(&sensors, "      %s: {type: %s, interval: 1m, %s}\n", n.name, n.kind, n.options)
		}
		for _, k := range runtime.Kinds() {
			if !covered[k.Name] {
				t.Errorf("no sensor of the kind %s: neighbors must have one", k.Name)
			}
		}
		f := startFleet(t, fleetSetup{accounts: 1, sensors: sensors.String(), simulator: s, transport: func(next http.RoundTripper) http.RoundTripper {
			board.next = next
			return board
		}})
		time.Sleep(5 * time.Minute)
		const prefix = "graph2mqtt/a000/"
		problem := func(sensor string) bool {
			return bytes.Contains(f.Published.payload(prefix+sensor+"/status"), []byte(`"problem":true`))
		}
		for _, n := range all {
			if problem(n.name) {
				t.Fatalf("%s: %s", n.name, f.Published.payload(prefix+n.name+"/status"))
			}
		}
		for _, victim := range all {
			synctest.Wait()
			before := f.Published.payloads(prefix)
			board.set(victim.name, fail)
			time.Sleep(3 * time.Minute)
			synctest.Wait()
			after := f.Published.payloads(prefix)
			counts := board.set("", nil)
			if !problem(victim.name) {
				t.Errorf("%s fails but has no problem", victim.name)
			}
			for _, n := range all {
				if n.name == victim.name {
					continue
				}
				if counts[n.name] < 2 {
					t.Errorf("%s fails: %s sent %d requests in 3 minutes", victim.name, n.name, counts[n.name])
				}
				for topic, payload := range after {
					if strings.HasPrefix(topic, prefix+n.name+"/") && !bytes.Equal(before[topic], payload) {
						t.Errorf("%s fails: %s was %s and is %s", victim.name, topic, before[topic], payload)
					}
				}
			}
			if state := after[prefix+"state"]; string(state) != "online" {
				t.Errorf("%s fails: the account is %s", victim.name, state)
			}
			time.Sleep(5 * time.Minute)
			if problem(victim.name) {
				t.Errorf("%s has not recovered: %s", victim.name, f.Published.payload(prefix+victim.name+"/status"))
			}
		}
	})
}

// payload returns what a topic holds.
func (p *publications) payload(topic string) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.held[topic]
}

// payloads returns what the topics with a prefix hold.
func (p *publications) payloads(prefix string) map[string][]byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := maps.Clone(p.held)
	maps.DeleteFunc(all, func(topic string, _ []byte) bool { return !strings.HasPrefix(topic, prefix) })
	return all
}
