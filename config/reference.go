package config

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
)

// Reference returns every key in Markdown tables.
func Reference(kinds []Kind) string {
	var b strings.Builder
	b.WriteString(`# Configuration reference

Every key, with its default. It is printed by ` + "`graph2mqtt config reference`" + ` and made from the program itself.

- A file is YAML, TOML or JSON by its extension. Each key is also an environment variable: ` + "`GRAPH2MQTT_`" + ` and the path in capitals, with
  ` + "`__`" + ` between the levels and commas in lists (` + "`GRAPH2MQTT_MQTT__URL`" + `). Command line flags come before the environment, and that before the file.
- A duration has a unit: ` + "`30s`, `15m`, `24h`" + `. Words such as ` + "`info`" + ` may be written in any case. Relative paths begin at the working directory.
- Every key whose value is secret has a second one that ends in ` + "`_file`" + `, for the name of a file that holds the value.
- A change of the file takes effect at once, except for the keys that say that they need one.
`)
	b.WriteString("\n## The program\n\n")
	table(&b, "", topFields())
	b.WriteString("\n## accounts.<id>\n\n")
	table(&b, "", accountFields())
	b.WriteString("\n## accounts.<id>.sensors.<id>\n\nWhat every sensor has:\n\n")
	table(&b, "", Fields(&Sensor{Read: true}))
	for _, k := range kinds {
		_, own := sensorFields(k)
		fmt.Fprintf(&b, "\n### type: %s\n\n%s\n\nRead every %s.", k.Name, k.Doc, formatDuration(k.Interval))
		if k.OwnUpdates {
			b.WriteString(" The account's `enable_update` is not for it: it has its own.")
		}
		if k.WorkOnly {
			b.WriteString(" Work and school accounts only.")
		}
		b.WriteString("\n")
		if len(own) > 0 {
			b.WriteString("\n")
			table(&b, "", own)
		}
	}
	return b.String()
}

func table(b *strings.Builder, path string, fields []Field) {
	b.WriteString("| key | type | default | |\n|---|---|---|---|\n")
	rows(b, path, fields)
}

func rows(b *strings.Builder, path string, fields []Field) {
	escape := strings.NewReplacer("|", `\|`, "\n", " ").Replace
	for _, f := range fields {
		key := join(path, f.Key)
		if f.Fields != nil && f.Enum == nil && f.Type == "mapping" {
			rows(b, key, f.Fields)
			continue
		}
		kind := f.Type
		if f.Enum != nil {
			kind = "`" + strings.Join(f.Enum, "` `") + "`"
		}
		if f.Secret {
			key += "`, `" + f.Key + "_file"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", key, kind, escape(f.defaultCell()), escape(f.Doc+f.remarks()))
		switch {
		case f.Type == "mapping":
			rows(b, key, f.Fields)
		case f.Fields != nil:
			rows(b, key+".<key>", f.Fields)
		}
	}
}

// defaultCell returns the table cell with the default.
func (f Field) defaultCell() string {
	switch {
	case f.Required:
		return "*required*"
	case f.Default == nil || f.Type == "mapping by id" || f.Type == "anything":
		return ""
	case strings.HasPrefix(f.Type, "list of "):
		return "`" + flow(f.Default) + "`"
	}
	return fmt.Sprintf("`%v`", f.Default)
}

func (f Field) remarks() string {
	var s string
	switch {
	case f.Min != "" && f.Max != "":
		s = fmt.Sprintf(" From %s to %s.", f.Min, f.Max)
	case f.Min != "":
		s = fmt.Sprintf(" At least %s.", f.Min)
	case f.Max != "":
		s = fmt.Sprintf(" At most %s.", f.Max)
	}
	if f.Restart {
		s += " Needs a restart."
	}
	return s
}

// Example is a configuration file in YAML with one sensor of each kind. What is required is there, all else a comment that
// shows its default.
func Example(kinds []Kind) string {
	w := &example{}
	w.line(0, "# Configuration of graph2mqtt. A key behind a # is not set: what it shows is its default, if it has one.")
	w.fields(0, topFields())
	w.line(1, "work:")
	w.fields(2, accountFields())
	for _, k := range kinds {
		common, own := sensorFields(k)
		id := k.Name
		if Reserved(id) {
			id = "my_" + id
		}
		w.line(3, id+":")
		w.comment(4, k.Doc)
		w.line(4, "type: "+k.Name)
		for _, f := range common {
			if f.Key == "interval" {
				w.fields(4, []Field{f})
			}
		}
		w.fields(4, own)
	}
	return w.String()
}

// An example writes YAML.
type example struct{ strings.Builder }

func (w *example) line(depth int, s string) {
	w.WriteString(strings.Repeat("  ", depth) + s + "\n")
}

// comment writes a wrapped comment.
func (w *example) comment(depth int, s string) {
	line := "#"
	for word := range strings.FieldsSeq(s) {
		if len(line)+len(word) > 98-2*depth && line != "#" {
			w.line(depth, line)
			line = "#"
		}
		line += " " + word
	}
	if line != "#" {
		w.line(depth, line)
	}
}

func (w *example) fields(depth int, fields []Field) {
	for _, f := range fields {
		w.comment(depth, f.Doc+f.remarks())
		switch {
		case f.Key == "accounts", f.Key == "sensors", f.Type == "mapping" && f.Enum == nil:
			w.line(depth, f.Key+":")
			w.fields(depth+1, f.Fields)
		case f.Required:
			w.line(depth, f.Key+": "+flow(f.Example))
		case f.Default != nil && f.Type != "mapping by id":
			w.line(depth, "#"+f.Key+": "+flow(f.Default))
		default:
			w.line(depth, "#"+f.Key+":")
		}
		if f.Secret {
			w.line(depth, "#"+f.Key+"_file:")
		}
	}
}

// word matches text that needs no quotes in YAML, and durations.
var word = regexp.MustCompile(`^([a-z][a-z0-9]*([_./:-]+[a-z0-9]+)*|[0-9]+(s|m|h))$`)

// flow formats a value on one line of YAML, which includes JSON.
func flow(v any) string {
	if s, ok := v.(string); ok && word.MatchString(s) && s != "true" && s != "false" && s != "null" {
		return s
	}
	b, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return string(b)
}
