package planner_test

import (
	"testing"

	"github.com/graph2mqtt/graph2mqtt/sensors/planner"
	"github.com/graph2mqtt/graph2mqtt/sensors/sensorstest"
)

func TestCases(t *testing.T) { sensorstest.Run(t, planner.Kind(), "testdata/cases") }
