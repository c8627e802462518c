package main

import (
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/runtime"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// completeAccount completes the one argument that is an account.
func (p *program) completeAccount(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	c, err := p.load()
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return slices.Sorted(maps.Keys(c.Accounts)), cobra.ShellCompDirectiveNoFileComp
}

// completeKinds completes a list of types of sensors.
func completeKinds(_ *cobra.Command, _ []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
	before := begun[:strings.LastIndexByte(begun, ',')+1]
	var all []cobra.Completion
	for _, name := range kindNames() {
		if !slices.Contains(strings.Split(before, ","), name) {
			all = append(all, before+name)
		}
	}
	return all, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// completeFilter completes the paths of accounts and sensors.
func (p *program) completeFilter(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	c, err := p.load()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	all := []cobra.Completion{"bridge"}
	for id, a := range config.Sorted(c.Accounts) {
		all = append(all, id)
		for sensor := range config.Sorted(a.Sensors) {
			all = append(all, id+"/"+sensor)
		}
	}
	return all, cobra.ShellCompDirectiveNoFileComp
}

// completeCall completes a sensor that can be asked for something, an operation, and the operation's fields with their values.
func (p *program) completeCall(_ *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
	c, err := p.load()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var all []cobra.Completion
	if len(args) == 0 {
		for id, a := range config.Sorted(c.Accounts) {
			for name, s := range config.Sorted(a.Sensors) {
				if len(runtime.Operations(s)) > 0 {
					all = append(all, id+"/"+name)
				}
			}
		}
		return all, cobra.ShellCompDirectiveNoFileComp
	}
	s := sensorAt(c, args[0])
	if s == nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	if len(args) == 1 {
		for _, op := range runtime.Operations(s) {
			all = append(all, cobra.CompletionWithDesc(op.Name, op.Doc))
		}
		return all, cobra.ShellCompDirectiveNoFileComp
	}
	for _, f := range fieldsOf(s, args[1]) {
		given := func(arg string) bool { return strings.HasPrefix(arg, f.Name+"=") }
		switch values := values(f); {
		case slices.ContainsFunc(args[2:], given):
		case given(begun):
			for _, v := range values {
				all = append(all, f.Name+"="+v)
			}
			return all, cobra.ShellCompDirectiveNoFileComp
		default:
			all = append(all, cobra.CompletionWithDesc(f.Name+"=", f.Doc))
		}
	}
	return all, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// values are those that a field can have, where they can be counted.
func values(f services.Field) []string {
	if f.Type == typeBool {
		return []string{"true", "false"}
	}
	return f.Enum
}

// sensorAt is the sensor that ACCOUNT/SENSOR names; nil where there is none.
func sensorAt(c *config.Config, path string) *config.Sensor {
	id, name, _ := strings.Cut(path, "/")
	if a := c.Accounts[id]; a != nil {
		return a.Sensors[name]
	}
	return nil
}

// fieldsOf are the fields of an operation's request; none where the configuration does not offer it.
func fieldsOf(s *config.Sensor, operation string) []services.Field {
	for _, op := range runtime.Operations(s) {
		if op.Name == operation {
			return services.Fields(op.New())
		}
	}
	return nil
}
