package bridge

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/renameio/v2/maybe"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/internal/runtime"
	"github.com/graph2mqtt/graph2mqtt/internal/web/page"
	"github.com/graph2mqtt/graph2mqtt/sensors"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// A ConfigFile is the configuration file as the status page shows and extends it. It implements page.Configuration and is safe for
// concurrent use.
type ConfigFile struct {
	sources  func() config.Sources
	kinds    []sensors.Kind
	readOnly string        // why nothing is written; "": it is
	written  chan struct{} // has a value after a form was written

	writing sync.Mutex // held from the check of the file to its replacement

	mu       sync.Mutex
	running  *config.Config // nil: there is none yet
	loaded   time.Time
	problems config.Problems                 // of what was loaded last and is not in use
	restart  []string                        // keys whose change takes effect after a restart
	onChange func()                          // nil: nobody waits
	process  *ConfigFile                     // if f belongs to a shard, the file of the whole process; nil: it does not
	shards   map[*ConfigFile]config.Problems // the problems of the shards; nil: there are none
}

// NewConfigFile returns the configuration file of the sources, which may change. It writes nothing where readOnly gives a reason.
func NewConfigFile(sources func() config.Sources, kinds []sensors.Kind, readOnly string) *ConfigFile {
	return &ConfigFile{sources: sources, kinds: kinds, readOnly: readOnly, written: make(chan struct{}, 1)}
}

// SetReadOnly has nothing written to the file, for a reason.
func (f *ConfigFile) SetReadOnly(reason string) { f.readOnly = reason }

// Written returns a channel that has a value after something was written.
func (f *ConfigFile) Written() <-chan struct{} { return f.written }

// Report remembers why the configuration as it is now is not in use; nil: it is.
func (f *ConfigFile) Report(err error) {
	var problems config.Problems
	if err != nil && !errors.As(err, &problems) {
		problems = config.Problems{{Message: err.Error()}}
	}
	f.change(func() { f.problems = problems })
}

// setRunning sets the configuration that is in use now.
func (f *ConfigFile) setRunning(c *config.Config, restart []string) {
	f.change(func() {
		f.running, f.loaded, f.restart, f.problems = c, time.Now().UTC().Truncate(time.Second), restart, nil
	})
}

// change applies a change and wakes who waits for one.
func (f *ConfigFile) change(apply func()) {
	f.mu.Lock()
	apply()
	notify, process, problems := f.onChange, f.process, f.problems
	f.mu.Unlock()
	if process != nil {
		process.setShard(f, problems)
	}
	if notify != nil {
		notify()
	}
}

// addShard has f show the problems of a shard of its process, until the returned function is called.
func (f *ConfigFile) addShard(shard *ConfigFile) (remove func()) {
	shard.change(func() { shard.process = f })
	return func() {
		shard.change(func() { shard.process = nil })
		f.setShard(shard, nil)
	}
}

// setShard sets the problems of a shard.
func (f *ConfigFile) setShard(shard *ConfigFile, problems config.Problems) {
	f.mu.Lock()
	_, had := f.shards[shard]
	f.mu.Unlock()
	if !had && problems == nil {
		return
	}
	f.change(func() {
		if problems == nil {
			delete(f.shards, shard)
			return
		}
		if f.shards == nil {
			f.shards = map[*ConfigFile]config.Problems{}
		}
		f.shards[shard] = problems
	})
}

// isRefused reports whether a shard refuses the configuration.
func (f *ConfigFile) isRefused() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.shards) > 0
}

// refused returns why the configuration is not in use, or not everywhere. The caller holds f.mu.
func (f *ConfigFile) refused() config.Problems {
	all := slices.Clone(f.problems)
	for _, problems := range f.shards {
		all = append(all, problems...)
	}
	if len(f.shards) > 0 { // several may refuse it for the same reason
		slices.SortFunc(all, func(a, b config.Problem) int { return strings.Compare(a.Error(), b.Error()) })
		all = slices.CompactFunc(all, func(a, b config.Problem) bool { return a.Error() == b.Error() })
	}
	return all
}

// setOnChange has notify called after changes.
func (f *ConfigFile) setOnChange(notify func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.onChange = notify
}

// Describe implements page.Configuration.
func (f *ConfigFile) Describe() page.ConfigDescription {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := page.ConfigDescription{Problems: problemsOf(f.refused()), Warnings: []string{}, Restart: append([]string{}, f.restart...), Broker: f.sources().Broker()}
	if c := f.running; c != nil {
		d.File, d.Accounts, d.Warnings = c.File, c.AccountsDir, append(d.Warnings, c.Warnings...)
		d.Problems = append(d.Problems, problemsOf(c.AccountProblems())...)
		loaded := f.loaded
		d.Loaded = &loaded
		text, err := c.RedactedYAML()
		if err != nil {
			text = err.Error()
		}
		d.Running = text
	}
	return d
}

