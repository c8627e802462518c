package config

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/schema"
)

// Notifications configures how Microsoft announces changes. Webhook and EventHubs exclude each other, because a subscription has one address.
type Notifications struct {
	Webhook   Webhook       `koanf:"webhook" doc:"A listener of its own, which Microsoft reaches through a reverse proxy or a tunnel. Default: no notifications."`
	EventHubs EventHubs     `koanf:"eventhubs" doc:"An event hub of Azure that Microsoft sends the notifications to, instead of a listener. Default: none."`
	Safety    time.Duration `koanf:"safety" min:"1m" max:"24h" doc:"The time between two polls of a sensor whose changes are announced, as long as the notifications prove reliable."`
}

// Webhook is the listener of notifications.
type Webhook struct {
	Listen      string `koanf:"listen" example:"127.0.0.1:8443" doc:"The address and port to listen on, such as 127.0.0.1:8443, or :8443 for all addresses of the machine. It answers nothing but notifications."`
	URL         string `koanf:"url" example:"https://hooks.example.com/graph" doc:"The address at which Microsoft reaches the listener from the internet: https, with a certificate that everybody trusts, and a path."`
	TLSCertFile string `koanf:"tls_cert_file" file:"true" doc:"The certificate (PEM), with its intermediate certificates. With it the listener speaks HTTPS only. Without it a reverse proxy or a tunnel must do that."`
	TLSKeyFile  string `koanf:"tls_key_file" file:"true" doc:"The key (PEM) of the certificate, without a passphrase."`
}

// defaultSafety is the default time between two polls of a sensor whose changes are announced.
const defaultSafety = 15 * time.Minute

// Enabled reports whether notifications are configured.
func (n *Notifications) Enabled() bool { return n.URL() != "" }

// URL returns the address that Microsoft sends notifications to; "": they are not configured.
func (n *Notifications) URL() string {
	if n.Webhook.Listen != "" && n.Webhook.URL != "" {
		return n.Webhook.URL
	}
	return n.EventHubs.URL
}

// Validate implements schema.Validator.
func (n *Notifications) Validate() error {
	if n.EventHubs.IsConfigured() && (n.Webhook.Listen != "" || n.Webhook.URL != "") {
		return At("eventhubs", errors.New("given together with webhook: Microsoft sends a notification to one address, so only one of them can be right"))
	}
	return nil
}

// Validate implements schema.Validator.
func (w *Webhook) Validate() error {
	var errs []error
	_, err := checkListen(w.Listen)
	errs = append(errs, At("listen", err), checkPair(w.TLSCertFile, w.TLSKeyFile))
	switch {
	case w.Listen == "" && w.URL != "":
		errs = append(errs, At("listen", errors.New("is required with url")))
	case w.Listen != "" && w.URL == "":
		errs = append(errs, At("url", errors.New("is required with listen: Microsoft must reach the listener")))
	case w.URL != "":
		errs = append(errs, At("url", checkWebhook(w.URL)))
	}
	return errors.Join(errs...)
}

// checkWebhook validates the address that Microsoft sends notifications to.
func checkWebhook(address string) error {
	u, err := parseAddress(address, "want an address such as https://hooks.example.com/graph")
	switch {
	case err != nil:
		return err
	case strings.ContainsAny(u.Path, "{} "):
		return fmt.Errorf("want a path of letters, digits and slashes, not %s", schema.Quote(u.Path))
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		return fmt.Errorf("want https: Microsoft sends notifications to no other address, not %s", schema.Quote(address))
	case u.Scheme == "https" && isPrivate(u.Hostname()):
		return fmt.Errorf("want an address that Microsoft reaches from the internet, not %s", schema.Quote(address))
	}
	return nil
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && ip.Unmap().IsLoopback()
}

// isPrivate reports whether a host cannot be reached from the internet.
func isPrivate(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		ip = ip.Unmap()
		return ip.IsLoopback() || ip.IsPrivate() || ip.IsLinkLocalUnicast() || ip.IsUnspecified()
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return !strings.Contains(host, ".") || strings.HasSuffix(host, ".local") || strings.HasSuffix(host, ".localhost")
}

// checkPair validates that a certificate comes with its key.
func checkPair(certFile, keyFile string) error {
	switch {
	case certFile != "" && keyFile == "":
		return At("tls_key_file", errors.New("is required with tls_cert_file"))
	case certFile == "" && keyFile != "":
		return At("tls_cert_file", errors.New("is required with tls_key_file"))
	}
	return nil
}

// checkFiles validates the certificate of the listener.
func (w *Webhook) checkFiles() error {
	if w.TLSCertFile == "" || w.TLSKeyFile == "" {
		return nil
	}
	_, err := ReadServerCertificate(w.TLSCertFile, w.TLSKeyFile)
	return err
}

// checkNotifications validates what other keys tell about notifications.
func (l *loader) checkNotifications(c *Config) {
	n := &c.Notifications
	if n.Webhook.Listen != "" && n.Webhook.Listen == c.HTTP.Listen {
		l.Report("notifications.webhook.listen", "want another address than http.listen, %s: strangers reach this one", n.Webhook.Listen)
	}
	if !n.Enabled() && n.Safety != defaultSafety && n.Webhook.Listen == "" && !n.EventHubs.IsConfigured() {
		c.Warnings = append(c.Warnings, "notifications.safety has no effect without notifications.webhook or notifications.eventhubs")
	}
	hub, err := n.EventHubs.Endpoint()
	local := err == nil && hub.Emulator
	if !local && !strings.HasPrefix(n.Webhook.URL, "http:") {
		return
	}
	for _, a := range Sorted(c.Accounts) {
		if u, err := url.Parse(a.Cloud.Graph); err == nil && isLoopback(u.Hostname()) {
			continue
		}
		if local {
			l.Report("notifications.eventhubs.connection_string", "want an event hub of Azure: the emulator is for a simulator on this machine, which account %s does not use", a.ID)
		} else {
			l.Report("notifications.webhook.url", "want https: http is for a simulator on this machine, which account %s does not use", a.ID)
		}
		return
	}
}

// Hint implements schema.Hinter.
func (w *Webhook) Hint(key string, _ map[string]any) string {
	if key == "" {
		return "notifications.webhook.url"
	}
	return hint(key, map[string]string{
		"listen":        "address bind host port addr listen_address",
		"url":           "public_url notification_url external_url base_url",
		"tls_cert_file": "cert certificate cert_file tls_cert ssl_cert",
		"tls_key_file":  "key key_file tls_key ssl_key",
	})
}
