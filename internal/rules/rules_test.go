// Package rules_test holds the repository to its own rules. Each rule is also shown to fail where it should.
package rules_test

import (
	"bytes"
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

// A rule finds what is not as it should be in one file of Go.
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
	}
}

// A finding is one break of a rule.
type finding struct {
	line    int
	message string
}

// A source is a file of Go.
type source struct {
	path  string // from the root, with slashes
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

// TestRepository reads the files itself: go test knows then that its verdict depends on them, as it would not with go list.
func TestRepository(t *testing.T) {
	packages := map[string]bool{} // by directory: is there a comment that says what it is
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
				t.Errorf("%s:%d: %s: %s", name, f.line, r.name, f.message)
			}
		}
		if !s.test() {
			packages[s.dir()] = packages[s.dir()] || s.file.Doc != nil
		}
	})
	for dir, documented := range packages {
		if !documented {
			t.Errorf("%s: doc: no file has a comment that says what the package is", dir)
		}
	}
	if files < 50 || len(packages) < 10 {
		t.Errorf("only %d files of Go in %d packages: is this the repository?", files, len(packages))
	}
}

// eachFile calls f with every file of text in the repository.
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
		if !d.Type().IsRegular() || d.Name() == ".git" { // which in a second work tree is a file
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

// violationCase is a file with what a rule should find in it, as "line: message".
type violationCase struct {
	rule, path, content string
	want                []string
}

func TestRulesFindViolations(t *testing.T) {
	proven := map[string]bool{}
	for i, test := range slices.Concat(importCases(), codeCases()) {
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
			t.Errorf("nothing shows that the rule %s can fail", r.name)
		}
	}
}
