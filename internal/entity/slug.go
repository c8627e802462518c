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

// maxSlug is the length of the longest part of an entity id that a name is turned into. With ids of an account and a sensor of 64
// characters each, and a number, entity ids stay below the 255 characters that Home Assistant allows.
const maxSlug = 60

// ShortSlug returns the slug of a name that may be long, cut at maxSlug.
func ShortSlug(name string) string {
	slug := Slug(name)
	return strings.TrimRight(slug[:min(len(slug), maxSlug)], "_")
}

var (
	notASCII = regexp.MustCompile(`[^\x00-\x7f]+`)
	notSlug  = regexp.MustCompile(`[^a-z0-9]+`)
)
