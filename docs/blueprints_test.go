package docs_test

import (
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/graph2mqtt/graph2mqtt/internal/runtime"
	"github.com/graph2mqtt/graph2mqtt/internal/schema"
)

// A blueprintFile is a blueprint below docs/blueprints.
type blueprintFile struct {
	name, text string // name: automation/new_mail
	root       yaml.Node

	Blueprint struct {
		Name, Description, Domain string
		SourceURL                 string `yaml:"source_url"`
		HomeAssistant             struct {
			MinVersion string `yaml:"min_version"`
		}
		Input map[string]struct {
			Name, Description string
			Default           any
			Selector          map[string]any
		}
	}
	Fields map[string]struct {
		Name, Description string
		Selector          map[string]any
	}
}

func blueprints(t *testing.T) []blueprintFile {
	t.Helper()
	var all []blueprintFile
	err := filepath.WalkDir("blueprints", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(strings.TrimSuffix(filepath.ToSlash(path), ".yaml"), "blueprints/")
		b := blueprintFile{name: name, text: string(text)}
		if err := yaml.Unmarshal(text, &b); err != nil {
			t.Errorf("%s: %v", name, err)
			return nil
		}
		if err := yaml.Unmarshal(text, &b.root); err != nil {
			return err
		}
		all = append(all, b)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 10 {
		t.Errorf("%d blueprints", len(all))
	}
	return all
}

// TestBlueprints checks what Home Assistant does not: a blueprint is imported again from its address, every input is used and described, and
// the page about automations has a button that imports it. The end-to-end tests run them.
func TestBlueprints(t *testing.T) {
	const address = "https://github.com/graph2mqtt/graph2mqtt/blob/main/docs/blueprints/"
	page, err := os.ReadFile("automations.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range blueprints(t) {
		if want := address + b.name + ".yaml"; b.Blueprint.SourceURL != want {
			t.Errorf("%s: source_url is %s, want %s", b.name, b.Blueprint.SourceURL, want)
		}
		if want, _, _ := strings.Cut(b.name, "/"); b.Blueprint.Domain != want {
			t.Errorf("%s: domain is %s, want %s", b.name, b.Blueprint.Domain, want)
		}
		if b.Blueprint.HomeAssistant.MinVersion != "2025.4.0" {
			t.Errorf("%s: min_version is %s", b.name, b.Blueprint.HomeAssistant.MinVersion)
		}
		if !strings.Contains(b.Blueprint.Name, " with graph2mqtt") || !strings.HasSuffix(b.Blueprint.Description, ".") {
			t.Errorf("%s: name %q, description %q", b.name, b.Blueprint.Name, b.Blueprint.Description)
		}
		if button := "blueprint_import/?blueprint_url=" + url.QueryEscape(b.Blueprint.SourceURL) + ")"; !strings.Contains(string(page), button) {
			t.Errorf("automations.md has no button for %s", b.name)
		}
		var defined, used []string
		for key, input := range b.Blueprint.Input {
			defined = append(defined, key)
			if input.Name == "" || !strings.HasSuffix(input.Description, ".") || len(input.Selector) != 1 {
				t.Errorf("%s: input %s has the name %q, the description %q and the selectors %v", b.name, key, input.Name, input.Description, input.Selector)
			}
			_, entity := input.Selector["entity"]
			_, device := input.Selector["device"]
			if !entity && !device && input.Default == nil {
				t.Errorf("%s: input %s has no default", b.name, key)
			}
		}
		for key, field := range b.Fields {
			if field.Name == "" || !strings.HasSuffix(field.Description, ".") || len(field.Selector) != 1 {
				t.Errorf("%s: field %s has the name %q, the description %q and the selectors %v", b.name, key, field.Name, field.Description, field.Selector)
			}
		}
		for _, m := range regexp.MustCompile(`!input (\w+)`).FindAllStringSubmatch(b.text, -1) {
			used = append(used, m[1])
		}
		slices.Sort(defined)
		slices.Sort(used)
		if diff := cmp.Diff(defined, slices.Compact(used)); diff != "" || len(defined) == 0 {
			t.Errorf("%s: inputs (-defined +used):\n%s", b.name, diff)
		}
	}
}

// The chapters of the reference whose entities, attributes, events and operations a blueprint uses.
var blueprintTargets = map[string][]string{
	"automation/do_not_disturb":    {"status"},
	"automation/meeting_warning":   {"calendar"},
	"automation/new_mail":          {"email"},
	"automation/new_message":       {"chat", "channel"},
	"automation/on_air_light":      {"calendar", "status"},
	"automation/out_of_office":     {"auto_reply", "calendar"},
	"automation/shopping_list":     {"todo"},
	"automation/sign_in_required":  {"account"},
	"automation/working_elsewhere": {"calendar", "status"},
	"script/add_task":              {"todo"},
	"script/create_event":          {"calendar"},
	"script/list_events":           {"calendar"},
	"script/request":               {"calendar"},
	"script/send_mail":             {"email"},
	"script/send_message":          {"chat"},
}

// vocabulary holds the names that a blueprint may use.
type vocabulary struct {
	attributes map[string]bool            // keys of attributes and of fields of events
	events     map[string]bool            // types of events
	operations map[string]map[string]bool // the fields of each operation
	options    map[string]bool            // words that selects show for their options
	entities   map[string]bool            // "<platform>.<key>"
	models     map[string]bool            // of devices
}

func vocabularyOf(names []string) vocabulary {
	v := vocabulary{map[string]bool{}, map[string]bool{}, map[string]map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]bool{}}
	var add func(keys map[string]bool, fields []schema.Field)
	add = func(keys map[string]bool, fields []schema.Field) {
		for _, f := range fields {
			keys[f.Key] = true
			add(keys, f.Fields)
		}
	}
	for _, target := range targets() {
		if !slices.Contains(names, target.name) {
			continue
		}
		add(v.attributes, target.attributes)
		for _, e := range target.events {
			v.events[e.Name] = true
			add(v.attributes, e.Fields)
		}
		for _, op := range target.operations {
			v.operations[op.Name] = map[string]bool{"transaction": true, "expires": true}
			add(v.operations[op.Name], schema.Object.Fields(op.New()))
		}
		for _, e := range target.entities {
			v.entities[e.Platform+"."+e.Key] = true
			for _, o := range e.Options {
				if e.Platform == "select" {
					v.options[e.Label(o)] = true
				}
			}
			for _, m := range regexp.MustCompile("`(\\w+)`").FindAllStringSubmatch(e.Doc, -1) { // attributes of an entity of its own
				v.attributes[m[1]] = true
			}
		}
	}
	for _, k := range runtime.Kinds() {
		v.models[k.Title] = true
	}
	return v
}

