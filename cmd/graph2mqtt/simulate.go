package main

import (
	"context"
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
	var addr, caFile, proxy string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "simulate",
		Short: "Run a simulated Microsoft Entra ID and Microsoft Graph for testing clients",
		Long: "simulate runs a simulated Microsoft Entra ID and Microsoft Graph with the users of a sample company over HTTPS until Ctrl-C. It\n" +
			"prints the settings that a client needs. The API below /control changes its clock, its users and their data, and injects faults;\n" +
			"it is available from this machine only. With --proxy, clients that use Microsoft's addresses run unchanged.",
		Example: "  graph2mqtt simulate\n" +
			"  graph2mqtt simulate --addr 127.0.0.1:0 --ca-file ca.pem --json\n" +
			"  graph2mqtt simulate --proxy 127.0.0.1:8444 --ca-file ca.pem",
		Args: cobra.NoArgs,
		RunE: p.do(func(ctx context.Context, _ []string) error { return p.simulate(ctx, addr, proxy, caFile, asJSON) }),
	}
	f := cmd.Flags()
	f.StringVar(&addr, "addr", "127.0.0.1:8443", "`HOST:PORT` to listen on; port 0: any free port")
	f.StringVar(&caFile, "ca-file", "", "`file` to write the CA certificate to; default: a temporary file, removed on exit")
	f.StringVar(&proxy, "proxy", "", "`HOST:PORT` of an HTTPS proxy that serves graph.microsoft.com and login.microsoftonline.com from the simulator; default: none")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// A simulation is the output of simulate.
type simulation struct {
	Login    string           `json:"login"`
	Graph    string           `json:"graph"`
	Audience string           `json:"audience"`
	Control  string           `json:"control"` // "": not available
	Proxy    string           `json:"proxy"`   // "": none
	Tenant   string           `json:"tenant"`
	ClientID string           `json:"client_id"`
	CAFile   string           `json:"ca_file"`
	Users    []simulator.User `json:"users"`
}

// simulate serves until the context ends, which is not an error.
func (p *program) simulate(ctx context.Context, addr, proxy, caFile string, asJSON bool) (err error) {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP) // the terminal is closed
	defer stop()
	if _, _, err := net.SplitHostPort(addr); err != nil {
		return &usageError{fmt.Sprintf("--addr: want HOST:PORT, not %q", addr)}
	}
	if _, _, err := net.SplitHostPort(proxy); proxy != "" && err != nil {
		return &usageError{fmt.Sprintf("--proxy: want HOST:PORT, not %q", proxy)}
	}
	o := simulator.Options{Address: addr, Audience: "https://graph.microsoft.com"}
	s := simulator.ContosoWithColleagues(o)
	if err := s.Start(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if proxy != "" {
		if err := s.StartProxy(proxy); err != nil {
			return err
		}
	}
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
	// Written atomically where the system supports it, because other programs wait for the file.
	if err := maybe.WriteFile(caFile, s.CA(), 0o644); err != nil {
		return fmt.Errorf("write the certificate: %w", err)
	}
	x := simulation{
		Login: s.LoginURL(), Graph: s.GraphURL(), Audience: o.Audience, Control: s.ControlURL(), Proxy: s.ProxyURL(),
		Tenant: simulator.ContosoTenant, ClientID: simulator.ContosoClient, CAFile: caFile, Users: s.Users(),
	}
	if asJSON {
		err = p.json(x)
	} else {
		err = p.present(x)
	}
	if err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// present prints the simulation as text.
func (p *program) present(x simulation) error {
	fmt.Fprintln(p.stdout, "Simulated Microsoft Entra ID and Microsoft Graph. Press Ctrl-C to stop.")
	fmt.Fprintln(p.stdout)
	control := x.Control
	if control == "" {
		control = "not available: the simulator listens beyond this machine"
	}
	w := tabwriter.NewWriter(p.stdout, 0, 0, 3, ' ', 0)
	for _, row := range [][2]string{
		{"login", x.Login}, {"graph", x.Graph}, {"audience", x.Audience}, {"tenant", x.Tenant}, {"client id", x.ClientID}, {"CA file", x.CAFile}, {"control", control}, {"proxy", x.Proxy},
	} {
		if row[1] != "" {
			fmt.Fprintf(w, "  %s\t%s\n", row[0], row[1])
		}
	}
	for i, u := range x.Users {
		title, note := "", ""
		if i == 0 {
			title, note = "users", ", signs in by default"
		}
		if u.Personal {
			note = ", a personal account"
		}
		fmt.Fprintf(w, "  %s\t%s (%s%s)\n", title, u.Address, u.Name, note)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if x.Proxy != "" {
		fmt.Fprintf(p.stdout, "\nEnvironment of clients that use Microsoft's addresses, which must trust the CA file:\n\nHTTPS_PROXY=%s\n", x.Proxy)
	}
	_, err := fmt.Fprintf(p.stdout, `
Configuration of graph2mqtt:

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
      mail: {type: email}
`, x.ClientID, x.Login, x.Graph, x.Audience, x.CAFile)
	return err
}
