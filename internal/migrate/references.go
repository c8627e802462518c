package migrate

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/graph2mqtt/graph2mqtt/internal/schema"
)

// A Reference is a line of the user's files that names something old.
type Reference struct {
	File string
	Line int
	Change
}

// A Successor returns the id of the entity of a sensor with a key, or "".
type Successor func(account, sensor, key string) string

// A finder knows everything old by name.
type finder struct {
	plan     *Plan
	entities map[string]Change  // by entity id, and by the id in the registry
	sensors  map[string]located // by entity id
	actions  map[string]Action
	senders  map[string][]located // by the action that sends mail
	events   map[string]Change

	successor Successor
}

// A located is a sensor in its account.
type located struct {
	account *account
	sensor  *Sensor
}

func (p *Plan) finder(successor Successor) *finder {
	f := &finder{plan: p, entities: map[string]Change{}, sensors: map[string]located{}, actions: map[string]Action{}, senders: map[string][]located{}, events: map[string]Change{}, successor: successor}
	for _, a := range p.Accounts {
		for _, s := range a.Sensors {
			c := chapterOf(s.Type)
			for _, old := range s.Old {
				f.entities[old] = Change{old, successor(a.ID, s.ID, c.Key), f.note(a, s, successor)}
				f.sensors[old] = located{a, s}
			}
		}
	}
	for _, r := range p.registry {
		if change, ok := f.entities[r.EntityID]; ok && r.ID != "" {
			f.entities[r.ID] = Change{r.ID + " (" + r.EntityID + ")", change.New, change.Note}
			f.sensors[r.ID] = f.sensors[r.EntityID]
		}
	}
	for _, c := range Chapters() {
		for _, action := range c.Actions {
			for _, name := range action.Names {
				f.actions[name] = action
			}
			if strings.HasPrefix(action.Names[0], "notify.") {
				for _, a := range p.Accounts {
					for _, name := range a.notify {
						f.actions[name] = action
						for _, s := range a.Sensors {
							if s.get("notify") != nil {
								f.senders[name] = []located{{a, s}}
							}
						}
					}
				}
			}
		}
		for _, e := range c.Events {
			for name := range strings.SplitSeq(e.Old, ", ") {
				for _, domain := range []string{"o365", "ms365", "ms365_calendar", "ms365_teams", "ms365_todo"} {
					if name != calendarTrigger {
						f.events[domain+"_"+name] = Change{domain + "_" + name, f.event(e.New, c.Types, nil), e.Note}
					}
				}
			}
		}
	}
	return f
}

// note returns what differs between an old entity and its successor, beside the names.
func (f *finder) note(a *account, s *Sensor, successor Successor) string {
	switch s.Type {
	case typeReplies:
		if strings.HasPrefix(successor(a.ID, s.ID, "mode"), "select.") {
			return "its states are Off, Always and Scheduled"
		}
	case typeChat:
		return "the time, which was the state, is " + successor(a.ID, s.ID, "latest_received")
	case typeMail, typeQuery:
		return "the state is the exact number, not that of the list"
	}
	return ""
}

// Changes returns the changes of everything that the old configuration has: entities with their attributes that differ, actions and
// events.
func (p *Plan) Changes(successor Successor) []Change {
	f := p.finder(successor)
	var all []Change
	for _, c := range Chapters() {
		first := len(all)
		for _, a := range p.Accounts {
			for _, s := range a.Sensors {
				if !slices.Contains(c.Types, s.Type) {
					continue
				}
				for _, old := range s.Old {
					all = append(all, f.entities[old])
				}
			}
		}
		if len(all) == first && len(c.Types) > 0 {
			continue
		}
		for _, attribute := range c.Attributes {
			if attribute.Old != attribute.New || attribute.Note != "" {
				all = append(all, Change{"  " + attribute.Old, attribute.New, attribute.Note})
			}
		}
		if len(c.Attributes) > 0 {
			all = append(all, Change{"  other attributes", "the same names", ""})
		}
		for _, action := range c.Actions {
			for _, name := range f.present(action) {
				all = append(all, action.change(name, f.request(action, c.Types, f.senders[name])))
			}
		}
		for _, e := range c.Events {
			if e.Old == calendarTrigger {
				all = append(all, Change{"trigger calendar", f.event(e.New, c.Types, nil), e.Note})
				continue
			}
			for name := range strings.SplitSeq(e.Old, ", ") {
				for _, domain := range p.eventDomains(c.Types) {
					all = append(all, Change{domain + "_" + name, f.event(e.New, c.Types, nil), e.Note})
				}
			}
		}
	}
	return all
}

