package docs_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/bridge"
	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/hub"
	"github.com/graph2mqtt/graph2mqtt/internal/runtime"
	"github.com/graph2mqtt/graph2mqtt/internal/schema"
	"github.com/graph2mqtt/graph2mqtt/mqtt/homeassistant"
	"github.com/graph2mqtt/graph2mqtt/sensors"
	"github.com/graph2mqtt/graph2mqtt/services"
	"github.com/graph2mqtt/graph2mqtt/services/people"
)

// A target is the subject of a chapter of the reference: a kind of sensor, the account or the bridge.
type target struct {
	name, topic string // of requests, without "/request/…"
	kind        bool   // a kind of sensor
	entities    []entity.Entity
	attributes  []schema.Field
	events      []sensors.EventType
	operations  []services.Operation
}

// targets returns the chapters.
func targets() []target {
	var all []target
	for _, k := range runtime.Kinds() {
		s := k.New()
		if slices.ContainsFunc(config.Fields(s.Options()), func(f schema.Field) bool { return strings.HasPrefix(f.Key, "notify") }) {
			receiver := map[string]any{}
			if k.Name == "chat" {
				receiver["chat"] = "19:5a1f…@thread.v2" // the other kinds need no receiver
			}
			if err := config.Decode(s.Options(), map[string]any{"notify": receiver}); err != nil {
				panic(err)
			}
		}
		id := k.Name
		if config.Reserved(id) {
			id = "my_" + id
		}
		all = append(all, target{k.Name, "graph2mqtt/work/" + id, true, s.Entities(), k.Attributes, k.Events, s.Operations()})
	}
	discovery := homeassistant.Discovery{Base: "graph2mqtt"}
	return append(all,
		target{
			name: "every sensor", topic: "graph2mqtt/work/calendar", operations: people.Operations(),
			entities: discovery.Entities(hub.Device{ID: hub.ID{Account: "work", Sensor: "calendar"}}),
		},
		target{
			name: "account", topic: "graph2mqtt/work", operations: runtime.AccountOperations(), events: runtime.EventTypes(),
			entities: discovery.Entities(hub.Device{ID: hub.ID{Account: "work"}}),
		},
		target{name: "bridge", topic: "graph2mqtt/bridge", operations: bridge.Operations(), entities: discovery.Entities(hub.Device{})},
	)
}

// pages returns the generated pages about sensors by file name: the index, and for each kind what it shows, its options, which requests
// it accepts, and the permissions for all that.
func pages(kinds []sensors.Kind) map[string]string {
	all := targets()
	written := map[string]string{"sensors.md": index(kinds, all)}
	for _, k := range kinds {
		i := slices.IndexFunc(all, func(t target) bool { return t.name == k.Name })
		var b strings.Builder
		fmt.Fprintf(&b, "## Reference\n\n%s\n", k.Doc)
		writeOptions(&b, k)
		chapter(&b, "../", all[i], k.New().Permissions(), k.MemberField)
		written[kindPage(k.Name)] = b.String()
	}
	return written
}

// kindPage returns the file of the page about a kind of sensor.
func kindPage(kind string) string { return "sensors/" + kind + ".md" }

// index returns the page that explains the pages of the kinds, and describes what every sensor, the accounts and the bridge have.
func index(kinds []sensors.Kind, all []target) string {
	var b strings.Builder
	b.WriteString(`# Sensors and operations

For users who write automations: what each type of sensor shows in Home Assistant, which requests it accepts, and which permissions it needs.

` + "```yaml" + `
automation:
  - triggers:
      - trigger: state
        entity_id: binary_sensor.work_calendar_busy
        to: "on"
    actions:
      - action: light.turn_on
        target: {entity_id: light.office_door}
` + "```" + `

| page | |
|---|---|
`)
	for _, t := range all {
		if t.kind {
			fmt.Fprintf(&b, "| [%s](%s) | %s |\n", t.name, kindPage(t.name), firstSentence(chapterDoc(kinds, t)))
		} else {
			fmt.Fprintf(&b, "| [%s](#%s) | %s |\n", t.name, strings.ReplaceAll(t.name, " ", "-"), firstSentence(chapterDoc(kinds, t)))
		}
	}
	b.WriteString(`
How to read these pages:

- The entity ` + "`busy`" + ` of the sensor ` + "`calendar`" + ` of the account ` + "`work`" + ` is ` + "`binary_sensor.work_calendar_busy`" + ` in Home Assistant.
- The entity in **bold** carries the attributes. They have at most 12 KiB: ` + "`truncated`" + ` says whether something was shortened or left out, and ` + "`total`" + ` counts the items of a list.
- Entities that set something exist only with ` + "`enable_update: true`" + ` and the operations in the last column. A value that can be set is announced twice, to be read and to be set; the
  one to be read is then disabled in Home Assistant, unless the other one is a ` + "`datetime`" + ` entity.
- ` + "`datetime`" + ` entities require Home Assistant 2026.5. Everything else works with 2025.4 and newer.
- Requests can be sent over [MQTT](mqtt.md#requests-and-responses), or on the command line, such as ` + "`graph2mqtt call work/calendar list start=2026-12-01 end=2027-01-01`" + `.
- An event that a request of yours caused has the field ` + "`own`" + ` with the value true.
- Times without an offset are in the account's ` + "`timezone`" + `. Unknown values are ` + "`null`" + `.
`)
	for _, t := range all {
		if !t.kind {
			fmt.Fprintf(&b, "\n## %s\n\n%s\n", t.name, chapterDoc(kinds, t))
			chapter(&b, "", t, nil, "")
		}
	}
	return b.String()
}

