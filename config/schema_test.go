package config_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/graph2mqtt/graph2mqtt/config"
)

// compile returns the JSON Schema of kinds as an independent implementation understands it.
func compile(t *testing.T, kinds []config.Kind) *jsonschema.Schema {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(config.Schema(kinds)))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("schema.json", document); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// instance parses a configuration file for validation.
func instance(t *testing.T, name string, b []byte) any {
	t.Helper()
	var v any
	parse := map[string]func([]byte, any) error{".yaml": yaml.Unmarshal, ".toml": toml.Unmarshal, ".json": json.Unmarshal}[filepath.Ext(name)]
	if err := parse(b, &v); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if v, err = jsonschema.UnmarshalJSON(bytes.NewReader(b)); err != nil {
		t.Fatal(err)
	}
	return v
}

// The schema accepts what Load accepts.
func TestSchemaAcceptsValidFiles(t *testing.T) {
	s := compile(t, kinds())
	example := config.Example(kinds())
	files := map[string]string{"example.yaml": example, "minimal.yaml": minimal,
		"all.yaml": regexp.MustCompile(`(?m)^( *)#(\w+: )`).ReplaceAllString(example, "$1$2"), "keys.yaml": regexp.MustCompile(`(?m)^( *)#(\w+:)$`).ReplaceAllString(example, "$1$2")}
	for _, name := range []string{"full.yaml", "full.toml", "full.json"} {
		b, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = string(b)
	}
	for name, content := range files {
		if err := s.Validate(instance(t, name, []byte(content))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The schema refuses unknown keys and values of another type or outside of the limits.
func TestSchemaRefusesInvalidFiles(t *testing.T) {
	s := compile(t, kinds())
	for _, name := range []string{"invalid-everything.yaml", "invalid-sensors.yaml", "invalid-types.json", "invalid-accounts-list.yaml"} {
		b, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		b = bytes.Replace(bytes.Replace(b, []byte(".nan"), []byte("0"), 1), []byte("99999999999999999999"), []byte("0"), 1) // not in JSON
		if s.Validate(instance(t, name, b)) == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	valid := func(account string) string {
		return "{mqtt: {url: mqtt://h}, accounts: {a: {client_id: 01234567-89ab-cdef-0123-456789abcdef" + account + "}}}"
	}
	if err := s.Validate(instance(t, "a.yaml", []byte(valid("")))); err != nil {
		t.Fatal(err)
	}
	for _, content := range []string{
		valid(", nosuch: 1"), valid(", stale_after: 30"), valid(", stale_after: '30'"), valid(", enable_update: 'yes'"), valid(", cloud: globl"), valid(", cloud: {logon: x}"),
		valid(", sensors: {c: {type: calender}}"), valid(", sensors: {c: {}}"), valid(", sensors: {C: {type: calendar}}"), valid(", sensors: {c: {type: calendar, is_unread: true}}"),
		valid(", sensors: {c: {type: calendar, max_results: 0}}"), valid(", sensors: {c: {type: calendar, ratio: 2}}"), valid(", sensors: {c: {type: calendar, sensitivity_exclude: [secret]}}"),
		valid(", sensors: {c: {type: calendar, exclude: [null]}}"), valid(", sensors: {c: {type: calendar, notify: {}}}"), valid(", sensors: {c: {type: calendar, entities: {x: {enable: true}}}}"),
		strings.Replace(valid(""), "mqtt://h", "mqtt://h, keepalive: soon", 1), strings.Replace(valid(""), "{mqtt", "{attachments: {directory: /srv}, mqtt", 1), strings.Replace(valid(""), "a: {", "A: {", 1),
		strings.Replace(valid(""), "{mqtt", "{log: {level: loud}, mqtt", 1), strings.Replace(valid(""), "{mqtt", "{commands: {queue: 1.5}, mqtt", 1), strings.Replace(valid(""), "{mqtt", "{commands: {queue: 0}, mqtt", 1),
	} {
		if s.Validate(instance(t, "a.yaml", []byte(content))) == nil {
			t.Errorf("%s is accepted", content)
		}
		if problem(t, write(t, "a.yaml", content)) == "" {
			t.Errorf("%s is loaded", content)
		}
	}
}
