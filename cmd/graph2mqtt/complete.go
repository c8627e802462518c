package main

import (
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/runtime"
	"github.com/graph2mqtt/graph2mqtt/sensors"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// completeAccount completes the only argument, an account.
func (p *program) completeAccount(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	c, err := p.load()
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return slices.Sorted(maps.Keys(c.Accounts)), cobra.ShellCompDirectiveNoFileComp
}

// completeKinds completes a list of sensor types.
func completeKinds(_ *cobra.Command, _ []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	before := typed[:strings.LastIndexByte(typed, ',')+1]
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
	return paths(c), cobra.ShellCompDirectiveNoFileComp
}

// paths returns the paths of the bridge, the accounts and the sensors.
func paths(c *config.Config) []string {
	all := []string{"bridge"}
	for id, a := range config.Sorted(c.Accounts) {
		all = append(all, id)
		for sensor := range config.Sorted(a.Sensors) {
			all = append(all, id+"/"+sensor)
		}
	}
	return all
}

// completeCall completes a sensor that offers operations, an operation, and the operation's fields with their values.
func (p *program) completeCall(_ *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
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
	fields := fieldsOf(s, args[1])
	if field := memberField(s, args[1]); field != "" && fields != nil && strings.HasSuffix(args[0], "/"+s.ID) {
		fields = append([]services.Field{{Name: field, Doc: "Which of them."}}, fields...)
	}
	for _, f := range fields {
		given := func(arg string) bool { return strings.HasPrefix(arg, f.Name+"=") }
		switch values := values(f); {
		case slices.ContainsFunc(args[2:], given):
		case given(typed):
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

// values returns the values that a field can have; nil if they are not enumerable.
func values(f services.Field) []string {
	if f.Type == typeBool {
		return []string{"true", "false"}
	}
	return f.Enum
}

// sensorAt returns the sensor that ACCOUNT/SENSOR names, the group of a member, or nil.
func sensorAt(c *config.Config, path string) *config.Sensor {
	id, name, _ := strings.Cut(path, "/")
	a := c.Accounts[id]
	if a == nil {
		return nil
	}
	if s := a.Sensors[name]; s != nil {
		return s
	}
	if i := strings.LastIndexByte(name, '_'); i >= 0 {
		if s := a.Sensors[name[:i]]; s != nil && s.Options.(sensors.Sensor).Group() != nil {
			return s
		}
	}
	return nil
}

// memberField returns the field that names a member in requests to a group; "" if the sensor is not a group, or if the operation is
// the group's own.
func memberField(s *config.Sensor, operation string) string {
	own := func(op services.Operation) bool { return op.Name == operation && op.OfGroup }
	if s.Options.(sensors.Sensor).Group() == nil || slices.ContainsFunc(runtime.Operations(s), own) {
		return ""
	}
	kinds := runtime.Kinds()
	return kinds[slices.IndexFunc(kinds, func(k sensors.Kind) bool { return k.Name == s.Type })].MemberField
}

// fieldsOf returns the fields of an operation's request; none if the configuration does not offer it.
func fieldsOf(s *config.Sensor, operation string) []services.Field {
	for _, op := range runtime.Operations(s) {
		if op.Name == operation {
			return services.Fields(op.New())
		}
	}
	return nil
}
