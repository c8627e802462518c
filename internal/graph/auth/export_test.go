package auth

// MarkForRetry is RetryRefused without the renewal.
func (s *Session) MarkForRetry() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retrying = s.activeRefusal()
}
