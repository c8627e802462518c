// Package config loads, checks, watches and describes the configuration. It knows no sensor, service or broker: each kind of
// sensor declares its options as a struct, in the tags that package schema defines.
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
	_ "time/tzdata" // the accepted time zones must not depend on the machine
	"unicode"

	"github.com/graph2mqtt/graph2mqtt/internal/graph/entra"
	"github.com/graph2mqtt/graph2mqtt/internal/schema"
)

// A Kind declares one type of sensor to the configuration.
type Kind struct {
	Name, Doc  string        // the `type`; one paragraph
	Aliases    []string      // other words for the type, which an error answers with Name
	Interval   time.Duration // default
	OwnUpdates bool          // its enable_update is its own, not the account's
	WorkOnly   bool          // not for personal accounts
	WriteOnly  bool          // it reads only if `read: true` is set
	// Application reports that organizations can have it. OfMailbox reports that they name a mailbox for it, with the key user.
	Application, OfMailbox bool
	// UserOnly is the reason why organizations cannot have it.
	UserOnly string
	// AdvisedInterval is the interval below which there is a warning; 0: none.
	AdvisedInterval time.Duration
	New             func() any // returns a pointer to the struct of its options, with its defaults set
	// Check, if set, validates what only the kind knows: its operations and entities, and combinations of keys. Its error is
	// like that of a Validator.
	Check func(*Sensor) error
}

// Config is a loaded and validated configuration with every default set.
type Config struct {
	File     string   // the file that was loaded; "" if there was none
	Files    []string // every file that was read or is named as a certificate or key; a change of one changes the configuration
	Warnings []string // what is allowed but probably not intended
	Ignored  []string // environment variables with the prefix GRAPH2MQTT_ that name no key
	// Digests has hashes of the files that are read only once, by "mqtt", "http", "notifications" and "accounts." with an id. Diff compares them.
	Digests map[string]string
	// AccountFiles has the files in AccountsDir whose accounts are in use, by account, and RefusedFiles those that cannot be used.
	AccountFiles map[string]string
	RefusedFiles []RefusedFile
	WatchedDir   string // where files of accounts are looked for: AccountsDir, or the default, which need not exist; "": nowhere

	MQTT          MQTT                     `koanf:"mqtt" doc:"The connection to the broker."`
	HomeAssistant HomeAssistant            `koanf:"homeassistant" doc:"Discovery for Home Assistant."`
	StateDir      string                   `koanf:"state_dir" restart:"true" doc:"The directory for encrypted tokens, requests and the latest responses of Graph. Default: $STATE_DIRECTORY, else /var/lib/graph2mqtt if it exists and the configuration is in /etc/graph2mqtt, else graph2mqtt in $XDG_STATE_HOME (~/.local/state)."`
	KeyFile       string                   `koanf:"key_file" restart:"true" doc:"A file with the encryption key of the state directory: 32 bytes in base64. Default: $GRAPH2MQTT_KEY, else the systemd credential graph2mqtt-key, else the file key in the state directory, which is created on the first start."`
	Cluster       Cluster                  `koanf:"cluster" doc:"Sharing the state between several machines, in NATS JetStream."`
	Log           Log                      `koanf:"log" doc:"The log, on standard error."`
	Commands      Commands                 `koanf:"commands" doc:"Requests over MQTT."`
	Attachments   Attachments              `koanf:"attachments" doc:"Files that are sent with mail."`
	HTTP          HTTP                     `koanf:"http" doc:"The HTTP listener: status page, calendars and metrics."`
	Notifications Notifications            `koanf:"notifications" doc:"Notifications of Microsoft about changes, which are shown within seconds and save polls."`
	Audit         Audit                    `koanf:"audit" doc:"A file, or a stream, that records which changes were made in Microsoft 365."`
	Organizations map[string]*Organization `koanf:"organizations,deferred" doc:"Organizations by id, whose rooms and mailboxes an application reads instead of a user. The ids are as those of accounts, and unique among both."`
	AccountsDir   string                   `koanf:"accounts_dir" doc:"A directory with further accounts: one file for each, named after the account's id, with the keys of the account. Default: accounts.d beside the configuration file, if it exists."`
	Accounts      map[string]*Account      `koanf:"accounts,deferred" doc:"The Microsoft 365 accounts by id. At least one is required, here or in accounts_dir, unless there are organizations. An id consists of up to 64 letters a to z, digits and underscores, and is part of every topic and unique id."`
}

