package mqtt

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

const (
	// maxTopicBytes and maxPayload are MQTT's own limits (MQTT 3.1.1, sections 1.5.3 and 2.2.3), the latter less the packet's header.
	maxTopicBytes = 65535
	maxPayload    = 268435455 - maxTopicBytes - 4
	// maxTopicLevels is less than what brokers accept: Mosquitto 200, EMQX 128.
	maxTopicLevels = 128
	// maxLoggedTopic is the number of bytes of a topic that logs and errors show.
	maxLoggedTopic = 100
	// smallPayload is a size that every broker takes.
	smallPayload = 1024
)

// checkTopic returns a *RefusedError if no broker takes the message: it would close the connection.
func checkTopic(topic string, payload []byte) error {
	reason, tooLarge := "", false
	switch levels := strings.Count(topic, "/") + 1; {
	case topic == "":
		reason = "the topic is empty"
	case len(topic) > maxTopicBytes:
		reason = fmt.Sprintf("the topic has %d bytes, want at most %d", len(topic), maxTopicBytes)
	case levels > maxTopicLevels:
		reason = fmt.Sprintf("the topic has %d levels, want at most %d", levels, maxTopicLevels)
	case !utf8.ValidString(topic) || strings.ContainsAny(topic, "+#\x00"):
		reason = "the topic has a wildcard or characters that are not allowed"
	case len(payload) > maxPayload:
		reason, tooLarge = fmt.Sprintf("want at most %d bytes", maxPayload), true
	default:
		return nil
	}
	return &RefusedError{Topic: shorten(topic), Size: len(payload), TooLarge: tooLarge, Reason: reason}
}

// refusal returns the error of a message that the broker does not accept.
func refusal(topic string, payload []byte) error {
	return &RefusedError{
		Topic: shorten(topic), Size: len(payload), TooLarge: len(payload) > smallPayload,
		Reason: "the connection is lost whenever it is sent; is it larger than the broker's limit, or not allowed?",
	}
}

func (c *Client) logRefused(err error, kind string) {
	var r *RefusedError
	if errors.As(err, &r) {
		c.log.Error("the broker does not accept a message; it is left out", "kind", kind, "topic", r.Topic, "bytes", r.Size, "error", r.Reason)
	}
}

// deferLog has f, which logs, called by runDeferredLogs. It is called with mu held: a log handler may publish.
func (c *Client) deferLog(f func()) { c.logs = append(c.logs, f) }

func (c *Client) runDeferredLogs() {
	c.mu.Lock()
	logs := c.logs
	c.logs = nil
	c.mu.Unlock()
	for _, f := range logs {
		f()
	}
}

func shorten(topic string) string {
	if len(topic) <= maxLoggedTopic {
		return topic
	}
	return strings.ToValidUTF8(topic[:maxLoggedTopic], "") + "…"
}

// A failure is an error of a kind; each kind is logged once.
type failure struct {
	kind string
	err  error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// Kinds of failures beside the broker's refusals.
const (
	lost        = "lost" // there was a connection
	network     = "network"
	certificate = "certificate"
)

// logFailure counts a failure and logs it once. Refused says that the connection was lost because of a message that was given up since.
func (c *Client) logFailure(err error, steady, refused bool) {
	defer c.runDeferredLogs()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Failures++
	var f *failure
	if !errors.As(err, &f) {
		f = &failure{kind: network, err: err}
	}
	url := c.url().Redacted()
	if f.kind != lost {
		c.shortLived = 0
		c.retryRefused() // the broker may return with other limits
		if key := url + " " + f.kind; !c.loggedFailures[key] {
			c.loggedFailures[key] = true
			c.deferLog(func() { c.log.Error("cannot connect to the broker", "url", url, "reason", f.kind, "error", f.err) })
		}
		return
	}
	if c.shortLived++; steady || refused || !closedByPeer(f.err) {
		c.shortLived = 0
	}
	switch {
	case c.shortLivedLogged || refused:
	case c.shortLived < 3:
		c.deferLog(func() { c.log.Warn("connection to the broker lost", "url", url, "error", f.err) })
	default:
		c.shortLivedLogged = true
		c.deferLog(func() {
			c.log.Error("the broker keeps closing the connection: is another client connected with the same client id?",
				"url", url, "client_id", c.options.ClientID)
		})
	}
}

// retryRefused has messages sent again that the broker did not take before.
func (c *Client) retryRefused() {
	clear(c.refused)
	c.retained.retryRefused()
}

// onStable is called once the connection has lasted.
func (c *Client) onStable() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shortLived = 0
	if c.shortLivedLogged {
		c.shortLivedLogged = false
		url := c.url().Redacted()
		c.deferLog(func() { c.log.Info("the connection to the broker is stable again", "url", url) })
	}
}

func closedByPeer(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// refusedBy names the return codes of CONNACK (MQTT 3.1.1, section 3.2.2.3).
func refusedBy(code byte) string {
	switch code {
	case 1:
		return "the broker does not speak MQTT 3.1.1"
	case 2:
		return "the broker refuses the client id"
	case 3:
		return "the broker is not available"
	case 4:
		return "the broker refuses the user name or the password"
	case 5:
		return "the broker does not authorize this client: are the user name and the password right?"
	}
	return network
}

// withoutPahoPrefix returns the cause of a failed connection attempt, before which paho puts "network Error : ".
func withoutPahoPrefix(err error) error {
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) {
		if causes := joined.Unwrap(); len(causes) == 2 && causes[0] == packets.ErrorNetworkError {
			return causes[1]
		}
	}
	return err
}

// kindOf names what is wrong with a connection that could not be made.
func kindOf(err error) string {
	var (
		verification *tls.CertificateVerificationError
		authority    x509.UnknownAuthorityError
		invalid      x509.CertificateInvalidError
		host         x509.HostnameError
		record       tls.RecordHeaderError
		op           *net.OpError
	)
	switch {
	case errors.As(err, &verification), errors.As(err, &authority), errors.As(err, &invalid), errors.As(err, &host):
		return certificate
	case errors.As(err, &record):
		return "the broker does not speak TLS on this port"
	case errors.As(err, &op) && op.Op == "remote error": // a TLS alert
		if strings.Contains(op.Error(), "certificate") {
			return "the broker refuses the client certificate"
		}
		return "the broker refuses the TLS connection"
	}
	return network
}
