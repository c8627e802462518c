// Package config loads, merges, checks and describes the configuration. It knows no sensor, service or broker: a kind of
// sensor owns the struct of its options and declares each option once, with its tags.
package config

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // what is a right time zone must not depend on the machine
	"unicode"
)

// A Kind is what the configuration must know of one type of sensor.
type Kind struct {
	Name, Doc  string        // the `type`; one paragraph
	Interval   time.Duration // default
	OwnUpdates bool          // its enable_update is its own, not the account's
	WorkOnly   bool          // not for personal accounts
	New        func() any    // a pointer to the struct of its options, with its defaults set
	// Check, if any, says what only the kind knows of a sensor: its operations and entities, what
	// cannot work together. Its error is like that of a Validator.
	Check func(*Sensor) error
}

// Config is the whole configuration, checked, with every default in its place.
type Config struct {
	File     string   // it was read from; "" where there is none
	Files    []string // all that were read or are named as certificates and keys: a change of one is a change of the configuration
	Warnings []string // what is allowed but probably not intended; for the log

	MQTT          MQTT                `koanf:"mqtt" doc:"The broker."`
	HomeAssistant HomeAssistant       `koanf:"homeassistant" doc:"What Home Assistant is told."`
	StateDir      string              `koanf:"state_dir" restart:"true" doc:"Where tokens, requests and remembered answers are kept, sealed. Default: the environment's STATE_DIRECTORY, else graph2mqtt below XDG_STATE_HOME (~/.local/state)."`
	KeyFile       string              `koanf:"key_file" restart:"true" doc:"A file with the key that seals the state directory: 32 bytes in base64. Default: the environment's GRAPH2MQTT_KEY, else the systemd credential graph2mqtt-key, else key in the state directory, which is made at first."`
	Log           Log                 `koanf:"log" doc:"What is logged, to standard error."`
	Commands      Commands            `koanf:"commands" doc:"Requests over MQTT."`
	Attachments   Attachments         `koanf:"attachments" doc:"Files that are sent with mail."`
	Accounts      map[string]*Account `koanf:"accounts,deferred" required:"true" doc:"The Microsoft 365 accounts, each by an id of the letters a to z, digits and underscores. It is part of every topic and unique id."`
}

// MQTT is the connection to the broker.
type MQTT struct {
	URL       string        `koanf:"url" required:"true" restart:"true" example:"mqtt://192.168.1.10:1883" doc:"The broker: mqtt://, mqtts://, ws:// or wss://, its name or address, and its port if it is not the usual one."`
	Username  string        `koanf:"username" doc:"The user at the broker."`
	Password  Secret        `koanf:"password" doc:"The user's password."`
	ClientID  string        `koanf:"client_id" restart:"true" doc:"The MQTT client id. Default: graph2mqtt- and the state directory's id, so that it stays the same."`
	BaseTopic string        `koanf:"base_topic" restart:"true" doc:"The beginning of every topic, and of every unique id."`
	Keepalive time.Duration `koanf:"keepalive" min:"5s" max:"18h" doc:"How long the connection may be silent."`
	CAFile    string        `koanf:"ca_file" file:"true" doc:"The certificates (PEM) that the broker's must come from. Default: the system's."`
	CertFile  string        `koanf:"cert_file" file:"true" doc:"The client's own certificate (PEM)."`
	KeyFile   string        `koanf:"key_file" file:"true" doc:"The key (PEM) of the client's certificate."`
}

// HomeAssistant is what Home Assistant is told, and where.
type HomeAssistant struct {
	Enabled        bool   `koanf:"enabled" doc:"Whether devices and entities are announced at all."`
	DiscoveryTopic string `koanf:"discovery_topic" doc:"The discovery prefix that Home Assistant is set to."`
	StatusTopic    string `koanf:"status_topic" doc:"Where Home Assistant says that it has started."`
	Discovery      string `koanf:"discovery" enum:"device,component" doc:"One announcement for each device, or for each entity, which openHAB and Domoticz need."`
}

// Log is what is logged.
type Log struct {
	Level  string `koanf:"level" enum:"debug,info,warn,error" doc:"The least important that is logged."`
	Format string `koanf:"format" enum:"text,json" doc:"For people, or for programs."`
}

// Commands are the limits of requests over MQTT.
type Commands struct {
	MaxAge time.Duration `koanf:"max_age" min:"1s" max:"168h" doc:"What waited in the broker while the bridge was away for longer than this is answered expired, and not done."`
	Queue  int           `koanf:"queue" min:"1" max:"10000" doc:"How many requests of an account may wait."`
}

// Attachments are the files that may be sent.
type Attachments struct {
	Directories []string `koanf:"directories" doc:"The only directories that files are sent from, as absolute paths."`
}

