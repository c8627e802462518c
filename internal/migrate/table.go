package migrate

import (
	"fmt"
	"slices"
	"strings"
)

// A Change is an old name with its successor.
type Change struct {
	Old  string
	New  string // empty: none
	Note string // what differs, in Markdown
}

// A Chapter lists the changes of one kind of entity.
type Chapter struct {
	Title      string
	Types      []string // of sensors
	Key        string   // of the successor of the entity
	Entities   []Change
	Attributes []Change
	Actions    []Action
	Events     []Change
}

// An Action is an action of Home Assistant with the operation that replaces it.
type Action struct {
	Names     []string
	Operation string   // empty: none
	Account   bool     // it is requested of the account
	Fields    []string // that the request has, too
	Note      string   // what else differs, in Markdown
}

// core reports whether an action is one of Home Assistant's own, which concerns the old entities only if it names one.
func (a Action) core() bool {
	return strings.HasPrefix(a.Names[0], "calendar.") || strings.HasPrefix(a.Names[0], "todo.")
}

// change returns the change of one of the action's names.
func (a Action) change(name, request string) Change {
	note := a.Note
	if len(a.Fields) > 0 && !strings.Contains(note, " instead of ") {
		note = strings.TrimSpace("The same fields. " + note)
	}
	return Change{name, request, note}
}

// o365 returns the names of an action in O365 and in an MS365 integration.
func o365(domain, name string) []string { return []string{"o365." + name, domain + "." + name} }

// same returns attributes that keep their names.
func same(names ...string) []Change {
	var all []Change
	for _, name := range names {
		all = append(all, Change{Old: name, New: name})
	}
	return all
}

// calendarTrigger stands for Home Assistant's own trigger for calendars.
const calendarTrigger = "calendar"

// asRequest explains what Home Assistant's own actions have in common.
const asRequest = "These actions work with calendar and to-do entities only, which MQTT does not have."

var (
	eventFields = []string{"subject", "start", "end", "body", "location", "categories", "sensitivity", "show_as", "is_all_day", "attendees", "is_reminder_on", "remind_before_minutes"}
	mailFields  = []string{"message", "message_is_html", "photos", "attachments", "zip_attachments", "zip_name", "importance"}
	replyFields = []string{"external_reply", "internal_reply", "start", "end", "external_audience"}
	todoFields  = []string{"subject", "description", "due", "reminder"}
)

