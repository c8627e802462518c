package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/graph2mqtt/graph2mqtt/internal/migrate"
)

// homes is the directory with the configuration directories that are migrated.
var homes = filepath.Join(top, "internal", "migrate", "testdata")

// Each configuration becomes one that check accepts, and no secret is shown.
func TestMigrate(t *testing.T) {
	h := newHarness(t)
	names, err := os.ReadDir(homes)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		dir := filepath.Join(homes, name.Name())
		code, stdout, stderr := h.call(t, "migrate", dir)
		if code != 0 || stderr != "" {
			t.Errorf("%s: %d, %s", name.Name(), code, stderr)
			continue
		}
		golden(t, filepath.Join("testdata", "migrate_"+name.Name()+".yaml"), stdout)
		for _, secret := range []string{"Zq8~", "a.literal~secret", "Secret~in~an~entry", "Another~secret", "the-password-of-the-broker", "the.boss@"} {
			if strings.Contains(stdout, secret) {
				t.Errorf("%s: the output contains the secret %s…", name.Name(), secret)
			}
		}
		whole := filepath.Join(h.dir, name.Name()+".yaml")
		h.write(t, name.Name()+".yaml", stdout)
		if code, problems, stderr := h.call(t, "check", "--config", whole); code != 0 || problems != "" || stderr != "" {
			t.Errorf("%s: check of the whole output: %d, %s%s", name.Name(), code, problems, stderr)
		}

		// With --write the file has the first part, and the others are printed.
		written := filepath.Join(h.dir, name.Name()+"-written.yaml")
		code, printed, stderr := h.call(t, "migrate", dir, "--write", written)
		text, err := os.ReadFile(written)
		if code != 0 || stderr != "" || err != nil {
			t.Fatalf("%s: %d, %s, %v", name.Name(), code, stderr, err)
		}
		_, rest, _ := strings.Cut(printed, "\n\n")
		var commented strings.Builder
		for line := range strings.Lines(rest) {
			commented.WriteString(strings.TrimRight("# "+strings.TrimSuffix(line, "\n"), " ") + "\n")
		}
		if string(text)+"\n"+commented.String() != stdout {
			t.Errorf("%s: file and output together differ from the output without --write:\n%s\n%s", name.Name(), text, printed)
		}
		if code, problems, stderr := h.call(t, "check", "--config", written); code != 0 || problems != "" || stderr != "" {
			t.Errorf("%s: check of the file: %d, %s%s", name.Name(), code, problems, stderr)
		}
		code, printed, stderr = h.call(t, "migrate", dir, "--write", written)
		if want := "graph2mqtt: --write: " + written + " exists and is not changed\n"; code != 1 || printed != "" || stderr != want {
			t.Errorf("%s: a second time: %d, %q, %q", name.Name(), code, printed, stderr)
		}
		if again, err := os.ReadFile(written); err != nil || string(again) != string(text) {
			t.Errorf("%s: the file was overwritten: %v", name.Name(), err)
		}
	}
}

