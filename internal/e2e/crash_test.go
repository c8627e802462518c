//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/bridge"
	"github.com/graph2mqtt/graph2mqtt/internal/state"
)

// fragile names the step of a request at which the test's own binary, run as the bridge, dies as by a power cut.
const fragile = "GRAPH2MQTT_E2E_DIES_AT"

// runFragile is the bridge, with a fault in it.
func runFragile(step string) error {
	c, err := bridge.Load(config.Sources{File: "graph2mqtt.yaml", Environ: os.Environ()}, bridge.Kinds())
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	dir, err := state.Open(c.StateDir, c.KeyFile, log)
	if err != nil {
		return err
	}
	b, err := bridge.New(bridge.Options{Config: c, Kinds: bridge.Kinds(), Dir: dir, Log: log, Level: new(slog.LevelVar), Step: func(s string) {
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

// StartFragile starts the bridge so that it dies at a step.
func (h *House) StartFragile(t testing.TB, step string) {
	t.Helper()
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary)
	cmd.Dir = h.Program.Dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + h.Program.Dir, "TZ=Europe/Berlin",
		"GRAPH2MQTT_STATE_DIR=" + filepath.Join(h.Program.Dir, "state"), fragile + "=" + step}
	h.Bridge = start(t, "graph2mqtt that dies at "+step, cmd, nil)
}

// Whatever step the program dies at, from the broker's delivery to the response, a request is done once and answered.
func TestKilledAtEveryStep(t *testing.T) {
	const topic, answer = "graph2mqtt/work/out_of_office/set/enabled", "graph2mqtt/work/out_of_office/response/set/enabled"
	for _, step := range []string{"delivered", "decoded", "journalled", "acknowledged", "started", "called", "recorded", "shown", "answering", "answered"} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			h := NewHouse(t, MosquittoOptions{})
			h.Configure(t, []string{"enable_update: true"}, "out_of_office: {type: auto_reply}")
			h.SignIn(t)
			seen := h.Broker.Subscribe(t, "graph2mqtt/#")
			h.StartFragile(t, step)
			seen.Payload(t, "graph2mqtt/work/out_of_office/commands", "online")
			seen.Payload(t, "graph2mqtt/bridge/state", "online")
			h.Broker.Publish(t, topic, "ON")
			if code := h.Bridge.Wait(t); code == 0 {
				t.Fatal("the bridge did not die")
			}
			seen.Payload(t, "graph2mqtt/bridge/state", "offline")

			h.Start(t)
			seen.Newest(t, answer, "is an answer", func(string) bool { return true })
			seen.Values(t, "graph2mqtt/work/out_of_office/state", map[string]any{"enabled": true})
			// A second request shows that nothing of the first is left to be done.
			h.Broker.Publish(t, topic, "OFF")
			seen.Values(t, "graph2mqtt/work/out_of_office/state", map[string]any{"enabled": false})
			h.Stop(t)
			patches := 0
			for _, r := range h.Microsoft.Requests() {
				if r.Method == "PATCH" {
					patches++
				}
			}
			if patches != 2 {
				t.Errorf("%d changes at Microsoft, want one for ON and one for OFF", patches)
			}
			rs := responses(t, seen, answer)
			var got []string
			for _, r := range rs {
				got = append(got, fmt.Sprint(r.Op, " ", r.Status, " ", r.Duplicate))
			}
			if len(rs) < 2 || rs[0].Op != "enable" || rs[0].Status != "ok" || rs[len(rs)-1].Op != "disable" || rs[len(rs)-1].Duplicate {
				t.Errorf("answers: %v", got)
			}
			if len(rs) > 2 && !rs[1].Duplicate {
				t.Errorf("the same answer came twice, and not as a duplicate: %v", got)
			}
		})
	}
}
