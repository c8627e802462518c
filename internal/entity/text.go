package entity

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

const (
	// MaxText is the number of characters that Home Assistant's text box and its states hold.
	MaxText = 255

	lineBreak = " ⏎ " // Home Assistant's text box has no line breaks
	ellipsis  = "…"
)

// Box returns text as the text box of Home Assistant shows it: line breaks become " ⏎ ", and a text longer than MaxText
// characters is shortened and ends in "…". It reports whether all of text is shown.
func Box(text string) (shown string, complete bool) {
	shown = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\n", lineBreak)
	if utf8.RuneCountInString(shown) <= MaxText {
		return shown, true
	}
	return string([]rune(shown)[:MaxText-1]) + ellipsis, false
}

// unbox reverses Box for a text that the user may have edited.
func unbox(shown string) string {
	// Editing may leave a space out.
	lines := strings.Split(shown, strings.TrimSpace(lineBreak))
	for i, line := range lines {
		if i > 0 {
			line = strings.TrimPrefix(line, " ")
		}
		if i < len(lines)-1 {
			line = strings.TrimSuffix(line, " ")
		}
		lines[i] = line
	}
	return strings.Join(lines, "\n")
}

// Request turns the payload of the entity's command topic into an operation and that operation's request. current is the newest
// state of the sensor; its zero value is that of a sensor without a state.
//
// A select takes labels as well as options. In a text " ⏎ " is a line break, and a text that still ends in "…" is refused while
// the stored one is longer than its box shows (current.Texts), because its end would be lost.
func (e Entity) Request(payload string, current State) (operation string, request map[string]any, err error) {
	if e.Parse == nil {
		return "", nil, fmt.Errorf("%s cannot be set", e.Name)
	}
	switch e.Platform {
	case "select":
		payload = e.option(payload)
	case "text":
		if _, shortened := current.Texts[e.StateKey()]; shortened && strings.HasSuffix(strings.TrimSpace(payload), ellipsis) {
			return "", nil, e.tooLong()
		}
		payload = unbox(payload)
	}
	return e.Parse(payload)
}

// option returns the option that payload names by itself or by its label.
func (e Entity) option(payload string) string {
	for _, option := range e.Options {
		if option == payload {
			return option
		}
	}
	for _, option := range e.Options {
		if strings.EqualFold(e.Label(option), payload) {
			return option
		}
	}
	return payload
}

func (e Entity) tooLong() error {
	way := ""
	if e.LongTexts != "" {
		way = fmt.Sprintf("the notify entity %q or ", e.LongTexts)
	}
	return fmt.Errorf("want a text that does not end in %s: the stored one is longer than this box shows, and its end would be lost; "+
		"set long texts with %sthe request %s", ellipsis, way, e.Operations[0])
}
