package entra_test

import (
	"testing"

	"github.com/graph2mqtt/graph2mqtt/internal/graph/entra"
)

func TestIsOrganization(t *testing.T) {
	for tenant, want := range map[string]bool{
		"": false, "common": false, "Organizations": false, "consumers": false, "9188040d-6c67-4c5b-b112-36a304b66dad": false,
		"contoso.com": true, "00000000-0000-0000-0000-000000000001": true,
	} {
		if got := entra.IsOrganization(tenant); got != want {
			t.Errorf("%q: %v", tenant, got)
		}
	}
}

func TestPersonal(t *testing.T) {
	const (
		global = "https://login.microsoftonline.com"
		gov    = "https://login.microsoftonline.us"
		china  = "https://login.partner.microsoftonline.cn"
		custom = "https://login.example"
	)
	for _, test := range []struct {
		tenant, login        string
		isPersonal, personal bool
	}{
		{"common", global, false, true},
		{"Common", custom, false, true},
		{"common", gov, false, false},
		{"common", china, false, false},
		{"consumers", global, true, true},
		{"Consumers", gov, true, false},
		{"9188040D-6c67-4c5b-b112-36a304b66dad", global, true, true},
		{"organizations", global, false, false},
		{"contoso.example", global, false, false},
	} {
		if got := entra.IsPersonalTenant(test.tenant); got != test.isPersonal {
			t.Errorf("IsPersonalTenant(%q) is %v", test.tenant, got)
		}
		if got := entra.AllowsPersonal(test.tenant, test.login); got != test.personal {
			t.Errorf("AllowsPersonal(%q, %q) is %v", test.tenant, test.login, got)
		}
	}
}
