package mail_test

import (
	"testing"

	"github.com/graph2mqtt/graph2mqtt/sensors/mail"
	"github.com/graph2mqtt/graph2mqtt/sensors/sensorstest"
)

func TestCases(t *testing.T) {
	sensorstest.Run(t, mail.Email(), "testdata/email")
	sensorstest.Run(t, mail.Filter(), "testdata/query")
}
