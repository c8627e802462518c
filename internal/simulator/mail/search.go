package mail

import (
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator/odata"
)

// search returns the predicate of $search: words, phrases in quotes and property:value in KQL, all of which must match, or alternatives with OR. See
// https://learn.microsoft.com/graph/search-query-parameter#using-search-on-message-collections.
func (c *call) search() (func(*message) bool, error) {
	for option, code := range map[string]string{"$filter": "SearchWithFilter", "$orderby": "SearchWithOrderBy", "$skip": "SearchWithSkip", "$count": "SearchWithCount"} {
		if c.Query.Has(option) {
			if option == "$orderby" {
				option = "$orderBy" // https://github.com/visionik/mogcli/issues/11
			}
			return nil, odata.NewError(http.StatusBadRequest, code, "The query parameter '%s' is not supported with '$search'.", option)
		}
	}
	text := strings.TrimSpace(c.Query.Get("$search"))
	if quoted, ok := strings.CutPrefix(text, `"`); ok {
		inner, closed := strings.CutSuffix(quoted, `"`)
		if !closed {
			return nil, odata.BadRequest("Syntax error: unterminated string literal at position 0 in '%s'.", text)
		}
		text = strings.ReplaceAll(inner, `\"`, `"`)
	} else if i := strings.IndexFunc(text, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != ' ' }); i >= 0 {
		return nil, odata.BadRequest("Syntax error: character '%c' is not valid at position %d in '%s'.", []rune(text[i:])[0], i, text)
	}
	terms, err := searchTerms(text)
	if err != nil {
		return nil, err
	}
	v := view{b: c.b}
	return func(m *message) bool {
		for _, all := range terms {
			matched := true
			for _, t := range all {
				matched = matched && t.matches(v, m) != t.not
			}
			if matched {
				return true
			}
		}
		return false
	}, nil
}

// A searchTerm is one condition of a search.
type searchTerm struct {
	property string // in lower case; "": from, subject and body
	operator string // : > < >= <=
	value    string
	not      bool
}

// searchTerms parses a search into alternatives.
func searchTerms(text string) ([][]searchTerm, error) {
	words, err := searchWords(text)
	if err != nil {
		return nil, err
	}
	terms := [][]searchTerm{{}}
	not := false
	for _, w := range words {
		switch w {
		case "OR":
			terms = append(terms, nil)
			continue
		case "AND":
			continue
		case "NOT":
			not = true
			continue
		}
		t := searchTerm{value: w, not: not}
		if name, value, operator, ok := cutOperator(w); ok {
			t = searchTerm{property: strings.ToLower(name), operator: operator, value: strings.Trim(value, `"`), not: not}
		}
		t.value = strings.Trim(t.value, `"()`)
		not = false
		terms[len(terms)-1] = append(terms[len(terms)-1], t)
	}
	if len(words) == 0 {
		return nil, odata.BadRequest("The value of the query parameter '$search' must not be empty.")
	}
	return terms, nil
}

// cutOperator splits property:value, also with =, > and the like.
func cutOperator(w string) (name, value, operator string, ok bool) {
	i := strings.IndexAny(w, ":<>=")
	if i <= 0 || w[0] == '"' {
		return "", "", "", false
	}
	operator = w[i : i+1]
	if i+1 < len(w) && w[i+1] == '=' {
		operator += "="
	}
	return w[:i], w[i+len(operator):], operator, true
}

// searchWords splits at blanks outside quotes.
func searchWords(text string) ([]string, error) {
	var words []string
	quoted, begin := false, 0
	flush := func(end int) {
		if w := strings.TrimSpace(text[begin:end]); w != "" {
			words = append(words, w)
		}
		begin = end
	}
	for i, r := range text {
		switch {
		case r == '"':
			quoted = !quoted
		case r == ' ' && !quoted:
			flush(i)
		}
	}
	if quoted {
		return nil, odata.BadRequest("Syntax error: unterminated string literal in '%s'.", text)
	}
	flush(len(text))
	return words, nil
}

func (t searchTerm) matches(v view, m *message) bool {
	address := func(names ...string) bool {
		e := v.entity(m, names)
		for _, name := range names {
			all, isList := e[name].([]any)
			if !isList {
				all = []any{e[name]}
			}
			for _, r := range all {
				name, address := emailAddress(r)
				if hasWords(address+" "+name, t.value) || strings.EqualFold(address, t.value) {
					return true
				}
			}
		}
		return false
	}
	text := func(name string) bool {
		if name == "body" {
			return hasWords(plainText(v.entity(m, []string{"body"})["body"]), t.value)
		}
		s, _ := v.entity(m, []string{name})[name].(string)
		return hasWords(s, t.value)
	}
	switch t.property {
	case "":
		return text("subject") || address("from") || text("body")
	case "from":
		return address("from")
	case "to":
		return address("toRecipients")
	case "cc":
		return address("ccRecipients")
	case "bcc":
		return address("bccRecipients")
	case "participants", "recipients":
		return address("from", "toRecipients", "ccRecipients", "bccRecipients")
	case "subject", "body", "importance":
		return text(t.property)
	case "hasattachment", "hasattachments":
		return v.entity(m, []string{"hasAttachments"})["hasAttachments"] == strings.EqualFold(t.value, "true")
	case "isread":
		return m.read == strings.EqualFold(t.value, "true")
	case "attachment":
		for _, a := range v.b.attachmentsOf(m) {
			if hasWords(a.Name, t.value) {
				return true
			}
		}
		return false
	case "category":
		all, _ := v.entity(m, []string{"categories"})["categories"].([]any)
		for _, c := range all {
			if c, _ := c.(string); strings.EqualFold(c, t.value) {
				return true
			}
		}
		return false
	case "received", "sent":
		return t.inTime(m.received)
	}
	return false
}

// inTime compares a time with the day or time of the term.
func (t searchTerm) inTime(at time.Time) bool {
	if from, to, ok := strings.Cut(t.value, ".."); ok {
		return searchTerm{operator: ">=", value: from}.inTime(at) && searchTerm{operator: "<=", value: to}.inTime(at)
	}
	begin, err := time.Parse(time.DateOnly, t.value)
	end := begin.AddDate(0, 0, 1)
	if err != nil {
		if begin, err = time.Parse(time.RFC3339, t.value); err != nil {
			return false
		}
		end = begin.Add(time.Second)
	}
	switch t.operator {
	case ">":
		return !at.Before(end)
	case ">=":
		return !at.Before(begin)
	case "<":
		return at.Before(begin)
	case "<=":
		return at.Before(end)
	}
	return !at.Before(begin) && at.Before(end)
}

// hasWords reports whether text has the words of value in a row, in any case; the last one may end in * for any word that begins so.
func hasWords(text, value string) bool {
	value, prefix := strings.CutSuffix(value, "*")
	have, want := words(text), words(value)
	for i := 0; len(want) > 0 && i+len(want) <= len(have); i++ {
		matched := true
		for k, w := range want {
			matched = matched && (have[i+k] == w || prefix && k == len(want)-1 && strings.HasPrefix(have[i+k], w))
		}
		if matched {
			return true
		}
	}
	return false
}

func words(text string) []string {
	return strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
}
