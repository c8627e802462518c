package bridge

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/url"
	"strings"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/eventhub"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/subscriptions"
	"github.com/graph2mqtt/graph2mqtt/internal/runtime"
	"github.com/graph2mqtt/graph2mqtt/internal/web"
	"github.com/graph2mqtt/graph2mqtt/internal/web/receiver"
)

// notificationOptions returns what the runtime needs to subscribe to notifications; nil if they are not configured.
func (b *Bridge) notificationOptions(n config.Notifications) *runtime.NotificationOptions {
	if !n.Enabled() {
		return nil
	}
	o := &runtime.NotificationOptions{URL: n.URL(), Safety: n.Safety}
	if b.options.Receiver != nil {
		o.Shards = b.options.Receiver.shardOptions(b.options.Shard)
	}
	return o
}

// A notifyFunc takes notifications. It returns when they are on disk; with an error they must be passed again.
type notifyFunc = func(context.Context, []subscriptions.Notification) error

// notify takes notifications for the bridge.
func (b *Bridge) notify(ctx context.Context, all []subscriptions.Notification) error {
	return b.options.Dir.ExplainTimeout(b.runtime.Notify(ctx, all))
}

// readHub returns the reader of notifications in an event hub; nil if none is configured. It calls report with an error when the hub cannot
// be read, and with nil when it can be read again. Of a shared hub other machines read a part.
func readHub(n config.Notifications, notify notifyFunc, report func(error), shared bool, log *slog.Logger) (*eventhub.Reader, error) {
	if !n.EventHubs.IsConfigured() {
		return nil, nil
	}
	hub, err := n.EventHubs.Endpoint()
	if err != nil {
		return nil, config.At("notifications.eventhubs", err)
	}
	o := eventhub.Options{
		Address: hub.Address, ConnectionString: n.EventHubs.ConnectionString.Reveal(), Hub: hub.Name, Group: n.EventHubs.ConsumerGroup,
		Notify: notify, Shared: shared, Log: log,
		OnState: func(err error) {
			if err != nil {
				err = fmt.Errorf("the event hub cannot be read: %w", err)
			}
			report(err)
		},
	}
	if !hub.Emulator {
		o.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	return eventhub.New(o), nil
}

// receive returns the listener of notifications, which holds its address; nil if none is configured.
func receive(n config.Notifications, notify notifyFunc, log *slog.Logger) (*listener, error) {
	if n.Webhook.URL == "" {
		return nil, nil
	}
	o := web.Options{Key: "notifications.webhook", Public: true, Listen: n.Webhook.Listen, ExternalURL: n.Webhook.URL, Log: log}
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
	server.Mount(pathOf(n.Webhook.URL), web.Open, receiver.New(receiver.Options{Notify: notify, Log: log}))
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
