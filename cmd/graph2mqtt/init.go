package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
	"golang.org/x/term"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/bridge"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/entra"
	"github.com/graph2mqtt/graph2mqtt/internal/runtime"
	"github.com/graph2mqtt/graph2mqtt/internal/schema"
	"github.com/graph2mqtt/graph2mqtt/internal/state"
	"github.com/graph2mqtt/graph2mqtt/mqtt"
	"github.com/graph2mqtt/graph2mqtt/sensors"
)

// setup holds the answers to the questions of init.
type setup struct {
	broker, username, password, passwordFile string
	account, clientID, tenant                string
	sensors                                  []string
	update, signIn                           bool
}

func (p *program) initCommand() *cobra.Command {
	s := setup{tenant: "common", account: "work"}
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Ask a few questions and write a first configuration",
		Long: "init asks for the broker, the app registration and the sensors, tests the connection to the broker, writes the configuration, and\n" +
			"offers to sign in. It never changes an existing file.\n\n" +
			"Each flag answers a question. When standard input ends, the remaining questions are answered with their defaults, so that scripts\n" +
			"can run init. A password given with --password-file stays in that file; without it, init asks for the password.\n\n" +
			"The file is written to --config; by default to /etc/graph2mqtt/graph2mqtt.yaml for root, and to\n" +
			"~/.config/graph2mqtt/graph2mqtt.yaml for other users.",
		Example: "  graph2mqtt init\n" +
			"  graph2mqtt init --config graph2mqtt.yaml --mqtt mqtt://192.168.1.10:1883 --client-id 01234567-89ab-cdef-0123-456789abcdef --sensors calendar,auto_reply",
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	f.StringVar(&s.broker, "mqtt", "", "`URL` of the broker, such as mqtt://192.168.1.10:1883")
	f.StringVar(&s.username, "username", "", "user `name` at the broker")
	f.StringVar(&s.passwordFile, "password-file", "", "`file` with the password at the broker")
	f.StringVar(&s.account, "account", s.account, "`id` of the account")
	f.StringVar(&s.clientID, "client-id", "", "application (client) `id` of the app registration")
	f.StringVar(&s.tenant, "tenant", s.tenant, "who may sign in: common, organizations, consumers, or the id or domain of a `tenant`")
	f.StringSliceVar(&s.sensors, "sensors", nil, "`types` of the sensors")
	f.BoolVar(&s.update, "enable-update", false, "allow changes")
	f.BoolVar(&s.signIn, "sign-in", false, "sign in after the configuration was written")
	must(cmd.RegisterFlagCompletionFunc("sensors", completeKinds))
	cmd.RunE = p.do(func(ctx context.Context, _ []string) error {
		return (&initializer{program: p, setup: s, given: f.Changed}).run(ctx)
	})
	return cmd
}

// An initializer asks the questions of init.
type initializer struct {
	*program
	setup
	given func(flag string) bool
	file  string
	input io.Reader // the standard input itself
	in    *bufio.Reader
	ended bool // the standard input
}

func (i *initializer) run(ctx context.Context) error {
	if err := i.chooseFile(); err != nil {
		return err
	}
	i.input, i.in = i.stdin, bufio.NewReader(i.stdin)
	i.stdin = i.in // login continues where the questions end
	fmt.Fprintf(i.stdout, "This writes %s. Press Enter to accept a value in brackets.\n", i.file)
	for _, ask := range []func(context.Context) error{i.askBroker, i.askRegistration, i.askSensors} {
		if err := ask(ctx); err != nil {
			return err
		}
	}
	content := i.content()
	c, err := i.check(content)
	if err != nil {
		return err
	}
	if err := writeNewFile(i.file, content); err != nil {
		return err
	}
	fmt.Fprintf(i.stdout, "\n%s %s was written. It contains only some of the keys; graph2mqtt config example prints all.\n", i.paint().Sprint("✓"), i.file)
	return i.finish(ctx, c)
}

