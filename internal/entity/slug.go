package entity

import (
	"regexp"
	"strings"

	"golang.org/x/text/unicode/norm"
)

// Slug returns a name in the form that it has in an entity id: "Büro & Küche" becomes "buro_kuche".
func Slug(name string) string {
	ascii := notASCII.ReplaceAllString(norm.NFKD.String(name), "")
	return strings.Trim(notSlug.ReplaceAllString(strings.ToLower(ascii), "_"), "_")
}

var (
	notASCII = regexp.MustCompile(`[^\x00-\x7f]+`)
	notSlug  = regexp.MustCompile(`[^a-z0-9]+`)
)
