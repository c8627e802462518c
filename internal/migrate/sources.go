package migrate

import (
	"cmp"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/graph2mqtt/graph2mqtt/internal/entity"
)

// Read reads the configuration directory of a Home Assistant and plans the new configuration. The error lists every problem.
func Read(dir string) (*Plan, error) {
	path, err := filepath.EvalSymlinks(dir) // the directory itself may be a link, below which nothing would be searched
	if err != nil {
		return nil, err
	}
	d := &Directory{path: path}
	p := &Plan{dir: d}
	p.readRegistry()
	entries := p.readEntries()
	if d.exists(configurationFile) {
		p.readConfiguration()
	} else if len(entries) == 0 && len(d.problems) == 0 {
		return nil, fmt.Errorf("%s has no %s: want the configuration directory of Home Assistant", dir, configurationFile)
	}
	p.addEntries(entries)
	if len(d.problems) > 0 {
		return nil, d.problems
	}
	if len(p.sources) == 0 {
		return nil, fmt.Errorf("%s has neither O365 nor MS365: want the key o365 in %s, or entries of ms365_calendar, ms365_mail, ms365_teams or ms365_todo in .storage/core.config_entries",
			dir, configurationFile)
	}
	for _, a := range p.Accounts {
		a.finish()
	}
	return p, nil
}

// configurationFile is the main file of Home Assistant's configuration.
const configurationFile = "configuration.yaml"

// A registry lists the entities of the old integrations, as Home Assistant knows them.
type registry []registered

// A registered is an entry of the entity registry.
type registered struct {
	ID           string `json:"id"` // by which device automations refer to it
	EntityID     string `json:"entity_id"`
	UniqueID     string `json:"unique_id"`
	Platform     string `json:"platform"`
	Entry        string `json:"config_entry_id"`
	OriginalName string `json:"original_name"`
}

func (p *Plan) readRegistry() {
	var data struct{ Entities registry }
	if p.dir.storage("core.entity_registry", &data) {
		p.registry = slices.DeleteFunc(data.Entities, func(r registered) bool { return r.Platform != "o365" && !strings.HasPrefix(r.Platform, "ms365_") })
	}
}

// entityID returns the entity id of the registered entity that matches, which the user may have changed, or the one that the integration
// gives to a new entity.
func (p *Plan) entityID(first string, match func(registered) bool) string {
	domain, _, _ := strings.Cut(first, ".")
	i := slices.IndexFunc(p.registry, func(r registered) bool { return strings.HasPrefix(r.EntityID, domain+".") && match(r) })
	if i >= 0 {
		return p.registry[i].EntityID
	}
	return first
}

// readConfiguration finds the key o365 in configuration.yaml and in packages.
func (p *Plan) readConfiguration() {
	d := p.dir
	root, err := d.parse(configurationFile)
	if err != nil {
		d.reportFile(configurationFile, err)
		return
	}
	if root == nil {
		return
	}
	if len(root.Content)%2 != 0 || root.Kind != mappingNode {
		d.report(configurationFile, root.Line, "want a mapping")
		return
	}
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, content := root.Content[i], root.Content[i+1]
		switch key.Value {
		case "o365":
			p.addO365(d.resolve(configurationFile, content, 0))
		case "homeassistant":
			// Everything else of it may have tags that only Home Assistant knows.
			for j := 0; content.Kind == mappingNode && j+1 < len(content.Content); j += 2 {
				if content.Content[j].Value != "packages" {
					continue
				}
				packages := d.resolve(configurationFile, content.Content[j+1], 0)
				for _, name := range packages.keys {
					if o365, ok := packages.get(name).fields["o365"]; ok {
						p.addO365(o365)
					}
				}
			}
		}
	}
}

