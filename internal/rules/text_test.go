package rules_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// forbiddenPatterns match text that no file may contain. They are written so that they do not match themselves.
var forbiddenPatterns = []struct {
	pattern *regexp.Regexp
	message string
}{
	{regexp.MustCompile("(^|[\\s\"'`(=:,<>|])/(work|ro[o]t|farm|Use[r]s|tm[p]/bash)[/_.]"), "a path of somebody's machine"},
	{regexp.MustCompile(`\b(proxy\.gola[n]g\.org|sum\.gola[n]g\.org|goprox[y]\.io|goprox[y]\.cn|registry\.npmj[s]\.org|registry\.yarnpk[g]\.com|py[p]i\.org|pythonhost[e]d\.org|artifac[t]ory)\b`), "the host of a package registry"},
	{regexp.MustCompile(`(?i)\bissu[e] #?\d|\b(th[i]s|next|previous|earlier|last|first|other) issu[e]\b|\b(codin[g]|agen[t]|helpe[r]|previou[s]|earlie[r]|nex[t] wor[k]) sessio[n]s?\b`), "a word about how the project is worked on"},
	{regexp.MustCompile(`\b(GOPROX[Y]|GONOSUMD[B]|GOFLAGS=-mo[d]=mod)\b`), "a setting of somebody's machine"},
}

func findForbiddenText(name string, content []byte) []finding {
	if name == "go.sum" {
		return nil
	}
	var found []finding
	n := 0
	for line := range strings.Lines(string(content)) {
		n++
		for _, f := range forbiddenPatterns {
			if f.pattern.MatchString(line) {
				found = append(found, finding{n, f.message})
			}
		}
	}
	return found
}

func TestForbiddenText(t *testing.T) {
	const machine, registry, project = "a path of somebody's machine", "the host of a package registry", "a word about how the project is worked on"
	for line, want := range map[string]string{
		"cd /wor" + "k/main":                  machine,
		"x := \"/roo" + "t/.cache\"":          machine,
		"`/Use" + "rs/ann/x`":                 machine,
		"/tm" + "p/bash_jobs":                 machine,
		"https://pyp" + "i.org/simple":        registry,
		"proxy.golan" + "g.org":               registry,
		"GOPROX" + "Y=off go build":           "a setting of somebody's machine",
		"// see issu" + "e 7":                 project,
		"The nex" + "t issu" + "e mends it.":  project,
		"an agen" + "t session wrote it":      project,
		"home-assistant/core/issues/12345":    "",
		"the broker kept the previous state":  "",
		"a session of MQTT":                   "",
		"graph2mqtt/wor" + "k/calendar/state": "",
		"https://host/wor" + "k/x":            "",
		"/etc/graph2mqtt/graph2mqtt.yaml":     "",
		"https://pkg.go.dev/github.com/x":     "",
	} {
		var got []string
		for _, f := range findForbiddenText("x.md", []byte("first\n"+line+"\n")) {
			got = append(got, fmt.Sprintf("%d: %s", f.line, f.message))
		}
		var all []string
		if want != "" {
			all = []string{"2: " + want}
		}
		if diff := cmp.Diff(all, got); diff != "" {
			t.Errorf("%s: %s", line, diff)
		}
	}
}
