package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

// registrations configures accounts of every kind: three that share a registration, one of a single tenant with a secret, one with a
// certificate in another cloud.
const registrations = `mqtt: {url: "mqtt://127.0.0.1"}
accounts:
  work:
    client_id: 11111111-1111-1111-1111-111111111111
    enable_update: true
    sensors:
      calendar: {type: calendar}
      out_of_office: {type: auto_reply, enable_update: false}
      presence: {type: status, enable_update: true}
      boss: {type: status, user: boss@contoso.com}
  basic:
    client_id: 11111111-1111-1111-1111-111111111111
    sensors:
      calendar: {type: calendar, basic_calendar: true}
  home:
    client_id: 11111111-1111-1111-1111-111111111111
    tenant: consumers
    sensors:
      calendar: {type: calendar}
      theirs: {type: calendar, shared_mailbox: ann@outlook.com, enable_update: true}
  secret:
    client_id: 22222222-2222-2222-2222-222222222222
    tenant: contoso.com
    client_secret: hush
    redirect_uri: https://login.microsoftonline.com/common/oauth2/nativeclient
    sensors:
      presence: {type: status}
  china:
    client_id: 33333333-3333-3333-3333-333333333333
    tenant: organizations
    cloud: china
    certificate_file: /etc/graph2mqtt/it's mine.pem
    sensors:
      presence: {type: status}
`

// register configures these accounts.
func (h *harness) configureRegistrations(t *testing.T) {
	t.Helper()
	h.write(t, "it's mine.pem", "")
	h.write(t, "graph2mqtt.yaml", strings.ReplaceAll(registrations, "/etc/graph2mqtt", h.dir))
}

func TestPermissionFormats(t *testing.T) {
	h := newHarness(t)
	h.configureRegistrations(t)
	for file, args := range map[string][]string{
		"permissions.txt":             nil,
		"permissions.md":              {"--format", "markdown"},
		"permissions.link":            {"--format", "link"},
		"permissions-secret.link":     {"secret", "--format", "link"},
		"permissions.manifest.json":   {"home", "--format", "manifest"},
		"permissions-secret.manifest": {"secret", "--format", "manifest"},
		"permissions.az":              {"work", "--format", "az"},
		"permissions-secret.az":       {"secret", "--format", "az"},
		"permissions-china.az":        {"china", "--format", "az"},
	} {
		t.Run(file, func(t *testing.T) {
			code, stdout, stderr := h.call(t, append([]string{"permissions"}, args...)...)
			if code != 0 {
				t.Errorf("exit code %d: %s", code, stderr)
			}
			golden(t, filepath.Join("testdata", file), strings.ReplaceAll(stdout+stderr, h.dir, "/etc/graph2mqtt"))
		})
	}
	for _, tt := range []struct{ args, want string }{
		{"home --format link", "account home: personal accounts have no administrator"},
		{"--format manifest", "the accounts have different app registrations; want one of basic, china, home, secret, work"},
		{"--format az", "the accounts have different app registrations; want one of basic, china, home, secret, work"},
	} {
		code, stdout, stderr := h.call(t, append([]string{"permissions"}, strings.Fields(tt.args)...)...)
		if code != 1 || stdout != "" || stderr != "graph2mqtt: "+tt.want+"\n" {
			t.Errorf("%s: %d, %s, %s", tt.args, code, stdout, stderr)
		}
	}
}

// On a terminal, permissions explains before the sign-in what could prevent it.
func TestPermissionsExplained(t *testing.T) {
	h := newHarness(t)
	h.configureRegistrations(t)
	var out bytes.Buffer
	p := &program{environ: h.environ(), stdout: &out}
	c, err := p.load()
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"work", "basic", "home"} {
		p.explain(c.Accounts[id], requestOf(c.Accounts[id]))
	}
	golden(t, filepath.Join("testdata", "permissions-explained.txt"), out.String())
}

// The manifest lists Graph's ids of the requested permissions, each once.
func TestManifest(t *testing.T) {
	h := newHarness(t)
	_, stdout, _ := h.call(t, "permissions", "--format", "manifest")
	var got []struct {
		ResourceAppID  string
		ResourceAccess []struct{ ID, Type string }
	}
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || len(got) != 1 || got[0].ResourceAppID != "00000003-0000-0000-c000-000000000000" {
		t.Fatalf("%v, %s", err, stdout)
	}
	var want, ids []string
	for _, scope := range []string{"Calendars.Read", "MailboxSettings.ReadWrite", "User.Read", "openid", "profile", "offline_access"} {
		facts, _ := graph.LookupScope(scope)
		want = append(want, facts.ID)
	}
	for _, a := range got[0].ResourceAccess {
		if a.Type != "Scope" {
			t.Errorf("%s has the type %s", a.ID, a.Type)
		}
		ids = append(ids, a.ID)
	}
	if diff := cmp.Diff(want, ids); diff != "" {
		t.Error(diff)
	}
}