// present returns the names of an action that the old configuration offers.
func (f *finder) present(action Action) []string {
	if strings.HasPrefix(action.Names[0], "notify.") {
		var names []string
		for _, a := range f.plan.Accounts {
			names = append(names, a.notify...)
		}
		return names
	}
	return slices.DeleteFunc(slices.Clone(action.Names), func(name string) bool {
		domain, _, _ := strings.Cut(name, ".")
		return !action.core() && !slices.ContainsFunc(f.plan.sources, func(s source) bool { return s.domain == domain })
	})
}

// eventDomains returns the prefixes of the events that the old configuration fires for types of sensors.
func (p *Plan) eventDomains(types []string) []string {
	var found []string
	for _, s := range p.sources {
		belongs := s.domain == "o365" || s.domain == "ms365_calendar" && slices.Contains(types, typeCalendar) ||
			s.domain == "ms365_todo" && slices.Contains(types, typeTodo) || s.domain == "ms365_teams" && (slices.Contains(types, typeStatus) || slices.Contains(types, typeChat))
		if belongs && !slices.Contains(found, s.domain) {
			found = append(found, s.domain)
		}
	}
	return found
}

// event describes the event that replaces another one: of these sensors if they are known, otherwise of one of these types.
func (f *finder) event(name string, types []string, targets []located) string {
	if len(targets) == 0 {
		targets = f.ofTypes(types)
	}
	var entities []string
	for _, t := range targets {
		sensor := t.sensor.ID
		if strings.HasPrefix(name, "command_") { // of the account
			sensor = ""
		}
		if id := f.successor(t.account.ID, sensor, "event"); id != "" && !slices.Contains(entities, id) {
			entities = append(entities, id)
		}
	}
	if len(entities) == 0 || len(entities) > 3 {
		return name + " of the event entity"
	}
	return name + " of " + strings.Join(entities, ", ")
}

// ofTypes returns the sensors of these types.
func (f *finder) ofTypes(types []string) []located {
	var all []located
	for _, a := range f.plan.Accounts {
		for _, s := range a.Sensors {
			if slices.Contains(types, s.Type) {
				all = append(all, located{a, s})
			}
		}
	}
	return all
}

// request returns the request that replaces an action, of these sensors if they are known, otherwise of one of these types.
func (f *finder) request(action Action, types []string, targets []located) string {
	if action.Operation == "" {
		return ""
	}
	if len(targets) == 0 {
		targets = f.ofTypes(types)
		if len(targets) > 1 {
			account := targets[0].account.ID
			if slices.ContainsFunc(targets, func(t located) bool { return t.account.ID != account }) {
				account = "<account>"
			}
			return "request to graph2mqtt/" + action.topic(account, "<sensor>")
		}
		if len(targets) == 0 {
			return "request to graph2mqtt/" + action.topic("<account>", "<sensor>")
		}
	}
	var topics []string
	for _, t := range targets {
		if topic := "graph2mqtt/" + action.topic(t.account.ID, t.sensor.ID); !slices.Contains(topics, topic) {
			topics = append(topics, topic)
		}
	}
	return "request to " + strings.Join(topics, ", ")
}

// skipped lists directories that hold no files of the user's.
var skipped = []string{"custom_components", "deps", "node_modules", "o365_storage", "ms365_storage", "www", "tts", "backups", "__pycache__", "venv"}

// searched lists the endings of the files that are searched.
var searched = []string{".yaml", ".yml", ".jinja", ".jinja2", ".j2", ".py"}

