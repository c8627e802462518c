package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/bridge"
)

func (p *program) calendarsCommand() *cobra.Command {
	renew, asJSON := false, false
	cmd := &cobra.Command{
		Use:   "calendars ACCOUNT",
		Short: "Show how calendar programs access an account, and create their password",
		Long: "calendars prints the URL and the user name with which Home Assistant and other calendar programs access the calendars and task\n" +
			"lists of an account over CalDAV. The first call also creates the password and shows it once: only a hash is stored. A running\n" +
			"bridge accepts it within two seconds.\n\n" +
			"With --new-password it replaces the password. The old one is no longer accepted.",
		Example: "  graph2mqtt calendars work\n" +
			"  graph2mqtt calendars work --new-password",
		Args:              optionalArgs(1),
		ValidArgsFunction: p.completeAccount,
		RunE:              p.do(func(_ context.Context, args []string) error { return p.calendars(args, renew, asJSON) }),
	}
	cmd.Flags().BoolVar(&renew, "new-password", false, "replace the password")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// A calendarAccess holds what a calendar program needs to reach an account.
type calendarAccess struct {
	URL      string    `json:"url"`
	User     string    `json:"user"`
	Password *string   `json:"password"` // null: it was made before
	Created  time.Time `json:"created"`
}

func (p *program) calendars(args []string, renew, asJSON bool) error {
	c, a, err := p.loadAccount(args)
	if err != nil {
		return err
	}
	if c.HTTP.Listen == "" || !c.HTTP.Calendars {
		return &usageError{"calendars are not offered: set http.listen and http.calendars: true"}
	}
	dir, log, err := p.openState(c)
	if err != nil {
		return err
	}
	passwords := bridge.OpenCalendarPasswords(dir, log)
	access := calendarAccess{URL: listenerURL(c.HTTP) + bridge.CalendarPath, User: a.ID}
	var known bool
	if access.Created, known = passwords.Created(a.ID); renew || !known {
		password, err := passwords.Renew(a.ID)
		if err != nil {
			return err
		}
		access.Password = &password
		if access.Created, known = passwords.Created(a.ID); !known {
			return errors.New("the new password was not stored")
		}
	}
	if asJSON {
		return p.json(access)
	}
	fmt.Fprintf(p.stdout, "URL: %s\nUser name: %s\n", access.URL, access.User)
	if access.Password == nil {
		fmt.Fprintf(p.stdout, "Password: created on %s; it cannot be shown again. To replace it: graph2mqtt calendars %s --new-password\n", access.Created.Local().Format(time.DateOnly), a.ID)
		return nil
	}
	fmt.Fprintf(p.stdout, "Password: %s\n", *access.Password)
	fmt.Fprintln(p.stdout, "The password is not shown again.")
	return nil
}

// listenerURL returns the address of the listener, without a path.
func listenerURL(c config.HTTP) string {
	if c.ExternalURL != "" {
		return c.ExternalURL
	}
	scheme := "http"
	if c.TLSCertFile != "" {
		scheme = "https"
	}
	host, port, err := net.SplitHostPort(c.Listen)
	if err != nil { // the configuration was checked
		return scheme + "://" + c.Listen
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "localhost"
		if name, err := os.Hostname(); err == nil {
			host = strings.ToLower(name)
		}
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}
