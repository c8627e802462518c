// Package rules_test checks the repository against its own rules, and each rule against code that it must refuse.
package rules_test

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const module = "github.com/graph2mqtt/graph2mqtt"

// A rule returns the violations in one Go file.
type rule struct {
	name  string
	check func(s *source) []finding
}

func rules() []rule {
	return []rule{
		{"imports", imports},
		{"skip", skips},
		{"context", contexts},
		{"init", initFunctions},
		{"sleep", sleeps},
		{"doc", missingDocs},
		{"silences", linterDirectives},
		{"wording", wording},
		{"logs", logs},
	}
}

// A finding describes one violation of a rule.
type finding struct {
	line    int
	message string
}

// A source holds a parsed Go file.
type source struct {
	path  string // relative to the root, with slashes
	files *token.FileSet
	file  *ast.File
}

func (s *source) test() bool  { return strings.HasSuffix(s.path, "_test.go") }
func (s *source) dir() string { return path.Dir(s.path) }

func (s *source) find(at ast.Node, format string, args ...any) finding {
	return finding{s.files.Position(at.Pos()).Line, fmt.Sprintf(format, args...)}
}

func parse(name string, content []byte) (*source, error) {
	s := &source{path: name, files: token.NewFileSet()}
	var err error
	s.file, err = parser.ParseFile(s.files, name, content, parser.ParseComments|parser.SkipObjectResolution)
	return s, err
}

// allowedFile lists the violations of rules that were added later, one per line: "rule: package", "imports: message" or
// "types: name". The test fails for a line that is no longer needed, so the list only shrinks.
const allowedFile = "testdata/allowed.txt"

var shrink = flag.Bool("shrink", false, "remove the lines that are no longer needed from "+allowedFile)

// allowance returns the line of allowedFile that would allow a finding.
func allowance(rule, dir, message string) string {
	if rule == "imports" {
		return rule + ": " + message
	}
	return rule + ": " + dir
}

// TestRepository reads the files itself instead of running go list, so that go test knows which files its cached result depends on.
func TestRepository(t *testing.T) {
	allowed := map[string]bool{} // by line: whether it was needed
	list, err := os.ReadFile(allowedFile)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(list)) {
		allowed[strings.TrimSpace(line)] = false
	}
	report := func(line, at, message string) {
		if _, ok := allowed[line]; ok {
			allowed[line] = true
			return
		}
		t.Errorf("%s: %s", at, message)
	}

	documented := map[string]bool{} // by directory
	types := map[string][]string{}  // directories by exported type
	files := 0
	eachFile(t, func(name string, content []byte) {
		for _, f := range findForbiddenText(name, content) {
			t.Errorf("%s:%d: text: %s", name, f.line, f.message)
		}
		if path.Ext(name) != ".go" {
			return
		}
		files++
		s, err := parse(name, content)
		if err != nil {
			t.Error(err)
			return
		}
		for _, r := range rules() {
			for _, f := range r.check(s) {
				report(allowance(r.name, s.dir(), f.message), fmt.Sprintf("%s:%d", name, f.line), r.name+": "+f.message)
			}
		}
		for _, name := range exportedTypes(s) {
			types[name] = append(types[name], s.dir())
		}
		if !s.test() {
			documented[s.dir()] = documented[s.dir()] || s.file.Doc != nil
		}
	})
	for dir, ok := range documented {
		if !ok {
			t.Errorf("%s: doc: no file has a package comment", dir)
		}
	}
	for name, dirs := range repeatedTypes(types) {
		report("types: "+name, strings.Join(dirs, ", "), "types: each declares "+name+": one word must have one meaning")
	}
	var needed strings.Builder
	for line := range strings.Lines(string(list)) {
		switch {
		case allowed[strings.TrimSpace(line)]:
			needed.WriteString(line)
		case !*shrink:
			t.Errorf("%s: no longer needed, remove it (or run the test with -shrink): %s", allowedFile, line)
		}
	}
	if *shrink {
		if err := os.WriteFile(allowedFile, []byte(needed.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if files < 50 || len(documented) < 10 {
		t.Errorf("only %d Go files in %d packages: is this the repository?", files, len(documented))
	}
}

func TestRepeatedTypes(t *testing.T) {
	got := repeatedTypes(map[string][]string{
		"Options": {"a", "b"}, "Device": {"b", "a", "a"}, "Fault": {"internal/simulator", "a"}, "Once": {"a", "a"},
		"Kind": {"sensors", "config"}, "State": {"internal/hub", "a"}, "Event": {"a", "services/calendar", "internal/graph/calendars"},
	})
	if diff := cmp.Diff(map[string][]string{"Device": {"a", "b"}, "State": {"a", "internal/hub"}}, got); diff != "" {
		t.Error(diff)
	}
}

// eachFile calls f with every text file of the repository.
func eachFile(t *testing.T, f func(name string, content []byte)) {
	t.Helper()
	root := filepath.Join("..", "..")
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		if d.IsDir() {
			if slices.Contains([]string{".git", "node_modules", ".venv", "__pycache__", "fuzz"}, d.Name()) {
				return fs.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() || d.Name() == ".git" { // a file in a linked work tree
			return nil
		}
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if !bytes.ContainsRune(content, 0) {
			f(filepath.ToSlash(name), content)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A violationCase holds a file and the findings that a rule must return, as "line: message".
type violationCase struct {
	rule, path, content string
	want                []string
}

func TestRulesFindViolations(t *testing.T) {
	proven := map[string]bool{}
	for i, test := range slices.Concat(importCases(), codeCases(), wordCases()) {
		t.Run(fmt.Sprintf("%s %d", test.rule, i), func(t *testing.T) {
			s, err := parse(test.path, []byte(test.content))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, r := range rules() {
				if r.name != test.rule {
					continue
				}
				for _, f := range r.check(s) {
					got = append(got, fmt.Sprintf("%d: %s", f.line, f.message))
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			proven[test.rule] = proven[test.rule] || len(got) > 0
		})
	}
	for _, r := range rules() {
		if !proven[r.name] {
			t.Errorf("no case shows that the rule %s can fail", r.name)
		}
	}
}
