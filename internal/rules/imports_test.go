package rules_test

import (
	"path"
	"slices"
	"strconv"
	"strings"
)

// Dependencies point one way. A package imports of ours only what is listed for it, or for the first directory above it that is
// listed; "*" is everything. What is only for tests has a list of its own.
var (
	allowedImports = map[string][]string{
		"config":             {},
		"internal/entity":    {},
		"internal/hub":       {"internal/entity"},
		"internal/state":     {},
		"internal/broker":    {},
		"internal/simulator": {"internal/graph/zones"},
		"internal/graph":     {"internal/state", "config"},
		"mqtt":               {"internal/entity"},
		"services":           {"internal/graph", "internal/state", "config"},
		"sensors":            {"services", "internal/graph", "internal/entity", "config"},
		"internal/bridge":    {"*"},
		"cmd":                {"*"},
		"docs":               {"*"},
		"internal/e2e":       {"*"},
		"internal/rules":     {},
	}
	allowedInTests = map[string][]string{
		"internal/graph":  {"internal/simulator"},
		"services":        {"internal/simulator"},
		"sensors":         {"internal/simulator"},
		"mqtt":            {"internal/broker"},
		"internal/broker": {},
	}
)

// libraryImporters says which directories may import a library, and what is below its path; none is nobody.
var libraryImporters = map[string][]string{
	"github.com/knadh/koanf":                                      {"config"},
	"github.com/go-viper/mapstructure":                            {"config"},
	"github.com/agnivade/levenshtein":                             {"config", "services", "cmd", "internal/bridge"},
	"github.com/eclipse/paho.mqtt.golang":                         {"mqtt"},
	"github.com/mochi-mqtt/server":                                {"internal/broker"},
	"github.com/microsoftgraph/msgraph-sdk-go-core":               {"internal/graph"},
	"github.com/AzureAD/microsoft-authentication-library-for-go":  {"internal/graph/auth"},
	"github.com/microsoft/kiota-http-go":                          {"internal/graph"},
	"go.etcd.io/bbolt":                                            {"internal/state"},
	"github.com/spf13/cobra":                                      {"cmd"},
	"github.com/Azure/azure-sdk-for-go":                           {},
	"github.com/stretchr/testify":                                 {},
	"go.uber.org/mock":                                            {},
	"github.com/golang/mock":                                      {},
	"github.com/microsoftgraph/msgraph-sdk-go/graphserviceclient": {},
	"github.com/microsoftgraph/msgraph-beta-sdk-go":               {},
}

// libraryTestImporters are directories whose tests, too, may import a library: to see that the real client of the other side is content.
var libraryTestImporters = map[string][]string{
	"github.com/AzureAD/microsoft-authentication-library-for-go": {"internal/simulator"},
	"github.com/mochi-mqtt/server":                               {"mqtt"},
	"github.com/microsoftgraph/msgraph-sdk-go-core":              {"internal/simulator"},
	"github.com/microsoft/kiota-http-go":                         {"internal/simulator"},
	"github.com/eclipse/paho.mqtt.golang":                        {"internal/broker", "internal/bridge", "internal/e2e", "cmd"},
}

// sdkRoot is the root of the SDK, which takes minutes and gigabytes to build; its builders and models are packages below.
const sdkRoot = "github.com/microsoftgraph/msgraph-sdk-go"

func imports(s *source) []finding {
	var found []finding
	for _, spec := range s.file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue
		}
		if own, ok := strings.CutPrefix(imported, module+"/"); ok {
			if !isAllowedImport(s, own) {
				found = append(found, s.find(spec, "%s must not import %s", s.dir(), own))
			}
			continue
		}
		if imported == sdkRoot {
			found = append(found, s.find(spec, "nobody imports the root of the SDK: use its builders on the core's adapter"))
		}
		for library, dirs := range libraryImporters {
			if s.test() {
				dirs = slices.Concat(dirs, libraryTestImporters[library])
			}
			if isWithin(imported, library) && !slices.ContainsFunc(dirs, func(dir string) bool { return isWithin(s.dir(), dir) }) {
				found = append(found, s.find(spec, "%s must not import %s", s.dir(), library))
			}
		}
	}
	return found
}

// isAllowedImport reports whether the file may import a package of ours.
func isAllowedImport(s *source, own string) bool {
	dir := s.dir()
	switch {
	case own == dir: // of a test
		return true
	case isWithin(own, "cmd"), isWithin(own, "internal/e2e"), isWithin(own, "internal/rules"):
		return false
	case strings.HasSuffix(path.Base(own), "test") && !s.test() && !strings.HasSuffix(path.Base(dir), "test"):
		return false // made for tests: graphtest, brokertest
	}
	// A family knows its contract and the operations of the same name, never a sibling.
	if contract, family, ok := strings.Cut(own, "/"); ok && (contract == "sensors" || contract == "services") {
		if mine, name, _ := strings.Cut(dir, "/"); mine == "sensors" || mine == "services" {
			return name == family && !(mine == "services" && contract == "sensors")
		}
	}
	for above := dir; above != "."; above = path.Dir(above) {
		allowed, ok := allowedImports[above]
		if !ok {
			continue
		}
		allowed = append([]string{above}, allowed...)
		if s.test() || strings.HasSuffix(path.Base(dir), "test") {
			allowed = append(allowed, allowedInTests[above]...)
		}
		return slices.ContainsFunc(allowed, func(a string) bool { return a == "*" || isWithin(own, a) })
	}
	return false // a new package needs its line in the list
}

