package docs_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A programMessage is a text that the program can print. Parts that are known only at run time are replaced by "…".
type programMessage struct {
	text, file string
	pattern    *regexp.Regexp // see wildcards
	line       int
	log        bool // the message of a log line at level warn or error
	wraps      bool // puts words before another error, which has its own entry
}

// messageFunctions make errors out of a text: the first argument with a text of several words, and its format.
var messageFunctions = map[string]bool{
	"errors.New": true, "fmt.Errorf": true, "http.Error": true, "Invalid": true, "invalid": true, "Explain": true, "Report": true, "report": true, "refuse": true,
	"refused": true, "fail": true, "statusError": true, "conditionError": true, "groupNotFound": true, "pick": true,
}

// messageTypes are errors whose text is a field; messageFields are its names.
var (
	messageTypes = map[string]bool{
		"Error": true, "usageError": true, "filterError": true, "InsertError": true, "Problem": true, "ConfigProblem": true, "failure": true, "Failure": true,
		"OwnerError": true, "RefusedError": true,
	}
	messageFields = map[string]bool{"Message": true, "Explanation": true, "Err": true, "reason": true}
)

// messageResults are functions that return the text of a message, and messageVariables are named like one.
var (
	messageResults   = map[string]bool{"Error": true, "explanation": true, "mismatch": true, "refusedBy": true, "kindOf": true}
	messageVariables = map[string]bool{"message": true, "why": true, "reason": true}
)

var formatVerb = regexp.MustCompile(`%[-+#0]*[0-9*]*(\.[0-9*]+)?(\[[0-9]+\])?[a-zA-Z]`)

// onlyContext matches texts that put no more than the name of a field before another error.
var onlyContext = regexp.MustCompile(`^[^\pL]*$|^\S+: …$|^… \([^ ]*\)$`)

// withoutVerbs replaces the verbs of a format by "…".
func withoutVerbs(format string) string {
	parts := strings.Split(format, "%%")
	for i, part := range parts {
		parts[i] = formatVerb.ReplaceAllString(part, "…")
	}
	return strings.Join(parts, "%")
}

// constantText returns the constant parts of an expression, with "…" between them. Without a constant part it is not ok.
func constantText(x ast.Expr) (text string, ok bool) {
	switch x := x.(type) {
	case *ast.BasicLit:
		if x.Kind == token.STRING {
			text, err := strconv.Unquote(x.Value)
			return text, err == nil
		}
	case *ast.ParenExpr:
		return constantText(x.X)
	case *ast.UnaryExpr:
		return constantText(x.X)
	case *ast.BinaryExpr:
		left, leftOK := constantText(x.X)
		right, rightOK := constantText(x.Y)
		return left + right, leftOK || rightOK
	case *ast.CallExpr:
		if functionName(x) == "fmt.Sprintf" {
			return constantText(x.Args[0])
		}
	}
	return "%v", false
}

// functionName returns the name of a called function. Those of the packages errors, fmt and http have the name of the package before it.
func functionName(call *ast.CallExpr) string {
	switch f := call.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		if of, ok := f.X.(*ast.Ident); ok && (of.Name == "errors" || of.Name == "fmt" || of.Name == "http") {
			return of.Name + "." + f.Sel.Name
		}
		return f.Sel.Name
	}
	return ""
}

// typeName returns the name of a type without its package.
func typeName(x ast.Expr) string {
	switch x := x.(type) {
	case *ast.Ident:
		return x.Name
	case *ast.SelectorExpr:
		return x.Sel.Name
	}
	return ""
}

// logsProblem reports whether a call logs at level warn or error.
func logsProblem(call *ast.CallExpr) bool {
	f, ok := call.Fun.(*ast.SelectorExpr)
	return ok && (f.Sel.Name == "Warn" || f.Sel.Name == "Error") && len(call.Args) > 0 && typeName(f.X) != "http"
}

