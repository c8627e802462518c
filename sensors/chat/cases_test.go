package chat_test

import (
	"testing"

	"github.com/graph2mqtt/graph2mqtt/sensors/chat"
	"github.com/graph2mqtt/graph2mqtt/sensors/sensorstest"
)

func TestCases(t *testing.T) {
	sensorstest.Run(t, chat.ChatKind(), "testdata/chat")
	sensorstest.Run(t, chat.ChannelKind(), "testdata/channel")
}
