package autoreply

import (
	"html"
	"regexp"
	"strings"

	"github.com/k3a/html2text"

	"github.com/graph2mqtt/graph2mqtt/services"
)

var (
	comment = regexp.MustCompile(`(?s)<!--.*?-->`)
	block   = regexp.MustCompile(`(?i)<(/?(?:p|br|li|ul|ol|h[1-6]))(?:\s[^>]*|/)>`)
	newLine = regexp.MustCompile(`(?i)</(?:div|tr)\s*>`)
	gap     = regexp.MustCompile(`\n{3,}`)
)

// Text is a reply as people read it. Graph stores HTML.
func Text(markup string) string {
	// html2text knows tags without attributes only, and no blocks but paragraphs and lists; Outlook writes
	// <p class="MsoNormal"> and <div style="…">.
	markup = comment.ReplaceAllString(markup, "")
	markup = block.ReplaceAllString(markup, "<$1>")
	markup = newLine.ReplaceAllString(markup, "<br>")
	text := html2text.HTML2TextWithOptions(markup, html2text.WithUnixLineBreaks(), html2text.WithLinksInnerText())
	lines := strings.Split(strings.ReplaceAll(text, "\u00a0", " "), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimSpace(line)
	}
	return strings.TrimSpace(gap.ReplaceAllString(strings.Join(lines, "\n"), "\n\n"))
}

// Short is a text that fits into a state of Home Assistant, which has at most 255 characters.
func Short(text string) string { return services.Truncate(text, 255) }

// markup is what Graph is to store where a user gave s and it stores old. What a user gives may be HTML or plain text.
// What an entity shows of old, whole or shortened, is no change: setting it must not lose what cannot be shown.
func markup(old, s string) string {
	s = strings.ReplaceAll(s, "\r\n", "\n")
	if shown := Text(old); s == old || strings.TrimSpace(s) == shown || s == Short(shown) {
		return old
	}
	if services.IsHTML(s) {
		return s
	}
	return strings.ReplaceAll(html.EscapeString(s), "\n", "<br>")
}
