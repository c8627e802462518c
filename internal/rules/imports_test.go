package rules_test

import (
	"path"
	"slices"
	"strconv"
	"strings"
)

// allowedImports lists the packages of this module that a package may import, so that dependencies point one way. Every package
// needs an entry, its own or that of its siblings ("sensors/*"). "x/..." includes the packages below x, "..." is every package.
var allowedImports = map[string][]string{
	"internal/schema": {},
	"internal/entity": {},
	"internal/state":  {},
	"internal/audit":  {},
	"internal/rules":  {},
	"config":          {"internal/schema", "internal/graph/entra"},
	"internal/hub":    {"internal/entity"},

	"internal/graph":           {"internal/graph/entra", "internal/graph/zones"},
	"internal/graph/entra":     {},
	"internal/graph/zones":     {},
	"internal/graph/auth":      {"config", "internal/graph", "internal/graph/entra", "internal/state"},
	"internal/graph/graphtest": {"internal/graph", "internal/simulator/..."},
	"internal/graph/htmltext":  {},
	// One resource each, never a sibling but the directory: other resources belong to its users.
	"internal/graph/*": {"internal/graph", "internal/graph/directory", "internal/graph/zones", "internal/graph/htmltext", "internal/graph/chatmessage"},
	// What chats and channels have in common.
	"internal/graph/chatmessage": {"internal/graph", "internal/graph/htmltext"},

	"services":   {"internal/graph", "internal/schema"},
	"services/*": {"services", "internal/graph/...", "internal/schema"},

	"sensors":             {"services", "internal/entity", "internal/graph", "internal/schema"},
	"sensors/*":           {"sensors", "services", "internal/entity", "internal/graph/...", "internal/schema"},
	"sensors/sensorstest": {"sensors", "services", "config", "internal/entity", "internal/hub", "internal/graph/...", "internal/schema", "internal/simulator/...", "mqtt/..."},

	"mqtt":               {},
	"mqtt/homeassistant": {"mqtt", "internal/hub", "internal/entity"},
	"mqtt/inbox":         {"mqtt", "services"},
	"mqtt/mqtttest":      {"mqtt", "mqtt/homeassistant", "internal/entity"},

	"internal/dashboard": {"mqtt/homeassistant"},
	"internal/migrate":   {"internal/entity", "internal/schema"},

	"internal/runtime": {"sensors/...", "services/...", "config", "internal/entity", "internal/graph/...", "internal/hub", "internal/schema", "internal/state"},
	"internal/web":     {},
	"internal/web/*":   {"internal/web", "services", "internal/hub", "internal/entity", "internal/graph/...", "internal/schema"}, // never a sibling
	"internal/bridge":  {"..."},
	"cmd/*":            {"..."},
	"docs":             {"..."},
	"internal/e2e":     {"..."},

	"docs/testdata/kind/*": {"docs/testdata/kind/...", "sensors", "services", "internal/entity", "internal/graph", "internal/schema"}, // a kind

	"internal/broker":                    {},
	"internal/broker/brokertest":         {"internal/broker", "internal/porttest"},
	"internal/broker/natstest":           {"internal/porttest"},
	"internal/cputest":                   {},
	"internal/porttest":                  {},
	"internal/eventhub":                  {"internal/graph", "internal/graph/subscriptions"},
	"internal/supervisor":                {},
	"internal/supervisor/supervisortest": {},

	// The simulator is a peer of the program, not a helper: it shares nothing with it but the time zones and the decoder.
	"internal/simulator":           {"internal/simulator/...", "internal/graph/zones", "internal/schema"},
	"internal/simulator/web":       {},
	"internal/simulator/control":   {"internal/simulator/web", "internal/schema"},
	"internal/simulator/directory": {"internal/simulator/control", "internal/simulator/web"},
	"internal/simulator/entra":     {"internal/simulator/control", "internal/simulator/directory", "internal/simulator/web"},
	"internal/simulator/odata":     {"internal/simulator/control", "internal/simulator/directory", "internal/simulator/web", "internal/graph/zones"},
	"internal/simulator/*": {"internal/simulator/control", "internal/simulator/directory", "internal/simulator/odata", "internal/simulator/web",
		"internal/graph/zones"}, // one resource each, never a sibling
}

// allowedInTests lists what the tests in and below a directory may import beside allowedImports.
var allowedInTests = map[string][]string{
	"internal/graph":      {"internal/graph/...", "internal/simulator/...", "internal/state"},
	"internal/simulator":  {"internal/simulator/..."},
	"services":            {"internal/graph/...", "internal/simulator/..."},
	"sensors":             {"internal/graph/...", "internal/simulator/...", "sensors/sensorstest"},
	"mqtt":                {"internal/broker/...", "internal/cputest", "internal/entity", "internal/graph/...", "internal/hub", "mqtt/..."},
	"internal/runtime":    {"internal/simulator/...", "mqtt/..."},
	"internal/state":      {"internal/broker/..."},
	"internal/web":        {"internal/graph/...", "internal/simulator/...", "internal/state", "services/...", "sensors/..."},
	"internal/dashboard":  {"internal/entity"},
	"internal/broker":     {"internal/broker/..."},
	"internal/supervisor": {"internal/supervisor/..."},
}