// writeOptions writes the options of a kind and its defaults.
func writeOptions(b *strings.Builder, k sensors.Kind) {
	for _, c := range runtime.ConfigKinds([]sensors.Kind{k}) {
		b.WriteString("\n### Options\n\n" + config.KindReference(c))
	}
	b.WriteString("\nEvery sensor also has [these keys](../configuration.md#accountsidsensorsid).\n")
}

// chapter writes what a target has. docs is the path of the directory docs, relative to the page.
func chapter(b *strings.Builder, docs string, t target, reading []graph.Permission, member string) {
	entities(b, t.entities)
	if len(t.attributes) > 0 {
		b.WriteString("\n### Attributes\n\n")
		fields(b, "attribute", t.attributes)
	}
	if len(t.events) > 0 {
		events(b, t)
	}
	if t.kind || t.name == "every sensor" {
		permissions(b, reading, t.operations)
	}
	for i, op := range t.operations {
		of := member
		if op.OfGroup {
			of = ""
		}
		operation(b, docs, t.topic, op, of, t.operations[:i])
	}
}

func chapterDoc(kinds []sensors.Kind, t target) string {
	switch t.name {
	case "every sensor":
		return "What every sensor has in addition: an entity, and operations that look up people of your organization and your contacts. " +
			"The operations are for work and school accounts. Offer them by one sensor, such as " +
			"`calendar: {type: calendar, on_demand: true, allow: [default, people_search, person]}`."
	case "account":
		return "The device of an account. Its requests need no permission and no `enable_update`."
	case "bridge":
		return "The device of graph2mqtt itself."
	}
	i := slices.IndexFunc(kinds, func(k sensors.Kind) bool { return k.Name == t.name })
	return kinds[i].Doc
}

func firstSentence(doc string) string {
	if i := strings.Index(doc, ". "); i >= 0 {
		doc = doc[:i+1]
	}
	return doc
}

