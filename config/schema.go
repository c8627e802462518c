package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/graph2mqtt/graph2mqtt/internal/schema"
)

// The types of package schema that users of the configuration see.
type (
	// A Secret is text that no function prints.
	Secret = schema.Secret
	// A Field describes one key.
	Field = schema.Field
	// A Problem is one mistake in the configuration.
	Problem = schema.Problem
	// Problems lists every mistake, sorted by path.
	Problems = schema.Problems
)

// At attributes err to the key at path, relative to the struct whose Validate method returns it. Joined errors stay separate.
// It returns nil for nil.
func At(path string, err error) error { return schema.At(path, err) }

// Decode decodes raw into dst, a pointer to a struct that holds its defaults. It is strict: see package schema. Its error is
// Problems, all of them.
func Decode(dst any, raw map[string]any) error { return schema.Decode(dst, raw) }

// Fields describes the keys of v, a pointer to a struct with its defaults set, in order of declaration.
func Fields(v any) []Field { return schema.Configuration.Fields(v) }

// Schema returns the JSON Schema (draft 2020-12) of a configuration file.
func Schema(kinds []Kind) []byte {
	top := schema.MappingSchema(topFields())
	top.Properties()["organizations"] = schema.ByID(organizationSchema(kinds), ident.String(), "Organizations, by id.")
	top.Properties()["accounts"] = schema.ByID(accountSchema(kinds), ident.String(), "The Microsoft 365 accounts, by id.")
	return titled(top, "graph2mqtt")
}

// AccountSchema returns the JSON Schema of a file with one account.
func AccountSchema(kinds []Kind) []byte {
	return titled(accountSchema(kinds), "graph2mqtt account")
}

func accountSchema(kinds []Kind) schema.JSONSchema {
	account := schema.MappingSchema(accountFields())
	account.Properties()["sensors"] = schema.ByID(sensorSchema(kinds, nil), ident.String(), "The sensors, by id.")
	return account
}

func organizationSchema(kinds []Kind) schema.JSONSchema {
	organization := schema.MappingSchema(organizationFields())
	ofApplications := slices.DeleteFunc(slices.Clone(kinds), func(k Kind) bool { return !k.Application })
	if len(ofApplications) > 0 {
		organization.Properties()["sensors"] = schema.ByID(sensorSchema(ofApplications, mailboxFields), ident.String(), "The sensors, by id.")
	}
	if i := slices.IndexFunc(kinds, func(k Kind) bool { return k.Name == "room" }); i >= 0 {
		common, own := sensorFields(kinds[i])
		rooms := schema.MappingSchema(slices.DeleteFunc(append(common, own...), func(f Field) bool { return f.Key == "type" || f.Key == "room" }))
		rooms["description"] = "The rooms: the keys of a sensor of type room."
		organization.Properties()["rooms"] = rooms
	}
	return organization
}

func titled(s schema.JSONSchema, title string) []byte {
	s["$schema"], s["title"] = "https://json-schema.org/draft/2020-12/schema", title
	return s.Indent()
}

func topFields() []Field {
	c := &Config{}
	c.setDefaults()
	return Fields(c)
}

func accountFields() []Field {
	a := &Account{}
	a.setDefaults()
	return Fields(a)
}

func organizationFields() []Field {
	o := &Organization{}
	o.setDefaults()
	return Fields(o)
}

// sensorFields returns the keys of every sensor and those of its kind.
func sensorFields(k Kind) (common, own []Field) {
	return Fields(&Sensor{Read: true, Interval: k.Interval}), Fields(decodeTarget(k.New()))
}

// mailboxFields returns the keys that the sensors of a kind have in an organization alone.
func mailboxFields(k Kind) []Field {
	if !k.OfMailbox {
		return nil
	}
	return Fields(&Mailbox{})
}

// sensorSchema returns the schema of the sensors of some kinds. more, which may be nil, returns further keys of a kind.
func sensorSchema(kinds []Kind, more func(Kind) []Field) schema.JSONSchema {
	var each []schema.JSONSchema
	for _, k := range kinds {
		common, own := sensorFields(k)
		if more != nil {
			own = append(own, more(k)...)
		}
		s := schema.MappingSchema(append(common, own...))
		s["title"], s["description"] = k.Name, k.Doc
		s.Properties()["type"] = schema.OneWord(k.Name, "The kind of sensor.")
		each = append(each, s)
	}
	return schema.JSONSchema{"oneOf": each}
}

