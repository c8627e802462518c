package todo_test

import (
	"testing"

	"github.com/graph2mqtt/graph2mqtt/sensors/sensorstest"
	"github.com/graph2mqtt/graph2mqtt/sensors/todo"
)

func TestCases(t *testing.T) { sensorstest.Run(t, todo.Kind(), "testdata/cases") }