// MQTT is the connection to the broker.
type MQTT struct {
	URL       string        `koanf:"url" required:"true" unless:"urls" restart:"true" example:"mqtt://192.168.1.10:1883" doc:"The address of the broker: mqtt://, mqtts://, ws:// or wss://, then its host name or IP address, and the port unless it is the default."`
	URLs      []string      `koanf:"urls" restart:"true" example:"mqtts://broker1.example, mqtts://broker2.example" doc:"The addresses of several brokers that share their messages, such as the nodes of a cluster, instead of url. If the connection is lost, the next one is tried. User name, password and certificates apply to all."`
	Username  string        `koanf:"username" doc:"The user name at the broker."`
	Password  Secret        `koanf:"password" doc:"The password at the broker."`
	ClientID  string        `koanf:"client_id" restart:"true" doc:"The MQTT client id. Default: graph2mqtt- and the id of the state directory, so that it never changes."`
	BaseTopic string        `koanf:"base_topic" restart:"true" doc:"The first level or levels of every topic, and the start of every unique id."`
	Keepalive time.Duration `koanf:"keepalive" min:"5s" max:"18h" doc:"The longest time without a packet on the MQTT connection."`
	CAFile    string        `koanf:"ca_file" file:"true" doc:"The CA certificates (PEM) to verify the broker's certificate. Default: those of the system."`
	CertFile  string        `koanf:"cert_file" file:"true" doc:"The client certificate (PEM)."`
	KeyFile   string        `koanf:"key_file" file:"true" doc:"The key (PEM) of the client certificate."`
}

// HomeAssistant is the discovery for Home Assistant.
type HomeAssistant struct {
	Enabled        bool   `koanf:"enabled" doc:"Publish discovery messages."`
	DiscoveryTopic string `koanf:"discovery_topic" doc:"Home Assistant's discovery prefix."`
	StatusTopic    string `koanf:"status_topic" doc:"Home Assistant's birth message topic."`
	QoS            int    `koanf:"qos" min:"0" max:"1" doc:"The quality of service with which Home Assistant subscribes to states and publishes commands, as announced to it. 0: for brokers that limit the number of subscriptions with quality of service 1, such as NATS. graph2mqtt itself always uses 1."`
	Discovery      string `koanf:"discovery" enum:"device,component" doc:"Publish one discovery message per device, or one per entity (component), which openHAB and Domoticz need."`
}

// Log is the format and amount of the log.
type Log struct {
	Level  string `koanf:"level" enum:"debug,info,warn,error" doc:"The lowest level that is logged."`
	Format string `koanf:"format" enum:"text,json" doc:"Plain text or JSON."`
}

// Commands limits requests over MQTT.
type Commands struct {
	MaxAge time.Duration `koanf:"max_age" min:"1s" max:"168h" doc:"Requests older than this, queued while the bridge was offline, are rejected as expired."`
	Queue  int           `koanf:"queue" min:"1" max:"10000" doc:"The number of requests per account that may wait. Further ones are rejected as overloaded."`
}

// Attachments are the files that may be sent.
type Attachments struct {
	Directories []string `koanf:"directories" restart:"true" doc:"The directories from which files may be sent, as absolute paths. Default: none."`
}

// Audit names the file, or the stream of a cluster, that records changes.
type Audit struct {
	File     string        `koanf:"file" doc:"The file that records changes, one line of JSON for each request. Default: none."`
	MaxSize  int           `koanf:"max_size" min:"1" max:"10000" doc:"The size in MiB at which the file is renamed and a new one begun."`
	MaxFiles int           `koanf:"max_files" min:"1" max:"10000" doc:"The number of renamed files that are kept."`
	Stream   string        `koanf:"stream" example:"graph2mqtt-audit" doc:"Instead of a file: the name of a stream of NATS JetStream that records the changes of all machines. Requires cluster.nats."`
	MaxAge   time.Duration `koanf:"max_age" min:"0s" doc:"How long a record stays in the stream. Default: for ever."`
}

