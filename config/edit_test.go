package config_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/config"
)

func home() config.Entry {
	return config.Entry{Path: []string{"accounts", "home"}, Value: config.Mapping{
		{"client_id", "2c1f9c5e-3b7a-4f0d-8e61-7a4b0c9d5e21"}, {"enable_update", true},
		{"sensors", config.Mapping{{"calendar", config.Mapping{{"type", "calendar"}}}}},
	}}
}

func inbox() config.Entry {
	return config.Entry{Path: []string{"accounts", "work", "sensors", "inbox"}, Value: config.Mapping{{"type", "email"}}}
}

const homeLines = `  home:
    client_id: 2c1f9c5e-3b7a-4f0d-8e61-7a4b0c9d5e21
    enable_update: true
    sensors:
      calendar: {type: calendar}
`

func TestInsert(t *testing.T) {
	for _, test := range []struct {
		name, before string
		entry        config.Entry
		after        string
	}{
		{"an empty file", "", home(), "accounts:\n" + homeLines},
		{"only comments", "# mine\n\n", home(), "# mine\naccounts:\n" + homeLines},
		{"no line break at the end", "log: {level: info}", home(), "log: {level: info}\naccounts:\n" + homeLines},
		{"no accounts", "log: {level: info}\n\n# the end\n", home(), "log: {level: info}\n\n# the end\naccounts:\n" + homeLines},
		{"accounts left out", "accounts: # none yet\nlog: {level: info}\n", home(), "accounts: # none yet\n" + homeLines + "log: {level: info}\n"},
		{"accounts with comments", `# top
accounts:
  # at work
  work:
    client_id: x # the app

    sensors: {}
    # presence: {type: status}

  # another: {}

# the log
log:
  level: info
`, home(), `# top
accounts:
  # at work
  work:
    client_id: x # the app

    sensors: {}
    # presence: {type: status}

  # another: {}
` + homeLines + `
# the log
log:
  level: info
`},
		{"a sensor", `accounts:
    work:
        sensors:
            calendar: {type: calendar}
            mail:
                type: email
                name: |
                    several
                    # lines
        tenant: common
`, inbox(), `accounts:
    work:
        sensors:
            calendar: {type: calendar}
            mail:
                type: email
                name: |
                    several
                    # lines
            inbox: {type: email}
        tenant: common
`},
		{"sensors left out", "accounts:\n  work:\n    sensors:\n    tenant: common\n", inbox(), "accounts:\n  work:\n    sensors:\n      inbox: {type: email}\n    tenant: common\n"},
		{"no sensors", "accounts:\n  work:\n    tenant: common\n", inbox(), "accounts:\n  work:\n    tenant: common\n    sensors:\n      inbox: {type: email}\n"},
		{"on one line", "accounts: {work: {sensors: {calendar: {type: calendar}}}}\n", inbox(), "accounts: {work: {sensors: {inbox: {type: email}, calendar: {type: calendar}}}}\n"},
		{"on one line, empty", "accounts: {wörk: {}, work: {sensors: {}}}\n", inbox(), "accounts: {wörk: {}, work: {sensors: {inbox: {type: email}}}}\n"},
		{"the end of the document", "accounts:\n  work:\n    sensors:\n      a: {type: status}\n...\n", inbox(), "accounts:\n  work:\n    sensors:\n      a: {type: status}\n      inbox: {type: email}\n...\n"},
		{"Windows", "accounts:\r\n  work:\r\n    sensors:\r\n      a: {type: status}\r\n", inbox(), "accounts:\r\n  work:\r\n    sensors:\r\n      a: {type: status}\r\n      inbox: {type: email}\r\n"},
		{"a byte order mark", "\ufeffaccounts: {work: {sensors: {}}}\n", inbox(), "\ufeffaccounts: {work: {sensors: {inbox: {type: email}}}}\n"},
		{"an unindented list before", "http:\n  hosts:\n  - a\n  - b\naccounts:\n  work:\n    sensors:\n      a: {type: status}", inbox(), "http:\n  hosts:\n  - a\n  - b\naccounts:\n  work:\n    sensors:\n      a: {type: status}\n      inbox: {type: email}\n"},
		{"text that looks like something else", "a: 1\n", config.Entry{Path: []string{"mqtt"}, Value: config.Mapping{{"username", "yes"}, {"password", "0123: #'\""}}},
			"a: 1\nmqtt:\n  username: \"yes\"\n  password: '0123: #''\"'\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			after, err := config.Insert("graph2mqtt.yaml", []byte(test.before), test.entry)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(test.after, string(after)); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestInsertRefuses(t *testing.T) {
	for _, test := range []struct {
		file, before string
		entry        config.Entry
		want         string
		byHand       bool
	}{
		{"x.toml", "", home(), "lines can be added only to a YAML file", true},
		{"x.json", "{}", home(), "lines can be added only to a YAML file", true},
		{"x.yaml", "accounts: {home: {}}", home(), "accounts.home is in the file already", false},
		{"x.yaml", "a: &a {}\naccounts: *a\n", home(), "accounts is written in a way that lines cannot be added to safely", true},
		{"x.yaml", "a: &a {work: {tenant: common}}\naccounts: {<<: *a}\n", inbox(), "the file is written in a way that lines cannot be added to safely", true},
		{"x.yaml", "accounts: ~\n", home(), "accounts is written in a way that lines cannot be added to safely", true},
		{"x.yaml", "accounts: text\n", home(), "accounts is written in a way that lines cannot be added to safely", true},
		{"x.yaml", "- a\n", home(), "want a mapping of keys at the top", false},
		{"x.yaml", "a: b: c\n", home(), "mapping values are not allowed in this context; compare the indentation, and put text with a colon and a space in quotes", false},
		{"x.yaml", "", config.Entry{Path: []string{"mqtt"}, Value: config.Mapping{{"username", "a\nb: c"}}}, "username: want text without control characters", false},
	} {
		_, err := config.Insert(test.file, []byte(test.before), test.entry)
		if err == nil || err.Error() != test.want {
			t.Errorf("%s %q: got %v, want %s", test.file, test.before, err, test.want)
		}
		if byHand := errors.As(err, new(*config.InsertError)); byHand != test.byHand {
			t.Errorf("%s %q: an InsertError: %t", test.file, test.before, byHand)
		}
	}
}

func TestInsertIntoTheExample(t *testing.T) {
	before, err := os.ReadFile("testdata/full.yaml")
	if err != nil {
		t.Fatal(err)
	}
	after, err := config.Insert("full.yaml", before, home(), config.Entry{Path: []string{"accounts", "home", "sensors", "inbox"}, Value: config.Mapping{{"type", "email"}}})
	if err != nil {
		t.Fatal(err)
	}
	// What was there stays, in its order.
	rest := string(after)
	for line := range strings.Lines(string(before)) {
		i := strings.Index(rest, line)
		if i < 0 {
			t.Fatalf("the line %q is missing", line)
		}
		rest = rest[i+len(line):]
	}
	if added := strings.Count(string(after), "\n") - strings.Count(string(before), "\n"); added != 6 {
		t.Errorf("%d lines were added", added)
	}
}

func TestLines(t *testing.T) {
	lines, err := config.Lines(config.Entry{Path: []string{"mqtt"}, Value: config.Mapping{{"url", "mqtt://localhost"}}}, home())
	if err != nil {
		t.Fatal(err)
	}
	if want := "mqtt:\n  url: mqtt://localhost\naccounts:\n" + homeLines; lines != want {
		t.Errorf("got\n%s", lines)
	}
}
