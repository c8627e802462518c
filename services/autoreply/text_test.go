package autoreply_test

import (
	"strings"
	"testing"

	"github.com/graph2mqtt/graph2mqtt/services/autoreply"
)

func TestShort(t *testing.T) {
	fits := strings.Repeat("ä", 255)
	if got := autoreply.Short(fits); got != fits {
		t.Errorf("255 characters were changed")
	}
	if got, want := autoreply.Short(fits+"b"), strings.Repeat("ä", 254)+"…"; got != want {
		t.Errorf("got %q", got)
	}
}
