//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/porttest"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

// A calendarAccess holds the output of `graph2mqtt calendars --json`.
type calendarAccess struct{ URL, User, Password string }

// startCalendars starts the bridge with CalDAV, and returns how its calendars are reached.
func (env *Environment) startCalendars(t testing.TB, sensors ...string) calendarAccess {
	t.Helper()
	env.Program.Env = append(env.Program.Env, "GRAPH2MQTT_HTTP__LISTEN=127.0.0.1:"+strconv.Itoa(porttest.Free(t)), "GRAPH2MQTT_HTTP__CALENDARS=true")
	env.Configure(t, []string{"enable_update: true", "timezone: Europe/Berlin"}, sensors...)
	env.SignIn(t)
	code, stdout, stderr := env.Program.Run(t, "calendars", "work", "--json")
	var access calendarAccess
	if err := json.Unmarshal([]byte(stdout), &access); code != 0 || err != nil {
		t.Fatalf("calendars ended with %d: %v\n%s", code, err, stderr)
	}
	env.Start(t)
	return access
}

// propfind asks for the collections of an account, and returns the answer.
func (a calendarAccess) propfind(t testing.TB) string {
	t.Helper()
	_, body := a.do(t, "PROPFIND", a.User+"/", `<D:propfind xmlns:D="DAV:"><D:prop><D:displayname/></D:prop></D:propfind>`)
	return body
}

// get returns the code and the body of the answer to a GET; 0 while nothing listens.
func (a calendarAccess) get(t testing.TB, path string) (int, string) {
	t.Helper()
	return a.do(t, http.MethodGet, path, "")
}

func (a calendarAccess) do(t testing.TB, method, path, body string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, a.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Depth", "1")
	r.SetBasicAuth(a.User, a.Password)
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, ""
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(answer)
}

// await waits until a condition holds. Neither the simulator nor Home Assistant's lists announce their changes.
func await(t testing.TB, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	end := time.After(waitTimeout)
	for !condition() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("it does not happen: %s", what)
		}
	}
}

// repeatPuts returns the address of a proxy that sends each PUT twice, as a client does that lost an answer.
func repeatPuts(t testing.TB, target string) string {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: u.Scheme, Host: u.Host}) },
		Transport: repeater{},
	}
	server := httptest.NewServer(proxy)
	t.Cleanup(server.Close)
	return server.URL + u.Path
}

type repeater struct{}

// RoundTrip implements http.RoundTripper.
func (repeater) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodPut || r.Header.Get("If-Match") != "" {
		return http.DefaultTransport.RoundTrip(r)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	first := r.Clone(r.Context())
	first.Body = io.NopCloser(bytes.NewReader(body))
	lost, err := http.DefaultTransport.RoundTrip(first)
	if err != nil {
		return nil, err
	}
	lost.Body.Close()
	r.Body = io.NopCloser(bytes.NewReader(body))
	return http.DefaultTransport.RoundTrip(r)
}

// AddCalDAV sets up the CalDAV integration with its config flow, first with a wrong password.
func (ha *HomeAssistant) AddCalDAV(t testing.TB, a calendarAccess) {
	t.Helper()
	const path = "/api/config/config_entries/flow"
	type result struct {
		Type, Title string
		FlowID      string `json:"flow_id"`
		Errors      map[string]string
	}
	var form, refused, made result
	ha.REST(t, "POST", path, map[string]any{"handler": "caldav"}, &form)
	given := map[string]any{"url": a.URL, "username": a.User, "password": "wrong", "verify_ssl": true}
	ha.REST(t, "POST", path+"/"+form.FlowID, given, &refused)
	if refused.Errors["base"] != "invalid_auth" {
		t.Errorf("with a wrong password: %+v", refused)
	}
	given["password"] = a.Password
	ha.REST(t, "POST", path+"/"+form.FlowID, given, &made)
	if made.Type != "create_entry" || made.Title != "work" {
		t.Fatalf("Home Assistant refuses the calendars: %+v", made)
	}
}