// References returns the lines of the user's files that name something old, and the files that could not be searched with the reasons.
func (p *Plan) References(successor Successor) ([]Reference, []error) {
	f := p.finder(successor)
	var all []Reference
	var unread []error
	for _, file := range p.files(&unread) {
		b, err := p.dir.read(file)
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				continue // it was removed just now
			}
			var problem schema.Problem
			if errors.As(err, &problem) {
				problem.Path = file
				unread = append(unread, problem)
			} else {
				unread = append(unread, fmt.Errorf("%s: %w", file, schema.Cause(err)))
			}
			continue
		}
		all = append(all, f.search(file, b)...)
	}
	return all, unread
}

// files returns the files to search.
func (p *Plan) files(unread *[]error) []string {
	var all []string
	root := p.dir.path
	err := filepath.WalkDir(root, func(name string, e fs.DirEntry, err error) error {
		relative, relErr := filepath.Rel(root, name)
		if relErr != nil {
			return relErr
		}
		relative = filepath.ToSlash(relative)
		if err != nil {
			*unread = append(*unread, fmt.Errorf("%s: %w", relative, schema.Cause(err)))
			return nil
		}
		hidden := strings.HasPrefix(e.Name(), ".") && relative != "."
		switch {
		case e.IsDir() && relative != "." && (hidden && relative != ".storage" || slices.Contains(skipped, e.Name())):
			return filepath.SkipDir
		case e.IsDir(), hidden, e.Name() == secretsFile:
		case path.Dir(relative) == ".storage":
			// Dashboards, and helpers such as templates and groups.
			if strings.HasPrefix(e.Name(), "lovelace") || relative == entriesFile {
				all = append(all, relative)
			}
		case slices.Contains(searched, strings.ToLower(path.Ext(relative))):
			all = append(all, relative)
		}
		return nil
	})
	if err != nil {
		*unread = append(*unread, err)
	}
	return all
}

var (
	// name matches what may be the name of an entity, an action or an event, within templates too.
	name = regexp.MustCompile(`[A-Za-z0-9_.]+`)
	// enumeration matches comparisons with values that are spelled differently now.
	enumeration = regexp.MustCompile(`['"](Free|Tentative|Busy|Oof|WorkingElsewhere|Normal|Personal|Private|Confidential|tentatively_accepted|not_responded)\\?['"]`)
	// compared matches lines in which such a value can be meant.
	compared = regexp.MustCompile(`show_as|sensitivity|status|response|selectattr|rejectattr`)
)

// spelled maps the values that are spelled differently now.
var spelled = map[string]string{
	"Free": "free", "Tentative": "tentative", "Busy": "busy", "Oof": "oof", "WorkingElsewhere": "workingElsewhere", "Normal": "normal", "Personal": "personal",
	"Private": "private", "Confidential": "confidential", "tentatively_accepted": "tentativelyAccepted", "not_responded": "notResponded",
}

// search returns what a file refers to, in the order of its lines.
func (f *finder) search(file string, content []byte) []Reference {
	var found []Reference
	seen := map[string]bool{}
	add := func(line int, c Change) {
		key := fmt.Sprint(line, c.Old)
		if c.Old != "" && !seen[key] {
			seen[key] = true
			found = append(found, Reference{file, line, c})
		}
	}
	// First what the structure of YAML and JSON shows: which action has which target.
	if ext := path.Ext(file); ext != ".py" && !strings.HasPrefix(ext, ".j") {
		f.walk(content, add)
	}
	line := 0
	for text := range strings.Lines(string(content)) {
		line++
		for _, token := range name.FindAllString(text, -1) {
			add(line, f.named(token))
		}
	}
	if len(found) > 0 {
		line = 0
		for text := range strings.Lines(string(content)) {
			line++
			if !compared.MatchString(text) {
				continue
			}
			for _, m := range enumeration.FindAllStringSubmatch(text, -1) {
				add(line, Change{"'" + m[1] + "'", "'" + spelled[m[1]] + "'", "if it is compared with an attribute of the calendar"})
			}
		}
	}
	slices.SortStableFunc(found, func(a, b Reference) int { return a.Line - b.Line })
	return found
}

