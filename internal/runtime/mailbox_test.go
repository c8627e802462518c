package runtime_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/runtime"
	"github.com/graph2mqtt/graph2mqtt/sensors"
)

// The message about a mailbox that the application may not read names the role that the configuration needs: one that may write, where the
// sensor writes.
func TestExplainMailbox(t *testing.T) {
	const ends = " for this mailbox, which takes up to two hours to have an effect"
	denied := &graph.Error{Reason: graph.PermissionMissing, Status: http.StatusForbidden, Code: "ErrorAccessDenied"}
	for sensor, want := range map[string]string{
		"{type: room, room: berlin@contoso.com}":                                  "berlin@contoso.com; an administrator assigns it the Exchange role Application Calendars.Read" + ends,
		"{type: room, room: berlin@contoso.com, enable_update: true}":             "berlin@contoso.com; an administrator assigns it the Exchange role Application Calendars.ReadWrite" + ends,
		"{type: calendar, user: ann@contoso.com}":                                 "ann@contoso.com; an administrator assigns it the Exchange role Application Calendars.Read" + ends,
		"{type: calendar, user: ann@contoso.com, enable_update: true}":            "ann@contoso.com; an administrator assigns it the Exchange role Application Calendars.ReadWrite" + ends,
		"{type: email, user: ann@contoso.com, enable_update: true}":               "ann@contoso.com; an administrator assigns it the Exchange role Application Mail.Read" + ends,
		"{type: email, user: ann@contoso.com, basic: true}":                       "ann@contoso.com; an administrator assigns it the Exchange role Application Mail.ReadBasic" + ends,
		"{type: auto_reply, user: ann@contoso.com, enable_update: true}":          "ann@contoso.com; an administrator assigns it the Exchange role Application MailboxSettings.ReadWrite" + ends,
		"{type: todo, user: ann@contoso.com}":                                     "", // in the token
		"{type: status, user: ann@contoso.com}":                                   "",
		"{type: room, room: all, addresses: [berlin@contoso.com, a@contoso.com]}": "", // there is no one mailbox
	} {
		c, err := loadOrganization(t, "sensors: {s: "+sensor+"}")
		if err != nil {
			t.Errorf("%s: %v", sensor, err)
			continue
		}
		s := c.Accounts["contoso"].Sensors["s"]
		err = runtime.ExplainMailbox(s, s.Options.(sensors.Sensor).Permissions(), denied)
		if want == "" && !errors.Is(err, denied) || want != "" && !strings.HasPrefix(err.Error(), "the application has no access to the mailbox "+want) {
			t.Errorf("%s: %v\nwant %s", sensor, err, want)
		}
	}
}
