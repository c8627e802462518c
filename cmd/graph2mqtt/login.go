package main

import (
	"bufio"
	"cmp"
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
		Short: "Sign in to an account",
		Long: "login prints a link to open in your browser. If the browser runs on another machine, it ends on a page at http://localhost that\n" +
			"fails to load: copy that address from the address bar and paste it into the terminal. A running bridge uses the sign-in within two\n" +
			"seconds.\n\n" +
			"With --device-code it prints a code to enter in any browser. Some organizations block this.\n\n" +
			"The app registration needs the redirect URI http://localhost, even if it has a secret (platform Web): Microsoft's page\n" +
			"nativeclient hides the address that you would have to paste.\n\n" +
			"login requests the permissions that the configuration needs. With --for it also requests the reading permissions of other types of\n" +
			"sensors, so that graph2mqtt discover can list everything.\n\n" +
			"An organization signs in by itself: for it, login checks the certificate, the permissions in Entra ID, and each mailbox.",
		Example: "  graph2mqtt login work\n" +
			"  graph2mqtt login work --device-code\n" +
			"  graph2mqtt login work --port 8400\n" +
			"  graph2mqtt login work --for calendar,status",
		Args:              optionalArgs(1),
		ValidArgsFunction: p.completeAccount,
		RunE: p.do(func(ctx context.Context, args []string) error {
			switch {
			case l.port < 0 || l.port > 65535:
				return &usageError{fmt.Sprintf("--port: want a port from 1 to 65535, not %d", l.port)}
			case l.device && l.port != 0:
				return &usageError{"--port does not go with --device-code: the browser is not redirected to this machine"}
			}
			c, a, err := p.loadAccount(args)
			if err != nil {
				return err
			}
			if a.Application {
				if l.device || l.port != 0 || len(l.kinds) > 0 {
					return &usageError{"--device-code, --port and --for are for accounts, to which a user signs in"}
				}
				return p.checkApplication(ctx, c, a)
			}
			s, err := p.session(c, a)
			if err != nil {
				return err
			}
			if err := p.login(ctx, a, s, l); err != nil {
				return err
			}
			return p.revokeLink(c, a)
		}),
	}
	f := cmd.Flags()
	f.BoolVar(&l.device, "device-code", false, "sign in with a code that you enter in any browser")
	f.IntVar(&l.port, "port", 0, "`port` of http://localhost to which the browser returns; default: any free port")
	f.StringSliceVar(&l.kinds, "for", nil, "additional sensor `types` to request reading permissions for")
	must(cmd.RegisterFlagCompletionFunc("for", completeKinds))
	return cmd
}

// login holds the flags of the command.
type login struct {
	device bool
	port   int
	kinds  []string
}

// extraPermissions returns the permissions that --for adds.
func (l login) extraPermissions(a *config.Account) ([]runtime.RequiredPermission, error) {
	var ps []runtime.RequiredPermission
	for _, name := range l.kinds {
		all := runtime.Kinds()
		i := slices.IndexFunc(all, func(k sensors.Kind) bool { return strings.EqualFold(k.Name, strings.TrimSpace(name)) })
		if i < 0 {
			return nil, &usageError{fmt.Sprintf("--for: want sensor types (%s), not %q", strings.Join(kindNames(), ", "), name)}
		}
		if all[i].WorkOnly && personal(a) {
			return nil, &usageError{fmt.Sprintf("--for: %s needs a work or school account, and the tenant consumers has only personal ones", all[i].Name)}
		}
		ps = append(ps, runtime.ReadingPermissions(all[i])...)
	}
	return ps, nil
}

func (p *program) login(ctx context.Context, a *config.Account, s *auth.Session, l login) error {
	extra, err := l.extraPermissions(a)
	if err != nil {
		return err
	}
	wanted := append(runtime.RequiredPermissions(a), extra...)
	scopes := runtime.SignInScopes(a, extra...)
	if personal(a) {
		for _, text := range unavailableToPersonal(wanted) {
			fmt.Fprintln(p.stdout, p.paint(color.FgYellow).Sprint(text))
		}
	} else if texts := needingAdministrator(wanted, scopes[0], s.Status().Granted); len(texts) > 0 {
		for _, text := range texts {
			fmt.Fprintln(p.stdout, p.paint(color.FgYellow).Sprint(text))
		}
		fmt.Fprintf(p.stdout, "For a link to send them, run: graph2mqtt permissions %s --format link. If they have consented already, just sign in.\n", a.ID)
	}
	if a.User != "" {
		fmt.Fprintf(p.stdout, "Sign in as %s. Other users are refused.\n", a.User)
	}
	r := auth.Request{Scopes: scopes, OnPrompt: p.prompt}
	if l.device {
		_, err = s.SignInByDevice(ctx, r)
	} else {
		pasted := make(chan string)
		ended := make(chan struct{})
		defer close(ended)
		// A read from a terminal cannot be canceled: this goroutine may outlive the sign-in, and ends with the program.
		go lines(p.stdin, pasted, ended)
		_, err = s.SignInByBrowser(ctx, r, auth.Browser{Port: l.port, PastedRedirects: pasted, OnInvalidRedirect: func(err error) {
			fmt.Fprintf(p.stdout, "This address cannot be used: %v\n", err)
		}})
	}
	if err != nil {
		return err
	}
	p.signedIn(a, wanted, s.Status())
	return nil
}

// unavailableToPersonal returns a sentence for each permission that personal accounts do not have.
func unavailableToPersonal(wanted []runtime.RequiredPermission) []string {
	var texts []string
	for _, n := range wanted {
		if facts, ok := graph.LookupScope(n.Scope); ok && !facts.Personal {
			texts = append(texts, fmt.Sprintf("%s: personal accounts do not have %s: %s", n.Sensor, n.Scope, n.Impact))
		}
	}
	return dedupe(texts)
}

