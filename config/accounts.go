package config

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/graph2mqtt/graph2mqtt/internal/schema"
)

// accountsDirName is the directory beside the configuration file whose files are read as accounts.
const accountsDirName = "accounts.d"

// A RefusedFile is a file of one account that cannot be used. It does not affect other accounts.
type RefusedFile struct {
	Account  string // the name of the file without its extension
	Name     string
	Problems Problems
	Running  bool // the account runs as it was configured before; see KeepAccounts
}

// Equal reports whether other is the same file with the same problems.
func (f RefusedFile) Equal(other RefusedFile) bool {
	return f.Account == other.Account && f.Name == other.Name && f.Running == other.Running && slices.Equal(f.Problems, other.Problems)
}

// isAccountFile reports whether a name in the directory of accounts is that of an account. Editors and Kubernetes create files that begin
// with a dot; backups and temporary files have other extensions.
func isAccountFile(name string) bool {
	return !strings.HasPrefix(name, ".") && slices.Contains(extensions, strings.ToLower(filepath.Ext(name)))
}

// accountFiles returns the files of accounts in a directory by name.
func accountFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, schema.Cause(err)
	}
	var names []string
	for _, e := range entries {
		if isAccountFile(e.Name()) {
			names = append(names, filepath.Join(dir, e.Name()))
		}
	}
	return names, nil
}

// accountOf returns the id of the account that a file in the directory of accounts holds.
func accountOf(file string) string {
	return strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
}

// An accountFile is a file that holds one account.
type accountFile struct {
	name  string
	lines schema.Lines
}

// readAccounts returns the content of the configuration file with the accounts that have files of their own. named is the directory that
// the configuration names, "" for the default.
func (l *loader) readAccounts(s Sources, c *Config, file map[string]any, named string) map[string]any {
	dir := named
	if dir == "" && c.File != "" {
		dir = filepath.Join(filepath.Dir(c.File), accountsDirName)
	}
	if dir == "" {
		return file
	}
	c.WatchedDir = dir
	names, err := accountFiles(dir)
	switch {
	case err == nil:
		c.AccountsDir = dir
	case named == "" && errors.Is(err, fs.ErrNotExist):
	default:
		message := fmt.Sprintf("read %s: %v", dir, err)
		if !filepath.IsAbs(dir) {
			if wd, err := os.Getwd(); err == nil {
				message += "; relative paths start at the working directory, " + wd
			}
		}
		l.Report("accounts_dir", "%s", message)
		return file
	}
	names = slices.AppendSeq(names, maps.Keys(s.AccountContent))
	slices.Sort(names)
	accounts, ok := file["accounts"].(map[string]any)
	if file["accounts"] != nil && !ok { // decoding reports it
		return file
	}
	all := maps.Clone(accounts)
	if all == nil {
		all = map[string]any{}
	}
	first := map[string]string{} // file by account
	for _, name := range slices.Compact(names) {
		id := accountOf(name)
		at := schema.Join("accounts", schema.QuoteKey(id))
		_, inMain := accounts[id]
		other := first[id]
		if other == "" {
			first[id] = name
		}
		var m map[string]any
		var lines schema.Lines
		var err error
		switch {
		case inMain:
			err = fmt.Errorf("the account is also in %s, which takes precedence; remove it from one of them", Problem{Path: c.File, Line: l.lines.Line(at)}.Place())
		case other != "":
			err = alsoIn(other)
			if _, ok := l.own[id]; ok {
				l.refuse(c, id, Problem{Path: at, Message: alsoIn(name).Error()})
			}
		default:
			if err = CheckAccountID(id); err != nil {
				err = fmt.Errorf("the name of the file is the id of the account: %w", err)
				break
			}
			m, lines, err = parseFile(name, s.AccountContent[name])
		}
		if err != nil {
			l.unusable[id] = !inMain
			c.RefusedFiles = append(c.RefusedFiles, RefusedFile{Account: id, Name: name, Problems: inFile(name, schema.Flatten("", err), at)})
			delete(all, id)
			if inMain {
				all[id] = accounts[id]
			}
			continue
		}
		l.own[id] = accountFile{name, lines}
		all[id] = m
	}
	if len(all) == 0 {
		return file
	}
	file = maps.Clone(file)
	if file == nil {
		file = map[string]any{}
	}
	file["accounts"] = all
	return file
}

