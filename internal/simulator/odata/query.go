package odata

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// MaxPageSize is the largest $top.
const MaxPageSize = 1000

// defaultPageSize is the number of entities in a page for which the client sets no size.
const defaultPageSize = 10

// parseQuery reads the query options and refuses those that the operation does not support. Names without $ are ignored.
func (c *Call) parseQuery() error {
	c.Query = url.Values{}
	raw, err := url.ParseQuery(c.Request.URL.RawQuery)
	if err != nil {
		return BadRequest("The query cannot be read.")
	}
	for _, k := range slices.Sorted(maps.Keys(raw)) {
		lower, v := strings.ToLower(k), raw[k]
		if strings.HasPrefix(lower, "$") && !slices.Contains(c.Route.Options, lower) {
			if c.isDelta() {
				return NewError(http.StatusBadRequest, "ErrorInvalidUrlQuery", "The following parameters are not supported with change tracking over the '%s' resource: '%s'.",
					lastSegment(strings.TrimSuffix(c.Route.Path, "/delta")), k)
			}
			return BadRequest("The query parameter '%s' is not supported.", k)
		}
		if (len(v) > 1 || c.Query.Has(lower)) && strings.HasPrefix(lower, "$") {
			return BadRequest("Query option '%s' was specified more than once, but it must be specified at most once.", k)
		}
		c.Query[lower] = v
	}
	if v := c.Query.Get("$count"); c.Query.Has("$count") && !strings.EqualFold(v, "true") && !strings.EqualFold(v, "false") {
		return BadRequest("Invalid value '%s' for $count query option found. Valid values are 'true, false'.", v)
	}
	return nil
}

// splitOutside splits a list at commas that are not in parentheses or quotes.
func splitOutside(list string) []string {
	var parts []string
	depth, quoted, begin := 0, false, 0
	for i, r := range list {
		switch {
		case r == '\'':
			quoted = !quoted
		case quoted:
		case r == '(':
			depth++
		case r == ')':
			depth--
		case r == ',' && depth == 0:
			parts = append(parts, list[begin:i])
			begin = i + 1
		}
	}
	var trimmed []string
	for _, p := range append(parts, list[begin:]) {
		if p = strings.TrimSpace(p); p != "" {
			trimmed = append(trimmed, p)
		}
	}
	return trimmed
}

// Project applies $select and $expand to an entity. Properties of the type that the entity does not have are null.
func (c *Call) Project(entity map[string]any) (map[string]any, error) {
	out, err := c.selected(entity)
	if err != nil {
		return nil, err
	}
	for _, part := range splitOutside(c.Query.Get("$expand")) {
		given, options, _ := strings.Cut(part, "(")
		name, p, ok := c.Route.Type.find(strings.TrimSpace(given))
		if !ok || !p.expandable {
			return nil, noProperty(given, c.Route.Type.Name)
		}
		v, err := expand(entity[name], p, strings.TrimSuffix(options, ")"))
		if err != nil {
			return nil, err
		}
		if v != nil {
			out[name] = v
		}
	}
	return out, nil
}

// expand returns the value of a relationship with the options in its parentheses applied. nil is left out.
func expand(v any, p Property, options string) (any, error) {
	for option := range strings.SplitSeq(options, ";") {
		name, value, _ := strings.Cut(option, "=")
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "":
		case "$select":
			if p.complex == nil || !p.collection {
				continue
			}
			var err error
			if v, err = selectedOf(v, p.complex, splitOutside(value)); err != nil {
				return nil, err
			}
		case "$filter":
			if p.complex == nil || !p.collection {
				return nil, BadRequest("Syntax error in the $expand expression '%s'.", options)
			}
			match, err := parseFilter(value, p.complex)
			if err != nil {
				return nil, err
			}
			all, _ := v.([]any)
			var matching []any
			for _, item := range all {
				if m, _ := item.(map[string]any); match(m) {
					matching = append(matching, item)
				}
			}
			if v = nil; matching != nil {
				v = matching
			}
		default:
			return nil, NotSimulated("the option '%s' in $expand.", name)
		}
	}
	return v, nil
}

