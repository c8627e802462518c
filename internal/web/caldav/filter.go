package caldav

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-ical"
)

// maxProps bounds the conditions, each of which is checked for each object.
const maxProps = 16

// A filter is the filter of a calendar-query for the objects of one collection.
type filter struct {
	none  bool // it matches no object
	span  span
	props []propFilter
}

// A propFilter is a condition on one property.
type propFilter struct {
	name      string
	undefined bool // it must not be there
	span      *span
	text      *textMatch
}

type textMatch struct {
	text   string
	exact  bool // byte by byte
	negate bool
}

// A filterError is the error of a filter that is not supported.
type filterError struct{ why string }

func (e *filterError) Error() string { return "filter: " + e.why }

// newFilter reads the filter of a query for components of a kind: VEVENT or VTODO.
func newFilter(n *node, kind string) (*filter, error) {
	f := &filter{}
	if n == nil {
		return f, nil
	}
	root := n.child(cal("comp-filter"))
	if root == nil {
		return nil, &filterError{"want a comp-filter"}
	}
	if !strings.EqualFold(root.attr("name"), ical.CompCalendar) {
		return nil, &filterError{fmt.Sprintf("want VCALENDAR as the outer comp-filter, not %q", root.attr("name"))}
	}
	if root.child(cal("is-not-defined")) != nil {
		f.none = true
		return f, nil
	}
	for _, p := range root.all(cal("prop-filter")) { // of the calendar around the object
		if !slices.Contains([]string{ical.PropVersion, ical.PropProductID}, strings.ToUpper(p.attr("name"))) {
			return nil, &filterError{"properties of VCALENDAR are not supported"}
		}
	}
	for _, c := range root.all(cal("comp-filter")) {
		if err := f.component(c, kind); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// component reads the filter of a component of the calendar.
func (f *filter) component(n *node, kind string) error {
	undefined := n.child(cal("is-not-defined")) != nil
	if !strings.EqualFold(n.attr("name"), kind) {
		f.none = f.none || !undefined
		return nil
	}
	if undefined {
		f.none = true
		return nil
	}
	for _, c := range n.children {
		if c.name.Space != calSpace {
			continue
		}
		var err error
		switch c.name.Local {
		case "time-range":
			f.span, err = newSpan(c)
		case "prop-filter":
			var p propFilter
			p, err = newPropFilter(c)
			if f.props = append(f.props, p); len(f.props) > maxProps {
				return &filterError{fmt.Sprintf("want at most %d prop-filters", maxProps)}
			}
		case "comp-filter": // an alarm, which no object has
			f.none = f.none || c.child(cal("is-not-defined")) == nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// newSpan reads a time-range. An end that is missing is open.
func newSpan(n *node) (w span, err error) {
	for _, end := range []struct {
		name string
		at   *time.Time
	}{{"start", &w.from}, {"end", &w.to}} {
		value := n.attr(end.name)
		if value == "" {
			continue
		}
		if *end.at, err = time.Parse("20060102T150405Z", value); err != nil {
			return w, &filterError{fmt.Sprintf("%s of time-range: want a time in UTC such as 20260101T120000Z, not %q", end.name, value)}
		}
	}
	switch {
	case w.from.IsZero() && w.to.IsZero():
		return w, &filterError{"time-range: want a start or an end"}
	case !w.to.IsZero() && !w.from.Before(w.to):
		return w, &filterError{"time-range: want an end after the start"}
	}
	return w, nil
}

func newPropFilter(n *node) (propFilter, error) {
	p := propFilter{name: strings.ToUpper(n.attr("name"))}
	if p.name == "" {
		return p, &filterError{"want the name of a property"}
	}
	for _, c := range n.children {
		if c.name.Space != calSpace {
			continue
		}
		switch c.name.Local {
		case "is-not-defined":
			p.undefined = true
		case "time-range":
			w, err := newSpan(c)
			if err != nil {
				return p, err
			}
			p.span = &w
		case "text-match":
			m := &textMatch{text: c.text.String(), negate: c.attr("negate-condition") == "yes"}
			switch collation := c.attr("collation"); collation {
			case "", "i;ascii-casemap", "i;unicode-casemap":
			case "i;octet":
				m.exact = true
			default:
				return p, &filterError{fmt.Sprintf("collation %q is not supported", collation)}
			}
			p.text = m
		case "param-filter":
			return p, &filterError{"param-filter is not supported"}
		}
	}
	return p, nil
}

// isByUID reports whether the filter asks for single objects.
func (f *filter) isByUID() bool {
	return slices.ContainsFunc(f.props, func(p propFilter) bool { return p.name == ical.PropUID && p.text != nil && !p.text.negate })
}

// matches reports whether the filter matches an object.
func (f *filter) matches(o *object, loc *time.Location) bool {
	if f.none || f.span != (span{}) && !o.within(f.span.from, f.span.to, loc) {
		return false
	}
	var c *ical.Component
	for _, p := range f.props {
		var values []string
		if p.name == ical.PropUID {
			values = []string{o.uid}
		} else {
			if c == nil {
				c = o.component()
			}
			for _, v := range c.Props[p.name] {
				values = append(values, textValue(&v))
			}
		}
		if !p.matches(values, c, loc) {
			return false
		}
	}
	return true
}

func (p *propFilter) matches(values []string, c *ical.Component, loc *time.Location) bool {
	if p.undefined {
		return len(values) == 0
	}
	if len(values) == 0 {
		return false
	}
	if p.span != nil && c != nil {
		at, err := c.Props.Get(p.name).DateTime(loc)
		if err != nil || at.Before(p.span.from) || !p.span.to.IsZero() && !at.Before(p.span.to) {
			return false
		}
	}
	if p.text == nil {
		return true
	}
	found := slices.ContainsFunc(values, func(v string) bool {
		if p.text.exact {
			return strings.Contains(v, p.text.text)
		}
		return strings.Contains(strings.ToLower(v), strings.ToLower(p.text.text))
	})
	return found != p.text.negate
}

// component returns the component of an object.
func (o *object) component() *ical.Component {
	calendar, err := decodeCalendar(o.appendCalendar(nil))
	if err != nil || len(calendar.Children) == 0 { // it was encoded here
		return ical.NewComponent(ical.CompEvent)
	}
	return calendar.Children[0]
}
