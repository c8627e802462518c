package simulator

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// parseQuery refuses the options that the operation does not know, as OData does. Names that do not begin with $ are ignored.
func (c *call) parseQuery() *failure {
	c.query = url.Values{}
	raw, err := url.ParseQuery(c.r.URL.RawQuery)
	if err != nil {
		return badRequest("The query cannot be read.")
	}
	for k, v := range raw {
		lower := strings.ToLower(k)
		if strings.HasPrefix(lower, "$") && !slices.Contains(c.route.options, lower) {
			return badRequest("The query parameter '%s' is not supported.", k)
		}
		if len(v) > 1 && strings.HasPrefix(lower, "$") {
			return badRequest("Query option '%s' was specified more than once, but it must be specified at most once.", k)
		}
		c.query[lower] = v
	}
	return nil
}

// names is a list of a query option, without blanks.
func (c *call) names(option string) []string {
	var names []string
	for n := range strings.SplitSeq(c.query.Get(option), ",") {
		if n = strings.TrimSpace(n); n != "" {
			names = append(names, n)
		}
	}
	return names
}

// project applies $select and $expand to an entity. The properties without a value are what the type also has, and are null.
func (c *call) project(entity map[string]any, also ...string) (map[string]any, error) {
	expanded, err := c.expanded()
	if err != nil {
		return nil, err
	}
	out, err := c.selected(entity, also)
	if err != nil {
		return nil, err
	}
	maps.Copy(out, expanded)
	return out, nil
}

var parenthesis = regexp.MustCompile(`\([^()]*\)`)

// expanded are the relationships that $expand asks for: those that may be expanded, and of which the simulator's entities have none.
func (c *call) expanded() (map[string]any, error) {
	known := map[kind]map[string]any{
		user:     {"manager": nil, "directReports": []any{}, "memberOf": []any{}},
		calendar: {"singleValueExtendedProperties": nil, "multiValueExtendedProperties": nil},
		event:    {"attachments": []any{}, "extensions": []any{}, "singleValueExtendedProperties": nil, "multiValueExtendedProperties": nil},
	}[c.route.kind]
	out := map[string]any{}
	// What stands in parentheses are options of the relationship.
	for name := range strings.SplitSeq(parenthesis.ReplaceAllString(c.query.Get("$expand"), ""), ",") {
		if name = strings.TrimSpace(name); name == "" {
			continue
		}
		v, ok := known[name]
		if !ok {
			return nil, c.noProperty(name)
		}
		if v != nil {
			out[name] = v
		}
	}
	return out, nil
}

func (c *call) noProperty(name string) *failure {
	return &failure{http.StatusBadRequest, "RequestBroker--ParseUri", fmt.Sprintf("Could not find a property named '%s' on type '%s'.", name, c.route.kind.name())}
}

// selected is what $select leaves of an entity.
func (c *call) selected(entity map[string]any, also []string) (map[string]any, error) {
	selected := c.names("$select")
	if len(selected) == 0 {
		return entity, nil
	}
	out := map[string]any{}
	for k, v := range entity {
		// Control information and the key are not selected; they are there.
		if strings.HasPrefix(k, "@odata.") || k == "id" && c.route.kind.outlook() {
			out[k] = v
		}
	}
	for _, name := range selected {
		if name == "*" {
			return entity, nil
		}
		v, ok := entity[name]
		if !ok && !slices.Contains(also, name) {
			return nil, c.noProperty(name)
		}
		out[name] = v
	}
	return out, nil
}

// number is a query option that is one.
func (c *call) number(option string, fallback, least, most int) (int, error) {
	text := c.query.Get(option)
	if text == "" {
		return fallback, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		return 0, &failure{http.StatusBadRequest, "ErrorInvalidUrlQueryFilter", fmt.Sprintf("The query parameter '%s' must be a number from %d to %d.", option, least, most)}
	}
	return n, nil
}

