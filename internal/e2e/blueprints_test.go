//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

// A blueprint was imported into Home Assistant.
type blueprint struct{ domain, path string }

// importBlueprint imports a blueprint of docs by its address on a file server, as a user does, and saves it.
func (ha *HomeAssistant) importBlueprint(t testing.TB, server, domain, name string) blueprint {
	t.Helper()
	address := server + "/" + domain + "/" + name + ".yaml"
	var imported struct {
		Name      string   `json:"suggested_filename"`
		Data      string   `json:"raw_data"`
		Errors    []string `json:"validation_errors"`
		Blueprint struct{ Metadata map[string]any }
	}
	ha.Call(t, "blueprint/import", map[string]any{"url": address}, &imported)
	if len(imported.Errors) > 0 || imported.Blueprint.Metadata["domain"] != domain {
		t.Fatalf("the blueprint %s: %v %v", address, imported.Errors, imported.Blueprint.Metadata["domain"])
	}
	ha.Call(t, "blueprint/save", map[string]any{"domain": domain, "path": imported.Name, "yaml": imported.Data, "source_url": address}, nil)
	return blueprint{domain, imported.Name + ".yaml"}
}

// instantiate makes an automation or a script from a blueprint.
func (ha *HomeAssistant) instantiate(t testing.TB, b blueprint, id string, input map[string]any) {
	t.Helper()
	ha.REST(t, "POST", "/api/config/"+b.domain+"/config/"+id, map[string]any{
		"alias": id, "use_blueprint": map[string]any{"path": b.path, "input": input},
	}, nil)
	ha.AwaitState(t, b.domain+"."+id, map[string]string{"automation": "on", "script": "off"}[b.domain])
}

// runScript runs a script and decodes its response.
func (ha *HomeAssistant) runScript(t testing.TB, id string, data map[string]any, response any) {
	t.Helper()
	result := struct{ Response any }{response}
	ha.Call(t, "call_service", map[string]any{"domain": "script", "service": id, "service_data": data, "return_response": true}, &result)
}

// addHelper makes a toggle and returns its entity id.
func (ha *HomeAssistant) addHelper(t testing.TB, name string) string {
	t.Helper()
	ha.Call(t, "input_boolean/create", map[string]any{"name": name}, nil)
	id := "input_boolean." + name
	ha.AwaitState(t, id, "off")
	return id
}

// setState sets a state as an integration does.
func (ha *HomeAssistant) setState(t testing.TB, id, state string) {
	t.Helper()
	ha.REST(t, "POST", "/api/states/"+id, map[string]any{"state": state}, nil)
	ha.AwaitState(t, id, state)
}

// A notification is shown in Home Assistant.
type notification struct {
	ID      string `json:"notification_id"`
	Title   string
	Message string
}

func (ha *HomeAssistant) notifications(t testing.TB) []notification {
	t.Helper()
	var all []notification
	ha.Call(t, "persistent_notification/get", nil, &all)
	return all
}

// awaitNotification waits for the notifications with a text in the title until done returns true for them, and returns them.
func (ha *HomeAssistant) awaitNotification(t testing.TB, title, what string, done func([]notification) bool) []notification {
	t.Helper()
	tick := time.NewTicker(200 * time.Millisecond) // a notification is no event of the bus
	defer tick.Stop()
	end := time.After(2 * waitTimeout)
	for {
		found := slices.DeleteFunc(ha.notifications(t), func(n notification) bool { return !strings.Contains(n.Title, title) })
		if done(found) {
			return found
		}
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("waiting for a notification %q that %s: there are %+v", title, what, ha.notifications(t))
		}
	}
}

func one(all []notification) bool { return len(all) == 1 }

// ran waits until an automation was triggered after a time and has ended.
func (ha *HomeAssistant) ran(t testing.TB, id string, after time.Time) {
	t.Helper()
	ha.AwaitEntity(t, "automation."+id, "ran after "+after.String(), func(s State) bool {
		text, _ := s.Attributes["last_triggered"].(string)
		last, err := time.Parse(time.RFC3339, text)
		return err == nil && !last.Before(after) && fmt.Sprint(s.Attributes["current"]) == "0"
	})
}

