package schema

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
)

// JSONSchema is a JSON Schema (draft 2020-12), or a part of one.
type JSONSchema map[string]any

// Properties returns the schemas of the keys of a mapping.
func (s JSONSchema) Properties() JSONSchema { return s["properties"].(JSONSchema) }

// Indent returns the schema as an indented document.
func (s JSONSchema) Indent() []byte {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil { // a default that JSON cannot hold
		panic(err)
	}
	return append(b, '\n')
}

// MappingSchema describes a mapping that has no other keys than fields. Of the required keys only type is required, because
// the others may come from the environment.
func MappingSchema(fields []Field) JSONSchema {
	properties := JSONSchema{}
	s := JSONSchema{"type": []string{"object", "null"}, "properties": properties, "additionalProperties": false}
	for _, f := range fields {
		properties[f.Key] = f.schema()
		if f.Secret {
			properties[f.Key+"_file"] = JSONSchema{"type": nullable("string"), "description": "A file that holds the value of " + f.Key + ". " + f.Doc}
		}
		if f.Key == "type" && f.Required {
			s["type"], s["required"] = "object", []string{"type"}
		}
	}
	return s
}

// ByID describes a mapping whose keys match pattern.
func ByID(of JSONSchema, pattern, doc string) JSONSchema {
	return JSONSchema{"type": nullable("object"), "description": doc, "propertyNames": JSONSchema{"pattern": pattern}, "additionalProperties": of}
}

// nullable is a type or nothing: a key without a value counts as not given.
func nullable(name string) []string { return []string{name, "null"} }

func (f Field) schema() JSONSchema {
	s := typeSchema(f)
	s["description"] = f.Doc
	if f.Default != nil && !isMapping(f.Type) {
		s["default"] = f.Default
	}
	return s
}

func isMapping(typeName string) bool { return typeName == "mapping" || typeName == "object" }

func typeSchema(f Field) JSONSchema {
	if item, ok := strings.CutPrefix(f.Type, "list of "); ok {
		if isMapping(strings.TrimSuffix(item, "s")) {
			item = strings.TrimSuffix(item, "s")
		}
		items := typeSchema(Field{Type: item, Enum: f.Enum, Min: f.Min, Max: f.Max, Fields: f.Fields})
		notNull(items)
		list := JSONSchema{"type": nullable("array"), "items": items}
		if f.NonEmpty {
			list["minItems"] = 1
		}
		return list
	}
	switch f.Type {
	case "text":
		if f.Enum != nil {
			return JSONSchema{"anyOf": append(wordSchemas(f.Enum), JSONSchema{"type": "null"})}
		}
		return JSONSchema{"type": nullable("string")}
	case "duration":
		return JSONSchema{"type": nullable("string"), "pattern": `^[+-]?(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h))+$`}
	case "time":
		return JSONSchema{"type": nullable("string"), "format": "date-time"}
	case "true or false":
		return JSONSchema{"type": nullable("boolean")}
	case "whole number", "number":
		s := JSONSchema{"type": nullable(map[string]string{"whole number": "integer", "number": "number"}[f.Type])}
		if f.Min != "" {
			s["minimum"] = json.Number(f.Min)
		}
		if f.Max != "" {
			s["maximum"] = json.Number(f.Max)
		}
		return s
	case "mapping", "object":
		if f.Enum != nil {
			return JSONSchema{"anyOf": append(wordSchemas(f.Enum), MappingSchema(f.Fields))}
		}
		return MappingSchema(f.Fields)
	case "mapping by id", "object by id":
		if f.Fields == nil {
			return JSONSchema{"type": nullable("object")}
		}
		return JSONSchema{"type": nullable("object"), "additionalProperties": MappingSchema(f.Fields)}
	}
	return JSONSchema{}
}

// notNull removes null from the types: an item of a list must have a value.
func notNull(s JSONSchema) {
	if types, ok := s["type"].([]string); ok {
		s["type"] = types[0]
	}
	if any, ok := s["anyOf"].([]JSONSchema); ok {
		s["anyOf"] = slices.DeleteFunc(any, func(s JSONSchema) bool { return s["type"] == "null" })
	}
}

// wordSchemas describes one of words in any case. The enum is for editors, which complete its values.
func wordSchemas(words []string) []JSONSchema {
	return []JSONSchema{{"enum": words}, {"type": "string", "pattern": anyCase(words)}}
}

// anyCase returns a regular expression for words in any case. JSON Schema has no flag for that.
func anyCase(words []string) string {
	var b strings.Builder
	for i, word := range words {
		if i > 0 {
			b.WriteByte('|')
		}
		for _, r := range word {
			lower, upper := strings.ToLower(string(r)), strings.ToUpper(string(r))
			if lower == upper {
				b.WriteString(regexp.QuoteMeta(string(r)))
			} else {
				b.WriteString("[" + lower + upper + "]")
			}
		}
	}
	return "^(" + b.String() + ")$"
}

// OneWord describes a key that has one word as its value, in any case.
func OneWord(word, doc string) JSONSchema {
	return JSONSchema{"anyOf": wordSchemas([]string{word}), "description": doc}
}
