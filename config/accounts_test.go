package config_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/config"
)

const client = "01234567-89ab-cdef-0123-456789abcdef"

// A place is a directory with a configuration file and files of accounts.
type place struct {
	t   *testing.T
	dir string
}

func newPlace(t *testing.T, main string) *place {
	t.Helper()
	p := &place{t, t.TempDir()}
	p.write("graph2mqtt.yaml", "mqtt: {url: mqtt://localhost}\n"+main)
	return p
}

func (p *place) path(name string) string { return filepath.Join(p.dir, name) }

// write writes a file, with its directory.
func (p *place) write(name, content string) {
	p.t.Helper()
	if err := os.MkdirAll(filepath.Dir(p.path(name)), 0o700); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(p.path(name), []byte(content), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

func (p *place) load(more ...string) (*config.Config, error) {
	return config.Load(config.Sources{File: p.path("graph2mqtt.yaml"), Environ: environ(more...)}, kinds())
}

func (p *place) mustLoad(more ...string) *config.Config {
	p.t.Helper()
	c, err := p.load(more...)
	if err != nil {
		p.t.Fatal(err)
	}
	return c
}

// problems returns problems without the directory.
func (p *place) problems(ps config.Problems) string {
	return strings.ReplaceAll(ps.Error(), p.dir+"/", "")
}

func ids(c *config.Config) []string { return slices.Sorted(maps.Keys(c.Accounts)) }

func wantIDs(t *testing.T, c *config.Config, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, ids(c)); diff != "" {
		t.Error(diff)
	}
}

// An account in a file of its own is the same as below accounts; the environment overrides both.
func TestAccountFiles(t *testing.T) {
	p := newPlace(t, "accounts: {work: {client_id: "+client+"}}\n")
	p.write("accounts.d/ann.yaml", "client_id: "+client+"\nuser: ann@contoso.com\nsensors:\n  mine: {type: calendar}\n")
	p.write("accounts.d/ben.yml", "client_id: "+client+"\nuser: ben@contoso.com\n")
	p.write("accounts.d/cleo.toml", "client_id = '"+client+"'\n[sensors.mine]\ntype = 'calendar'\n")
	p.write("accounts.d/dan.json", `{"client_id": "`+client+`"}`)
	// What editors, package managers and Kubernetes leave is no account.
	for _, name := range []string{".ann.yaml.swp", "ann.yaml~", "#ann.yaml#", ".#ann.yaml", "ann.yaml.tmp", "ann.yaml.bak", "4913", "ann.yaml.dpkg-new", ".hidden.yaml", "README.md", "..data/eve.yaml"} {
		p.write("accounts.d/"+name, "hunter2: [")
	}
	c := p.mustLoad("GRAPH2MQTT_ACCOUNTS__BEN__USER=benjamin@contoso.com")
	wantIDs(t, c, "ann", "ben", "cleo", "dan", "work")
	if len(c.RefusedFiles) > 0 || c.AccountsDir != p.path("accounts.d") || c.Accounts["ann"].Sensors["mine"] == nil || c.Accounts["ben"].User != "benjamin@contoso.com" || c.Accounts["dan"].Name != "Dan" {
		t.Errorf("got %+v, %+v", c, c.Accounts["ben"])
	}
	want := map[string]string{"ann": p.path("accounts.d/ann.yaml"), "ben": p.path("accounts.d/ben.yml"), "cleo": p.path("accounts.d/cleo.toml"), "dan": p.path("accounts.d/dan.json")}
	if diff := cmp.Diff(want, c.AccountFiles); diff != "" {
		t.Error(diff)
	}
	merged := newPlace(t, "accounts:\n  ann: {client_id: "+client+", user: ann@contoso.com, sensors: {mine: {type: calendar}}}\n")
	alone := newPlace(t, "")
	alone.write("accounts.d/ann.yaml", "client_id: "+client+"\nuser: ann@contoso.com\nsensors:\n  mine: {type: calendar}\n")
	if d := config.Diff(merged.mustLoad(), alone.mustLoad()); !cmp.Equal(d, config.Changes{Keys: []string{"accounts_dir"}}) {
		t.Errorf("an account differs in a file of its own: %+v", d)
	}
}

// A user is named as Microsoft knows them; anything else would match no user.
func TestUser(t *testing.T) {
	for _, user := range []string{"adele@contoso.com", "ADELE@Contoso.com", "adele_fabrikam.com#EXT#@contoso.onmicrosoft.com", "87d349ed-44d7-43e1-9a83-5f2406dee5bd"} {
		p := newPlace(t, "accounts: {work: {client_id: "+client+", user: \""+user+"\"}}\n")
		if c := p.mustLoad(); c.Accounts["work"].User != user {
			t.Errorf("got %s", c.Accounts["work"].User)
		}
	}
	for _, user := range []string{"adele", "Adele Vance", "@contoso.com", "adele@", "a@b@c", "adele @contoso.com", "87d349ed-44d7-43e1-9a83"} {
		p := newPlace(t, "accounts: {work: {client_id: "+client+", user: \""+user+"\"}}\n")
		want := fmt.Sprintf("accounts.work.user (line 2): want the address that the user signs in with, such as adele@contoso.com, or the object id, not %q", user)
		if _, err := p.load(); fmt.Sprint(err) != want {
			t.Errorf("got %v", err)
		}
	}
}

// The directory can be named, also without a configuration file.
func TestAccountsDir(t *testing.T) {
	p := newPlace(t, "accounts_dir: DIR\n")
	p.write("people/ann.yaml", "client_id: "+client+"\n")
	p.write("graph2mqtt.yaml", "mqtt: {url: mqtt://localhost}\naccounts_dir: "+p.path("people")+"\n")
	p.write("accounts.d/ben.yaml", "client_id: "+client+"\n")
	wantIDs(t, p.mustLoad(), "ann")

	s := config.Sources{Environ: environ("GRAPH2MQTT_MQTT__URL=mqtt://localhost", "GRAPH2MQTT_ACCOUNTS_DIR="+p.path("people"))}
	t.Chdir(t.TempDir())
	c, err := config.Load(s, kinds())
	if err != nil {
		t.Fatal(err)
	}
	wantIDs(t, c, "ann")
	if s.Missing() {
		t.Error("a configuration of files of accounts alone counts as none")
	}
	s.Environ = environ("GRAPH2MQTT_ACCOUNTS_DIR=" + t.TempDir())
	if !s.Missing() {
		t.Error("an empty directory counts as a configuration")
	}
	s.Environ = environ("GRAPH2MQTT_ACCOUNTS_DIR=missing", "GRAPH2MQTT_MQTT__URL=mqtt://localhost", "GRAPH2MQTT_ACCOUNTS__WORK__CLIENT_ID="+client)
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := config.Load(s, kinds()); fmt.Sprint(err) != "accounts_dir: read missing: no such file or directory; relative paths start at the working directory, "+wd {
		t.Errorf("got %v", err)
	}
	for content, want := range map[string]string{
		"accounts_dir: " + p.path("graph2mqtt.yaml") + "\naccounts: {work: {client_id: " + client + "}}\n": "accounts_dir (line 2): read graph2mqtt.yaml: not a directory",
		"accounts_dir: [a]\naccounts: {work: {client_id: " + client + "}}\n":                               "accounts_dir (line 2): want text, not a list",
		"accounts_dir: " + t.TempDir() + "\n":                                                              "accounts is required: want at least one account, here or in a file in DIR",
	} {
		p.write("graph2mqtt.yaml", "mqtt: {url: mqtt://localhost}\n"+content)
		_, err := p.load()
		got := strings.ReplaceAll(fmt.Sprint(err), p.dir+"/", "")
		if before, _, ok := strings.Cut(got, " in a file in "); ok {
			got = before + " in a file in DIR"
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", content, got, want)
		}
	}
}

// A file that cannot be used refuses its own account alone, with its name and line.
func TestBadAccountFiles(t *testing.T) {
	good := "client_id: " + client + "\n"
	for _, test := range []struct{ name, content, want string }{
		{"bad.yaml", "", "accounts.bad (accounts.d/bad.yaml): the file is empty"},
		{"bad.yaml", good + "tenant: [", "accounts.bad (accounts.d/bad.yaml, line 2): did not find expected node content"},
		{"bad.yaml", good + "tenant: a b\nuser: 1\n", "accounts.bad.tenant (accounts.d/bad.yaml, line 2): want common, organizations, consumers, or the id or domain of a tenant, not \"a b\"\n" +
			"accounts.bad.user (accounts.d/bad.yaml, line 3): want text, not 1; put it in quotes"},
		{"bad.json", `{"client_id": 1}`, "accounts.bad.client_id (accounts.d/bad.json, line 1): want text, not 1; put it in quotes"},
		{"bad.toml", "a = [", "accounts.bad (accounts.d/bad.toml, line 1): array is incomplete"},
		{"bad.yaml", "tenant: common\n", "accounts.bad.client_id (accounts.d/bad.yaml) is required, such as 00000000-0000-0000-0000-000000000000"},
		{"bad.yaml", good + "sensors:\n  x: {type: calendr}\n", "accounts.bad.sensors.x.type (accounts.d/bad.yaml, line 3): want one of calendar, email, status, not \"calendr\"; did you mean calendar?"},
		{"bad.yaml", "bad:\n  " + good, "accounts.bad.bad (accounts.d/bad.yaml, line 1): unknown key: write the keys of the account without the levels accounts and bad\n" +
			"accounts.bad.client_id (accounts.d/bad.yaml) is required, such as 00000000-0000-0000-0000-000000000000"},
		{"bad.yaml", "- 1", "accounts.bad (accounts.d/bad.yaml): want a mapping of keys at the top"},
		{"bad.yaml", "a\x00b", "accounts.bad (accounts.d/bad.yaml): want UTF-8 text, not UTF-16 or binary data"},
		{"Bad.yaml", good, "accounts.Bad (accounts.d/Bad.yaml): the name of the file is the id of the account: want an id of the letters a to z, digits and underscores"},
		{"ann.old.yaml", good, "accounts.\"ann.old\" (accounts.d/ann.old.yaml): the name of the file is the id of the account: want an id of the letters a to z, digits and underscores"},
		{"bridge.yaml", good, "accounts.bridge (accounts.d/bridge.yaml): the name of the file is the id of the account: want another id: this one is reserved for the bridge"},
		{"bad.yaml/x", good, "accounts.bad (accounts.d/bad.yaml) is a directory"},
		{"work.yaml", good, "accounts.work (accounts.d/work.yaml): the account is also in graph2mqtt.yaml (line 2), which takes precedence; remove it from one of them"},
		{"good.toml", "client_id = '" + client + "'\n", "accounts.good (accounts.d/good.toml): the account is also in accounts.d/good.yaml; remove one of these files\n" +
			"accounts.good (accounts.d/good.yaml): the account is also in accounts.d/good.toml; remove one of these files"},
		{"work_a.yaml", good + "sensors:\n  b: {type: calendar}\n", "accounts.work_a.sensors.b (accounts.d/work_a.yaml, line 3): want another id: its entities would have the same ids as those of accounts.work.sensors.a_b"},
	} {
		t.Run(test.want, func(t *testing.T) {
			p := newPlace(t, "accounts: {work: {client_id: "+client+", user: main@contoso.com, sensors: {a_b: {type: calendar}}}}\n")
			p.write("accounts.d/good.yaml", good)
			p.write("accounts.d/other.yaml", good)
			p.write("accounts.d/"+test.name, test.content)
			var override []string
			if strings.HasPrefix(test.name, "bad.") { // it makes no account of a bad file
				override = append(override, "GRAPH2MQTT_ACCOUNTS__BAD__STALE_AFTER=2h")
			}
			c := p.mustLoad(override...)
			if got := p.problems(c.AccountProblems()); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
			if strings.HasPrefix(test.name, "good.") {
				wantIDs(t, c, "other", "work")
			} else {
				wantIDs(t, c, "good", "other", "work")
			}
			if c.Accounts["work"].User != "main@contoso.com" {
				t.Errorf("the account of the configuration file became %+v", c.Accounts["work"])
			}
		})
	}
	p := newPlace(t, "")
	p.write("accounts.d/bad.yaml", "tenant: common")
	_, err := p.load()
	var problems config.Problems
	if !errors.As(err, &problems) || p.problems(problems) != "accounts: want at least one account whose file can be used\naccounts.bad.client_id (accounts.d/bad.yaml) is required, such as 00000000-0000-0000-0000-000000000000" {
		t.Errorf("without a usable account: %v", err)
	}
}

// An account whose file becomes invalid keeps running unchanged. A new account does not replace it.
func TestKeepAccounts(t *testing.T) {
	p := newPlace(t, "accounts: {work: {client_id: "+client+"}}\n")
	p.write("accounts.d/ann_b.yaml", "client_id: "+client+"\nsensors: {c: {type: calendar}}\n")
	p.write("accounts.d/ben.yaml", "client_id: "+client+"\n")
	running := p.mustLoad()
	p.write("accounts.d/ann.yaml", "client_id: "+client+"\nsensors: {b_c: {type: calendar}}\n") // its entities would be those of ann_b
	p.write("accounts.d/ben.yaml", "client_id: ")
	p.write("accounts.d/new.yaml", "client_id: ")
	next := p.mustLoad()
	wantIDs(t, next, "ann", "work")
	next.KeepAccounts(running)
	wantIDs(t, next, "ann_b", "ben", "work")
	if d := config.Diff(running, next); d.Any() {
		t.Errorf("something changed: %+v", d)
	}
	kept := map[string]bool{}
	for _, f := range next.RefusedFiles {
		kept[f.Account] = f.Running
	}
	if diff := cmp.Diff(map[string]bool{"ann": false, "ann_b": true, "ben": true, "new": false}, kept); diff != "" {
		t.Error(diff)
	}
	// What is kept is kept again, and gone when its file is.
	again := p.mustLoad()
	again.KeepAccounts(next)
	wantIDs(t, again, "ann_b", "ben", "work")
	for _, name := range []string{"ben", "ann"} {
		if err := os.Remove(p.path("accounts.d/" + name + ".yaml")); err != nil {
			t.Fatal(err)
		}
	}
	last := p.mustLoad()
	last.KeepAccounts(again)
	wantIDs(t, last, "ann_b", "work")
}

// Files of accounts that come, change and go are noticed, also those that Kubernetes swaps, and a directory that comes later.
func TestWatcherNoticesAccountFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlace(t, "accounts: {work: {client_id: "+client+"}}\n")
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		loads := 0
		w, running, err := config.NewWatcher(func() (*config.Config, error) {
			loads++
			return p.load()
		})
		must(err)
		changes := make(chan *config.Config, 1)
		ctx := t.Context()
		go w.Run(ctx, nil, func(c *config.Config, err error) {
			if err != nil {
				t.Error(err)
				return
			}
			changes <- c
		})
		next := func(step string, want ...string) {
			t.Helper()
			time.Sleep(10 * time.Second)
			synctest.Wait()
			select {
			case c := <-changes:
				c.KeepAccounts(running)
				running = c
				if diff := cmp.Diff(want, ids(c)); diff != "" {
					t.Errorf("%s: %s", step, diff)
				}
			default:
				t.Errorf("%s is not noticed", step)
			}
		}
		account := "client_id: " + client + "\n"
		p.write("accounts.d/ann.yaml", account)
		next("a new directory", "ann", "work")
		p.write("accounts.d/.ben.yaml.new", account)
		must(os.Rename(p.path("accounts.d/.ben.yaml.new"), p.path("accounts.d/ben.yaml")))
		next("a file that was renamed", "ann", "ben", "work")

		before := loads
		for _, name := range []string{"ann.yaml~", ".ann.yaml.swp", "ann.yaml.tmp"} {
			p.write("accounts.d/"+name, "x")
		}
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		if loads != before {
			t.Errorf("temporary files of editors were loaded %d times", loads-before)
		}

		f, err := os.OpenFile(p.path("accounts.d/ann.yaml"), os.O_WRONLY|os.O_TRUNC, 0o600)
		must(err)
		_, err = f.WriteString("client_")
		must(err)
		next("a half-written file", "ann", "ben", "work")
		if len(running.RefusedFiles) != 1 || running.Accounts["ann"].User != "" {
			t.Errorf("got %+v", running.RefusedFiles)
		}
		_, err = f.WriteString("id: " + client + "\nuser: ann@contoso.com\n")
		must(errors.Join(err, f.Close()))
		next("its end", "ann", "ben", "work")
		if len(running.RefusedFiles) != 0 || running.Accounts["ann"].User != "ann@contoso.com" {
			t.Errorf("got %+v, %+v", running.RefusedFiles, running.Accounts["ann"])
		}

		// As Kubernetes mounts and changes a ConfigMap.
		data := func(version, user string) {
			p.write("accounts.d/.."+version+"/cleo.yaml", account+"user: "+user+"\n")
			must(os.Symlink(".."+version, p.path("accounts.d/..data_tmp")))
			must(os.Rename(p.path("accounts.d/..data_tmp"), p.path("accounts.d/..data")))
		}
		data("1", "one@contoso.com")
		must(os.Symlink("..data/cleo.yaml", p.path("accounts.d/cleo.yaml")))
		next("a link", "ann", "ben", "cleo", "work")
		data("2", "two@contoso.com")
		next("another target of the link", "ann", "ben", "cleo", "work")
		if running.Accounts["cleo"].User != "two@contoso.com" {
			t.Errorf("got %+v", running.Accounts["cleo"])
		}
		must(os.Rename(p.path("accounts.d/ben.yaml"), p.path("accounts.d/dan.yaml")))
		next("another name", "ann", "cleo", "dan", "work")
		must(os.Remove(p.path("accounts.d/dan.yaml")))
		next("a removed file", "ann", "cleo", "work")
		must(os.RemoveAll(p.path("accounts.d")))
		next("a removed directory", "work")
	})
}

