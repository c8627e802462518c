package schema

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Table returns a Markdown table of fields, with the keys of mappings in the rows below.
func Table(fields []Field) string {
	var b strings.Builder
	b.WriteString("| key | type | default | |\n|---|---|---|---|\n")
	rows(&b, "", fields)
	return b.String()
}

func rows(b *strings.Builder, path string, fields []Field) {
	for _, f := range fields {
		key := Join(path, f.Key)
		if f.Fields != nil && f.Enum == nil && isMapping(f.Type) {
			if f.Doc != "" {
				fmt.Fprintf(b, "| `%s` | %s | | %s |\n", key, f.Type, cell(f.Doc))
			}
			rows(b, key, f.Fields)
			continue
		}
		kind := f.Type
		if f.Enum != nil {
			kind = "`" + strings.Join(f.Enum, "` `") + "`"
		}
		name := "`" + key + "`"
		if f.Secret {
			name += ", `" + key + "_file`"
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", name, kind, cell(f.defaultCell()), cell(f.Doc+f.Remarks()))
		switch {
		case isMapping(f.Type):
			rows(b, key, f.Fields)
		case strings.HasPrefix(f.Type, "list of "):
			rows(b, key+"[]", f.Fields)
		default:
			rows(b, key+".<key>", f.Fields)
		}
	}
}

func cell(s string) string { return strings.NewReplacer("|", `\|`, "\n", " ").Replace(s) }

// defaultCell returns the table cell with the default.
func (f Field) defaultCell() string {
	switch {
	case f.Required && f.Unless != "":
		return "*required*, or `" + f.Unless + "`"
	case f.Required:
		return "*required*"
	case f.Default == nil || strings.HasSuffix(f.Type, " by id") || f.Type == "anything":
		return ""
	case strings.HasPrefix(f.Type, "list of "):
		return "`" + Flow(f.Default) + "`"
	}
	return fmt.Sprintf("`%v`", f.Default)
}

// Remarks returns the limits of a field, as sentences that follow its doc.
func (f Field) Remarks() string {
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
		s += " Requires a restart."
	}
	return s
}

// An Example is a YAML file under construction. Required keys are set; the others are comments with their defaults.
type Example struct{ strings.Builder }

// Line writes a line at a depth of indentation.
func (e *Example) Line(depth int, s string) {
	e.WriteString(strings.Repeat("  ", depth) + s + "\n")
}

// Comment writes a wrapped comment.
func (e *Example) Comment(depth int, s string) {
	line := "#"
	for word := range strings.FieldsSeq(s) {
		if len(line)+len(word) > 98-2*depth && line != "#" {
			e.Line(depth, line)
			line = "#"
		}
		line += " " + word
	}
	if line != "#" {
		e.Line(depth, line)
	}
}

// Fields writes fields. The keys in open are mappings whose content the caller writes.
func (e *Example) Fields(depth int, fields []Field, open ...string) {
	for _, f := range fields {
		e.Comment(depth, f.Doc+f.Remarks())
		switch {
		case slices.Contains(open, f.Key), isMapping(f.Type) && f.Enum == nil:
			e.Line(depth, f.Key+":")
			e.Fields(depth+1, f.Fields)
		case f.Required:
			e.Line(depth, f.Key+": "+Flow(f.Example))
		case f.Default != nil && !strings.HasSuffix(f.Type, " by id"):
			e.Line(depth, "#"+f.Key+": "+Flow(f.Default))
		default:
			e.Line(depth, "#"+f.Key+":")
		}
		if f.Secret {
			e.Line(depth, "#"+f.Key+"_file:")
		}
	}
}

// plainWord matches text that needs no quotes in YAML, and durations.
var plainWord = regexp.MustCompile(`^([a-z][a-z0-9]*([_./:-]+[a-z0-9]+)*|[0-9]+(s|m|h))$`)

// Flow formats a value on one line of YAML, which includes JSON.
func Flow(v any) string {
	if s, ok := v.(string); ok && plainWord.MatchString(s) && s != "true" && s != "false" && s != "null" {
		return s
	}
	b, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return string(b)
}
