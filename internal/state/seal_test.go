package state_test

import (
	"errors"
	"testing"

	"github.com/graph2mqtt/graph2mqtt/internal/state"
)

// What was sealed can be unsealed by another process, for the same purpose only.
func TestSeal(t *testing.T) {
	path := t.TempDir()
	first, _ := open(t, path, "")
	sealed := first.Seal([]byte("position"), "page")
	d, _ := open(t, path, "")
	if plain, err := d.Unseal(sealed, "page"); err != nil || string(plain) != "position" {
		t.Errorf("got %q, %v", plain, err)
	}
	if _, err := d.Unseal(sealed, "file"); !errors.Is(err, state.ErrCorrupt) {
		t.Errorf("another purpose: %v", err)
	}
	for i := range sealed {
		changed := append([]byte{}, sealed...)
		changed[i] ^= 1
		if plain, err := d.Unseal(changed, "page"); err == nil && string(plain) != "position" {
			t.Errorf("byte %d changed: %q", i, plain)
		}
	}
	other, _ := open(t, t.TempDir(), "")
	if _, err := other.Unseal(sealed, "page"); !errors.Is(err, state.ErrOtherKey) {
		t.Errorf("another key: %v", err)
	}
}
