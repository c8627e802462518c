package config

import (
	"encoding/json"
	"slices"
	"strings"
)

// schema is a JSON Schema, or a part of one.
type schema map[string]any

// Schema returns the JSON Schema (draft 2020-12) of a configuration file.
func Schema(kinds []Kind) []byte {
	account := mappingSchema(accountFields())
	account.properties()["sensors"] = byID(sensorSchema(kinds), "The sensors, by id.")
	top := mappingSchema(topFields())
	top.properties()["accounts"] = byID(account, "The Microsoft 365 accounts, by id.")
	top["$schema"], top["title"] = "https://json-schema.org/draft/2020-12/schema", "graph2mqtt"
	b, err := json.MarshalIndent(top, "", "  ")
	if err != nil { // a default that JSON cannot hold
		panic(err)
	}
	return append(b, '\n')
}

func (s schema) properties() schema { return s["properties"].(schema) }

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

// sensorFields returns the keys of every sensor and those of its kind.
func sensorFields(k Kind) (common, own []Field) {
	return Fields(&Sensor{Read: true, Interval: k.Interval}), Fields(k.New())
}

func byID(of schema, doc string) schema {
	return schema{"type": "object", "description": doc, "propertyNames": schema{"pattern": ident.String()}, "additionalProperties": of}
}

func sensorSchema(kinds []Kind) schema {
	var each []schema
	for _, k := range kinds {
		common, own := sensorFields(k)
		s := mappingSchema(slices.Concat(common, own))
		s["title"], s["description"] = k.Name, k.Doc
		s.properties()["type"] = schema{"const": k.Name, "description": "The kind of sensor."}
		each = append(each, s)
	}
	return schema{"oneOf": each}
}

// mappingSchema describes a mapping that has no other keys than fields. Nothing is required of it that the environment could
// bring, so only type is.
func mappingSchema(fields []Field) schema {
	properties := schema{}
	s := schema{"type": []string{"object", "null"}, "properties": properties, "additionalProperties": false}
	for _, f := range fields {
		properties[f.Key] = f.schema()
		if f.Secret {
			properties[f.Key+"_file"] = schema{"type": "string", "description": "A file that holds it: " + f.Doc}
		}
		if f.Key == "type" && f.Required {
			s["type"], s["required"] = "object", []string{"type"}
		}
	}
	return s
}

func (f Field) schema() schema {
	s := typeSchema(f)
	s["description"] = f.Doc
	if f.Default != nil && f.Type != "mapping" {
		s["default"] = f.Default
	}
	return s
}

func typeSchema(f Field) schema {
	if item, ok := strings.CutPrefix(f.Type, "list of "); ok {
		return schema{"type": "array", "items": typeSchema(Field{Type: item, Enum: f.Enum, Min: f.Min, Max: f.Max, Fields: f.Fields})}
	}
	switch f.Type {
	case "text":
		if f.Enum != nil {
			return schema{"enum": f.Enum}
		}
		return schema{"type": "string"}
	case "duration":
		return schema{"type": "string", "pattern": `^[+-]?(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h))+$`}
	case "true or false":
		return schema{"type": "boolean"}
	case "whole number", "number":
		s := schema{"type": map[string]string{"whole number": "integer", "number": "number"}[f.Type]}
		if f.Min != "" {
			s["minimum"] = json.Number(f.Min)
		}
		if f.Max != "" {
			s["maximum"] = json.Number(f.Max)
		}
		return s
	case "mapping":
		if f.Enum != nil {
			return schema{"oneOf": []schema{{"enum": f.Enum}, mappingSchema(f.Fields)}}
		}
		return mappingSchema(f.Fields)
	case "mapping by id":
		if f.Fields == nil {
			return schema{"type": "object"}
		}
		return schema{"type": "object", "additionalProperties": mappingSchema(f.Fields)}
	}
	return schema{}
}