func problemsOf(problems config.Problems) []page.ConfigProblem {
	all := []page.ConfigProblem{}
	for _, p := range problems {
		all = append(all, page.ConfigProblem{Path: p.Path, File: p.File, Line: p.Line, Message: p.Message})
	}
	return all
}

// Kinds implements page.Configuration.
func (f *ConfigFile) Kinds() []page.FormKind {
	var all []page.FormKind
	for _, k := range f.kinds {
		s := k.New()
		kind := page.FormKind{
			Name: k.Name, ID: entity.Slug(k.Title), Title: k.Title, Doc: k.Doc, WorkOnly: k.WorkOnly, OwnUpdates: k.OwnUpdates,
			CanUpdate: slices.ContainsFunc(s.Operations(), canUpdate), Fields: []page.FormField{},
		}
		if config.Reserved(kind.ID) {
			kind.ID = "my_" + kind.ID
		}
		for _, field := range formFields(s) {
			kind.Candidates = k.Candidates != nil
			kind.Fields = append(kind.Fields, page.FormField{Key: field.Key, Doc: field.Doc, Example: field.Example, Required: field.Required})
		}
		all = append(all, kind)
	}
	slices.SortFunc(all, func(a, b page.FormKind) int { return strings.Compare(a.Title, b.Title) })
	return all
}

// formFields returns the options of a sensor that a form may set: names and ids of things in Microsoft 365, never a path or an address of a
// server.
func formFields(s sensors.Sensor) []config.Field {
	return slices.DeleteFunc(config.Fields(s.Options()), func(field config.Field) bool { return !field.Form })
}

// canUpdate reports whether an operation needs enable_update.
func canUpdate(op services.Operation) bool { return !op.Reads }

// path returns the file that a form changes, and whether it is that of the account alone: the one that it has, or a new one where the
// directory of accounts exists.
func (f *ConfigFile) path(form page.Form) (name string, own bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.running != nil {
		if name, ok := f.running.AccountFiles[form.Account]; ok {
			return name, true
		}
		if form.NewAccount != nil && f.running.AccountsDir != "" {
			return filepath.Join(f.running.AccountsDir, form.Account+".yaml"), true
		}
		if f.running.File != "" {
			return f.running.File, false
		}
	}
	return f.sources().NewFile(), false
}

// withoutAccount returns entries as they stand in the file of their account alone.
func withoutAccount(entries []config.Entry) []config.Entry {
	own := slices.Clone(entries)
	for i, e := range own {
		own[i].Path = e.Path[2:]
	}
	return own
}

// Preview implements page.Configuration.
func (f *ConfigFile) Preview(form page.Form) (page.Draft, error) {
	d, _, err := f.draft(form)
	return d, err
}

// draft returns what a form adds, and the file with it.
func (f *ConfigFile) draft(form page.Form) (d page.Draft, after []byte, err error) {
	entries, problems := f.entries(form)
	if len(problems) > 0 {
		return d, nil, &page.FormError{Problems: problems}
	}
	name, own := f.path(form)
	d.File = name
	before, err := os.ReadFile(d.File)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return d, nil, formError(err)
	}
	if before == nil {
		before = []byte{}
	}
	d.Digest = digestOf(before)
	if own && form.NewAccount != nil && len(before) > 0 {
		return d, nil, formError(config.Problems{{Path: "accounts." + form.Account, Message: fmt.Sprintf("the file %s exists; correct or remove it, or choose another id", d.File)}})
	}
	shown := entries
	if form.Broker != nil && form.Broker.Password != "" {
		d.Password = true
		hidden := *form.Broker
		hidden.Password = "••••••"
		masked := form
		masked.Broker = &hidden
		shown, _ = f.entries(masked)
	}
	added := entries
	if own {
		shown, added = withoutAccount(shown), withoutAccount(entries)
	}
	if d.Lines, err = config.Lines(shown...); err != nil {
		return d, nil, formError(err)
	}
	after, err = config.Insert(d.File, before, added...)
	if inserted := (*config.InsertError)(nil); errors.As(err, &inserted) {
		d.ByHand = inserted.Reason
		return d, nil, f.checkAlone(entries)
	}
	if err != nil {
		return d, nil, formError(err)
	}
	if err := f.check(form.Account, d.File, after, own); err != nil {
		return d, nil, formError(err)
	}
	d.ByHand = f.unwritable(d.File)
	return d, after, nil
}

// check checks the configuration with another content of one of its files. own says that it is the file of the account alone.
func (f *ConfigFile) check(account, file string, content []byte, own bool) error {
	s := f.sources()
	if own {
		s.AccountContent = map[string][]byte{file: content}
	} else {
		s.File, s.Content = file, content
	}
	c, err := runtime.Load(s, f.kinds)
	if err != nil {
		return err
	}
	for _, refused := range c.RefusedFiles {
		if refused.Account == account {
			return refused.Problems
		}
	}
	return nil
}