// AddFeed sets up the integration Remote Calendar with the address of an iCalendar. The newer version asks for a sign-in in a further step.
func (ha *HomeAssistant) AddFeed(t testing.TB, address string) {
	t.Helper()
	const path = "/api/config/config_entries/flow"
	type result struct {
		Type   string
		FlowID string      `json:"flow_id"`
		Schema []formField `json:"data_schema"`
		Errors map[string]string
	}
	var form, made result
	ha.REST(t, "POST", path, map[string]any{"handler": "remote_calendar"}, &form)
	ha.REST(t, "POST", path+"/"+form.FlowID, fillForm(form.Schema, map[string]any{"calendar_name": "Feed", "url": address}), &made)
	if made.Type != "create_entry" {
		t.Fatalf("Home Assistant refuses the iCalendar: %+v", made)
	}
}

// ask calls a service of an entity and decodes its response for that entity.
func (ha *HomeAssistant) ask(t testing.TB, service, entity string, data map[string]any, out any) {
	t.Helper()
	domain, name, _ := strings.Cut(service, ".")
	var result struct {
		Response map[string]json.RawMessage
	}
	ha.Call(t, "call_service", map[string]any{
		"domain": domain, "service": name, "service_data": data, "target": map[string]any{"entity_id": entity}, "return_response": true,
	}, &result)
	if err := json.Unmarshal(result.Response[entity], out); err != nil {
		t.Fatalf("%s: %v: %s", service, err, result.Response[entity])
	}
}

// A nativeEvent is an event of a native calendar.
type nativeEvent struct{ Start, End, Summary, Location, Description string }

// events returns the events of a native calendar, as "subject start end" in UTC, sorted.
func (ha *HomeAssistant) events(t testing.TB, entity string, from, to time.Time) []string {
	t.Helper()
	var answer struct{ Events []nativeEvent }
	ha.ask(t, "calendar.get_events", entity, map[string]any{"start_date_time": from.Format(time.RFC3339), "end_date_time": to.Format(time.RFC3339)}, &answer)
	var all []string
	for _, e := range answer.Events {
		at := func(s string) string {
			if parsed, err := time.Parse(time.RFC3339, s); err == nil {
				return parsed.UTC().Format("2006-01-02T15:04Z")
			}
			return s
		}
		all = append(all, at(e.Start)+" "+at(e.End)+" "+e.Summary)
	}
	slices.Sort(all)
	return all
}

// A nativeTask is an item of a native to-do list.
type nativeTask struct{ Summary, Status, Due, Description string }

func (ha *HomeAssistant) tasks(t testing.TB, entity string) map[string]nativeTask {
	t.Helper()
	var answer struct{ Items []nativeTask }
	ha.ask(t, "todo.get_items", entity, map[string]any{"status": []string{"needs_action", "completed"}}, &answer)
	all := map[string]nativeTask{}
	for _, item := range answer.Items {
		all[item.Summary] = item
	}
	return all
}

