package bridge_test

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/bridge"
	"github.com/graph2mqtt/graph2mqtt/internal/runtime"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// The documented example of each operation of the bridge and of an account is answered ok, with the documented data.
func TestExamples(t *testing.T) {
	h := newHarness(t)
	h.one("", "calendar: {type: calendar}")
	h.SignIn("work") // so that sign_in is allowed
	h.Start()
	h.Shows("graph2mqtt/work/state", "online")
	run := func(topic string, operations []services.Operation) {
		for _, op := range operations {
			mark := h.mark()
			h.Publish(topic+"/request/"+op.Name, op.Example)
			var response struct {
				Status string
				Data   map[string]any
			}
			if err := json.Unmarshal([]byte(h.Next(mark, topic+"/response/"+op.Name, func(string) bool { return true })), &response); err != nil {
				t.Fatal(err)
			}
			if response.Status != "ok" {
				t.Errorf("%s %s: %s", topic, op.Name, response.Status)
			}
			var documented []string
			for _, f := range op.Returns {
				documented = append(documented, f.Key)
			}
			slices.Sort(documented)
			if diff := cmp.Diff(slices.Sorted(maps.Keys(response.Data)), documented); diff != "" {
				t.Errorf("%s %s returns others than documented (-returned +documented):\n%s", topic, op.Name, diff)
			}
		}
	}
	run("graph2mqtt/bridge", bridge.Operations())
	run("graph2mqtt/work", runtime.AccountOperations())
}
