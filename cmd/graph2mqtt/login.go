package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"

	"github.com/fatih/color"
	"github.com/pkg/browser"
	"github.com/spf13/cobra"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/bridge"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/auth"
)

func (p *program) loginCommand() *cobra.Command {
	var (
		device bool
		port   int
	)
	cmd := &cobra.Command{
		Use:   "login ACCOUNT",
		Short: "Sign an account in",
		Long: "login prints a link to open in a browser, which comes back by itself where it runs on this machine. Where it does not, paste the address\n" +
			"on which it ends. A running bridge takes up the sign-in within a second.\n\n" +
			"With --device-code it prints a code to enter in a browser anywhere. Some organisations block that way.",
		Example: "  graph2mqtt login work\n" +
			"  graph2mqtt login work --device-code\n" +
			"  graph2mqtt login work --port 8400",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: p.completeAccount,
		RunE: p.do(func(ctx context.Context, args []string) error {
			switch {
			case port < 0 || port > 65535:
				return &wrong{fmt.Sprintf("--port: want a port from 1 to 65535, not %d", port)}
			case device && port != 0:
				return &wrong{"--port is for the browser to come back to, which it does not with --device-code"}
			}
			c, err := p.load()
			if err != nil {
				return err
			}
			a, s, err := p.session(c, args[0])
			if err != nil {
				return err
			}
			return p.login(ctx, a, s, device, port)
		}),
	}
	cmd.Flags().BoolVar(&device, "device-code", false, "sign in by a code that is entered in a browser anywhere")
	cmd.Flags().IntVar(&port, "port", 0, "`port` of http://localhost to which the browser comes back; otherwise any that is free")
	return cmd
}

func (p *program) login(ctx context.Context, a *config.Account, s *auth.Session, device bool, port int) error {
	r := auth.Request{Scopes: bridge.SignInScopes(a), Show: p.prompt}
	var err error
	if device {
		_, err = s.SignInByDevice(ctx, r)
	} else {
		pasted := make(chan string)
		ended := make(chan struct{})
		defer close(ended)
		// A read from a terminal cannot be called off: this goroutine may outlive the sign-in, and ends with the program.
		go lines(p.stdin, pasted, ended)
		_, err = s.SignInByBrowser(ctx, r, auth.Browser{Port: port, Pasted: pasted, Unusable: func(err error) {
			fmt.Fprintf(p.stdout, "That cannot be used: %v\n", err)
		}})
	}
	if err != nil {
		return err
	}
	p.signedIn(a, s.Status())
	return nil
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
	if t.Waiting {
		fmt.Fprintf(p.stdout, "The browser comes back to %s by itself. If it runs on another machine it will show an error there: then paste the address on which it ended here.\n", t.Redirect)
	} else {
		fmt.Fprintf(p.stdout, "The browser ends on an address that begins with %s. Paste it here.\n", t.Redirect)
	}
	if t.Waiting && p.desktop() {
		browser.Stdout, browser.Stderr = io.Discard, io.Discard
		_ = browser.OpenURL(t.URL) // the link is there to be opened by hand
	}
}

// desktop reports whether the user sits in front of this machine.
func (p *program) desktop() bool {
	switch {
	case !p.terminal() || p.environment("SSH_CONNECTION") != "":
		return false
	case runtime.GOOS == "darwin", runtime.GOOS == "windows":
		return true
	}
	return p.environment("DISPLAY") != "" || p.environment("WAYLAND_DISPLAY") != ""
}

// signedIn says what was granted, and what was not, sensor by sensor.
func (p *program) signedIn(a *config.Account, s auth.Status) {
	who := s.User.Address
	if s.User.Name != "" {
		who += " (" + s.User.Name + ")"
	}
	fmt.Fprintf(p.stdout, "\n%s %s is signed in as %s.\n", p.paint(color.FgGreen).Sprint("✓"), a.ID, who)
	var names []string
	can, cannot := map[string][]string{}, map[string][]string{}
	for _, n := range bridge.Permissions(a) {
		name := n.Sensor
		if name == "" {
			name = a.ID
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
		if n.Satisfied(s.Granted) {
			can[name] = append(can[name], n.Why+" ("+n.Scope+")")
		} else {
			cannot[name] = append(cannot[name], fmt.Sprintf("%s was not granted: %s", n.Scope, n.Without))
		}
	}
	for _, name := range names {
		fmt.Fprintf(p.stdout, "  %s: %s\n", name, strings.Join(nonEmpty(unique(can[name]), p.paint(color.FgYellow).Sprint(unique(cannot[name]))), "; "))
	}
}

func nonEmpty(texts ...string) []string {
	return slices.DeleteFunc(texts, func(s string) bool { return s == "" })
}