// Account is one Microsoft 365 account.
type Account struct {
	ID              string
	Name            string             `koanf:"name" doc:"The name of its device. Default: made of its id."`
	ClientID        string             `koanf:"client_id" required:"true" example:"00000000-0000-0000-0000-000000000000" doc:"The application (client) id of the app registration in Entra ID."`
	Tenant          string             `koanf:"tenant" doc:"Who may sign in: common, organizations, consumers, or a tenant's id or domain."`
	User            string             `koanf:"user" doc:"The address or id of the one who must be signed in. Default: whoever signs in first."`
	ClientSecret    Secret             `koanf:"client_secret" doc:"The secret of a registration whose platform is Web. Others have none."`
	CertificateFile string             `koanf:"certificate_file" file:"true" doc:"The certificate and key (PEM) of a registration whose platform is Web, instead of a secret."`
	RedirectURI     string             `koanf:"redirect_uri" doc:"The redirect URI of the app registration."`
	Cloud           Cloud              `koanf:"cloud" enum:"global,us_gov,us_gov_dod,china" doc:"The cloud, or its addresses."`
	Timezone        string             `koanf:"timezone" doc:"The zone of times without one, and of today: mailbox (its own setting, which asks for MailboxSettings.Read), local, or a name such as Europe/Berlin; auto: mailbox where that permission is asked for anyway, else local."`
	EnableUpdate    bool               `koanf:"enable_update" doc:"Whether calendars, group calendars, mail and automatic replies may be changed. The permissions for it are asked for only then."`
	StaleAfter      time.Duration      `koanf:"stale_after" min:"1s" max:"720h" doc:"How long the last values stay while Graph cannot be read. Three intervals of a sensor, at least."`
	Sensors         map[string]*Sensor `koanf:"sensors,deferred" doc:"The sensors, each by an id of the letters a to z, digits and underscores. It is part of every topic and unique id."`
}

// Sensor is one sensor of an account.
type Sensor struct {
	ID           string
	Type         string                    `koanf:"type" required:"true" doc:"The kind of sensor."`
	Name         string                    `koanf:"name" doc:"The name of its device, after the account's. Default: made of its id."`
	Interval     time.Duration             `koanf:"interval" min:"5s" max:"24h" doc:"How often Graph is read. Default: its kind's."`
	EnableUpdate bool                      `koanf:"enable_update" doc:"Whether it may change anything. Default for calendars, group calendars, mail and automatic replies: the account's enable_update."`
	Allow        []string                  `koanf:"allow" doc:"The operations that are offered. Default: those of its kind that are not optional."`
	Read         bool                      `koanf:"read" doc:"false: it offers its operations only, reads nothing and asks for no permission to read."`
	OnDemand     bool                      `koanf:"on_demand" doc:"Whether it answers requests that read."`
	PublishItems bool                      `koanf:"publish_items" doc:"Whether the full list is published, for others than Home Assistant."`
	Notify       map[string]any            `koanf:"notify" doc:"The fixed receiver of its notify entity."`
	Entities     map[string]EntityOverride `koanf:"entities" doc:"What is different about its entities, by the entity's key."`

	OwnUpdate bool // enable_update was given for the sensor itself
	Options   any  // what its kind's New returned, decoded
}

// EntityOverride is what is different about one entity.
type EntityOverride struct {
	Enabled  bool   `koanf:"enabled" doc:"false: Home Assistant is not told of it."`
	Name     string `koanf:"name" doc:"Its name."`
	Icon     string `koanf:"icon" doc:"Its icon, such as mdi:calendar."`
	EntityID string `koanf:"entity_id" doc:"Its entity id at first, such as sensor.next_meeting."`
}

func (c *Config) setDefaults() {
	c.MQTT = MQTT{BaseTopic: "graph2mqtt", Keepalive: time.Minute}
	c.HomeAssistant = HomeAssistant{Enabled: true, DiscoveryTopic: "homeassistant", StatusTopic: "homeassistant/status", Discovery: "device"}
	c.Log = Log{Level: "info", Format: "text"}
	c.Commands = Commands{MaxAge: 15 * time.Minute, Queue: 100}
}

func (a *Account) setDefaults() {
	a.Tenant, a.RedirectURI, a.Timezone, a.StaleAfter = "common", "http://localhost", "auto", time.Hour
	a.Cloud.setKeyword("global")
}

func (e *EntityOverride) setDefaults() { e.Enabled = true }

// Sorted goes through accounts or sensors in the order of their ids.
func Sorted[V any](m map[string]V) iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		for _, id := range slices.Sorted(maps.Keys(m)) {
			if !yield(id, m[id]) {
				return
			}
		}
	}
}