// checkExamples makes Home Assistant accept the automations and scripts in a document.
func (ha *HomeAssistant) checkExamples(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	check := func(domain, id string, config map[string]any) {
		t.Helper()
		n++
		id = strings.ReplaceAll(filepath.Base(file), ".", "_") + "_" + id
		config["alias"] = id
		ha.REST(t, "POST", "/api/config/"+domain+"/config/"+id, config, nil)
		ha.AwaitState(t, domain+"."+id, map[string]string{"automation": "on", "script": "off"}[domain])
		ha.REST(t, "DELETE", "/api/config/"+domain+"/config/"+id, nil, nil)
		ha.AwaitGone(t, domain+"."+id)
	}
	for i, block := range regexp.MustCompile("(?ms)^```yaml\n(.*?)^```").FindAllSubmatch(text, -1) {
		var examples struct {
			Automation []map[string]any
			Script     map[string]map[string]any
		}
		if err := yaml.Unmarshal(block[1], &examples); err != nil {
			continue // a part of a configuration
		}
		for j, config := range examples.Automation {
			check("automation", fmt.Sprintf("%d_%d", i, j), config)
		}
		for id, config := range examples.Script {
			check("script", id, config)
		}
	}
	if n == 0 {
		t.Errorf("%s has no examples", file)
	}
}

