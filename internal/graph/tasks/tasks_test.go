package tasks_test

import (
	"encoding/json"
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/tasks"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func writer(t testing.TB, s *simulator.Simulator) *graph.Client {
	return graphtest.Client(t, s, simulator.Adele, "Tasks.ReadWrite")
}

func defaultList(t testing.TB, s *simulator.Simulator) string {
	t.Helper()
	return must[tasks.Info](t)(tasks.Lookup(t.Context(), writer(t, s), "defaultList")).ID
}

// Dates survive the way to Graph and back in each zone, on every day of a year with both changes of the clocks.
func TestDueDatesOfOwnZone(t *testing.T) {
	for _, name := range []string{"Pacific/Honolulu", "Pacific/Kiritimati", "Europe/Berlin", "America/New_York", "Pacific/Auckland", "America/Santiago", "Africa/Cairo"} {
		loc := graphtest.Zone(t, name)
		for day := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC); day.Year() == 2026; day = day.AddDate(0, 0, 1) {
			y, m, d := day.Date()
			midnight := time.Date(y, m, d, 0, 0, 0, 0, loc)
			if got, want := (tasks.Task{Due: midnight.UTC()}).DueDate(loc), day.Format(time.DateOnly); got != want {
				t.Errorf("%s: %s, want %s", name, got, want)
			}
		}
	}
}

// Dates of others are right if their clocks are less than 12 hours away.
func TestDueDatesOfOtherZones(t *testing.T) {
	for _, tt := range [][2]string{
		{"America/New_York", "Europe/Berlin"}, {"Pacific/Auckland", "Europe/Berlin"}, {"UTC", "Pacific/Kiritimati"}, {"UTC", "Pacific/Honolulu"},
		{"Europe/Berlin", "America/New_York"}, {"Asia/Tokyo", "Pacific/Auckland"}, {"America/New_York", "Pacific/Honolulu"},
	} {
		author, reader := graphtest.Zone(t, tt[0]), graphtest.Zone(t, tt[1])
		for day := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC); day.Year() == 2026; day = day.AddDate(0, 0, 1) {
			y, m, d := day.Date()
			if got, want := (tasks.Task{Due: time.Date(y, m, d, 0, 0, 0, 0, author)}).DueDate(reader), day.Format(time.DateOnly); got != want {
				t.Errorf("from %s in %s: %s, want %s", tt[0], tt[1], got, want)
			}
		}
	}
	// Zones 24 hours apart have the same midnights, so that nothing tells which day was meant.
	honolulu, kiritimati := graphtest.Zone(t, "Pacific/Honolulu"), graphtest.Zone(t, "Pacific/Kiritimati")
	tenth := tasks.Task{Due: time.Date(2026, 6, 10, 0, 0, 0, 0, honolulu)}
	if got := tenth.DueDate(kiritimati); got != "2026-06-11" {
		t.Errorf("from Honolulu in Kiritimati: %s", got)
	}
}

// A date that is written is the same for the account, in the zone that it is written in and in UTC, in the simulator as at Graph.
func TestWrittenDueDates(t *testing.T) {
	for _, name := range []string{"Pacific/Honolulu", "Pacific/Kiritimati", "Europe/Berlin", "America/New_York", "Pacific/Auckland", "Antarctica/Troll"} {
		loc := graphtest.Zone(t, name)
		s := simulator.Contoso(simulator.Options{})
		list, g := defaultList(t, s), writer(t, s)
		for _, date := range []string{"2026-03-08", "2026-03-29", "2026-04-05", "2026-09-27", "2026-10-25", "2026-11-01", "2027-01-15"} {
			due, err := time.ParseInLocation(time.DateOnly, date, loc)
			if err != nil {
				t.Fatal(err)
			}
			reminder := due.Add(8 * time.Hour)
			created := must[tasks.Changed](t)(tasks.Create(t.Context(), g, list, tasks.Fields{Subject: new(date), Due: &due, Reminder: &reminder}, "k"))
			if !created.Reminder.Equal(reminder) {
				t.Errorf("%s: reminder at %s, want %s", name, created.Reminder, reminder)
			}
			if got := created.DueDate(loc); got != date {
				t.Errorf("%s: %s, want %s", name, got, date)
			}
			if read := must[tasks.Task](t)(tasks.Get(t.Context(), g, list, created.ID)); read.DueDate(loc) != date {
				t.Errorf("%s: read %s, want %s", name, read.DueDate(loc), date)
			}
		}
	}
}

