// Package dashboard makes a view of a Home Assistant dashboard for an account, of built-in cards only.
package dashboard

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/graph2mqtt/graph2mqtt/mqtt/homeassistant"
)

// Content holds the account and the sensors that a view shows.
type Content struct {
	ID, Name string
	Entities []homeassistant.Announcement
	Sensors  []Sensor // in the order in which they are shown
}

// A Sensor is a sensor of the account, or a member of one that stands for several.
type Sensor struct {
	Type     string // as in the configuration: "calendar"
	Name     string // without that of the account
	Other    bool   // it shows another person's presence
	Entities []homeassistant.Announcement
}

// A View is a view of the type sections. See https://www.home-assistant.io/dashboards/sections/.
type View struct {
	Title      string    `yaml:"title" json:"title"`
	Path       string    `yaml:"path" json:"path"`
	Icon       string    `yaml:"icon" json:"icon"`
	Type       string    `yaml:"type" json:"type"`
	MaxColumns int       `yaml:"max_columns" json:"max_columns"`
	Badges     []Badge   `yaml:"badges,omitempty" json:"badges,omitempty"`
	Sections   []Section `yaml:"sections" json:"sections"`
}

// A Badge shows an entity at the top of the view.
type Badge struct {
	Type     string `yaml:"type" json:"type"`
	Entity   string `yaml:"entity" json:"entity"`
	Name     string `yaml:"name" json:"name"`
	ShowName bool   `yaml:"show_name" json:"show_name"`
}

// A Section is a group of cards.
type Section struct {
	Type  string `yaml:"type" json:"type"`
	Cards []Card `yaml:"cards" json:"cards"`
}

// A Card is a card of one of the types heading, tile, button and markdown.
type Card struct {
	Type         string       `yaml:"type" json:"type"`
	Heading      string       `yaml:"heading,omitempty" json:"heading,omitempty"`
	HeadingStyle string       `yaml:"heading_style,omitempty" json:"heading_style,omitempty"`
	Icon         string       `yaml:"icon,omitempty" json:"icon,omitempty"`
	Entity       string       `yaml:"entity,omitempty" json:"entity,omitempty"`
	Name         string       `yaml:"name,omitempty" json:"name,omitempty"`
	Content      string       `yaml:"content,omitempty" json:"content,omitempty"`
	Features     []Feature    `yaml:"features,omitempty" json:"features,omitempty"`
	Visibility   []Condition  `yaml:"visibility,omitempty" json:"visibility,omitempty"`
	GridOptions  *GridOptions `yaml:"grid_options,omitempty" json:"grid_options,omitempty"`
}

// A Feature lets the user change the entity of a tile.
type Feature struct {
	Type string `yaml:"type" json:"type"`
}

// A Condition decides whether a card is shown.
type Condition struct {
	Condition string   `yaml:"condition" json:"condition"`
	Entity    string   `yaml:"entity" json:"entity"`
	State     string   `yaml:"state,omitempty" json:"state,omitempty"`
	StateNot  []string `yaml:"state_not,omitempty" json:"state_not,omitempty"`
}

// GridOptions is the size of a card.
type GridOptions struct {
	Columns any `yaml:"columns" json:"columns"` // of 12, or "full"
}

// maxListed is the number of items that a card lists.
const maxListed = 6

// chapters lists the sections of a view with the types that each shows.
var chapters = []struct {
	heading, icon string
	types         []string
	cards         func(Sensor) []Card
}{
	{"Work day", "mdi:calendar-clock", []string{"calendar", "group_calendar"}, calendarCards},
	{"Mail", "mdi:email-outline", []string{"email", "query"}, mailCards},
	{"Out of office", "mdi:email-fast-outline", []string{"auto_reply"}, replyCards},
	{"Presence", "mdi:account-circle", []string{"status"}, presenceCards},
	{"Tasks", "mdi:checkbox-marked-circle-outline", []string{"todo", "planner"}, taskCards},
	{"Chats", "mdi:chat-outline", []string{"chat", "channel"}, chatCards},
}

// New returns the view of an account.
func New(a Content) View {
	a.Sensors = slices.Clone(a.Sensors)
	slices.SortStableFunc(a.Sensors, func(x, y Sensor) int { // your own presence comes first
		return cmp.Compare(strconv.FormatBool(x.Other), strconv.FormatBool(y.Other))
	})
	v := View{Title: a.Name, Path: strings.ReplaceAll(a.ID, "_", "-"), Icon: "mdi:microsoft-outlook", Type: "sections", MaxColumns: 4, Badges: badges(a)}
	for _, c := range chapters {
		var bodies [][]Card
		var names []string
		for _, kind := range c.types {
			for _, s := range a.Sensors {
				if s.Type != kind {
					continue
				}
				if cards := c.cards(s); len(cards) > 0 {
					bodies, names = append(bodies, cards), append(names, s.Name)
				}
			}
		}
		if len(bodies) == 0 {
			continue
		}
		section := Section{Type: "grid", Cards: []Card{{Type: "heading", Heading: c.heading, Icon: c.icon}}}
		for i, cards := range bodies {
			if len(bodies) > 1 {
				section.Cards = append(section.Cards, Card{Type: "heading", Heading: capitalized(names[i]), HeadingStyle: "subtitle"})
			}
			section.Cards = append(section.Cards, cards...)
		}
		v.Sections = append(v.Sections, section)
	}
	v.Sections = append(v.Sections, health(a))
	return v
}

