package simulator

import (
	"fmt"
	"net/http"
	"strings"
	"time"
)

// AutomaticReplies are what a mailbox answers by itself. See https://learn.microsoft.com/graph/api/resources/automaticrepliessetting.
type AutomaticReplies struct {
	Status           string // disabled, alwaysEnabled, scheduled
	ExternalAudience string // none, contactsOnly, all
	InternalReply    string // HTML
	ExternalReply    string // HTML
	Start, End       time.Time
}

// AutomaticReplies returns the automatic replies of the user's mailbox.
func (s *Simulator) AutomaticReplies(address string) AutomaticReplies {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mustUser(address).settings.replies
}

// SetAutomaticReplies changes the automatic replies, as the user would in Outlook. Empty fields of r stay unchanged.
func (s *Simulator) SetAutomaticReplies(address string, r AutomaticReplies) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := &s.mustUser(address).settings.replies
	for _, f := range []struct{ old, new *string }{{&old.Status, &r.Status}, {&old.ExternalAudience, &r.ExternalAudience}, {&old.InternalReply, &r.InternalReply}, {&old.ExternalReply, &r.ExternalReply}} {
		if *f.new != "" {
			*f.old = *f.new
		}
	}
	if !r.Start.IsZero() {
		old.Start = r.Start
	}
	if !r.End.IsZero() {
		old.End = r.End
	}
}

// TimeZone returns the time zone of the mailbox as stored.
func (s *Simulator) TimeZone(address string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mustUser(address).settings.timeZone
}

// SetTimeZone changes the time zone of the mailbox; unknown zones, such as "Customized Time Zone", are accepted.
func (s *Simulator) SetTimeZone(address, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mustUser(address).settings.timeZone = name
}

// mailboxSettings are the stored settings of a mailbox.
type mailboxSettings struct {
	replies  AutomaticReplies
	timeZone string
	other    map[string]any
}

func newMailboxSettings(u User, now time.Time) mailboxSettings {
	start := now.UTC().Truncate(time.Hour).Add(time.Hour)
	return mailboxSettings{
		replies:  AutomaticReplies{Status: "disabled", ExternalAudience: "all", Start: start, End: start.Add(24 * time.Hour)},
		timeZone: u.TimeZone,
		other: map[string]any{
			"language":                              map[string]any{"locale": "en-US", "displayName": "English (United States)"},
			"dateFormat":                            "yyyy-MM-dd",
			"timeFormat":                            "HH:mm",
			"delegateMeetingMessageDeliveryOptions": "sendToDelegateOnly",
			"workingHours": map[string]any{
				"daysOfWeek": []string{"monday", "tuesday", "wednesday", "thursday", "friday"},
				"startTime":  "08:00:00.0000000", "endTime": "17:00:00.0000000", "timeZone": map[string]any{"name": u.TimeZone},
			},
		},
	}
}

func (r AutomaticReplies) json() map[string]any {
	return map[string]any{
		"status":                 r.Status,
		"externalAudience":       r.ExternalAudience,
		"scheduledStartDateTime": dateTimeIn(r.Start, "UTC", time.UTC).json(),
		"scheduledEndDateTime":   dateTimeIn(r.End, "UTC", time.UTC).json(),
		"internalReplyMessage":   r.InternalReply,
		"externalReplyMessage":   r.ExternalReply,
	}
}

func mailboxSettingsRoutes() []route {
	var routes []route
	for _, root := range []string{"/me", "/users/{user}"} {
		routes = append(routes,
			route{method: "GET", path: root + "/mailboxSettings", kind: settings, options: []string{"$select"}, do: getMailboxSettings},
			route{method: "PATCH", path: root + "/mailboxSettings", kind: settings, do: patchMailboxSettings},
			route{method: "GET", path: root + "/mailboxSettings/automaticRepliesSetting", kind: settings, do: getAutomaticReplies},
		)
	}
	return routes
}

// settingsContext returns the @odata.context of a part of the settings.
func (c *call) settingsContext(part string) string {
	return c.context(fmt.Sprintf("users('%s')/mailboxSettings%s", c.user.ID, part))
}