// checkAlone checks lines that cannot be checked as a part of the file: as a file of their own, with what else it needs.
func (f *ConfigFile) checkAlone(entries []config.Entry) error {
	broker := config.Entry{Path: []string{"mqtt"}, Value: config.Mapping{{Key: "url", Value: "mqtt://localhost"}}}
	if len(entries[0].Path) == 1 { // it has the broker
		broker = entries[0]
		entries = entries[1:]
	}
	f.mu.Lock()
	running := f.running
	f.mu.Unlock()
	account := entries[0].Path[1]
	if running != nil && len(entries[0].Path) > 2 {
		a := running.Accounts[account]
		mapping := config.Mapping{{Key: "client_id", Value: a.ClientID}, {Key: "tenant", Value: a.Tenant}}
		entries = append([]config.Entry{{Path: []string{"accounts", account}, Value: mapping}}, entries...)
	}
	text, err := config.Lines(append([]config.Entry{broker}, entries...)...)
	if err != nil {
		return formError(err)
	}
	s := f.sources()
	s.File, s.Content, s.OnlyFile = "lines.yaml", []byte(text), true
	_, err = runtime.Load(s, f.kinds)
	return formError(err)
}

// formError returns an error of the configuration as that of a form; nil for nil.
func formError(err error) error {
	if err == nil {
		return nil
	}
	var problems config.Problems
	if errors.As(err, &problems) {
		all := problemsOf(problems)
		for i := range all {
			all[i].File, all[i].Line = "", 0 // of the generated file, which the user does not see
		}
		return &page.FormError{Problems: all}
	}
	return &page.FormError{Problems: []page.ConfigProblem{{Message: err.Error()}}}
}

// entries returns what a form adds.
func (f *ConfigFile) entries(form page.Form) ([]config.Entry, []page.ConfigProblem) {
	var problems []page.ConfigProblem
	report := func(path string, format string, args ...any) {
		problems = append(problems, page.ConfigProblem{Path: path, Message: fmt.Sprintf(format, args...)})
	}
	f.mu.Lock()
	running := f.running
	f.mu.Unlock()
	var entries []config.Entry
	switch {
	case form.Broker != nil && running != nil:
		report("mqtt", "is configured already")
	case form.Broker == nil && running == nil && f.sources().Broker() == "":
		report("mqtt", "is required")
	case form.Broker != nil:
		broker := config.Mapping{{Key: "url", Value: form.Broker.URL}}
		for _, p := range []config.Pair{{Key: "username", Value: form.Broker.Username}, {Key: "password", Value: form.Broker.Password}} {
			if p.Value != "" {
				broker = append(broker, p)
			}
		}
		entries = append(entries, config.Entry{Path: []string{"mqtt"}, Value: broker})
	}
	if form.Calendars && running != nil {
		report("http.calendars", "can be set in this form only in the first configuration")
	}
	path := []string{"accounts", form.Account}
	at := strings.Join(path, ".")
	if err := config.CheckID(form.Account); err != nil {
		report("account", "%v", err)
	}
	configured := running != nil && running.Accounts[form.Account] != nil
	switch {
	case form.NewAccount != nil && configured:
		report(at, "is configured already; choose another id")
	case form.NewAccount == nil && !configured:
		report("account", "there is no account %q", form.Account)
	case form.NewAccount == nil && running.Accounts[form.Account].Application:
		report("account", "%s is an organization; add its sensors in the configuration file", form.Account)
	case form.NewAccount == nil && len(form.Sensors) == 0:
		report("sensors", "want at least one sensor")
	}
	added := config.Mapping{}
	for i, s := range form.Sensors {
		if err := config.CheckID(s.ID); err != nil {
			report(fmt.Sprintf("sensors[%d].id", i), "%v", err)
		}
		if configured && form.NewAccount == nil && running.Accounts[form.Account].Sensors[s.ID] != nil || slices.ContainsFunc(added, func(p config.Pair) bool { return p.Key == s.ID }) {
			report(at+".sensors."+s.ID, "is configured already; choose another id")
		}
		sensor := config.Mapping{{Key: "type", Value: s.Type}}
		k := slices.IndexFunc(f.kinds, func(k sensors.Kind) bool { return k.Name == s.Type })
		if k >= 0 { // otherwise loading reports it
			fields := formFields(f.kinds[k].New())
			for _, field := range fields {
				if value := s.Options[field.Key]; value != "" {
					sensor = append(sensor, config.Pair{Key: field.Key, Value: value})
				}
			}
			for key := range config.Sorted(s.Options) {
				if !slices.ContainsFunc(fields, func(field config.Field) bool { return field.Key == key }) {
					report(at+".sensors."+s.ID+"."+key, "cannot be set in this form")
				}
			}
		}
		if form.Calendars && isCalendar(s.Type) {
			sensor = append(sensor, config.Pair{Key: "on_demand", Value: true})
		}
		if s.EnableUpdate {
			sensor = append(sensor, config.Pair{Key: "enable_update", Value: true})
		}
		added = append(added, config.Pair{Key: s.ID, Value: sensor})
	}
	if form.NewAccount == nil {
		for _, p := range added {
			entries = append(entries, config.Entry{Path: append(slices.Clone(path), "sensors", p.Key), Value: p.Value.(config.Mapping)})
		}
		return entries, problems
	}
	account := config.Mapping{{Key: "client_id", Value: form.NewAccount.ClientID}}
	if tenant := form.NewAccount.Tenant; tenant != "" && tenant != "common" {
		account = append(account, config.Pair{Key: "tenant", Value: tenant})
	}
	if form.NewAccount.EnableUpdate {
		account = append(account, config.Pair{Key: "enable_update", Value: true})
	}
	if len(added) > 0 {
		account = append(account, config.Pair{Key: "sensors", Value: added})
	}
	entries = append(entries, config.Entry{Path: path, Value: account})
	if http := f.listener(form); running == nil && len(http) > 0 {
		entries = append(entries, config.Entry{Path: []string{"http"}, Value: http})
	}
	return entries, problems
}