var (
	readAttribute = regexp.MustCompile(`state_attr\([^,()]+, *["'](\w+)["']\)|attributes\.(?:get\(["'])?(\w+)|\{\}\)\.(\w+)|(\w+\.)?\bitem\.(\w+)`)
	comparedEvent = regexp.MustCompile(`event_type (?:==|in) (\[[^\]]*\]|\([^)]*\)|["'][^"']*["'])`)
	quotedWord    = regexp.MustCompile(`["'](\w+)["']`)
	requestTopic  = regexp.MustCompile(`/request/(\w+)"`)
	jsonKey       = regexp.MustCompile(`"(\w+)":`)
	exampleEntity = regexp.MustCompile(`\b(binary_sensor|button|datetime|event|notify|select|sensor|switch|text)\.work_(\w+)`)
)

// checkNames reports each attribute, type of event and entity that a text names, and whether it exists.
func (v vocabulary) checkNames(text string, check func(what, word string, known bool)) {
	for _, m := range readAttribute.FindAllStringSubmatch(text, -1) {
		word := m[1] + m[2] + m[3] + m[5]
		if m[4] == "" && word != "last_triggered" && word != "event_type" { // those are Home Assistant's
			check("attribute", word, v.attributes[word])
		}
	}
	for _, m := range comparedEvent.FindAllStringSubmatch(text, -1) {
		for _, word := range quotedWord.FindAllStringSubmatch(m[1], -1) {
			check("event", word[1], v.events[word[1]])
		}
	}
	for _, m := range exampleEntity.FindAllStringSubmatch(text, -1) {
		known := false
		for entity := range v.entities {
			platform, key, _ := strings.Cut(entity, ".")
			known = known || platform == m[1] && (m[2] == key || strings.HasSuffix(m[2], "_"+key))
		}
		check("entity", m[0], known)
	}
}

// The page about automations names every type of event, and its examples name only what exists.
func TestNamesInAutomations(t *testing.T) {
	page, err := os.ReadFile("automations.md")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, target := range targets() {
		all = append(all, target.name)
	}
	v := vocabularyOf(all)
	counted := map[string]int{}
	v.checkNames(string(page), func(what, word string, known bool) {
		counted[what]++
		if !known {
			t.Errorf("there is no %s %s", what, word)
		}
	})
	for what, least := range map[string]int{"attribute": 10, "event": 8, "entity": 30} {
		if counted[what] < least {
			t.Errorf("only %d times %s", counted[what], what)
		}
	}
	for event := range v.events {
		if !strings.Contains(string(page), "`"+event+"`") {
			t.Errorf("the event %s is missing", event)
		}
	}
}

