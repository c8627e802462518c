package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/runtime"
	"github.com/graph2mqtt/graph2mqtt/internal/state"
	"github.com/graph2mqtt/graph2mqtt/services"
)

func (p *program) callCommand() *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:   "call ACCOUNT/SENSOR OPERATION [FIELD=VALUE…]",
		Short: "Do one operation without a broker, and print the response",
		Long: "call does what the same request over MQTT would do, or refuses it for the same reasons, and prints the response. A running bridge shows\n" +
			"the change at its next poll. Lists are written with commas or as JSON, objects as JSON.",
		Example: "  graph2mqtt call work/out_of_office enable\n" +
			"  graph2mqtt call work/calendar create subject=Dentist start=2026-12-01T10:00 end=2026-12-01T11:00 categories=Private,Health\n" +
			"  graph2mqtt call work/calendar create --json < event.json",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 2 {
				return errors.New("want ACCOUNT/SENSOR and OPERATION")
			}
			return nil
		},
		ValidArgsFunction: p.completeCall,
		RunE: p.do(func(ctx context.Context, args []string) error {
			if asJSON && len(args) > 2 {
				return &usageError{"--json takes the request from standard input, and there are arguments, too"}
			}
			return p.call(ctx, args[0], args[1], args[2:], asJSON)
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "read the request, a JSON object, from standard input")
	return cmd
}

func (p *program) call(ctx context.Context, path, operation string, fields []string, asJSON bool) error {
	id, sensor, ok := strings.Cut(path, "/")
	if !ok {
		return &usageError{fmt.Sprintf("want ACCOUNT/SENSOR, such as work/calendar, not %q", path)}
	}
	c, err := p.load()
	if err != nil {
		return err
	}
	a, err := account(c, id)
	if err != nil {
		return err
	}
	var payload []byte
	if asJSON {
		payload, err = io.ReadAll(p.stdin)
	} else {
		payload, err = requestFrom(a.Sensors[sensor], operation, fields)
	}
	if err != nil {
		return err
	}
	log, _ := p.logger(c, true)
	dir, err := state.Open(c.StateDir, c.KeyFile, log)
	if err != nil {
		return err
	}
	r, err := runtime.Call(ctx, runtime.Options{Kinds: runtime.Kinds(), Dir: dir, Log: log}, a, services.Ref{Account: id, Sensor: sensor}, operation, payload)
	if err != nil {
		return err
	}
	if err := p.json(r); err != nil || r.Error == nil {
		return err
	}
	switch r.Error.Code {
	case services.InvalidJSON, services.InvalidArgument, services.UnknownOp, services.UnknownSensor, services.UpdatesDisabled, services.NotOnDemand, services.TooLarge:
		return &usageError{r.Error.Message}
	}
	return errors.New(r.Error.Message)
}

// The types of fields, as services.Field tells them.
const (
	typeText  = "text"
	typeBool  = "true or false"
	typeTexts = "list of text"
)

// requestFrom makes a request of FIELD=VALUE arguments. What a field wants is checked with the whole request.
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
		kind := typeText // of what is not known, such as a transaction
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
