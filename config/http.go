package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"github.com/graph2mqtt/graph2mqtt/internal/schema"
)

// HTTP is the HTTP listener.
type HTTP struct {
	Listen      string   `koanf:"listen" example:"127.0.0.1:8099" doc:"The address and port to listen on, such as 127.0.0.1:8099, or :8099 for all addresses of the machine. Default: no HTTP listener. Any address but a loopback address needs a password."`
	TLSCertFile string   `koanf:"tls_cert_file" file:"true" doc:"The certificate (PEM), with its intermediate certificates. With it the listener speaks HTTPS only."`
	TLSKeyFile  string   `koanf:"tls_key_file" file:"true" doc:"The key (PEM) of the certificate, without a passphrase."`
	Password    Secret   `koanf:"password" doc:"The password of the status page, the metrics and the profiles, for HTTP Basic authentication with any user name: at least 8 characters."`
	ExternalURL string   `koanf:"external_url" example:"https://graph2mqtt.example.com" doc:"The URL under which a reverse proxy makes the listener available. Displayed links begin with it, and its host is accepted like those in hosts."`
	Hosts       []string `koanf:"hosts" example:"graph2mqtt.example.com" doc:"Additional host names under which the listener is reached. IP addresses, localhost, names without a dot and names that end in .local are always accepted. Requests for other names are answered with 421."`
	Calendars   bool     `koanf:"calendars" doc:"Offer the calendars and task lists over CalDAV, for Home Assistant and other programs. Each account has its own password for this."`
	Metrics     bool     `koanf:"metrics" doc:"Offer metrics for Prometheus at /metrics."`
	Pprof       bool     `koanf:"pprof" doc:"Offer profiles of the program at /debug/pprof/. Needs a password."`

	// Ingress is set if the program runs as an app of Home Assistant, whose ingress has signed the user in.
	Ingress bool
}

// ingressListen is the default address of an app, which Home Assistant's ingress expects.
const ingressListen = ":8099"

// minPassword is the length of the shortest password.
const minPassword = 8

// dnsName matches host names, also with underscores, which local networks use.
var dnsName = regexp.MustCompile(`^[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*$`)

// Validate implements schema.Validator.
func (h *HTTP) Validate() error {
	var errs []error
	loopback, err := checkListen(h.Listen)
	errs = append(errs, At("listen", err), checkPair(h.TLSCertFile, h.TLSKeyFile))
	for i, host := range h.Hosts {
		var err error
		h.Hosts[i], err = checkHost(host)
		errs = append(errs, At(fmt.Sprintf("hosts[%d]", i), err))
	}
	if h.ExternalURL != "" {
		h.ExternalURL = strings.TrimRight(h.ExternalURL, "/")
		errs = append(errs, At("external_url", checkExternal(h.ExternalURL)))
	}
	errs = append(errs, At("password", h.checkPassword(err == nil && !loopback)))
	return errors.Join(errs...)
}

// checkPassword validates the password, and requires one for what others must not see. exposed reports whether other machines can reach
// the listener.
func (h *HTTP) checkPassword(exposed bool) error {
	password := h.Password.Reveal()
	switch {
	case password != "" && len([]rune(password)) < minPassword:
		return fmt.Errorf("want at least %d characters, not %d", minPassword, len([]rune(password)))
	case strings.ContainsFunc(password, unicode.IsControl):
		return errors.New("want text without control characters")
	case password != "":
		return nil
	case h.Pprof:
		return errors.New("is required with http.pprof: profiles show details of the running program")
	case h.Ingress && h.Metrics:
		return errors.New("is required with http.metrics: Prometheus cannot sign in with Home Assistant's ingress")
	case h.Ingress:
		return nil
	case exposed:
		return fmt.Errorf("is required: others can reach %s; listen on 127.0.0.1 to go without", h.Listen)
	case h.ExternalURL != "", len(h.Hosts) > 0:
		return errors.New("is required: http.external_url and http.hosts are for others than this machine")
	}
	return nil
}

