// Package docs_test keeps the reference, which is made from the code, as new as the code.
package docs_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/bridge"
	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/sensors"
	"github.com/graph2mqtt/graph2mqtt/services"
)

var update = flag.Bool("update", false, "write the reference anew")

const mark = "<!-- Made from the code by go test ./docs -update. -->\n\n"

func TestReference(t *testing.T) {
	kinds := bridge.Kinds()
	for name, want := range map[string]string{
		"configuration.md":        mark + config.Reference(bridge.ConfigKinds(kinds)),
		"schema.json":             string(config.Schema(bridge.ConfigKinds(kinds))),
		"graph2mqtt.example.yaml": config.Example(bridge.ConfigKinds(kinds)),
		"sensors.md":              mark + reference(kinds),
	} {
		if *update {
			if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(name)
		if err != nil {
			t.Error(err)
			continue
		}
		if diff := cmp.Diff(want, string(got)); diff != "" {
			t.Errorf("%s is not what the code says (mend it with -update):\n%s", name, diff)
		}
	}
}

// TestExample loads the example as the program would.
func TestExample(t *testing.T) {
	c, err := bridge.Load(config.Sources{File: "graph2mqtt.example.yaml", Environ: []string{"HOME=/home/ann"}}, bridge.Kinds())
	if err != nil {
		t.Fatal(err)
	}
	if got, want := len(c.Accounts["work"].Sensors), len(bridge.Kinds()); got != want {
		t.Errorf("%d sensors of %d kinds", got, want)
	}
}

// TestEverythingIsDocumented finds what has no sentence about it.
func TestEverythingIsDocumented(t *testing.T) {
	sentence := func(what, doc string) {
		t.Helper()
		if !strings.HasSuffix(strings.TrimRight(doc, ")"), ".") {
			t.Errorf("%s: %q is no sentence", what, doc)
		}
	}
	for _, k := range bridge.Kinds() {
		sentence(k.Name, k.Doc)
		for _, f := range config.Fields(k.New()) {
			sentence(k.Name+" "+f.Key, f.Doc)
		}
		for _, op := range operations(k.New()) {
			sentence(k.Name+" "+op.Name, op.Doc)
			for _, f := range services.Fields(op.New()) {
				if f.Doc == "" {
					t.Errorf("%s %s %s: nothing says what it is", k.Name, op.Name, f.Name)
				}
			}
		}
	}
}

func operations(s sensors.Sensor) []services.Operation {
	if c, ok := s.(sensors.Commander); ok {
		return c.Operations()
	}
	return nil
}

// reference is what every kind shows, what can be asked of it, and what it asks Microsoft for.
func reference(kinds []sensors.Kind) string {
	var b strings.Builder
	b.WriteString("# Sensors and operations\n\nWhat each kind of sensor shows, what can be asked of it, and the permissions for both. Its options are in " +
		"[configuration.md](configuration.md).\n")
	for _, k := range kinds {
		s := k.New()
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n### Entities\n\nThe entity in bold carries the attributes.\n\n| entity | platform | name | values | needs |\n|---|---|---|---|---|\n", k.Name, k.Doc)
		for _, e := range s.Entities() {
			key := "`" + e.Key + "`"
			if e.Primary {
				key = "**" + key + "**"
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", key, platform(e), e.Name, code(e.Options), code(e.Operations))
		}
		b.WriteString("\n### Permissions of reading\n\n")
		permissions(&b, s.Permissions())
		for _, op := range operations(s) {
			fmt.Fprintf(&b, "\n### Operation %s\n\n%s%s\n", op.Name, op.Doc, remarks(op))
			if fields := services.Fields(op.New()); len(fields) > 0 {
				b.WriteString("\n| field | type | |\n|---|---|---|\n")
				for _, f := range fields {
					kind, doc := f.Type, f.Doc
					if f.Enum != nil {
						kind = code(f.Enum)
					}
					if f.Required {
						doc = "required; " + doc
					}
					fmt.Fprintf(&b, "| `%s` | %s | %s |\n", f.Name, kind, cell(doc))
				}
			}
			b.WriteString("\n")
			permissions(&b, op.Permissions)
		}
	}
	return b.String()
}

func remarks(op services.Operation) string {
	var s string
	if op.Optional {
		s += " Offered only where `allow` names it."
	}
	if op.Reads {
		s += " It changes nothing and is answered with `on_demand: true`."
	}
	return s
}

func platform(e entity.Entity) string {
	if e.DeviceClass != "" {
		return e.Platform + ", " + e.DeviceClass
	}
	return e.Platform
}

func permissions(b *strings.Builder, permissions []graph.Permission) {
	if len(permissions) == 0 {
		b.WriteString("None.\n")
		return
	}
	b.WriteString("| permission | what for | without it |\n|---|---|---|\n")
	for _, n := range permissions {
		scopes := "`" + n.Scope + "`"
		if len(n.Alternatives) > 0 {
			scopes += " (or " + code(n.Alternatives) + ")"
		}
		fmt.Fprintf(b, "| %s | %s | %s |\n", scopes, cell(n.Purpose), cell(n.Impact))
	}
}

func code(words []string) string {
	quoted := slices.Clone(words)
	for i, w := range quoted {
		quoted[i] = "`" + w + "`"
	}
	return cell(strings.Join(quoted, " "))
}

func cell(s string) string { return strings.NewReplacer("|", `\|`, "\n", " ").Replace(s) }
