package rules_test

import (
	"go/ast"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// calledSelector returns the call and its selector: "t" and "Skip" of t.Skip().
func calledSelector(n ast.Node) (call *ast.CallExpr, of, name string) {
	call, ok := n.(*ast.CallExpr)
	if !ok {
		return nil, "", ""
	}
	if sel, ok := call.Fun.(*ast.SelectorExpr); ok {
		if x, ok := sel.X.(*ast.Ident); ok {
			return call, x.Name, sel.Sel.Name
		}
	}
	return call, "", ""
}

// skips refuses skipped tests without a reason.
func skips(s *source) []finding {
	if !s.test() {
		return nil
	}
	var found []finding
	ast.Inspect(s.file, func(n ast.Node) bool {
		call, of, name := calledSelector(n)
		if !slices.Contains([]string{"t", "b", "f", "tb"}, of) || !slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, name) {
			return true
		}
		if len(call.Args) > 0 {
			lit, ok := call.Args[0].(*ast.BasicLit)
			if !ok {
				return true
			}
			if reason, err := strconv.Unquote(lit.Value); err != nil || strings.TrimSpace(reason) != "" {
				return true
			}
		}
		found = append(found, s.find(n, "%s.%s without a reason", of, name))
		return true
	})
	return found
}

// contexts refuses contexts in structs.
func contexts(s *source) []finding {
	var found []finding
	ast.Inspect(s.file, func(n ast.Node) bool {
		st, ok := n.(*ast.StructType)
		if !ok {
			return true
		}
		for _, f := range st.Fields.List {
			if sel, ok := f.Type.(*ast.SelectorExpr); ok && sel.Sel.Name == "Context" {
				if x, ok := sel.X.(*ast.Ident); ok && x.Name == "context" {
					found = append(found, s.find(f, "a context in a struct"))
				}
			}
		}
		return true
	})
	return found
}

// initFunctions refuses init functions: an import must have no effect.
func initFunctions(s *source) []finding {
	var found []finding
	for _, d := range s.file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
			found = append(found, s.find(f, "a function init"))
		}
	}
	return found
}

// sleepExceptions may sleep for reasons that the rule cannot see.
var sleepExceptions = map[string]bool{
	"internal/simulator/login_test.go TestRefreshRefused": true, // its table's cases run in synctest
	"internal/e2e/fault_test.go TestBacklog":              true, // it tests how long another process was stopped
	"internal/bridge/bench_test.go BenchmarkMinute":       true, // it measures what a minute costs
	"internal/bridge/fleet_test.go run":                   true, // it is a slow disk
	"internal/e2e/limits_test.go TestStrangerSignIn":      true, // the least time between two sign-ins passes in another process
}

// sleeps refuses time.Sleep in tests outside of testing/synctest. Functions that are not tests may be called from there. A poll loop of
// one millisecond may wait for another process that sends no event.
func sleeps(s *source) []finding {
	if !s.test() {
		return nil
	}
	bubbles := slices.ContainsFunc(s.file.Imports, func(i *ast.ImportSpec) bool { return i.Path.Value == `"testing/synctest"` })
	var found []finding
	for _, d := range s.file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || bubbles && !isTest(f) || sleepExceptions[s.path+" "+f.Name.Name] {
			continue
		}
		ast.Inspect(f, func(n ast.Node) bool {
			_, of, name := calledSelector(n)
			if of == "synctest" && name == "Test" || isPollLoop(n) {
				return false
			}
			if of == "time" && name == "Sleep" {
				found = append(found, s.find(n, "time.Sleep outside of synctest: wait for an event"))
			}
			return true
		})
	}
	return found
}

// isPollLoop reports whether a statement has one of the forms: for … { time.Sleep(time.Millisecond) } and
// for …; time.Sleep(time.Millisecond) { … }.
func isPollLoop(n ast.Node) bool {
	loop, ok := n.(*ast.ForStmt)
	if !ok {
		return false
	}
	statement, ok := loop.Post.(*ast.ExprStmt)
	if !ok && loop.Cond != nil && len(loop.Body.List) == 1 {
		statement, ok = loop.Body.List[0].(*ast.ExprStmt)
	}
	if !ok {
		return false
	}
	call, of, name := calledSelector(statement.X)
	if of != "time" || name != "Sleep" {
		return false
	}
	pause, ok := call.Args[0].(*ast.SelectorExpr)
	return ok && pause.Sel.Name == "Millisecond"
}

func isTest(f *ast.FuncDecl) bool {
	return f.Recv == nil && slices.ContainsFunc([]string{"Test", "Fuzz", "Benchmark", "Example"}, func(p string) bool { return strings.HasPrefix(f.Name.Name, p) })
}