// Chapters returns every change.
func Chapters() []Chapter {
	return []Chapter{
		{
			Title: "Calendars", Types: []string{typeCalendar, typeGroup}, Key: "busy",
			Entities: []Change{
				{"calendar.<device_id>_<account> (O365), calendar.<entry>_<device_id> (MS365)", "binary_sensor.<account>_<sensor>_busy", "On while an event takes place, as before. The calendar card and panel do not show it."},
				{"sync_state (MS365)", "binary_sensor.<account>_<sensor>_problem", "The attribute was `ok`, `problem` or `unknown`; the entity is on if the calendar cannot be read."},
			},
			Attributes: append(same("message", "all_day", "start_time", "end_time", "location", "description", "offset_reached", "hex_color", "data", "data[].summary", "data[].start",
				"data[].end", "data[].all_day", "data[].description", "data[].location", "data[].categories", "data[].attendees", "data[].attendees[].email", "data[].attendees[].type",
				"data[].uid", "data[].reminder", "data[].reminder.minutes", "data[].reminder.is_on", "data[].organizer", "data[].web_link"),
				Change{"color", "color", "Microsoft's spelling: `lightBlue`, not `light_blue`."},
				Change{"data[].sensitivity", "data[].sensitivity", "`normal`, `personal`, `private` and `confidential` instead of `Normal`, `Personal`, `Private` and `Confidential`."},
				Change{"data[].show_as", "data[].show_as", "`free`, `tentative`, `busy`, `oof`, `workingElsewhere` and `unknown` instead of `Free`, `Tentative`, `Busy`, `Oof`, `WorkingElsewhere` and `Unknown`."},
				Change{"data[].attendees[].status", "data[].attendees[].status", "`tentativelyAccepted` and `notResponded` instead of `tentatively_accepted` and `not_responded`; `none` instead of no value."},
				Change{"data[].response", "data[].response_status", "Spelled as the status of an attendee."},
				Change{"data[].online_meeting.join_url", "data[].join_url", ""},
				Change{"data[].online_meeting.provider", "", ""},
				Change{"data[].location_details", "", "`location` has the name."},
				Change{"data[].locations", "", "`location` has the name."},
			),
			Actions: []Action{
				{o365("ms365_calendar", "create_calendar_event"), "create", false, eventFields, "The response has `event_id` instead of `uid`. `recurrence` instead of `rrule`."},
				{o365("ms365_calendar", "modify_calendar_event"), "modify", false, append([]string{"event_id"}, eventFields...), "It changes only the given ones, and works for group calendars, too."},
				{o365("ms365_calendar", "remove_calendar_event"), "remove", false, []string{"event_id"}, ""},
				{o365("ms365_calendar", "respond_calendar_event"), "respond", false, []string{"event_id", "response", "send_response", "message"}, ""},
				{[]string{"ms365_calendar.get_calendar_events"}, "list", false, nil, "`start` and `end` instead of `start_date_time` and `end_date_time`. Needs `on_demand: true`."},
				{[]string{"o365.scan_for_calendars"}, "rescan", true, nil, "Or press `button.<account>_rescan`."},
				{[]string{"calendar.create_event"}, "create", false, nil, "`subject`, `body`, `start` and `end` instead of `summary`, `description`, `start_date_time` and `end_date_time`. " + asRequest},
				{[]string{"calendar.get_events", "calendar.list_events"}, "list", false, nil, "`start` and `end` instead of `start_date_time` and `end_date_time`. Needs `on_demand: true`. " + asRequest},
			},
			Events: []Change{
				{"create_calendar_event", "event_created", ""},
				{"modify_calendar_event, modify_calendar_recurrences", "event_changed", ""},
				{"remove_calendar_event, remove_calendar_recurrences", "event_removed", ""},
				{"respond_calendar_event", "command_ok", "Of the account's event entity."},
				{calendarTrigger, "event_started", "Home Assistant's own trigger for calendar entities. `event: end` is `event_ended`. An offset before the start is the event `reminder`, at the time of the event's own reminder."},
			},
		},
		{
			Title: "Mail", Types: []string{typeMail, typeQuery}, Key: "matching",
			Entities: []Change{
				{"sensor.<name> (O365), sensor.<entry>_mail (MS365)", "sensor.<account>_<sensor>_matching", "The state was the number of mails in the list, at most `max_items`; it is the exact number of mails that match."},
				{"notify.o365_email_<account>, notify.ms365_mail_<entry>", "notify.<account>_<sensor>_send", "The action `notify.send_message` has only a message. Recipients and subject are in the option `notify`; everything else is a request."},
			},
			Attributes: same("data", "data[].subject", "data[].received", "data[].to", "data[].cc", "data[].sender", "data[].has_attachments", "data[].importance", "data[].is_read",
				"data[].flag", "data[].flag.is_flagged", "data[].flag.is_completed", "data[].flag.due_date", "data[].flag.completion_date", "data[].body", "data[].attachments"),
			Actions: []Action{
				{[]string{"notify.o365_email_<account>", "notify.ms365_mail_<entry>"}, "send", false, mailFields, "`subject`, `to` and `from` instead of `title`, `data.target` and `data.sender`; the others without `data`. Files are on the machine of graph2mqtt."},
				{[]string{"ms365_mail.mail_send"}, "send", false, append([]string{"subject", "to", "from"}, mailFields...), "Files are on the machine of graph2mqtt."},
			},
		},
		{
			Title: "Automatic replies", Types: []string{typeReplies}, Key: "mode",
			Entities: []Change{
				{"sensor.<name> (O365), sensor.<entry>_autoreply (MS365)", "select.<account>_<sensor>_mode", "The states are `Off`, `Always` and `Scheduled` instead of `disabled`, `alwaysEnabled` and `scheduled`. Without `enable_update` it is `sensor.<account>_<sensor>_mode`, with the states as before."},
			},
			Attributes: same("internal_reply", "external_reply", "external_audience", "start", "end"),
			Actions: []Action{
				{o365("ms365_mail", "auto_reply_enable"), "enable", false, replyFields, "All are optional. Times without an offset are in the account's time zone, not in UTC."},
				{o365("ms365_mail", "auto_reply_disable"), "disable", false, nil, "Or turn `switch.<account>_<sensor>_enabled` off."},
			},
		},
		{
			Title: "Presence", Types: []string{typeStatus}, Key: "activity",
			Entities: []Change{
				{"sensor.<name> (O365), sensor.<entry>_status (MS365)", "sensor.<account>_<sensor>_activity", "The same values, such as `InAMeeting`."},
			},
			Actions: []Action{
				{o365("ms365_teams", "update_user_status"), "update_user_status", false, []string{"availability", "activity", "expiration_duration"}, ""},
				{o365("ms365_teams", "update_user_preferred_status"), "update_user_preferred_status", false, []string{"availability", "expiration_duration"}, "Or `select.<account>_<sensor>_preferred`."},
			},
			Events: []Change{
				{"update_user_status, update_user_preferred_status", "command_ok", "Of the account's event entity. `status_changed` of the sensor's fires for every change."},
			},
		},
		{
			Title: "Chats", Types: []string{typeChat}, Key: "latest",
			Entities: []Change{
				{"sensor.<name> (O365), sensor.<entry>_chat (MS365)", "sensor.<account>_<sensor>_latest", "The state is the beginning of the newest message. It was the time of the message, which is `sensor.<account>_<sensor>_latest_received`."},
			},
			Attributes: append(same("from_display_name", "importance", "subject", "summary", "chat_id", "data", "data[].chat_id", "data[].chat_type", "data[].topic"),
				Change{"content", "content", "Text; it was HTML where Teams has HTML."},
				Change{"data[].members", "data[].members", "A list; it was a text with commas."}),
			Actions: []Action{{o365("ms365_teams", "send_chat_message"), "send", false, []string{"chat_id", "message", "content_type"}, ""}},
			Events:  []Change{{"send_chat_message", "command_ok", "Of the account's event entity. `message_received` of the sensor's fires for messages from others."}},
		},
		{
			Title: "Tasks", Types: []string{typeTodo}, Key: "open",
			Entities: []Change{
				{"todo.<list>_<account> (O365), todo.<entry>_<list> (MS365)", "sensor.<account>_<sensor>_open", "The number of open tasks, as before. The to-do list card and panel do not show it."},
			},
			Attributes: append(same("all_todos", "all_todos[].subject", "all_todos[].todo_id", "all_todos[].status", "all_todos[].description", "all_todos[].reminder",
				"all_todos[].checklist_items", "all_todos[].checklist_items[].name", "all_todos[].checklist_items[].is_checked", "all_todos[].checklist_items[].id",
				"overdue_todos", "overdue_todos[].subject", "overdue_todos[].todo_id", "overdue_todos[].reminder"),
				Change{"all_todos[].due", "all_todos[].due", "A date. The items of MS365-ToDo had the reminder in its place."},
				Change{"all_todos[].completed", "all_todos[].completed", "A date, or `null`; it was a time, or `false`."},
				Change{"overdue_todos[].due", "overdue_todos[].due", "A date. A task that is due today is not overdue."}),
			Actions: []Action{
				{o365("ms365_todo", "new_todo"), "new", false, todoFields, ""},
				{o365("ms365_todo", "update_todo"), "update", false, append([]string{"todo_id", "remove_due", "remove_reminder"}, todoFields...), ""},
				{o365("ms365_todo", "delete_todo"), "delete", false, []string{"todo_id"}, ""},
				{o365("ms365_todo", "complete_todo"), "complete", false, []string{"todo_id"}, "Without `completed`; `completed: false` is the operation `reopen`."},
				{[]string{"ms365_todo.new_todo_checklist_item"}, "checklist_new", false, []string{"todo_id", "name"}, ""},
				{[]string{"ms365_todo.update_todo_checklist_item"}, "checklist_update", false, []string{"todo_id", "checklist_item_id"}, "`completed` instead of `status`. It also renames."},
				{[]string{"ms365_todo.delete_todo_checklist_item"}, "checklist_delete", false, []string{"todo_id", "checklist_item_id"}, ""},
				{o365("ms365_todo", "scan_for_todo_lists"), "rescan", true, nil, "Or press `button.<account>_rescan`."},
				{[]string{"todo.add_item"}, "new", false, nil, "`subject`, `due` and `description` instead of `item`, `due_date` and `description`. Or `notify.<account>_<sensor>_add`. " + asRequest},
				{[]string{"todo.update_item"}, "update", false, nil, "By `todo_id`. `status` is the operation `complete` or `reopen`. " + asRequest},
				{[]string{"todo.remove_item"}, "delete", false, nil, "By todo_id. " + asRequest},
				{[]string{"todo.remove_completed_items"}, "", false, nil, "Request `delete` for each completed task in `all_todos`. " + asRequest},
				{[]string{"todo.get_items"}, "list", false, nil, "Or the attribute `all_todos`. Needs `on_demand: true`. " + asRequest},
			},
			Events: []Change{
				{"new_todo", "todo_created", ""},
				{"completed_todo", "todo_completed", ""},
				{"update_todo, uncompleted_todo", "todo_changed", ""},
				{"delete_todo", "todo_removed", ""},
			},
		},
		{
			Title: "Others",
			Actions: []Action{
				{[]string{"o365.migrate_config"}, "", false, nil, "`graph2mqtt migrate` reads the configuration."},
				{[]string{"ms365_contacts.contacts_search"}, "contacts_search", false, []string{"given_name", "surname", "email"}, "Of any sensor of a work account that names it in `allow`. Needs `on_demand: true`."},
			},
		},
	}
}

