// Package migrate turns the configuration of O365 and of MS365-Calendar, MS365-Mail, MS365-Teams, MS365-ToDo and MS365-Contacts, which
// are integrations for Home Assistant, into that of graph2mqtt, and finds what refers to their entities and actions.
package migrate

import (
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/graph2mqtt/graph2mqtt/internal/entity"
)

// The types of sensors, as in the configuration.
const (
	typeCalendar = "calendar"
	typeGroup    = "group_calendar"
	typeMail     = "email"
	typeQuery    = "query"
	typeReplies  = "auto_reply"
	typeStatus   = "status"
	typeChat     = "chat"
	typeTodo     = "todo"
)

// A Plan is the new configuration.
type Plan struct {
	Accounts []*account

	dir      *Directory
	broker   broker
	notes    []string // what has no equal and belongs to no account
	sources  []source // where the old configuration is
	registry registry
}

// A source is an account of O365 or an entry of MS365.
type source struct {
	domain string // "o365", "ms365_mail"
	name   string // of the account or the entry
}

// A broker is the one that Home Assistant uses.
type broker struct {
	host, discovery string
	port            int
}

// An account is an account of the new configuration.
type account struct {
	ID      string
	Sensors []*Sensor

	clientID, tenant, cloud, redirect string
	secret                            string // where the client secret is now, for a comment
	updates, isO365                   bool
	comments                          []string
	notify                            []string // the actions that send mail
	files                             bool     // mails may have files
}

// A Sensor is a sensor of the new configuration, with the entities that it replaces.
type Sensor struct {
	ID, Type string
	Old      []string // entity ids

	updates  bool
	options  []option
	comments []string
}

// An option is a key of a sensor with its value, or a comment in its place.
type option struct {
	key     string
	value   any // bool, int, string, []string or emptyMapping
	comment string
}

// set adds an option.
func (s *Sensor) set(key string, value any) {
	s.options = append(s.options, option{key: key, value: value})
}

// comment adds a comment below the options so far.
func (s *Sensor) comment(format string, args ...any) {
	s.options = append(s.options, option{comment: fmt.Sprintf(format, args...)})
}

// get returns the value of an option, or nil.
func (s *Sensor) get(key string) any {
	for _, o := range s.options {
		if o.key == key {
			return o.value
		}
	}
	return nil
}

// same reports whether two sensors show the same.
func (s *Sensor) same(other *Sensor) bool {
	describe := func(s *Sensor) string {
		text := s.Type
		for _, o := range s.options {
			if o.key != "name" {
				text += fmt.Sprintf("\n%s=%v %s", o.key, o.value, o.comment)
			}
		}
		return text
	}
	return describe(s) == describe(other)
}

// add adds a sensor, or gives what it replaces to the sensor that shows the same. name is what its id is made of.
func (a *account) add(s *Sensor, name string) {
	for _, other := range a.Sensors {
		if s.same(other) {
			other.updates = other.updates || s.updates
			for _, old := range s.Old {
				if !slices.Contains(other.Old, old) {
					other.Old = append(other.Old, old)
				}
			}
			return
		}
	}
	name = entity.ShortSlug(name)
	if rest, ok := strings.CutPrefix(name, a.ID+"_"); ok && rest != "" { // the account is part of every entity id
		name = rest
	} else if name == a.ID && (s.Type == typeMail || s.Type == typeQuery) {
		name = "mail"
	}
	s.ID = unique(name, s.Type, func(id string) bool {
		return slices.Contains(reserved, id) || slices.ContainsFunc(a.Sensors, func(s *Sensor) bool { return s.ID == id })
	})
	a.Sensors = append(a.Sensors, s)
}

// reserved lists the ids that no sensor has: they are topics of the account.
var reserved = []string{"request", "response", "state", "status", "event"}