func TestMigrateRefuses(t *testing.T) {
	h := newHarness(t)
	h.write(t, "file", "x")
	if err := os.Mkdir(filepath.Join(h.dir, "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	at := func(name string) string { return filepath.Join(h.dir, name) }
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{nil, 1, "want the configuration directory of Home Assistant, the one with configuration.yaml"},
		{[]string{at("missing")}, 1, at("missing") + " does not exist: want the configuration directory of Home Assistant"},
		{[]string{at("file")}, 1, at("file") + " is a file: want the configuration directory of Home Assistant"},
		{[]string{at("empty")}, 1, at("empty") + " has no configuration.yaml: want the configuration directory of Home Assistant"},
		{[]string{filepath.Join(homes, "o365"), "--write", at("file/x.yaml")}, 2, "--write: write the configuration: mkdir " + at("file") + ": not a directory"},
	} {
		code, stdout, stderr := h.call(t, append([]string{"migrate"}, c.args...)...)
		if code != c.code || stdout != "" || stderr != "graph2mqtt: "+c.want+"\n" {
			t.Errorf("%v: %d, %q, %q, want %q", c.args, code, stdout, stderr, c.want)
		}
	}
}

// Whatever a configuration has in it, the new one is valid.
func TestMigrateOddValues(t *testing.T) {
	const registration = "client_id: 0f1e2d3c-4b5a-4968-8776-655443322110, client_secret: x"
	long := strings.Repeat("Very long name ", 20)
	account := func(options string) string {
		return "o365: {accounts: [{account_name: ann, " + registration + options + "}]}\n"
	}
	entries := func(data, options string) string {
		const client = `"client_id": "0f1e2d3c-4b5a-4968-8776-655443322110", "client_secret": "x", `
		return `{"data": {"entries": [{"entry_id": "1", "domain": "ms365_calendar", "data": {` + client + data + `}, "options": {` + options + `}}, ` +
			`{"entry_id": "2", "domain": "ms365_mail", "data": {` + client + data + `}, "options": {` + options + `}}, ` +
			`{"entry_id": "3", "domain": "ms365_teams", "data": {` + client + data + `}, "options": {` + options + `}}, ` +
			`{"entry_id": "4", "domain": "ms365_todo", "data": {` + client + data + `}, "options": {` + options + `}}]}}`
	}
	for what, files := range map[string]map[string]string{
		"names": {"configuration.yaml": "o365: {accounts: [{account_name: bridge, " + registration + "}, {account_name: '日本', " + registration + "}, {account_name: '" + long + "', " + registration +
			", email_sensor: [{name: 'true'}, {name: 'null'}, {name: '1e3'}, {name: '0x1'}, {name: '日本'}, {name: status}, {name: STATUS}, {name: '" + long + "'}, {name: \"a\\nb: c\"}]}]}\n"},
		"numbers": {"configuration.yaml": account(", query_sensors: [{name: a, max_items: 0}, {name: b, max_items: -5}, {name: c, max_items: '7'}, {name: d, max_items: 99999999}]")},
		"texts": {"configuration.yaml": account(", query_sensors: [{name: a, folder: '/', subject_is: x, subject_contains: y}, {name: b, folder: 'A//B'}, {name: c, folder: ' Inbox '}, " +
			"{name: d, from: 'Ann <ann@contoso.example>'}, {name: e, importance: medium}, {name: f, subject_contains: ''}, {name: g, folder: 12, html_body: 1, show_body: 1}]")},
		"people":          {"configuration.yaml": account(", shared_mailbox: 'not an address', status_sensors: [{name: a, email: ann}, {name: b, email: ''}, {name: c, enable_update: true, email: ann@contoso.example}]")},
		"a mailbox by id": {"configuration.yaml": account(", shared_mailbox: 0f1e2d3c-4b5a-4968-8776-655443322111, basic_calendar: true, enable_update: true, email_sensor: [{name: a}]")},
		"calendars": {
			"configuration.yaml": account(", basic_calendar: true, enable_update: true"),
			"o365_calendars_ann.yaml": "- {cal_id: 'all', entities: [{device_id: a, start_offset: -99999, end_offset: 99999, max_results: -1, exclude: ['(', '', '(?i)x'], sensitivity_exclude: [x, Private, private]}," +
				" {device_id: a, search: \"x\\ty\"}, {device_id: A}, {device_id: state, exclude: x}]}\n- {cal_id: 'group:', entities: [{device_id: b}]}\n- {cal_id: 'group:all', entities: [{device_id: c}]}\n- {cal_id: 12, entities: [{device_id: 12, name: 12}]}\n",
		},
		"tasks": {
			"configuration.yaml":  account(", todo_sensors: {enabled: true}"),
			"o365_tasks_ann.yaml": "- {task_list_id: all, name: all, due_start_offset: 5, due_end_offset: 1}\n- {task_list_id: x, name: x, due_start_offset: -999999, due_end_offset: 999999}\n- {task_list_id: x, name: y}\n",
		},
		"entries": {".storage/core.config_entries": entries(`"entity_name": "ann", "enable_update": true, "basic_calendar": true, "shared_mailbox": "x", "alternate_email": "x", "status_enable": "Update", "chat_enable": "x",`+
			`"api_options": {"country": "x", "tenant_id": "not a tenant"}`, `"update_interval": 1, "max_todos": 99999, "max_items": 1000, "importance": "x", "is_unread": false, "folder": null`)},
		"other entries": {".storage/core.config_entries": entries(`"entity_name": "ann", "api_options": {"country": "MS365 GCC", "tenant_id": "consumers"}, "status_enable": "Read"`,
			`"update_interval": 99999999, "advanced_options": {"update_interval": 99999999}, "track_new": false`)},
		"a broker":       {".storage/core.config_entries": `{"data": {"entries": [{"domain": "mqtt", "data": {"broker": "::1", "port": 70000}}, {"domain": "ms365_todo", "data": {"entity_name": "a", "client_id": "x"}}]}}`},
		"another broker": {".storage/core.config_entries": `{"data": {"entries": [{"domain": "mqtt", "data": {"broker": "a b", "port": "1884", "discovery_prefix": "a/#"}}, {"domain": "ms365_todo", "data": {"entity_name": "a", "client_id": 7}}]}}`},
	} {
		t.Run(what, func(t *testing.T) {
			h := newHarness(t)
			for name, text := range files {
				if err := os.MkdirAll(filepath.Join(h.dir, "home", filepath.Dir(name)), 0o755); err != nil {
					t.Fatal(err)
				}
				h.write(t, filepath.Join("home", name), text)
			}
			code, stdout, stderr := h.call(t, "migrate", filepath.Join(h.dir, "home"))
			if code != 0 || stderr != "" {
				t.Fatalf("%d, %s", code, stderr)
			}
			h.write(t, "new.yaml", strings.ReplaceAll(stdout, migrate.Placeholder, "0f1e2d3c-4b5a-4968-8776-655443322110"))
			if code, problems, stderr := h.call(t, "check", "--config", filepath.Join(h.dir, "new.yaml")); code != 0 {
				t.Errorf("%s%s\n%s", problems, stderr, stdout)
			}
		})
	}
}
