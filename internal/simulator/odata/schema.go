package odata

import (
	"encoding/json"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Type is a structured type of Graph's metadata.
type Type struct {
	Name       string // "microsoft.graph.event"
	Properties Properties
	Open       bool // accepts undeclared properties

	// Of entity types only:
	Mailbox bool   // served by Exchange, which serves four requests per mailbox at a time and always returns the id
	Denied  *Error // for a missing permission
}

// Properties are the properties of a type by name.
type Properties = map[string]Property

// ComplexType returns the type with this name in Microsoft's namespace.
func ComplexType(name string, p Properties) *Type {
	return &Type{Name: "microsoft.graph." + name, Properties: p}
}

// A Property of a type. Make one with String, Boolean, … and qualify it with Many, Computed, …
type Property struct {
	edm        string // "Edm.String", or the name of the enumeration
	members    []string
	complex    *Type
	collection bool
	computed   bool
	notNull    bool
	link       bool
	expandable bool
}

// String is Edm.String.
func String() Property { return Property{edm: "Edm.String"} }

// Boolean is Edm.Boolean.
func Boolean() Property { return Property{edm: "Edm.Boolean"} }

// Int32 is Edm.Int32.
func Int32() Property { return Property{edm: "Edm.Int32"} }

// Double is Edm.Double.
func Double() Property { return Property{edm: "Edm.Double"} }

// DateTimeOffset is Edm.DateTimeOffset.
func DateTimeOffset() Property { return Property{edm: "Edm.DateTimeOffset"} }

// Date is Edm.Date.
func Date() Property { return Property{edm: "Edm.Date"} }

// Enum is an enumeration: its name and its members.
func Enum(name string, members ...string) Property {
	return Property{edm: "microsoft.graph." + name, members: members}
}

// Of is a structured type.
func Of(t *Type) Property { return Property{edm: t.Name, complex: t} }

// Many makes it a collection.
func (p Property) Many() Property { p.collection = true; return p }

// Computed makes it a property that only the service sets: what a client sends is ignored.
func (p Property) Computed() Property { p.computed = true; return p }

// NotNull refuses null.
func (p Property) NotNull() Property { p.notNull = true; return p }

// Link makes it a relationship, which is returned only if expanded.
func (p Property) Link(expandable bool) Property { p.link, p.expandable = true, expandable; return p }

// find returns the property with this name in any case.
func (t *Type) find(name string) (string, Property, bool) {
	if p, ok := t.Properties[name]; ok {
		return name, p, true
	}
	for n, p := range t.Properties {
		if strings.EqualFold(n, name) {
			return n, p, true
		}
	}
	return "", Property{}, false
}

// Decode reads the body, checks it against the type of the route and returns it with the values converted as OData's reader does.
func (c *Call) Decode() (map[string]any, error) {
	body, err := c.object()
	if err != nil {
		return nil, err
	}
	return c.Route.Type.convert(body)
}

// Parameters reads the parameters of an action, given as a type. Their names may be in any case; they are returned as declared.
func (c *Call) Parameters(t *Type) (map[string]any, error) {
	body := map[string]any{}
	if len(c.Body) > 0 {
		var err error
		if body, err = c.object(); err != nil {
			return nil, err
		}
	}
	given := map[string]any{}
	for k, v := range body {
		name, _, ok := t.find(k)
		if !ok {
			return nil, BadRequest("The parameter '%s' in the request payload is not a valid parameter for the operation '%s'.", k, lastSegment(c.Route.Path))
		}
		given[name] = v
	}
	return t.convert(given)
}

func lastSegment(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

func (c *Call) object() (map[string]any, error) {
	var body map[string]any
	if err := json.Unmarshal(c.Body, &body); err != nil || body == nil {
		return nil, unreadable()
	}
	return body, nil
}

// convert checks and converts the properties of an object.
func (t *Type) convert(given map[string]any) (map[string]any, error) {
	out := map[string]any{}
	for _, k := range slices.Sorted(maps.Keys(given)) {
		v := given[k]
		if strings.Contains(k, "@odata.") {
			// The derived type of an item matters only where its properties are open.
			if k == "@odata.type" && t.Open {
				out[k] = v
			}
			continue
		}
		p, ok := t.Properties[k]
		switch {
		case !ok && t.Open:
			out[k] = v
			continue
		case !ok:
			return nil, unknownProperty(k, t)
		case p.computed:
			continue
		}
		converted, err := p.convert(k, v)
		if err != nil {
			return nil, err
		}
		out[k] = converted
	}
	return out, nil
}

func (p Property) convert(name string, v any) (any, error) {
	if !p.collection {
		return p.convertOne(name, v)
	}
	if v == nil {
		return []any{}, nil
	}
	all, ok := v.([]any)
	if !ok {
		return nil, BadRequest("The value of '%s' must be a collection.", name)
	}
	out := make([]any, 0, len(all))
	for _, item := range all {
		converted, err := p.convertOne(name, item)
		if err != nil {
			return nil, err
		}
		out = append(out, converted)
	}
	return out, nil
}

func (p Property) convertOne(name string, v any) (any, error) {
	wrong := BadRequest("Cannot convert the value of '%s' to the expected type '%s'.", name, p.edm)
	text, isText := v.(string)
	switch {
	case v == nil && p.notNull:
		return nil, wrong
	case v == nil:
		return nil, nil
	case p.complex != nil:
		object, ok := v.(map[string]any)
		if !ok {
			return nil, BadRequest("The value of '%s' must be an object.", name)
		}
		return p.complex.convert(object)
	case p.members != nil:
		for _, m := range p.members {
			if isText && strings.EqualFold(m, text) {
				return m, nil
			}
		}
		return nil, BadRequest("Cannot convert the literal '%v' to the expected type '%s'.", v, p.edm)
	}
	switch p.edm {
	case "Edm.Boolean":
		if b, ok := v.(bool); ok {
			return b, nil
		}
		if text == "true" || text == "false" {
			return text == "true", nil
		}
		return nil, wrong
	case "Edm.Int32", "Edm.Double":
		n, ok := v.(float64)
		if isText {
			var err error
			n, err = strconv.ParseFloat(text, 64)
			ok = err == nil
		}
		if !ok || p.edm == "Edm.Int32" && (n != math.Trunc(n) || math.Abs(n) > math.MaxInt32) {
			return nil, wrong
		}
		return n, nil
	}
	ok := isText
	switch p.edm {
	case "Edm.DateTimeOffset":
		_, err := time.Parse(time.RFC3339Nano, text)
		ok = ok && err == nil
	case "Edm.Date":
		_, err := time.Parse(time.DateOnly, text)
		ok = ok && err == nil
	}
	if !ok {
		return nil, wrong
	}
	return text, nil
}

var durationPattern = regexp.MustCompile(`^P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)(?:\.\d+)?S)?)?$`)

// ParseDuration parses an Edm.Duration: days and shorter units only.
func ParseDuration(s string) (time.Duration, bool) {
	parts := durationPattern.FindStringSubmatch(s)
	if parts == nil || strings.HasSuffix(s, "P") || strings.HasSuffix(s, "T") {
		return 0, false
	}
	var d time.Duration
	for i, unit := range []time.Duration{24 * time.Hour, time.Hour, time.Minute, time.Second} {
		if parts[i+1] != "" {
			n, err := strconv.Atoi(parts[i+1])
			if err != nil || n > 1_000_000 {
				return 0, false
			}
			d += time.Duration(n) * unit
		}
	}
	return d, true
}

// ParseEnum returns the member of an enumeration in Microsoft's spelling; v is a string in any case.
func ParseEnum(name string, v any, members ...string) (string, error) {
	m, err := Enum(name, members...).NotNull().convertOne(name, v)
	if err != nil {
		return "", BadRequest("Cannot convert the literal '%v' to the expected type 'microsoft.graph.%s'.", v, name)
	}
	return m.(string), nil
}
