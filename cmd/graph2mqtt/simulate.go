package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"text/tabwriter"

	"github.com/google/renameio/v2/maybe"
	"github.com/spf13/cobra"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

func (p *program) simulateCommand() *cobra.Command {
	var addr, caFile string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "simulate",
		Short: "Run the simulated Entra ID and Microsoft Graph alone, for any client",
		Long: "simulate serves a Microsoft Entra ID and a Microsoft Graph with the users of a made-up company over HTTPS, until it is interrupted.\n" +
			"It prints what a client needs. Below /control its clock, its users and their data, and what goes wrong can be changed, from this\n" +
			"machine alone.",
		Example: "  graph2mqtt simulate\n" +
			"  graph2mqtt simulate --addr 127.0.0.1:0 --ca-file ca.pem --json",
		Args: cobra.NoArgs,
		RunE: p.do(func(ctx context.Context, _ []string) error { return p.simulate(ctx, addr, caFile, asJSON) }),
	}
	f := cmd.Flags()
	f.StringVar(&addr, "addr", "127.0.0.1:8443", "`HOST:PORT` to listen on; port 0: any")
	f.StringVar(&caFile, "ca-file", "", "`file` for the certificate of its authority, which stays; otherwise a temporary one")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// A simulation is what simulate prints.
type simulation struct {
	Login    string           `json:"login"`
	Graph    string           `json:"graph"`
	Audience string           `json:"audience"`
	Control  string           `json:"control"` // "": refused
	Tenant   string           `json:"tenant"`
	ClientID string           `json:"client_id"`
	CAFile   string           `json:"ca_file"`
	Users    []simulator.User `json:"users"`
}

// simulate serves until the context ends, which is no error.
func (p *program) simulate(ctx context.Context, addr, caFile string, asJSON bool) (err error) {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP) // the window is closed
	defer stop()
	if _, _, err := net.SplitHostPort(addr); err != nil {
		return &wrong{fmt.Sprintf("--addr: want HOST:PORT, not %q", addr)}
	}
	o := simulator.Options{Address: addr, Audience: "https://graph.microsoft.com"}
	s := simulator.Company(o)
	if err := s.Start(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if caFile == "" {
		dir, mkdirErr := os.MkdirTemp("", "graph2mqtt-simulate-")
		if mkdirErr != nil {
			return mkdirErr
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
		caFile = filepath.Join(dir, "ca.pem")
	}
	if caFile, err = filepath.Abs(caFile); err != nil {
		return err
	}
	// Written atomically, as far as the system can: others wait for the file.
	if err := maybe.WriteFile(caFile, s.CA(), 0o644); err != nil {
		return fmt.Errorf("write the certificate: %w", err)
	}
	x := simulation{
		Login: s.LoginURL(), Graph: s.GraphURL(), Audience: o.Audience, Control: s.ControlURL(),
		Tenant: simulator.ContosoTenant, ClientID: simulator.ContosoClient, CAFile: caFile, Users: s.Users(),
	}
	if asJSON {
		e := json.NewEncoder(p.stdout)
		e.SetIndent("", "  ")
		err = e.Encode(x)
	} else {
		err = p.present(x)
	}
	if err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// present prints it for a person.
func (p *program) present(x simulation) error {
	fmt.Fprintln(p.stdout, "Here are a simulated Entra ID and a simulated Microsoft Graph. Ctrl-C ends them.")
	fmt.Fprintln(p.stdout)
	control := x.Control
	if control == "" {
		control = "refused: it listens beyond this machine"
	}
	w := tabwriter.NewWriter(p.stdout, 0, 0, 3, ' ', 0)
	for _, row := range [][2]string{
		{"login", x.Login}, {"graph", x.Graph}, {"audience", x.Audience}, {"tenant", x.Tenant}, {"client id", x.ClientID}, {"CA file", x.CAFile}, {"control", control},
	} {
		fmt.Fprintf(w, "  %s\t%s\n", row[0], row[1])
	}
	for i, u := range x.Users {
		title, note := "", ""
		if i == 0 {
			title, note = "users", ", who signs in until /control/signin says otherwise"
		}
		if u.Personal {
			note = ", a personal account"
		}
		fmt.Fprintf(w, "  %s\t%s (%s%s)\n", title, u.Address, u.Name, note)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(p.stdout, `
In a configuration of graph2mqtt:

accounts:
  work:
    client_id: %s
    cloud:
      login: %s
      graph: %s
      audience: %s
      ca_file: %q
    sensors:
      calendar: {type: calendar}
`, x.ClientID, x.Login, x.Graph, x.Audience, x.CAFile)
	return err
}
