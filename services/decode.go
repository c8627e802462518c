package services

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/schema"
)

// A Field describes one field of a request, for the documentation.
type Field struct {
	Name, Type, Doc string
	Enum            []string
	Required        bool
}

// Fields describes the fields of a request.
func Fields(r Request) []Field {
	var fields []Field
	for _, f := range schema.Object.Fields(r) {
		fields = append(fields, Field{Name: f.Key, Type: f.Type, Doc: f.Doc, Enum: f.Enum, Required: f.Required})
	}
	return fields
}

// Decode decodes the request of an operation from a JSON object. Its error names every unknown, missing and repeated field and
// every value of the wrong type or outside of an enumeration, with what is accepted. also are fields that the request may have beside
// those of the operation, and that are not in object any more.
func Decode(op Operation, object []byte, also ...string) (Request, error) {
	r := op.New()
	err := schema.DecodeObject(object, r, also...)
	if v, ok := r.(interface{ Validate() error }); ok && err == nil {
		err = v.Validate()
	}
	var problems schema.Problems
	switch {
	case errors.As(err, &problems):
		var texts []string
		for _, p := range problems {
			texts = append(texts, p.Error())
		}
		return nil, graph.Invalid("%s", strings.Join(texts, "; "))
	case err != nil:
		return nil, graph.Invalid("%s", err.Error())
	}
	return r, nil
}

// short formats JSON for an error. Of a long value, which may be a message, it gives only the length, because errors are logged.
func short(raw []byte) string {
	raw = bytes.TrimSpace(raw)
	if n := utf8.RuneCount(raw); n > maxQuoted {
		return fmt.Sprintf("a value of %d characters", n)
	}
	return string(raw)
}
