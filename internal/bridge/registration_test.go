package bridge_test

import (
	"strings"
	"testing"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

// rescan retries a refused renewal at once instead of after an hour.
func TestRescanRetriesRefusedSignIn(t *testing.T) {
	h := newHome(t)
	h.one("", outOfOffice)
	h.SignIn("work")
	h.Start()
	h.Shows("graph2mqtt/work/out_of_office/availability", "online")
	h.Microsoft.Demand(simulator.Adele, simulator.AccountDisabled)
	h.Microsoft.ExpireAccessTokens()
	h.Publish("graph2mqtt/work/request/refresh", "{}")
	h.Holds("graph2mqtt/work/status", func(p string) bool { return strings.Contains(p, "the account is disabled") })
	h.Microsoft.Demand(simulator.Adele, 0)
	h.Publish("graph2mqtt/work/request/rescan", "{}")
	h.Shows("graph2mqtt/work/state", "online")
	h.Shows("graph2mqtt/work/out_of_office/availability", "online")
}