// capitalized returns a name with a capital letter at its start.
func capitalized(name string) string {
	first, size := utf8.DecodeRuneInString(name)
	return string(unicode.ToUpper(first)) + name[size:]
}

// Entities returns the entities that a view refers to outside of templates, each once.
func (v View) Entities() []string {
	var all []string
	for _, b := range v.Badges {
		all = append(all, b.Entity)
	}
	for _, s := range v.Sections {
		for _, c := range s.Cards {
			all = append(all, c.Entity)
			for _, condition := range c.Visibility {
				all = append(all, condition.Entity)
			}
		}
	}
	slices.Sort(all)
	return slices.DeleteFunc(slices.Compact(all), func(id string) bool { return id == "" })
}

// badges shows the number that matters most of each type of sensor, of the first sensor of the type.
func badges(a Content) []Badge {
	var all []Badge
	for _, b := range []struct{ kind, key, name string }{
		{"calendar", "remaining", "Events left today"}, {"status", "activity", "Activity"}, {"email", "unread", "Unread mails"},
		{"todo", "open", "Open tasks"}, {"planner", "open", "Planner tasks"}, {"chat", "unread", "Unread chats"},
	} {
		i := slices.IndexFunc(a.Sensors, func(s Sensor) bool { return s.Type == b.kind && find(s.Entities, b.key, "sensor") != nil })
		if i >= 0 {
			all = append(all, Badge{Type: "entity", Entity: find(a.Sensors[i].Entities, b.key, "sensor").EntityID, Name: b.name, ShowName: true})
		}
	}
	return all
}

// find returns the enabled entity of a key on the first of these platforms that has one, or nil.
func find(entities []homeassistant.Announcement, key string, platforms ...string) *homeassistant.Announcement {
	for _, platform := range platforms {
		for i, e := range entities {
			if e.Key == key && e.Platform == platform && !e.Disabled {
				return &entities[i]
			}
		}
	}
	return nil
}

// A builder collects the cards of a sensor.
type builder struct {
	entities []homeassistant.Announcement
	cards    []Card
}

// tile adds a tile, unless there is no such entity. Its width is a share of 12 columns; 0 is the default of 6.
func (b *builder) tile(columns int, key string, platforms ...string) *Card {
	e := find(b.entities, key, platforms...)
	if e == nil {
		return &Card{}
	}
	c := Card{Type: "tile", Entity: e.EntityID, Name: e.Name}
	if columns > 0 {
		c.GridOptions = &GridOptions{columns}
	}
	switch e.Platform {
	case "switch":
		c.Features = []Feature{{"toggle"}}
	case "select":
		c.Features = []Feature{{"select-options"}}
	}
	b.cards = append(b.cards, c)
	return &b.cards[len(b.cards)-1]
}

// whileSet shows a card only while its entity has a value.
func (c *Card) whileSet() {
	c.Visibility = []Condition{{Condition: "state", Entity: c.Entity, StateNot: []string{"unknown", "unavailable", ""}}}
}

// list adds a card that lists items of an attribute with this Markdown, in which i is the item. Without items it shows the text empty.
func (b *builder) list(key, platform, attribute, item, empty string) {
	e := find(b.entities, key, platform)
	if e == nil {
		return
	}
	b.cards = append(b.cards, Card{Type: "markdown", GridOptions: &GridOptions{"full"}, Content: plain +
		"{% for i in (state_attr('" + e.EntityID + "', '" + attribute + "') or [])[:" + strconv.Itoa(maxListed) + "] %}\n" + item + "\n{%- else %}\n" + empty + "\n{%- endfor %}\n"})
}

// plain is a macro that writes a text from Microsoft on one line, so that nothing in it is HTML, a link, a picture or markup. Backslashes
// would be shorter, but Home Assistant 2025.4 does not obey all of them.
var plain = "{% macro plain(text) %}{{ text | string | e | regex_replace('\\\\s+', ' ')" + references("[", "]", "*", "_", "`", "~", ":", "@", `\\`, "www.") + " }}{% endmacro %}\n"