// named returns the change of a name, or of what it begins with.
func (f *finder) named(token string) Change {
	token = strings.Trim(strings.ToLower(token), ".")
	token = strings.TrimPrefix(token, "states.")
	parts := strings.SplitN(token, ".", 3)
	if len(parts) == 1 {
		if c, ok := f.entities[token]; ok {
			return c
		}
		return f.events[token]
	}
	id := parts[0] + "." + parts[1]
	if c, ok := f.entities[id]; ok {
		return c
	}
	if action, ok := f.actions[id]; ok && !action.core() {
		return action.change(id, f.request(action, f.types(action), f.senders[id]))
	}
	return Change{}
}

// types returns the types of sensors that an action is of.
func (f *finder) types(action Action) []string {
	for _, c := range Chapters() {
		if slices.ContainsFunc(c.Actions, func(a Action) bool { return a.Names[0] == action.Names[0] }) {
			return c.Types
		}
	}
	return nil
}

// walk finds actions with their targets, and cards that show only calendars or to-do lists. A file that is not YAML has none.
func (f *finder) walk(content []byte, add func(int, Change)) {
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	for {
		var document yaml.Node
		if decoder.Decode(&document) != nil {
			return // the end, or no YAML: Home Assistant does not load it either
		}
		f.node(&document, add, 0)
	}
}

func (f *finder) node(n *yaml.Node, add func(int, Change), depth int) {
	if depth > maxDepth || n.Kind == yaml.AliasNode {
		return
	}
	if n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			key, content := n.Content[i], n.Content[i+1]
			if content.Kind != yaml.ScalarNode {
				continue
			}
			switch key.Value {
			case "action", "service", "perform_action":
				action, ok := f.actions[strings.ToLower(content.Value)]
				targets := f.targets(n, 0)
				if sender, ok := f.senders[strings.ToLower(content.Value)]; ok {
					targets = sender
				}
				domain, _, _ := strings.Cut(strings.ToLower(content.Value), ".")
				switch {
				case ok && (len(targets) > 0 || !action.core()):
					add(content.Line, action.change(content.Value, f.request(action, f.types(action), targets)))
				case !ok && (domain == "o365" || slices.Contains(domains, domain)):
					add(content.Line, Change{content.Value, "", "there is no such action"})
				}
			case "trigger", "platform":
				if targets := f.targets(n, 0); content.Value == calendarTrigger && len(targets) > 0 {
					kinds := []string{typeCalendar, typeGroup}
					add(content.Line, Change{"trigger calendar", f.event("event_started or event_ended", kinds, targets), ""})
				}
			case "type":
				if len(f.targets(n, 0)) == 0 {
					continue
				}
				// Cards from elsewhere, such as custom:atomic-calendar-revive, too.
				switch {
				case strings.Contains(content.Value, "calendar"), strings.Contains(content.Value, "week-planner"):
					add(content.Line, Change{"card " + content.Value, "", "it shows calendar entities only; `graph2mqtt dashboard` prints a card for the events"})
				case strings.Contains(content.Value, "todo"):
					add(content.Line, Change{"card " + content.Value, "", "it shows to-do entities only; `graph2mqtt dashboard` prints a card for the tasks"})
				}
			}
		}
	}
	for _, child := range n.Content {
		f.node(child, add, depth+1)
	}
}

// targets returns the sensors whose old entities a node names.
func (f *finder) targets(n *yaml.Node, depth int) []located {
	if depth > maxDepth {
		return nil
	}
	var all []located
	if n.Kind == yaml.ScalarNode && utf8.ValidString(n.Value) {
		for _, token := range name.FindAllString(n.Value, -1) {
			parts := strings.SplitN(strings.TrimPrefix(strings.Trim(strings.ToLower(token), "."), "states."), ".", 3)
			id := parts[0]
			if len(parts) > 1 {
				id += "." + parts[1]
			}
			if l, ok := f.sensors[id]; ok && !slices.Contains(all, l) {
				all = append(all, l)
			}
		}
	}
	for _, child := range n.Content {
		for _, l := range f.targets(child, depth+1) {
			if !slices.Contains(all, l) {
				all = append(all, l)
			}
		}
	}
	return all
}