// TestNativeCalendars sets up Home Assistant's own CalDAV integration and uses its calendars and to-do lists.
func TestNativeCalendars(t *testing.T) {
	EachHomeAssistant(t, func(t *testing.T, ha *HomeAssistant) {
		env := NewEnvironment(t, MosquittoOptions{})
		const project = "project@contoso.example"
		env.Microsoft.AddGroup(simulator.Group{Name: "Project", Address: project, Members: []string{simulator.Adele}})
		env.Microsoft.AddCalendar(simulator.Adele, "Family")
		env.Microsoft.AddTodoList(simulator.Adele, "Shopping")
		berlin, err := time.LoadLocation("Europe/Berlin")
		if err != nil {
			t.Fatal(err)
		}
		// The clocks change on 28 March and 31 October 2027.
		begin := time.Date(2027, 3, 1, 9, 0, 0, 0, berlin)
		series := env.Microsoft.AddEvent(simulator.Adele, "", simulator.Event{
			Subject: "Standup", Start: begin, End: begin.Add(15 * time.Minute), Body: "<p>With <b>all</b></p>", Location: "Room 1, first floor",
			Recurrence: map[string]any{
				"pattern": map[string]any{"type": "weekly", "interval": 1, "daysOfWeek": []any{"monday"}, "firstDayOfWeek": "sunday"},
				"range":   map[string]any{"type": "endDate", "startDate": "2027-03-01", "endDate": "2027-11-15", "recurrenceTimeZone": "W. Europe Standard Time"},
			},
		})
		env.Microsoft.AddEvent(simulator.Adele, "", simulator.Event{Subject: "Fair", Start: time.Date(2027, 3, 27, 0, 0, 0, 0, berlin), End: time.Date(2027, 3, 30, 0, 0, 0, 0, berlin), AllDay: true})
		env.Microsoft.AddEvent(simulator.Adele, "Family", simulator.Event{Subject: "Cinema", Start: begin, End: begin.Add(2 * time.Hour)})
		env.Microsoft.AddEvent(project, "", simulator.Event{Subject: "Kickoff", Start: begin, End: begin.Add(time.Hour)})
		other := env.Microsoft.AddTask(simulator.Adele, "", simulator.Task{
			Title: "Other", Body: "Text", Status: "inProgress", Importance: "high", Categories: []string{"Red"}, Due: time.Date(2027, 1, 4, 0, 0, 0, 0, berlin), Steps: []simulator.TaskStep{{Name: "Step"}},
		})
		access := env.startCalendars(t,
			"calendar: {type: calendar, on_demand: true, include_cancelled: true, interval: 5s}",
			"more: {type: calendar, calendar: all, except: [Calendar], on_demand: true, interval: 5s}",
			"project: {type: group_calendar, group: "+project+", on_demand: true, interval: 5s}",
			"tasks: {type: todo, list: defaultList, enable_update: true, on_demand: true, interval: 5s}",
			"lists: {type: todo, enable_update: true, on_demand: true, except: [flaggedEmails, defaultList], interval: 5s}",
			"planner: {type: planner, enable_update: true, interval: 5s}",
		)
		messages := env.Broker.Subscribe(t, "graph2mqtt/work/#")
		wanted := []string{"Work calendar", "Work Family", "Work project", "Work tasks", "Work Shopping", "Work planner"}
		await(t, "every calendar and list is offered", func() bool {
			answer := access.propfind(t)
			return !slices.ContainsFunc(wanted, func(name string) bool { return !strings.Contains(answer, ">"+name+"<") })
		})

		// One occurrence is moved, one is removed, one is canceled.
		occurrence := env.occurrences(t, messages, series)
		if err := env.Microsoft.ChangeEvent(simulator.Adele, occurrence["2027-05-03"], map[string]any{
			"start": map[string]any{"dateTime": "2027-05-05T12:00:00", "timeZone": "UTC"}, "end": map[string]any{"dateTime": "2027-05-05T12:30:00", "timeZone": "UTC"},
		}); err != nil {
			t.Fatal(err)
		}
		env.Microsoft.RemoveEvent(simulator.Adele, occurrence["2027-06-07"])
		if err := env.Microsoft.ChangeEvent(simulator.Adele, occurrence["2027-07-05"], map[string]any{"isCancelled": true}); err != nil {
			t.Fatal(err)
		}

		access.URL = repeatPuts(t, access.URL)
		ha.AddCalDAV(t, access)
		for _, name := range wanted {
			entity := strings.ReplaceAll(strings.ToLower(name), " ", "_")
			switch name {
			case "Work tasks", "Work Shopping", "Work planner":
				entity = "todo." + entity
			default:
				entity = "calendar." + entity
			}
			ha.AwaitEntity(t, entity, "is available", func(s State) bool { return s.State != "unavailable" })
		}

		var want []string
		for day := begin; day.Before(time.Date(2027, 11, 16, 0, 0, 0, 0, berlin)); day = day.AddDate(0, 0, 7) {
			start, end := day, day.Add(15*time.Minute)
			switch day.Format(time.DateOnly) {
			case "2027-05-03":
				start, end = time.Date(2027, 5, 5, 12, 0, 0, 0, time.UTC), time.Date(2027, 5, 5, 12, 30, 0, 0, time.UTC)
			case "2027-06-07":
				continue
			case "2027-07-05":
				if ha.AtLeast(t, 2026, 11) {
					continue // it hides canceled events
				}
			}
			want = append(want, start.UTC().Format("2006-01-02T15:04Z")+" "+end.UTC().Format("2006-01-02T15:04Z")+" Standup")
		}
		want = append(want, "2027-03-27 2027-03-30 Fair")
		slices.Sort(want)
		from, to := time.Date(2027, 2, 1, 0, 0, 0, 0, time.UTC), time.Date(2027, 12, 31, 0, 0, 0, 0, time.UTC)
		if diff := cmp.Diff(want, ha.events(t, "calendar.work_calendar", from, to)); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		for entity, subject := range map[string]string{"calendar.work_family": "Cinema", "calendar.work_project": "Kickoff"} {
			if got := ha.events(t, entity, from, to); len(got) != 1 || !strings.HasSuffix(got[0], subject) {
				t.Errorf("%s: %v", entity, got)
			}
		}

		ha.AddFeed(t, strings.Replace(access.URL, "/dav/", fmt.Sprintf("/ics/%s/%s/calendar.ics", access.Password, access.User), 1))
		ha.AwaitEntity(t, "calendar.feed", "is available", func(s State) bool { return s.State != "unavailable" })
		for _, event := range want {
			if !strings.Contains(strings.Join(ha.events(t, "calendar.feed", from, to), "\n"), event) {
				t.Errorf("the iCalendar lacks %s", event)
			}
		}

		testNativeTasks(t, env, ha, messages)
		for _, task := range env.Microsoft.Tasks(simulator.Adele, "") {
			if diff := cmp.Diff(other, task); diff != "" {
				t.Errorf("another task (-want +got):\n%s", diff)
			}
		}

		if ha.AtLeast(t, 2026, 11) {
			create := func(data map[string]any) {
				t.Helper()
				ha.Service(t, "calendar.create_event", "calendar.work_calendar", data)
			}
			create(map[string]any{"summary": "Dentist", "start_date_time": "2027-12-01T10:00:00", "end_date_time": "2027-12-01T11:00:00", "description": "Bring the card", "location": "Main street 1"})
			create(map[string]any{"summary": "Holiday", "start_date": "2027-12-06", "end_date": "2027-12-08"})
			if got := len(env.Microsoft.Events(simulator.Adele, "")); got != 4 {
				t.Errorf("%d events at Microsoft, want 4", got)
			}
			got := ha.events(t, "calendar.work_calendar", time.Date(2027, 12, 1, 0, 0, 0, 0, time.UTC), to)
			if len(got) != 2 || !strings.HasSuffix(got[0], "Dentist") || got[1] != "2027-12-06 2027-12-08 Holiday" {
				t.Errorf("created: %v", got)
			}
		}
		ha.CheckLog(t, "Authorization Error connecting to CalDAV server") // with the wrong password
		env.Stop(t)
	})
}

