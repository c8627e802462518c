package simulator

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// parseFilter reads the part of OData's $filter that Outlook's clients use: comparisons, contains, startswith, endswith, and, or, not, parentheses.
// See https://docs.oasis-open.org/odata/odata/v4.01/odata-v4.01-part2-url-conventions.html#sec_SystemQueryOptionfilter.
func parseFilter(text string) (func(map[string]any) bool, error) {
	tokens, err := scanFilter(text)
	if err != nil {
		return nil, err
	}
	p := &filterParser{tokens: tokens}
	match, err := p.or()
	if err != nil {
		return nil, err
	}
	if p.next() != "" {
		return nil, fmt.Errorf("there is more after the end of '%s'", text)
	}
	return match, nil
}

// scanFilter splits into words, strings with their quotes, and signs.
func scanFilter(text string) ([]string, error) {
	var tokens []string
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case c == ' ':
			i++
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
			for j < len(text) && !strings.ContainsRune(" (),'", rune(text[j])) {
				j++
			}
			tokens = append(tokens, text[i:j])
			i = j
		}
	}
	return tokens, nil
}

type filterParser struct {
	tokens []string
	i      int
}

func (p *filterParser) next() string {
	if p.i >= len(p.tokens) {
		return ""
	}
	return p.tokens[p.i]
}

func (p *filterParser) take() string {
	t := p.next()
	p.i++
	return t
}

func (p *filterParser) want(token string) error {
	if t := p.take(); t != token {
		return fmt.Errorf("want '%s', not '%s'", token, t)
	}
	return nil
}

type predicate = func(map[string]any) bool

func (p *filterParser) or() (predicate, error) {
	left, err := p.and()
	for err == nil && p.next() == "or" {
		p.take()
		l := left
		var r predicate
		r, err = p.and()
		left = func(e map[string]any) bool { return l(e) || r(e) }
	}
	return left, err
}

func (p *filterParser) and() (predicate, error) {
	left, err := p.term()
	for err == nil && p.next() == "and" {
		p.take()
		l := left
		var r predicate
		r, err = p.term()
		left = func(e map[string]any) bool { return l(e) && r(e) }
	}
	return left, err
}

func (p *filterParser) term() (predicate, error) {
	switch p.next() {
	case "not":
		p.take()
		inner, err := p.term()
		return func(e map[string]any) bool { return !inner(e) }, err
	case "(":
		p.take()
		inner, err := p.or()
		if err != nil {
			return nil, err
		}
		return inner, p.want(")")
	}
	left, err := p.operand()
	if err != nil {
		return nil, err
	}
	switch operator := p.next(); operator {
	case "eq", "ne", "gt", "ge", "lt", "le":
		p.take()
		right, err := p.operand()
		return func(e map[string]any) bool { return compare(operator, left(e), right(e)) }, err
	}
	return func(e map[string]any) bool { return left(e) == true }, nil
}

// operand is a literal, a property, or a function of them.
func (p *filterParser) operand() (func(map[string]any) any, error) {
	t := p.take()
	literal := func(v any) (func(map[string]any) any, error) { return func(map[string]any) any { return v }, nil }
	switch {
	case t == "":
		return nil, fmt.Errorf("the expression ends too early")
	case t[0] == '\'':
		return literal(strings.ReplaceAll(t[1:len(t)-1], "''", "'"))
	case t == "true" || t == "false":
		return literal(t == "true")
	case t == "null":
		return literal(nil)
	}
	if n, err := strconv.ParseFloat(t, 64); err == nil {
		return literal(n)
	}
	if unicode.IsDigit(rune(t[0])) {
		return literal(t) // a time
	}
	if p.next() != "(" {
		return func(e map[string]any) any { v, _ := at(e, t); return v }, nil
	}
	var test func(s, sub string) bool
	switch strings.ToLower(t) {
	case "contains":
		test = strings.Contains
	case "startswith":
		test = strings.HasPrefix
	case "endswith":
		test = strings.HasSuffix
	default:
		return nil, fmt.Errorf("an unknown function with name '%s' was found", t)
	}
	p.take()
	a, err := p.operand()
	if err != nil {
		return nil, err
	}
	if err := p.want(","); err != nil {
		return nil, err
	}
	b, err := p.operand()
	if err != nil {
		return nil, err
	}
	return func(e map[string]any) any {
		s, ok1 := a(e).(string)
		sub, ok2 := b(e).(string)
		return ok1 && ok2 && test(strings.ToLower(s), strings.ToLower(sub))
	}, p.want(")")
}

// compare is Exchange's: texts have no case. Times compare as texts, for all are written alike.
func compare(operator string, a, b any) bool {
	if n, ok := a.(int); ok {
		a = float64(n)
	}
	order := 0
	switch x := a.(type) {
	case string:
		y, ok := b.(string)
		if !ok {
			return operator == "ne"
		}
		order = strings.Compare(strings.TrimSuffix(strings.ToLower(x), "z"), strings.TrimSuffix(strings.ToLower(y), "z"))
	case float64:
		y, ok := b.(float64)
		if !ok {
			return operator == "ne"
		}
		switch {
		case x < y:
			order = -1
		case x > y:
			order = 1
		}
	default:
		if a != b {
			return operator == "ne"
		}
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
