package config

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"

	"github.com/graph2mqtt/graph2mqtt/internal/graph/entra"
	"github.com/graph2mqtt/graph2mqtt/internal/schema"
)

// Sources name the places that the configuration is loaded from. Each overrides those before it.
type Sources struct {
	File    string // "": GRAPH2MQTT_CONFIG, else the first file found in the usual directories
	Content []byte // if not nil, loaded instead of the content of File, which need not exist
	// AccountContent is loaded instead of the content of these files in the directory of accounts, which need not exist.
	AccountContent map[string][]byte
	OnlyFile       bool           // no directory of accounts is read
	Environ        []string       // as os.Environ returns it
	Flags          map[string]any // by path ("log.level"): those that were set on the command line
	Root           bool           // the program runs as root, whose new file is that of the system
	// Defaults are overridden by all others. Of the broker they apply as a whole: its address only if no other source names one, and the
	// user name and the password only if no other source names one of the three.
	Defaults map[string]any
}

// Load reads the file, the environment and the flags, and validates everything. Its error is Problems, all of them at once. A
// problem that affects only one account is not an error; it is listed in the account's Problems or in RefusedFiles.
func Load(s Sources, kinds []Kind) (*Config, error) {
	l := newLoader(s)
	l.kinds = kinds
	c := &Config{}
	c.setDefaults()
	c.setIngress(l.env)
	if raw := l.sources(s, c); raw != nil {
		dir := c.AccountsDir // also the default one
		l.Decode("", raw, c)
		c.AccountsDir = dir
		l.Check("mqtt", c.MQTT.checkFiles())
		l.Check("http", c.HTTP.checkFiles())
		l.Check("notifications.webhook", c.Notifications.Webhook.checkFiles())
		l.Check("cluster", c.Cluster.checkFiles())
		c.Warnings = append(c.Warnings, c.HTTP.warnings()...)
		l.accounts(c, raw["accounts"], raw["organizations"])
		l.checkNotifications(c)
		l.stateDir(c)
		l.machine(c)
	}
	if len(l.Problems) > 0 {
		l.Problems = append(l.Problems, c.AccountProblems()...) // everything at once
	}
	for i, p := range l.Problems {
		l.Problems[i].Line = l.lineOf(p)
	}
	l.Problems.Sort()
	if err := l.Err(); err != nil {
		return nil, err
	}
	slices.Sort(l.Files)
	c.Files = slices.Compact(l.Files)
	c.digests()
	return c, nil
}

// AccountProblems returns the problems of all accounts and of refused files, sorted by path. `graph2mqtt check` reports them although
// the bridge can run without those accounts.
func (c *Config) AccountProblems() Problems {
	var all Problems
	for _, a := range Sorted(c.Accounts) {
		all = append(all, a.Problems...)
	}
	for _, f := range c.RefusedFiles {
		all = append(all, f.Problems...)
	}
	all.Sort()
	return all
}

// TokenProblems reads the federated tokens of organizations and returns what is wrong with them. They are not among AccountProblems because
// they are replaced all the time and read for each sign-in.
func (c *Config) TokenProblems() Problems {
	var all Problems
	for _, a := range Sorted(c.Accounts) {
		if a.FederatedTokenFile == "" {
			continue
		}
		if _, err := ReadPEM(a.FederatedTokenFile); err != nil {
			all = append(all, Problem{Path: a.Path() + ".federated_token_file", Line: a.TokenLine, Message: err.Error()})
		}
	}
	return all
}

// A loader decodes a whole configuration.
type loader struct {
	schema.Decoder
	kinds []Kind
	env   environment
	root  string // of the file system; "" except in tests
	lines schema.Lines
	// warnings are about sensors.
	warnings []string
	// overridden lists the paths set by the environment or by flags. Their problems have no line, because the file has another value.
	overridden []string
	own        map[string]accountFile // by account: those that have files of their own
	unusable   map[string]bool        // accounts whose file is refused
}

func newLoader(s Sources) *loader {
	return &loader{env: environment(s.Environ), own: map[string]accountFile{}, unusable: map[string]bool{}}
}