// Reference returns every key in Markdown tables.
func Reference(kinds []Kind) string {
	var b strings.Builder
	b.WriteString(`# Configuration reference

For anyone who writes a configuration file: every key with its default. ` + "`graph2mqtt config reference`" + ` prints this page.

` + "```yaml" + `
mqtt:
  url: mqtt://192.168.1.10:1883
accounts:
  work:
    client_id: 00000000-0000-0000-0000-000000000000
    sensors:
      calendar: {type: calendar}
` + "```" + `

- The format of a file follows from its extension: ` + "`.yaml`, `.yml`, `.toml` or `.json`" + `. A file has at most 1 MiB.
- Each key is also an environment variable: ` + "`GRAPH2MQTT_`" + ` and the path in capital letters, with ` + "`__`" + ` between the levels and commas in lists
  (` + "`GRAPH2MQTT_MQTT__URL`" + `). Command line flags override the environment, and the environment overrides the file.
- Durations need a unit: ` + "`30s`, `15m`, `24h`" + `. Words such as ` + "`info`" + ` may be written in any case. Relative paths are relative to the working directory.
- Every secret can also be read from a file: append ` + "`_file`" + ` to the key. The file holds one line of UTF-8 text.
- An account can have a file of its own, and be added and removed with it: see [accounts.md](accounts.md).
- Changes to the files take effect a few seconds after you save them, except for keys that require a restart.
- ` + "`graph2mqtt check`" + ` lists every problem; no output means the configuration is valid. For editors there is a
  [JSON Schema](schema.json), and an [example](graph2mqtt.example.yaml) with every key.
- [sensors.md](sensors.md) describes what each sensor shows and which requests it accepts.
`)
	b.WriteString("\n## General\n\n" + schema.Table(topFields()))
	b.WriteString("\n## accounts.<id>\n\n" + schema.Table(accountFields()))
	b.WriteString("\n## organizations.<id>\n\nSee [organizations.md](organizations.md).\n\n" + schema.Table(organizationFields()))
	b.WriteString("\n## organizations.<id>.sensors.<id>\n\nThe keys of every sensor, as below, those of its type, and:\n\n" + schema.Table(Fields(&Mailbox{})))
	b.WriteString("\n## accounts.<id>.sensors.<id>\n\nThe keys of every sensor:\n\n" + schema.Table(Fields(&Sensor{Read: true})))
	for _, k := range kinds {
		fmt.Fprintf(&b, "\n### type: %s\n\n%s\n\n%s", k.Name, k.Doc, KindReference(k))
	}
	return b.String()
}

// KindReference returns the defaults and the options of a kind in Markdown.
func KindReference(k Kind) string {
	s := fmt.Sprintf("Default interval: %s.", schema.FormatDuration(k.Interval))
	if k.OwnUpdates {
		s += " The account's `enable_update` does not apply: set it for the sensor."
	}
	if k.WriteOnly {
		s += " `read` is false by default."
	}
	if k.WorkOnly {
		s += " Work and school accounts only."
	}
	s += "\n"
	if _, own := sensorFields(k); len(own) > 0 {
		s += "\n" + schema.Table(own)
	}
	return s
}

// Example returns a configuration file in YAML with one sensor of each kind. Required keys are set; the others are comments
// with their defaults.
func Example(kinds []Kind) string {
	e := &schema.Example{}
	e.Line(0, "# Configuration of graph2mqtt. "+exampleNote)
	e.Fields(0, topFields(), "accounts")
	e.Line(1, "work:")
	accountExample(e, 2, kinds)
	return e.String()
}

// AccountExample returns a file with one account, like Example.
func AccountExample(kinds []Kind) string {
	e := &schema.Example{}
	e.Line(0, "# An account of graph2mqtt: accounts.d/work.yaml for the account work. "+exampleNote)
	accountExample(e, 0, kinds)
	return e.String()
}

const exampleNote = "Lines with a # before the key show the default. To change it, remove the #."

// accountExample prints the keys of an account.
func accountExample(e *schema.Example, depth int, kinds []Kind) {
	e.Fields(depth, accountFields(), "sensors")
	for _, k := range kinds {
		common, own := sensorFields(k)
		id := k.Name
		if Reserved(id) {
			id = "my_" + id
		}
		e.Line(depth+1, id+":")
		e.Comment(depth+2, k.Doc)
		e.Line(depth+2, "type: "+k.Name)
		if k.WriteOnly {
			e.Comment(depth+2, "Without reading, the sensor only offers operations.")
			e.Line(depth+2, "enable_update: true")
			e.Line(depth+2, "#read: false")
		}
		for _, f := range common {
			if f.Key == "interval" {
				e.Fields(depth+2, []Field{f})
			}
		}
		e.Fields(depth+2, own)
	}
}
