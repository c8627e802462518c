package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	stdruntime "runtime"
	"slices"
	"strings"

	"github.com/fatih/color"
	"github.com/pkg/browser"
	"github.com/spf13/cobra"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/auth"
	"github.com/graph2mqtt/graph2mqtt/internal/runtime"
	"github.com/graph2mqtt/graph2mqtt/sensors"
)

func (p *program) loginCommand() *cobra.Command {
	var l login
	cmd := &cobra.Command{
		Use:   "login ACCOUNT",
		Short: "Sign an account in",
		Long: "login prints a link to open in a browser, which comes back by itself where it runs on this machine. Where it does not, paste the address\n" +
			"on which it ends. A running bridge takes up the sign-in within a second.\n\n" +
			"With --device-code it prints a code to enter in a browser anywhere. Some organizations block that way.\n\n" +
			"The app registration needs the redirect URI http://localhost, also if it has a secret (platform Web): Microsoft's page nativeclient\n" +
			"hides the address that would have to be pasted.\n\n" +
			"It asks for the permissions that the configuration needs; with --for also for what reading sensors of other types takes, so that\n" +
			"graph2mqtt discover can list what there is.",
		Example: "  graph2mqtt login work\n" +
			"  graph2mqtt login work --device-code\n" +
			"  graph2mqtt login work --port 8400\n" +
			"  graph2mqtt login work --for calendar,status",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: p.completeAccount,
		RunE: p.do(func(ctx context.Context, args []string) error {
			switch {
			case l.port < 0 || l.port > 65535:
				return &usageError{fmt.Sprintf("--port: want a port from 1 to 65535, not %d", l.port)}
			case l.device && l.port != 0:
				return &usageError{"--port is for the browser to come back to, which it does not with --device-code"}
			}
			c, err := p.load()
			if err != nil {
				return err
			}
			a, s, err := p.session(c, args[0])
			if err != nil {
				return err
			}
			return p.login(ctx, a, s, l)
		}),
	}
	f := cmd.Flags()
	f.BoolVar(&l.device, "device-code", false, "sign in by a code that is entered in a browser anywhere")
	f.IntVar(&l.port, "port", 0, "`port` of http://localhost to which the browser comes back; otherwise any that is free")
	f.StringSliceVar(&l.kinds, "for", nil, "more `types` of sensors than are configured, to be read")
	must(cmd.RegisterFlagCompletionFunc("for", completeKinds))
	return cmd
}

// A login is how to sign in, and for what.
type login struct {
	device bool
	port   int
	kinds  []string
}

// more is what the kinds need that are not configured.
func (l login) more(a *config.Account) ([]runtime.RequiredPermission, error) {
	var ps []runtime.RequiredPermission
	for _, name := range l.kinds {
		all := runtime.Kinds()
		i := slices.IndexFunc(all, func(k sensors.Kind) bool { return strings.EqualFold(k.Name, strings.TrimSpace(name)) })
		if i < 0 {
			return nil, &usageError{fmt.Sprintf("--for: want types of sensors (%s), not %q", strings.Join(kindNames(), ", "), name)}
		}
		if all[i].WorkOnly && personal(a) {
			return nil, &usageError{fmt.Sprintf("--for: %s is for work and school accounts, and the tenant consumers has personal ones only", all[i].Name)}
		}
		ps = append(ps, runtime.ReadingPermissions(all[i])...)
	}
	return ps, nil
}

func (p *program) login(ctx context.Context, a *config.Account, s *auth.Session, l login) error {
	more, err := l.more(a)
	if err != nil {
		return err
	}
	wanted := append(runtime.RequiredPermissions(a), more...)
	if personal(a) {
		for _, text := range unavailableToPersonal(wanted) {
			fmt.Fprintln(p.stdout, p.paint(color.FgYellow).Sprint(text))
		}
	}
	r := auth.Request{Scopes: runtime.SignInScopes(a, more...), OnPrompt: p.prompt}
	if l.device {
		_, err = s.SignInByDevice(ctx, r)
	} else {
		pasted := make(chan string)
		ended := make(chan struct{})
		defer close(ended)
		// A read from a terminal cannot be called off: this goroutine may outlive the sign-in, and ends with the program.
		go lines(p.stdin, pasted, ended)
		_, err = s.SignInByBrowser(ctx, r, auth.Browser{Port: l.port, PastedRedirects: pasted, OnInvalidRedirect: func(err error) {
			fmt.Fprintf(p.stdout, "That cannot be used: %v\n", err)
		}})
	}
	if err != nil {
		return err
	}
	p.signedIn(a, wanted, s.Status())
	return nil
}