// lineOf returns the line that a problem is about, if it is in the file.
func (l *loader) lineOf(p Problem) int {
	switch {
	case p.File != "":
		return p.Line
	case l.isOverridden(p.Path):
		return 0
	case p.Line != 0:
		return p.Line
	}
	return l.lines.Line(p.Path)
}

// isOverridden reports whether the environment or a flag sets what is at a path.
func (l *loader) isOverridden(at string) bool {
	return slices.ContainsFunc(l.overridden, func(path string) bool {
		return at == path || strings.HasPrefix(at, path+".") || strings.HasPrefix(at, path+"[")
	})
}

// sources merges all sources. It returns nil if decoding the rest would only report follow-up problems.
func (l *loader) sources(s Sources, c *Config) map[string]any {
	at := s.locate(l.root)
	c.File, c.Warnings = at.file, append(c.Warnings, at.warnings...)
	var file map[string]any
	if c.File != "" {
		l.Files = append(l.Files, c.File)
		var err error
		if file, l.lines, err = parseFile(c.File, s.Content); err != nil {
			l.Problems = append(l.Problems, schema.Flatten(c.File, err)...)
			return nil
		}
	}
	raw := l.override(s, c, file)
	if c.File == "" && c.AccountsDir == "" && raw != nil && raw["accounts"] == nil && raw["organizations"] == nil {
		l.Report("", "no configuration: none of %s exists; name one with --config, or write one with `graph2mqtt init`", strings.Join(at.tried, ", "))
		return nil
	}
	return raw
}

// override returns the content of the file, nil without one, with what the other sources override. It returns nil if that fails.
func (l *loader) override(s Sources, c *Config, file map[string]any) map[string]any {
	values, ignored, problems := l.env.values()
	c.Ignored = ignored
	l.Problems = append(l.Problems, problems...)
	l.overridden = slices.AppendSeq(slices.Collect(maps.Keys(values)), maps.Keys(s.Flags))
	if !s.OnlyFile {
		file = l.readAccounts(s, c, file, s.first(file, "accounts_dir"))
	}
	layers := []koanf.Provider{
		confmap.Provider(file, ""), // its keys may have a dot in them
		confmap.Provider(values, "."),
		confmap.Provider(s.Flags, "."),
	}
	raw, err := merge(layers...)
	if err == nil && len(s.Defaults) > 0 {
		raw, err = merge(append([]koanf.Provider{confmap.Provider(withoutBroker(s.Defaults, raw), ".")}, layers...)...)
	}
	if err != nil {
		l.Report("", "%v", err)
		return nil
	}
	return raw
}

// merge merges layers; each overrides those before it.
func merge(layers ...koanf.Provider) (map[string]any, error) {
	k := koanf.New(".")
	for _, layer := range layers {
		if err := k.Load(layer, nil); err != nil {
			return nil, err
		}
	}
	return k.Raw(), nil
}

// withoutBroker returns the defaults without those of a broker that given overrides: the credentials of one broker must not be sent to
// another.
func withoutBroker(defaults, given map[string]any) map[string]any {
	defaults = maps.Clone(defaults)
	broker, _ := given["mqtt"].(map[string]any)
	address := cmp.Or(broker["url"], broker["urls"])
	if address != nil {
		delete(defaults, "mqtt.url")
	}
	if cmp.Or(address, broker["username"], broker["password"], broker["password_file"]) != nil {
		delete(defaults, "mqtt.username")
		delete(defaults, "mqtt.password")
	}
	return defaults
}

// A location holds the path of a configuration file, or the paths at which there is none.
type location struct {
	file     string   // the one to read; "": there is none
	tried    []string // those that are looked for, if none is named
	warnings []string
}

