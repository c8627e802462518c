package rules_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// The NATS server is for tests only: nothing of it may be compiled into the program.
func TestProgramHasNoNATSServer(t *testing.T) {
	dependsOnServer := func(pkg string) bool {
		t.Helper()
		command := exec.Command("go", "list", "-deps", pkg)
		command.Dir = "../.."
		out, err := command.Output()
		if err != nil {
			t.Fatalf("list the dependencies of %s: %v", pkg, err)
		}
		return slices.ContainsFunc(strings.Fields(string(out)), func(dependency string) bool { return isWithin(dependency, "github.com/nats-io/nats-server") })
	}
	if dependsOnServer("./cmd/graph2mqtt") {
		t.Error("the program contains packages of github.com/nats-io/nats-server")
	}
	if !dependsOnServer("./internal/broker/natstest") {
		t.Error("the NATS server of the tests has another path: this test finds nothing")
	}
}