// chooseFile sets the file to write.
func (i *initializer) chooseFile() error {
	s := i.sources()
	if found := s.Find(); found != "" {
		if _, err := os.Lstat(found); !errors.Is(err, fs.ErrNotExist) {
			return &usageError{found + " exists and is not changed; edit it, or name another file with --config"}
		}
	}
	i.file = s.NewFile()
	if ext := strings.ToLower(filepath.Ext(i.file)); ext != ".yaml" && ext != ".yml" {
		return &usageError{fmt.Sprintf("--config: want a file that ends in .yaml or .yml, not %s", i.file)}
	}
	return nil
}

// askBroker asks for the broker until it can be reached, or the user keeps it although it cannot.
func (i *initializer) askBroker(ctx context.Context) error {
	for {
		if err := i.ask(ctx, question{
			flag: "mqtt", path: "mqtt.url", text: "Address of the MQTT broker, such as mqtt://192.168.1.10:1883", value: &i.broker,
		}); err != nil {
			return err
		}
		if err := i.ask(ctx, question{flag: "username", path: "mqtt.username", text: "User name at the broker, if it needs one", value: &i.username, optional: true}); err != nil {
			return err
		}
		if err := i.problem("mqtt.password_file"); err != nil {
			return &usageError{"--password-file: " + err.Error()}
		}
		if i.username != "" && i.passwordFile == "" {
			if err := i.ask(ctx, question{path: "mqtt.password", text: "Password at the broker (not shown)", value: &i.password, optional: true, secret: true}); err != nil {
				return err
			}
		}
		err := i.tryBroker()
		if err == nil {
			fmt.Fprintln(i.stdout, "The broker accepts the connection.")
			return nil
		}
		fmt.Fprintf(i.stdout, "The broker cannot be used now: %v\n", err)
		keep := true
		if err := i.confirm(ctx, "Keep these answers anyway", &keep); err != nil || keep {
			return err
		}
		i.forget("mqtt", "username", "password-file")
		i.broker, i.username, i.password, i.passwordFile = "", "", "", ""
	}
}

// tryBroker connects to the broker once.
func (i *initializer) tryBroker() error {
	c, err := i.check(i.content())
	if c == nil { // other answers are missing
		c, err = i.check([]byte(i.brokerText() + placeholderAccount))
	}
	if err != nil {
		return err
	}
	o, err := bridge.Broker(c.MQTT)
	if err != nil {
		return err
	}
	observer, err := mqtt.Observe(o, func(mqtt.Message) {})
	if err != nil {
		return err
	}
	observer.Close()
	return nil
}

// askRegistration asks for the account and its app registration.
func (i *initializer) askRegistration(ctx context.Context) error {
	if !i.given("client-id") {
		fmt.Fprint(i.stdout, "\nMicrosoft requires an app registration. Create one at https://entra.microsoft.com, App registrations, New registration:\n"+
			"  - Supported account types: your organization only, or any organization and personal accounts\n"+
			"  - Redirect URI: platform \"Mobile and desktop applications\" (public client), http://localhost\n"+
			"Its overview shows the application (client) id.\n")
	}
	for _, q := range []question{
		{flag: "client-id", path: "accounts." + placeholderID + ".client_id", text: "Application (client) id", value: &i.clientID},
		{flag: "tenant", path: "accounts." + placeholderID + ".tenant", text: "Who signs in: common (any account), consumers (a personal one), or the id or domain of your organization", value: &i.tenant},
		{flag: "account", path: "accounts", text: "Name of this account in topics and entities (letters a to z, digits, underscores)", value: &i.account},
	} {
		if err := i.ask(ctx, q); err != nil {
			return err
		}
	}
	return nil
}

// offered returns the kinds that need no options. The others are left to the configuration file.
func (i *initializer) offered() []sensors.Kind {
	return slices.DeleteFunc(runtime.Kinds(), func(k sensors.Kind) bool {
		return k.WriteOnly || k.WorkOnly && entra.IsPersonalTenant(i.tenant) ||
			slices.ContainsFunc(config.Fields(k.New().Options()), func(f config.Field) bool { return f.Required })
	})
}