// isWithin reports whether a path is at or below another.
func isWithin(p, above string) bool { return p == above || strings.HasPrefix(p, above+"/") }

func importCases() []violationCase {
	file := func(imported ...string) string {
		return "package x\n\nimport _ \"" + strings.Join(imported, "\"\nimport _ \"") + "\"\n"
	}
	const m = module + "/"
	must := func(dir, what string) []string { return []string{"3: " + dir + " must not import " + what} }
	return []violationCase{
		{"imports", "config/x.go", file(m + "internal/entity"), must("config", "internal/entity")},
		{"imports", "config/x.go", file("github.com/knadh/koanf/v2", "github.com/agnivade/levenshtein"), nil},
		{"imports", "config/x_test.go", file(m + "config"), nil},
		{"imports", "internal/entity/x.go", file(m + "config"), must("internal/entity", "config")},
		{"imports", "internal/state/x.go", file(m+"config", "go.etcd.io/bbolt"), must("internal/state", "config")},
		{"imports", "internal/simulator/x.go", file(m + "services"), must("internal/simulator", "services")},
		{"imports", "internal/simulator/x_test.go", file(m + "internal/graph"), must("internal/simulator", "internal/graph")},
		{"imports", "internal/graph/x.go", file(m+"services", m+"internal/state"), must("internal/graph", "services")},
		{"imports", "internal/graph/x.go", file(m + "internal/simulator"), must("internal/graph", "internal/simulator")},
		{"imports", "internal/graph/x_test.go", file(m+"internal/simulator", m+"internal/graph/auth"), nil},
		{"imports", "internal/graph/x.go", file(sdkRoot, sdkRoot+"/users"), []string{"3: nobody imports the root of the SDK: use its builders on the core's adapter"}},
		{"imports", "mqtt/x.go", file(m+"services", m+"internal/entity", "github.com/eclipse/paho.mqtt.golang"), must("mqtt", "services")},
		{"imports", "mqtt/x.go", file("github.com/knadh/koanf/v2"), must("mqtt", "github.com/knadh/koanf")},
		{"imports", "mqtt/x.go", file(m + "internal/broker/brokertest"), must("mqtt", "internal/broker/brokertest")},
		{"imports", "mqtt/x_test.go", file(m + "internal/broker/brokertest"), nil},
		{"imports", "services/x.go", file(m + "sensors"), must("services", "sensors")},
		{"imports", "services/x.go", file(m + "services/calendar"), must("services", "services/calendar")},
		{"imports", "services/mail/x.go", file(m+"sensors/mail", m+"services", m+"internal/graph", sdkRoot+"/models"), must("services/mail", "sensors/mail")},
		{"imports", "services/mail/x.go", file(m + "services/calendar"), must("services/mail", "services/calendar")},
		{"imports", "sensors/x.go", file(m + "sensors/calendar"), must("sensors", "sensors/calendar")},
		{"imports", "sensors/mail/x.go", file(m + "sensors/calendar"), must("sensors/mail", "sensors/calendar")},
		{"imports", "sensors/mail/x.go", file(m + "services/calendar"), must("sensors/mail", "services/calendar")},
		{"imports", "sensors/mail/x.go", file(m + "mqtt"), must("sensors/mail", "mqtt")},
		{"imports", "sensors/mail/x.go", file("github.com/eclipse/paho.mqtt.golang"), must("sensors/mail", "github.com/eclipse/paho.mqtt.golang")},
		{"imports", "sensors/mail/x.go", file("github.com/microsoftgraph/msgraph-sdk-go-core"), must("sensors/mail", "github.com/microsoftgraph/msgraph-sdk-go-core")},
		{"imports", "sensors/mail/x.go", file(m + "internal/graph/graphtest"), must("sensors/mail", "internal/graph/graphtest")},
		{"imports", "sensors/mail/x_test.go", file(m+"internal/graph/graphtest", m+"internal/simulator"), nil},
		{"imports", "sensors/mail/x.go", file(m+"sensors", m+"services", m+"services/mail", m+"internal/graph", m+"internal/entity", sdkRoot+"/users"), nil},
		{"imports", "internal/bridge/x.go", file(m + "cmd/graph2mqtt"), must("internal/bridge", "cmd/graph2mqtt")},
		{"imports", "internal/bridge/x.go", file(m+"sensors/mail", m+"services/calendar", m+"mqtt", m+"config"), nil},
		{"imports", "internal/graph/x.go", file("github.com/AzureAD/microsoft-authentication-library-for-go/apps/public"), must("internal/graph", "github.com/AzureAD/microsoft-authentication-library-for-go")},
		{"imports", "internal/simulator/x.go", file("github.com/AzureAD/microsoft-authentication-library-for-go/apps/public"), must("internal/simulator", "github.com/AzureAD/microsoft-authentication-library-for-go")},
		{"imports", "internal/simulator/x_test.go", file("github.com/AzureAD/microsoft-authentication-library-for-go/apps/public"), nil},
		{"imports", "internal/new/x.go", file(m + "internal/entity"), must("internal/new", "internal/entity")},
		{"imports", "mqtt/x_test.go", file("github.com/stretchr/testify/require"), must("mqtt", "github.com/stretchr/testify")},
	}
}
