package graph

// NullIfZero returns v as JSON shows it: nil, which is null, for the zero value.
func NullIfZero[T comparable](v T) any {
	if v == *new(T) {
		return nil
	}
	return v
}