// TestBlueprints imports the blueprints of docs by their addresses, instantiates them, triggers them and sees their effects. TestMailBlueprints
// does this for those about mail.
func TestBlueprints(t *testing.T) {
	EachHomeAssistant(t, func(whole *testing.T, ha *HomeAssistant) {
		t := whole // processes that a part starts end with the whole test
		const group = "19:lunch@thread.v2"
		const busy, inCall, replies = "binary_sensor.work_calendar_busy", "binary_sensor.work_presence_in_call", "select.work_out_of_office_mode"
		files := httptest.NewServer(http.FileServer(http.Dir("../../docs/blueprints")))
		defer files.Close()
		env := NewEnvironment(t, MosquittoOptions{Persistent: true})
		env.Microsoft.AddUser(simulator.User{Address: simulator.Megan, Name: "Megan Bowen"})
		env.Microsoft.AddChat(simulator.Chat{ID: group, Topic: "Lunch", Members: []string{simulator.Adele, simulator.Megan}})
		ha.AddBroker(t, env.Broker)
		env.Configure(t, []string{"enable_update: true", "sign_in_over_mqtt: true"}, "calendar: {type: calendar, interval: 5s, on_demand: true}",
			"presence: {type: status, interval: 5s, enable_update: true}", "out_of_office: {type: auto_reply, interval: 5s}",
			"chats: {type: chat, interval: 5s}", "todo: {type: todo, interval: 5s, list: Tasks}")
		env.SignIn(t)
		env.Start(t)
		available := func() {
			t.Helper()
			for id, state := range map[string]string{busy: "off", inCall: "off", "sensor.work_chats_unread": "0", "sensor.work_todo_open": "0", "binary_sensor.work_sign_in_required": "off"} {
				ha.AwaitState(t, id, state)
			}
			ha.AwaitEntity(t, replies, "is known", func(s State) bool { return s.State != "unknown" && s.State != "unavailable" })
		}
		available()

		imported := map[string]blueprint{}
		for domain, names := range map[string][]string{
			"automation": {"on_air_light", "meeting_warning", "out_of_office", "working_elsewhere", "new_message", "do_not_disturb", "shopping_list", "sign_in_required"},
			"script":     {"request", "create_event", "list_events", "add_task", "send_message"},
		} {
			for _, name := range names {
				imported[name] = ha.importBlueprint(t, files.URL, domain, name)
			}
		}
		device := func(sensor string) string {
			t.Helper()
			id := ha.Devices(t)["graph2mqtt-work-"+sensor].ID
			if id == "" {
				t.Fatalf("no device of %s", sensor)
			}
			return id
		}

		var warned Recorder[string]
		subscribeWarned := func() {
			ha.Subscribe(t, "meeting_warned", func(event json.RawMessage) {
				var fired struct{ Data struct{ Link, Left string } }
				if err := json.Unmarshal(event, &fired); err != nil {
					warned.End(err)
				}
				warned.Add(fired.Data.Left + " " + fired.Data.Link)
			})
		}
		meeting := time.Now().Add(9 * time.Minute).UTC().Truncate(time.Minute)
		t.Run("meeting_warning", func(t *testing.T) {
			subscribeWarned()
			ha.instantiate(t, imported["meeting_warning"], "meeting_warning", map[string]any{"calendars": []string{busy}, "minutes": 10})
			ha.instantiate(t, imported["meeting_warning"], "fire_warning", map[string]any{"calendars": []string{busy}, "minutes": 10, "only_online": true, "warning": []any{
				map[string]any{"event": "meeting_warned", "event_data": map[string]any{"link": "{{ join_url }}", "left": "{{ subject }}"}},
			}})
			for subject, e := range map[string]simulator.Event{
				"Review *1*": {JoinURL: "https://teams.example/1"}, "Stand-up": {}, "Lunch break": {ShowAs: "free"},
			} {
				e.Subject, e.Start, e.End, e.Location = subject, meeting, meeting.Add(time.Hour), "Room <1>"
				env.Microsoft.AddEvent(simulator.Adele, "", e)
			}
		})

		t.Run("on_air_light", func(t *testing.T) {
			light := ha.addHelper(t, "on_air")
			ha.instantiate(t, imported["on_air_light"], "on_air_light", map[string]any{"sensors": []string{inCall, busy}, "lights": []string{light}})
			day := time.Now().UTC().Truncate(24 * time.Hour)
			holiday := env.Microsoft.AddEvent(simulator.Adele, "", simulator.Event{Subject: "Birthday", AllDay: true, Start: day.AddDate(0, 0, -1), End: day.AddDate(0, 0, 2)})
			changed := ha.AwaitEntity(t, busy, "is on for the birthday", func(s State) bool { return s.State == "on" && s.Attributes["all_day"] == true })
			ha.ran(t, "on_air_light", changed.LastChanged)
			ha.AwaitState(t, light, "off")
			env.Microsoft.RemoveEvent(simulator.Adele, holiday)
			ha.AwaitState(t, busy, "off")

			env.Microsoft.SetPresence(simulator.Adele, simulator.Presence{Availability: "Busy", Activity: "InACall"})
			ha.AwaitState(t, light, "on")
			env.Stop(t)
			ha.AwaitState(t, inCall, "unavailable")
			env.Start(whole)
			back := ha.AwaitState(t, inCall, "on")
			ha.ran(t, "on_air_light", back.LastChanged)
			env.Microsoft.SetPresence(simulator.Adele, simulator.Presence{Availability: "Available"})
			ha.AwaitState(t, light, "off")
			var states []string
			for _, c := range ha.History(light) {
				states = append(states, c.New.State)
			}
			if diff := cmp.Diff([]string{"off", "on", "off"}, states); diff != "" {
				t.Errorf("the light (-want +got):\n%s", diff)
			}
		})

		t.Run("do_not_disturb", func(t *testing.T) {
			focus, preferred := ha.addHelper(t, "focus"), "select.work_presence_preferred"
			ha.instantiate(t, imported["do_not_disturb"], "do_not_disturb", map[string]any{"focus": focus, "preferred": preferred})
			ha.Service(t, "input_boolean.turn_on", focus, nil)
			ha.AwaitState(t, preferred, "Do not disturb")
			if got := env.Microsoft.PreferredPresence(simulator.Adele).Availability; got != "DoNotDisturb" {
				t.Errorf("at Microsoft: %q", got)
			}
			ha.Service(t, "input_boolean.turn_off", focus, nil)
			ha.AwaitEntity(t, preferred, "is automatic again", func(s State) bool { return s.State == "Automatic" })
			if got := env.Microsoft.PreferredPresence(simulator.Adele).Availability; got != "" {
				t.Errorf("at Microsoft: %q", got)
			}
		})

		t.Run("new_message", func(t *testing.T) {
			ha.instantiate(t, imported["new_message"], "new_message", map[string]any{"message_events": []string{"event.work_chats_event"}})
			env.Microsoft.PostChatMessage(group, simulator.ChatMessage{
				From: simulator.Megan, HTML: true, Body: `<p><at id="0">Adele Vance</at>, at *noon*?</p>`, Mentions: []simulator.ChatMention{{Address: simulator.Adele, Name: "Adele Vance"}},
			})
			shown := ha.awaitNotification(t, "Megan Bowen mentioned you in Lunch", "has the text", one)[0]
			if !strings.Contains(shown.Message, `Adele Vance\, at \*noon\*\?`) || !strings.Contains(shown.Message, "[Open in Teams](https://") {
				t.Errorf("the notification is %+v", shown)
			}
		})

		t.Run("out_of_office", func(t *testing.T) {
			const reply = "I am on vacation."
			stored := func() simulator.AutomaticReplies { return env.Microsoft.AutomaticReplies(simulator.Adele) }
			ha.instantiate(t, imported["out_of_office"], "out_of_office", map[string]any{
				"calendar": busy, "calendar_event": "event.work_calendar_event", "replies": replies, "words": []string{"VACATION"}, "all_day_only": false,
				"internal_reply": reply,
			})
			// It switches on at once, and off at the end.
			begin := time.Now().Add(-time.Minute).UTC().Truncate(time.Second)
			end := time.Now().Add(40 * time.Second).UTC().Truncate(time.Second)
			env.Microsoft.AddEvent(simulator.Adele, "", simulator.Event{Subject: "Short vacation", Start: begin, End: end})
			ha.AwaitState(t, "binary_sensor.work_out_of_office_active", "on")
			if r := stored(); r.Status != "scheduled" || !r.Start.Equal(begin) || !r.End.Equal(end) || !strings.Contains(r.InternalReply, reply) {
				t.Errorf("at Microsoft: %+v", r)
			}
			ha.AwaitState(t, "binary_sensor.work_out_of_office_active", "off")
			ha.AwaitState(t, "switch.work_out_of_office_enabled", "off")

			// An all-day event that is shown as away is stored ahead, and switched off when it is removed.
			day := time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, 1)
			away := simulator.Event{Subject: "Trip", AllDay: true, ShowAs: "oof", Start: day, End: day.AddDate(0, 0, 2)}
			id := env.Microsoft.AddEvent(simulator.Adele, "", away)
			ha.AwaitEntity(t, replies, "has the trip's start", func(s State) bool {
				start, _ := s.Attributes["start"].(string)
				return s.State == "Scheduled" && strings.HasPrefix(start, day.Format(time.DateOnly)+"T00:00:00")
			})
			env.Microsoft.RemoveEvent(simulator.Adele, id)
			ha.AwaitState(t, replies, "Off")

			// Replies that are switched off by hand stay off, also after a restart.
			env.Microsoft.AddEvent(simulator.Adele, "", away)
			ha.AwaitState(t, replies, "Scheduled")
			ha.Service(t, "select.select_option", replies, map[string]any{"option": "Off"})
			ha.AwaitState(t, replies, "Off")
			env.Stop(t)
			ha.AwaitState(t, replies, "unavailable")
			ha.AwaitState(t, busy, "unavailable")
			env.Start(whole)
			last := ha.AwaitState(t, replies, "Off").LastChanged
			if calendar := ha.AwaitEntity(t, busy, "is available", func(s State) bool { return s.State != "unavailable" }); calendar.LastChanged.After(last) {
				last = calendar.LastChanged
			}
			ha.ran(t, "out_of_office", last)
			if r := stored(); r.Status != "disabled" {
				t.Errorf("at Microsoft: %+v", r)
			}
			for _, e := range env.Microsoft.Events(simulator.Adele, "") {
				if e["subject"] == "Trip" {
					env.Microsoft.RemoveEvent(simulator.Adele, e["id"].(string))
				}
			}
		})

		t.Run("working_elsewhere", func(t *testing.T) {
			const person, location, subject = "person.ann", "select.work_presence_work_location", "Elsewhere"
			find := func() map[string]any {
				for _, e := range env.Microsoft.Events(simulator.Adele, "") {
					if e["subject"] == subject {
						return e
					}
				}
				return nil
			}
			ha.setState(t, person, "unknown")
			ha.instantiate(t, imported["working_elsewhere"], "working_elsewhere", map[string]any{
				"people": []string{person}, "work_location": location, "calendar": busy, "subject": subject, "away_for": 0,
				"from": "00:00:00", "until": "23:59:59", "days": []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"},
			})
			ha.setState(t, person, "home") // from unknown, so nobody came home
			ha.setState(t, person, "not_home")
			ha.AwaitState(t, location, "Remote")
			ha.AwaitEntity(t, busy, "has the event", func(s State) bool { return strings.Contains(fmt.Sprint(s.Attributes["data"]), "workingElsewhere") })
			if e := find(); e == nil || e["showAs"] != "workingElsewhere" {
				t.Errorf("at Microsoft: %v", e)
			}
			ha.setState(t, person, "home")
			ha.AwaitState(t, location, "Automatic")
			ha.AwaitEntity(t, busy, "lacks the event", func(s State) bool { return !strings.Contains(fmt.Sprint(s.Attributes["data"]), "workingElsewhere") })
			if find() == nil {
				t.Error("the event was removed")
			}
		})

		t.Run("shopping_list", func(t *testing.T) {
			var form struct {
				ID string `json:"flow_id"`
			}
			ha.REST(t, "POST", "/api/config/config_entries/flow", map[string]any{"handler": "shopping_list"}, &form)
			ha.REST(t, "POST", "/api/config/config_entries/flow/"+form.ID, map[string]any{}, nil)
			const list = "todo.shopping_list"
			ha.AwaitState(t, list, "0")
			ha.instantiate(t, imported["shopping_list"], "shopping_list", map[string]any{"list": list, "tasks": "sensor.work_todo_open"})
			for _, item := range []string{`Milk "3.5 %"`, "Eggs"} {
				ha.Service(t, "todo.add_item", list, map[string]any{"item": item})
			}
			ha.AwaitState(t, list, "0")
			ha.AwaitState(t, "sensor.work_todo_open", "2")
			var titles []string
			for _, task := range env.Microsoft.Tasks(simulator.Adele, "") {
				titles = append(titles, task.Title)
			}
			slices.Sort(titles)
			if diff := cmp.Diff([]string{"Eggs", `Milk "3.5 %"`}, titles); diff != "" {
				t.Errorf("tasks (-want +got):\n%s", diff)
			}
		})

		t.Run("scripts", func(t *testing.T) {
			type result struct {
				OK                    bool
				Code, Message, Cursor string
				Data                  map[string]any
			}
			run := func(id string, data map[string]any) (r result) {
				t.Helper()
				ha.runScript(t, id, data, &r)
				return r
			}
			ha.instantiate(t, imported["create_event"], "create_event", map[string]any{"device": device("calendar")})
			r := run("create_event", map[string]any{
				"subject": `Trip "Grüße" {{ 1 + 1 }}`, "start": "2030-05-06 10:00:00", "attendees": simulator.Megan + ", alex@contoso.example", "show_as": "tentative", "reminder": 20,
				"body": "a\nb", "online_meeting": true,
			})
			if link, _ := r.Data["join_url"].(string); !r.OK || r.Data["event_id"] == nil || link == "" {
				t.Errorf("create_event: %+v", r)
			}
			if r := run("create_event", map[string]any{"subject": "Trip day", "start": "2030-05-08 00:00:00", "end": "2030-05-09 00:00:00", "all_day": true, "show_as": "free"}); !r.OK {
				t.Errorf("create_event: %+v", r)
			}
			if r := run("create_event", map[string]any{"subject": "x", "start": "2030-05-06 10:00:00", "end": "2030-05-06 09:00:00"}); r.OK || r.Code != "invalid_argument" || !strings.Contains(r.Message, "end") {
				t.Errorf("an end before the start: %+v", r)
			}
			ha.instantiate(t, imported["list_events"], "list_events", map[string]any{"device": device("calendar")})
			var listed struct {
				OK, Complete bool
				Events       []struct {
					Summary, Start, End string
					AllDay              bool   `json:"all_day"`
					ShowAs              string `json:"show_as"`
				}
			}
			ha.runScript(t, "list_events", map[string]any{"start": "2030-05-01 00:00:00", "end": "2030-06-01 00:00:00", "search": "trip"}, &listed)
			want := []string{`Trip "Grüße" {{ 1 + 1 }} 2030-05-06T10:00:00+02:00 2030-05-06T11:00:00+02:00 tentative`, "Trip day 2030-05-08 2030-05-10 free"}
			var got []string
			for _, e := range listed.Events {
				start, end := e.Start, e.End
				if at, err := time.Parse(time.RFC3339, start); err == nil {
					berlin, err := time.LoadLocation("Europe/Berlin")
					if err != nil {
						t.Fatal(err)
					}
					until, err := time.Parse(time.RFC3339, end)
					if err != nil {
						t.Fatal(err)
					}
					start, end = at.In(berlin).Format(time.RFC3339), until.In(berlin).Format(time.RFC3339)
				}
				got = append(got, strings.Join([]string{e.Summary, start, end, e.ShowAs}, " "))
			}
			if diff := cmp.Diff(want, got); diff != "" || !listed.OK || !listed.Complete {
				t.Errorf("list_events: %+v (-want +got):\n%s", listed, diff)
			}

			ha.instantiate(t, imported["add_task"], "add_task", map[string]any{"device": device("todo")})
			if r := run("add_task", map[string]any{"subject": 42, "due": "2030-05-06", "reminder": "2030-05-06 08:00:00", "description": "With care", "importance": "high"}); !r.OK || r.Data["todo_id"] == nil {
				t.Errorf("add_task: %+v", r)
			}
			tasks := env.Microsoft.Tasks(simulator.Adele, "")
			if !slices.ContainsFunc(tasks, func(task simulator.Task) bool {
				return task.Title == "42" && !task.Due.IsZero() && task.Importance == "high"
			}) {
				t.Errorf("at Microsoft: %+v", tasks)
			}

			ha.instantiate(t, imported["send_message"], "send_message", map[string]any{"device": device("chats")})
			if r := run("send_message", map[string]any{"message": "On <my> way", "chat_id": group}); !r.OK {
				t.Errorf("send_message: %+v", r)
			}
			if m := env.Microsoft.ChatMessages(group); m[len(m)-1].Body != "On <my> way" {
				t.Errorf("at Microsoft: %+v", m[len(m)-1])
			}

			ha.instantiate(t, imported["request"], "request", map[string]any{})
			bridge := ha.Devices(t)["graph2mqtt-bridge"].ID
			if r := run("request", map[string]any{"device": bridge, "operation": "ping"}); !r.OK || r.Data["version"] == nil {
				t.Errorf("ping: %+v", r)
			}
			if r := run("request", map[string]any{"device": device("calendar"), "operation": "list", "fields": map[string]any{"start": "noon", "end": "2030-01-01"}}); r.OK || r.Code != "invalid_argument" || !strings.Contains(r.Message, "noon") {
				t.Errorf("a wrong time: %+v", r)
			}
			if r := run("request", map[string]any{"device": "0123456789abcdef", "operation": "ping"}); r.OK || r.Code != "invalid_argument" {
				t.Errorf("no device of graph2mqtt: %+v", r)
			}
		})

		t.Run("meeting_warning effect", func(t *testing.T) {
			shown := ha.awaitNotification(t, "Review *1* in ", "has the link", one)[0]
			if !strings.Contains(shown.Message, "[Join the meeting](https://teams.example/1)") || !strings.Contains(shown.Message, `Room \<1\>`) {
				t.Errorf("the notification is %+v", shown)
			}
			ha.awaitNotification(t, "Stand-up in ", "is there", one)
			if all := ha.notifications(t); slices.ContainsFunc(all, func(n notification) bool { return strings.Contains(n.Title, "Lunch break") }) {
				t.Errorf("an event that is shown as free: %+v", all)
			}
			warned.AwaitItem(t, "the warning", 0, func(string) bool { return true })
			if diff := cmp.Diff([]string{"Review *1* https://teams.example/1"}, warned.All()); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
		})

		t.Run("documents", func(t *testing.T) {
			for _, name := range []string{"automations.md", "mail.md", "mqtt.md", "sensors.md"} {
				ha.checkExamples(t, filepath.Join("../../docs", name))
			}
		})

		// After a restart of Home Assistant, no automation runs for what was before.
		t.Run("restart", func(t *testing.T) {
			warnings := warned.Len()
			ha.Restart(whole)
			subscribeWarned()
			available := ha.AwaitEntity(t, "event.work_chats_event", "is available", func(s State) bool { return s.State != "unavailable" })
			env.Microsoft.PostChatMessage(group, simulator.ChatMessage{From: simulator.Megan, Body: "Dinner?"})
			shown := ha.awaitNotification(t, "Megan Bowen", "is there", func(all []notification) bool { return len(all) > 0 })
			if len(shown) != 1 || !strings.Contains(shown[0].Message, "Dinner") {
				t.Errorf("notifications %+v", shown)
			}
			before := available.LastChanged
			env.Stop(t)
			ha.AwaitState(t, busy, "unavailable")
			env.Start(whole)
			ha.AwaitEntity(t, busy, "is available", func(s State) bool { return s.State != "unavailable" })
			ha.ran(t, "on_air_light", before)
			if warned.Len() != warnings {
				t.Errorf("warnings %q", warned.All())
			}
			for _, n := range ha.notifications(t) {
				if n.ID != shown[0].ID {
					t.Errorf("another notification: %+v", n)
				}
			}
			ha.AwaitState(t, "input_boolean.on_air", "off")
		})

		t.Run("sign_in_required", func(t *testing.T) {
			const required, code = "binary_sensor.work_sign_in_required", "sensor.work_sign_in_code"
			ha.instantiate(t, imported["sign_in_required"], "sign_in_required", map[string]any{"sign_in_required": required, "sign_in_code": code, "sign_in": "button.work_sign_in"})
			env.Microsoft.RevokeSessions(simulator.Adele)
			env.Microsoft.ExpireAccessTokens()
			ha.AwaitState(t, required, "on")
			shown := ha.awaitNotification(t, "Work: sign in to Microsoft 365", "has the code", one)[0]
			state, _ := ha.State(code)
			if !strings.Contains(shown.Message, "**"+state.State+"**") || !strings.Contains(shown.Message, "](https://") {
				t.Errorf("with the code %q the notification is %+v", state.State, shown)
			}
			if err := env.Microsoft.ApproveDevice(state.State); err != nil {
				t.Fatal(err)
			}
			ha.AwaitState(t, required, "off")
			ha.awaitNotification(t, "Work: sign in to Microsoft 365", "is gone", func(all []notification) bool { return len(all) == 0 })
		})
		env.Stop(t)
		ha.CheckLog(t)
	})
}

