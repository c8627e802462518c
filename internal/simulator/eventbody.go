package simulator

import (
	"maps"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/k3a/html2text"
)

// writable returns the properties of an event that a client may set.
func writable() []string {
	return []string{
		"allowNewTimeProposals", "attendees", "body", "categories", "end", "hideAttendees", "importance", "isAllDay", "isOnlineMeeting",
		"isReminderOn", "location", "locations", "onlineMeetingProvider", "originalEndTimeZone", "originalStartTimeZone", "recurrence",
		"reminderMinutesBeforeStart", "responseRequested", "sensitivity", "showAs", "start", "subject", "transactionId",
	}
}

// apply validates and sets properties; on an error nothing changes.
func (s *Simulator) apply(e *storedEvent, given map[string]any) error {
	next := *e
	next.properties = maps.Clone(e.properties)
	p := next.properties
	for k, v := range given {
		var err error
		switch k {
		case "start":
			next.start, err = s.parseDateTime("Start", v)
		case "end":
			next.end, err = s.parseDateTime("End", v)
		case "importance":
			p[k], err = parseEnum(k, v, "low", "normal", "high")
		case "sensitivity":
			p[k], err = parseEnum(k, v, "normal", "personal", "private", "confidential")
		case "showAs":
			p[k], err = parseEnum("freeBusyStatus", v, "free", "tentative", "busy", "oof", "workingElsewhere", "unknown")
		case "body":
			p[k], p["bodyPreview"], err = parseBody(v)
		case "location":
			given, ok := v.(map[string]any)
			if !ok && v != nil {
				err = badRequest("The value of 'location' must be an object.")
				break
			}
			p[k] = locationJSON(given)
			p["locations"] = []any{}
			if given["displayName"] != nil && given["displayName"] != "" {
				p["locations"] = []any{p[k]}
			}
		case "attendees":
			p[k], err = s.parseAttendees(v)
		case "recurrence":
			p[k] = v
			next.repeats = nil
			p["type"] = "singleInstance"
			if v != nil {
				next.repeats, err = parseRecurrence(v)
				p["type"] = "seriesMaster"
			}
		case "isAllDay", "isReminderOn", "isOnlineMeeting", "allowNewTimeProposals", "hideAttendees", "responseRequested":
			if _, ok := v.(bool); !ok {
				err = badRequest("Cannot convert the value of '%s' to the expected type 'Edm.Boolean'.", k)
			}
			p[k] = v
		case "subject":
			text, ok := v.(string)
			if !ok && v != nil {
				err = badRequest("Cannot convert the value of '%s' to the expected type 'Edm.String'.", k)
			} else if utf8.RuneCountInString(text) > 255 {
				err = &failure{http.StatusBadRequest, "ErrorPropertyValidationFailure", "At least one property failed validation."}
			}
			p[k] = text
		default:
			p[k] = v
		}
		if err != nil {
			return err
		}
	}
	if p["isOnlineMeeting"] == true && p["onlineMeeting"] == nil {
		p["onlineMeetingProvider"] = "teamsForBusiness"
		p["onlineMeeting"] = map[string]any{"joinUrl": "https://teams.microsoft.com/l/meetup-join/19%3ameeting_" + uuid.NewString() + "%40thread.v2/0"}
	}
	if err := next.check(); err != nil {
		return err
	}
	*e = next
	return nil
}

// check validates the times as Exchange does.
func (e *storedEvent) check() error {
	refused := func(why string) error {
		return &failure{http.StatusBadRequest, "ErrorInvalidRequest", "Your request can't be completed. " + why}
	}
	if e.start.zone == nil || e.end.zone == nil {
		return &failure{http.StatusBadRequest, "ErrorPropertyValidationFailure", "At least one property failed validation."}
	}
	if !e.allDay() {
		if e.end.instant().Before(e.start.instant()) {
			return &failure{http.StatusBadRequest, "ErrorPropertyValidationFailure", "At least one property failed validation."}
		}
		return nil
	}
	switch {
	case !e.start.midnight():
		return refused("The Event.Start property for an all-day event needs to be set to midnight.")
	case !e.end.midnight():
		return refused("The Event.End property for an all-day event needs to be set to midnight.")
	case e.start.name != e.end.name:
		return refused("The Event.Start and Event.End properties for an all-day event need to be in the same time zone.")
	case !e.end.wall.After(e.start.wall):
		return refused("The duration of an event marked as All day must be at least 24 hours.")
	}
	return nil
}

// parseEnum is enumeration for a JSON value.
func parseEnum(name string, v any, members ...string) (string, error) {
	text, _ := v.(string)
	return enumeration(name, text, members...)
}

// parseBody converts text to HTML, as Exchange does, and returns the preview.
func parseBody(v any) (body map[string]any, preview string, err error) {
	given, _ := v.(map[string]any)
	content, _ := given["content"].(string)
	kind, _ := given["contentType"].(string)
	if kind == "" {
		kind = "text"
	}
	if kind, err = enumeration("bodyType", kind, "text", "html"); err != nil {
		return nil, "", err
	}
	plain := content
	if kind == "html" {
		plain = html2text.HTML2Text(content)
	} else if content != "" {
		content = textToHTML(content)
	}
	plain = strings.TrimSpace(plain)
	if r := []rune(plain); len(r) > 255 {
		plain = string(r[:255])
	}
	if content != "" && !strings.Contains(strings.ToLower(content), "<html") {
		content = "<html><head>\r\n<meta http-equiv=\"Content-Type\" content=\"text/html; charset=utf-8\"></head><body>\r\n" + content + "\r\n</body></html>"
	}
	return map[string]any{"contentType": "html", "content": content}, plain, nil
}

func textToHTML(text string) string {
	text = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "\r\n", "<br>\r\n", "\n", "<br>\n").Replace(text)
	return `<div class="PlainText">` + text + "</div>"
}

func (s *Simulator) parseAttendees(v any) ([]any, error) {
	given, ok := v.([]any)
	if !ok && v != nil {
		return nil, badRequest("The value of 'attendees' must be a collection.")
	}
	out := []any{}
	for _, g := range given {
		g, _ := g.(map[string]any)
		mail, _ := g["emailAddress"].(map[string]any)
		address, _ := mail["address"].(string)
		if !strings.Contains(address, "@") {
			return nil, &failure{http.StatusBadRequest, "ErrorInvalidRecipients", "At least one recipient isn't valid."}
		}
		a := Attendee{Address: address, Name: s.nameOf(address), Type: "required"}
		if name, _ := mail["name"].(string); name != "" {
			a.Name = name
		}
		if g["type"] != nil {
			var err error
			if a.Type, err = parseEnum("attendeeType", g["type"], "required", "optional", "resource"); err != nil {
				return nil, err
			}
		}
		out = append(out, attendeeJSON(a))
	}
	return out, nil
}