// checkListen validates the address of a listener. It reports whether only this machine can reach it.
func checkListen(address string) (loopback bool, err error) {
	const want = "want an address and a port, such as 127.0.0.1:8099, or :8099 for all addresses"
	if address == "" {
		return true, nil
	}
	host, port, err := net.SplitHostPort(address)
	switch _, number := strconv.ParseUint(address, 10, 16); {
	case number == nil:
		return false, fmt.Errorf("%s, not %q; use :%s", want, address, address)
	case strings.Contains(address, "://"):
		return false, fmt.Errorf("%s, without http://", want)
	case err != nil && strings.Count(address, ":") > 1 && !strings.HasPrefix(address, "["):
		return false, fmt.Errorf("%s; an IPv6 address needs brackets: [::1]:8099", want)
	case err != nil:
		return false, fmt.Errorf("%s, not %q", want, address)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return false, fmt.Errorf("want a port from 0 to 65535 after the address, not %q", port)
	}
	if host == "" {
		return false, nil
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap().IsLoopback(), nil
	}
	if host = strings.ToLower(host); !dnsName.MatchString(host) {
		return false, fmt.Errorf("%s, not %q", want, address)
	}
	return host == "localhost", nil
}

// IsLoopback reports whether only this machine can reach the address of a listener.
func IsLoopback(listen string) bool {
	loopback, err := checkListen(listen)
	return err == nil && loopback && listen != ""
}

// checkHost validates a host name and returns it as it is compared.
func checkHost(host string) (string, error) {
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	if ip, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
		return ip.String(), nil
	}
	if !dnsName.MatchString(name) {
		return host, fmt.Errorf("want a host name without scheme, port and wildcard, such as graph2mqtt.example.com, not %s", schema.Quote(host))
	}
	return name, nil
}

// checkExternal validates the address at which a reverse proxy serves the listener.
func checkExternal(address string) error {
	_, err := parseAddress(address, "want an address such as https://graph2mqtt.example.com")
	return err
}

// parseAddress parses an address of HTTP or HTTPS without a query. An error begins with want, and never repeats an address that may have a
// password in it.
func parseAddress(address, want string) (*url.URL, error) {
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return nil, errors.New(want)
	case u.User != nil:
		return nil, errors.New(want + ", without user and password")
	case u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("%s, not %s", want, schema.Quote(address))
	}
	_, err = checkHost(u.Hostname())
	return u, err
}

// checkFiles validates the certificate of the listener.
func (h *HTTP) checkFiles() error {
	if h.TLSCertFile == "" || h.TLSKeyFile == "" {
		return nil
	}
	_, err := ReadServerCertificate(h.TLSCertFile, h.TLSKeyFile)
	return err
}

// warnings returns the keys that do nothing without a listener.
func (h *HTTP) warnings() []string {
	if h.Listen != "" {
		return nil
	}
	var all []string
	for _, offered := range []struct {
		key string
		set bool
	}{{"calendars", h.Calendars}, {"metrics", h.Metrics}, {"pprof", h.Pprof}} {
		if offered.set {
			all = append(all, "http."+offered.key+" has no effect without http.listen")
		}
	}
	return all
}

// Hint implements schema.Hinter.
func (h *HTTP) Hint(key string, mapping map[string]any) string {
	if key == "" {
		return "http.listen"
	}
	return hint(key, map[string]string{
		"listen":        "address bind host port addr listen_address enabled url",
		"tls_cert_file": "cert certificate cert_file tls_cert ssl_cert ssl_certificate",
		"tls_key_file":  "key key_file tls_key ssl_key ssl_key_file",
		"password":      "pass passwd secret token auth",
		"external_url":  "base_url public_url external_address",
		"hosts":         "allowed_hosts host_names hostnames trusted_hosts",
		"calendars":     "caldav dav ical",
		"metrics":       "prometheus",
		"pprof":         "debug profiling profile",
	})
}