// needingAdministrator returns a sentence for each permission to which only an administrator can consent, unless it is granted or a
// requested scope to which users can consent includes it. Where one requested scope includes others, it alone is named.
func needingAdministrator(wanted []runtime.RequiredPermission, requested, granted []string) []string {
	enough := slices.Clone(granted)
	for _, scope := range requested {
		if info, ok := graph.LookupScope(scope); ok && !info.Admin {
			enough = append(enough, scope)
		}
	}
	type need struct{ sensor, scope string }
	named := map[need]string{} // the scope of the permission that it was named for
	var texts []string
	for _, n := range wanted {
		info, ok := graph.LookupScope(n.Scope)
		if !ok || !info.Admin || n.Satisfied(enough) {
			continue
		}
		scope := n.Scope
		if i := slices.IndexFunc(requested, func(s string) bool { return n.Satisfied([]string{s}) }); i >= 0 && !slices.Contains(requested, scope) {
			scope = requested[i]
		}
		k := need{n.Sensor, scope}
		if before, ok := named[k]; ok && before != n.Scope {
			continue // reading comes first: without it, the rest is unavailable as well
		}
		named[k] = n.Scope
		texts = append(texts, fmt.Sprintf("%s: an administrator of the organization must consent to %s; without it, %s", n.Sensor, scope, n.Impact))
	}
	return dedupe(texts)
}

// lines sends each line that it reads, except blank ones, and closes to at the end.
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

// prompt tells the user how to sign in.
func (p *program) prompt(t auth.Prompt) {
	if t.Why != "" {
		without := "it"
		if len(t.Refused) > 1 {
			without = "them"
		}
		fmt.Fprintf(p.stdout, "\nMicrosoft refused %s: %s.\nContinue without %s:\n", strings.Join(t.Refused, ", "), t.Why, without)
	}
	bold := p.paint(color.Bold)
	if t.Code != "" {
		fmt.Fprintf(p.stdout, "Open %s and enter the code %s before %s.\n", bold.Sprint(t.URL), bold.Sprint(t.Code), t.Expires.Local().Format("15:04"))
		return
	}
	fmt.Fprintf(p.stdout, "Open this link and sign in:\n\n%s\n\n", t.URL)
	if t.Listening {
		fmt.Fprintf(p.stdout, "The browser returns to %s by itself. If it runs on another machine, that page fails to load there: copy its address and paste it here.\n", t.Redirect)
	} else {
		fmt.Fprintf(p.stdout, "The browser ends on an address that begins with %s. Copy it and paste it here.\n", t.Redirect)
	}
	if t.Note != "" {
		fmt.Fprintf(p.stdout, "%s.\n", t.Note)
	}
	if t.Listening && p.desktop() {
		browser.Stdout, browser.Stderr = io.Discard, io.Discard
		_ = browser.OpenURL(t.URL) // the link can be opened by hand
	}
}

// desktop reports whether the user can see a browser of this machine.
func (p *program) desktop() bool {
	switch {
	case !p.terminal || p.environment("SSH_CONNECTION") != "":
		return false
	case stdruntime.GOOS == "darwin", stdruntime.GOOS == "windows":
		return true
	}
	return p.environment("DISPLAY") != "" || p.environment("WAYLAND_DISPLAY") != ""
}

// signedIn prints what was granted and what was not, by sensor.
func (p *program) signedIn(a *config.Account, wanted []runtime.RequiredPermission, s auth.Status) {
	fmt.Fprintf(p.stdout, "\n%s %s is signed in as %s.\n", p.paint(color.FgGreen).Sprint("✓"), a.ID, userName(s.User))
	var names []string
	granted, missing := map[string][]string{}, map[string][]string{}
	for _, n := range wanted {
		name := cmp.Or(n.Sensor, a.ID)
		names = append(names, name)
		info, known := graph.LookupScope(n.Scope)
		switch {
		case s.User.Personal && known && !info.Personal:
			missing[name] = append(missing[name], fmt.Sprintf("personal accounts do not have %s: %s", n.Scope, n.Impact))
		case n.Satisfied(s.Granted):
			granted[name] = append(granted[name], n.Purpose+" ("+n.Scope+")")
		default:
			missing[name] = append(missing[name], fmt.Sprintf("%s was not granted: %s", n.Scope, n.Impact))
		}
	}
	warn := p.paint(color.FgYellow)
	for _, name := range dedupe(names) {
		if c := a.Sensors[name]; c != nil && s.User.Personal && workOnly(c.Type) {
			granted[name], missing[name] = nil, []string{fmt.Sprintf("sensors of type %s need a work or school account, and this is a personal one", c.Type)}
		}
		parts := dedupe(granted[name])
		for _, text := range dedupe(missing[name]) {
			parts = append(parts, warn.Sprint(text))
		}
		fmt.Fprintf(p.stdout, "  %s: %s\n", name, strings.Join(parts, "; "))
	}
}

// nonEmpty returns the texts that are not empty.
func nonEmpty(texts ...string) []string {
	return slices.DeleteFunc(texts, func(s string) bool { return s == "" })
}

// workOnly reports whether sensors of a type need a work or school account.
func workOnly(kind string) bool {
	return slices.ContainsFunc(runtime.Kinds(), func(k sensors.Kind) bool { return k.Name == kind && k.WorkOnly })
}

// kindNames returns the types of sensors in alphabetical order.
func kindNames() []string {
	var names []string
	for _, k := range runtime.Kinds() {
		names = append(names, k.Name)
	}
	slices.Sort(names)
	return names
}