// askSensors asks for the sensors, and whether they may change anything.
func (i *initializer) askSensors(ctx context.Context) error {
	var names []string
	for _, k := range i.offered() {
		names = append(names, k.Name)
	}
	slices.Sort(names)
	list := strings.Join(i.sensors, ",")
	if !i.given("sensors") {
		list = "calendar,auto_reply"
	}
	q := question{flag: "sensors", text: "Sensors: all, or some of " + strings.Join(names, ", "), value: &list, check: func() error {
		i.sensors = nil
		for word := range strings.FieldsFuncSeq(list, func(r rune) bool { return r == ',' || r == ' ' }) {
			switch word = strings.ToLower(word); {
			case word == "all":
				i.sensors = append(i.sensors, names...)
			case !slices.Contains(names, word):
				return fmt.Errorf("want all, or some of %s, not %q; other types need options, which you can add to the file later", strings.Join(names, ", "), word)
			default:
				i.sensors = append(i.sensors, word)
			}
		}
		if i.sensors = dedupe(i.sensors); i.sensors == nil {
			return errors.New("want at least one sensor")
		}
		return nil
	}}
	if err := i.ask(ctx, q); err != nil {
		return err
	}
	if i.given("enable-update") {
		return nil
	}
	return i.confirm(ctx, "Allow changes from Home Assistant, such as creating events (requests permissions to write)", &i.update)
}

// finish offers to sign in, and prints what to do next.
func (i *initializer) finish(ctx context.Context, c *config.Config) error {
	owner := (*state.OwnerError)(nil)
	root := errors.As(state.CheckOwner(c.StateDir), &owner) // root wrote the configuration of a service
	flags := i.nextFlags(root)
	next := strings.Join(append([]string{"graph2mqtt", "login", i.account}, quoted(flags)...), " ")
	if root {
		next = i.commandAs(owner, append([]string{"login", i.account}, flags...))
	}
	if !i.given("sign-in") {
		i.signIn = !i.ended && owner == nil
		if i.signIn {
			if err := i.confirm(ctx, "Sign in now", &i.signIn); err != nil {
				return err
			}
		}
	}
	if i.signIn && owner == nil {
		a := c.Accounts[i.account]
		s, err := i.session(c, a)
		if err == nil {
			err = i.login(ctx, a, s, login{})
		}
		if err != nil {
			return fmt.Errorf("%w; the configuration was written, to try again: %s", err, next)
		}
		next = ""
	}
	if next != "" {
		fmt.Fprintln(i.stdout, "Sign in:", next)
	}
	start := strings.Join(append([]string{"graph2mqtt", "run"}, quoted(i.nextFlags(false))...), " ")
	if strings.HasPrefix(i.file, "/etc/") {
		start = "systemctl enable --now graph2mqtt (or " + start + ")"
	}
	fmt.Fprintln(i.stdout, "Start the bridge:", start)
	return nil
}

// nextFlags returns the flags without which the next commands would use other files. Another user has another environment.
func (i *initializer) nextFlags(otherUser bool) []string {
	var flags []string
	found := config.Sources{Environ: i.environ}.Find()
	if i.flags.config != "" && (otherUser || filepath.Clean(found) != filepath.Clean(i.flags.config)) {
		flags = append(flags, "--config", i.flags.config)
	}
	if i.flags.stateDir != "" {
		flags = append(flags, "--state-dir", i.flags.stateDir)
	}
	return flags
}

func quoted(words []string) []string {
	words = slices.Clone(words)
	for i, w := range words {
		words[i] = quote(w)
	}
	return words
}

// A question asks for one answer.
type question struct {
	flag     string // that answers it; "": none
	path     string // of the configuration, whose problems are those of the answer
	text     string
	value    *string // holds the default, and then the answer
	optional bool    // may be empty
	secret   bool
	check    func() error // instead of path
}