// Whatever an answer lacks, the rest is shown or the answer is refused as a whole.
func TestDamagedAnswers(t *testing.T) {
	document, err := os.ReadFile("testdata/tasks.json")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	graphtest.Damaged(t, document, func(name string, document []byte) {
		n++
		g, err := graph.New(graph.Options{Root: "https://graph.microsoft.com", Transport: graphtest.JSON(string(document)), Tokens: graphtest.Tokens{Scopes: []string{"Tasks.Read"}}})
		if err != nil {
			t.Fatal(err)
		}
		all, err := tasks.All(t.Context(), g, "list")
		var e *graph.Error
		switch {
		case err != nil && !errors.As(err, &e):
			t.Errorf("%s: %v", name, err)
		case err == nil && len(all) != 2:
			t.Errorf("%s: %d tasks", name, len(all))
		}
		for _, task := range all {
			b, err := json.Marshal(task.Item(time.UTC))
			if err != nil || strings.Contains(string(b), "0001-01-01") {
				t.Errorf("%s: %s, %v", name, b, err)
			}
		}
	})
	if n < 50 {
		t.Errorf("%d variants", n)
	}
}

// One time that cannot be read hides neither its task nor the others.
func TestUnreadableTimes(t *testing.T) {
	document, err := os.ReadFile("testdata/tasks.json")
	if err != nil {
		t.Fatal(err)
	}
	times := regexp.MustCompile(`"(\w+DateTime|dateTime)": "[^"]*"`)
	for _, value := range []string{"", "soon", "2026-01-08", "0000-00-00T00:00:00Z"} {
		damaged := times.ReplaceAllString(string(document), `"$1": "`+value+`"`)
		g, err := graph.New(graph.Options{Root: "https://graph.microsoft.com", Transport: graphtest.JSON(damaged), Tokens: graphtest.Tokens{Scopes: []string{"Tasks.Read"}}})
		if err != nil {
			t.Fatal(err)
		}
		if all, err := tasks.All(t.Context(), g, "list"); err != nil || len(all) != 2 {
			t.Errorf("%q: %d tasks, %v", value, len(all), err)
		}
	}
}

func TestProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simulator.Contoso(simulator.Options{Now: time.Now})
		list, g := defaultList(t, s), writer(t, s)
		probe := func() graph.Probe { return must[graph.Probe](t)(tasks.ReadProbe(t.Context(), g, list)) }
		last := probe()
		changed := func(what string) {
			t.Helper()
			next := probe()
			if last.Equal(next) {
				t.Errorf("%s: the same probe", what)
			}
			if last = next; !last.Equal(probe()) {
				t.Errorf("%s: two probes differ", what)
			}
			time.Sleep(time.Second)
		}
		s.AddTask(simulator.Adele, "", simulator.Task{Title: "a"})
		s.AddTask(simulator.Adele, "", simulator.Task{Title: "b"})
		changed("added")
		if err := s.ChangeTask(simulator.Adele, "a", map[string]any{"importance": "high"}); err != nil {
			t.Fatal(err)
		}
		changed("changed")
		s.RemoveTask(simulator.Adele, "b")
		changed("deleted")
	})
}