// listener returns the keys of the listener in the first configuration. An address that was given as a flag is kept for the next start,
// except one that others can reach: that needs a password, which is not known here.
func (f *ConfigFile) listener(form page.Form) config.Mapping {
	var http config.Mapping
	if address, ok := f.sources().Flags["http.listen"].(string); ok && config.IsLoopback(address) {
		http = append(http, config.Pair{Key: "listen", Value: address})
	}
	if form.Calendars {
		http = append(http, config.Pair{Key: "calendars", Value: true})
	}
	return http
}

// unwritable returns the reason why the file cannot be written, or "".
func (f *ConfigFile) unwritable(name string) string {
	if f.readOnly != "" {
		return f.readOnly
	}
	if err := checkLink(name); err != nil {
		return cannotWrite(err)
	}
	dir := filepath.Dir(name)
	if file, err := os.OpenFile(name, os.O_WRONLY, 0); err == nil {
		_ = file.Close()
	} else if !errors.Is(err, fs.ErrNotExist) {
		return cannotWrite(err)
	}
	for {
		_, err := os.Stat(dir)
		if err == nil {
			break
		}
		above := filepath.Dir(dir)
		if !errors.Is(err, fs.ErrNotExist) || above == dir {
			return cannotWrite(err)
		}
		dir = above
	}
	probe, err := os.CreateTemp(dir, ".graph2mqtt-*")
	if err != nil {
		return cannotWrite(err)
	}
	_ = probe.Close()
	_ = os.Remove(probe.Name())
	return ""
}

// checkLink refuses a link to a file that is not there, such as one on a disk that is not mounted: replacing the file would replace the link.
func checkLink(name string) error {
	if info, err := os.Lstat(name); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) {
			return errors.New("it is a link to a file that does not exist")
		}
	}
	return nil
}

func cannotWrite(err error) string {
	var e *fs.PathError
	if errors.As(err, &e) {
		err = e.Err
	}
	return "graph2mqtt cannot write it (" + err.Error() + ")"
}

// Write implements page.Configuration.
func (f *ConfigFile) Write(form page.Form, digest string) error {
	f.writing.Lock()
	defer f.writing.Unlock()
	d, after, err := f.draft(form)
	switch {
	case err != nil:
		return err
	case d.ByHand != "":
		return &page.ByHandError{Reason: d.ByHand}
	case d.Digest != digest:
		return page.ErrFileChanged
	}
	if err := replaceConfig(d.File, after); err != nil {
		return &page.ByHandError{Reason: cannotWrite(err)}
	}
	select {
	case f.written <- struct{}{}:
	default:
	}
	return nil
}

// replaceConfig replaces a configuration file at once. Its owner and mode stay; a new one is for its owner alone, because it may have
// secrets.
func replaceConfig(name string, content []byte) error {
	if real, err := filepath.EvalSymlinks(name); err == nil {
		name = real
	}
	mode := fs.FileMode(0o600)
	before, err := os.Stat(name)
	if err == nil {
		mode = before.Mode().Perm()
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	if err := maybe.WriteFile(name, content, mode); err != nil {
		return err
	}
	if before != nil {
		keepOwner(name, before)
	}
	written, err := os.ReadFile(name)
	if err == nil && !bytes.Equal(written, content) {
		err = errors.New("it was changed at the same time")
	}
	return err
}

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
