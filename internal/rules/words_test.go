package rules_test

import (
	"go/ast"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// relativeDoc matches doc comments with a relative clause as predicate: "limit is how many…", "Values are what…".
var relativeDoc = regexp.MustCompile(`^(A |An |The |Package )?[\w.]+( and [\w.]+| or [\w.]+|, [\w.]+)* (is|are|was|were) (what|how|where|whose|whether|who|when|which|why)\b`)

// sayingDoc matches doc comments that let the code talk: "limit says how many…".
var sayingDoc = regexp.MustCompile(`^(A |An |The |Package )?[\w.]+( and [\w.]+| or [\w.]+)* (says|say|tells|tell)\b`)

// wording refuses doc comments that do not say what the thing does. Functions that print may say something.
func wording(s *source) []finding {
	var found []finding
	check := func(doc *ast.CommentGroup, prints bool) {
		if doc == nil {
			return
		}
		text := strings.Join(strings.Fields(doc.Text()), " ")
		for _, pattern := range []*regexp.Regexp{relativeDoc, sayingDoc} {
			if match := pattern.FindString(text); match != "" && !(prints && pattern == sayingDoc) {
				found = append(found, s.find(doc, "%q: say what it does", match))
			}
		}
	}
	check(s.file.Doc, false)
	functions := map[*ast.CommentGroup]bool{}
	for _, d := range s.file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok {
			functions[f.Doc] = true
			check(f.Doc, prints(f))
		}
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GenDecl:
			check(n.Doc, false)
		case *ast.TypeSpec:
			check(n.Doc, false)
		case *ast.ValueSpec:
			check(n.Doc, false)
		case *ast.Field:
			check(n.Doc, false)
		}
		return true
	})
	return found
}

// prints reports whether a function calls something that prints or writes.
func prints(f *ast.FuncDecl) bool {
	found := false
	ast.Inspect(f, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		name := ""
		switch fun := call.Fun.(type) {
		case *ast.Ident:
			name = fun.Name
		case *ast.SelectorExpr:
			name = fun.Sel.Name
		}
		name = strings.ToLower(name)
		found = found || strings.HasPrefix(name, "print") || strings.HasPrefix(name, "fprint") || strings.HasPrefix(name, "write") || strings.HasPrefix(name, "log")
		return true
	})
	return found
}

// logKeys lists the attributes that have one name in every log call, with the names that are refused for them.
var logKeys = map[string][]string{
	"error":     {"err", "e", "cause", "failure", "why"},
	"operation": {"op", "operation_name"},
	"sensor":    {"sensor_id", "sensor_name", "sensor_key"},
	"account":   {"account_id", "account_name", "account_key", "acct"},
	"retry_in":  {"retry", "retry_after", "again_in", "wait", "wait_for", "next_try", "next_attempt", "retry_at"},
}

// logMethods maps the methods of slog that take attributes to the index of the message, -1 without one, and of the first attribute.
var logMethods = map[string][2]int{
	"Debug": {0, 1}, "Info": {0, 1}, "Warn": {0, 1}, "Error": {0, 1},
	"DebugContext": {1, 2}, "InfoContext": {1, 2}, "WarnContext": {1, 2}, "ErrorContext": {1, 2},
	"Log": {2, 3}, "LogAttrs": {2, 3}, "With": {-1, 0},
}

var (
	snakeCase  = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)
	properNoun = regexp.MustCompile(`^(Microsoft|Graph|Home Assistant|Entra|Mosquitto|[A-Z0-9]{2,})\b`)
)

// logs refuses log messages that are sentences, and attributes under another name than everywhere else.
func logs(s *source) []finding {
	if s.test() {
		return nil
	}
	var found []finding
	ast.Inspect(s.file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		sel, ok := call.Fun.(*ast.SelectorExpr)
		if !ok || !isLogger(sel.X) {
			return true
		}
		method, ok := logMethods[sel.Sel.Name]
		if !ok || len(call.Args) < method[1] {
			return true
		}
		if i := method[0]; i >= 0 {
			if message, ok := stringLiteral(call.Args[i]); ok {
				first := message[:min(1, len(message))]
				switch {
				case strings.HasSuffix(message, "."):
					found = append(found, s.find(call.Args[i], "the log message %q ends with a period", message))
				case first != strings.ToLower(first) && !properNoun.MatchString(message):
					found = append(found, s.find(call.Args[i], "the log message %q begins with an upper case letter", message))
				}
			}
		}
		seen := map[string]bool{}
		for i := method[1]; i < len(call.Args); i++ {
			arg := call.Args[i]
			if attr, ok := arg.(*ast.CallExpr); ok { // slog.String("key", …) is an argument by itself
				if _, of, _ := calledSelector(attr); of == "slog" && len(attr.Args) > 0 {
					arg = attr.Args[0]
				} else {
					break // a call in place of a key: the positions are unknown
				}
			} else {
				i++ // its value
			}
			key, ok := stringLiteral(arg)
			if !ok {
				break // attributes... or a variable
			}
			if !snakeCase.MatchString(key) {
				found = append(found, s.find(arg, "the log attribute %q is not in snake_case", key))
			}
			if seen[key] {
				found = append(found, s.find(arg, "the log attribute %q is given twice", key))
			}
			seen[key] = true
			for name, refused := range logKeys {
				if slices.Contains(refused, key) {
					found = append(found, s.find(arg, "the log attribute %q: its name is %q", key, name))
				}
			}
		}
		return true
	})
	return found
}

