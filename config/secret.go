package config

import (
	"fmt"
	"io"
)

const redacted = "[redacted]"

// A Secret is text that is never printed, whatever prints it. (Only fmt can, where it is in an unexported field of a struct
// that is printed as a whole.) Where the configuration has a key for one, it also has that key with "_file" for the name of a
// file that holds it.
type Secret string

// Reveal returns the text.
func (s Secret) Reveal() string { return string(s) }

// String hides the text.
func (s Secret) String() string { return redacted }

// Format hides the text from every verb of fmt, the unsuitable ones too.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalText hides the text from encoding/json, slog and their like.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