// Validate implements schema.Validator.
func (a *Audit) Validate() error {
	switch {
	case a.Stream == "" && a.MaxAge != 0:
		return At("max_age", errors.New("only with stream; max_size and max_files limit a file"))
	case a.Stream == "":
		return nil
	case a.File != "":
		return At("stream", errors.New("given together with file: only one of them can be right"))
	case !streamName.MatchString(a.Stream):
		return At("stream", fmt.Errorf("want a name of up to 64 letters, digits, - and _, not %q", a.Stream))
	case strings.HasPrefix(a.Stream, "KV_"), strings.HasPrefix(a.Stream, "OBJ_"):
		return At("stream", fmt.Errorf("want the name of a stream for this only, such as graph2mqtt-audit, not %q: streams that begin with KV_ or OBJ_ are buckets", a.Stream))
	}
	return nil
}

// Account is one Microsoft 365 account.
type Account struct {
	ID              string
	Name            string             `koanf:"name" doc:"The name of the account's device. Default: derived from the id."`
	ClientID        string             `koanf:"client_id" required:"true" example:"00000000-0000-0000-0000-000000000000" doc:"The application (client) id of the app registration in Entra ID."`
	Tenant          string             `koanf:"tenant" doc:"Who may sign in: common, organizations, consumers, or the id or domain of a tenant."`
	User            string             `koanf:"user" example:"adele@contoso.com" doc:"The user who must sign in: the user principal name, the mail address if tenant is that of one organization, or the object id. Other users are refused. Default: the user who signs in first."`
	SignInOverMQTT  bool               `koanf:"sign_in_over_mqtt" doc:"Allow the first sign-in over MQTT even if user is not set. Anyone who can publish to the account's topics can then sign in as any user."`
	ClientSecret    Secret             `koanf:"client_secret" doc:"The client secret, only for app registrations with the platform Web."`
	CertificateFile string             `koanf:"certificate_file" file:"true" doc:"A file with the certificate and its RSA key without a passphrase (PEM), instead of a client secret."`
	RedirectURI     string             `koanf:"redirect_uri" doc:"The redirect URI of the app registration."`
	Cloud           Cloud              `koanf:"cloud" enum:"global,us_gov,us_gov_dod,china" doc:"The Microsoft cloud, by name or by its addresses."`
	Timezone        string             `koanf:"timezone" doc:"The time zone of times without one, and of the current day: a name such as Europe/Berlin; mailbox, for the mailbox's setting, which requires the permission MailboxSettings.Read; local, for the machine's; or auto, for mailbox if that permission is requested anyway, else local."`
	EnableUpdate    bool               `koanf:"enable_update" doc:"Allow changes: all operations of the sensors, except the optional ones. Write permissions are requested only then. Does not apply to sensors of type status: set enable_update of the sensor."`
	StaleAfter      time.Duration      `koanf:"stale_after" min:"1s" max:"720h" doc:"How long entities keep their last values while Graph cannot be read, before they become unavailable. At least three intervals of the sensor."`
	Sensors         map[string]*Sensor `koanf:"sensors,deferred" doc:"The sensors by id. An id consists of up to 64 letters a to z, digits and underscores, and is part of every topic and unique id."`

	// Application reports that it is an organization, which Config.Organizations has, too: there is no user.
	Application        bool
	FederatedTokenFile string // of an organization
	TokenLine          int    // the line of federated_token_file; 0: unknown

	// Problems lists the files that keep only this account from working: an unusable certificate, key or CA file. The rest of
	// the configuration is valid, so Load does not fail because of them.
	Problems Problems
}

