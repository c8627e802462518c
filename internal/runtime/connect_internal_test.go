package runtime

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

// Accounts whose servers are verified by the same certificates share connections.
func TestAccountsShareATransport(t *testing.T) {
	s := simulator.New(simulator.Options{})
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, s.CA(), 0o600); err != nil {
		t.Fatal(err)
	}
	account := func(id, ca string) *config.Account {
		c := &config.Account{ID: id}
		c.Cloud.CAFile = ca
		return c
	}
	var shared transports
	var all []any
	for _, c := range []*config.Account{account("a", ""), account("b", ""), account("c", ca), account("d", ca)} {
		transport, err := shared.of(c)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, transport)
	}
	if all[0] != all[1] || all[2] != all[3] || all[0] == all[2] {
		t.Errorf("transports %v; want one for accounts without certificates of their own, and one for those with the same", all)
	}
}