func alsoIn(file string) error {
	return fmt.Errorf("the account is also in %s; remove one of these files", file)
}

// inFile completes the problems of a file that could not be parsed.
func inFile(name string, problems Problems, path string) Problems {
	for i := range problems {
		problems[i].Path, problems[i].File = path, name
	}
	return problems
}

// setFile sets the file of an account.
func (c *Config) setFile(id, name string) {
	if c.AccountFiles == nil {
		c.AccountFiles = map[string]string{}
	}
	c.AccountFiles[id] = name
}

// refuse refuses the file of an account because of its problems.
func (l *loader) refuse(c *Config, id string, problems ...Problem) {
	own := l.own[id]
	delete(c.Accounts, id)
	delete(l.own, id)
	l.unusable[id] = true
	for i, p := range problems {
		problems[i] = l.locate(own, id, p)
	}
	Problems(problems).Sort()
	c.RefusedFiles = append(c.RefusedFiles, RefusedFile{Account: id, Name: own.name, Problems: problems})
}

// locate adds the file and the line of a problem of an account that has a file of its own, if it is in that file.
func (l *loader) locate(own accountFile, id string, p Problem) Problem {
	if l.isOverridden(p.Path) {
		return p
	}
	p.File = own.name
	if p.Line == 0 {
		p.Line = own.lines.Line(strings.TrimPrefix(strings.TrimPrefix(p.Path, "accounts."+id), "."))
	}
	return p
}

// wrapped returns the message about a key at the top of an account's file that repeats the level accounts or the id, or "".
func wrapped(id string) func(key string, known []string) string {
	return func(key string, _ []string) string {
		if key != "accounts" && key != id {
			return ""
		}
		return fmt.Sprintf("unknown key: write the keys of the account without the levels accounts and %s", id)
	}
}

// collidesWith returns the first sensor of a whose entities would have the ids of a sensor of b.
func (a *Account) collidesWith(b *Account) (of, with string, ok bool) {
	for sensor := range Sorted(a.Sensors) {
		for other := range b.Sensors {
			if a.ID+"_"+sensor == b.ID+"_"+other {
				return sensorPath(a, sensor), sensorPath(b, other), true
			}
		}
	}
	return "", "", false
}

func sensorPath(a *Account, sensor string) string {
	return a.Path() + ".sensors." + sensor
}

func collision(with string) string {
	return "want another id: its entities would have the same ids as those of " + with
}

// KeepAccounts keeps the accounts of the running configuration whose files are refused now: a mistake in a file, or a file that is being
// written, does not remove an account. If a new account would have the same entities, the running account is kept.
func (c *Config) KeepAccounts(running *Config) {
	kept := map[string]*Account{}
	for i, f := range c.RefusedFiles {
		a := running.Accounts[f.Account]
		if a != nil && c.Accounts[f.Account] == nil && kept[f.Account] == nil && c.makeRoom(a, running) {
			kept[f.Account] = a
		}
		c.RefusedFiles[i].Running = kept[f.Account] != nil
	}
	for id, a := range kept {
		c.Accounts[id] = a
		if name, ok := running.AccountFiles[id]; ok {
			c.setFile(id, name)
		}
		if digest, ok := running.Digests["accounts."+id]; ok {
			if c.Digests == nil {
				c.Digests = map[string]string{}
			}
			c.Digests["accounts."+id] = digest
		}
	}
}

// makeRoom refuses the files of new accounts that collide with one that is to be kept. It reports false if it collides with another one.
func (c *Config) makeRoom(kept *Account, running *Config) bool {
	var refused []RefusedFile
	for id, a := range Sorted(c.Accounts) {
		of, with, ok := a.collidesWith(kept)
		if !ok {
			continue
		}
		if running.Accounts[id] != nil || c.AccountFiles[id] == "" {
			return false
		}
		name := c.AccountFiles[id]
		refused = append(refused, RefusedFile{Account: id, Name: name, Problems: Problems{{Path: of, File: name, Message: collision(with)}}})
	}
	for _, f := range refused {
		delete(c.Accounts, f.Account)
		delete(c.AccountFiles, f.Account)
	}
	c.RefusedFiles = append(c.RefusedFiles, refused...)
	return true
}