// importers lists the only directories that may import packages at or below a path. Nothing below the listener may learn of HTTP.
var importers = map[string][]string{
	"internal/web": {"internal/web/...", "internal/bridge", "docs", "internal/e2e"},
}

// libraryImporters lists the directories that may import a library, or a package below its path, with the patterns of allowedImports.
var libraryImporters = map[string][]string{
	"github.com/knadh/koanf":                                     {"config"},
	"github.com/go-viper/mapstructure":                           {"config"},
	"github.com/agnivade/levenshtein":                            {"config", "internal/schema"},
	"github.com/eclipse/paho.mqtt.golang":                        {"mqtt"},
	"github.com/mochi-mqtt/server":                               {"internal/broker/..."},
	"github.com/nats-io/nats-server":                             {"internal/broker/natstest"},
	"github.com/nats-io/nats.go":                                 {"internal/state", "internal/broker/natstest"},
	"github.com/nats-io/nuid":                                    {"internal/state"},
	"github.com/microsoftgraph/msgraph-sdk-go-core":              {"internal/graph/..."},
	"github.com/AzureAD/microsoft-authentication-library-for-go": {"internal/graph/auth"},
	"github.com/microsoft/kiota-http-go":                         {"internal/graph/..."},
	"gopkg.in/natefinch/lumberjack.v2":                           {"internal/audit"},
	"github.com/twmb/franz-go":                                   {"internal/eventhub"},
	"go.etcd.io/bbolt":                                           {"internal/state"},
	"github.com/spf13/cobra":                                     {"cmd/..."},
	"github.com/k3a/html2text":                                   {"internal/simulator/..."},
	"github.com/klauspost/compress":                              {"internal/web/caldav"},
	"golang.org/x/net/html":                                      {"internal/graph/htmltext", "internal/graph/calendars", "internal/simulator/..."},
	"github.com/Azure/azure-sdk-for-go":                          {},
	"github.com/prometheus/client_golang":                        {"internal/web/metrics"},
	"github.com/prometheus/client_model":                         {},
	"net/http/pprof":                                             {"internal/bridge"},
	// They call methods by names that the linker cannot know, so it would keep every method of Microsoft's SDK.
	"html/template":               {},
	"text/template":               {},
	"github.com/stretchr/testify": {},
	"go.uber.org/mock":            {},
	"github.com/golang/mock":      {},
	"github.com/microsoftgraph/msgraph-sdk-go/graphserviceclient": {},
	"github.com/microsoftgraph/msgraph-beta-sdk-go":               {},
}

// libraryTestImporters lists the directories whose tests may import a library, too: they check the peer with its real client.
var libraryTestImporters = map[string][]string{
	"github.com/nats-io/nats-server":                             {"internal/state"},
	"github.com/AzureAD/microsoft-authentication-library-for-go": {"internal/simulator/..."},
	"github.com/mochi-mqtt/server":                               {"mqtt"},
	"github.com/twmb/franz-go":                                   {"internal/bridge"},
	"github.com/microsoftgraph/msgraph-sdk-go-core":              {"internal/simulator/..."},
	"github.com/microsoft/kiota-http-go":                         {"internal/simulator/..."},
	"github.com/eclipse/paho.mqtt.golang":                        {"mqtt/...", "internal/broker/...", "internal/bridge", "internal/e2e", "cmd/..."},
}

// sdkRoot is the root package of the SDK, which takes minutes and gigabytes to build. Its builders and models are packages of their own.
const sdkRoot = "github.com/microsoftgraph/msgraph-sdk-go"

// imports refuses imports against the direction of dependencies, and libraries outside their packages.
func imports(s *source) []finding {
	allowed, ok := importsOf(s.dir())
	if !ok {
		return []finding{s.find(s.file.Name, "%s has no entry in allowedImports", s.dir())}
	}
	var found []finding
	for _, spec := range s.file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue
		}
		if own, ok := strings.CutPrefix(imported, module+"/"); ok {
			if !isAllowedImport(s, own, allowed) {
				found = append(found, s.find(spec, "%s must not import %s", s.dir(), own))
			}
			continue
		}
		if imported == sdkRoot {
			found = append(found, s.find(spec, "the root of the SDK must not be imported: use its builders on the core's adapter"))
		}
		for library, dirs := range libraryImporters {
			if s.test() {
				dirs = slices.Concat(dirs, libraryTestImporters[library])
			}
			if isWithin(imported, library) && !matches(s.dir(), dirs) {
				found = append(found, s.find(spec, "%s must not import %s", s.dir(), library))
			}
		}
	}
	return found
}

