package odata

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// A predicate is a parsed $filter.
type predicate func(entity map[string]any) bool

// parseFilter parses the part of OData's $filter that clients of Graph use: comparisons, in, and, or, not, parentheses, any, all and functions of
// strings. Properties are those of t. See
// https://docs.oasis-open.org/odata/odata/v4.01/odata-v4.01-part2-url-conventions.html#sec_SystemQueryOptionfilter.
func parseFilter(text string, t *Type) (predicate, error) {
	match, _, err := parseFilterPaths(text, t)
	return match, err
}

// parseFilterPaths also returns the paths of the properties in the filter, in the order in which they appear.
func parseFilterPaths(text string, t *Type) (predicate, []string, error) {
	tokens, err := scanFilter(text)
	if err != nil {
		return nil, nil, invalidFilter(err)
	}
	p := &filterParser{tokens: tokens, typ: t, vars: map[string]Property{}}
	match, err := p.or()
	if err == nil && p.next() != "" {
		err = fmt.Errorf("syntax error at '%s' in '%s'", p.next(), text)
	}
	if err != nil {
		return nil, nil, invalidFilter(err)
	}
	return func(entity map[string]any) bool { return match(row{entity: entity}) }, p.paths, nil
}

// invalidFilter makes Graph's error of a syntax error.
func invalidFilter(err error) error {
	if errors.As(err, new(*Error)) {
		return err
	}
	return BadRequest("Invalid filter clause: %v.", err)
}

// scanFilter splits into words, strings with their quotes, and punctuation.
func scanFilter(text string) ([]string, error) {
	var tokens []string
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case c == ' ':
			i++
		case c == '"':
			return nil, fmt.Errorf("syntax error: character '\"' is not valid at position %d in '%s'", i, text)
		case c == '(' || c == ')' || c == ',':
			tokens = append(tokens, string(c))
			i++
		case c == '\'':
			j := i + 1
			for ; ; j++ {
				if j >= len(text) {
					return nil, fmt.Errorf("there is an unterminated string literal at position %d in '%s'", i, text)
				}
				if text[j] != '\'' {
					continue
				}
				if j+1 < len(text) && text[j+1] == '\'' {
					j++ // a quote within is doubled
					continue
				}
				break
			}
			tokens = append(tokens, text[i:j+1])
			i = j + 1
		default:
			j := i
			for j < len(text) && !strings.ContainsRune(` (),'"`, rune(text[j])) {
				j++
			}
			tokens = append(tokens, text[i:j])
			i = j
		}
	}
	return tokens, nil
}

// A row is the input of a filter: an entity, and the variables of any and all.
type row struct {
	entity map[string]any
	vars   map[string]any
}

// An operand is a typed expression.
type operand struct {
	property Property // its type; the zero value is null
	value    func(row) any
	literal  string // of a string literal, to check enumeration members
}

func (o operand) isNull() bool { return o.property.edm == "" }

// kind returns what the type compares as.
func (o operand) kind() string {
	switch p := o.property; {
	case p.collection:
		return "Collection(" + p.edm + ")"
	case p.members != nil, p.complex != nil:
		return p.edm
	case p.edm == "Edm.Int32":
		return "Edm.Double"
	case p.edm == "Edm.Date":
		return "Edm.DateTimeOffset"
	default:
		return p.edm
	}
}

type filterParser struct {
	tokens []string
	i      int
	typ    *Type
	vars   map[string]Property
	paths  []string // of the properties seen so far
}

func (p *filterParser) next() string {
	if p.i >= len(p.tokens) {
		return ""
	}
	return p.tokens[p.i]
}

// nextIs reports whether the next token is this keyword, in any case.
func (p *filterParser) nextIs(keyword string) bool { return strings.EqualFold(p.next(), keyword) }

func (p *filterParser) take() string {
	t := p.next()
	p.i++
	return t
}

func (p *filterParser) expect(token string) error {
	if t := p.take(); t != token {
		return fmt.Errorf("syntax error: '%s' expected, not '%s'", token, t)
	}
	return nil
}

func (p *filterParser) or() (func(row) bool, error) {
	left, err := p.and()
	for err == nil && p.nextIs("or") {
		p.take()
		l := left
		var r func(row) bool
		r, err = p.and()
		left = func(x row) bool { return l(x) || r(x) }
	}
	return left, err
}

