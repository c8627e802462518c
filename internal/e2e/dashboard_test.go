//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"github.com/graph2mqtt/graph2mqtt/internal/dashboard"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

// dashboardOf returns the view that the program prints for an account.
func dashboardOf(t testing.TB, p *Program, args ...string) dashboard.View {
	t.Helper()
	code, stdout, stderr := p.Run(t, append([]string{"dashboard", "--json"}, args...)...)
	if code != 0 || stderr != "" {
		t.Fatalf("dashboard ended with %d:\n%s", code, stderr)
	}
	var v dashboard.View
	if err := json.Unmarshal([]byte(stdout), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// AddDashboard adds a dashboard with one view and returns the path of the view.
func (ha *HomeAssistant) AddDashboard(t testing.TB, v dashboard.View) string {
	t.Helper()
	const path = "graph2mqtt-test" // it needs a hyphen
	ha.Call(t, "lovelace/dashboards/create", map[string]any{
		"url_path": path, "title": "Microsoft 365", "icon": v.Icon, "mode": "storage", "require_admin": false, "show_in_sidebar": true,
	}, nil)
	ha.Call(t, "lovelace/config/save", map[string]any{"url_path": path, "config": map[string]any{"views": []any{v}}}, nil)
	return "/" + path + "/" + v.Path
}

// awaitView waits until every section of a view is shown and every list has its text.
func (b *Browser) awaitView(t testing.TB, v dashboard.View) {
	t.Helper()
	var headings []string
	lists := 0
	for _, s := range v.Sections {
		headings = append(headings, s.Cards[0].Heading)
		for _, c := range s.Cards {
			if c.Type == "markdown" && c.Visibility == nil {
				lists++
			}
		}
	}
	b.Await(t, "the view", fmt.Sprintf("(page => page.lists >= %d && %s.every(h => page.text.includes(h)))(%s)", lists, encode(t, headings), pageScript))
}

// TestDashboard shows the view that the program prints: each entity exists, and no card reports an error.
func TestDashboard(t *testing.T) {
	EachHomeAssistant(t, func(t *testing.T, ha *HomeAssistant) {
		env := NewEnvironment(t, MosquittoOptions{})
		ha.AddBroker(t, env.Broker)
		const odd = `<b>x</b> [y](http://127.0.0.1:1/) ![z](http://127.0.0.1:1/z.png)`
		env.Microsoft.AddTask(simulator.Adele, "", simulator.Task{Title: odd})
		env.Microsoft.DeliverMail(simulator.Adele, simulator.Mail{Subject: odd, From: simulator.Megan, FromName: "Megan Bowen"})
		env.Microsoft.AddTodoList(simulator.Adele, "Shopping")
		env.Configure(t, []string{"enable_update: true"},
			"calendar: {type: calendar}", "out_of_office: {type: auto_reply}", "presence: {type: status, enable_update: true}", "mail: {type: email}",
			"high: {type: query, importance: high}", "planner: {type: planner}", "todo: {type: todo}", "chats: {type: chat}")
		env.SignIn(t)
		env.Start(t)
		ha.AwaitState(t, "sensor.work_todo_tasks_open", "1")
		ha.AwaitState(t, "sensor.work_mail_matching", "1")
		v := dashboardOf(t, env.Program, "work")
		entities := v.Entities()
		for _, id := range entities {
			ha.AwaitEntity(t, id, "exists", func(State) bool { return true })
		}
		for _, want := range []string{"sensor.work_todo_tasks_open", "sensor.work_todo_shopping_open", "select.work_presence_preferred", "switch.work_out_of_office_enabled"} {
			if !slices.Contains(entities, want) {
				t.Errorf("the view lacks %s", want)
			}
		}

		b := StartBrowser(t)
		b.SignIn(t, ha)
		b.Show(t, Screen{Width: 1280, Height: 1000, Scale: 1})
		path := ha.AddDashboard(t, v)
		b.Do(t, chromedp.Navigate(ha.URL+path))
		b.awaitView(t, v)
		// Markup in a subject is shown as it is: in the list of mails and in that of tasks.
		b.Await(t, "the odd subjects", fmt.Sprintf("%s.text.split(%s).length == 3", pageScript, encode(t, odd)))
		for _, e := range b.Page(t).Errors {
			t.Errorf("a card reports: %s", e)
		}
		// The check notices what it is for.
		v.Sections = append(v.Sections, dashboard.Section{Type: "grid", Cards: []dashboard.Card{{Type: "heading", Heading: "Broken"}, {Type: "tile", Entity: "sensor.missing"}}})
		ha.Call(t, "lovelace/config/save", map[string]any{"url_path": strings.Split(path, "/")[1], "config": map[string]any{"views": []any{v}}}, nil)
		b.Do(t, chromedp.Navigate(ha.URL+path))
		b.awaitView(t, v)
		b.Await(t, "the error of a card", pageScript+".errors.length > 0")
		ha.CheckLog(t)
	})
}

// SetZone restarts Home Assistant in the time zone in which it is this hour.
func (ha *HomeAssistant) SetZone(t testing.TB, hour int) {
	t.Helper()
	if code := ha.Stop(t); code != 0 {
		t.Errorf("Home Assistant ended with %d", code)
	}
	file := filepath.Join(ha.Dir, "configuration.yaml")
	configuration, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	ahead := (hour-time.Now().UTC().Hour()+36)%24 - 12
	zone := fmt.Sprintf("Etc/GMT%+d", -ahead) // the sign of these names is reversed
	writeFile(t, file, strings.Replace(string(configuration), "Europe/Berlin", zone, 1))
	ha.Start(t)
}

var pictures = flag.String("pictures", "", "the `directory` that TestPictures writes the pictures of the documentation to, instead of a temporary one")

// TestPictures photographs the demo's dashboard in a real Home Assistant, light and dark, on a desktop and on a phone.
func TestPictures(t *testing.T) {
	t.Parallel()
	dir := *pictures
	if dir == "" {
		dir = t.TempDir()
	}
	all := installations(t)
	ha := StartHomeAssistant(t, all[len(all)-1])
	ha.SetZone(t, 9)
	broker := StartMosquitto(t, MosquittoOptions{})
	ha.AddBroker(t, broker)
	p := NewProgram(t, "")
	demo := p.Start(t, "demo", "--mqtt", broker.URL)
	_, file, _ := strings.Cut(strings.TrimSpace(demo.AwaitLine(t, "  configuration ")), " ")
	ha.AwaitState(t, "sensor.demo_mail_unread", "2") // the first mail of the scenario has arrived
	v := dashboardOf(t, p, "demo", "--config", strings.TrimSpace(file))
	path := ha.AddDashboard(t, v)
	b := StartBrowser(t)
	b.SignIn(t, ha)
	desktop, phone := Screen{Width: 1280, Height: 960, Scale: 1}, Screen{Width: 390, Height: 844, Scale: 2, Mobile: true}
	b.Show(t, desktop)
	b.Do(t, chromedp.Navigate(ha.URL+path))
	b.awaitView(t, v)
	ha.AwaitState(t, "binary_sensor.demo_calendar_busy", "on")
	ha.AwaitState(t, "sensor.demo_presence_activity", "InAMeeting")
	for _, name := range []string{"desktop", "phone"} {
		screen := map[string]Screen{"desktop": desktop, "phone": phone}[name]
		for _, scheme := range []string{"light", "dark"} {
			screen.Dark = scheme == "dark"
			b.Show(t, screen)
			b.awaitView(t, v)
			picture := b.StillPicture(t, page.CaptureScreenshotFormatWebp)
			if !bytes.HasPrefix(picture, []byte("RIFF")) || len(picture) < 10_000 {
				t.Errorf("the picture on a %s with a %s scheme has %d bytes and is empty or not WebP", name, scheme, len(picture))
			}
			if err := os.WriteFile(filepath.Join(dir, "dashboard-"+name+"-"+scheme+".webp"), picture, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	if code := demo.Stop(t); code != 0 {
		t.Errorf("the demo ended with %d:\n%s", code, demo.Stderr())
	}
}
