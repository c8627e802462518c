package schema

import (
	"fmt"
	"io"
)

const redacted = "[redacted]"

// A Secret is text that no function prints. (Only fmt can print it, in an unexported field of a struct that is printed as a
// whole.) A key of this type has a companion with the suffix _file, which names a file that holds the value.
type Secret string

// Reveal returns the text.
func (s Secret) Reveal() string { return string(s) }

// String hides the text.
func (s Secret) String() string { return redacted }

// Format hides the text from every verb of fmt.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalText hides the text from encoding/json, slog and similar encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