// Sensor is one sensor of an account.
type Sensor struct {
	ID           string
	Type         string                    `koanf:"type" required:"true" doc:"The type of the sensor."`
	Name         string                    `koanf:"name" doc:"The name of the sensor's device, after that of the account. Default: derived from the id."`
	Interval     time.Duration             `koanf:"interval" min:"5s" max:"24h" doc:"The time between two polls of Graph. Default: that of the type."`
	EnableUpdate bool                      `koanf:"enable_update" doc:"Allow changes. Default: the account's enable_update, if it applies to the type."`
	Allow        []string                  `koanf:"allow" nonempty:"all operations except the optional ones" doc:"The operations that may be requested. Default: all operations of the type, except the optional ones. The word default in the list stands for these."`
	Read         bool                      `koanf:"read" doc:"Poll Graph. With false, the sensor only offers operations, and no permission to read is requested."`
	OnDemand     bool                      `koanf:"on_demand" doc:"Allow requests that only read, such as list, get and free_busy."`
	PublishItems bool                      `koanf:"publish_items" doc:"Publish the complete list of items, for clients other than Home Assistant."`
	Entities     map[string]EntityOverride `koanf:"entities" doc:"Overrides for individual entities, by the key of the entity."`

	Application bool   // it belongs to an organization
	User        string // of an organization: the address or the id of the mailbox; "": none

	OwnUpdate bool // enable_update is set for the sensor itself
	Personal  bool // the account is a personal one, according to its tenant
	Options   any  // decoded; of the type that the kind's New returns
}

// EntityOverride overrides the discovery of one entity.
type EntityOverride struct {
	Enabled  bool   `koanf:"enabled" doc:"Announce the entity to Home Assistant."`
	Name     string `koanf:"name" doc:"The name."`
	Icon     string `koanf:"icon" doc:"The icon, such as mdi:calendar."`
	EntityID string `koanf:"entity_id" doc:"The initial entity id, such as sensor.next_meeting. It is used only when the entity is first created."`
}

func (c *Config) setDefaults() {
	c.MQTT = MQTT{BaseTopic: "graph2mqtt", Keepalive: time.Minute}
	c.HomeAssistant = HomeAssistant{Enabled: true, DiscoveryTopic: "homeassistant", StatusTopic: "homeassistant/status", QoS: 1, Discovery: "device"}
	c.Cluster = Cluster{Bucket: "graph2mqtt", Shards: 1, Lease: 10 * time.Second}
	c.Log = Log{Level: "info", Format: "text"}
	c.Commands = Commands{MaxAge: 15 * time.Minute, Queue: 100}
	c.Notifications = Notifications{EventHubs: EventHubs{ConsumerGroup: defaultConsumerGroup}, Safety: defaultSafety}
	c.Audit = Audit{MaxSize: 10, MaxFiles: 10}
}

func (a *Account) setDefaults() {
	a.Tenant, a.RedirectURI, a.Timezone, a.StaleAfter = "common", "http://localhost", "auto", time.Hour
	a.Cloud.SetKeyword("global")
}

// SetDefaults implements schema.Defaulter.
func (e *EntityOverride) SetDefaults() { e.Enabled = true }

// Sorted iterates over accounts or sensors in the order of their ids.
func Sorted[V any](m map[string]V) iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		for _, id := range slices.Sorted(maps.Keys(m)) {
			if !yield(id, m[id]) {
				return
			}
		}
	}
}

// Validate implements schema.Validator.
func (c *Config) Validate() error {
	var errs []error
	if c.MQTT.BaseTopic == c.HomeAssistant.DiscoveryTopic {
		errs = append(errs, At("mqtt.base_topic", fmt.Errorf("want a topic other than homeassistant.discovery_topic, not %q", c.MQTT.BaseTopic)))
	}
	if c.Audit.Stream != "" && !c.Cluster.IsConfigured() {
		errs = append(errs, At("audit.stream", errors.New("requires cluster.nats; on one machine use audit.file")))
	}
	return errors.Join(errs...)
}

