package config

import (
	"maps"
	"slices"
)

// RenamedTimezones returns every old name of a time zone.
func RenamedTimezones() []string { return slices.Sorted(maps.Keys(renamedZones)) }
