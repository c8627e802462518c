package migrate

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/graph2mqtt/graph2mqtt/internal/entity"
)

const mappingNode = yaml.MappingNode

// An entry is a config entry of an MS365 integration.
type entry struct {
	id, domain, name string
	data, options    value
}

// entriesFile holds the config entries of Home Assistant.
const entriesFile = ".storage/core.config_entries"

// tenantPattern matches the domain of a tenant.
var tenantPattern = regexp.MustCompile(`^[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+$`)

// domains lists the MS365 integrations, in the order in which they name an account.
var domains = []string{"ms365_calendar", "ms365_todo", "ms365_teams", "ms365_mail", "ms365_contacts"}

// readEntries returns the config entries of the MS365 integrations.
func (p *Plan) readEntries() []entry {
	var data struct {
		Entries []struct {
			ID       string `json:"entry_id"`
			Domain   string
			Title    string
			Disabled *string `json:"disabled_by"`
			Data     map[string]any
			Options  map[string]any
		}
	}
	if !p.dir.storage("core.config_entries", &data) {
		return nil
	}
	var entries []entry
	for _, raw := range data.Entries {
		e := entry{id: raw.ID, domain: raw.Domain, data: fromJSON(entriesFile, raw.Data), options: fromJSON(entriesFile, raw.Options)}
		switch {
		case raw.Domain == "mqtt":
			p.readBroker(e)
			continue
		case !slices.Contains(domains, raw.Domain):
			continue
		}
		e.name = e.data.get("entity_name").text()
		switch {
		case e.name == "":
			p.dir.report(entriesFile, 0, "an entry of %s has no entity_name", e.domain)
		case raw.Disabled != nil:
			p.notes = append(p.notes, fmt.Sprintf("The entry %q of %s is disabled in Home Assistant, so it is left out.", e.name, e.domain))
		default:
			entries = append(entries, e)
		}
	}
	slices.SortStableFunc(entries, func(a, b entry) int {
		return cmp.Compare(slices.Index(domains, a.domain), slices.Index(domains, b.domain))
	})
	return entries
}

// readBroker reads the entry of the MQTT integration.
func (p *Plan) readBroker(e entry) {
	p.broker.host = e.data.get("broker").text()
	p.broker.port = 1883
	if port, ok := p.dir.number(e.data.get("port"), "port of the MQTT integration"); ok {
		p.broker.port = port
	}
	p.broker.discovery = cmp.Or(e.options.get("discovery_prefix").text(), e.data.get("discovery_prefix").text())
	if strings.ContainsAny(p.broker.host, "/ ") {
		p.broker.host = ""
	}
}

// isOwn reports whether there is one such entry for a person: their own calendars, tasks or presence.
func (e entry) isOwn() bool {
	switch e.domain {
	case "ms365_calendar":
		return e.data.get("shared_mailbox").text() == ""
	case "ms365_teams":
		return e.data.get("alternate_email").text() == ""
	case "ms365_todo":
		return true
	}
	return false
}

// registration identifies what an entry signs in with: only entries with the same one can be of one account.
func (e entry) registration() string {
	options := e.data.get("api_options")
	return strings.ToLower(e.data.get("client_id").text() + " " + options.get("tenant_id").text() + " " + options.get("country").text())
}

// addEntries adds the entries. Entries do not name their user: those with the same app registration are taken as one person's, unless an
// integration has several entries that can only be of different people.
func (p *Plan) addEntries(entries []entry) {
	var keys []string
	byKey := map[string][]entry{}
	for _, e := range entries {
		p.sources = append(p.sources, source{e.domain, e.name})
		key := e.registration()
		if byKey[key] == nil {
			keys = append(keys, key)
		}
		byKey[key] = append(byKey[key], e)
	}
	for _, key := range keys {
		group := byKey[key]
		people := peopleOf(group)
		byPerson := map[string][]entry{}
		for _, e := range group {
			person := personOf(e, people)
			byPerson[person] = append(byPerson[person], e)
		}
		for _, person := range people {
			p.addPerson(person, byPerson[person], len(people) == 1, len(group) > len(byPerson[person]))
		}
	}
}

// peopleOf returns the names of the people that entries with the same app registration are of.
func peopleOf(entries []entry) []string {
	own := map[string][]string{} // names by domain
	for _, e := range entries {
		if e.isOwn() {
			own[e.domain] = append(own[e.domain], e.name)
		}
	}
	several := slices.ContainsFunc(domains, func(d string) bool { return len(own[d]) > 1 })
	if !several {
		return []string{entries[0].name}
	}
	var people []string
	for _, d := range domains {
		for _, name := range own[d] {
			if !slices.Contains(people, name) {
				people = append(people, name)
			}
		}
	}
	return people
}

// personOf returns the person that an entry is of.
func personOf(e entry, people []string) string {
	best := people[0]
	for _, person := range people {
		switch {
		case e.name == person:
			return person
		case strings.HasPrefix(strings.ToLower(e.name), strings.ToLower(person)) && (best == people[0] || len(person) > len(best)):
			best = person
		}
	}
	return best
}

