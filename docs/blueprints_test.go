package docs_test

import (
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

// TestBlueprints checks what Home Assistant does not: a blueprint is imported again from its address, every input is used, and the guide
// about mail has a button that imports it. The end-to-end tests run them.
func TestBlueprints(t *testing.T) {
	const address = "https://github.com/graph2mqtt/graph2mqtt/blob/main/docs/"
	guide, err := os.ReadFile("mail.md")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	err = filepath.WalkDir("blueprints", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		n++
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		var file struct {
			Blueprint struct {
				Domain        string
				SourceURL     string `yaml:"source_url"`
				HomeAssistant struct {
					MinVersion string `yaml:"min_version"`
				}
				Input map[string]any
			}
		}
		if err := yaml.Unmarshal(text, &file); err != nil {
			t.Errorf("%s: %v", name, err)
			return nil
		}
		b := file.Blueprint
		if want := address + filepath.ToSlash(name); b.SourceURL != want {
			t.Errorf("%s: source_url is %s, want %s", name, b.SourceURL, want)
		}
		if want := filepath.Base(filepath.Dir(name)); b.Domain != want {
			t.Errorf("%s: domain is %s, want %s", name, b.Domain, want)
		}
		if b.HomeAssistant.MinVersion != "2025.4.0" {
			t.Errorf("%s: min_version is %s", name, b.HomeAssistant.MinVersion)
		}
		if button := "blueprint_import/?blueprint_url=" + url.QueryEscape(b.SourceURL) + ")"; !strings.Contains(string(guide), button) {
			t.Errorf("mail.md has no button for %s", name)
		}
		var defined, used []string
		for key := range b.Input {
			defined = append(defined, key)
		}
		for _, m := range regexp.MustCompile(`!input (\w+)`).FindAllStringSubmatch(string(text), -1) {
			used = append(used, m[1])
		}
		slices.Sort(defined)
		slices.Sort(used)
		if diff := cmp.Diff(defined, slices.Compact(used)); diff != "" || len(defined) == 0 {
			t.Errorf("%s: inputs (-defined +used):\n%s", name, diff)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if n < 2 {
		t.Errorf("%d blueprints", n)
	}
}

// Home Assistant refuses templates with a range above 100,000.
func TestRangesInTemplates(t *testing.T) {
	const most = 100_000
	n := 0
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !slices.Contains([]string{".md", ".yaml"}, filepath.Ext(name)) {
			return err
		}
		text, err := os.ReadFile(name)
		for _, m := range regexp.MustCompile(`\brange\((\d+)\)`).FindAllStringSubmatch(string(text), -1) {
			n++
			if size, err := strconv.Atoi(m[1]); err != nil || size > most {
				t.Errorf("%s: %s, want at most %d", name, m[0], most)
			}
		}
		return err
	})
	if err != nil || n == 0 {
		t.Errorf("%d templates with a range, %v", n, err)
	}
}