// messagesIn returns the messages of one file, and every other text in it.
func messagesIn(files *token.FileSet, f *ast.File) (messages []programMessage, texts []string) {
	add := func(at ast.Expr, log bool) bool {
		format, ok := constantText(at)
		if !ok || !log && !strings.Contains(format, " ") {
			return false
		}
		position := files.Position(at.Pos())
		text := withoutVerbs(format)
		messages = append(messages, programMessage{
			text: text, pattern: wildcards(text), file: position.Filename, line: position.Line, log: log,
			wraps: strings.HasSuffix(format, ": %w") || onlyContext.MatchString(text),
		})
		return true
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BasicLit:
			if text, ok := constantText(n); ok {
				texts = append(texts, withoutVerbs(text))
			}
		case *ast.CallExpr:
			switch {
			case functionName(n) == "append" && strings.EqualFold(typeName(n.Args[0]), "warnings"):
				add(n.Args[1], false)
			case logsProblem(n):
				add(n.Args[0], true)
			case messageFunctions[functionName(n)]:
				for _, arg := range n.Args {
					if add(arg, false) {
						break
					}
				}
			}
		case *ast.CompositeLit:
			if !messageTypes[typeName(n.Type)] {
				break
			}
			for _, element := range n.Elts {
				if field, ok := element.(*ast.KeyValueExpr); !ok {
					add(element, false)
				} else if messageFields[typeName(field.Key)] {
					add(field.Value, false)
				}
			}
		case *ast.AssignStmt:
			for i, left := range n.Lhs {
				if messageVariables[typeName(left)] && len(n.Rhs) == len(n.Lhs) {
					add(n.Rhs[i], false)
				}
			}
		case *ast.FuncDecl:
			if !messageResults[n.Name.Name] {
				break
			}
			ast.Inspect(n.Body, func(n ast.Node) bool {
				if r, ok := n.(*ast.ReturnStmt); ok {
					for _, result := range r.Results {
						add(result, false)
					}
				}
				return true
			})
		}
		return true
	})
	return messages, texts
}

