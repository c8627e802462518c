package graph

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
)

// Spell returns s as it is spelled in values, or unchanged if they do not contain it. Pages of Microsoft differ in the case of a value:
// "Scheduled" and "scheduled".
func Spell(s string, values []string) string {
	if i := slices.IndexFunc(values, func(v string) bool { return strings.EqualFold(v, s) }); i >= 0 {
		return values[i]
	}
	return s
}

// NullIfZero returns v as JSON shows it: nil, which is null, for the zero value.
func NullIfZero[T comparable](v T) any {
	if v == *new(T) {
		return nil
	}
	return v
}

// UnmarshalTolerantly is [json.Unmarshal] for one item of many: values of a wrong type are left out, because the rest is worth more.
func UnmarshalTolerantly(b []byte, v any) error {
	err := json.Unmarshal(b, v) // goes on after a wrong type
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		return nil
	}
	return err
}