// references returns filters that replace texts, as Jinja writes them, by a reference to their last character after the others.
func references(texts ...string) string {
	filters := ""
	for _, t := range texts {
		last := len(t) - 1
		filters += " | replace('" + t + "', '" + strings.TrimRight(t[:last], `\`) + "&#" + strconv.Itoa(int(t[last])) + ";')"
	}
	return filters
}

func calendarCards(s Sensor) []Card {
	b := builder{entities: s.Entities}
	b.tile(12, "busy", "binary_sensor")
	b.tile(12, "current", "sensor").whileSet()
	b.tile(12, "next", "sensor").whileSet()
	b.tile(6, "next_start", "sensor").whileSet()
	b.tile(6, "remaining", "sensor")
	b.list("busy", "binary_sensor", "data",
		"- {{ 'All day' if i.all_day else (i.start | as_datetime | as_local).strftime('%a %H:%M') }} **{{ plain(i.summary or '(no subject)') }}**"+
			"{% if i.location %}, {{ plain(i.location) }}{% endif %}{% if i.join_url %}, [join]({{ i.join_url }}){% endif %}",
		"No events.")
	return b.cards
}

func presenceCards(s Sensor) []Card {
	b := builder{entities: s.Entities}
	b.tile(12, "activity", "sensor")
	b.tile(12, "preferred", "select")
	b.tile(6, "in_call", "binary_sensor")
	b.tile(6, "work_location", "select", "sensor").Features = nil // too narrow for it
	b.tile(12, "status_message", "text", "sensor").whileSet()
	return b.cards
}

func replyCards(s Sensor) []Card {
	b := builder{entities: s.Entities}
	b.tile(12, "enabled", "switch")
	b.tile(12, "active", "binary_sensor")
	b.tile(6, "mode", "select", "sensor").Features = nil // too narrow for it
	b.tile(6, "external_audience", "select", "sensor").Features = nil
	mode := find(s.Entities, "mode", "select", "sensor")
	if mode == nil {
		return b.cards
	}
	// Microsoft stores a schedule even while there is none.
	scheduled := []Condition{{Condition: "state", Entity: mode.EntityID, State: mode.Label("scheduled")}}
	b.tile(6, "start", "sensor").Visibility = scheduled
	b.tile(6, "end", "sensor").Visibility = scheduled
	return append(b.cards, Card{Type: "markdown", GridOptions: &GridOptions{"full"}, Content: plain +
		"{% set text = state_attr('" + mode.EntityID + "', 'internal_reply') %}\n" +
		"{% if text %}\n{{ plain(text | truncate(400)) }}\n{% else %}\nNo reply is stored.\n{% endif %}\n"})
}

func mailCards(s Sensor) []Card {
	b := builder{entities: s.Entities}
	b.tile(6, "unread", "sensor")
	b.tile(6, "matching", "sensor")
	b.list("matching", "sensor", "data",
		"- {% if not i.is_read %}**new** {% endif %}{% if i.web_link %}[{{ plain(i.subject or '(no subject)') }}]({{ i.web_link }})"+
			"{% else %}{{ plain(i.subject or '(no subject)') }}{% endif %}, {{ plain(i.sender_name or i.sender or '') }}",
		"No mails.")
	return b.cards
}

func taskCards(s Sensor) []Card {
	b := builder{entities: s.Entities}
	b.tile(6, "open", "sensor")
	b.tile(6, "overdue", "sensor")
	b.tile(12, "next_due", "sensor").whileSet()
	attribute, title := "all_todos", "subject"
	if s.Type == "planner" {
		attribute, title = "data", "title"
	}
	b.list("open", "sensor", attribute, "- {{ plain(i."+title+" or '(no title)') }}{% if i.due %}, due {{ i.due }}{% endif %}", "No open tasks.")
	return b.cards
}

func chatCards(s Sensor) []Card {
	b := builder{entities: s.Entities}
	b.tile(6, "unread", "sensor")
	b.tile(6, "latest_from", "sensor").whileSet()
	b.tile(12, "latest", "sensor").whileSet()
	b.tile(12, "latest_received", "sensor").whileSet()
	return b.cards
}

// health shows whether the account works. What needs no attention is hidden.
func health(a Content) Section {
	b := builder{entities: a.Entities, cards: []Card{{Type: "heading", Heading: "Account", Icon: "mdi:heart-pulse"}}}
	b.tile(6, "connection", "binary_sensor")
	b.tile(6, "last_sync", "sensor")
	required := b.tile(12, "sign_in_required", "binary_sensor").Entity
	b.cards = append(b.cards, Card{Type: "markdown", GridOptions: &GridOptions{"full"}, Visibility: []Condition{{Condition: "state", Entity: required, State: "on"}},
		Content: plain + "{% set at = '" + required + "' %}\n{{ plain(state_attr(at, 'message') or '') }}\n\n" +
			"{% if state_attr(at, 'url') %}[Sign in]({{ state_attr(at, 'url') }}){% endif %}\n"})
	b.tile(6, "sign_in_code", "sensor").whileSet()
	b.tile(6, "sign_in", "button").Visibility = []Condition{{Condition: "state", Entity: required, State: "on"}}
	b.tile(6, "refresh", "button")
	b.tile(6, "rescan", "button")
	for _, s := range a.Sensors {
		if e := find(s.Entities, "problem", "binary_sensor"); e != nil {
			b.cards = append(b.cards, Card{Type: "tile", Entity: e.EntityID, Name: capitalized(s.Name), Visibility: []Condition{{Condition: "state", Entity: e.EntityID, State: "on"}}})
		}
	}
	return Section{Type: "grid", Cards: b.cards}
}