// The Azure commands run in a shell.
func TestAzureCommands(t *testing.T) {
	h := newHarness(t)
	h.configureRegistrations(t)
	h.write(t, "arguments", "")
	bin := filepath.Join(h.dir, "bin")
	if err := os.Mkdir(bin, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, script := range map[string]string{
		"az":      "#!/bin/sh\nprintf '%s\\n' az \"$@\" >> arguments\ncase $3 in create) echo 4711;; credential) echo hush;; esac\n",
		"openssl": "#!/bin/sh\nprintf '%s\\n' openssl \"$@\" >> arguments\necho public part\n",
	} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	shell := func(account string) (printed string, arguments []string) {
		t.Helper()
		h.write(t, "arguments", "")
		_, commands, _ := h.call(t, "permissions", account, "--format", "az")
		cmd := exec.Command("/bin/sh", "-e", "-u")
		cmd.Dir, cmd.Env, cmd.Stdin = h.dir, []string{"PATH=" + bin + ":/usr/bin:/bin"}, strings.NewReader(commands)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		b, err := os.ReadFile(filepath.Join(h.dir, "arguments"))
		if err != nil {
			t.Fatal(err)
		}
		return string(out), strings.Split(string(b), "\n")
	}
	after := func(arguments []string, option string) string {
		t.Helper()
		i := slices.Index(arguments, option)
		if i < 0 {
			t.Fatalf("no %s among %q", option, arguments)
		}
		return arguments[i+1]
	}

	printed, arguments := shell("work")
	if printed != "client_id: 4711\n" {
		t.Errorf("printed %q", printed)
	}
	_, manifest, _ := h.call(t, "permissions", "work", "--format", "manifest")
	var compact bytes.Buffer
	if err := json.Compact(&compact, []byte(manifest)); err != nil {
		t.Fatal(err)
	}
	for option, want := range map[string]string{
		"--public-client-redirect-uris": "http://localhost",
		"--is-fallback-public-client":   "true",
		"--required-resource-accesses":  strings.TrimSpace(compact.String()),
		"--url":                         "https://graph.microsoft.com/v1.0/applications(appId='4711')",
		"--body":                        `{"signInAudience": "AzureADandPersonalMicrosoftAccount", "api": {"requestedAccessTokenVersion": 2}}`,
	} {
		if got := after(arguments, option); got != want {
			t.Errorf("%s %s, want %s", option, got, want)
		}
	}

	printed, arguments = shell("secret")
	if printed != "client_id: 4711\nclient_secret: hush\n" || after(arguments, "--web-redirect-uris") != "https://login.microsoftonline.com/common/oauth2/nativeclient" ||
		after(arguments, "--is-fallback-public-client") != "false" || after(arguments, "--tenant") != "contoso.com" {
		t.Errorf("%q, %q", printed, arguments)
	}
	_, arguments = shell("china")
	if after(arguments, "-in") != filepath.Join(h.dir, "it's mine.pem") || after(arguments, "--cert") != "public part" || after(arguments, "--name") != "AzureChinaCloud" {
		t.Errorf("%q", arguments)
	}
}

// An address can have characters that mean something to a shell or to PowerShell.
func TestAzureCommandsQuoteMailboxes(t *testing.T) {
	h := newHarness(t)
	h.write(t, "graph2mqtt.yaml", "mqtt: {url: mqtt://127.0.0.1:1}\norganizations:\n  contoso:\n    tenant: contoso.example\n    client_id: 11111111-1111-1111-1111-111111111111\n"+
		"    federated_token_file: token\n    sensors:\n      a: {type: email, user: \"o'brien@contoso.example\"}\n      b: {type: auto_reply, user: \"`touch${IFS}executed`$HOME@contoso.example\"}\n")
	bin := filepath.Join(h.dir, "bin")
	if err := os.Mkdir(bin, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bin, "az"), []byte("#!/bin/sh\necho 4711\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, commands, _ := h.call(t, "permissions", "contoso", "--format", "az")
	cmd := exec.Command("/bin/sh", "-e", "-u")
	cmd.Dir, cmd.Env, cmd.Stdin = h.dir, []string{"PATH=" + bin + ":/usr/bin:/bin"}, strings.NewReader(commands)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, want := range []string{
		`-RecipientRestrictionFilter "PrimarySmtpAddress -eq 'o''brien@contoso.example'"` + "\n",
		"-Identity 4711 -Resource 'o''brien@contoso.example'\n",
		"-RecipientRestrictionFilter \"PrimarySmtpAddress -eq '``touch`${ifs}executed```$home@contoso.example'\"\n", // addresses have no case
		"-Identity 4711 -Resource '`touch${ifs}executed`$home@contoso.example'\n",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("printed:\n%s\nwant %s", out, want)
		}
	}
	if _, err := os.Stat(filepath.Join(h.dir, "executed")); err == nil {
		t.Error("a part of the address was executed")
	}
}