// A list is named by its id, its name in any case, or what To Do calls it.
func TestLookup(t *testing.T) {
	s := simulator.Contoso(simulator.Options{})
	g := writer(t, s)
	a, b := s.AddTodoList(simulator.Adele, "Home"), s.AddTodoList(simulator.Adele, "home")
	s.AddTodoList(simulator.Adele, "Twice")
	s.AddTodoList(simulator.Adele, "Twice")
	for name, want := range map[string]string{a.ID: a.ID, "Home": a.ID, "home": b.ID, "defaultlist": s.TodoLists(simulator.Adele)[0].ID, "tasks": s.TodoLists(simulator.Adele)[0].ID} {
		if got, err := tasks.Lookup(t.Context(), g, name); err != nil || got.ID != want {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	for name, want := range map[string]string{"HOME": "2 task lists are named HOME; want the id of one of them", "Twice": "2 task lists are named Twice", "x": "there is no task list x; there are: Flagged Emails, Home"} {
		if _, err := tasks.Lookup(t.Context(), g, name); !graph.Is(err, graph.NotFound) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Created finds the task with its key only, also where Graph refuses to filter.
func TestCreated(t *testing.T) {
	for name, o := range map[string]simulator.TodoOptions{"filter": {}, "no filter": {NoDateFilter: true}} {
		s := simulator.Contoso(simulator.Options{})
		s.SetTodoOptions(simulator.Adele, o)
		list, g := defaultList(t, s), writer(t, s)
		for _, key := range []string{"1", "2", "3"} {
			must[tasks.Changed](t)(tasks.Create(t.Context(), g, list, tasks.Fields{Subject: new("same")}, key))
		}
		found, ok, err := tasks.Created(t.Context(), g, list, "2", time.Now().Add(-time.Minute))
		if want := s.Tasks(simulator.Adele, "")[1].ID; err != nil || !ok || found.ID != want {
			t.Errorf("%s: %v, %t, %v", name, found, ok, err)
		}
		if _, ok, err := tasks.Created(t.Context(), g, list, "4", time.Now().Add(-time.Minute)); err != nil || ok {
			t.Errorf("%s: found %t, %v", name, ok, err)
		}
	}
}

// Only what is given is sent, and what is to be removed as null.
func TestUpdateSendsOnlyWhatIsGiven(t *testing.T) {
	s := simulator.Contoso(simulator.Options{})
	list, g := defaultList(t, s), writer(t, s)
	task := s.AddTask(simulator.Adele, "", simulator.Task{Title: "a", Due: time.Now(), Reminder: time.Now()})
	berlin := graphtest.Zone(t, "Europe/Berlin")
	due := time.Date(2026, 12, 1, 0, 0, 0, 0, berlin)
	at := due.Add(8 * time.Hour)
	for want, f := range map[string]tasks.Fields{
		`{"title":"b"}`: {Subject: new("b")},
		`{"body":{"content":"n","contentType":"text"}}`:  {Description: new("n")},
		`{"dueDateTime":null}`:                           {Due: new(time.Time)},
		`{"isReminderOn":false,"reminderDateTime":null}`: {Reminder: new(time.Time)},
		`{"dueDateTime":{"dateTime":"2026-12-01T00:00:00.0000000","timeZone":"W. Europe Standard Time"}}`:                          {Due: &due},
		`{"isReminderOn":true,"reminderDateTime":{"dateTime":"2026-12-01T08:00:00.0000000","timeZone":"W. Europe Standard Time"}}`: {Reminder: &at},
		`{"categories":[]}`:       {Categories: new([]string{})},
		`{"importance":"high"}`:   {Importance: new("high")},
		`{"status":"inProgress"}`: {Status: new("inProgress")},
	} {
		s.ForgetRequests()
		must[tasks.Changed](t)(tasks.Update(t.Context(), g, list, task.ID, f))
		var got, wanted any
		sent := s.Requests()
		if err := errors.Join(json.Unmarshal([]byte(sent[len(sent)-1].Body), &got), json.Unmarshal([]byte(want), &wanted)); err != nil {
			t.Fatal(err)
		}
		if o, ok := got.(map[string]any); ok {
			delete(o, "@odata.type")
		}
		if diff := cmp.Diff(wanted, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", want, diff)
		}
	}
	if after := s.Tasks(simulator.Adele, "")[0]; !after.Due.Equal(due) && !after.Due.IsZero() {
		t.Errorf("due %s", after.Due)
	}
}

// The examples of Microsoft's reference are read as they are.
func TestDocumentedTasks(t *testing.T) {
	b, err := os.ReadFile("../testdata/examples/todo.json")
	if err != nil {
		t.Fatal(err)
	}
	var examples []struct {
		Method, URL  string
		ResponseBody json.RawMessage
	}
	if err := json.Unmarshal(b, &examples); err != nil {
		t.Fatal(err)
	}
	berlin, lists, all, deltas := graphtest.Zone(t, "Europe/Berlin"), 0, 0, 0
	for _, e := range examples {
		if e.Method != "GET" {
			continue
		}
		g, err := graph.New(graph.Options{Root: "https://graph.microsoft.com", Transport: graphtest.JSON(string(e.ResponseBody)), Tokens: graphtest.Tokens{Scopes: []string{"Tasks.Read"}}})
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case strings.HasSuffix(e.URL, "/todo/lists"):
			lists++
			if got := must[[]tasks.Info](t)(tasks.Lists(t.Context(), g)); len(got) != 2 || !got[0].BuiltIn() || got[1].BuiltIn() {
				t.Errorf("lists %v", got)
			}
		case strings.HasSuffix(e.URL, "/tasks"):
			all++
			if got := must[[]tasks.Task](t)(tasks.All(t.Context(), g, "list")); len(got) == 0 || got[0].Subject == "" || got[0].Created.IsZero() {
				t.Errorf("tasks %v", got)
			}
		case strings.Contains(e.URL, "/tasks/delta"):
			deltas++
			if got := must[graph.DeltaChanges[tasks.Task]](t)(tasks.Changes(t.Context(), g, "list", "")); len(got.Changed) == 0 || got.Link == "" {
				t.Errorf("changes %v", got)
			}
		case strings.Contains(e.URL, "/tasks/") && !strings.Contains(e.URL, "/attachments") && !strings.Contains(e.URL, "/checklistItems") && !strings.Contains(e.URL, "/linkedResources"):
			if got := must[tasks.Task](t)(tasks.Get(t.Context(), g, "list", "task")); got.DueDate(berlin) != "2020-08-25" && got.DueDate(berlin) != "" {
				t.Errorf("due %s", got.DueDate(berlin))
			}
		}
	}
	if lists != 1 || all != 1 || deltas != 1 {
		t.Errorf("%d, %d and %d examples", lists, all, deltas)
	}
}