func (p *filterParser) and() (func(row) bool, error) {
	left, err := p.term()
	for err == nil && p.nextIs("and") {
		p.take()
		l := left
		var r func(row) bool
		r, err = p.term()
		left = func(x row) bool { return l(x) && r(x) }
	}
	return left, err
}

func (p *filterParser) term() (func(row) bool, error) {
	switch {
	case p.nextIs("not"):
		p.take()
		inner, err := p.term()
		return func(x row) bool { return !inner(x) }, err
	case p.next() == "(":
		p.take()
		inner, err := p.or()
		if err != nil {
			return nil, err
		}
		return inner, p.expect(")")
	}
	left, err := p.operand()
	if err != nil {
		return nil, err
	}
	operator := strings.ToLower(p.next())
	switch operator {
	case "eq", "ne", "gt", "ge", "lt", "le":
		p.take()
		right, err := p.operand()
		if err != nil {
			return nil, err
		}
		if err := comparable(operator, left, right); err != nil {
			return nil, err
		}
		return func(x row) bool { return compare(operator, left.value(x), right.value(x)) }, nil
	case "in":
		p.take()
		return p.in(left)
	case "has", "add", "sub", "mul", "div", "mod":
		return nil, NotSimulated("the operator '%s' in $filter.", operator)
	}
	if left.property.edm != "Edm.Boolean" || left.property.collection {
		return nil, errors.New("the expression is not a Boolean")
	}
	return func(x row) bool { return left.value(x) == true }, nil
}

// in parses the list behind the operator of that name.
func (p *filterParser) in(left operand) (func(row) bool, error) {
	if err := p.expect("("); err != nil {
		return nil, err
	}
	var all []operand
	for {
		o, err := p.operand()
		if err != nil {
			return nil, err
		}
		if err := comparable("eq", left, o); err != nil {
			return nil, err
		}
		all = append(all, o)
		if p.next() != "," {
			break
		}
		p.take()
	}
	return func(x row) bool {
		return slices.ContainsFunc(all, func(o operand) bool { return compare("eq", left.value(x), o.value(x)) })
	}, p.expect(")")
}

// comparable refuses operands of different types.
func comparable(operator string, a, b operand) error {
	incompatible := fmt.Errorf("a binary operator with incompatible types was detected. Found operand types '%s' and '%s' for operator kind '%s'", a.kind(), b.kind(), operator)
	for _, o := range []operand{a, b} {
		if (o.property.collection || o.property.complex != nil) && !a.isNull() && !b.isNull() {
			return incompatible
		}
	}
	if a.property.members == nil {
		a, b = b, a
	}
	if a.property.members != nil && b.kind() == "Edm.String" {
		if b.literal != "" && !containsFold(a.property.members, b.literal) {
			return fmt.Errorf("the string '%s' is not a valid enumeration type constant", b.literal)
		}
		return nil
	}
	if a.isNull() || b.isNull() || a.kind() == b.kind() {
		return nil
	}
	return incompatible
}

func constant(edm string, v any) operand {
	return operand{property: Property{edm: edm}, value: func(row) any { return v }}
}

// operand parses a literal, a property or a function.
func (p *filterParser) operand() (operand, error) {
	t := p.take()
	switch {
	case t == "":
		return operand{}, errors.New("the expression ends too early")
	case t[0] == '\'':
		text := strings.ReplaceAll(t[1:len(t)-1], "''", "'")
		o := constant("Edm.String", text)
		o.literal = text
		return o, nil
	case t == "true" || t == "false":
		return constant("Edm.Boolean", t == "true"), nil
	case t == "null":
		return constant("", nil), nil
	}
	if n, err := strconv.ParseFloat(t, 64); err == nil {
		return constant("Edm.Double", n), nil
	}
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
		if at, err := time.Parse(layout, t); err == nil {
			return constant("Edm.DateTimeOffset", at), nil
		}
	}
	if !unicode.IsLetter(rune(t[0])) && t[0] != '_' {
		return operand{}, fmt.Errorf("syntax error at '%s'", t)
	}
	if p.next() != "(" {
		return p.path(t)
	}
	if path, name, ok := cutLast(t, "/"); ok && (strings.EqualFold(name, "any") || strings.EqualFold(name, "all")) {
		return p.lambda(path, strings.ToLower(name))
	}
	return p.function(strings.ToLower(t))
}

