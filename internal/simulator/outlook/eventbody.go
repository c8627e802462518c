package outlook

import (
	"maps"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/k3a/html2text"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator/odata"
)

// apply validates and sets properties; on an error nothing changes.
func (s *Service) apply(e *storedEvent, given map[string]any) error {
	next := *e
	next.properties = maps.Clone(e.properties)
	p := next.properties
	for k, v := range given {
		var err error
		switch k {
		case "start":
			next.start, err = odata.ParseDateTime("Start", v)
		case "end":
			next.end, err = odata.ParseDateTime("End", v)
		case "importance":
			p[k], err = odata.ParseEnum(k, v, "low", "normal", "high")
		case "sensitivity":
			p[k], err = odata.ParseEnum(k, v, "normal", "personal", "private", "confidential")
		case "showAs":
			p[k], err = odata.ParseEnum("freeBusyStatus", v, "free", "tentative", "busy", "oof", "workingElsewhere", "unknown")
		case "body":
			p[k], p["bodyPreview"], err = parseBody(v)
		case "location":
			given, ok := v.(map[string]any)
			if !ok && v != nil {
				err = odata.BadRequest("The value of 'location' must be an object.")
				break
			}
			p[k] = locationJSON(given)
			p["locations"] = []any{}
			if given["displayName"] != nil && given["displayName"] != "" {
				p["locations"] = []any{p[k]}
			}
		case "attachments":
			attachments := deepAttachments(v, s.directory.Now())
			p[k], p["hasAttachments"] = attachments, len(attachments) > 0
		case "extensions":
			p[k] = deepExtensions(v)
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
				err = odata.BadRequest("Cannot convert the value of '%s' to the expected type 'Edm.Boolean'.", k)
			}
			p[k] = v
		case "subject":
			text, ok := v.(string)
			if !ok && v != nil {
				err = odata.BadRequest("Cannot convert the value of '%s' to the expected type 'Edm.String'.", k)
			} else if utf8.RuneCountInString(text) > 255 {
				err = odata.NewError(http.StatusBadRequest, "ErrorPropertyValidationFailure", "At least one property failed validation.")
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
		return odata.NewError(http.StatusBadRequest, "ErrorInvalidRequest", "Your request can't be completed. %s", why)
	}
	if e.start.Location == nil || e.end.Location == nil {
		return odata.NewError(http.StatusBadRequest, "ErrorPropertyValidationFailure", "At least one property failed validation.")
	}
	if !e.allDay() {
		if e.end.Instant().Before(e.start.Instant()) {
			return odata.NewError(http.StatusBadRequest, "ErrorPropertyValidationFailure", "At least one property failed validation.")
		}
		return nil
	}
	switch {
	case !e.start.Midnight():
		return refused("The Event.Start property for an all-day event needs to be set to midnight.")
	case !e.end.Midnight():
		return refused("The Event.End property for an all-day event needs to be set to midnight.")
	case e.start.ZoneName != e.end.ZoneName:
		return refused("The Event.Start and Event.End properties for an all-day event need to be in the same time zone.")
	case !e.end.Wall.After(e.start.Wall):
		return refused("The duration of an event marked as All day must be at least 24 hours.")
	}
	return nil
}

// deepAttachments returns the attachments that were created together with the event.
func deepAttachments(v any, now time.Time) []any {
	given, _ := v.([]any)
	all := []any{}
	for _, g := range given {
		a, _ := odata.Copy(g).(map[string]any)
		content, _ := a["contentBytes"].(string)
		a["id"], a["lastModifiedDateTime"] = newOutlookID("AAMk", 160), now.UTC().Format(time.RFC3339)
		if a["size"] == nil {
			a["size"] = len(content) * 3 / 4
		}
		if a["isInline"] == nil {
			a["isInline"] = false
		}
		all = append(all, a)
	}
	return all
}

// deepExtensions returns the open extensions that were created together with the event.
func deepExtensions(v any) []any {
	given, _ := v.([]any)
	all := []any{}
	for _, g := range given {
		x, _ := odata.Copy(g).(map[string]any)
		x["id"] = x["extensionName"]
		all = append(all, x)
	}
	return all
}

// parseBody converts text to HTML, as Exchange does, and returns the preview.
func parseBody(v any) (body map[string]any, preview string, err error) {
	given, _ := v.(map[string]any)
	content, _ := given["content"].(string)
	kind, _ := given["contentType"].(string)
	if kind == "" {
		kind = "text"
	}
	if kind, err = odata.ParseEnum("bodyType", kind, "text", "html"); err != nil {
		return nil, "", err
	}
	plain := content
	if kind == "html" {
		plain = html2text.HTML2Text(content)
	} else if content != "" {
		content = odata.TextToHTML(content)
	}
	if content != "" && !strings.Contains(strings.ToLower(content), "<html") {
		content = "<html><head>\r\n<meta http-equiv=\"Content-Type\" content=\"text/html; charset=utf-8\"></head><body>\r\n" + content + "\r\n</body></html>"
	}
	return map[string]any{"contentType": "html", "content": content}, odata.Preview(plain), nil
}

func (s *Service) parseAttendees(v any) ([]any, error) {
	given, ok := v.([]any)
	if !ok && v != nil {
		return nil, odata.BadRequest("The value of 'attendees' must be a collection.")
	}
	out := []any{}
	for _, g := range given {
		g, _ := g.(map[string]any)
		mail, _ := g["emailAddress"].(map[string]any)
		address, _ := mail["address"].(string)
		if !strings.Contains(address, "@") {
			return nil, odata.NewError(http.StatusBadRequest, "ErrorInvalidRecipients", "At least one recipient isn't valid.")
		}
		a := Attendee{Address: address, Name: s.directory.NameOf(address), Type: "required"}
		if name, _ := mail["name"].(string); name != "" {
			a.Name = name
		}
		if g["type"] != nil {
			var err error
			if a.Type, err = odata.ParseEnum("attendeeType", g["type"], "required", "optional", "resource"); err != nil {
				return nil, err
			}
		}
		out = append(out, attendeeJSON(a))
	}
	return out, nil
}