// ask asks a question until the answer is valid. A flag is no question.
func (i *initializer) ask(ctx context.Context, q question) error {
	check := func() error {
		switch {
		case *q.value == "" && !q.optional:
			return errors.New("this is required")
		case q.check != nil:
			return q.check()
		}
		return i.problem(q.path)
	}
	if q.flag != "" && i.given(q.flag) {
		if err := check(); err != nil {
			return &usageError{"--" + q.flag + ": " + err.Error()}
		}
		return nil
	}
	standard := *q.value
	for {
		shown := ""
		if standard != "" {
			shown = " [" + standard + "]"
		}
		fmt.Fprintf(i.stdout, "\n%s%s: ", q.text, shown)
		answer, err := i.line(ctx, q.secret)
		if err != nil {
			return err
		}
		*q.value = cmp.Or(answer, standard)
		err = check()
		switch {
		case err == nil:
			return nil
		case i.ended:
			return &usageError{fmt.Sprintf("--%s: %v, and the standard input has ended", cmp.Or(q.flag, "password-file"), err)}
		}
		fmt.Fprintf(i.stdout, "This cannot be used: %v.\n", err)
	}
}

// confirm asks a question that is answered with yes or no. value holds the default, and then the answer.
func (i *initializer) confirm(ctx context.Context, text string, value *bool) error {
	shown := "y/N"
	if *value {
		shown = "Y/n"
	}
	for {
		fmt.Fprintf(i.stdout, "\n%s? [%s]: ", text, shown)
		answer, err := i.line(ctx, false)
		if err != nil {
			return err
		}
		switch strings.ToLower(answer) {
		case "":
			return nil
		case "y", "yes":
			*value = true
			return nil
		case "n", "no":
			*value = false
			return nil
		}
		fmt.Fprintf(i.stdout, "Answer y or n, not %q.\n", answer)
	}
}

// line reads a line without the spaces around it. At the end of the input it is empty.
func (i *initializer) line(ctx context.Context, secret bool) (string, error) {
	if i.ended {
		fmt.Fprintln(i.stdout)
		return "", nil
	}
	type input struct {
		text string
		err  error
	}
	read := make(chan input, 1)
	restore := func() {}
	if f, ok := i.terminalInput(); ok && secret && i.in.Buffered() == 0 {
		if before, err := term.GetState(int(f.Fd())); err == nil {
			restore = func() { _ = term.Restore(int(f.Fd()), before) }
		}
		go func() {
			b, err := term.ReadPassword(int(f.Fd()))
			read <- input{string(b), err}
		}()
	} else {
		// A read cannot be canceled: this goroutine may outlive the command, and ends with the program.
		go func() {
			text, err := i.in.ReadString('\n')
			read <- input{text, err}
		}()
	}
	select {
	case <-ctx.Done():
		restore()
		fmt.Fprintln(i.stdout)
		return "", ctx.Err()
	case r := <-read:
		switch {
		case errors.Is(r.err, io.EOF):
			i.ended = true
			fmt.Fprintln(i.stdout)
		case r.err != nil:
			return "", fmt.Errorf("read the answer: %w", r.err)
		case secret:
			fmt.Fprintln(i.stdout)
		}
		return strings.TrimSpace(r.text), nil
	}
}

// forget makes questions of flags whose values are of no use.
func (i *initializer) forget(flags ...string) {
	given := i.given
	i.given = func(flag string) bool { return !slices.Contains(flags, flag) && given(flag) }
}

const (
	// placeholderID is the account in which answers are checked before it has its own id.
	placeholderID = "account"
	// placeholderAccount lets the broker be checked before there is an account.
	placeholderAccount = "accounts: {" + placeholderID + ": {client_id: 01234567-89ab-cdef-0123-456789abcdef}}\n"
)

// problem returns the problem at a path that the answers so far cause.
func (i *initializer) problem(path string) error {
	copied := *i
	if strings.HasPrefix(path, "accounts."+placeholderID) {
		copied.account = placeholderID
	}
	_, err := i.check(copied.content())
	var problems config.Problems
	if !errors.As(err, &problems) {
		return err
	}
	var found []error
	for _, p := range problems {
		if p.Path == path || path == "accounts" && p.Path == schema.Join(path, schema.QuoteKey(i.account)) {
			found = append(found, errors.New(p.Message))
		}
	}
	return errors.Join(found...)
}

