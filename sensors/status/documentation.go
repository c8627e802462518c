package status

import (
	"github.com/graph2mqtt/graph2mqtt/internal/schema"
	"github.com/graph2mqtt/graph2mqtt/sensors"
)

// attributeFields documents the attributes.
func attributeFields() []schema.Field {
	return []schema.Field{
		{Key: "user_id", Type: "text", Doc: "Object id of the person."},
		{Key: "availability", Type: "text", Doc: "Availability, also one that the entity does not list."},
		{Key: "activity", Type: "text", Doc: "Activity."},
		{Key: "status_message", Type: "text", Doc: "Status message, as text."},
		{Key: "status_message_published", Type: "time", Doc: "When the status message was set."},
		{Key: "status_message_expires", Type: "time", Doc: "When the status message disappears."},
		{Key: "out_of_office", Type: "true or false", Doc: "Whether Teams shows the person as out of office."},
		{Key: "out_of_office_message", Type: "text", Doc: "Automatic reply that Teams shows."},
		{Key: "work_location", Type: "text", Doc: "Work location, also one that the entity does not list."},
		{Key: "work_location_source", Type: "text", Doc: "Where the work location comes from: `manual`, `scheduled` or `automatic`."},
		{Key: "work_location_place", Type: "text", Doc: "Id of the building in Microsoft Places."},
		{Key: "preferred_until", Type: "time", Doc: "When the preferred status expires. Only of your own status."},
		{Key: "kept_until", Type: "time", Doc: "Until when the status set by `update_user_status` with `keep` is repeated. Only of your own status."},
	}
}

// events documents the events.
func events() []sensors.EventType {
	return []sensors.EventType{
		{Name: changed, Doc: "The presence was changed.", Fields: []schema.Field{
			{Key: "availability", Type: "text", Doc: "Availability."},
			{Key: "activity", Type: "text", Doc: "Activity."},
			{Key: "previous_availability", Type: "text", Doc: "Availability before the change."},
			{Key: "previous_activity", Type: "text", Doc: "Activity before the change."},
			{Key: "status_message", Type: "text", Doc: "Status message, as text."},
			{Key: "work_location", Type: "text", Doc: "Work location."},
			{Key: "out_of_office", Type: "true or false", Doc: "Whether Teams shows the person as out of office."},
		}},
		{Name: callStarted, Doc: "A call or a presentation started.", Fields: callFields()},
		{Name: callEnded, Doc: "The call or the presentation ended.", Fields: callFields()},
	}
}

// callFields documents what the start and the end of a call have.
func callFields() []schema.Field {
	return []schema.Field{{Key: "availability", Type: "text", Doc: "Availability."}, {Key: "activity", Type: "text", Doc: "Activity."}}
}
