package migrate_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/migrate"
)

// home writes the files of a configuration directory and returns it.
func home(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const (
	client  = "client_id: 0f1e2d3c-4b5a-4968-8776-655443322110, client_secret: x"
	entries = ".storage/core.config_entries"
)

// account returns a configuration.yaml with one account of O365.
func account(options string) string {
	return "o365:\n  accounts:\n    - {account_name: ann, " + client + options + "}\n"
}

// utf16Text returns a text in UTF-16 with a byte order mark.
func utf16Text(text string) string {
	var b strings.Builder
	for _, unit := range append([]uint16{0xfeff}, utf16.Encode([]rune(text))...) {
		b.WriteByte(byte(unit))
		b.WriteByte(byte(unit >> 8))
	}
	return b.String()
}

func TestReadRefuses(t *testing.T) {
	for _, c := range []struct {
		what  string
		files map[string]string
		want  string // DIR is the directory
	}{
		{"an empty directory", nil, "DIR has no configuration.yaml: want the configuration directory of Home Assistant"},
		{"nothing of O365", map[string]string{"configuration.yaml": "default_config:\n"},
			"DIR has neither O365 nor MS365: want the key o365 in configuration.yaml, or entries of ms365_calendar, ms365_mail, ms365_teams or ms365_todo in .storage/core.config_entries"},
		{"an empty file", map[string]string{"configuration.yaml": "# nothing\n"}, "DIR has neither O365 nor MS365: want the key o365 in configuration.yaml, or entries of ms365_calendar, ms365_mail, ms365_teams or ms365_todo in .storage/core.config_entries"},
		{"garbage", map[string]string{"configuration.yaml": "a: [1\nb: }"}, "configuration.yaml: want YAML: line 1: did not find expected ',' or ']'"},
		{"a text", map[string]string{"configuration.yaml": "text\n"}, "configuration.yaml (line 1): want a mapping"},
		{"UTF-16", map[string]string{"configuration.yaml": utf16Text("o365:\n")}, "configuration.yaml: want UTF-8 text, not UTF-16; save it as UTF-8"},
		{"Windows-1252", map[string]string{"configuration.yaml": "# x\nname: B\xfcro\n"},
			"configuration.yaml (line 2): want UTF-8 text; this line is in another encoding, such as Windows-1252; save the file as UTF-8"},
		{"binary data", map[string]string{"configuration.yaml": "a\x00b"}, "configuration.yaml: want UTF-8 text, not binary data"},
		{"a directory in its place", map[string]string{"configuration.yaml/x": ""}, "configuration.yaml is a directory"},
		{"another type", map[string]string{"configuration.yaml": "o365: [1]\n"}, "configuration.yaml (line 1): o365: want a mapping, not a list"},
		{"no accounts", map[string]string{"configuration.yaml": "o365:\n  x: 1\n"}, "configuration.yaml (line 2): o365: accounts is missing"},
		{"accounts of another type", map[string]string{"configuration.yaml": "o365:\n  accounts: secret-text\n"}, "configuration.yaml (line 2): o365.accounts: want a list, not a text"},
		{"an account of another type", map[string]string{"configuration.yaml": "o365:\n  accounts: [secret-text]\n"}, "configuration.yaml (line 2): o365.accounts: want a mapping, not a text"},
		{"an account without a name", map[string]string{"configuration.yaml": "o365:\n  accounts:\n    - {" + client + "}\n"}, "configuration.yaml (line 3): o365.accounts: account_name is missing"},
		{"no client id", map[string]string{"configuration.yaml": "o365:\n  accounts:\n    - account_name: ann\n"}, "configuration.yaml (line 3): client_id is missing"},
		{"wrong values, all at once", map[string]string{"configuration.yaml": account(", enable_update: perhaps, email_sensor: [{max_items: 1}, {name: a, max_items: many}], todo_sensors: yes")},
			"configuration.yaml (line 3): enable_update: want true or false, not a text\n" +
				"configuration.yaml (line 3): email_sensor: name is missing\n" +
				"configuration.yaml (line 3): max_items: want a whole number, not a text\n" +
				"configuration.yaml (line 3): todo_sensors: want a mapping, not a text"},
		{"a secret in place of a number", map[string]string{"configuration.yaml": "o365:\n  accounts:\n    - account_name: ann\n      client_id: !secret a\n      enable_update: !secret b\n"},
			"configuration.yaml (line 5): enable_update: want true or false, not a secret"},
		{"a missing include", map[string]string{"configuration.yaml": "o365: !include o365.yaml\n"}, "configuration.yaml (line 1): o365.yaml does not exist"},
		{"a damaged include", map[string]string{"configuration.yaml": "o365: !include o365.yaml\n", "o365.yaml": "a: b: c\n"}, "o365.yaml: want YAML: mapping values are not allowed in this context"},
		{"a missing directory", map[string]string{"configuration.yaml": "homeassistant:\n  packages: !include_dir_named packages\n"}, "configuration.yaml (line 2): packages: no such file or directory"},
		{"an include of itself", map[string]string{"configuration.yaml": "o365: !include o365.yaml\n", "o365.yaml": "accounts: !include o365.yaml\n"},
			"o365.yaml (line 1): includes or aliases are nested more than 50 deep: one of them contains itself\no365.yaml (line 1): o365.accounts: want a list, not a mapping"},
		{"an alias that contains itself", map[string]string{"configuration.yaml": "o365: &a\n  accounts: *a\n"},
			"configuration.yaml (line 2): includes or aliases are nested more than 50 deep: one of them contains itself\nconfiguration.yaml (line 1): o365.accounts: want a list, not a mapping"},
		{"an unknown tag", map[string]string{"configuration.yaml": "o365:\n  accounts: !inlcude x.yaml\n"},
			"configuration.yaml (line 2): unknown tag !inlcude; known tags: !secret, !env_var, !include, !include_dir_list, !include_dir_merge_list, !include_dir_named, !include_dir_merge_named"},
		{"a calendar without an id", map[string]string{"configuration.yaml": account(""), "o365_storage/o365_calendars_ann.yaml": "- entities: []\n- cal_id: x\n  entities: [{name: a}]\n"},
			"o365_storage/o365_calendars_ann.yaml (line 1): cal_id is missing\no365_storage/o365_calendars_ann.yaml (line 3): device_id is missing"},
		{"a list of another type", map[string]string{"configuration.yaml": account(", todo_sensors: {enabled: true}"), "o365_tasks_ann.yaml": "a: b\n"},
			"o365_tasks_ann.yaml (line 1): o365_tasks_ann.yaml: want a list, not a mapping"},
		{"damaged entries", map[string]string{entries: "{\n\"data\": {\n"}, ".storage/core.config_entries (line 3): want JSON as Home Assistant writes it; the file is damaged"},
		{"other entries", map[string]string{entries: `{"data": {"entries": {}}}`}, ".storage/core.config_entries: want JSON as Home Assistant writes it; the file has other fields"},
		{"no entries", map[string]string{entries: `[]`}, ".storage/core.config_entries: want JSON as Home Assistant writes it; the file is damaged"},
		{"an entry without a name", map[string]string{entries: `{"data": {"entries": [{"domain": "ms365_todo", "data": {}}]}}`}, ".storage/core.config_entries: an entry of ms365_todo has no entity_name"},
		{"a damaged registry", map[string]string{"configuration.yaml": account(""), ".storage/core.entity_registry": "x"}, ".storage/core.entity_registry (line 1): want JSON as Home Assistant writes it; the file is damaged"},
	} {
		dir := home(t, c.files)
		_, err := migrate.Read(dir)
		if err == nil {
			t.Errorf("%s is accepted", c.what)
			continue
		}
		got := strings.ReplaceAll(strings.ReplaceAll(err.Error(), filepath.ToSlash(dir), "DIR"), dir, "DIR")
		if diff := cmp.Diff(strings.Split(c.want, "\n"), strings.Split(got, "\n")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.what, diff)
		}
		if strings.Contains(got, "secret-text") {
			t.Errorf("%s: the error has a value in it: %s", c.what, got)
		}
	}
}