// isLogger reports whether an expression looks like a slog.Logger: slog, log, x.log, x.Log, logger, or a call of With on one.
func isLogger(x ast.Expr) bool {
	switch x := x.(type) {
	case *ast.Ident:
		return slices.Contains([]string{"slog", "log", "logger"}, x.Name)
	case *ast.SelectorExpr:
		return slices.Contains([]string{"log", "Log", "logger", "Logger"}, x.Sel.Name)
	case *ast.CallExpr:
		sel, ok := x.Fun.(*ast.SelectorExpr)
		return ok && (sel.Sel.Name == "With" || sel.Sel.Name == "Default") && isLogger(sel.X)
	}
	return false
}

func stringLiteral(x ast.Expr) (string, bool) {
	lit, ok := x.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return "", false
	}
	s, err := strconv.Unquote(lit.Value)
	return s, err == nil
}

// sharedTypes lists the exported types whose name several packages use on purpose, and these packages; none: every package.
var sharedTypes = map[string][]string{
	"Options": nil, // what a constructor takes
	"Sensor":  nil, // the options and the source of a kind
	"Client":  nil, // of the package's protocol
	"Error":   nil, // the error that the package's functions return
	"Stats":   nil, // the package's counters
	"Kind":    {"config", "sensors"},
	// A request's fields and its recurrence are made from and into the other.
	"Field":      {"internal/schema", "services"},
	"Recurrence": {"internal/graph", "services"},
	"Poll":       {"internal/hub", "sensors"},
	"Problem":    {"internal/hub", "internal/schema"},             // that the user can put right, in a sentence
	"Prompt":     {"internal/graph/auth", "internal/hub"},         // what a person must know to sign in
	"Snapshot":   {"docs/testdata/kind/tasklist", "internal/hub"}, // a moment
	"State":      {"internal/entity", "internal/hub", "sensors"},  // each contains the one before
}

// exportedTypes returns the exported types that a file declares. An interface may have the name of what implements it elsewhere.
func exportedTypes(s *source) []string {
	if s.test() {
		return nil
	}
	var names []string
	for _, d := range s.file.Decls {
		d, ok := d.(*ast.GenDecl)
		if !ok || d.Tok != token.TYPE {
			continue
		}
		for _, spec := range d.Specs {
			spec, ok := spec.(*ast.TypeSpec)
			if !ok || !spec.Name.IsExported() || spec.Assign.IsValid() {
				continue
			}
			if _, ok := spec.Type.(*ast.InterfaceType); !ok {
				names = append(names, spec.Name.Name)
			}
		}
	}
	return names
}

// repeatedTypes returns the exported types that several packages declare, with these packages. The packages of a kind, a resource and the
// simulator are left out: they use Microsoft's names for Microsoft's things.
func repeatedTypes(packages map[string][]string) map[string][]string {
	repeated := map[string][]string{}
	for name, dirs := range packages {
		dirs = slices.DeleteFunc(slices.Clone(dirs), usesMicrosoftNames)
		slices.Sort(dirs)
		dirs = slices.Compact(dirs)
		shared, ok := sharedTypes[name]
		if ok && (shared == nil || !slices.ContainsFunc(dirs, func(dir string) bool { return !slices.Contains(shared, dir) })) {
			continue
		}
		if len(dirs) > 1 {
			repeated[name] = dirs
		}
	}
	return repeated
}

func usesMicrosoftNames(dir string) bool {
	above, name := path.Split(dir)
	return isWithin(dir, "internal/simulator") || above == "services/" || above == "sensors/" ||
		above == "internal/graph/" && name != "auth"
}

// wordCases are files with the comments and log calls that the rules must refuse.
func wordCases() []violationCase {
	return []violationCase{
		{"wording", "x/x.go", `// Package x is what asks.
package x

// limit is how many may be asked.
const limit = 1

// A box is where all goes.
type box struct {
	// n is whose number it is.
	n int
	// m counts what is
	// where it was.
	m int // is how it is
}

// F and G are what
// comes.
func F() {}

// G returns what is there, which is how it should be.
func G() {}

// The limit says how many.
var l = 1

// report tells how many.
func report() { fmt.Fprintln(w) }

// count tells how many.
func count() int { return 1 }

// Who knows, it is what it is.
func who() {}
`, []string{
			`1: "Package x is what": say what it does`, `16: "F and G are what": say what it does`, `29: "count tells": say what it does`,
			`4: "limit is how": say what it does`, `7: "A box is where": say what it does`, `9: "n is whose": say what it does`,
			`23: "The limit says": say what it does`,
		}},
		{"logs", "x/x.go", `package x

func f(t testing.TB) {
	log.Info("Signed in", "account", a)
	a.log.Warn("polling failed.", "err", err, "sensor", s, "retry", d)
	slog.ErrorContext(ctx, "failed", slog.String("op", o), "sensor_id", s)
	a.Log.With("Account", a).Info("MQTT is away", "account", a, "account", b)
	log.Info("Microsoft is away", "error", err, "operation", o, "retry_in", d)
	log.Info("fine", attrs...)
	t.Error("Fine. ", "err", err)
	log.Log(ctx, level, "renewed", "again_in", d)
}
`, []string{
			`4: the log message "Signed in" begins with an upper case letter`,
			`5: the log message "polling failed." ends with a period`,
			`5: the log attribute "err": its name is "error"`,
			`5: the log attribute "retry": its name is "retry_in"`,
			`6: the log attribute "op": its name is "operation"`,
			`6: the log attribute "sensor_id": its name is "sensor"`,
			`7: the log attribute "account" is given twice`,
			`7: the log attribute "Account" is not in snake_case`,
			`11: the log attribute "again_in": its name is "retry_in"`,
		}},
	}
}