// addO365 adds the accounts of O365.
func (p *Plan) addO365(v value) {
	d := p.dir
	switch {
	case v.isNull():
		return
	case v.fields == nil:
		d.report(v.file, v.line, "o365: want a mapping, not %s", v.describe())
		return
	}
	accounts, ok := v.fields["accounts"]
	if !ok && v.fields["client_id"].line > 0 { // the format before version 3
		p.addO365Account(v, "converted")
		return
	}
	if !ok {
		d.report(v.file, v.line, "o365: accounts is missing")
		return
	}
	for _, a := range d.mappings(accounts, "o365.accounts") {
		name := a.get("account_name").text()
		if name == "" {
			d.report(a.file, a.line, "o365.accounts: account_name is missing")
			continue
		}
		p.addO365Account(a, name)
	}
}

// addO365Account adds an account of O365.
func (p *Plan) addO365Account(v value, name string) {
	d := p.dir
	p.sources = append(p.sources, source{"o365", name})
	flag := func(key string, fallback bool) bool { return d.boolean(v.get(key), key, fallback) }
	suffix, id := "_"+name, name
	if name == "converted" {
		suffix, id = "", "work"
	}
	a := p.newAccount(id)
	a.isO365 = true
	sensor := func(name string) string { return p.o365Sensor(name, strings.TrimPrefix(suffix, "_")) }
	a.comments = append(a.comments, fmt.Sprintf("O365 account %q (%s, line %d).", name, v.file, v.line))
	a.registration(d, v, "client_secret in "+v.file)
	shared := p.address(a, v.get("shared_mailbox"), "shared_mailbox")
	updates := flag("enable_update", false)
	if flag("enable_calendar", true) {
		p.addCalendars(a, calendars{
			domain: "o365", name: strings.TrimPrefix(suffix, "_"), files: storageFiles("o365_calendars"+suffix, "o365_calendars"),
			shared: shared, basic: flag("basic_calendar", false), updates: updates, track: flag("track_new_calendar", true),
		})
	}
	mail := func(list, key string) {
		for _, m := range d.mappings(v.get(list), list) {
			p.addMail(a, m, mailbox{domain: "o365", name: m.get("name").text(), old: sensor(m.get("name").text()), shared: shared, updates: updates, defaults: true, where: key})
		}
	}
	mail("email_sensor", "email_sensor")
	mail("email_sensors", "email_sensors") // as the documentation of O365 has it
	mail("query_sensors", "query_sensors")
	if updates {
		a.notify = append(a.notify, "notify."+entity.Slug("o365_email"+suffix))
	}
	named := func(list string, add func(m value, name, old string)) {
		for _, m := range d.mappings(v.get(list), list) {
			name := m.get("name").text()
			if name == "" {
				d.report(m.file, m.line, "%s: name is missing", list)
				continue
			}
			add(m, name, sensor(name))
		}
	}
	named("auto_reply_sensors", func(_ value, name, old string) {
		a.add(&Sensor{Type: typeReplies, Old: []string{old}, updates: updates}, name)
	})
	named("status_sensors", func(m value, name, old string) {
		p.addStatus(a, m.get("email"), name, old, d.boolean(m.get("enable_update"), "enable_update", false))
	})
	named("chat_sensors", func(m value, name, old string) {
		a.add(&Sensor{Type: typeChat, Old: []string{old}, updates: d.boolean(m.get("enable_update"), "enable_update", false)}, name)
	})
	todo := v.get("todo_sensors")
	if todo.fields == nil && !todo.isNull() {
		d.report(todo.file, todo.line, "todo_sensors: want a mapping, not %s", todo.describe())
	}
	if d.boolean(todo.get("enabled"), "enabled", false) {
		p.addLists(a, lists{
			domain: "o365", name: strings.TrimPrefix(suffix, "_"), files: storageFiles("o365_tasks"+suffix, "o365_tasks"), key: "task_list_id",
			updates: d.boolean(todo.get("enable_update"), "enable_update", false), track: d.boolean(todo.get("track_new"), "track_new", true),
		})
	}
}