// cannot says what personal accounts have no permission for.
func unavailableToPersonal(wanted []runtime.RequiredPermission) []string {
	var texts []string
	for _, n := range wanted {
		if facts, ok := graph.LookupScope(n.Scope); ok && !facts.Personal {
			texts = append(texts, fmt.Sprintf("%s: personal accounts do not have %s: %s", n.Sensor, n.Scope, n.Impact))
		}
	}
	return dedupe(texts)
}

// lines sends each line that is read, and closes to at the end.
func lines(from io.Reader, to chan<- string, ended <-chan struct{}) {
	defer close(to)
	scanner := bufio.NewScanner(from)
	for scanner.Scan() {
		if strings.TrimSpace(scanner.Text()) == "" {
			continue
		}
		select {
		case to <- scanner.Text():
		case <-ended:
			return
		}
	}
}

// prompt says what to do.
func (p *program) prompt(t auth.Prompt) {
	if t.Why != "" {
		fmt.Fprintf(p.stdout, "\nMicrosoft refused %s: %s.\nNow the same without it:\n", strings.Join(t.Refused, ", "), t.Why)
	}
	bold := p.paint(color.Bold)
	if t.Code != "" {
		fmt.Fprintf(p.stdout, "Open %s and enter the code %s before %s.\n", bold.Sprint(t.URL), bold.Sprint(t.Code), t.Expires.Local().Format("15:04"))
		return
	}
	fmt.Fprintf(p.stdout, "Open this link and sign in:\n\n%s\n\n", t.URL)
	if t.Listening {
		fmt.Fprintf(p.stdout, "The browser comes back to %s by itself. If it runs on another machine it will show an error there: then paste the address on which it ended here.\n", t.Redirect)
	} else {
		fmt.Fprintf(p.stdout, "The browser ends on an address that begins with %s. Paste it here.\n", t.Redirect)
	}
	if t.Note != "" {
		fmt.Fprintf(p.stdout, "%s.\n", t.Note)
	}
	if t.Listening && p.desktop() {
		browser.Stdout, browser.Stderr = io.Discard, io.Discard
		_ = browser.OpenURL(t.URL) // the link is there to be opened by hand
	}
}

// desktop reports whether the user sits in front of this machine.
func (p *program) desktop() bool {
	switch {
	case !p.terminal() || p.environment("SSH_CONNECTION") != "":
		return false
	case stdruntime.GOOS == "darwin", stdruntime.GOOS == "windows":
		return true
	}
	return p.environment("DISPLAY") != "" || p.environment("WAYLAND_DISPLAY") != ""
}

// signedIn says what was granted, and what was not, sensor by sensor.
func (p *program) signedIn(a *config.Account, wanted []runtime.RequiredPermission, s auth.Status) {
	who := s.User.Address
	if s.User.Name != "" {
		who += " (" + s.User.Name + ")"
	}
	fmt.Fprintf(p.stdout, "\n%s %s is signed in as %s.\n", p.paint(color.FgGreen).Sprint("✓"), a.ID, who)
	var names []string
	can, lacks := map[string][]string{}, map[string][]string{}
	for _, n := range wanted {
		name := n.Sensor
		if name == "" {
			name = a.ID
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
		facts, known := graph.LookupScope(n.Scope)
		switch {
		case s.User.Personal && known && !facts.Personal:
			lacks[name] = append(lacks[name], fmt.Sprintf("personal accounts do not have %s: %s", n.Scope, n.Impact))
		case n.Satisfied(s.Granted):
			can[name] = append(can[name], n.Purpose+" ("+n.Scope+")")
		default:
			lacks[name] = append(lacks[name], fmt.Sprintf("%s was not granted: %s", n.Scope, n.Impact))
		}
	}
	for _, name := range names {
		if c := a.Sensors[name]; c != nil && s.User.Personal && workOnly(c.Type) {
			can[name], lacks[name] = nil, []string{fmt.Sprintf("sensors of the type %s are for work and school accounts, and this is a personal one", c.Type)}
		}
		fmt.Fprintf(p.stdout, "  %s: %s\n", name, strings.Join(nonEmpty(unique(can[name]), p.paint(color.FgYellow).Sprint(unique(lacks[name]))), "; "))
	}
}

func nonEmpty(texts ...string) []string {
	return slices.DeleteFunc(texts, func(s string) bool { return s == "" })
}

func workOnly(kind string) bool {
	return slices.ContainsFunc(runtime.Kinds(), func(k sensors.Kind) bool { return k.Name == kind && k.WorkOnly })
}

func kindNames() []string {
	var names []string
	for _, k := range runtime.Kinds() {
		names = append(names, k.Name)
	}
	slices.Sort(names)
	return names
}