// Validate implements schema.Validator.
func (m *MQTT) Validate() error {
	errs := append(m.checkBrokers(), At("base_topic", CheckTopic(m.BaseTopic)))
	if m.Password != "" && m.Username == "" {
		errs = append(errs, At("password", errors.New("want username as well: MQTT accepts a password only together with a user name")))
	}
	errs = append(errs, At("client_id", checkPrintable(m.ClientID)))
	if (m.CertFile == "") != (m.KeyFile == "") {
		errs = append(errs, At("cert_file", errors.New("want both cert_file and key_file")))
	}
	return errors.Join(errs...)
}

// checkPrintable validates a text that others show.
func checkPrintable(s string) error {
	if strings.ContainsFunc(s, unicode.IsControl) {
		return errors.New("want text without control characters")
	}
	return nil
}

// Brokers returns the addresses of the brokers in the order in which they are tried.
func (m *MQTT) Brokers() []string {
	if len(m.URLs) > 0 {
		return m.URLs
	}
	return []string{m.URL}
}

// checkBrokers validates the addresses of the brokers.
func (m *MQTT) checkBrokers() []error {
	switch {
	case m.URL != "":
		return []error{At("url", m.checkBroker(m.URL))}
	case m.URLs == nil: // that one is required is reported already
		return nil
	case len(m.URLs) == 0:
		return []error{At("urls", errors.New("want at least one address, such as mqtt://192.168.1.10:1883"))}
	}
	var errs []error
	for i, address := range m.URLs {
		at := fmt.Sprintf("urls[%d]", i)
		if first := slices.Index(m.URLs, address); first < i {
			errs = append(errs, At(at, fmt.Errorf("want each broker once: urls[%d] is the same", first)))
			continue
		}
		errs = append(errs, At(at, m.checkBroker(address)))
	}
	return errs
}

// checkBroker validates the address of one broker.
func (m *MQTT) checkBroker(address string) error {
	secure, err := checkBroker(address)
	if err == nil && !secure && cmp.Or(m.CAFile, m.CertFile) != "" {
		return errors.New("want mqtts:// or wss://: certificates are given, but this connection is not encrypted")
	}
	return err
}

// checkBroker validates the address of the broker. It never repeats an address that may have a password in it.
func checkBroker(address string) (secure bool, err error) {
	wrong := func(shown string) error {
		return wrongServer("want "+anyBroker+" (or mqtts, ws, wss)", address, shown, broker(address, ""), anyBroker)
	}
	if lacksBrackets(address) {
		return false, wrong(": an IPv6 address needs brackets")
	}
	u, err := url.Parse(address)
	if err != nil || strings.Contains(address, "@") && !strings.Contains(address, "://") {
		return false, wrong("")
	}
	if u.User != nil {
		return false, errors.New("want an address without user and password; use mqtt.username and mqtt.password")
	}
	switch u.Scheme {
	case "mqtt", "mqtts":
		if strings.Trim(u.Path, "/") != "" {
			return false, fmt.Errorf("want no path after the port, not %q", u.Path)
		}
	case "ws", "wss":
	default:
		return false, wrong(fmt.Sprintf(", not %q", address))
	}
	if u.Hostname() == "" || u.RawQuery != "" || u.Fragment != "" {
		return false, wrong(fmt.Sprintf(", not %q", address))
	}
	return u.Scheme == "mqtts" || u.Scheme == "wss", checkPort(u)
}

// checkPort validates the port of an address, which may have none.
func checkPort(u *url.URL) error {
	port := u.Port()
	if port == "" {
		return nil
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("want a port from 1 to 65535, not %s", port)
	}
	return nil
}

// CheckTopic reports whether topic can be the beginning of topics.
func CheckTopic(topic string) error {
	switch {
	case topic == "":
		return errors.New("is empty")
	case strings.ContainsAny(topic, "+#"):
		return fmt.Errorf("want a topic without the wildcards + and #, not %q", topic)
	case strings.HasPrefix(topic, "$"):
		return fmt.Errorf("want a topic that does not begin with $, which is reserved for the broker, not %q", topic)
	case strings.HasPrefix(topic, "/"), strings.HasSuffix(topic, "/"), strings.Contains(topic, "//"):
		return fmt.Errorf("want a topic without empty levels, not %q", topic)
	case strings.ContainsFunc(topic, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }):
		return fmt.Errorf("want a topic without spaces and control characters, which some brokers refuse, not %q", topic)
	case len(topic) > 256:
		return fmt.Errorf("want at most 256 bytes, not %d", len(topic))
	}
	return nil
}