// o365Sensor returns the entity id of a sensor of O365. Its unique id is made of its name and the account; that of mail begins with the
// folder.
func (p *Plan) o365Sensor(name, account string) string {
	return p.entityID("sensor."+entity.Slug(name), func(r registered) bool {
		return r.Platform == "o365" && (r.UniqueID == name+"_"+account || strings.HasSuffix(r.UniqueID, "_"+account+"_"+name) ||
			r.OriginalName == name && strings.HasSuffix(r.UniqueID, "_"+account))
	})
}

// storageFiles returns where a file of O365 can be: in o365_storage since version 4.
func storageFiles(names ...string) []string {
	var all []string
	for _, name := range names {
		all = append(all, "o365_storage/"+name+".yaml", name+".yaml")
	}
	return all
}

// registration sets what the account signs in with. where is the place of the client secret.
func (a *account) registration(d *Directory, v value, where string) {
	if id := v.get("client_id"); id.isNull() {
		d.report(v.file, v.line, "client_id is missing")
	} else if a.clientID = d.clientID(id); !guid.MatchString(a.clientID) {
		a.clientID = ""
		if id.secret != "" {
			a.comments = append(a.comments, fmt.Sprintf("client_id is %q in secrets.yaml or the environment.", id.secret))
		}
	}
	a.secret = "the value of " + where
	if s := v.get("client_secret"); s.secret != "" {
		a.secret = fmt.Sprintf("the value of %q in secrets.yaml or the environment", s.secret)
	}
	if d.boolean(v.get("alt_auth_method"), "alt_auth_method", false) {
		a.comments = append(a.comments, "alt_auth_method: the redirect URI of the app registration leads to Home Assistant. Add http://localhost to the same platform (Web).")
		return
	}
	a.redirect = nativeRedirect
}

// nativeRedirect is the redirect URI of app registrations that were made for O365 and MS365.
const nativeRedirect = "https://login.microsoftonline.com/common/oauth2/nativeclient"

// address returns the address or id of a mailbox or a user. One that cannot be used becomes a comment.
func (p *Plan) address(a *account, v value, key string) string {
	switch text := v.text(); {
	case v.secret != "":
		a.comments = append(a.comments, fmt.Sprintf("%s is %q in secrets.yaml or the environment: add it to the sensors below.", key, v.secret))
	case text == "":
	case guid.MatchString(text), addressPattern.MatchString(text):
		return text
	default:
		a.comments = append(a.comments, fmt.Sprintf("%s: %q is neither an address nor an id.", key, text))
	}
	return ""
}

var addressPattern = regexp.MustCompile(`^[^@\s<>,;]+@[^@\s<>,;]+\.[^@\s<>,;]+$`)

// calendars describes the calendars of an account of O365 or an entry of MS365-Calendar.
type calendars struct {
	domain, name, entry   string
	files                 []string // the first that exists is read
	shared                string
	basic, updates, track bool
	interval              int // seconds; 0: not set
}

// addCalendars adds the calendars that a file lists.
func (p *Plan) addCalendars(a *account, c calendars) {
	d := p.dir
	root, file, ok := p.readList(c.files)
	if !ok {
		s := &Sensor{Type: typeCalendar, updates: c.updates && !c.basic}
		s.comments = append(s.comments, c.files[0]+" does not exist: this is the default calendar.")
		c.options(s)
		a.add(s, "calendar")
		return
	}
	for _, calendar := range d.mappings(root, file) {
		id := calendar.get("cal_id").text()
		if id == "" {
			d.report(file, calendar.line, "cal_id is missing")
			continue
		}
		for _, e := range d.mappings(calendar.get("entities"), "entities") {
			device, name := e.get("device_id").text(), e.get("name").text()
			if device == "" {
				d.report(file, e.line, "device_id is missing")
				continue
			}
			if !d.boolean(e.get("track"), "track", true) {
				a.comments = append(a.comments, fmt.Sprintf("The calendar %q is not tracked, so it is left out.", cmp.Or(name, device)))
				continue
			}
			p.addCalendar(a, c, e, id, device, name)
		}
	}
	if c.track {
		a.comments = append(a.comments, "New calendars are not added by themselves, as track_new_calendar did. A sensor with calendar: all has every calendar.")
	}
}