// plan returns the new configuration for files.
func plan(t *testing.T, files map[string]string) (*migrate.Plan, string) {
	t.Helper()
	p, err := migrate.Read(home(t, files))
	if err != nil {
		t.Fatal(err)
	}
	return p, p.Configuration()
}

// Home Assistant's ways to split a configuration are followed.
func TestTags(t *testing.T) {
	const list = "- {account_name: ann, " + client + "}\n"
	for what, files := range map[string]map[string]string{
		"!include":                 {"configuration.yaml": "o365: !include a/o365.yaml\n", "a/o365.yaml": "accounts: !include b.yaml\n", "a/b.yaml": list},
		"!include_dir_merge_list":  {"configuration.yaml": "o365:\n  accounts: !include_dir_merge_list a\n", "a/b/c.yaml": list, "a/.hidden.yaml": "x: ["},
		"!include_dir_list":        {"configuration.yaml": "o365:\n  accounts: !include_dir_list a\n", "a/b.yaml": strings.TrimPrefix(list, "- ")},
		"!include_dir_merge_named": {"configuration.yaml": "o365: !include_dir_merge_named a\n", "a/b.yaml": "accounts:\n" + list},
		"!include_dir_named":       {"configuration.yaml": "o365: !include_dir_named a\n", "a/accounts.yaml": list},
		"packages":                 {"configuration.yaml": "homeassistant:\n  auth_providers: !unknown x\n  packages: !include_dir_named a\nsensor: !anything x\n", "a/b.yaml": "o365:\n  accounts:\n  " + strings.ReplaceAll(list, "\n", "\n") + ""},
		"a package in place":       {"configuration.yaml": "homeassistant:\n  packages:\n    office:\n      o365:\n        accounts:\n        " + list},
		"a merge key":              {"configuration.yaml": "o365:\n  accounts:\n    - {<<: &base {" + client + "}, account_name: ann}\n"},
		"a byte order mark":        {"configuration.yaml": "\ufeff" + account("")},
		"CRLF":                     {"configuration.yaml": strings.ReplaceAll(account(""), "\n", "\r\n")},
		"before version 3":         {"configuration.yaml": "o365: {" + client + "}\n"},
		"a secret":                 {"configuration.yaml": "o365: !include a/o365.yaml\n", "a/o365.yaml": "accounts:\n- {account_name: ann, client_id: !secret id, client_secret: !secret s}\n", "secrets.yaml": "id: 0f1e2d3c-4b5a-4968-8776-655443322110\ns: y\n"},
	} {
		_, text := plan(t, files)
		if !strings.Contains(text, "client_id: 0f1e2d3c-4b5a-4968-8776-655443322110\n") {
			t.Errorf("%s:\n%s", what, text)
		}
	}
}