// programMessages returns what the program can print: messages, and every other text in the source. Helpers of tests and the simulator
// are left out.
func programMessages(t *testing.T) (messages []programMessage, texts []string) {
	files := token.NewFileSet()
	root := os.DirFS("..")
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name != "." && strings.HasPrefix(d.Name(), ".") || strings.HasSuffix(name, "test") || slices.Contains([]string{"docs", "internal/simulator", "internal/e2e", "internal/rules"}, name) {
				return fs.SkipDir
			}
			return nil
		}
		if filepath.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		content, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(files, name, content, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		m, other := messagesIn(files, f)
		messages, texts = append(messages, m...), append(texts, other...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return messages, texts
}

// A messageEntry is a message that a page explains. "…" stands for any text.
type messageEntry struct {
	text, page string
	pattern    *regexp.Regexp
}

// wildcards returns a pattern of a text in which "…" stands for anything. It is nil if too little of the text is constant.
func wildcards(text string) *regexp.Regexp {
	if len(strings.ReplaceAll(text, "…", "")) < 12 {
		return nil
	}
	parts := strings.Split(text, "…")
	for i, part := range parts {
		parts[i] = regexp.QuoteMeta(part)
	}
	return regexp.MustCompile(strings.Join(parts, ".*"))
}

// messageEntries returns the messages in the tables of a page that have the heading.
func messageEntries(t *testing.T, page, heading string, column int) []messageEntry {
	content, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var entries []messageEntry
	inTable := false
	for line := range strings.Lines(string(content)) {
		line = strings.TrimSpace(line)
		switch {
		case line == heading:
			inTable = true
		case !strings.HasPrefix(line, "|"):
			inTable = false
		case inTable && !strings.HasPrefix(line, "|---"):
			cells := strings.Split(strings.Trim(strings.ReplaceAll(line, `\|`, "\x00"), "|"), "|")
			if len(cells) != strings.Count(heading, "|")-1 || strings.TrimSpace(cells[len(cells)-1]) == "" {
				t.Errorf("%s: want a message and what to do: %s", page, line)
				continue
			}
			for text := range strings.SplitSeq(cells[column], "<br>") {
				text = strings.NewReplacer("`", "", "\x00", "|").Replace(strings.TrimSpace(text))
				parts := strings.Split(strings.Trim(text, "… "), "…")
				for i, part := range parts {
					parts[i] = regexp.QuoteMeta(part)
				}
				entries = append(entries, messageEntry{text, page, regexp.MustCompile(strings.Join(parts, ".*"))})
			}
		}
	}
	return entries
}

// explains reports whether the entry is about the message: "there is no calendar …" is about "there is no … …", too. An entry about a
// log line has all of it.
func (e messageEntry) explains(m programMessage) bool {
	if m.log {
		match := e.pattern.FindStringIndex(m.text)
		return match != nil && match[0] == 0 && (match[1] == len(m.text) || strings.HasSuffix(e.text, "…"))
	}
	return e.pattern.MatchString(m.text) || m.pattern != nil && m.pattern.MatchString(e.text)
}

// Everything that the program prints when something is wrong is explained, and nothing that it does not print.
func TestMessagesAreExplained(t *testing.T) {
	messages, texts := programMessages(t)
	entries := slices.Concat(
		messageEntries(t, "troubleshooting.md", "| message | cause and remedy |", 0),
		messageEntries(t, "http.md", "| code | message | what to do |", 1),
	)
	logs := 0
	for _, m := range messages {
		if m.log {
			logs++
		}
		if !m.wraps && !slices.ContainsFunc(entries, func(e messageEntry) bool { return e.explains(m) }) {
			t.Errorf("%s:%d: troubleshooting.md does not explain: %s", m.file, m.line, m.text)
		}
	}
	if logs < 70 || len(messages) < 600 || len(entries) < 150 {
		t.Errorf("only %d messages, %d of them logged, and %d entries", len(messages), logs, len(entries))
	}
	for _, e := range entries {
		printed := slices.ContainsFunc(messages, e.explains) || slices.ContainsFunc(texts, e.pattern.MatchString)
		if !printed {
			t.Errorf("%s: nothing prints: %s", e.page, e.text)
		}
	}
}

// The codes of failed requests are explained where the response is, and no others.
func TestCodesAreExplained(t *testing.T) {
	files := token.NewFileSet()
	codes := map[string]bool{}
	for _, name := range []string{"../services/responses.go", "../internal/graph/error.go"} {
		f, err := parser.ParseFile(files, name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			constants, ok := d.(*ast.GenDecl)
			if !ok || constants.Tok != token.CONST {
				continue
			}
			for _, spec := range constants.Specs {
				if value := spec.(*ast.ValueSpec); slices.Contains([]string{"Code", "Reason"}, typeName(value.Type)) {
					if code, ok := constantText(value.Values[0]); ok {
						codes[code] = true
					}
				}
			}
		}
	}
	if len(codes) < 15 {
		t.Errorf("only %d codes", len(codes))
	}
	explained := map[string]bool{}
	for _, e := range messageEntries(t, "mqtt.md", "| code | meaning |", 0) {
		explained[e.text] = true
		if !codes[e.text] {
			t.Errorf("mqtt.md: there is no code %s", e.text)
		}
	}
	for code := range codes {
		if !explained[code] {
			t.Errorf("mqtt.md does not explain the code %s", code)
		}
	}
}

// The test finds every way in which a message is made.
func TestMessagesAreFound(t *testing.T) {
	const code = `package p
func f() {
	log.Warn("a is lost", "error", err)
	s.options.Log.Error("b is lost")
	log.Info("not c")
	_ = fmt.Errorf("want %s, not %q", a, b)
	_ = fmt.Errorf("read the file: %w", err)
	_ = graph.Explain(err, "there is no "+kind+" %s", name)
	d.Report(path, fmt.Sprintf("at most %[1]d", n))
	_ = &graph.Error{Op: "not e", Explanation: "only 100%% of it"}
	_ = &services.Error{services.Internal, "f is full"}
	message := "g is gone"
	fmt.Println("not h")
}
func (e E) explanation() string { return "i is ill" }
`
	files := token.NewFileSet()
	f, err := parser.ParseFile(files, "p.go", code, 0)
	if err != nil {
		t.Fatal(err)
	}
	messages, texts := messagesIn(files, f)
	var got []string
	for _, m := range messages {
		got = append(got, fmt.Sprintf("%d %s %t %t", m.line, m.text, m.log, m.wraps))
	}
	want := []string{
		"3 a is lost true false", "4 b is lost true false", "6 want …, not … false false", "7 read the file: … false true",
		"8 there is no … … false false", "9 at most … false false", "10 only 100% of it false false", "11 f is full false false",
		"12 g is gone false false", "15 i is ill false false",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if !slices.Contains(texts, "not h") {
		t.Errorf("texts: %q", texts)
	}
}