// chapterOf returns the chapter of a type of sensor.
func chapterOf(kind string) Chapter {
	all := Chapters()
	return all[slices.IndexFunc(all, func(c Chapter) bool { return slices.Contains(c.Types, kind) })]
}

// Tables returns every change as Markdown.
func Tables() string {
	var b strings.Builder
	code := func(names string) string {
		if names == "" {
			return "–"
		}
		parts := strings.Split(names, ", ")
		for i, part := range parts {
			name, where, found := strings.Cut(part, " ")
			parts[i] = "`" + name + "`"
			if found {
				parts[i] += " " + where
			}
		}
		return strings.Join(parts, ", ")
	}
	table := func(old, next string, changes []Change) {
		if len(changes) == 0 {
			return
		}
		fmt.Fprintf(&b, "\n| %s | %s | |\n|---|---|---|\n", old, next)
		for _, c := range changes {
			fmt.Fprintf(&b, "| %s | %s | %s |\n", code(c.Old), code(c.New), c.Note)
		}
	}
	for _, c := range Chapters() {
		fmt.Fprintf(&b, "\n### %s\n", c.Title)
		table("old entity", "new entity", c.Entities)
		table("old attribute", "new attribute", c.Attributes)
		var actions []Change
		for _, a := range c.Actions {
			note := a.Note
			if len(a.Fields) > 0 {
				note = strings.TrimSpace("The same fields: " + code(strings.Join(a.Fields, ", ")) + ". " + note)
			}
			actions = append(actions, Change{strings.Join(a.Names, ", "), a.topic("<account>", "<sensor>"), note})
		}
		table("old action", "new request", actions)
		table("old event", "new event", c.Events)
	}
	return b.String()
}

// topic returns the topic, below the base topic, of the request that replaces an action; "" if there is none.
func (a Action) topic(account, sensor string) string {
	switch {
	case a.Operation == "":
		return ""
	case a.Account:
		return account + "/request/" + a.Operation
	}
	return account + "/" + sensor + "/request/" + a.Operation
}
