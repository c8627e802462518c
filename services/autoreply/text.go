package autoreply

import (
	"strings"

	"github.com/graph2mqtt/graph2mqtt/internal/graph/htmltext"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// Short shortens a text to what a state of Home Assistant holds.
func Short(text string) string { return services.Truncate(text, services.MaxState) }

// markup returns the HTML to store when the user sets s, HTML or plain text, in place of old. The text that an entity shows for
// old, complete or shortened, is no change: writing back the displayed text must not overwrite the stored one.
func markup(old, s string) string {
	s = strings.ReplaceAll(s, "\r\n", "\n")
	if shown := htmltext.Text(old); s == old || strings.TrimSpace(s) == shown || s == Short(shown) {
		return old
	}
	if htmltext.IsHTML(s) {
		return s
	}
	return htmltext.FromText(s)
}
