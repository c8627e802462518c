package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/bridge"
	"github.com/graph2mqtt/graph2mqtt/internal/runtime"
	"github.com/graph2mqtt/graph2mqtt/services"
)

func (p *program) callCommand() *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:   "call ACCOUNT/SENSOR OPERATION [FIELD=VALUE…]",
		Short: "Run one operation without a broker, and print the response",
		Long: "call runs an operation exactly as an MQTT request would, including the same checks, and prints the response. A running bridge\n" +
			"shows the change at its next poll. Separate the items of a list with commas or write it as JSON; write objects as JSON.\n\n" +
			"Without an operation it lists those that the configuration offers.",
		Example: "  graph2mqtt call work/out_of_office enable\n" +
			"  graph2mqtt call work/calendar create subject=Dentist start=2026-12-01T10:00 end=2026-12-01T11:00 categories=Private,Health\n" +
			"  graph2mqtt call work/calendar create --json < event.json",
		ValidArgsFunction: p.completeCall,
		RunE: p.do(func(ctx context.Context, args []string) error {
			if asJSON && len(args) > 2 {
				return &usageError{"--json reads the request from standard input; do not give fields as arguments"}
			}
			return p.call(ctx, args, asJSON)
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "read the request, a JSON object, from standard input")
	return cmd
}

func (p *program) call(ctx context.Context, args []string, asJSON bool) error {
	c, err := p.load()
	if err != nil {
		return err
	}
	if len(args) == 0 {
		return &usageError{"want ACCOUNT/SENSOR and OPERATION; " + offeredSensors(c)}
	}
	id, sensor, ok := strings.Cut(args[0], "/")
	if !ok {
		return &usageError{fmt.Sprintf("want ACCOUNT/SENSOR, such as work/calendar, not %q; %s", args[0], offeredSensors(c))}
	}
	a, err := account(c, id)
	if err != nil {
		return err
	}
	s := sensorAt(c, args[0])
	if len(args) == 1 {
		if s == nil {
			return &usageError{fmt.Sprintf("account %s has no sensor %q; known: %s", id, sensor, strings.Join(slices.Sorted(maps.Keys(a.Sensors)), ", "))}
		}
		return &usageError{"want an operation of " + args[0] + "; " + offeredOperations(s)}
	}
	operation := args[1]
	var payload []byte
	if asJSON {
		payload, err = io.ReadAll(p.stdin)
	} else {
		payload, err = requestFrom(s, operation, args[2:])
	}
	if err != nil {
		return err
	}
	dir, log, err := p.openState(c)
	if err != nil {
		return err
	}
	o := runtime.Options{Kinds: runtime.Kinds(), Dir: dir, Log: log}
	if recorder := bridge.Audit(c.Audit, dir, log, nil); recorder != nil {
		o.OnWrite = func(w services.Write, user string) {
			if err := recorder.Write(bridge.AuditLine(w, user)); err != nil {
				log.Error("audit records cannot be written", "error", err)
			}
		}
	}
	r, err := runtime.Call(ctx, o, a, services.Ref{Account: id, Sensor: sensor}, operation, payload)
	if err != nil {
		return err
	}
	if err := p.json(r); err != nil || r.Error == nil {
		return err
	}
	err = errors.New(r.Error.Message)
	switch r.Error.Code {
	case services.InvalidJSON, services.InvalidArgument, services.UnknownOp, services.UnknownSensor, services.UpdatesDisabled, services.NotOnDemand, services.TooLarge:
		err = &usageError{r.Error.Message}
	}
	if p.terminal { // the response contains the error already
		return &reportedError{exitCode(err)}
	}
	return err
}

// offeredSensors lists the sensors that offer operations, each on a line.
func offeredSensors(c *config.Config) string {
	var lines []string
	for id, a := range config.Sorted(c.Accounts) {
		for name, s := range config.Sorted(a.Sensors) {
			var names []string
			for _, op := range runtime.Operations(s) {
				names = append(names, op.Name)
			}
			if len(names) > 0 {
				lines = append(lines, fmt.Sprintf("\n  %s/%s: %s", id, name, strings.Join(names, ", ")))
			}
		}
	}
	if len(lines) == 0 {
		return "no sensor offers operations without enable_update: true or on_demand: true"
	}
	return "the configuration offers:" + strings.Join(lines, "")
}

// offeredOperations lists the operations of a sensor, each on a line.
func offeredOperations(s *config.Sensor) string {
	var lines []string
	for _, op := range runtime.Operations(s) {
		lines = append(lines, fmt.Sprintf("\n  %s: %s", op.Name, op.Doc))
	}
	if len(lines) == 0 {
		return "it offers none without enable_update: true or on_demand: true"
	}
	return "it offers:" + strings.Join(lines, "")
}

// The types of fields in services.Field.
const (
	typeText  = "text"
	typeBool  = "true or false"
	typeTexts = "list of text"
)

// requestFrom makes a request of FIELD=VALUE arguments. The values are checked with the whole request.
func requestFrom(s *config.Sensor, operation string, fields []string) ([]byte, error) {
	request := map[string]any{}
	var known []services.Field
	if s != nil {
		known = fieldsOf(s, operation)
	}
	for _, arg := range fields {
		name, value, ok := strings.Cut(arg, "=")
		if !ok || name == "" {
			return nil, &usageError{fmt.Sprintf("want FIELD=VALUE, such as subject=Dentist, not %q", arg)}
		}
		if _, twice := request[name]; twice {
			return nil, &usageError{fmt.Sprintf("%s is given twice", name)}
		}
		kind := typeText // of unknown fields, such as transaction
		if i := slices.IndexFunc(known, func(f services.Field) bool { return f.Name == name }); i >= 0 {
			kind = known[i].Type
		}
		switch {
		case kind != typeText && json.Valid([]byte(value)):
			request[name] = json.RawMessage(value)
		case kind == typeTexts:
			request[name] = strings.Split(value, ",")
		default:
			request[name] = value
		}
	}
	return json.Marshal(request)
}
