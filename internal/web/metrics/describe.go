package metrics

import (
	"fmt"
	"strings"
)

// prefix begins the names of the program's own metrics.
const prefix = "graph2mqtt_"

// A Metric describes a metric of the program.
type Metric struct {
	Name   string // without the prefix
	Type   string // gauge, counter, histogram
	Doc    string
	Labels []string
}

// The names of the metrics, without their prefix.
const (
	buildInfo            = "build_info"
	accountSignedIn      = "account_signed_in"
	accountSignInExpiry  = "account_sign_in_expiry_timestamp_seconds"
	accountMissing       = "account_permissions_missing"
	sensorPolls          = "sensor_polls_total"
	sensorPollDuration   = "sensor_poll_duration_seconds"
	sensorLastSuccess    = "sensor_last_success_timestamp_seconds"
	sensorNextPoll       = "sensor_next_poll_timestamp_seconds"
	sensorAvailable      = "sensor_available"
	sensorItems          = "sensor_items"
	sensorAnnounced      = "sensor_announced"
	accountUnannounced   = "account_unannounced_changes_total"
	notificationsTotal   = "notifications_total"
	graphRequests        = "graph_requests_total"
	graphRequestDuration = "graph_request_duration_seconds"
	graphThrottled       = "graph_throttled_seconds_total"
	mqttConnected        = "mqtt_connected"
	mqttConnects         = "mqtt_connects_total"
	mqttPublished        = "mqtt_published_messages_total"
	requestsTotal        = "requests_total"
	requestsWaiting      = "requests_waiting"
	reloadSuccessful     = "config_last_reload_successful"
	reloadSuccessTime    = "config_last_reload_success_timestamp_seconds"
	httpRequests         = "http_requests_total"
	shards               = "shards"
)

// All describes every metric of the program. Labels are keys of the configuration, codes and methods, never names or addresses: a
// metric shows nothing of what the accounts hold, and there are few of each.
func All() []Metric {
	account, sensor := []string{"account"}, []string{"account", "sensor"}
	return []Metric{
		{buildInfo, "gauge", "Always 1. The labels have the versions of the program and of Go.", []string{"version", "goversion"}},
		{accountSignedIn, "gauge", "Whether the account is signed in: 1 or 0.", account},
		{accountSignInExpiry, "gauge", "When the sign-in ends if it is not used until then. It is renewed while the program runs.", account},
		{accountMissing, "gauge", "Number of permissions that sensors lack.", account},
		{sensorPolls, "counter", "Finished polls of the sensor. The outcome is ok, or the code of the error.", []string{"account", "sensor", "outcome"}},
		{sensorPollDuration, "histogram", "Durations of the polls of all sensors of the account.", account},
		{sensorLastSuccess, "gauge", "When the sensor was last read successfully.", sensor},
		{sensorNextPoll, "gauge", "When the sensor is polled next, if nothing requests it earlier.", sensor},
		{sensorAvailable, "gauge", "Whether the sensor's values are current: 1 or 0.", sensor},
		{sensorItems, "gauge", "Number of items in the list that the sensor shows, such as events. Sensors without a list are left out.", sensor},
		{sensorAnnounced, "gauge", "Whether notifications announce the sensor's changes: 1; 0: they should, and do not. Sensors that Microsoft sends none about are left out.", sensor},
		{accountUnannounced, "counter", "Changes that polls found and no notification announced.", account},
		{notificationsTotal, "counter", "Received notifications. The outcome is accepted, or ignored: of an unknown subscription, or without its secret.", []string{"outcome"}},
		{graphRequests, "counter", "Requests to Graph. The code is the HTTP status of the answer; none: there was no answer.", []string{"account", "method", "code"}},
		{graphRequestDuration, "histogram", "Times until Graph began to answer, for all accounts.", nil},
		{graphThrottled, "counter", "Time for which Graph asked to wait, including the rest of the present wait. Limits that wait at the same time add up.", account},
		{mqttConnected, "gauge", "Whether the broker is connected: 1 or 0. With several shards: that of every shard; left out without a shard.", nil},
		{mqttConnects, "counter", "Connections made to the broker.", nil},
		{mqttPublished, "counter", "Messages that the broker has acknowledged.", nil},
		{requestsTotal, "counter", "Answered requests, over MQTT and HTTP. The code is ok, or that of the error. Requests to the bridge have an empty account; the op is empty if there is none of that name.", []string{"account", "op", "code"}},
		{requestsWaiting, "gauge", "Requests that have not been answered yet.", account},
		{reloadSuccessful, "gauge", "Whether the newest configuration is in use: 1; 0: it, or the file of an account, is invalid or could not be applied, and the one before it still runs.", nil},
		{reloadSuccessTime, "gauge", "When the running configuration was loaded.", nil},
		{shards, "gauge", "Number of shards that this machine has. Left out without cluster.shards above 1.", nil},
		{httpRequests, "counter", "Requests to the HTTP listener. The handler is the pattern of the route; empty: the request was refused before, or there is no route.", []string{"handler", "method", "code"}},
	}
}

// Reference returns every metric in a Markdown table.
func Reference() string {
	var b strings.Builder
	b.WriteString("| metric | type | labels | meaning |\n|---|---|---|---|\n")
	for _, m := range All() {
		labels := "–"
		if len(m.Labels) > 0 {
			labels = "`" + strings.Join(m.Labels, "`, `") + "`"
		}
		fmt.Fprintf(&b, "| `%s%s` | %s | %s | %s |\n", prefix, m.Name, m.Type, labels, m.Doc)
	}
	return b.String()
}