// locate looks for the configuration file. root is the root of the file system, "" except in tests.
func (s Sources) locate(root string) (at location) {
	if at.file = s.named(); at.file != "" {
		return at
	}
	for _, dir := range s.dirs() {
		if dir == systemConfigDir {
			dir = root + dir
		}
		for _, ext := range extensions {
			name := filepath.Join(dir, "graph2mqtt"+ext)
			if _, err := os.Stat(name); errors.Is(err, os.ErrNotExist) {
				continue
			}
			if at.file == "" {
				at.file = name
			} else {
				at.warnings = append(at.warnings, fmt.Sprintf("%s is not read: %s comes first", name, at.file))
			}
		}
		at.tried = append(at.tried, filepath.Join(dir, "graph2mqtt.yaml"))
	}
	return at
}

// first returns the first text that a source has at one of the paths, or "". file is the content of the configuration file, nil without.
func (s Sources) first(file map[string]any, paths ...string) string {
	values, _, _ := environment(s.Environ).values()
	for _, source := range []map[string]any{s.Flags, values, file, s.Defaults} {
		for _, path := range paths {
			if text, ok := schema.AsString(source[path]); ok && text != "" {
				return text
			}
		}
	}
	return ""
}

// StateDir returns the state directory, also that of a configuration that is invalid otherwise. Its error is Problems.
func StateDir(s Sources) (string, error) {
	l := newLoader(s)
	c := &Config{File: s.Find()}
	var file map[string]any
	if c.File != "" {
		file, _, _ = parseFile(c.File, s.Content) // `check` reports why it cannot be read
	}
	c.StateDir = s.first(file, "state_dir")
	l.stateDir(c)
	return c.StateDir, l.Err()
}

// Find returns the configuration file that Load reads, which may be missing if it is named; "" if there is none.
func (s Sources) Find() string { return s.locate("").file }

// named returns the file that a flag or the environment names, or "".
func (s Sources) named() string {
	return cmp.Or(s.File, environment(s.Environ).get("GRAPH2MQTT_CONFIG"))
}

// dirs returns the usual directories of the file.
func (s Sources) dirs() []string {
	dirs := []string{"."}
	if dir := environment(s.Environ).base("XDG_CONFIG_HOME", ".config"); dir != "" {
		dirs = append(dirs, filepath.Join(dir, "graph2mqtt"))
	}
	return append(dirs, systemConfigDir)
}

// NewFile returns the file to write where there is none: that which a flag or the environment names, else that of the system for root, one
// in the directory of another user, or one in the working directory if that is not known.
func (s Sources) NewFile() string {
	if file := s.named(); file != "" {
		return file
	}
	dirs := s.dirs()
	if !s.Root {
		dirs = dirs[:len(dirs)-1]
	}
	return filepath.Join(dirs[len(dirs)-1], "graph2mqtt.yaml")
}

// Missing reports whether there is no configuration at all: no file, and no account in the environment or in the directory that it names.
func (s Sources) Missing() bool {
	if file := s.Find(); file != "" {
		if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
			return false
		}
	}
	values, _, _ := environment(s.Environ).values()
	for path := range values {
		if strings.HasPrefix(path, "accounts.") || strings.HasPrefix(path, "organizations.") {
			return false
		}
	}
	files, _ := accountFiles(s.first(nil, "accounts_dir")) // loading reports why it cannot be read
	return len(files) == 0
}

// Broker returns the address of the broker that the configuration has without a file, or "".
func (s Sources) Broker() string { return s.first(nil, "mqtt.url", "mqtt.urls") }

// LoadListener reads what the listener and the log need from the environment and the flags, where the rest of the configuration is
// missing. Its error is Problems.
func LoadListener(s Sources) (*Config, error) {
	l := newLoader(s)
	c := &Config{}
	c.setDefaults()
	c.setIngress(l.env)
	s.OnlyFile = true
	raw := l.override(s, c, nil)
	for key, part := range map[string]any{"http": &c.HTTP, "log": &c.Log} {
		if below, ok := raw[key].(map[string]any); ok {
			l.Decode(key, below, part)
		}
	}
	if _, given := raw["http"]; !given {
		l.Check("http", c.HTTP.Validate())
	}
	l.Check("http", c.HTTP.checkFiles())
	l.Problems.Sort()
	return c, l.Err()
}

