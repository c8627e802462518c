package bridge

import (
	"crypto/tls"
	"net/url"
	"strings"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/eventhub"
	"github.com/graph2mqtt/graph2mqtt/internal/runtime"
	"github.com/graph2mqtt/graph2mqtt/internal/web"
	"github.com/graph2mqtt/graph2mqtt/internal/web/receiver"
)

// notificationOptions returns what the runtime needs to subscribe to notifications; nil if they are not configured.
func notificationOptions(n config.Notifications) *runtime.NotificationOptions {
	if !n.Enabled() {
		return nil
	}
	return &runtime.NotificationOptions{URL: n.URL(), Safety: n.Safety}
}

// readHub returns the reader of notifications in an event hub; nil if none is configured.
func (b *Bridge) readHub(n config.Notifications) (*eventhub.Reader, error) {
	if !n.EventHubs.IsConfigured() {
		return nil, nil
	}
	hub, err := n.EventHubs.Endpoint()
	if err != nil {
		return nil, config.At("notifications.eventhubs", err)
	}
	o := eventhub.Options{
		Address: hub.Address, ConnectionString: n.EventHubs.ConnectionString.Reveal(), Hub: hub.Name, Group: n.EventHubs.ConsumerGroup,
		Notify: b.runtime.Notify, OnState: b.runtime.ReportReceiver, Log: b.log.With("component", "notifications"),
	}
	if !hub.Emulator {
		o.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	return eventhub.New(o), nil
}

// receive returns the listener of notifications, which holds its address; nil if none is configured.
func (b *Bridge) receive(n config.Notifications) (*listener, error) {
	if n.Webhook.URL == "" {
		return nil, nil
	}
	o := web.Options{Key: "notifications.webhook", Public: true, Listen: n.Webhook.Listen, ExternalURL: n.Webhook.URL, Log: b.log.With("component", "notifications")}
	if n.Webhook.TLSCertFile != "" {
		pair, err := config.ReadServerCertificate(n.Webhook.TLSCertFile, n.Webhook.TLSKeyFile)
		if err != nil {
			return nil, config.At("notifications.webhook", err)
		}
		o.Certificate = &pair
	}
	server, err := web.New(o)
	if err != nil {
		return nil, err
	}
	server.Mount(pathOf(n.Webhook.URL), web.Open, receiver.New(receiver.Options{Notify: b.runtime.Notify, Log: o.Log}))
	return &listener{server: server}, nil
}

// pathOf returns the pattern of the only path that the listener answers.
func pathOf(address string) string {
	path := "/"
	if u, err := url.Parse(address); err == nil && u.Path != "" {
		path = u.Path
	}
	if strings.HasSuffix(path, "/") {
		path += "{$}"
	}
	return path
}
