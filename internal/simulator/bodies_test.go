package simulator_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func lunch(more string) string {
	return event("Lunch", "2026-07-01T12:00:00", "2026-07-01T13:00:00", more)
}

// Deep inserts are stored, and returned only if expanded.
func TestDeepInsert(t *testing.T) {
	v := newGraphClient(t, "Calendars.ReadWrite")
	created := v.want(201, "POST", "/me/events", lunch(`,
		"singleValueExtendedProperties": [{"id": "String {66f5a359-4659-4830-9070-00047ec6ac6e} Name Color", "value": "Green"}, {"id": "Integer 0x1", "value": "1"}],
		"multiValueExtendedProperties": [{"id": "StringArray {66f5a359-4659-4830-9070-00050ec6ac6e} Name Palette", "value": ["Green", "Aqua"]}],
		"extensions": [{"@odata.type": "microsoft.graph.openTypeExtension", "extensionName": "com.contoso.deal", "dealValue": 10}],
		"attachments": [{"@odata.type": "#microsoft.graph.fileAttachment", "name": "menu.txt", "contentBytes": "bWVudQ=="}]`))
	if created["hasAttachments"] != true || created["attachments"] != nil || created["singleValueExtendedProperties"] != nil {
		t.Errorf("created: %v", created)
	}
	path := "/me/events/" + url.PathEscape(created["id"].(string))
	expand := func(what string) any {
		return v.want(200, "GET", path+"?$expand="+url.QueryEscape(what), "")[strings.SplitN(what, "(", 2)[0]]
	}
	want := []any{map[string]any{"id": "String {66f5a359-4659-4830-9070-00047ec6ac6e} Name Color", "value": "Green"}}
	if diff := cmp.Diff(any(want), expand("singleValueExtendedProperties($filter=id eq 'String {66f5a359-4659-4830-9070-00047ec6ac6e} Name Color')")); diff != "" {
		t.Errorf("extended property (-want +got):\n%s", diff)
	}
	if got := expand("singleValueExtendedProperties($filter=id eq 'Integer 0x2')"); got != nil {
		t.Errorf("an extended property that does not exist: %v", got)
	}
	if got := expand("multiValueExtendedProperties").([]any)[0].(map[string]any)["value"]; !cmp.Equal(got, any([]any{"Green", "Aqua"})) {
		t.Errorf("values: %v", got)
	}
	if got := expand("extensions").([]any)[0].(map[string]any); got["id"] != "com.contoso.deal" || got["dealValue"] != 10.0 {
		t.Errorf("extension: %v", got)
	}
	if got := expand("attachments").([]any)[0].(map[string]any); got["name"] != "menu.txt" || got["contentBytes"] != "bWVudQ==" || got["size"] != 6.0 || got["id"] == "" {
		t.Errorf("attachment: %v", got)
	}
}

// Strings are converted to the declared type, as OData's reader does.
func TestBodyConversion(t *testing.T) {
	v := newGraphClient(t, "Calendars.ReadWrite")
	e := v.want(201, "POST", "/me/events", lunch(`,"isOnlineMeeting":"false","isReminderOn":"true","reminderMinutesBeforeStart":"30","sensitivity":"Private",
		"@odata.type":"#microsoft.graph.event","categories":null,"location":{"@odata.type":"#microsoft.graph.location","displayName":"Bar","coordinates":{"latitude":"52.5","longitude":13.4}},"id":"ignored","webLink":"ignored"`))
	if e["isOnlineMeeting"] != false || e["onlineMeeting"] != nil || e["isReminderOn"] != true || e["reminderMinutesBeforeStart"] != 30.0 || e["sensitivity"] != "private" {
		t.Errorf("converted: %v", e)
	}
	if got := e["location"].(map[string]any)["coordinates"].(map[string]any)["latitude"]; got != 52.5 || e["id"] == "ignored" || e["webLink"] == "ignored" {
		t.Errorf("latitude %v, id %v", got, e["id"])
	}
	if _, ok := e["@odata.type"]; ok || !cmp.Equal(e["categories"], any([]any{})) || e["location"].(map[string]any)["@odata.type"] != nil {
		t.Errorf("annotations and null: %v", e)
	}
	id := url.PathEscape(e["id"].(string))
	if e := v.want(200, "PATCH", "/me/events/"+id, `{"isAllDay":"false","isOnlineMeeting":"true"}`); e["isAllDay"] != false || e["onlineMeeting"] == nil {
		t.Errorf("changed: %v", e)
	}
}