// setIngress sets what differs in an app of Home Assistant.
func (c *Config) setIngress(env environment) {
	if c.HTTP.Ingress = env.get("SUPERVISOR_TOKEN") != ""; c.HTTP.Ingress {
		c.HTTP.Listen = ingressListen
	}
}

// accounts decodes the accounts, the organizations and their sensors, whose keys depend on the kinds. The problems of an account that has a
// file of its own refuse that file.
func (l *loader) accounts(c *Config, raw, organizations any) {
	all := l.mappings("accounts", raw)
	isEmpty := func(v any) bool { m, ok := v.(map[string]any); return v == nil || ok && len(m) == 0 }
	if isEmpty(raw) && isEmpty(organizations) {
		message := "is required: want at least one account; `graph2mqtt config example` prints one"
		if c.AccountsDir != "" {
			message = "is required: want at least one account, here or in a file in " + c.AccountsDir
		}
		l.Report("accounts", "%s", message)
		return
	}
	c.Accounts = map[string]*Account{}
	var organizationIDs []string
	if m, ok := organizations.(map[string]any); ok {
		organizationIDs = slices.Collect(maps.Keys(m))
	}
	for id, m := range Sorted(all) {
		if l.unusable[id] { // only the environment has it
			continue
		}
		problems, warnings := l.Problems, l.warnings
		own, ok := l.own[id]
		if ok && slices.Contains(organizationIDs, id) {
			l.refuse(c, id, Problem{Path: schema.Join("accounts", schema.QuoteKey(id)), Message: "want another id: there is an organization with this one"})
			continue
		}
		l.account(c, id, m)
		if !ok {
			continue
		}
		if found := l.Problems[len(problems):]; len(found) > 0 {
			l.Problems, l.warnings = problems, warnings
			l.refuse(c, id, slices.Clone(found)...)
			continue
		}
		c.setFile(id, own.name)
	}
	l.organizations(c, organizations)
	l.collisions(c)
	if len(c.Accounts) == 0 && len(l.Problems) == 0 {
		l.Report("accounts", "want at least one account whose file can be used")
	}
	c.Warnings = append(c.Warnings, l.warnings...)
}

// account decodes one account and its sensors.
func (l *loader) account(c *Config, id string, m map[string]any) {
	path := schema.Join("accounts", schema.QuoteKey(id))
	l.Check(path, CheckAccountID(id))
	a := &Account{ID: id, Name: displayName(id)}
	a.setDefaults()
	c.Accounts[id] = a
	own, inOwn := l.own[id]
	if inOwn {
		l.DecodeWith(path, m, wrapped(id), a)
	} else {
		l.Decode(path, m, a)
	}
	for _, p := range schema.Flatten(path, a.checkFiles()) {
		if inOwn {
			p = l.locate(own, id, p)
		} else {
			p.Line = l.lineOf(p)
		}
		a.Problems = append(a.Problems, p)
	}
	l.sensors(a, path, m["sensors"])
}

// mappings returns the mappings below a key by id; null is an empty one.
func (l *loader) mappings(path string, raw any) map[string]map[string]any {
	all, ok := raw.(map[string]any)
	if !ok && raw != nil {
		l.NotMapping(path, raw)
	}
	out := map[string]map[string]any{}
	for id, value := range Sorted(all) {
		m, ok := value.(map[string]any)
		if !ok && value != nil {
			l.NotMapping(schema.Join(path, schema.QuoteKey(id)), value)
			continue
		}
		out[id] = m
	}
	return out
}

func (l *loader) sensors(a *Account, path string, raw any) {
	path = schema.Join(path, "sensors")
	a.Sensors = map[string]*Sensor{}
	for id, m := range Sorted(l.mappings(path, raw)) {
		at := schema.Join(path, schema.QuoteKey(id))
		l.Check(at, checkIdent(id))
		if Reserved(id) {
			l.Report(at, "want another id: this one is reserved for a topic of the account")
		}
		if s := l.sensor(a, id, at, m); s != nil {
			a.Sensors[id] = s
		}
	}
}

