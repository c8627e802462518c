package mail

// An upload is an upload session.
type upload struct{}