// Of hundreds of files only those that changed make a difference.
func TestManyAccountFiles(t *testing.T) {
	p := newPlace(t, "")
	for i := range 300 {
		p.write(fmt.Sprintf("accounts.d/user_%d.yaml", i), "client_id: "+client+"\nsensors: {calendar: {type: calendar}}\n")
	}
	c := p.mustLoad()
	if len(c.Accounts) != 300 || len(c.RefusedFiles) > 0 {
		t.Fatalf("%d accounts, %d refused", len(c.Accounts), len(c.RefusedFiles))
	}
	p.write("accounts.d/user_7.yaml", "client_id: "+client+"\nsensors: {mine: {type: calendar}}\n")
	p.write("accounts.d/user_8.yaml", "client_id: "+client+"\nuser: eight@contoso.com\nsensors: {calendar: {type: calendar}}\n")
	p.write("accounts.d/user_300.yaml", "client_id: "+client+"\n")
	if err := os.Remove(p.path("accounts.d/user_9.yaml")); err != nil {
		t.Fatal(err)
	}
	want := config.Changes{
		Accounts: config.Delta{Added: []string{"user_300"}, Removed: []string{"user_9"}, Changed: []string{"user_8"}},
		Sensors:  config.Delta{Added: []string{"user_7/mine"}, Removed: []string{"user_7/calendar"}},
	}
	if diff := cmp.Diff(want, config.Diff(c, p.mustLoad())); diff != "" {
		t.Error(diff)
	}
}

func BenchmarkLoadAccountFiles(b *testing.B) {
	dir := b.TempDir()
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "accounts.d"), 0o700), os.WriteFile(filepath.Join(dir, "graph2mqtt.yaml"), []byte("mqtt: {url: mqtt://localhost}\n"), 0o600)); err != nil {
		b.Fatal(err)
	}
	for i := range 300 {
		name := filepath.Join(dir, "accounts.d", fmt.Sprintf("user_%d.yaml", i))
		if err := os.WriteFile(name, []byte("client_id: "+client+"\nsensors: {calendar: {type: calendar}, mail: {type: email}}\n"), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		c, err := config.Load(config.Sources{File: filepath.Join(dir, "graph2mqtt.yaml"), Environ: environ()}, kinds())
		if err != nil || len(c.Accounts) != 300 {
			b.Fatal(err)
		}
	}
}