// A value that only secrets.yaml or the environment has is named, not read.
func TestSecretsAreNotRead(t *testing.T) {
	_, text := plan(t, map[string]string{
		"configuration.yaml": "o365:\n  accounts:\n    - account_name: ann\n      client_id: !env_var CLIENT fallback-id\n      client_secret: !env_var SECRET\n" +
			"      shared_mailbox: !secret box\n      email_sensor: [{name: in, folder: !secret folder}]\n      status_sensors: [{name: boss, email: !secret boss}]\n",
		"secrets.yaml": "box: hidden@contoso.example\nfolder: Hidden\nboss: hidden@contoso.example\n",
	})
	if strings.Contains(strings.ToLower(text), "hidden") || strings.Contains(text, "fallback-id") {
		t.Errorf("a secret is shown:\n%s", text)
	}
	for _, want := range []string{`client_id is "CLIENT" in`, `the value of "SECRET" in`, `shared_mailbox is "box" in`, `folder is "folder" in`, `the user of boss is "boss" in`, "client_id: " + migrate.Placeholder} {
		if !strings.Contains(strings.Join(strings.Fields(strings.ReplaceAll(text, "#", "")), " "), want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "type: status") {
		t.Errorf("somebody else's presence became your own:\n%s", text)
	}
}

// A text from the old configuration cannot become anything else in the new one.
func TestTextsAreQuoted(t *testing.T) {
	_, text := plan(t, map[string]string{"configuration.yaml": account(`, query_sensors: [{name: "a: b # c", folder: "x\ny: z", subject_is: "yes", body_contains: "123", importance: "odd\nx: y"}]`)})
	for _, want := range []string{"      a_b_c:\n", `        folder: "x\ny: z"`, `        subject_is: "yes"`, `        body_contains: "123"`, `# importance: "odd\nx: y" is not one of`} {
		if !strings.Contains(text, want+"\n") && !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

// Entries with the same app registration are one person's, unless they cannot be.
func TestPeople(t *testing.T) {
	entry := func(domain, name, more string) string {
		return `{"entry_id": "` + domain + name + `", "domain": "` + domain + `", "disabled_by": null, "data": {"entity_name": "` + name + `", "client_id": "0f1e2d3c-4b5a-4968-8776-655443322110", "client_secret": "x"` + more + `}, "options": {}}`
	}
	for _, c := range []struct {
		what     string
		entries  []string
		accounts []string
	}{
		{"one person", []string{entry("ms365_mail", "inbox", ""), entry("ms365_todo", "tasks", ""), entry("ms365_calendar", "ann", "")}, []string{"ann"}},
		{"two people", []string{entry("ms365_todo", "ann", ""), entry("ms365_todo", "kim", ""), entry("ms365_mail", "kim_inbox", "")}, []string{"ann", "kim"}},
		{"a shared calendar", []string{entry("ms365_calendar", "ann", ""), entry("ms365_calendar", "room", `, "shared_mailbox": "room@contoso.example"`)}, []string{"ann"}},
		{"a colleague", []string{entry("ms365_teams", "ann", `, "status_enable": "Read"`), entry("ms365_teams", "lee", `, "status_enable": "Read", "alternate_email": "lee@contoso.example"`)}, []string{"ann"}},
		{"two tenants", []string{entry("ms365_todo", "ann", ""), entry("ms365_mail", "ann", `, "api_options": {"tenant_id": "contoso.example"}`)}, []string{"ann", "ann_2"}},
		{"a reserved name", []string{entry("ms365_todo", "bridge", "")}, []string{"bridge_2"}},
	} {
		p, _ := plan(t, map[string]string{entries: `{"data": {"entries": [` + strings.Join(c.entries, ",") + `]}}`})
		var got []string
		for _, a := range p.Accounts {
			got = append(got, a.ID)
		}
		if diff := cmp.Diff(c.accounts, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.what, diff)
		}
	}
}

// The same thing in O365 and in MS365 becomes one sensor that replaces both.
func TestSameSensorOnce(t *testing.T) {
	p, _ := plan(t, map[string]string{
		"configuration.yaml":                     account(", auto_reply_sensors: [{name: away}], enable_update: true"),
		"o365_calendars_ann.yaml":                "- {cal_id: x, entities: [{device_id: cal, name: One}]}\n",
		"ms365_storage/ms365_calendars_ann.yaml": "- {cal_id: x, entities: [{device_id: cal, name: Two, track: true}]}\n",
		entries:                                  `{"data": {"entries": [{"entry_id": "1", "domain": "ms365_calendar", "data": {"entity_name": "ann", "client_id": "0F1E2D3C-4b5a-4968-8776-655443322110", "client_secret": "x"}}]}}`,
	})
	var got []string
	for _, s := range p.Accounts[0].Sensors {
		got = append(got, s.ID+" replaces "+strings.Join(s.Old, ", "))
	}
	want := []string{"cal replaces calendar.cal_ann, calendar.ann_cal", "away replaces sensor.away", "mail replaces "}
	if diff := cmp.Diff(want, got); diff != "" || len(p.Accounts) != 1 {
		t.Errorf("%d accounts (-want +got):\n%s", len(p.Accounts), diff)
	}
}

// Two filters whose values are secrets are two sensors, although their values are not read.
func TestSecretFilters(t *testing.T) {
	p, _ := plan(t, map[string]string{"configuration.yaml": "o365:\n  accounts:\n    - account_name: ann\n      client_id: !secret a\n      query_sensors: [{name: x, from: !secret x}, {name: y, from: !secret y}, {name: x2, from: !secret x}]\n"})
	var got []string
	for _, s := range p.Accounts[0].Sensors {
		got = append(got, s.ID+" "+s.Type+" "+strings.Join(s.Old, ", "))
	}
	if diff := cmp.Diff([]string{"calendar calendar ", "x query sensor.x, sensor.x2", "y query sensor.y"}, got); diff != "" {
		t.Error(diff)
	}
}

// A file that cannot be searched is reported, and all others are searched.
func TestUnreadableFiles(t *testing.T) {
	p, _ := plan(t, map[string]string{
		"configuration.yaml": account(", chat_sensors: [{name: chat}]"),
		"a.yaml":             "x: \xff\n", "b.yaml": "y: [ {{ states('sensor.chat') }}\n", "c.yaml": utf16Text("z"), "www/d.yaml": "sensor.chat", "secrets.yaml": "sensor.chat", ".storage/lovelace.x": "sensor.chat",
	})
	references, unread := p.References(func(account, sensor, key string) string { return account + "." + sensor + "." + key })
	var got, errs []string
	for _, r := range references {
		got = append(got, r.File+" "+r.Old+" "+r.New)
	}
	for _, err := range unread {
		errs = append(errs, err.Error())
	}
	if diff := cmp.Diff([]string{".storage/lovelace.x sensor.chat ann.chat.latest", "b.yaml sensor.chat ann.chat.latest"}, got); diff != "" {
		t.Error(diff)
	}
	wantErrs := []string{
		"a.yaml (line 1): want UTF-8 text; this line is in another encoding, such as Windows-1252; save the file as UTF-8",
		"c.yaml: want UTF-8 text, not UTF-16; save it as UTF-8",
	}
	if diff := cmp.Diff(wantErrs, errs); diff != "" {
		t.Error(diff)
	}
}