// Blueprints name only attributes, events, operations, fields, options, entities and devices that exist.
func TestNamesInBlueprints(t *testing.T) {
	counted := map[string]int{}
	for _, b := range blueprints(t) {
		if blueprintTargets[b.name] == nil {
			t.Errorf("%s: not in blueprintTargets", b.name)
			continue
		}
		v := vocabularyOf(blueprintTargets[b.name])
		check := func(what, word string, known bool) {
			t.Helper()
			counted[what]++
			if !known {
				t.Errorf("%s: there is no %s %s", b.name, what, word)
			}
		}
		v.checkNames(b.text, check)
		for _, op := range requestTopic.FindAllStringSubmatch(b.text, -1) {
			check("operation", op[1], v.operations[op[1]] != nil)
		}
		operation := ""
		var visit func(n *yaml.Node)
		visit = func(n *yaml.Node) {
			for i, c := range n.Content {
				visit(c)
				if n.Kind != yaml.MappingNode || i%2 == 0 {
					continue
				}
				switch key := n.Content[i-1].Value; key {
				case "topic":
					if m := requestTopic.FindStringSubmatch(c.Value + `"`); m != nil {
						operation = m[1]
					}
				case "operation":
					if c.Kind == yaml.ScalarNode {
						operation = c.Value
						check("operation", c.Value, v.operations[c.Value] != nil)
					}
				case "payload", "request":
					for _, field := range jsonKey.FindAllStringSubmatch(c.Value, -1) {
						check("field of "+operation, field[1], v.operations[operation][field[1]])
					}
				case "option":
					if c.Tag != "!input" {
						check("option", c.Value, v.options[c.Value])
					}
				case "model":
					check("model", c.Value, v.models[c.Value])
				}
			}
		}
		visit(&b.root)
		for _, input := range []string{"status", "location"} {
			if list, ok := b.Blueprint.Input[input].Selector["select"].(map[string]any); ok {
				for _, o := range list["options"].([]any) {
					check("option", o.(string), v.options[o.(string)])
				}
			}
		}
	}
	for what, least := range map[string]int{"attribute": 30, "event": 5, "entity": 15, "operation": 10, "field of create": 10, "option": 8, "model": 5} {
		if counted[what] < least {
			t.Errorf("only %d times %s", counted[what], what)
		}
	}
}

// Every script sends its request in the same way, and so do the automations that wait for the response.
func TestRequestsInBlueprints(t *testing.T) {
	const begin = "# The following steps are the same"
	var first string
	n := 0
	for _, b := range blueprints(t) {
		_, steps, ok := strings.Cut(b.text, begin)
		if !ok {
			if b.Blueprint.Domain == "script" {
				t.Errorf("%s does not have the common steps", b.name)
			}
			continue
		}
		n++
		steps, _, ok = strings.Cut(steps, "device: want a device of graph2mqtt")
		if !ok {
			t.Errorf("%s lacks the end of the common steps", b.name)
		}
		var lines []string
		for line := range strings.Lines(steps) {
			lines = append(lines, strings.TrimSpace(line))
		}
		steps = strings.Join(lines, "\n")
		if first == "" {
			first = steps
		}
		if diff := cmp.Diff(first, steps); diff != "" {
			t.Errorf("%s has other steps:\n%s", b.name, diff)
		}
	}
	if n < 7 {
		t.Errorf("%d blueprints with these steps", n)
	}
}

// Home Assistant refuses templates with a range above 100,000.
func TestRangesInTemplates(t *testing.T) {
	const most = 100_000
	n := 0
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !slices.Contains([]string{".md", ".yaml"}, filepath.Ext(name)) {
			return err
		}
		text, err := os.ReadFile(name)
		for _, m := range regexp.MustCompile(`\brange\((\d+)\)`).FindAllStringSubmatch(string(text), -1) {
			n++
			if size, err := strconv.Atoi(m[1]); err != nil || size > most {
				t.Errorf("%s: %s, want at most %d", name, m[0], most)
			}
		}
		return err
	})
	if err != nil || n == 0 {
		t.Errorf("%d templates with a range, %v", n, err)
	}
}