// TestScriptRequests answers the requests of a script by hand: a response is found although Home Assistant missed the first one, nothing is
// executed twice, and a script ends without a response.
func TestScriptRequests(t *testing.T) {
	EachHomeAssistant(t, func(t *testing.T, ha *HomeAssistant) {
		const topic, subject = "graph2mqtt/work/calendar/", `"Grüße" \'日本'`
		files := httptest.NewServer(http.FileServer(http.Dir("../../docs/blueprints")))
		defer files.Close()
		broker := StartMosquitto(t, MosquittoOptions{})
		ha.AddBroker(t, broker)
		broker.PublishRetained(t, "homeassistant/device/graph2mqtt-work-calendar/config", string(encode(t, map[string]any{
			"device": map[string]any{"identifiers": []string{"graph2mqtt-work-calendar"}, "name": "Work calendar"}, "origin": map[string]any{"name": "graph2mqtt"},
			"components": map[string]any{"busy": map[string]any{"platform": "binary_sensor", "unique_id": "busy", "state_topic": topic + "state"}},
		})))
		ha.Changes.Await(t, "the device", func([]Change) bool { return ha.Devices(t)["graph2mqtt-work-calendar"].ID != "" })
		ha.instantiate(t, ha.importBlueprint(t, files.URL, "script", "request"), "request", map[string]any{})

		type result struct {
			OK                    bool
			Code, Message, Cursor string
			Data                  map[string]any
		}
		var answered Recorder[string]
		results := map[string]result{}
		ha.Subscribe(t, "answered", func(event json.RawMessage) {
			var fired struct {
				Data struct {
					Operation string
					Result    result
				}
			}
			if err := json.Unmarshal(event, &fired); err != nil {
				answered.End(err)
				return
			}
			results[fired.Data.Operation] = fired.Data.Result
			answered.Add(fired.Data.Operation)
		})
		operations := []string{"first", "second", "failing", "never"}
		requests := broker.Subscribe(t, topic+"request/#")
		for _, operation := range operations {
			ha.REST(t, "POST", "/api/config/script/config/ask_"+operation, map[string]any{"sequence": []any{
				map[string]any{"action": "script.request", "response_variable": "result", "data": map[string]any{
					"device": ha.Devices(t)["graph2mqtt-work-calendar"].ID, "operation": operation, "fields": map[string]any{"subject": subject},
				}},
				map[string]any{"event": "answered", "event_data": map[string]any{"operation": operation, "result": "{{ result }}"}},
			}}, nil)
			ha.AwaitState(t, "script.ask_"+operation, "off")
		}
		for _, operation := range operations {
			ha.Service(t, "script.turn_on", "script.ask_"+operation, nil)
		}
		// request waits for the n-th request of an operation and returns its payload.
		request := func(operation string, n int) (payload string) {
			t.Helper()
			requests.Await(t, fmt.Sprintf("request %d of %s", n, operation), func([]Message) bool {
				all := requests.Payloads(topic + "request/" + operation)
				if len(all) < n {
					return false
				}
				payload = all[n-1]
				return true
			})
			return payload
		}
		respond := func(operation, payload, response string) {
			t.Helper()
			var fields struct{ Transaction, Subject, Expires string }
			Message{Payload: payload}.Decode(t, &fields)
			if at, err := time.Parse(time.RFC3339, fields.Expires); err != nil || time.Until(at) > 2*time.Minute || fields.Subject != subject {
				t.Errorf("%s: the request is %s", operation, payload)
			}
			broker.Publish(t, topic+"response/"+operation, `{"transaction": "another", "status": "ok", "data": {}}`)
			broker.Publish(t, topic+"response/"+operation, `{"transaction": "`+fields.Transaction+`", `+response+`}`)
		}
		respond("first", request("first", 1), `"status": "ok", "data": {"event_id": "AAMk", "none": null, "text": "a\n'b'"}, "cursor": "next"`)
		respond("failing", request("failing", 1), `"status": "error", "error": {"code": "invalid_argument", "message": "start: want a time", "retryable": false, "retry_after": 0}`)
		if one, two := request("second", 1), request("second", 2); one != two {
			t.Errorf("the second request differs:\n%s\n%s", one, two)
		} else {
			respond("second", two, `"status": "ok", "data": {}, "duplicate": true`)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*waitTimeout)
		defer cancel()
		if err := answered.Until(ctx, func(all []string) bool { return len(all) == len(operations) }); err != nil {
			t.Fatalf("%v: answered %q", err, answered.All())
		}
		want := map[string]result{
			"first":   {OK: true, Cursor: "next", Data: map[string]any{"event_id": "AAMk", "none": nil, "text": "a\n'b'"}},
			"second":  {OK: true, Data: map[string]any{}},
			"failing": {Code: "invalid_argument", Message: "start: want a time", Data: map[string]any{}},
			"never":   {Code: "timeout", Message: "graph2mqtt did not answer; does it run, and is its base topic graph2mqtt?", Data: map[string]any{}},
		}
		if diff := cmp.Diff(want, results); diff != "" {
			t.Errorf("results (-want +got):\n%s", diff)
		}
		for operation, n := range map[string]int{"first": 1, "failing": 1, "second": 2, "never": 2} {
			if got := len(requests.Payloads(topic + "request/" + operation)); got != n {
				t.Errorf("%d requests of %s, want %d", got, operation, n)
			}
		}
		ha.CheckLog(t)
	})
}
