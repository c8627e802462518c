package docs_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/migrate"
	"github.com/graph2mqtt/graph2mqtt/internal/schema"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// TestMigrateTables compares the tables in migrate.md with those of the code.
func TestMigrateTables(t *testing.T) {
	const begin, end = "<!-- tables -->\n", "<!-- /tables -->"
	page, err := os.ReadFile("migrate.md")
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(page), begin)
	got, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatal("migrate.md has no place for the tables")
	}
	want := migrate.Tables() + "\n"
	if updating() {
		if err := os.WriteFile("migrate.md", []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		got = want
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("migrate.md is out of date; run go generate ./docs:\n%s", diff)
	}
}

// Everything new in the tables exists: entities, attributes, operations and events.
func TestMigrateTablesExist(t *testing.T) {
	all := map[string]target{}
	for _, x := range targets() {
		all[x.name] = x
	}
	account := all["account"]
	checked := 0
	for _, c := range migrate.Chapters() {
		for _, kind := range c.Types {
			x, ok := all[kind]
			if !ok {
				t.Fatalf("%s: there is no type %s", c.Title, kind)
			}
			var keys, operations, events []string
			for _, e := range x.entities {
				keys = append(keys, e.Key)
			}
			for _, op := range slices.Concat(x.operations, account.operations) {
				operations = append(operations, op.Name)
			}
			for _, e := range slices.Concat(x.events, account.events) {
				events = append(events, e.Name)
			}
			attributes := attributeNames(x.attributes, "")
			exists := func(what, name string, among []string) {
				t.Helper()
				checked++
				if name != "" && !slices.Contains(among, name) {
					t.Errorf("%s: %s has no %s %q", c.Title, kind, what, name)
				}
			}
			exists("entity", c.Key, keys)
			for _, e := range c.Entities {
				_, key, _ := strings.Cut(e.New, "<sensor>_")
				exists("entity", strings.TrimPrefix(key, "problem"), append(keys, ""))
			}
			for _, a := range c.Attributes {
				exists("attribute", a.New, attributes)
			}
			for _, a := range c.Actions {
				if kind == "group_calendar" && a.Operation == "respond" {
					continue // a group does not
				}
				exists("operation", a.Operation, operations)
				i := slices.IndexFunc(x.operations, func(op services.Operation) bool { return op.Name == a.Operation })
				if i < 0 {
					continue // reported, none, or of the account
				}
				var fields []string
				for _, f := range schema.Object.Fields(x.operations[i].New()) {
					fields = append(fields, f.Key)
				}
				for _, name := range a.Fields {
					exists("field of "+a.Operation, name, fields)
				}
			}
			for _, e := range c.Events {
				exists("event", e.New, events)
			}
		}
	}
	if checked < 100 {
		t.Errorf("only %d names", checked)
	}
}

// attributeNames returns the names of attributes and of what is in them: "data[].subject".
func attributeNames(fields []schema.Field, above string) []string {
	var all []string
	for _, f := range fields {
		name := above + f.Key
		all = append(all, name)
		below := name + "."
		if strings.HasPrefix(f.Type, "list") {
			below = name + "[]."
		}
		all = append(all, attributeNames(f.Fields, below)...)
	}
	return all
}