// options sets what all calendars of a source have in common.
func (c calendars) options(s *Sensor) {
	if c.shared != "" && s.Type == typeCalendar {
		s.set("shared_mailbox", c.shared)
	}
	switch {
	case !c.basic || s.Type != typeCalendar:
	case c.shared != "":
		s.comment("basic_calendar: Microsoft has no such permission for shared mailboxes.")
	default:
		s.set("basic_calendar", true)
	}
	if c.interval > 0 && c.interval != 60 {
		s.set("interval", fmt.Sprintf("%ds", max(c.interval, minInterval)))
	}
}

// minInterval is the shortest interval in seconds.
const minInterval = 5

// maxOffset is the largest offset of calendars in hours.
const maxOffset = 8784

// addCalendar adds an entity of a calendar.
func (p *Plan) addCalendar(a *account, c calendars, e value, id, device, name string) {
	d := p.dir
	first := "calendar." + entity.Slug(device+"_"+c.name)
	if c.domain != "o365" {
		first = "calendar." + entity.Slug(c.name+"_"+device)
	}
	old := p.entityID(first, func(r registered) bool {
		return r.Platform == c.domain && (c.entry == "" || r.Entry == c.entry) && strings.HasPrefix(r.UniqueID, id+"_") && strings.HasSuffix(r.UniqueID, "_"+device)
	})
	s := &Sensor{Type: typeCalendar, Old: []string{old}, updates: c.updates && !c.basic}
	if group, ok := strings.CutPrefix(id, "group:"); ok {
		s.Type, s.updates = typeGroup, c.updates
		s.set("group", group)
	} else {
		s.set("calendar", id)
	}
	if name != "" {
		s.set("name", name)
	}
	c.options(s)
	p.text(s, e, "search", "search")
	if exclude := d.texts(e.get("exclude"), "exclude"); len(exclude) > 0 {
		p.exclude(s, exclude)
	}
	if all := d.texts(e.get("sensitivity_exclude"), "sensitivity_exclude"); len(all) > 0 {
		known := []string{"normal", "personal", "private", "confidential"}
		var used []string
		for _, word := range all {
			if word = strings.ToLower(word); slices.Contains(known, word) && !slices.Contains(used, word) {
				used = append(used, word)
			}
		}
		if len(used) > 0 {
			s.set("sensitivity_exclude", used)
		}
	}
	if n, ok := d.number(e.get("start_offset"), "start_offset"); ok && n != 0 {
		s.set("start_offset", hours(min(max(n, -maxOffset), maxOffset)))
	}
	if n, ok := d.number(e.get("end_offset"), "end_offset"); ok && n != 24 {
		s.set("end_offset", hours(min(max(n, -maxOffset), maxOffset)))
	}
	if n, ok := d.number(e.get("max_results"), "max_results"); ok && n > 0 {
		s.set("max_results", n)
	}
	a.add(s, device)
}

// exclude sets the regular expressions that leave events out.
func (p *Plan) exclude(s *Sensor, expressions []string) {
	var used []string
	for _, e := range expressions {
		if _, err := regexp.Compile(e); err != nil || e == "" {
			s.comment("exclude: %q is not possible: graph2mqtt has Go's regular expressions, without lookarounds and backreferences.", e)
			continue
		}
		used = append(used, e)
	}
	if len(used) > 0 {
		s.comment("Unlike there, the case does not matter here.")
		s.set("exclude", used)
	}
}

// text sets an option that is a text.
func (p *Plan) text(s *Sensor, v value, from, to string) bool {
	item := v.get(from)
	switch {
	case item.secret != "":
		s.comment("%s is %q in secrets.yaml or the environment. Add it, or the sensor shows more than before:", to, item.secret)
		s.comment("%s: …", to)
	case item.text() != "":
		s.set(to, item.text())
		return true
	}
	return false
}

