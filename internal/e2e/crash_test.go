//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/bridge"
	"github.com/graph2mqtt/graph2mqtt/internal/runtime"
	"github.com/graph2mqtt/graph2mqtt/internal/state"
)

// crashStepEnv names the environment variable with the step of a request at which the test binary, run as the bridge, kills itself.
const crashStepEnv = "GRAPH2MQTT_E2E_DIES_AT"

// runCrashing runs the bridge and kills the process at the given step of a request.
func runCrashing(step string) error {
	c, err := runtime.Load(config.Sources{File: "graph2mqtt.yaml", Environ: os.Environ()}, runtime.Kinds())
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	dir, err := state.Open(c.StateDir, c.KeyFile, log)
	if err != nil {
		return err
	}
	b, err := bridge.New(bridge.Options{Config: c, Kinds: runtime.Kinds(), Dir: dir, Log: log, Level: new(slog.LevelVar), OnStep: func(s string) {
		if s == step {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}})
	if err != nil {
		return err
	}
	return b.Run(context.Background())
}

// StartCrashing starts a bridge that kills itself at the given step of a request.
func (env *Environment) StartCrashing(t testing.TB, step string) {
	t.Helper()
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := env.Program.command(binary)
	cmd.Env = append(cmd.Env, crashStepEnv+"="+step)
	env.Bridge = startProcess(t, "graph2mqtt that dies at "+step, cmd, nil)
}

// TestKilledAtEveryStep checks that a request is executed once and answered, whichever step the bridge is killed at.
func TestKilledAtEveryStep(t *testing.T) {
	for _, step := range []string{"delivered", "decoded", "journalled", "acknowledged", "started", "called", "recorded", "shown", "answering", "answered"} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			env := NewEnvironment(t, MosquittoOptions{})
			env.Configure(t, []string{"enable_update: true"}, "out_of_office: {type: auto_reply}")
			env.SignIn(t)
			seen := env.Broker.Subscribe(t, "graph2mqtt/#")
			env.StartCrashing(t, step)
			seen.AwaitPayload(t, outOfOffice+"commands", "online")
			seen.AwaitPayload(t, "graph2mqtt/bridge/state", "online")
			env.Broker.Publish(t, switchTopic, "ON")
			if code := env.Bridge.Wait(t); code == 0 {
				t.Fatal("the bridge did not crash")
			}
			seen.AwaitPayload(t, "graph2mqtt/bridge/state", "offline")

			env.Start(t)
			seen.AwaitNewest(t, switchResponse, "is a response", func(string) bool { return true })
			seen.AwaitValues(t, outOfOffice+"state", map[string]any{"enabled": true})
			// A second request shows that nothing of the first one is pending.
			env.Broker.Publish(t, switchTopic, "OFF")
			seen.AwaitValues(t, outOfOffice+"state", map[string]any{"enabled": false})
			seen.AwaitNewest(t, switchResponse, "is the response to OFF", func(payload string) bool { return strings.Contains(payload, `"op":"disable"`) })
			env.Stop(t)
			if got := env.Microsoft.Count("PATCH", ""); got != 2 {
				t.Errorf("%d changes at Microsoft, want one for ON and one for OFF", got)
			}
			rs := responsesOn(t, seen, switchResponse)
			var got []string
			for _, r := range rs {
				got = append(got, fmt.Sprint(r.Op, " ", r.Status, " ", r.Duplicate))
			}
			if len(rs) < 2 || rs[0].Op != "enable" || rs[0].Status != "ok" || rs[len(rs)-1].Op != "disable" || rs[len(rs)-1].Duplicate {
				t.Errorf("responses: %v", got)
			}
			if len(rs) > 2 && !rs[1].Duplicate {
				t.Errorf("the same response came twice without duplicate: %v", got)
			}
		})
	}
}