func cutLast(s, separator string) (before, after string, found bool) {
	i := strings.LastIndex(s, separator)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(separator):], true
}

// path resolves a path such as start/dateTime.
func (p *filterParser) path(path string) (operand, error) {
	root, rest, _ := strings.Cut(path, "/")
	if variable, ok := p.vars[root]; ok {
		property, names, err := resolve(variable, rest)
		return operand{property: property, value: func(x row) any { return valueAt(x.vars[root], names) }}, err
	}
	property, names, err := resolve(Property{edm: p.typ.Name, complex: p.typ}, path)
	if joined := strings.Join(names, "/"); !slices.Contains(p.paths, joined) {
		p.paths = append(p.paths, joined)
	}
	return operand{property: property, value: func(x row) any { return valueAt(x.entity, names) }}, err
}

// resolve returns the property at a path below p, and the path in the metadata's spelling. Names may be in any case.
func resolve(p Property, path string) (Property, []string, error) {
	var names []string
	if path == "" {
		return p, nil, nil
	}
	for segment := range strings.SplitSeq(path, "/") {
		if p.complex == nil || p.collection {
			return p, nil, noProperty(segment, p.edm)
		}
		name, inner, ok := p.complex.find(segment)
		if !ok {
			return p, nil, noProperty(segment, p.complex.Name)
		}
		names = append(names, name)
		p = inner
	}
	return p, names, nil
}

func noProperty(name, typ string) *Error {
	return NewError(400, "RequestBroker--ParseUri", "Could not find a property named '%s' on type '%s'.", name, typ)
}

// valueAt returns the value at a path; nil if there is none.
func valueAt(v any, names []string) any {
	for _, name := range names {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[name]
	}
	return v
}

// lambda parses any and all: categories/any(c:c eq 'x').
func (p *filterParser) lambda(path, name string) (operand, error) {
	list, err := p.path(path)
	if err != nil {
		return operand{}, err
	}
	if !list.property.collection {
		return operand{}, fmt.Errorf("%s may only be used following a collection", name)
	}
	p.take()
	result := operand{property: Boolean()}
	if name == "any" && p.next() == ")" {
		p.take()
		result.value = func(x row) any { return len(items(list.value(x))) > 0 }
		return result, nil
	}
	variable, rest, ok := strings.Cut(p.take(), ":")
	if !ok || variable == "" {
		return operand{}, fmt.Errorf("syntax error: a range variable expected in %s", name)
	}
	if rest != "" {
		p.i--
		p.tokens[p.i] = rest
	}
	item := list.property
	item.collection = false
	p.vars[variable] = item
	defer delete(p.vars, variable)
	inner, err := p.or()
	if err != nil {
		return operand{}, err
	}
	result.value = func(x row) any {
		for _, v := range items(list.value(x)) {
			vars := map[string]any{variable: v}
			for k, outer := range x.vars {
				if k != variable {
					vars[k] = outer
				}
			}
			if inner(row{x.entity, vars}) == (name == "any") {
				return name == "any"
			}
		}
		return name == "all"
	}
	return result, p.expect(")")
}

// items returns the items of a collection of any type.
func items(v any) []any {
	switch v := v.(type) {
	case []any:
		return v
	case nil:
		return nil
	}
	all, _ := Copy(v).([]any)
	return all
}

// A stringFunction is a function of OData with arguments of type Edm.String.
type stringFunction struct {
	arguments int
	result    Property
	call      func(a []string) any
}

