package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/graph2mqtt/graph2mqtt/docs/testdata/kind/tasklist"
	"github.com/graph2mqtt/graph2mqtt/sensors/sensorstest"
)

// TestExampleKind tests the kind of sensor that development.md shows.
func TestExampleKind(t *testing.T) { sensorstest.Run(t, tasklist.Kind(), "testdata/kind/cases") }

// Every declaration in development.md is part of the kind that TestExampleKind tests.
func TestGoInDocs(t *testing.T) {
	var source strings.Builder
	files, err := filepath.Glob("testdata/kind/*/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		source.Write(b)
	}
	page, err := os.ReadFile("development.md")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, block := range regexp.MustCompile("(?ms)^```go\n(.*?)^```").FindAllStringSubmatch(string(page), -1) {
		for declaration := range strings.SplitSeq(block[1], "\n\n//") {
			n++
			if !strings.Contains(source.String(), strings.TrimSpace(declaration)) {
				t.Errorf("testdata/kind has no\n%s", declaration)
			}
		}
	}
	if n < 10 {
		t.Errorf("only %d declarations", n)
	}
}

var (
	heading = regexp.MustCompile("(?m)^#+ (.*)$")
	anchor  = regexp.MustCompile(`\]\(([\w./-]*)#([^)]+)\)`)
	fenced  = regexp.MustCompile("(?ms)^ *```.*?^ *```")
)

// Every link to a heading has a target.
func TestAnchorsInDocs(t *testing.T) {
	pages := map[string]string{}
	files := []string{"../README.md"}
	for _, pattern := range []string{"../docs/*.md", "../docs/sensors/*.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		pages[name] = fenced.ReplaceAllString(string(b), "")
	}
	n := 0
	for name, text := range pages {
		for _, m := range anchor.FindAllStringSubmatch(text, -1) {
			n++
			to := name
			if m[1] != "" {
				to = filepath.Join(filepath.Dir(name), m[1])
			}
			if !anchors(pages[to])[m[2]] {
				t.Errorf("%s: %s has no heading #%s", name, to, m[2])
			}
		}
	}
	if n < 10 {
		t.Errorf("only %d links", n)
	}
}

// anchors returns the anchors of a page's headings, as GitHub makes them.
func anchors(page string) map[string]bool {
	all := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(page, -1) {
		words := strings.ReplaceAll(strings.ToLower(m[1]), " ", "-")
		all[regexp.MustCompile(`[^\w-]`).ReplaceAllString(words, "")] = true
	}
	return all
}