// Validate implements schema.Validator.
func (h *HomeAssistant) Validate() error {
	return errors.Join(At("discovery_topic", CheckTopic(h.DiscoveryTopic)), At("status_topic", CheckTopic(h.StatusTopic)))
}

var (
	guid    = regexp.MustCompile(`^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$`)
	address = regexp.MustCompile(`^[^@\s]+@[^@\s]+$`)
	tenant  = regexp.MustCompile(`^[0-9A-Za-z]([0-9A-Za-z.-]*[0-9A-Za-z])?$`)
	icon    = regexp.MustCompile(`^[a-z0-9-]+:[a-z0-9-]+$`)
	object  = regexp.MustCompile(`^[a-z_]+\.[a-z0-9_]+$`)
	ident   = regexp.MustCompile(`^[a-z0-9_]{1,64}$`)
)

// maxIdent is the length of the longest id of an account or a sensor. Home Assistant's entity ids contain both, and the names of a
// member and an entity.
const maxIdent = 64

// checkIdent validates the id of an account or a sensor.
func checkIdent(id string) error {
	switch {
	case ident.MatchString(id):
		return nil
	case len(id) > maxIdent:
		return fmt.Errorf("want an id of at most %d characters, not %d", maxIdent, len(id))
	}
	return errors.New("want an id of the letters a to z, digits and underscores")
}

// maxEntityID is the length of the longest entity id that Home Assistant accepts.
const maxEntityID = 255

// placeholder is the client_id of the examples.
const placeholder = "00000000-0000-0000-0000-000000000000"