// selectedOf applies $select in $expand to the entities of a relationship. Properties of a derived type are given with its name
// before a slash.
func selectedOf(v any, t *Type, names []string) (any, error) {
	keep := []string{"id"}
	for _, name := range names {
		_, property, cast := cutLast(name, "/")
		declared, _, ok := t.find(name)
		switch {
		case cast:
			keep = append(keep, property)
		case ok:
			keep = append(keep, declared)
		default:
			return nil, noProperty(name, t.Name)
		}
	}
	all := []any{}
	for _, item := range items(v) {
		m, _ := item.(map[string]any)
		m = maps.Clone(m)
		maps.DeleteFunc(m, func(k string, _ any) bool { return !strings.HasPrefix(k, "@odata.") && !containsFold(keep, k) })
		all = append(all, m)
	}
	return all, nil
}

// selected returns the properties of an entity that $select names, without relationships.
func (c *Call) selected(entity map[string]any) (map[string]any, error) {
	t := c.Route.Type
	all := maps.Clone(entity)
	maps.DeleteFunc(all, func(k string, _ any) bool { return t.Properties[k].link })
	names := splitOutside(c.Query.Get("$select"))
	if len(names) == 0 {
		return all, nil
	}
	out := map[string]any{}
	for k, v := range all {
		// Control information and Exchange's ids are always there.
		if strings.HasPrefix(k, "@odata.") || k == "id" && t.Mailbox {
			out[k] = v
		}
	}
	for _, name := range names {
		if name == "*" {
			return all, nil
		}
		declared, p, ok := t.find(name)
		if !ok {
			return nil, noProperty(name, t.Name)
		}
		if !p.link {
			out[declared] = all[declared]
		}
	}
	return out, nil
}

// Number returns a query option that is a number from least to most; fallback if the request lacks it.
func (c *Call) Number(option string, fallback, least, most int) (int, error) {
	text := c.Query.Get(option)
	if text == "" {
		return fallback, nil
	}
	u, err := strconv.ParseUint(text, 10, 31) // no sign
	n := int(u)
	if err != nil || n < least || n > most {
		return 0, NewError(http.StatusBadRequest, "ErrorInvalidUrlQueryFilter", "The query parameter '%s' must be a number from %d to %d.", option, least, most)
	}
	return n, nil
}

// PageSize returns the page size that the client prefers.
func (c *Call) PageSize() int {
	if n, err := strconv.Atoi(c.Prefer["odata.maxpagesize"]); err == nil && n > 0 && n <= MaxPageSize {
		c.Applied(fmt.Sprintf("odata.maxpagesize=%d", n))
		return n
	}
	return defaultPageSize
}

// Collection returns a page of the entities of a set, named as in @odata.context: $filter, $orderby, $skip, $top, $select and $expand. The address of the next page has the host of the request.
func (c *Call) Collection(set string, all []map[string]any) (Response, error) {
	if c.Query.Has("$filter") {
		match, err := parseFilter(c.Query.Get("$filter"), c.Route.Type)
		if err != nil {
			return Response{}, err
		}
		all = slices.DeleteFunc(slices.Clone(all), func(e map[string]any) bool { return !match(e) })
	}
	if strings.HasSuffix(c.Route.Path, "/$count") {
		return Response{Status: http.StatusOK, ContentType: "text/plain", Text: strconv.Itoa(len(all))}, nil
	}
	if err := c.sort(all); err != nil {
		return Response{}, err
	}
	return c.Page(set, len(all), func(i int) map[string]any { return all[i] })
}