// Reserved reports whether a sensor of this id would take a topic of its account.
func Reserved(id string) bool {
	return slices.Contains([]string{"request", "response", "state", "status", "event"}, id)
}

// sensor decodes one sensor; it returns nil if its kind is unknown.
func (l *loader) sensor(a *Account, id, path string, raw map[string]any) *Sensor {
	kind := l.kind(path, raw["type"])
	if kind == nil {
		return nil
	}
	s := &Sensor{ID: id, Name: strings.ToLower(displayName(id)), Interval: kind.Interval, Read: !kind.WriteOnly, Personal: entra.IsPersonalTenant(a.Tenant), Application: a.Application, Options: kind.New()}
	if !kind.OwnUpdates {
		s.EnableUpdate = a.EnableUpdate
	}
	if kind.WorkOnly && s.Personal {
		l.Report(schema.Join(path, "type"), "%s is for work and school accounts: the tenant consumers has personal ones only", kind.Name)
	}
	if a.Application && !kind.Application {
		why := ""
		if kind.UserOnly != "" {
			why = ": " + kind.UserOnly
		}
		l.Report(schema.Join(path, "type"), "%s is for accounts, to which a user signs in%s; organizations have %s", kind.Name, why, l.applicationKinds())
		return nil
	}
	_, s.OwnUpdate = raw["enable_update"]
	targets, mailbox := []any{s, decodeTarget(s.Options)}, &Mailbox{}
	if a.Application && kind.OfMailbox {
		targets = append(targets, mailbox)
	}
	l.DecodeWith(path, raw, l.otherKindMessage(kind, a.Application), targets...)
	s.Type, s.User = kind.Name, mailbox.User
	if s.Interval < kind.AdvisedInterval && s.Read {
		l.warnings = append(l.warnings, fmt.Sprintf("%s.interval: %s is less than %s; Microsoft allows asking Teams for changes once a day, and may throttle or suspend who asks often", path, s.Interval, kind.AdvisedInterval))
	}
	if kind.Check != nil {
		l.Check(path, kind.Check(s))
	}
	return s
}

// applicationKinds names the kinds that organizations can have.
func (l *loader) applicationKinds() string {
	var names []string
	for _, k := range l.kinds {
		if k.Application {
			names = append(names, k.Name)
		}
	}
	slices.Sort(names)
	return schema.JoinWords(names, "and")
}

// kind returns the kind of a sensor.
func (l *loader) kind(path string, raw any) *Kind {
	path = schema.Join(path, "type")
	var names []string
	for _, k := range l.kinds {
		names = append(names, k.Name)
	}
	slices.Sort(names)
	known := strings.Join(names, ", ")
	if raw == nil {
		l.Report(path, "is required: want one of %s", known)
		return nil
	}
	word, ok := schema.AsString(raw)
	if !ok {
		l.Report(path, "want one of %s, not %s", known, schema.Format(raw))
		return nil
	}
	if i := slices.IndexFunc(l.kinds, func(k Kind) bool {
		return slices.ContainsFunc(k.Aliases, func(a string) bool { return strings.EqualFold(a, word) })
	}); i >= 0 {
		l.Report(path, "want one of %s, not %s; did you mean %s?", known, schema.Quote(word), l.kinds[i].Name)
		return nil
	}
	name, err := schema.MatchEnum(word, names)
	if err != nil {
		l.Report(path, "%v", err)
		return nil
	}
	return &l.kinds[slices.IndexFunc(l.kinds, func(k Kind) bool { return k.Name == name })]
}

// otherKindMessage returns the message about a key that the kind does not have but others may, in an account or an application.
func (l *loader) otherKindMessage(kind *Kind, application bool) func(key string, known []string) string {
	return func(key string, known []string) string {
		if key == "user" && kind.OfMailbox {
			return "only in an organization; in an account, the mailbox is that of the user who signs in"
		}
		var have []string
		for _, k := range l.kinds {
			if slices.Contains(schema.Configuration.Keys(decodeTarget(k.New())), key) || key == "user" && k.OfMailbox && application {
				have = append(have, k.Name)
			}
		}
		if have == nil {
			return ""
		}
		slices.Sort(have)
		return fmt.Sprintf("%s has no such key, only %s; known keys: %s", kind.Name, schema.JoinWords(have, "and"), strings.Join(known, ", "))
	}
}