func getMailboxSettings(c *call) (response, error) {
	m := c.user.settings
	all := map[string]any{"automaticRepliesSetting": m.replies.json(), "timeZone": m.timeZone, "userPurpose": "user"}
	for k, v := range m.other {
		all[k] = v
	}
	body, err := c.project(all, "archiveFolder")
	if err != nil {
		return response{}, err
	}
	selected := ""
	if s := c.query.Get("$select"); s != "" {
		selected = "(" + s + ")"
	}
	body["@odata.context"] = c.settingsContext(selected)
	return response{status: http.StatusOK, body: body}, nil
}

func getAutomaticReplies(c *call) (response, error) {
	body := c.user.settings.replies.json()
	body["@odata.context"] = c.settingsContext("/automaticRepliesSetting")
	return response{status: http.StatusOK, body: body}, nil
}

func patchMailboxSettings(c *call) (response, error) {
	known := []string{"automaticRepliesSetting", "dateFormat", "delegateMeetingMessageDeliveryOptions", "language", "timeFormat", "timeZone", "workingHours"}
	patch, err := c.decode(known...)
	if err != nil {
		return response{}, err
	}
	next := c.user.settings
	body := map[string]any{"@odata.context": c.settingsContext("")}
	other := map[string]any{}
	for k, v := range next.other {
		other[k] = v
	}
	for k, v := range patch {
		switch k {
		case "automaticRepliesSetting":
			replies, ok := v.(map[string]any)
			if !ok {
				return response{}, badRequest("The value of 'automaticRepliesSetting' must be an object.")
			}
			if next.replies, err = c.patchReplies(next.replies, replies); err != nil {
				return response{}, err
			}
			body[k] = next.replies.json()
		case "timeZone":
			name, _ := v.(string)
			if _, ok := c.s.zone(name); !ok {
				return response{}, &failure{http.StatusBadRequest, "ErrorInvalidTimeZone", fmt.Sprintf("The time zone '%s' is not valid.", name)}
			}
			next.timeZone = name
			body[k] = name
		default:
			other[k] = v
			body[k] = v
		}
	}
	next.other = other
	c.user.settings = next
	return response{status: http.StatusOK, body: body}, nil
}

// patchReplies returns r with the given properties changed.
func (c *call) patchReplies(r AutomaticReplies, patch map[string]any) (AutomaticReplies, error) {
	for k, v := range patch {
		text, isText := v.(string)
		var err error
		switch k {
		case "status":
			r.Status, err = enumeration("automaticRepliesStatus", text, "disabled", "alwaysEnabled", "scheduled")
		case "externalAudience":
			r.ExternalAudience, err = enumeration("externalAudienceScope", text, "none", "contactsOnly", "all")
		case "internalReplyMessage", "externalReplyMessage":
			if v != nil && !isText {
				err = badRequest("The value of '%s' must be a string.", k)
			} else if k == "internalReplyMessage" {
				r.InternalReply = wrapHTML(text)
			} else {
				r.ExternalReply = wrapHTML(text)
			}
		case "scheduledStartDateTime", "scheduledEndDateTime":
			var m dateTimeTimeZone
			m, err = c.s.parseDateTime(k, v)
			if err != nil {
				break
			}
			if k == "scheduledStartDateTime" {
				r.Start = m.instant()
			} else {
				r.End = m.instant()
			}
		default:
			if !strings.HasPrefix(k, "@odata.") {
				err = badRequest("The property '%s' does not exist on type 'microsoft.graph.automaticRepliesSetting'. Make sure to only use property names that are defined by the type.", k)
			}
		}
		if err != nil {
			return r, err
		}
	}
	if r.Status == "scheduled" && !r.Start.Before(r.End) {
		return r, &failure{http.StatusBadRequest, "ErrorInvalidParameter", "The scheduled start time must be earlier than the scheduled end time."}
	}
	return r, nil
}

// enumeration returns the member in Microsoft's spelling; text may have any case.
func enumeration(name, text string, members ...string) (string, error) {
	for _, m := range members {
		if strings.EqualFold(m, text) {
			return m, nil
		}
	}
	return "", badRequest("Cannot convert the literal '%s' to the expected type 'microsoft.graph.%s'.", text, name)
}

// wrapHTML returns text as an HTML document with a final newline, as Exchange does.
func wrapHTML(text string) string {
	switch {
	case text == "":
		return ""
	case !strings.Contains(strings.ToLower(text), "<html"):
		text = "<html>\n<body>\n" + text + "\n</body>\n</html>"
	}
	return strings.TrimRight(text, "\n") + "\n"
}
