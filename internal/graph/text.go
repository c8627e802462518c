package graph

import (
	"unicode/utf8"

	"github.com/microsoftgraph/msgraph-sdk-go/models"
)

// Truncate shortens a text to at most the given number of characters. A text that was cut ends in "…".
func Truncate(s string, most int) string {
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most-1]) + "…"
}

// ItemBody returns a text or HTML as it is written to Graph.
func ItemBody(content string, html bool) models.ItemBodyable {
	body, kind := models.NewItemBody(), models.TEXT_BODYTYPE
	if html {
		kind = models.HTML_BODYTYPE
	}
	body.SetContentType(&kind)
	body.SetContent(&content)
	return body
}