// collection is a page of entities: $filter, $orderby, $skip, $top, then $select. The next page's address leads back to this host.
func (c *call) collection(set string, all []map[string]any, page int, also ...string) (response, error) {
	if f := c.query.Get("$filter"); f != "" {
		match, err := parseFilter(f)
		if err != nil {
			return response{}, &failure{http.StatusBadRequest, "BadRequest", fmt.Sprintf("Invalid filter clause: %v", err)}
		}
		all = slices.DeleteFunc(slices.Clone(all), func(e map[string]any) bool { return !match(e) })
	}
	if strings.HasSuffix(c.route.path, "/$count") {
		return response{status: http.StatusOK, contentType: "text/plain", text: strconv.Itoa(len(all))}, nil
	}
	if err := c.order(all, also); err != nil {
		return response{}, err
	}
	if n, err := strconv.Atoi(c.prefer["odata.maxpagesize"]); err == nil && n > 0 && n <= 1000 {
		page = n
		c.applied(fmt.Sprintf("odata.maxpagesize=%d", n))
	}
	top, err := c.number("$top", page, 1, 1000)
	if err != nil {
		return response{}, err
	}
	skip, err := c.number("$skip", 0, 0, 1<<30)
	if err != nil {
		return response{}, err
	}
	body := map[string]any{}
	selected := ""
	if s := c.query.Get("$select"); s != "" {
		selected = "(" + s + ")"
	}
	body["@odata.context"] = c.context(set + selected)
	if c.query.Get("$count") == "true" {
		body["@odata.count"] = len(all)
	}
	if skip+top < len(all) {
		q := c.r.URL.Query()
		maps.DeleteFunc(q, func(k string, _ []string) bool { return strings.EqualFold(k, "$skip") })
		q.Set("$skip", strconv.Itoa(skip+top))
		body["@odata.nextLink"] = "https://" + c.r.Host + c.r.URL.EscapedPath() + "?" + q.Encode()
	}
	value := []map[string]any{}
	for _, e := range all[min(skip, len(all)):min(skip+top, len(all))] {
		e, err := c.project(e, also...)
		if err != nil {
			return response{}, err
		}
		value = append(value, e)
	}
	body["value"] = value
	return response{status: http.StatusOK, body: body}, nil
}

// order sorts by $orderby: paths such as start/dateTime, each with asc or desc.
func (c *call) order(all []map[string]any, also []string) error {
	type key struct {
		path string
		desc bool
	}
	var keys []key
	for _, n := range c.names("$orderby") {
		f := strings.Fields(n)
		if len(f) > 2 || len(f) == 2 && f[1] != "asc" && f[1] != "desc" {
			return badRequest("Syntax error in the $orderby expression '%s'.", n)
		}
		root, _, _ := strings.Cut(f[0], "/")
		if len(all) > 0 {
			if _, ok := all[0][root]; !ok && !slices.Contains(also, root) {
				return c.noProperty(root)
			}
		}
		keys = append(keys, key{f[0], len(f) == 2 && f[1] == "desc"})
	}
	if len(keys) == 0 {
		return nil
	}
	slices.SortStableFunc(all, func(a, b map[string]any) int {
		for _, k := range keys {
			x, _ := at(a, k.path)
			y, _ := at(b, k.path)
			n := strings.Compare(strings.ToLower(fmt.Sprint(x)), strings.ToLower(fmt.Sprint(y)))
			if k.desc {
				n = -n
			}
			if n != 0 {
				return n
			}
		}
		return 0
	})
	return nil
}

// at is the value at a path such as start/dateTime.
func at(entity map[string]any, path string) (any, bool) {
	var v any = entity
	for name := range strings.SplitSeq(path, "/") {
		m, ok := v.(map[string]any)
		if !ok {
			return nil, false
		}
		if v, ok = m[name]; !ok {
			return nil, false
		}
	}
	return v, true
}
