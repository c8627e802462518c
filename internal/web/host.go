package web

import (
	"net"
	"net/netip"
	"net/url"
	"strings"
)

// hosts lists the host names that a request may be for, beside those that no public DNS server can resolve to this machine.
type hosts map[string]bool

func newHosts(o Options) hosts {
	allowed := hosts{}
	for _, name := range o.Hosts {
		allowed[canonicalHost(name)] = true
	}
	if u, err := url.Parse(o.ExternalURL); err == nil && u.Hostname() != "" {
		allowed[canonicalHost(u.Hostname())] = true
	}
	return allowed
}

// allow reports whether a request with this Host may be answered. A page of a foreign name that resolves to this machine's address (DNS
// rebinding) has that name as its Host. A request without one comes from no browser.
func (h hosts) allow(host string) bool {
	if host == "" {
		return true
	}
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	name := canonicalHost(host)
	if _, err := netip.ParseAddr(name); err == nil {
		return true
	}
	return name != "" && !strings.Contains(name, ".") || strings.HasSuffix(name, ".local") || h[name]
}

// canonicalHost returns a host name or address in the form that is compared.
func canonicalHost(name string) string {
	return strings.ToLower(strings.TrimSuffix(strings.TrimSuffix(strings.TrimPrefix(name, "["), "]"), "."))
}
