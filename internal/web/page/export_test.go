package page

import "time"

// Find returns the account of a link that works.
func (l *Links) Find(secret string) (account string, ok bool) {
	account, found, ok := l.find(secret)
	if !ok || found.Used {
		return "", false
	}
	return account, true
}

// UsedBy returns the account of a link that was used a moment ago.
func (l *Links) UsedBy(secret string) (account string, ok bool) {
	account, found, ok := l.find(secret)
	return account, ok && found.Used
}

// SignInState makes what the page of a link shows, and returns the name of the account.
func (h *StatusPage) SignInState(account string) string {
	return h.signInState(account, time.Time{}, false).Name
}