// Wrong bodies are refused at every depth.
func TestBodiesRefused(t *testing.T) {
	v := newGraphClient(t, "Calendars.ReadWrite", "MailboxSettings.ReadWrite", "Presence.ReadWrite")
	for more, message := range map[string]string{
		`"categories":"x"`:                                        "The value of 'categories' must be a collection.",
		`"categories":[1]`:                                        "Cannot convert the value of 'categories' to the expected type 'Edm.String'.",
		`"location":{"nosuch":1}`:                                 "The property 'nosuch' does not exist on type 'microsoft.graph.location'. Make sure to only use property names that are defined by the type.",
		`"location":"Bar"`:                                        "The value of 'location' must be an object.",
		`"location":{"displayName":1}`:                            "Cannot convert the value of 'displayName' to the expected type 'Edm.String'.",
		`"isOnlineMeeting":"maybe"`:                               "Cannot convert the value of 'isOnlineMeeting' to the expected type 'Edm.Boolean'.",
		`"isOnlineMeeting":1`:                                     "Cannot convert the value of 'isOnlineMeeting' to the expected type 'Edm.Boolean'.",
		`"reminderMinutesBeforeStart":1.5`:                        "Cannot convert the value of 'reminderMinutesBeforeStart' to the expected type 'Edm.Int32'.",
		`"body":{"contentType":"rtf"}`:                            "Cannot convert the literal 'rtf' to the expected type 'microsoft.graph.bodyType'.",
		`"body":{"text":"x"}`:                                     "The property 'text' does not exist on type 'microsoft.graph.itemBody'. Make sure to only use property names that are defined by the type.",
		`"attendees":[{"emailAddress":{"adress":"a@b.example"}}]`: "The property 'adress' does not exist on type 'microsoft.graph.emailAddress'. Make sure to only use property names that are defined by the type.",
		`"start":{"dateTime":"2026-07-01T12:00:00","zone":"UTC"}`: "The property 'zone' does not exist on type 'microsoft.graph.dateTimeTimeZone'. Make sure to only use property names that are defined by the type.",
		`"recurrence":{"pattern":{"type":"daily","every":1}}`:     "The property 'every' does not exist on type 'microsoft.graph.recurrencePattern'. Make sure to only use property names that are defined by the type.",
		`"singleValueExtendedProperties":[{"key":"x"}]`:           "The property 'key' does not exist on type 'microsoft.graph.singleValueLegacyExtendedProperty'. Make sure to only use property names that are defined by the type.",
	} {
		resp, out := v.do("POST", "/me/events", strings.TrimSuffix(lunch(""), "}")+","+more+"}")
		e, _ := out["error"].(map[string]any)
		if resp.StatusCode != 400 || e["message"] != message {
			t.Errorf("%s: %s %v, want %s", more, resp.Status, e["message"], message)
		}
	}
	if all := v.s.Events("adele@contoso.example", ""); len(all) != 0 {
		t.Errorf("refused, but created: %v", all)
	}
	for _, test := range []struct{ method, path, body string }{
		{"PATCH", "/me/mailboxSettings", `{"workingHours":{"days":["monday"]}}`},
		{"PATCH", "/me/mailboxSettings", `{"language":"en"}`},
		{"PATCH", "/me/mailboxSettings", `{"automaticRepliesSetting":{"scheduledStartDateTime":{"dateTime":"2026-07-01T12:00:00","tz":"UTC"}}}`},
		{"POST", "/me/presence/setStatusMessage", `{"statusMessage":{"message":{"content":"x","contentType":"text","language":"en"}}}`},
		{"POST", "/me/calendar/getSchedule", `{"schedules":["a@b.example"],"startTime":{"dateTime":"2026-07-01T12:00:00","tz":"UTC"},"endTime":{"dateTime":"2026-07-01T13:00:00"}}`},
	} {
		v.refused(400, "BadRequest", test.method, test.path, test.body)
	}
}