// mailbox describes a mail sensor of O365 or an entry of MS365-Mail.
type mailbox struct {
	domain, name, entry string
	old                 string // entity id
	shared              string
	updates             bool
	defaults            bool   // texts and names of attachments are shown unless the options say otherwise
	where               string // for messages
}

// addMail adds a mail sensor with the options in v.
func (p *Plan) addMail(a *account, v value, m mailbox) {
	d := p.dir
	if m.name == "" {
		d.report(v.file, v.line, "%s: name is missing", m.where)
		return
	}
	s := &Sensor{Type: typeMail, Old: []string{m.old}, updates: m.updates}
	p.text(s, v, "folder", "folder")
	if s.get("folder") == "Inbox" {
		s.options = nil
	}
	if n, ok := d.number(v.get("max_items"), "max_items"); ok && n != 5 {
		if n > maxItems {
			s.comment("max_items was %d; the most is %d. The state is the exact number all the same.", n, maxItems)
		}
		s.set("max_items", min(max(n, 1), maxItems))
	}
	p.choice(s, v.get("is_unread"), "is_unread", "Unread Only", "Read Only")
	if m.shared != "" {
		s.set("shared_mailbox", m.shared)
	}
	filters := p.text(s, v, "from", "from")
	if from, ok := s.get("from").(string); ok && !addressPattern.MatchString(from) {
		s.options = slices.DeleteFunc(s.options, func(o option) bool { return o.key == "from" })
		s.comment("from: %q is no address.", from)
	}
	filters = p.choice(s, v.get("has_attachment"), "has_attachment", "Has attachment", "Does not have attachment") || filters
	switch importance := strings.ToLower(v.get("importance").text()); importance {
	case "", "all":
	case "low", "normal", "high":
		s.set("importance", importance)
		filters = true
	default:
		s.comment("importance: %q is not one of low, normal and high.", importance)
	}
	is := p.text(s, v, "subject_is", "subject_is")
	if !is {
		filters = p.text(s, v, "subject_contains", "subject_contains") || filters
	}
	filters = p.text(s, v, "body_contains", "body_contains") || filters || is
	if filters || v.get("from").secret != "" || v.get("subject_is").secret != "" || v.get("subject_contains").secret != "" || v.get("body_contains").secret != "" {
		s.Type = typeQuery
	}
	switch {
	case d.boolean(v.get("html_body"), "html_body", false):
		s.set("html_body", true)
	case d.boolean(v.get("show_body"), "show_body", m.defaults):
		s.set("show_body", true)
	}
	save := d.boolean(v.get("save_attachments"), "save_attachments", false)
	if d.boolean(v.get("download_attachments"), "download_attachments", m.defaults) || save {
		s.set("download_attachments", true)
	}
	if save {
		s.comment("save_attachments: nothing is saved. The operation attachment returns the content of one.")
	}
	a.files = a.files || m.updates
	a.add(s, m.name)
}

// maxItems is the largest max_items of mail.
const maxItems = 100

// choice sets an option that is true, false or not set; MS365-Mail has words for it.
func (p *Plan) choice(s *Sensor, v value, key, yes, no string) bool {
	switch v.text() {
	case "", "All":
		return false
	case yes:
		s.set(key, true)
	case no:
		s.set(key, false)
	default:
		s.set(key, p.dir.boolean(v, key, false))
	}
	return true
}

// addStatus adds a presence, of somebody else if email is set.
func (p *Plan) addStatus(a *account, email value, name, old string, updates bool, more ...option) {
	s := &Sensor{Type: typeStatus, Old: []string{old}, updates: updates}
	if !email.isNull() && email.scalar != "" {
		s.updates = false
		user := p.address(a, email, "the user of "+name)
		if user == "" {
			return // it would be somebody else's presence
		}
		s.set("user", user)
	}
	s.options = append(s.options, more...)
	a.add(s, name)
}