// unique returns an id that is made of a name and not used.
func unique(name, fallback string, used func(string) bool) string {
	base := cmp.Or(strings.Trim(entity.ShortSlug(name), "_"), fallback)
	if slices.Contains(reserved, base) {
		base = "my_" + base
	}
	id := base
	for n := 2; used(id); n++ {
		id = base + "_" + strconv.Itoa(n)
	}
	return id
}

// newAccount adds an account.
func (p *Plan) newAccount(name string) *account {
	a := &account{}
	a.ID = unique(name, "work", func(id string) bool {
		return id == "bridge" || slices.ContainsFunc(p.Accounts, func(a *account) bool { return a.ID == id })
	})
	p.Accounts = append(p.Accounts, a)
	return a
}

// Configuration returns the new configuration as YAML.
func (p *Plan) Configuration() string {
	var b strings.Builder
	line := func(indent int, format string, args ...any) {
		b.WriteString(strings.Repeat("  ", indent) + fmt.Sprintf(format, args...) + "\n")
	}
	comment := func(indent int, text string) {
		for _, l := range wrap(text, 110-2*indent) {
			line(indent, "# %s", l)
		}
	}
	comment(0, "Made by graph2mqtt migrate. Comments name what has no equal. Next: set the broker, check the file with graph2mqtt check, and sign in with graph2mqtt login.")
	line(0, "mqtt:")
	switch {
	case p.broker.host == "":
		comment(1, "The broker that Home Assistant uses. Set its address here.")
		line(1, "url: mqtt://homeassistant.local:1883")
	default:
		comment(1, "The broker that Home Assistant uses.")
		if !strings.Contains(p.broker.host, ".") && p.broker.host != "localhost" {
			comment(1, fmt.Sprintf("%s is a name within Home Assistant OS: elsewhere, use the address of that machine.", p.broker.host))
		}
		line(1, "url: %s", scalar("mqtt://"+bracket(p.broker.host)+":"+strconv.Itoa(p.broker.port)))
	}
	comment(1, "Create a user for graph2mqtt at the broker.")
	line(1, "# username: graph2mqtt")
	line(1, "# password_file: /etc/graph2mqtt/mqtt.password")
	if p.broker.discovery != "" && p.broker.discovery != "homeassistant" {
		line(0, "homeassistant:")
		line(1, "discovery_topic: %s", scalar(p.broker.discovery))
	}
	if slices.ContainsFunc(p.Accounts, func(a *account) bool { return a.files }) {
		comment(0, "Name the directories that files are sent from; they are on the machine of graph2mqtt, not of Home Assistant:")
		line(0, "# attachments:")
		line(0, "#   directories: [/srv/attachments]")
	}
	for _, note := range p.notes {
		comment(0, note)
	}
	line(0, "accounts:")
	for _, a := range p.Accounts {
		line(1, "%s:", scalar(a.ID))
		for _, c := range a.comments {
			comment(2, c)
		}
		if a.clientID == "" {
			comment(2, "Enter the application (client) id of your app registration.")
		}
		line(2, "client_id: %s", cmp.Or(a.clientID, Placeholder))
		if a.tenant != "" {
			line(2, "tenant: %s", scalar(a.tenant))
		}
		if a.cloud != "" {
			line(2, "cloud: %s", a.cloud)
		}
		comment(2, "The app registration has a client secret. Put it, "+a.secret+", into a file that only graph2mqtt can read, and uncomment the next line:")
		line(2, "# client_secret_file: /etc/graph2mqtt/%s.secret", a.ID)
		if a.redirect != "" {
			line(2, "redirect_uri: %s", a.redirect)
		}
		if a.updates {
			line(2, "enable_update: true")
		}
		if len(a.Sensors) > 0 {
			line(2, "sensors:")
		}
		for _, s := range a.Sensors {
			if len(s.Old) > 0 {
				comment(3, "Replaces "+strings.Join(s.Old, ", ")+".")
			}
			for _, c := range s.comments {
				comment(3, c)
			}
			line(3, "%s:", scalar(s.ID))
			line(4, "type: %s", s.Type)
			for _, o := range s.options {
				if o.comment != "" {
					comment(4, o.comment)
					continue
				}
				line(4, "%s: %s", o.key, scalar(o.value))
			}
			inherited := a.updates && s.Type != typeStatus // the account's does not apply to the presence
			if s.updates != inherited {
				line(4, "enable_update: %t", s.updates)
			}
		}
	}
	return b.String()
}