func entities(b *strings.Builder, all []entity.Entity) {
	b.WriteString("\n### Entities\n\n| entity | name | platform | | needs |\n|---|---|---|---|---|\n")
	for _, e := range all {
		key := "`" + e.Key + "`"
		if e.Primary && !e.IsCommand() {
			key = "**" + key + "**"
		}
		doc := e.Doc
		if len(e.Options) > 0 && e.Platform != "event" {
			doc += " Values: " + options(e) + "."
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s |\n", key, e.Name, platform(e), cell(doc), code(e.Operations))
	}
}

// options lists the values of an entity, with the words that Home Assistant shows for them.
func options(e entity.Entity) string {
	var all []string
	for _, o := range e.Options {
		word := "`" + o + "`"
		if label := e.Label(o); label != o {
			word += " (" + label + ")"
		}
		all = append(all, word)
	}
	return strings.Join(all, ", ")
}

func platform(e entity.Entity) string {
	if e.DeviceClass != "" {
		return e.Platform + ", " + e.DeviceClass
	}
	return e.Platform
}

// events writes the types of events and their fields; those that all of them have only once.
func events(b *strings.Builder, t target) {
	types := t.events
	b.WriteString("\n### Events\n\n| event | fired when |\n|---|---|\n")
	same := true
	for _, e := range types {
		fmt.Fprintf(b, "| `%s` | %s |\n", e.Name, cell(e.Doc))
		same = same && reflect.DeepEqual(e.Fields, types[0].Fields)
	}
	if same {
		b.WriteString("\n")
		for _, a := range t.attributes {
			if missing, ok := without(a.Fields, types[0].Fields); ok {
				fmt.Fprintf(b, "Each of them has the fields of the attribute `%s[]`", a.Key)
				if len(missing) > 0 {
					b.WriteString(", except for " + code(missing))
				}
				b.WriteString(".\n")
				return
			}
		}
		if len(types) > 1 {
			b.WriteString("Each of them has these fields:\n\n")
		}
		fields(b, "field", types[0].Fields)
		return
	}
	for i, e := range types {
		if i > 0 && reflect.DeepEqual(e.Fields, types[i-1].Fields) {
			continue
		}
		names := []string{e.Name}
		for _, next := range types[i+1:] {
			if !reflect.DeepEqual(next.Fields, e.Fields) {
				break
			}
			names = append(names, next.Name)
		}
		fmt.Fprintf(b, "\nFields of %s:\n\n", code(names))
		fields(b, "field", e.Fields)
	}
}

// without returns the keys that some has less than all. It reports false if some has others than all, or all is empty.
func without(all, some []schema.Field) (missing []string, ok bool) {
	rest := slices.Clone(some)
	for _, f := range all {
		if len(rest) > 0 && reflect.DeepEqual(rest[0], f) {
			rest = rest[1:]
		} else {
			missing = append(missing, f.Key)
		}
	}
	return missing, len(rest) == 0 && len(all) > 0
}

func permissions(b *strings.Builder, reading []graph.Permission, operations []services.Operation) {
	b.WriteString("\n### Permissions\n\n| permission | needed for | purpose | without it |\n|---|---|---|---|\n")
	type row struct {
		graph.Permission
		users []string
	}
	var rows []row
	add := func(user string, ps []graph.Permission) {
		for _, p := range ps {
			i := slices.IndexFunc(rows, func(r row) bool { return reflect.DeepEqual(r.Permission, p) })
			if i < 0 {
				i = len(rows)
				rows = append(rows, row{Permission: p})
			}
			rows[i].users = append(rows[i].users, user)
		}
	}
	add("reading", reading)
	for _, op := range operations {
		add("`"+op.Name+"`", op.Permissions)
	}
	for _, r := range rows {
		scopes := "`" + r.Scope + "`"
		if len(r.Alternatives) > 0 {
			scopes += " or " + strings.Join(quoted(r.Alternatives), " or ")
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", scopes, strings.Join(r.users, ", "), cell(r.Purpose), cell(r.Impact))
	}
}

func operation(b *strings.Builder, docs, topic string, op services.Operation, member string, before []services.Operation) {
	fmt.Fprintf(b, "\n### Operation %s\n\n%s%s\n\n```sh\nmosquitto_pub -t %s/request/%s -m '%s'\n```\n", op.Name, op.Doc, remarks(op), topic, op.Name, op.Example)
	all := schema.Object.Fields(op.New())
	if member != "" {
		name := "name or id"
		if member == "group" {
			name = "name, address or id"
		}
		all = append(all, schema.Field{Key: member, Type: "text", Doc: fmt.Sprintf("**Required with `%[1]s: all`.** The %[2]s of the %[1]s. Otherwise not allowed.", member, name)})
	}
	if op.Paged {
		all = append(all, schema.Field{Key: "cursor", Type: "text", Doc: "The `cursor` of the previous response, for the [next page](" + docs + "mqtt.md#pages)."})
	}
	if len(all) > 0 {
		b.WriteString("\n")
		fields(b, "field", all)
	}
	i := slices.IndexFunc(before, func(o services.Operation) bool { return reflect.DeepEqual(o.Returns, op.Returns) })
	switch {
	case len(op.Returns) == 0:
	case i >= 0:
		fmt.Fprintf(b, "\nThe response is that of [`%s`](#operation-%[1]s).\n", before[i].Name)
	default:
		b.WriteString("\nFields of `data` in the response:\n\n")
		fields(b, "field", op.Returns)
	}
}

func remarks(op services.Operation) string {
	var s string
	if op.Optional {
		s += " Optional: it is offered only if `allow` names it."
	}
	if op.Reads {
		s += " Requires `on_demand: true` in the sensor's configuration, not `enable_update`."
	}
	return s
}

func fields(b *strings.Builder, head string, all []schema.Field) {
	fmt.Fprintf(b, "| %s | type | |\n|---|---|---|\n", head)
	rows(b, "", all)
}

func rows(b *strings.Builder, path string, all []schema.Field) {
	for _, f := range all {
		kind, doc := f.Type, f.Doc
		if f.Enum != nil {
			kind = code(f.Enum)
		}
		if f.Required {
			doc = "**Required.** " + doc
		}
		fmt.Fprintf(b, "| `%s%s` | %s | %s |\n", path, f.Key, kind, cell(doc+f.Remarks()))
		below := path + f.Key + "."
		if strings.HasPrefix(f.Type, "list of ") {
			below = path + f.Key + "[]."
		}
		rows(b, below, f.Fields)
	}
}

func quoted(words []string) []string {
	all := slices.Clone(words)
	for i, w := range all {
		all[i] = "`" + w + "`"
	}
	return all
}

func code(words []string) string { return cell(strings.Join(quoted(words), " ")) }

func cell(s string) string { return strings.NewReplacer("|", `\|`, "\n", " ").Replace(s) }