// Page returns a page of the n entities that a resource has filtered and sorted: $skip, $top, $count, $select and $expand. entity is called for
// the entities of the page only.
func (c *Call) Page(set string, n int, entity func(i int) map[string]any) (Response, error) {
	// Unknown property names are refused even if there is no entity.
	if _, err := c.Project(map[string]any{}); err != nil {
		return Response{}, err
	}
	top, err := c.Number("$top", c.PageSize(), 1, MaxPageSize)
	if err != nil {
		return Response{}, err
	}
	option := "$skip"
	if c.Query.Has("$search") {
		option = "$skiptoken"
	}
	skip, err := c.Number(option, 0, 0, 1<<30)
	if err != nil {
		return Response{}, err
	}
	body := map[string]any{"@odata.context": c.SelectedContext(set)}
	if strings.EqualFold(c.Query.Get("$count"), "true") {
		body["@odata.count"] = n
	}
	if skip+top < n {
		q := c.Request.URL.Query()
		maps.DeleteFunc(q, func(k string, _ []string) bool { return strings.EqualFold(k, option) })
		q.Set(option, strconv.Itoa(skip+top))
		body["@odata.nextLink"] = c.link(q)
	}
	value := []map[string]any{}
	for i := min(skip, n); i < min(skip+top, n); i++ {
		e, err := c.Project(entity(i))
		if err != nil {
			return Response{}, err
		}
		value = append(value, e)
	}
	body["value"] = value
	return Response{Status: http.StatusOK, Body: body}, nil
}

// Filter returns the predicate of $filter, nil without one, and the paths of the properties in it in the order in which they appear.
func (c *Call) Filter() (match func(entity map[string]any) bool, paths []string, err error) {
	if !c.Query.Has("$filter") {
		return nil, nil, nil
	}
	return parseFilterPaths(c.Query.Get("$filter"), c.Route.Type)
}

// Selected returns the properties in $select and $expand in the spelling of the metadata; nil if all are selected.
func (c *Call) Selected() []string {
	names := splitOutside(c.Query.Get("$select"))
	if len(names) == 0 || slices.Contains(names, "*") {
		return nil
	}
	for _, part := range splitOutside(c.Query.Get("$expand")) {
		name, _, _ := strings.Cut(part, "(")
		names = append(names, strings.TrimSpace(name))
	}
	for i, name := range names {
		if declared, _, ok := c.Route.Type.find(name); ok {
			names[i] = declared
		}
	}
	return names
}

// link returns the address of the request with another query.
func (c *Call) link(q url.Values) string {
	return "https://" + c.Request.Host + c.Request.URL.EscapedPath() + "?" + strings.ReplaceAll(q.Encode(), "%24", "$")
}

// An Order is a key of $orderby.
type Order struct {
	Path       string // in the spelling of the metadata: "from/emailAddress/name"
	Descending bool
}

// Orders returns the keys of $orderby: paths such as start/dateTime, each with asc or desc.
func (c *Call) Orders() ([]Order, error) {
	var keys []Order
	for _, part := range splitOutside(c.Query.Get("$orderby")) {
		f := strings.Fields(part)
		direction := ""
		if len(f) == 2 {
			direction = strings.ToLower(f[1])
		}
		if len(f) > 2 || len(f) == 2 && direction != "asc" && direction != "desc" {
			return nil, BadRequest("Syntax error in the $orderby expression '%s'.", part)
		}
		p, path, err := resolve(Property{edm: c.Route.Type.Name, complex: c.Route.Type}, f[0])
		if err != nil {
			return nil, err
		}
		if p.complex != nil || p.collection {
			return nil, BadRequest("The $orderby expression must evaluate to a single value of primitive type: '%s'.", f[0])
		}
		keys = append(keys, Order{strings.Join(path, "/"), direction == "desc"})
	}
	return keys, nil
}

// sort sorts by $orderby.
func (c *Call) sort(all []map[string]any) error {
	keys, err := c.Orders()
	if err != nil {
		return err
	}
	slices.SortStableFunc(all, func(a, b map[string]any) int { return CompareBy(keys, a, b) })
	return nil
}

// CompareBy compares two entities by the keys; null comes first.
func CompareBy(keys []Order, a, b map[string]any) int {
	for _, k := range keys {
		path := strings.Split(k.Path, "/")
		x, y := valueAt(a, path), valueAt(b, path)
		n, ok := order(x, y)
		if !ok && x == nil {
			n = -1
		} else if !ok && y == nil {
			n = 1
		}
		if k.Descending {
			n = -n
		}
		if n != 0 {
			return n
		}
	}
	return 0
}
