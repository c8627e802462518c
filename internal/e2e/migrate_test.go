//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

var (
	clientLine  = regexp.MustCompile(`(?m)^    client_id: .*$`)
	brokerLine  = regexp.MustCompile(`(?m)^  url: .*$`)
	newEntities = regexp.MustCompile(`\b(binary_sensor|event|select|sensor)\.[a-z0-9_]+`)
)

// TestMigrate runs the configuration that migrate makes of one of O365: Home Assistant gets every entity that migrate names as the
// successor of an old one.
func TestMigrate(t *testing.T) {
	EachHomeAssistant(t, func(t *testing.T, ha *HomeAssistant) {
		env := NewEnvironment(t, MosquittoOptions{})
		ha.AddBroker(t, env.Broker)
		home, err := filepath.Abs(filepath.Join("..", "migrate", "testdata", "o365"))
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(env.Program.Dir, "migrated.yaml")
		code, printed, stderr := env.Program.Run(t, "migrate", home, "--write", file)
		if code != 0 || stderr != "" {
			t.Fatalf("migrate ended with %d:\n%s", code, stderr)
		}
		written, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text := brokerLine.ReplaceAllLiteralString(string(written), "  url: "+env.Broker.URL)
		text = clientLine.ReplaceAllLiteralString(text, fmt.Sprintf("    client_id: %s\n    cloud: {login: %q, graph: %q, audience: https://graph.microsoft.com, ca_file: %q}",
			simulator.ContosoClient, env.Microsoft.LoginURL(), env.Microsoft.GraphURL(), env.caFile))
		env.Program.Configure(t, text)
		env.Start(t) // the entities do not depend on a sign-in

		var successors []string
		for line := range strings.Lines(printed) {
			_, next, isReference := strings.Cut(line, " -> ")
			if columns := regexp.MustCompile(`\s{2,}`).Split(line, 3); !isReference && len(columns) > 1 {
				next = columns[1]
			}
			successors = append(successors, newEntities.FindAllString(next, -1)...)
		}
		slices.Sort(successors)
		successors = slices.Compact(successors)
		if len(successors) < 15 {
			t.Errorf("migrate names only %q", successors)
		}
		for _, id := range successors {
			ha.AwaitEntity(t, id, "exists", func(State) bool { return true })
		}
		ha.CheckLog(t)
	})
}