// isAllowedImport reports whether the file may import a package of this module. allowed is the entry of its package.
func isAllowedImport(s *source, own string, allowed []string) bool {
	dir := s.dir()
	for above, dirs := range importers {
		if isWithin(own, above) && !matches(dir, dirs) {
			return false
		}
	}
	switch {
	case own == dir: // an external test of its package
		return true
	case isWithin(own, "cmd"), isWithin(own, "internal/e2e"), isWithin(own, "internal/rules"):
		return false
	case isTestPackage(own) && !s.test() && !isTestPackage(dir):
		return false
	}
	// sensors/<kind> imports the operations of the same name, never those of a sibling.
	if contract, kind := path.Split(dir); contract == "sensors/" && own == "services/"+kind {
		return true
	}
	if matches(own, allowed) {
		return true
	}
	if !s.test() && !isTestPackage(dir) {
		return false
	}
	for above := dir; above != "."; above = path.Dir(above) {
		if matches(own, allowedInTests[above]) {
			return true
		}
	}
	return false
}

// importsOf returns the entry of allowedImports for a directory. It reports false if there is none.
func importsOf(dir string) (allowed []string, ok bool) {
	if allowed, ok = allowedImports[dir]; !ok {
		allowed, ok = allowedImports[path.Dir(dir)+"/*"]
	}
	return allowed, ok
}

// matches reports whether a directory matches one of the patterns of allowedImports.
func matches(dir string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		above, tree := strings.CutSuffix(pattern, "/...")
		return pattern == "..." || dir == pattern || tree && isWithin(dir, above)
	})
}

// isTestPackage reports whether a package is for tests only, as graphtest and brokertest are.
func isTestPackage(dir string) bool { return strings.HasSuffix(path.Base(dir), "test") }

// isWithin reports whether a path is at or below another.
func isWithin(p, above string) bool { return p == above || strings.HasPrefix(p, above+"/") }