// collisions reports sensors whose entities would have the same ids in Home Assistant, where account and sensor are joined by an
// underscore. Of two accounts, the file of the one that has a file of its own is refused.
func (l *loader) collisions(c *Config) {
	seen := map[string]string{}
	for _, own := range []bool{false, true} {
		for account, a := range Sorted(c.Accounts) {
			if _, ok := l.own[account]; ok != own {
				continue
			}
			var problems []Problem
			for sensor := range Sorted(a.Sensors) {
				if first, ok := seen[account+"_"+sensor]; ok {
					problems = append(problems, Problem{Path: sensorPath(a, sensor), Message: collision(first)})
				}
			}
			if own && len(problems) > 0 {
				delete(c.AccountFiles, account)
				l.refuse(c, account, problems...)
				continue
			}
			l.Problems = append(l.Problems, problems...)
			for sensor := range Sorted(a.Sensors) {
				seen[account+"_"+sensor] = sensorPath(a, sensor)
			}
		}
	}
}

// systemConfigDir holds the configuration of a system service, and systemStateDir, which its package creates, its state.
const (
	systemConfigDir = "/etc/graph2mqtt"
	systemStateDir  = "/var/lib/graph2mqtt"
)

// stateDir sets the default state directory.
func (l *loader) stateDir(c *Config) {
	if c.StateDir != "" {
		return
	}
	// systemd separates several by colons.
	if first, _, _ := strings.Cut(l.env.get("STATE_DIRECTORY"), ":"); first != "" {
		c.StateDir = first
		return
	}
	// The command line signs in for the service, so both use the same directory.
	if info, err := os.Stat(l.root + systemStateDir); filepath.Dir(c.File) == l.root+systemConfigDir && err == nil && info.IsDir() {
		c.StateDir = l.root + systemStateDir
		return
	}
	dir := l.env.base("XDG_STATE_HOME", filepath.Join(".local", "state"))
	if dir == "" {
		l.Report("state_dir", "is required: its default needs STATE_DIRECTORY, XDG_STATE_HOME or HOME in the environment")
		return
	}
	c.StateDir = filepath.Join(dir, "graph2mqtt")
}

// decodeTarget returns the struct to decode a kind's options into: the result of the Options method if the value from the kind's
// New has one, otherwise that value.
func decodeTarget(v any) any {
	if o, ok := v.(interface{ Options() any }); ok {
		return o.Options()
	}
	return v
}

// displayName derives a name from an id: "Out of office" from "out_of_office".
func displayName(id string) string {
	name := strings.TrimSpace(strings.ReplaceAll(id, "_", " "))
	if name == "" {
		return id
	}
	return strings.ToUpper(name[:1]) + name[1:]
}

// machine validates what the program reads from the environment besides its configuration.
func (l *loader) machine(c *Config) {
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"} {
		if value := l.env.get(name); value != "" && !isProxy(value) {
			l.Report(name, "want the address of a proxy, such as http://proxy.example:3128; as it is, it would be ignored")
		}
	}
	zone := strings.TrimPrefix(l.env.get("TZ"), ":")
	if zone == "" {
		return
	}
	if filepath.IsAbs(zone) {
		if b, err := schema.ReadFile(zone, maxFile); err == nil {
			if _, err := time.LoadLocationFromTZData("TZ", b); err == nil {
				return
			}
		}
	} else if _, err := time.LoadLocation(zone); err == nil {
		return
	}
	c.Warnings = append(c.Warnings, fmt.Sprintf("TZ: the time zone %s is unknown, so UTC is used; want a name such as Europe/Berlin", schema.Quote(zone)))
}

// isProxy reports whether net/http can use the address of a proxy, which it ignores or misunderstands otherwise.
func isProxy(address string) bool {
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	u, err := url.Parse(address)
	return err == nil && u.Hostname() != "" && slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme)
}