// Validate implements Validator.
func (c *Config) Validate() error {
	if c.MQTT.BaseTopic == c.HomeAssistant.DiscoveryTopic {
		return At("mqtt.base_topic", fmt.Errorf("want another one than homeassistant.discovery_topic, not %q", c.MQTT.BaseTopic))
	}
	return nil
}

// Validate implements Validator.
func (m *MQTT) Validate() error {
	var errs []error
	secure, err := checkBroker(m.URL)
	errs = append(errs, At("url", err), At("base_topic", checkTopic(m.BaseTopic)))
	if m.Password != "" && m.Username == "" {
		errs = append(errs, At("password", errors.New("MQTT takes a password only together with a username")))
	}
	if strings.ContainsFunc(m.ClientID, unicode.IsControl) {
		errs = append(errs, At("client_id", errors.New("has a control character in it")))
	}
	if (m.CertFile == "") != (m.KeyFile == "") {
		errs = append(errs, At("cert_file", errors.New("cert_file and key_file go together")))
	}
	if err == nil && !secure && cmp.Or(m.CAFile, m.CertFile) != "" {
		errs = append(errs, At("url", errors.New("certificates are for mqtts:// and wss://: with this URL nothing is encrypted")))
	}
	return errors.Join(errs...)
}

// checkBroker never repeats an address that may have a password in it.
func checkBroker(address string) (secure bool, err error) {
	const want = "want mqtt://HOST:PORT (or mqtts, ws, wss)"
	u, err := url.Parse(address)
	if err != nil || strings.Contains(address, "@") && !strings.Contains(address, "://") {
		return false, errors.New(want)
	}
	if u.User != nil {
		return false, errors.New("the user and the password have keys of their own: mqtt.username and mqtt.password")
	}
	switch u.Scheme {
	case "mqtt", "mqtts":
		if strings.Trim(u.Path, "/") != "" {
			return false, fmt.Errorf("want no path after the port, not %q", u.Path)
		}
	case "ws", "wss":
	default:
		return false, fmt.Errorf("%s, not %q", want, address)
	}
	if u.Hostname() == "" || u.RawQuery != "" || u.Fragment != "" {
		return false, fmt.Errorf("%s, not %q", want, address)
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return false, fmt.Errorf("want a port from 1 to 65535, not %s", port)
		}
	}
	return u.Scheme == "mqtts" || u.Scheme == "wss", nil
}

// checkTopic refuses what cannot be the beginning of a topic.
func checkTopic(topic string) error {
	switch {
	case topic == "":
		return errors.New("empty")
	case strings.ContainsAny(topic, "+#"):
		return fmt.Errorf("want a topic without the wildcards + and #, not %q", topic)
	case strings.HasPrefix(topic, "$"):
		return fmt.Errorf("topics that begin with $ belong to the broker: %q", topic)
	case strings.HasPrefix(topic, "/"), strings.HasSuffix(topic, "/"), strings.Contains(topic, "//"):
		return fmt.Errorf("want a topic without empty levels, not %q", topic)
	case strings.ContainsFunc(topic, unicode.IsControl):
		return fmt.Errorf("has a control character in it: %q", topic)
	case len(topic) > 256:
		return fmt.Errorf("want at most 256 bytes, not %d", len(topic))
	}
	return nil
}

// Validate implements Validator.
func (h *HomeAssistant) Validate() error {
	return errors.Join(At("discovery_topic", checkTopic(h.DiscoveryTopic)), At("status_topic", checkTopic(h.StatusTopic)))
}

// Validate implements Validator.
func (a *Attachments) Validate() error {
	var errs []error
	for i, dir := range a.Directories {
		if !filepath.IsAbs(dir) {
			errs = append(errs, At(fmt.Sprintf("directories[%d]", i), fmt.Errorf("want an absolute path, not %q", dir)))
		}
	}
	return errors.Join(errs...)
}

var (
	guid   = regexp.MustCompile(`^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$`)
	tenant = regexp.MustCompile(`^[0-9A-Za-z]([0-9A-Za-z.-]*[0-9A-Za-z])?$`)
	icon   = regexp.MustCompile(`^[a-z0-9-]+:[a-z0-9-]+$`)
	object = regexp.MustCompile(`^[a-z_]+\.[a-z0-9_]+$`)
	ident  = regexp.MustCompile(`^[a-z0-9_]+$`)
)