// importCases are files with the imports that the rule must refuse.
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
		{"imports", "internal/graph/x.go", file(m+"services", m+"internal/graph/zones"), must("internal/graph", "services")},
		{"imports", "internal/graph/x.go", file(m + "internal/simulator"), must("internal/graph", "internal/simulator")},
		{"imports", "internal/graph/x_test.go", file(m+"internal/simulator", m+"internal/graph/auth"), nil},
		{"imports", "internal/graph/x.go", file(sdkRoot, sdkRoot+"/users"), []string{"3: the root of the SDK must not be imported: use its builders on the core's adapter"}},
		{"imports", "config/x.go", file(m + "internal/schema"), nil},
		{"imports", "internal/schema/x.go", file(m + "config"), must("internal/schema", "config")},
		{"imports", "internal/hub/x.go", file(m+"sensors", m+"internal/entity"), must("internal/hub", "sensors")},
		{"imports", "internal/graph/mail/x.go", file(m+"internal/graph/calendars", m+"internal/graph", m+"internal/graph/htmltext"), must("internal/graph/mail", "internal/graph/calendars")},
		{"imports", "internal/graph/mail/x.go", file(m + "services"), must("internal/graph/mail", "services")},
		{"imports", "internal/graph/x.go", file(m + "internal/graph/mail"), must("internal/graph", "internal/graph/mail")},
		{"imports", "internal/runtime/x.go", file(m+"mqtt", m+"sensors/mail", m+"services", m+"internal/hub"), must("internal/runtime", "mqtt")},
		{"imports", "internal/runtime/x.go", file(m + "internal/bridge"), must("internal/runtime", "internal/bridge")},
		{"imports", "internal/web/page/x.go", file(m+"internal/runtime", m+"internal/hub", m+"services", m+"internal/web"), must("internal/web/page", "internal/runtime")},
		{"imports", "internal/web/page/x.go", file(m + "internal/web/caldav"), must("internal/web/page", "internal/web/caldav")},
		{"imports", "internal/web/x.go", file(m + "internal/hub"), must("internal/web", "internal/hub")},
		{"imports", "internal/web/x.go", file("html/template"), must("internal/web", "html/template")},
		{"imports", "internal/bridge/x.go", file(m+"internal/web/page", m+"internal/web"), nil},
		{"imports", "internal/runtime/x.go", file(m + "internal/web"), must("internal/runtime", "internal/web")},
		{"imports", "cmd/graph2mqtt/x.go", file(m + "internal/web/metrics"), must("cmd/graph2mqtt", "internal/web/metrics")},
		{"imports", "mqtt/x.go", file(m + "mqtt/homeassistant"), must("mqtt", "mqtt/homeassistant")},
		{"imports", "mqtt/homeassistant/x.go", file(m+"mqtt/inbox", m+"mqtt", m+"internal/hub", m+"internal/entity"), must("mqtt/homeassistant", "mqtt/inbox")},
		{"imports", "mqtt/inbox/x.go", file(m+"internal/hub", m+"mqtt", m+"services"), must("mqtt/inbox", "internal/hub")},
		{"imports", "mqtt/inbox/x.go", file("github.com/eclipse/paho.mqtt.golang"), must("mqtt/inbox", "github.com/eclipse/paho.mqtt.golang")},
		{"imports", "mqtt/homeassistant/x.go", file(m + "mqtt/mqtttest"), must("mqtt/homeassistant", "mqtt/mqtttest")},
		{"imports", "mqtt/homeassistant/x_test.go", file(m + "mqtt/mqtttest"), nil},
		{"imports", "sensors/mail/x.go", file(m + "sensors/sensorstest"), must("sensors/mail", "sensors/sensorstest")},
		{"imports", "sensors/mail/x_test.go", file(m + "sensors/sensorstest"), nil},
		{"imports", "sensors/mail/x.go", file(m + "config"), must("sensors/mail", "config")},
		{"imports", "services/mail/x.go", file(m+"internal/graph/mail", m+"internal/entity"), []string{"4: services/mail must not import internal/entity"}},
		{"imports", "services/x.go", file(m + "internal/graph/mail"), must("services", "internal/graph/mail")},
		{"imports", "internal/simulator/mail/x.go", file(m+"internal/simulator/outlook", m+"internal/simulator/odata"), must("internal/simulator/mail", "internal/simulator/outlook")},
		{"imports", "internal/simulator/odata/x.go", file(m+"internal/simulator/outlook", m+"internal/graph/zones"), must("internal/simulator/odata", "internal/simulator/outlook")},
		{"imports", "internal/graph/mail/x.go", file(m+"internal/graph/directory", m+"internal/graph/todo"), []string{"4: internal/graph/mail must not import internal/graph/todo"}},
		{"imports", "internal/graph/mail/x.go", file("golang.org/x/net/html"), must("internal/graph/mail", "golang.org/x/net/html")},
		{"imports", "mqtt/x.go", file(m+"services", "github.com/eclipse/paho.mqtt.golang"), must("mqtt", "services")},
		{"imports", "mqtt/x.go", file("github.com/knadh/koanf/v2"), must("mqtt", "github.com/knadh/koanf")},
		{"imports", "mqtt/x.go", file(m + "internal/broker/brokertest"), must("mqtt", "internal/broker/brokertest")},
		{"imports", "mqtt/x_test.go", file(m + "internal/broker/brokertest"), nil},
		{"imports", "cmd/graph2mqtt/x.go", file(m + "internal/broker/natstest"), must("cmd/graph2mqtt", "internal/broker/natstest")},
		{"imports", "internal/broker/x.go", file("github.com/nats-io/nats-server/v2/server"), must("internal/broker", "github.com/nats-io/nats-server")},
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
		{"imports", "sensors/mail/x.go", file(m+"sensors", m+"services", m+"services/mail", m+"internal/graph/mail", m+"internal/entity", sdkRoot+"/users"), nil},
		{"imports", "internal/bridge/x.go", file(m + "cmd/graph2mqtt"), must("internal/bridge", "cmd/graph2mqtt")},
		{"imports", "internal/bridge/x.go", file(m+"sensors/mail", m+"services/calendar", m+"mqtt", m+"config"), nil},
		{"imports", "internal/graph/x.go", file("github.com/AzureAD/microsoft-authentication-library-for-go/apps/public"), must("internal/graph", "github.com/AzureAD/microsoft-authentication-library-for-go")},
		{"imports", "internal/simulator/x.go", file("github.com/AzureAD/microsoft-authentication-library-for-go/apps/public"), must("internal/simulator", "github.com/AzureAD/microsoft-authentication-library-for-go")},
		{"imports", "internal/simulator/x_test.go", file("github.com/AzureAD/microsoft-authentication-library-for-go/apps/public"), nil},
		{"imports", "internal/new/x.go", "package x", []string{"1: internal/new has no entry in allowedImports"}},
		{"imports", "internal/runtime/new/x.go", file(m + "internal/hub"), []string{"1: internal/runtime/new has no entry in allowedImports"}},
		{"imports", "internal/new/x_test.go", "package x_test", []string{"1: internal/new has no entry in allowedImports"}},
		{"imports", "mqtt/x_test.go", file("github.com/stretchr/testify/require"), must("mqtt", "github.com/stretchr/testify")},
	}
}