// TestCalDAVLibrary uses calendars and task lists with python-caldav, which is a client of its own.
func TestCalDAVLibrary(t *testing.T) {
	script, err := os.ReadFile(filepath.Join("clients", "caldav_client.py"))
	if err != nil {
		t.Fatal(err)
	}
	eachInstallation(t, func(t *testing.T, dir string) { // the library is a part of Home Assistant
		env := NewEnvironment(t, MosquittoOptions{})
		access := env.startCalendars(t, "calendar: {type: calendar, on_demand: true, interval: 5s}", "tasks: {type: todo, list: defaultList, enable_update: true, on_demand: true, interval: 5s}")
		ready := func(path string) bool {
			code, _ := access.get(t, path)
			return code == http.StatusOK
		}
		await(t, "the sensors are read", func() bool { return ready("work/calendar/") && ready("work/tasks/") })
		cmd := pythonOf(dir, "-", access.URL, access.User, access.Password)
		cmd.Stdin = bytes.NewReader(script)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		stdout, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v\n%s\n%s", err, stdout, &stderr)
		}
		want, err := os.ReadFile(filepath.Join("testdata", "caldav_client.txt"))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(stdout)); diff != "" {
			t.Errorf("the client's output (-want +got):\n%s\n%s", diff, &stderr)
		}
		if events, tasks := env.Microsoft.Events(simulator.Adele, ""), env.Microsoft.Tasks(simulator.Adele, ""); len(events) != 1 || events[0]["subject"] != "Kept" || len(tasks) != 1 || tasks[0].Title != "Kept" || tasks[0].Status != "completed" {
			t.Errorf("at Microsoft: %v, %v", events, tasks)
		}
		env.Stop(t)
	})
}