// Validate implements schema.Validator.
func (a *Account) Validate() error {
	errs := []error{At("name", checkPrintable(a.Name)), At("client_id", checkClientID(a.ClientID))}
	if !tenant.MatchString(a.Tenant) {
		errs = append(errs, At("tenant", fmt.Errorf("want common, organizations, consumers, or the id or domain of a tenant, not %q", a.Tenant)))
	}
	if a.User != "" && !guid.MatchString(a.User) && !address.MatchString(a.User) {
		errs = append(errs, At("user", fmt.Errorf("want the address that the user signs in with, such as adele@contoso.com, or the object id, not %q", a.User)))
	}
	if entra.IsPersonalTenant(a.Tenant) && !entra.AllowsPersonal(a.Tenant, a.Cloud.Login) {
		errs = append(errs, At("tenant", fmt.Errorf("the cloud %s has no personal accounts: want organizations, or the id or domain of a tenant, not %q", a.Cloud.Name, a.Tenant)))
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

// checkTimezone accepts the keywords in any case.
func (a *Account) checkTimezone() error {
	if word, err := schema.MatchEnum(a.Timezone, []string{"auto", "mailbox", "local"}); err == nil {
		a.Timezone = word
		return nil
	}
	if _, err := time.LoadLocation(a.Timezone); err != nil || a.Timezone == "" {
		return fmt.Errorf("want auto, mailbox, local or a name such as Europe/Berlin, not %q", a.Timezone)
	}
	return nil
}

// Validate implements schema.Validator.
func (a *Attachments) Validate() error {
	var errs []error
	for i, dir := range a.Directories {
		if !filepath.IsAbs(dir) {
			errs = append(errs, At(fmt.Sprintf("directories[%d]", i), fmt.Errorf("want an absolute path, not %q", dir)))
		}
	}
	return errors.Join(errs...)
}

// Validate implements schema.Validator.
func (s *Sensor) Validate() error {
	errs := []error{At("name", checkPrintable(s.Name))}
	switch {
	case !s.Read && !s.EnableUpdate:
		errs = append(errs, At("read", errors.New("want true, or enable_update: true: the sensor would neither read nor change anything")))
	case !s.Read && s.OnDemand:
		errs = append(errs, At("on_demand", errors.New("want false with read: false: no permission to read is requested then")))
	}
	return errors.Join(errs...)
}

// Validate implements schema.Validator.
func (e *EntityOverride) Validate() error {
	errs := []error{At("name", checkPrintable(e.Name))}
	if e.Icon != "" && !icon.MatchString(e.Icon) {
		errs = append(errs, At("icon", fmt.Errorf("want an icon such as mdi:calendar, not %q", e.Icon)))
	}
	switch {
	case e.EntityID == "":
	case !object.MatchString(e.EntityID):
		errs = append(errs, At("entity_id", fmt.Errorf("want an entity id such as sensor.next_meeting, not %q", e.EntityID)))
	case len(e.EntityID) > maxEntityID:
		errs = append(errs, At("entity_id", fmt.Errorf("want at most %d characters, not %d", maxEntityID, len(e.EntityID))))
	}
	return errors.Join(errs...)
}

// Cloud holds the addresses where an account signs in and is read: the roots, without tenant, version and trailing slash.
type Cloud struct {
	Name     string // global, us_gov, us_gov_dod, china; or custom
	Login    string `koanf:"login" example:"https://login.microsoftonline.com" doc:"The root of the sign-in URL, without a tenant."`
	Graph    string `koanf:"graph" example:"https://graph.microsoft.com" doc:"The root of Graph's URL, without a version."`
	Audience string `koanf:"audience" example:"https://graph.microsoft.com" doc:"The resource to which scopes belong. Default: the value of graph."`
	CAFile   string `koanf:"ca_file" file:"true" doc:"The CA certificates (PEM) to verify the certificates of both servers. Default: those of the system."`
}

// SetKeyword sets the roots from https://learn.microsoft.com/graph/deployments.
func (c *Cloud) SetKeyword(name string) {
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

// Keyword implements schema.Keyword.
func (c *Cloud) Keyword() string {
	if c.Name == "custom" || c.CAFile != "" {
		return ""
	}
	return c.Name
}

// Validate implements schema.Validator.
func (c *Cloud) Validate() error {
	switch {
	case c.Name != "": // given as a keyword
		return nil
	case c.Login == "" && c.Graph == "" && c.Audience == "":
		file := c.CAFile
		c.SetKeyword("global")
		c.CAFile = file
		return nil
	case c.Login == "" || c.Graph == "":
		return errors.New("want both login and graph")
	}
	c.Name = "custom"
	var errs []error
	for _, m := range []struct {
		key           string
		root          *string
		part, example string
	}{
		{"login", &c.Login, "a tenant", "https://login.microsoftonline.com"},
		{"graph", &c.Graph, "a version", "https://graph.microsoft.com"},
		{"audience", &c.Audience, "a version", "https://graph.microsoft.com"},
	} {
		if *m.root == "" { // only the audience may be
			continue
		}
		errs = append(errs, At(m.key, checkRoot(*m.root, m.part, m.example)))
		*m.root = strings.TrimSuffix(*m.root, "/")
	}
	c.Audience = cmp.Or(c.Audience, c.Graph)
	return errors.Join(errs...)
}

// checkRoot validates the address of a server of Microsoft, without a path. The error names part, which users often add as a path, and
// example. It does not show an address that may contain a password.
func checkRoot(root, part, example string) error {
	u, err := url.Parse(root)
	switch {
	case err != nil, strings.Contains(root, "@") && u.User == nil:
		return fmt.Errorf("want an https address, such as %s", example)
	case u.User != nil:
		return fmt.Errorf("want an address without user and password, such as %s", example)
	case u.Scheme == "http":
		return fmt.Errorf("want https instead of http, such as %s, not %q", example, root)
	case u.Scheme != "https", u.Hostname() == "":
		return fmt.Errorf("want an https address, such as %s, not %q", example, root)
	case u.RawQuery != "", u.ForceQuery, u.Fragment != "":
		return fmt.Errorf("want the root alone, without a query or fragment, such as %s, not %q", example, root)
	case u.Path != "" && u.Path != "/":
		return fmt.Errorf("want the root alone, without %s or another path, such as %s, not %q", part, example, root)
	}
	return checkPort(u)
}