// addPerson adds the entries of one person, to the account of O365 with the same app registration if that can only be the same one.
func (p *Plan) addPerson(name string, entries []entry, only, guessed bool) {
	if len(entries) == 0 {
		return
	}
	first := entries[0]
	id := p.dir.clientID(first.data.get("client_id"))
	var same []*account
	for _, a := range p.Accounts {
		if id != "" && a.isO365 && strings.EqualFold(a.clientID, id) && (only || a.ID == entity.Slug(name)) {
			same = append(same, a)
		}
	}
	var a *account
	if len(same) == 1 {
		a = same[0]
	} else {
		a = p.newAccount(name)
		a.registration(p.dir, first.data, fmt.Sprintf("client_secret of the entry %q of %s in %s", first.name, first.domain, entriesFile))
	}
	var names []string
	for _, e := range entries {
		names = append(names, fmt.Sprintf("%s %q", e.domain, e.name))
	}
	a.comments = append(a.comments, "MS365 entries: "+strings.Join(names, ", ")+".")
	if guessed || len(entries) > 1 {
		a.comments = append(a.comments, "An entry does not name its user: check that these are of one person. One sign-in serves them all.")
	}
	a.api(first.data.get("api_options"))
	for _, e := range entries {
		p.addEntry(a, e)
	}
}

// api sets tenant and cloud.
func (a *account) api(options value) {
	switch tenant := options.get("tenant_id").text(); {
	case tenant == "", strings.EqualFold(tenant, "common"):
	case guid.MatchString(tenant), tenantPattern.MatchString(tenant):
		a.tenant = tenant
	default:
		a.comments = append(a.comments, fmt.Sprintf("tenant_id: %q is neither an id nor a domain.", tenant))
	}
	switch country := options.get("country").text(); country {
	case "", "Default":
	case "21Vianet (China)":
		a.cloud = "china"
	case "MS365 GCC":
		a.cloud = "us_gov"
	default:
		a.comments = append(a.comments, fmt.Sprintf("country: %q is unknown.", country))
	}
}

// addEntry adds the sensors of an entry.
func (p *Plan) addEntry(a *account, e entry) {
	d := p.dir
	flag := func(key string) bool { return d.boolean(e.data.get(key), key, false) }
	updates := flag("enable_update")
	shared := p.address(a, e.data.get("shared_mailbox"), "shared_mailbox of "+e.name)
	old := func(what string) string {
		return p.entityID("sensor."+entity.Slug(e.name+"_"+what), func(r registered) bool {
			return r.Platform == e.domain && r.Entry == e.id && strings.Contains(r.UniqueID, e.name+"_"+what)
		})
	}
	switch e.domain {
	case "ms365_calendar":
		advanced := e.options.get("advanced_options")
		seconds := advanced.get("update_interval")
		if seconds.isNull() {
			seconds = e.options.get("update_interval")
		}
		interval, _ := d.number(seconds, "update_interval")
		if advanced.get("days_backward").text()+advanced.get("days_forward").text() != "" {
			a.comments = append(a.comments, "days_backward and days_forward have no equal: events are read as far as start_offset and end_offset say, and further with the operation list.")
		}
		p.addCalendars(a, calendars{
			domain: e.domain, name: e.name, entry: e.id, files: []string{"ms365_storage/ms365_calendars_" + e.name + ".yaml"},
			shared: shared, basic: flag("basic_calendar"), updates: updates, interval: interval,
			track: d.boolean(e.options.get("track_new_calendar"), "track_new_calendar", true),
		})
	case "ms365_mail":
		mail := p.entityID("sensor."+entity.Slug(e.name+"_mail"), func(r registered) bool {
			return r.Platform == e.domain && r.Entry == e.id && !strings.HasSuffix(r.UniqueID, "_autoreply")
		})
		p.addMail(a, e.options, mailbox{domain: e.domain, name: e.name, entry: e.id, old: mail, shared: shared, updates: updates, where: entriesFile})
		if updates {
			a.notify = append(a.notify, "notify."+entity.Slug("ms365_mail_"+e.name))
		}
		if flag("enable_autoreply") {
			if shared != "" {
				a.comments = append(a.comments, fmt.Sprintf("enable_autoreply of %q: automatic replies are those of your own mailbox, never of a shared one.", e.name))
			}
			a.add(&Sensor{Type: typeReplies, Old: []string{old("autoreply")}, updates: updates}, "out_of_office")
		}
	case "ms365_todo":
		most, _ := d.number(e.options.get("max_todos"), "max_todos")
		p.addLists(a, lists{
			domain: e.domain, name: e.name, entry: e.id, files: []string{"ms365_storage/ms365_todos_" + e.name + ".yaml"}, key: "todo_list_id",
			updates: updates, track: d.boolean(e.options.get("track_new"), "track_new", true), most: most,
		})
	case "ms365_teams":
		if enabled := e.data.get("status_enable").text(); enabled != "" && enabled != "Disabled" {
			name := "presence"
			if !e.isOwn() {
				name = e.name
			}
			var more []option
			if seconds, ok := d.number(e.options.get("update_interval"), "update_interval"); ok && seconds != 30 {
				more = append(more, option{key: "interval", value: fmt.Sprintf("%ds", max(seconds, minInterval))})
			}
			p.addStatus(a, e.data.get("alternate_email"), name, old("status"), enabled == "Update", more...)
		}
		if enabled := e.data.get("chat_enable").text(); enabled != "" && enabled != "Disabled" {
			a.add(&Sensor{Type: typeChat, Old: []string{old("chat")}, updates: enabled == "Update"}, "chats")
		}
	case "ms365_contacts":
		a.comments = append(a.comments, fmt.Sprintf("ms365_contacts %q: contacts_search is an operation of any sensor with allow: [default, contacts_search] and on_demand: true.", e.name))
	}
}