// Reject takes a value that the configuration does not accept out of the plan: a comment has the reason in its place. It reports whether
// there is such a value. The path is the configuration's, such as accounts.work.sensors.mail.folder.
func (p *Plan) Reject(path, reason string) bool {
	switch path {
	case "mqtt.url":
		found := p.broker.host != ""
		p.broker.host = ""
		return found
	case "homeassistant.discovery_topic":
		found := p.broker.discovery != ""
		p.broker.discovery = ""
		p.notes = append(p.notes, "discovery_prefix of Home Assistant: "+reason)
		return found
	}
	parts := strings.Split(path, ".")
	if len(parts) < 3 || parts[0] != "accounts" {
		return false
	}
	i := slices.IndexFunc(p.Accounts, func(a *account) bool { return a.ID == parts[1] })
	if i < 0 {
		return false
	}
	a := p.Accounts[i]
	if parts[2] == "tenant" && a.tenant != "" {
		a.tenant = ""
		a.comments = append(a.comments, "tenant: "+reason)
		return true
	}
	if parts[2] != "sensors" || len(parts) < 4 {
		return false
	}
	i = slices.IndexFunc(a.Sensors, func(s *Sensor) bool { return s.ID == parts[3] })
	if i < 0 {
		return false
	}
	s, key := a.Sensors[i], ""
	if len(parts) > 4 {
		key, _, _ = strings.Cut(parts[4], "[")
	}
	option := slices.IndexFunc(s.options, func(o option) bool { return o.key == key && key != "" })
	if option < 0 || key == "group" || key == "user" { // without one of these it would be another's
		a.comments = append(a.comments, fmt.Sprintf("The sensor %s, for %s, is left out: %s: %s", s.ID, strings.Join(s.Old, ", "), key, reason))
		a.Sensors = slices.Delete(a.Sensors, i, i+1)
		return true
	}
	s.options[option].comment = key + ": " + reason
	s.options[option].key, s.options[option].value = "", nil
	return true
}

// Placeholder stands for a client_id that is not known.
const Placeholder = "00000000-0000-0000-0000-000000000000"

// guid matches the id of an app registration, a tenant, a group or a user.
var guid = regexp.MustCompile(`^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$`)

// bracket returns a host as it stands in a URL.
func bracket(host string) string {
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}

// simple matches texts that need no quotes in YAML, also within a list.
var simple = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9_.@/=-]*( [A-Za-z0-9_.@/=-]+)*|-?[0-9]+[hs])$`)

// scalar returns a value as YAML on one line.
func scalar(v any) string {
	switch v := v.(type) {
	case []string:
		parts := make([]string, len(v))
		for i, s := range v {
			parts[i] = scalar(s)
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case string:
		var decoded any
		if simple.MatchString(v) && yaml.Unmarshal([]byte(v), &decoded) == nil && decoded == any(v) && !slices.Contains([]string{"yes", "no", "on", "off", "y", "n"}, strings.ToLower(v)) {
			return v
		}
		b, err := json.Marshal(v) // JSON is YAML
		if err != nil {
			return `""` // not reached: a text can be encoded
		}
		return string(b)
	}
	return fmt.Sprint(v)
}

// wrap breaks a text into lines.
func wrap(text string, width int) []string {
	var lines []string
	for _, word := range strings.Fields(text) {
		if n := len(lines); n > 0 && len(lines[n-1])+1+len(word) <= width {
			lines[n-1] += " " + word
			continue
		}
		lines = append(lines, word)
	}
	return lines
}

// hours returns a number of hours as a duration of the configuration.
func hours(n int) string { return strconv.Itoa(n) + "h" }