// check loads a configuration without writing it.
func (i *initializer) check(content []byte) (*config.Config, error) {
	environ := slices.DeleteFunc(slices.Clone(i.environ), func(v string) bool { return strings.HasPrefix(v, "GRAPH2MQTT_CONFIG=") })
	flags := map[string]any{}
	if i.flags.stateDir != "" {
		flags["state_dir"] = i.flags.stateDir
	}
	c, err := runtime.Load(config.Sources{File: i.file, Content: content, Environ: environ, Flags: flags}, runtime.Kinds())
	if err != nil {
		return nil, err
	}
	for _, f := range c.RefusedFiles {
		if f.Account == i.account { // the new file would be used instead, or together with it
			return nil, config.Problems{{Path: schema.Join("accounts", schema.QuoteKey(i.account)), Message: "want another id: " + f.Name + " has this account"}}
		}
	}
	return c, nil
}

// yamlText returns a text as YAML writes it.
func yamlText(text string) string {
	b, err := yaml.Marshal(text)
	must(err)
	return strings.TrimSpace(string(b))
}

// brokerText returns the lines of the broker.
func (i *initializer) brokerText() string {
	var b strings.Builder
	b.WriteString("mqtt:\n  url: " + yamlText(i.broker) + "\n")
	for _, line := range [][2]string{{"username", i.username}, {"password", i.password}, {"password_file", i.passwordFile}} {
		if line[1] != "" {
			b.WriteString("  " + line[0] + ": " + yamlText(line[1]) + "\n")
		}
	}
	return b.String()
}

// content returns the configuration file.
func (i *initializer) content() []byte {
	var b strings.Builder
	b.WriteString("# Configuration of graph2mqtt. Every key: https://github.com/graph2mqtt/graph2mqtt/blob/main/docs/configuration.md\n")
	b.WriteString(i.brokerText())
	fmt.Fprintf(&b, "accounts:\n  %s:\n    client_id: %s\n    tenant: %s\n", yamlText(i.account), yamlText(i.clientID), yamlText(i.tenant))
	if i.update {
		b.WriteString("    enable_update: true\n")
	}
	b.WriteString("    sensors:\n")
	for _, k := range i.offered() {
		if !slices.Contains(i.sensors, k.Name) {
			continue
		}
		id := k.Name
		if config.Reserved(id) { // a topic of the account
			id = "presence"
		}
		updates := ""
		if i.update && k.OwnUpdates && len(k.New().Operations()) > 0 {
			updates = ", enable_update: true"
		}
		fmt.Fprintf(&b, "      %s: {type: %s%s}\n", id, k.Name, updates)
	}
	return []byte(b.String())
}

// terminalInput returns the terminal that the standard input is.
func (i *initializer) terminalInput() (*os.File, bool) {
	f, ok := i.input.(*os.File)
	return f, ok && term.IsTerminal(int(f.Fd()))
}

// writeNewFile writes a file that does not exist, completely or not at all. In the directory of a service's group, that group may read it.
func writeNewFile(name string, content []byte) (err error) {
	fail := func(err error) error {
		if errors.Is(err, fs.ErrExist) {
			return &usageError{name + " exists and is not changed"}
		}
		return fmt.Errorf("write the configuration: %w", err)
	}
	dir := filepath.Dir(name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fail(err)
	}
	temp, err := os.CreateTemp(dir, ".graph2mqtt-*") // its mode is 0600
	if err != nil {
		return fail(err)
	}
	defer os.Remove(temp.Name())
	_, err = temp.Write(content)
	if err == nil {
		err = shareWithGroup(temp, dir)
	}
	if err == nil {
		err = temp.Sync()
	}
	if err = errors.Join(err, temp.Close()); err != nil {
		return fail(err)
	}
	// Unlike a rename, a link never replaces a file.
	switch err := os.Link(temp.Name(), name); {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrExist):
		return fail(err)
	}
	// The file system has no links.
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fail(err)
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Close()); err != nil {
		return fail(errors.Join(err, os.Remove(name)))
	}
	return nil
}
