package calendar

import (
	"slices"

	"github.com/graph2mqtt/graph2mqtt/internal/schema"
	"github.com/graph2mqtt/graph2mqtt/sensors"
	"github.com/graph2mqtt/graph2mqtt/services/calendar"
)

// meetingField documents the details of the online meeting of an event.
func meetingField() schema.Field {
	return schema.Field{Key: "meeting", Type: "object", Doc: "Details of the online meeting; null: not known, or without `meetings: true`.", Fields: calendar.MeetingFields()}
}

// groupMeetingField is meetingField for the calendar of a group.
func groupMeetingField() schema.Field {
	return schema.Field{Key: "meeting", Type: "object", Doc: "Always null: only the type calendar reads details of online meetings."}
}

// attributeFields documents the attributes.
func attributeFields(meeting schema.Field) []schema.Field {
	return []schema.Field{
		{Key: "message", Type: "text", Doc: "Subject of the current event, or else of the next one. The attributes up to `offset_reached` are about the same event."},
		{Key: "all_day", Type: "true or false", Doc: "Whether it is an all-day event."},
		{Key: "start_time", Type: "time or date", Doc: "Start."},
		{Key: "end_time", Type: "time or date", Doc: "End. Of an all-day event, the first day after it."},
		{Key: "location", Type: "text", Doc: "Location, as it is displayed."},
		{Key: "description", Type: "text", Doc: "Beginning of the description, as text."},
		{Key: "offset_reached", Type: "true or false", Doc: "Whether the offset at the end of the subject is reached: `Bus !!-10` means ten minutes before the start."},
		{Key: "color", Type: "text", Doc: "Color of the calendar in Outlook."},
		{Key: "hex_color", Type: "text", Doc: "The same, such as `#a6d1f5`."},
		{Key: "can_edit", Type: "true or false", Doc: "Whether you may change events of the calendar."},
		{Key: "data", Type: "list of objects", Doc: "Events between `start_offset` and `end_offset`: current and future ones in order of their start, then past ones.", Fields: itemFields(meeting)},
	}
}

// itemFields documents an event of the list.
func itemFields(meeting schema.Field) []schema.Field {
	return []schema.Field{
		{Key: "summary", Type: "text", Doc: "Subject."},
		{Key: "start", Type: "time or date", Doc: "Start. Of an all-day event, a date."},
		{Key: "end", Type: "time or date", Doc: "End. Of an all-day event, the first day after it."},
		{Key: "all_day", Type: "true or false", Doc: "Whether it is an all-day event."},
		{Key: "description", Type: "text", Doc: "Beginning of the description, as text."},
		{Key: "location", Type: "text", Doc: "Location, as it is displayed."},
		{Key: "categories", Type: "list of text", Doc: "Names of Outlook categories."},
		{Key: "sensitivity", Type: "text", Doc: "`normal`, `personal`, `private` or `confidential`."},
		{Key: "show_as", Type: "text", Doc: "`free`, `tentative`, `busy`, `oof`, `workingElsewhere` or `unknown`."},
		{Key: "attendees", Type: "list of objects", Doc: "Who is invited.", Fields: []schema.Field{
			{Key: "email", Type: "text", Doc: "Address."},
			{Key: "type", Type: "text", Doc: "`required`, `optional` or `resource`."},
			{Key: "status", Type: "text", Doc: "Response: `none`, `organizer`, `tentativelyAccepted`, `accepted`, `declined` or `notResponded`."},
			{Key: "name", Type: "text", Doc: "Display name."},
		}},
		{Key: "organizer", Type: "text", Doc: "Address of the organizer."},
		{Key: "reminder", Type: "object", Doc: "The reminder.", Fields: []schema.Field{
			{Key: "is_on", Type: "true or false", Doc: "Whether there is one."},
			{Key: "minutes", Type: "whole number", Doc: "Minutes from the reminder to the start."},
		}},
		{Key: "event_id", Type: "text", Doc: "Id of the event, for requests. Each occurrence of a series has its own."},
		{Key: "uid", Type: "text", Doc: "The same as `event_id`, under the name that templates for O365 use."},
		{Key: "ical_uid", Type: "text", Doc: "Id that the event has in every attendee's calendar."},
		{Key: "is_cancelled", Type: "true or false", Doc: "Whether the organizer canceled it."},
		{Key: "response_status", Type: "text", Doc: "Your own response, spelled as in `attendees[].status`."},
		{Key: "join_url", Type: "text", Doc: "Link to join the online meeting."},
		{Key: "dial_in", Type: "object", Doc: "How to join by phone.", Fields: []schema.Field{
			{Key: "toll_number", Type: "text", Doc: "Phone number."},
			{Key: "toll_free_number", Type: "text", Doc: "Toll-free phone number."},
			{Key: "conference_id", Type: "text", Doc: "Conference id to enter."},
			{Key: "quick_dial", Type: "text", Doc: "Number and conference id to dial at once."},
		}},
		meeting,
		{Key: "web_link", Type: "text", Doc: "Link that opens the event in Outlook on the web."},
		{Key: "importance", Type: "text", Doc: "`low`, `normal` or `high`."},
		{Key: "series_id", Type: "text", Doc: "Id of the series that it is an occurrence of."},
	}
}

// events documents the events. Each has the fields of an item, except for the description.
func events(meeting schema.Field) []sensors.EventType {
	fields := slices.DeleteFunc(itemFields(meeting), func(f schema.Field) bool { return f.Key == "description" })
	return []sensors.EventType{
		{Name: started, Doc: "An event starts, at its time.", Fields: fields},
		{Name: ended, Doc: "An event ends, at its time.", Fields: fields},
		{Name: created, Doc: "An event was added to the calendar.", Fields: fields},
		{Name: changed, Doc: "An event was changed.", Fields: fields},
		{Name: cancelled, Doc: "The organizer canceled a meeting.", Fields: fields},
		{Name: removed, Doc: "An event was removed from the calendar.", Fields: fields},
		{Name: reminder, Doc: "An event's reminder is due.", Fields: fields},
	}
}
