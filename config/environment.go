package config

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
	"github.com/knadh/koanf/providers/env/v2"

	"github.com/graph2mqtt/graph2mqtt/internal/schema"
)

const prefix = "GRAPH2MQTT_"

// An environment lists the variables of a process.
type environment []string

// get returns the value of a variable, or "".
func (e environment) get(name string) string {
	for _, v := range slices.Backward(e) {
		if n, value, ok := strings.Cut(v, "="); ok && n == name {
			return value
		}
	}
	return ""
}

// base returns a directory of the XDG base directory specification: below the home directory if the variable is not set or not
// absolute, "" without a home directory.
func (e environment) base(name, below string) string {
	if dir := e.get(name); filepath.IsAbs(dir) {
		return dir
	}
	if home := e.get("HOME"); home != "" {
		return filepath.Join(home, below)
	}
	return ""
}

// values returns the configuration given in variables by path, and messages about ignored variables. Empty variables count as not
// set, because Docker Compose sets unknown variables to the empty string.
func (e environment) values() (values map[string]any, ignored []string, problems Problems) {
	names := knownVariables()
	values, _ = env.Provider("", env.Opt{
		Prefix:      prefix,
		EnvironFunc: func() []string { return e },
		TransformFunc: func(name, value string) (string, any) {
			path, meant := names.path(strings.TrimPrefix(name, prefix))
			switch {
			case value == "":
				return "", nil
			case path == "" && meant != "":
				problems = append(problems, Problem{Path: schema.QuoteKey(name), Message: "no such variable; did you mean " + prefix + meant + "?"})
			case path == "" && !names.elsewhere(name):
				ignored = append(ignored, schema.QuoteKey(name)+" is ignored: no key of the configuration has this name")
			}
			return path, schema.Text(value)
		},
	}).Read() // never fails
	paths := slices.Sorted(maps.Keys(values))
	for _, path := range paths {
		if slices.ContainsFunc(paths, func(p string) bool { return strings.HasPrefix(p, path+".") }) {
			problems = append(problems, Problem{Path: schema.QuoteKey(variable(path)), Message: "given together with variables for keys below it"})
			delete(values, path)
		}
	}
	slices.Sort(ignored)
	return values, ignored, problems
}

// variable returns the name of the variable for a path.
func variable(path string) string {
	return prefix + strings.ToUpper(strings.ReplaceAll(path, ".", "__"))
}

// variables maps names without the prefix to the paths that they set; "" for variables that are read elsewhere.
type variables map[string]string

// knownVariables returns every variable except those below accounts.
func knownVariables() variables {
	names := variables{"CONFIG": "", "KEY": "", "LOG_LEVEL": "log.level", "LOG_FORMAT": "log.format"}
	for _, f := range Fields(&Config{}) {
		names.add(f.Key, f)
	}
	return names
}

func (k variables) add(path string, f Field) {
	k[strings.TrimPrefix(variable(path), prefix)] = path
	if f.Secret {
		k[strings.TrimPrefix(variable(path), prefix)+"_FILE"] = path + "_file"
	}
	for _, below := range f.Fields {
		k.add(schema.Join(path, below.Key), below)
	}
}

func (k variables) elsewhere(name string) bool {
	path, ok := k[strings.TrimPrefix(name, prefix)]
	return ok && path == ""
}

// path returns the path that a variable sets. Kubernetes sets variables with this prefix for every service of this name, so an
// unknown variable is a mistake only if it is similar to a known one, which is returned as meant.
func (k variables) path(name string) (path, meant string) {
	if path, ok := k[name]; ok {
		return path, ""
	}
	first, below, nested := strings.Cut(name, "__")
	tops := schema.Configuration.Keys(&Config{})
	switch top := schema.Nearest(first, tops); {
	case nested && slices.Contains(tops, strings.ToLower(first)):
		return strings.ToLower(strings.ReplaceAll(name, "__", ".")), ""
	case nested && top != "":
		return "", strings.ToUpper(top) + "__" + below
	}
	if strings.HasPrefix(name, "ACCOUNTS_") {
		return "", "ACCOUNTS__ID__KEY"
	}
	for n := range Sorted(k) {
		if levenshtein.ComputeDistance(name, n) <= 1+len(n)/8 {
			return "", n
		}
	}
	return "", ""
}