func stringFunctions() map[string]stringFunction {
	return map[string]stringFunction{
		// Exchange compares without case.
		"contains":   {2, Boolean(), func(a []string) any { return strings.Contains(strings.ToLower(a[0]), strings.ToLower(a[1])) }},
		"startswith": {2, Boolean(), func(a []string) any { return strings.HasPrefix(strings.ToLower(a[0]), strings.ToLower(a[1])) }},
		"endswith":   {2, Boolean(), func(a []string) any { return strings.HasSuffix(strings.ToLower(a[0]), strings.ToLower(a[1])) }},
		"tolower":    {1, String(), func(a []string) any { return strings.ToLower(a[0]) }},
		"toupper":    {1, String(), func(a []string) any { return strings.ToUpper(a[0]) }},
		"trim":       {1, String(), func(a []string) any { return strings.TrimSpace(a[0]) }},
		"concat":     {2, String(), func(a []string) any { return a[0] + a[1] }},
		"length":     {1, Double(), func(a []string) any { return float64(len([]rune(a[0]))) }},
		"indexof":    {2, Double(), func(a []string) any { return float64(strings.Index(a[0], a[1])) }},
	}
}

// otherFunctions returns the functions of OData that are not simulated.
func otherFunctions() []string {
	return []string{
		"substring", "matchespattern", "hassubset", "hassubsequence", "year", "month", "day", "hour", "minute", "second", "fractionalseconds", "totalseconds",
		"date", "time", "totaloffsetminutes", "mindatetime", "maxdatetime", "now", "round", "floor", "ceiling", "cast", "isof", "case",
	}
}

func (p *filterParser) function(name string) (operand, error) {
	f, ok := stringFunctions()[name]
	switch {
	case !ok && slices.Contains(otherFunctions(), name):
		return operand{}, NotSimulated("the function '%s' in $filter.", name)
	case !ok:
		return operand{}, fmt.Errorf("an unknown function with name '%s' was found", name)
	}
	p.take()
	arguments := make([]operand, f.arguments)
	for i := range arguments {
		if i > 0 {
			if err := p.expect(","); err != nil {
				return operand{}, err
			}
		}
		o, err := p.operand()
		if err != nil {
			return operand{}, err
		}
		if o.kind() != "Edm.String" && o.property.members == nil {
			return operand{}, fmt.Errorf("no function signature for the function with name '%s' matches the specified arguments", name)
		}
		arguments[i] = o
	}
	value := func(x row) any {
		texts := make([]string, len(arguments))
		for i, o := range arguments {
			text, ok := o.value(x).(string)
			if !ok {
				return nil
			}
			texts[i] = text
		}
		return f.call(texts)
	}
	return operand{property: f.result, value: value}, p.expect(")")
}

// compare compares as Exchange does: strings ignore case, and null is equal to nothing but null.
func compare(operator string, a, b any) bool {
	order, ok := order(a, b)
	if !ok {
		return operator == "ne"
	}
	switch operator {
	case "eq":
		return order == 0
	case "ne":
		return order != 0
	case "gt":
		return order > 0
	case "ge":
		return order >= 0
	case "lt":
		return order < 0
	default:
		return order <= 0
	}
}

// order compares two values; ok is false if they cannot be compared, or if only one is null.
func order(a, b any) (n int, ok bool) {
	if x, y, ok := instants(a, b); ok {
		return x.Compare(y), true
	}
	switch x := normalize(a).(type) {
	case nil:
		return 0, normalize(b) == nil
	case string:
		y, ok := b.(string)
		return strings.Compare(strings.ToLower(x), strings.ToLower(y)), ok
	case float64:
		y, ok := normalize(b).(float64)
		switch {
		case x < y:
			return -1, ok
		case x > y:
			return 1, ok
		}
		return 0, ok
	case bool:
		y, ok := b.(bool)
		switch {
		case x == y:
			return 0, ok
		case x:
			return 1, ok
		}
		return -1, ok
	}
	return 0, false
}

// normalize makes every number a float64.
func normalize(v any) any {
	if n, ok := v.(int); ok {
		return float64(n)
	}
	return v
}

// instants returns both values as times if at least one is the literal of a time.
func instants(a, b any) (x, y time.Time, ok bool) {
	x, isTime := a.(time.Time)
	y, both := b.(time.Time)
	if !isTime && !both {
		return x, y, false
	}
	parse := func(v any) (time.Time, bool) {
		text, _ := v.(string)
		t, err := time.Parse(time.RFC3339Nano, text)
		return t, err == nil
	}
	ok = true
	switch {
	case isTime && !both:
		y, ok = parse(b)
	case both && !isTime:
		x, ok = parse(a)
	}
	return x, y, ok
}