// TestCalendarMemory bounds the memory of the program with the status page and a client that reads everything, and what that adds where there
// is very much. It runs beside no other test: while the program waits for a processor its memory grows.
func TestCalendarMemory(t *testing.T) {
	for _, tt := range []struct{ events, tasks, most, more int }{{100, 200, 28 << 20, 20 << 20}, {500, 2000, 31 << 20, 23 << 20}} {
		t.Run(fmt.Sprintf("%d events and %d tasks", tt.events, tt.tasks), func(t *testing.T) {
			env := NewEnvironment(t, MosquittoOptions{})
			day := time.Now().UTC().Truncate(24 * time.Hour)
			for i := range tt.events {
				begin := day.Add(time.Duration(i) * 4 * time.Hour)
				env.Microsoft.AddEvent(simulator.Adele, "", simulator.Event{Subject: fmt.Sprintf("Meeting %d", i), Start: begin, End: begin.Add(time.Hour), Body: strings.Repeat("<p>agenda</p>", 30)})
			}
			for i := range tt.tasks {
				env.Microsoft.AddTask(simulator.Adele, "", simulator.Task{Title: fmt.Sprintf("Task %d", i), Body: "What is to be done", Due: day.AddDate(0, 0, i%200)})
			}
			access := env.startCalendars(t, "calendar: {type: calendar, on_demand: true}", "tasks: {type: todo, list: defaultList, enable_update: true, on_demand: true}")
			seen := env.Broker.Subscribe(t, "graph2mqtt/#")
			seen.AwaitPayload(t, "graph2mqtt/work/tasks/availability", "online")
			seen.AwaitPayload(t, "graph2mqtt/work/calendar/availability", "online")
			// Soon it gives back what it needed for the start.
			start := residentMemory(t, env.Bridge.pid)
			await(t, "memory is released", func() bool { return residentMemory(t, env.Bridge.pid) < start-5<<20 })
			before, most := residentMemory(t, env.Bridge.pid), 0
			page := strings.TrimSuffix(access.URL, "dav/") + "api/state"
			sizes, took := map[string]int{}, map[string]time.Duration{}
			for range 50 {
				for path, kind := range map[string]string{"work/calendar/": "VEVENT", "work/tasks/": "VTODO"} {
					began := time.Now()
					code, body := access.do(t, "REPORT", path, `<C:calendar-query xmlns:C="urn:ietf:params:xml:ns:caldav" xmlns:D="DAV:"><D:prop><D:getetag/><C:calendar-data/></D:prop><C:filter><C:comp-filter name="VCALENDAR"><C:comp-filter name="`+kind+`"/></C:comp-filter></C:filter></C:calendar-query>`)
					if code != http.StatusMultiStatus {
						t.Fatalf("%s answers %d: %s", path, code, body)
					}
					sizes[path], took[path] = len(body), max(took[path], time.Since(began))
					most = max(most, residentMemory(t, env.Bridge.pid))
				}
				if answer, body := requestPage(t, http.MethodGet, page, ""); answer.StatusCode != http.StatusOK {
					t.Fatalf("the page answers %d: %s", answer.StatusCode, body)
				}
				most = max(most, residentMemory(t, env.Bridge.pid))
			}
			t.Logf("memory %.1f MiB at the start, %.1f MiB before and %.1f MiB at most; answers have %v bytes and take %v at most", float64(start)/(1<<20), float64(before)/(1<<20), float64(most)/(1<<20), sizes, took)
			if most > tt.most || most-before > tt.more {
				t.Errorf("memory: want at most %d bytes, and %d more than before", tt.most, tt.more)
			}
			env.Stop(t)
		})
	}
}

// occurrences returns the ids of the occurrences of a series by their dates, as the bridge lists them.
func (env *Environment) occurrences(t testing.TB, messages *Subscription, series string) map[string]string {
	t.Helper()
	messages.AwaitPayload(t, "graph2mqtt/work/calendar/availability", "online") // it is connected, which CalDAV does not need
	env.Broker.Publish(t, "graph2mqtt/work/calendar/request/list", `{"start": "2027-02-01", "end": "2027-12-01", "search": "Standup"}`)
	const topic = "graph2mqtt/work/calendar/response/list"
	payload := messages.AwaitNewest(t, topic, "has the events", func(payload string) bool { return strings.Contains(payload, `"ok"`) })
	var raw struct {
		Data struct {
			Events []map[string]any
		}
	}
	if err := json.Unmarshal([]byte(payload), &raw); err != nil {
		t.Fatal(err)
	}
	ids := map[string]string{}
	for _, e := range raw.Data.Events {
		ids[fmt.Sprint(e["start"])[:len(time.DateOnly)]] = fmt.Sprint(e["event_id"])
	}
	if len(ids) < 30 {
		t.Fatalf("the series %s has %d occurrences", series, len(ids))
	}
	return ids
}

