package outlook

import (
	"cmp"
	"maps"
	"net/http"
	"strings"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator/directory"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/odata"
)

// AutomaticReplies are the replies that a mailbox sends by itself. See https://learn.microsoft.com/graph/api/resources/automaticrepliessetting.
type AutomaticReplies struct {
	Status           string // disabled, alwaysEnabled, scheduled
	ExternalAudience string // none, contactsOnly, all
	InternalReply    string // HTML
	ExternalReply    string // HTML
	Start, End       time.Time
}

// AutomaticReplies returns the automatic replies of the user's mailbox.
func (s *Service) AutomaticReplies(address string) AutomaticReplies {
	s.directory.Lock()
	defer s.directory.Unlock()
	return s.mustMailbox(address).settings.replies
}

// SetAutomaticReplies changes the automatic replies, as the user would in Outlook. Empty fields of r stay unchanged.
func (s *Service) SetAutomaticReplies(address string, r AutomaticReplies) {
	s.directory.Lock()
	defer s.directory.Unlock()
	old := &s.mustMailbox(address).settings.replies
	*old = AutomaticReplies{
		Status:           cmp.Or(r.Status, old.Status),
		ExternalAudience: cmp.Or(r.ExternalAudience, old.ExternalAudience),
		InternalReply:    cmp.Or(r.InternalReply, old.InternalReply),
		ExternalReply:    cmp.Or(r.ExternalReply, old.ExternalReply),
		Start:            cmp.Or(r.Start, old.Start),
		End:              cmp.Or(r.End, old.End),
	}
}

// TimeZone returns the time zone of the mailbox as stored.
func (s *Service) TimeZone(address string) string {
	s.directory.Lock()
	defer s.directory.Unlock()
	return s.mustMailbox(address).settings.timeZone
}

// SetTimeZone changes the time zone of the mailbox; unknown zones, such as "Customized Time Zone", are accepted.
func (s *Service) SetTimeZone(address, name string) {
	s.directory.Lock()
	defer s.directory.Unlock()
	s.mustMailbox(address).settings.timeZone = name
}

// mailboxSettings are the stored settings of a mailbox.
type mailboxSettings struct {
	replies  AutomaticReplies
	timeZone string
	other    map[string]any
}

func newMailboxSettings(u *directory.User, now time.Time) mailboxSettings {
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
		"scheduledStartDateTime": odata.DateTimeIn(r.Start, "UTC", time.UTC).JSON(),
		"scheduledEndDateTime":   odata.DateTimeIn(r.End, "UTC", time.UTC).JSON(),
		"internalReplyMessage":   r.InternalReply,
		"externalReplyMessage":   r.ExternalReply,
	}
}

func (s *Service) mailboxSettingsRoutes() []odata.Route {
	var routes []odata.Route
	for _, root := range []string{"/me", "/users/{user}"} {
		add := func(method, path string, do func(*call) (odata.Response, error), options ...string) {
			routes = append(routes, odata.Route{Method: method, Path: root + path, Type: s.types.mailboxSettings, Options: options, Do: s.handle(do)})
		}
		add("GET", "/mailboxSettings", withMailbox(getMailboxSettings), "$select")
		add("PATCH", "/mailboxSettings", withMailbox(patchMailboxSettings))
		add("GET", "/mailboxSettings/automaticRepliesSetting", withMailbox(getAutomaticReplies))
	}
	return routes
}

// withMailbox returns do for mailboxes that exist.
func withMailbox(do func(*call) (odata.Response, error)) func(*call) (odata.Response, error) {
	return func(c *call) (odata.Response, error) {
		if c.settingsMailbox() == nil {
			return odata.Response{}, odata.InvalidUser(c.Owner())
		}
		return do(c)
	}
}

// settingsMailbox returns the mailbox whose settings are read or changed: no delegated permission opens those of others.
func (c *call) settingsMailbox() *mailbox {
	if b := c.s.mailboxes[c.Owner()]; b != nil && c.Application != "" {
		return b
	}
	return c.s.mailboxes[c.User.ID]
}

func (c *call) settings() mailboxSettings { return c.settingsMailbox().settings }

// settingsPath returns the path of the settings for @odata.context.
func (c *call) settingsPath() string { return "users('" + c.Owner() + "')/mailboxSettings" }

func getMailboxSettings(c *call) (odata.Response, error) {
	m := c.settings()
	all := map[string]any{"automaticRepliesSetting": m.replies.json(), "timeZone": m.timeZone, "userPurpose": "user"}
	maps.Copy(all, m.other)
	body, err := c.Project(all)
	if err != nil {
		return odata.Response{}, err
	}
	body["@odata.context"] = c.SelectedContext(c.settingsPath())
	return odata.Response{Status: http.StatusOK, Body: body}, nil
}

func getAutomaticReplies(c *call) (odata.Response, error) {
	body := c.settings().replies.json()
	body["@odata.context"] = c.Context(c.settingsPath() + "/automaticRepliesSetting")
	return odata.Response{Status: http.StatusOK, Body: body}, nil
}

func patchMailboxSettings(c *call) (odata.Response, error) {
	patch, err := c.Decode()
	if err != nil {
		return odata.Response{}, err
	}
	next := c.settings()
	body := map[string]any{"@odata.context": c.Context(c.settingsPath())}
	next.other = maps.Clone(next.other)
	for k, v := range patch {
		switch k {
		case "automaticRepliesSetting":
			replies, _ := v.(map[string]any)
			if next.replies, err = patchReplies(next.replies, replies); err != nil {
				return odata.Response{}, err
			}
			body[k] = next.replies.json()
		case "timeZone":
			name, _ := v.(string)
			if _, ok := odata.Zone(name); !ok {
				return odata.Response{}, odata.NewError(http.StatusBadRequest, "ErrorInvalidTimeZone", "The time zone '%s' is not valid.", name)
			}
			next.timeZone = name
			body[k] = name
		default:
			next.other[k] = v
			body[k] = v
		}
	}
	c.settingsMailbox().settings = next
	return odata.Response{Status: http.StatusOK, Body: body}, nil
}

// patchReplies returns r with the given properties changed.
func patchReplies(r AutomaticReplies, patch map[string]any) (AutomaticReplies, error) {
	for k, v := range patch {
		text, _ := v.(string)
		switch k {
		case "status":
			r.Status = text
		case "externalAudience":
			r.ExternalAudience = text
		case "internalReplyMessage":
			r.InternalReply = wrapHTML(text)
		case "externalReplyMessage":
			r.ExternalReply = wrapHTML(text)
		case "scheduledStartDateTime", "scheduledEndDateTime":
			at, err := odata.ParseDateTime(k, v)
			if err != nil {
				return r, err
			}
			if k == "scheduledStartDateTime" {
				r.Start = at.Instant()
			} else {
				r.End = at.Instant()
			}
		}
	}
	if r.Status == "scheduled" && !r.Start.Before(r.End) {
		return r, odata.NewError(http.StatusBadRequest, "ErrorInvalidParameter", "The scheduled start time must be earlier than the scheduled end time.")
	}
	return r, nil
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