// lists describes the task lists of an account of O365 or an entry of MS365-ToDo.
type lists struct {
	domain, name, entry string
	files               []string
	key                 string // of a list's id
	updates, track      bool
	most                int // tasks; 0: not set
}

// addLists adds the task lists that a file has.
func (p *Plan) addLists(a *account, l lists) {
	d := p.dir
	root, file, ok := p.readList(l.files)
	if !ok {
		s := &Sensor{Type: typeTodo, updates: l.updates}
		s.comments = append(s.comments, l.files[0]+" does not exist: this is every list.")
		a.add(s, "todo")
		return
	}
	for _, list := range d.mappings(root, file) {
		id, name := list.get(l.key).text(), list.get("name").text()
		if id == "" || name == "" {
			d.report(file, list.line, "%s or name is missing", l.key)
			continue
		}
		if !d.boolean(list.get("track"), "track", true) {
			a.comments = append(a.comments, fmt.Sprintf("The task list %q is not tracked, so it is left out.", name))
			continue
		}
		first := "todo." + entity.Slug(name+"_"+l.name)
		if l.domain != "o365" {
			first = "todo." + entity.Slug(l.name+"_"+name)
		}
		old := p.entityID(first, func(r registered) bool {
			return r.Platform == l.domain && (l.entry == "" || r.Entry == l.entry) && strings.Contains(r.UniqueID, id)
		})
		s := &Sensor{Type: typeTodo, Old: []string{old}, updates: l.updates}
		s.set("list", id)
		s.set("name", name)
		if d.boolean(list.get("show_completed"), "show_completed", false) {
			s.set("show_completed", true)
		}
		start, hasStart := d.number(list.get("due_start_offset"), "due_start_offset")
		end, hasEnd := d.number(list.get("due_end_offset"), "due_end_offset")
		if hasStart && hasEnd && start > end {
			s.comment("due_start_offset was after due_end_offset, so no task matched.")
			hasStart, hasEnd = false, false
		}
		if hasStart || hasEnd {
			s.comment("The offsets count from the midnight with which today begins, not from now.")
		}
		if hasStart {
			s.set("due_start_offset", hours(min(max(start, -maxDueOffset), maxDueOffset)))
		}
		if hasEnd {
			s.set("due_end_offset", hours(min(max(end, -maxDueOffset), maxDueOffset)))
		}
		if l.most > 0 && l.most != 100 {
			s.set("max_todos", min(l.most, 1000))
		}
		a.add(s, name)
	}
	if l.track {
		a.comments = append(a.comments, "New task lists are not added by themselves, as track_new did. A sensor with list: all has every list.")
	}
}

// maxDueOffset is the largest offset of task lists in hours.
const maxDueOffset = 87840

// readList reads the first of these files that exists.
func (p *Plan) readList(files []string) (root value, file string, ok bool) {
	for _, file := range files {
		if p.dir.exists(file) {
			return p.dir.load(file, file, 0, 0), file, true
		}
	}
	return value{}, "", false
}

// finish sets what follows from all sensors of an account.
func (a *account) finish() {
	if len(a.notify) > 0 {
		i := slices.IndexFunc(a.Sensors, func(s *Sensor) bool {
			return (s.Type == typeMail || s.Type == typeQuery) && s.updates && s.get("shared_mailbox") == nil
		})
		if i < 0 {
			s := &Sensor{Type: typeMail, updates: true}
			s.comments = append(s.comments, "It sends mail only, as "+a.notify[0]+" did.")
			s.set("read", false)
			a.add(s, "mail")
			i = len(a.Sensors) - 1
			a.files = true
		}
		a.Sensors[i].set("notify", emptyMapping{})
	}
	a.updates = slices.ContainsFunc(a.Sensors, func(s *Sensor) bool { return s.updates && s.Type != typeStatus })
}

// An emptyMapping is the value of an option that only has to be there.
type emptyMapping struct{}

func (emptyMapping) String() string { return "{}" }