// Validate implements Validator.
func (a *Account) Validate() error {
	var errs []error
	if !guid.MatchString(a.ClientID) {
		errs = append(errs, At("client_id", fmt.Errorf("want the application (client) id of the app registration, such as 00000000-0000-0000-0000-000000000000, not %q", a.ClientID)))
	}
	if !tenant.MatchString(a.Tenant) {
		errs = append(errs, At("tenant", fmt.Errorf("want common, organizations, consumers, or the id or domain of a tenant, not %q", a.Tenant)))
	}
	if a.ClientSecret != "" && a.CertificateFile != "" {
		errs = append(errs, At("certificate_file", errors.New("given together with client_secret: only one of them can be right")))
	}
	errs = append(errs, At("redirect_uri", checkRedirect(a.RedirectURI)), At("timezone", a.checkTimezone()))
	return errors.Join(errs...)
}

func checkRedirect(uri string) error {
	u, err := url.Parse(uri)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" ||
		u.Scheme != "https" && (u.Scheme != "http" || !slices.Contains([]string{"localhost", "127.0.0.1", "::1"}, u.Hostname())) {
		return fmt.Errorf("want http://localhost or an https address, as in the app registration, not %q", uri)
	}
	return nil
}

// checkTimezone also takes the words in any case.
func (a *Account) checkTimezone() error {
	if word, err := matchEnum(a.Timezone, []string{"auto", "mailbox", "local"}); err == nil {
		a.Timezone = word
		return nil
	}
	if _, err := time.LoadLocation(a.Timezone); err != nil || a.Timezone == "" {
		return fmt.Errorf("want auto, mailbox, local or a name such as Europe/Berlin, not %q", a.Timezone)
	}
	return nil
}

// Validate implements Validator.
func (s *Sensor) Validate() error {
	if !s.Read && !s.EnableUpdate {
		return At("read", errors.New("with read: false and without enable_update there is nothing left that it could do"))
	}
	return nil
}

// Validate implements Validator.
func (e *EntityOverride) Validate() error {
	var errs []error
	if e.Icon != "" && !icon.MatchString(e.Icon) {
		errs = append(errs, At("icon", fmt.Errorf("want an icon such as mdi:calendar, not %q", e.Icon)))
	}
	if e.EntityID != "" && !object.MatchString(e.EntityID) {
		errs = append(errs, At("entity_id", fmt.Errorf("want an entity id such as sensor.next_meeting, not %q", e.EntityID)))
	}
	return errors.Join(errs...)
}

// Cloud is where an account signs in and is read: the roots, without tenant or version and without a slash at the end.
type Cloud struct {
	Name     string // global, us_gov, us_gov_dod, china; or custom
	Login    string `koanf:"login" example:"https://login.microsoftonline.com" doc:"The root of the sign-in, without a tenant."`
	Graph    string `koanf:"graph" example:"https://graph.microsoft.com" doc:"The root of Graph, without a version."`
	Audience string `koanf:"audience" example:"https://graph.microsoft.com" doc:"What scopes belong to. Default: the root of Graph."`
	CAFile   string `koanf:"ca_file" file:"true" doc:"The certificates (PEM) that those of both must come from. Default: the system's."`
}

// setWord takes the roots from https://learn.microsoft.com/graph/deployments.
func (c *Cloud) setKeyword(name string) {
	*c = Cloud{Name: name}
	switch name {
	case "global":
		c.Login, c.Graph = "https://login.microsoftonline.com", "https://graph.microsoft.com"
	case "us_gov":
		c.Login, c.Graph = "https://login.microsoftonline.us", "https://graph.microsoft.us"
	case "us_gov_dod":
		c.Login, c.Graph = "https://login.microsoftonline.us", "https://dod-graph.microsoft.us"
	case "china":
		c.Login, c.Graph = "https://login.partner.microsoftonline.cn", "https://microsoftgraph.chinacloudapi.cn"
	}
	c.Audience = c.Graph
}

// Validate implements Validator.
func (c *Cloud) Validate() error {
	switch {
	case c.Name != "": // a word
		return nil
	case c.Login == "" && c.Graph == "" && c.Audience == "":
		file := c.CAFile
		c.setKeyword("global")
		c.CAFile = file
		return nil
	case c.Login == "" || c.Graph == "":
		return errors.New("login and graph go together")
	}
	c.Name = "custom"
	var errs []error
	for _, m := range []struct {
		key  string
		root *string
	}{{"login", &c.Login}, {"graph", &c.Graph}, {"audience", &c.Audience}} {
		*m.root = strings.TrimSuffix(*m.root, "/")
		if *m.root == "" { // only the audience may be
			continue
		}
		u, err := url.Parse(*m.root)
		if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
			errs = append(errs, At(m.key, fmt.Errorf("want the root alone, without tenant or version, such as https://graph.microsoft.com, not %q", *m.root)))
		}
	}
	c.Audience = cmp.Or(c.Audience, c.Graph)
	return errors.Join(errs...)
}
