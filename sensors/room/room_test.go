package room_test

import (
	"testing"

	"github.com/graph2mqtt/graph2mqtt/sensors/room"
	"github.com/graph2mqtt/graph2mqtt/sensors/sensorstest"
)

func TestCases(t *testing.T) { sensorstest.Run(t, room.Kind(), "testdata/cases") }
