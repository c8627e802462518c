package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

var pictureName = regexp.MustCompile(`pictures/[\w-]+\.webp`)

// TestPicturesInDocs compares the pictures that pages show with those that exist.
func TestPicturesInDocs(t *testing.T) {
	shown := map[string]bool{}
	files, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(files, "../README.md") {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, picture := range pictureName.FindAllString(string(b), -1) {
			shown[picture] = true
		}
	}
	existing, err := filepath.Glob("pictures/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range existing {
		if !shown[filepath.ToSlash(name)] {
			t.Errorf("%s is not shown", name)
		}
		delete(shown, filepath.ToSlash(name))
	}
	for name := range shown {
		t.Errorf("%s does not exist", name)
	}
}