// missingDocs refuses exported names without a comment. Methods that Go defines the meaning of need none.
func missingDocs(s *source) []finding {
	if s.test() {
		return nil
	}
	var found []finding
	missing := func(at ast.Node, name string) {
		found = append(found, s.find(at, "%s has no comment", name))
	}
	for _, d := range s.file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Doc == nil && d.Name.IsExported() && exportedReceiver(d) && !(d.Recv != nil && slices.Contains([]string{"Error", "Unwrap", "String"}, d.Name.Name)) {
				missing(d, d.Name.Name)
			}
		case *ast.GenDecl:
			if d.Doc != nil && d.Tok != token.TYPE {
				continue
			}
			for _, spec := range d.Specs {
				switch spec := spec.(type) {
				case *ast.TypeSpec:
					if spec.Name.IsExported() && spec.Doc == nil && d.Doc == nil {
						missing(spec, spec.Name.Name)
					}
				case *ast.ValueSpec:
					for _, name := range spec.Names {
						if name.IsExported() && spec.Doc == nil && spec.Comment == nil {
							missing(name, name.Name)
						}
					}
				}
			}
		}
	}
	return found
}

// exportedReceiver reports whether a function is no method, or one of an exported type.
func exportedReceiver(f *ast.FuncDecl) bool {
	if f.Recv == nil {
		return true
	}
	t := f.Recv.List[0].Type
	for {
		switch x := t.(type) {
		case *ast.StarExpr:
			t = x.X
		case *ast.IndexExpr:
			t = x.X
		case *ast.IndexListExpr:
			t = x.X
		case *ast.Ident:
			return x.IsExported()
		default:
			return false
		}
	}
}

var linterDirective = regexp.MustCompile(`^//\s*(nolint\b|lint:(file-)?ignore\b)`)

// linterDirectives refuses comments that silence a linter.
func linterDirectives(s *source) []finding {
	var found []finding
	for _, group := range s.file.Comments {
		for _, c := range group.List {
			if linterDirective.MatchString(c.Text) {
				found = append(found, s.find(c, "a linter is silenced"))
			}
		}
	}
	return found
}

// codeCases are files with the code that the rules must refuse.
func codeCases() []violationCase {
	return []violationCase{
		{"skip", "x/x_test.go", `package x
func TestA(t *testing.T) {
	t.Skip()
	t.SkipNow()
	t.Skip(" ")
	t.Skip("no mosquitto here")
	t.Skipf("no %s here", "mosquitto")
	reader.Skip()
}`, []string{"3: t.Skip without a reason", "4: t.SkipNow without a reason", "5: t.Skip without a reason"}},
		{"context", "x/x.go", `package x
type a struct {
	ctx context.Context
	b struct{ context.Context }
	f func(context.Context)
}
func g(ctx context.Context) {}`, []string{"3: a context in a struct", "4: a context in a struct"}},
		{"init", "x/x.go", `package x
func init() {}
func (a) init() {}
func initial() {}`, []string{"2: a function init"}},
		{"sleep", "x/x_test.go", `package x
import "testing/synctest"
func TestA(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { time.Sleep(time.Hour) })
	time.Sleep(1)
}
func helper() { time.Sleep(1) }`, []string{"5: time.Sleep outside of synctest: wait for an event"}},
		{"sleep", "x/x_test.go", `package x
func helper() { go func() { time.Sleep(1) }() }`, []string{"2: time.Sleep outside of synctest: wait for an event"}},
		{"sleep", "x/x_test.go", `package x
func TestA(t *testing.T) {
	for a() { time.Sleep(time.Millisecond) }
	for a() { time.Sleep(time.Second) }
	for { time.Sleep(time.Millisecond) }
}`, []string{"4: time.Sleep outside of synctest: wait for an event", "5: time.Sleep outside of synctest: wait for an event"}},
		{"sleep", "x/x.go", `package x
func f() { time.Sleep(1) }`, nil},
		{"doc", "x/x.go", `package x
func F() {}
func f() {}
// G is there.
func G() {}
type T struct{ A int }
func (T) M() {}
func (*T[A]) N() {}
func (T) Error() string { return "" }
type t int
func (t) M() {}
const C = 1
const (
	D = 2
	E = 3 // is there
	e = 4
)
// All of them.
const (
	H = 5
)
var V, w = 1, 2
type (
	// A is there.
	A int
	B int
)`, []string{"2: F has no comment", "6: T has no comment", "7: M has no comment", "8: N has no comment", "12: C has no comment", "14: D has no comment", "22: V has no comment", "26: B has no comment"}},
		{"doc", "x/x_test.go", "package x\nfunc F() {}", nil},
		{"silences", "x/x.go", "package x\n//" + "nolint:all\nvar a = 1 //" + "lint:ignore U1000 because\n// nolintish\n", []string{"2: a linter is silenced", "3: a linter is silenced"}},
	}
}