// testNativeTasks adds, changes, completes, reopens and removes a task in Home Assistant.
func testNativeTasks(t *testing.T, env *Environment, ha *HomeAssistant, messages *Subscription) {
	const list = "todo.work_tasks"
	find := func(title string) (simulator.Task, bool) {
		all := env.Microsoft.Tasks(simulator.Adele, "")
		i := slices.IndexFunc(all, func(task simulator.Task) bool { return task.Title == title })
		if i < 0 {
			return simulator.Task{}, false
		}
		return all[i], true
	}
	// attributes waits until the MQTT sensor of the list shows a condition.
	attributes := func(what string, match func(payload string) bool) {
		t.Helper()
		messages.AwaitNewest(t, "graph2mqtt/work/tasks/attributes", what, match)
	}
	step := func(what, service string, data map[string]any, microsoft func() bool, shown func(map[string]nativeTask) bool, mqtt func(string) bool) {
		t.Helper()
		ha.Service(t, service, list, data)
		await(t, what+" at Microsoft", microsoft)
		await(t, what+" in Home Assistant", func() bool { return shown(ha.tasks(t, list)) })
		attributes(what+" over MQTT", mqtt)
	}
	contains := func(text string) func(string) bool {
		return func(payload string) bool { return strings.Contains(payload, text) }
	}
	lacks := func(text string) func(string) bool {
		return func(payload string) bool { return !strings.Contains(payload, text) }
	}

	step("added", "todo.add_item", map[string]any{"item": "Milk"},
		func() bool { _, ok := find("Milk"); return ok },
		func(all map[string]nativeTask) bool { return all["Milk"].Status == "needs_action" }, contains(`"Milk"`))
	step("renamed", "todo.update_item", map[string]any{"item": "Milk", "rename": "Oat milk"},
		func() bool { _, ok := find("Oat milk"); return ok },
		func(all map[string]nativeTask) bool { return all["Oat milk"].Status == "needs_action" && len(all) == 2 }, contains(`"Oat milk"`))
	step("due", "todo.update_item", map[string]any{"item": "Oat milk", "due_date": "2027-01-02"},
		func() bool {
			task, _ := find("Oat milk")
			return task.Due.Format(time.RFC3339) == "2027-01-01T23:00:00Z"
		},
		func(all map[string]nativeTask) bool { return all["Oat milk"].Due == "2027-01-02" }, contains(`"2027-01-02"`))
	step("described", "todo.update_item", map[string]any{"item": "Oat milk", "description": "Two liters"},
		func() bool { task, _ := find("Oat milk"); return task.Body == "Two liters" },
		func(all map[string]nativeTask) bool { return all["Oat milk"].Description == "Two liters" }, contains("Two liters"))
	step("completed", "todo.update_item", map[string]any{"item": "Oat milk", "status": "completed"},
		func() bool { task, _ := find("Oat milk"); return task.Status == "completed" },
		func(all map[string]nativeTask) bool { return all["Oat milk"].Status == "completed" }, lacks(`"Oat milk"`))
	step("reopened", "todo.update_item", map[string]any{"item": "Oat milk", "status": "needs_action"},
		func() bool { task, _ := find("Oat milk"); return task.Status == "notStarted" },
		func(all map[string]nativeTask) bool { return all["Oat milk"].Status == "needs_action" }, contains(`"Oat milk"`))
	if task, _ := find("Oat milk"); task.Due.Format(time.RFC3339) != "2027-01-01T23:00:00Z" || task.Body != "Two liters" {
		t.Errorf("after it was reopened: %+v", task)
	}
	step("removed", "todo.remove_item", map[string]any{"item": []string{"Oat milk"}},
		func() bool { _, ok := find("Oat milk"); return !ok },
		func(all map[string]nativeTask) bool { _, ok := all["Oat milk"]; return !ok && len(all) == 1 }, lacks(`"Oat milk"`))
	if n := len(env.Microsoft.Tasks(simulator.Adele, "")); n != 1 {
		t.Errorf("%d tasks are left", n)
	}
}
