package config_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/config"
)

func TestNotifications(t *testing.T) {
	const (
		account   = ", mqtt: {url: mqtt://h}, accounts: {a: {client_id: 01234567-89ab-cdef-0123-456789abcdef"
		simulated = account + ", cloud: {login: https://127.0.0.1:1, graph: https://127.0.0.1:1}}}"
		microsoft = account + "}}"
		prefix    = "notifications.webhook"
		listen    = "listen: '127.0.0.1:8443', "
	)
	for _, test := range []struct{ webhook, rest, want string }{
		{listen + "url: https://hooks.example.com/graph", microsoft, ""},
		{listen + "url: https://hooks.example.com", microsoft, ""},
		{listen + "url: https://hooks.example.com/graph, tls_cert_file: testdata/client.pem, tls_key_file: testdata/client.key", microsoft, ""},
		{listen + "url: http://127.0.0.1:8443/graph", simulated, ""},
		{listen + "url: http://127.0.0.1:8443/graph", microsoft, prefix + ".url (line 1): want https: http is for a simulator on this machine, which account a does not use"},
		{listen + "url: http://hooks.example.com/graph", simulated, prefix + `.url (line 1): want https: Microsoft sends notifications to no other address, not "http://hooks.example.com/graph"`},
		{"url: https://hooks.example.com/graph", microsoft, prefix + ".listen (line 1) is required with url"},
		{"listen: '127.0.0.1:8443'", microsoft, prefix + ".url (line 1) is required with listen: Microsoft must reach the listener"},
		{"listen: '8443', url: https://hooks.example.com/graph", microsoft, prefix + `.listen (line 1): want an address and a port, such as 127.0.0.1:8099, or :8099 for all addresses, not "8443"; use :8443`},
		{listen + "url: hooks.example.com", microsoft, prefix + `.url (line 1): want an address such as https://hooks.example.com/graph, not "hooks.example.com"`},
		{listen + "url: 'https://u:secret@hooks.example.com/graph'", microsoft, prefix + ".url (line 1): want an address such as https://hooks.example.com/graph, without user and password"},
		{listen + "url: 'https://hooks.example.com/graph?x'", microsoft, prefix + `.url (line 1): want an address such as https://hooks.example.com/graph, not "https://hooks.example.com/graph?x"`},
		{listen + "url: 'https://hooks.example.com/{graph}'", microsoft, prefix + `.url (line 1): want a path of letters, digits and slashes, not "/{graph}"`},
		{listen + "url: 'https://192.168.1.2/graph'", microsoft, prefix + `.url (line 1): want an address that Microsoft reaches from the internet, not "https://192.168.1.2/graph"`},
		{listen + "url: 'https://nas.local/graph'", microsoft, prefix + `.url (line 1): want an address that Microsoft reaches from the internet, not "https://nas.local/graph"`},
		{listen + "url: 'https://localhost/graph'", microsoft, prefix + `.url (line 1): want an address that Microsoft reaches from the internet, not "https://localhost/graph"`},
		{listen + "url: https://hooks.example.com/graph, tls_cert_file: testdata/client.pem", microsoft, prefix + ".tls_key_file (line 1) is required with tls_cert_file"},
		{listen + "url: https://hooks.example.com/graph, tls_cert_file: testdata/client.key, tls_key_file: testdata/client.key", microsoft, prefix + ".tls_cert_file (line 1): read testdata/client.key: want a certificate in PEM form; the file has none"},
		{listen + "url: https://hooks.example.com/graph", ", http: {listen: '127.0.0.1:8443'}" + microsoft, prefix + ".listen (line 1): want another address than http.listen, 127.0.0.1:8443: strangers reach this one"},
		{listen + "public_url: https://hooks.example.com/graph", microsoft, prefix + ".public_url (line 1): unknown key; use url\n" + prefix + ".url (line 1) is required with listen: Microsoft must reach the listener"},
	} {
		_, err := config.Load(config.Sources{File: write(t, "c.yaml", "{notifications: {webhook: {"+test.webhook+"}}"+test.rest+"}"), Environ: environ()}, kinds())
		if got := strings.TrimPrefix(fmt.Sprint(err), "<nil>"); got != test.want {
			t.Errorf("%s:\ngot  %s\nwant %s", test.webhook, got, test.want)
		}
	}
	c, err := config.Load(config.Sources{File: write(t, "c.yaml", "{notifications: {safety: 5m}"+microsoft+"}"), Environ: environ()}, kinds())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"notifications.safety has no effect without notifications.webhook or notifications.eventhubs"}, c.Warnings); diff != "" || c.Notifications.Enabled() {
		t.Error(diff)
	}
	if c.Notifications.Safety != 5*time.Minute {
		t.Errorf("%s", c.Notifications.Safety)
	}
	_, err = config.Load(config.Sources{File: write(t, "c.yaml", "{notifications: {webhook: 'https://hooks.example.com/graph'}"+microsoft+"}"), Environ: environ()}, kinds())
	if want := "notifications.webhook (line 1): want a mapping of keys, not text; use notifications.webhook.url"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestEventHubs(t *testing.T) {
	const (
		account   = ", mqtt: {url: mqtt://h}, accounts: {a: {client_id: 01234567-89ab-cdef-0123-456789abcdef"
		simulated = account + ", cloud: {login: https://127.0.0.1:1, graph: https://127.0.0.1:1}}}"
		microsoft = account + "}}"
		prefix    = "notifications.eventhubs"
		form      = prefix + ".connection_string (line 1): want a connection string "
		example   = ", such as Endpoint=sb://contoso.servicebus.windows.net/;SharedAccessKeyName=listen;SharedAccessKey=…;EntityPath=graph"
		urlForm   = prefix + ".url (line 1): want EventHub:https://NAMESPACE.servicebus.windows.net/eventhubname/NAME?tenantId=DOMAIN, or EventHub:https://VAULT.vault.azure.net/secrets/SECRET?tenantId=DOMAIN"
		of        = "connection_string: 'Endpoint=sb://Contoso.servicebus.windows.net/;SharedAccessKeyName=listen;SharedAccessKey=abc+hidden/=="
		hub       = of + ";EntityPath=graph', "
		local     = "connection_string: 'Endpoint=sb://localhost:19092;SharedAccessKeyName=k;SharedAccessKey=SAS_KEY_VALUE;UseDevelopmentEmulator=true;EntityPath=graph', url: 'EventHub:https://localhost/eventhubname/graph?tenantId=x'"
		to        = "url: 'EventHub:https://contoso.servicebus.windows.net/eventhubname/graph?tenantId=contoso.com'"
		vault     = "url: 'EventHub:https://contoso.vault.azure.net/secrets/graph?tenantId=contoso.com'"
	)
	azure := config.EventHub{Address: "contoso.servicebus.windows.net:9093", Host: "contoso.servicebus.windows.net", Name: "graph"}
	for _, test := range []struct {
		keys, rest, want string
		hub              config.EventHub
	}{
		{hub + to, microsoft, "", azure},
		{hub + vault, microsoft, "", azure},
		{hub + "topic: graph, consumer_group: second, " + to, microsoft, "", azure},
		{of + "', topic: graph, " + to, microsoft, "", azure},
		{local, simulated, "", config.EventHub{Address: "localhost:19092", Host: "localhost", Name: "graph", Emulator: true}},
		{local, microsoft, prefix + ".connection_string (line 1): want an event hub of Azure: the emulator is for a simulator on this machine, which account a does not use", config.EventHub{}},
		{strings.Replace(local, "sb://localhost", "sb://nas", 1), simulated, prefix + `.connection_string (line 1): want an emulator on this machine, such as Endpoint=sb://localhost, not on "nas": the connection to it is not encrypted`, config.EventHub{}},
		{to, microsoft, prefix + ".connection_string (line 1) is required: it says which event hub to read", config.EventHub{}},
		{hub, microsoft, prefix + ".url (line 1) is required: Microsoft must know where to send notifications", config.EventHub{}},
		{"consumer_group: second", microsoft, prefix + ".connection_string (line 1) is required: it says which event hub to read\n" + prefix + ".url (line 1) is required: Microsoft must know where to send notifications", config.EventHub{}},
		{of + "', " + to, microsoft, prefix + ".topic (line 1) is required: the connection string has no EntityPath, as it is one of a namespace", config.EventHub{}},
		{hub + "topic: other, " + to, microsoft, prefix + `.topic (line 1): want "graph", the EntityPath of the connection string, or none; not "other"`, config.EventHub{}},
		{of + "', topic: 'a b', " + to, microsoft, prefix + `.topic (line 1): want the name of an event hub: letters, digits, ., - and _, not "a b"` + "\n" + prefix + `.url (line 1): want the event hub that is read, a b, not "graph"`, config.EventHub{}},
		{hub + "consumer_group: $Default, " + to, microsoft, prefix + `.consumer_group (line 1): want a name of letters, digits, ., - and _, not "$Default"`, config.EventHub{}},
		{"connection_string: hidden, " + to, microsoft, form + "with Endpoint" + example, config.EventHub{}},
		{"connection_string: 'Endpoint=https://contoso/;SharedAccessKeyName=a;SharedAccessKey=hidden', " + to, microsoft, form + "whose Endpoint is an address with sb://" + example, config.EventHub{}},
		{"connection_string: 'Endpoint=sb://contoso/;SharedAccessKeyName=a', " + to, microsoft, form + "with SharedAccessKey" + example, config.EventHub{}},
		{"connection_string: 'Endpoint=sb://contoso/;SharedAccessKey=hidden', " + to, microsoft, form + "with SharedAccessKeyName" + example, config.EventHub{}},
		{"connection_string: 'Endpoint=sb://contoso/;SharedAccessSignature=hidden', " + to, microsoft, form + "with SharedAccessKey instead of SharedAccessSignature, which the Kafka endpoint does not accept" + example, config.EventHub{}},
		{hub + "url: 'https://hooks.example.com/graph'", microsoft, urlForm + `, not "https://hooks.example.com/graph"`, config.EventHub{}},
		{hub + "url: 'EventHub:https://contoso.servicebus.windows.net/graph?tenantId=x'", microsoft, urlForm + `, not text of 64 characters`, config.EventHub{}},
		{hub + "url: 'EventHub:https://contoso.servicebus.windows.net/eventhubname/graph'", microsoft, urlForm + ": tenantId is missing, the domain of the tenant of the Azure subscription", config.EventHub{}},
		{hub + "url: 'EventHub:https://other.servicebus.windows.net/eventhubname/graph?tenantId=x'", microsoft, prefix + `.url (line 1): want the namespace that the connection string reads, contoso.servicebus.windows.net, not "other.servicebus.windows.net"`, config.EventHub{}},
		{hub + "url: 'EventHub:https://contoso.servicebus.windows.net/eventhubname/other?tenantId=x'", microsoft, prefix + `.url (line 1): want the event hub that is read, graph, not "other"`, config.EventHub{}},
		{hub + "url: 'EventHub:Endpoint=sb://contoso/;SharedAccessKey=hidden'", microsoft, urlForm, config.EventHub{}},
		{hub + to + "}, webhook: {listen: '127.0.0.1:8443', url: https://hooks.example.com/graph", microsoft, prefix + " (line 1): given together with webhook: Microsoft sends a notification to one address, so only one of them can be right", config.EventHub{}},
		{hub + "event_hub: graph, " + to, microsoft, prefix + ".event_hub (line 1): unknown key; use topic", config.EventHub{}},
	} {
		c, err := config.Load(config.Sources{File: write(t, "c.yaml", "{notifications: {eventhubs: {"+test.keys+"}}"+test.rest+"}"), Environ: environ()}, kinds())
		if got := strings.TrimPrefix(fmt.Sprint(err), "<nil>"); got != test.want || strings.Contains(got, "hidden") {
			t.Errorf("%s:\ngot  %s\nwant %s", test.keys, got, test.want)
		}
		if err != nil {
			continue
		}
		if got, err := c.Notifications.EventHubs.Endpoint(); err != nil || got != test.hub {
			t.Errorf("%s: %+v %v", test.keys, got, err)
		}
		if !c.Notifications.Enabled() || !strings.HasPrefix(c.Notifications.URL(), "EventHub:") {
			t.Errorf("%s: %q", test.keys, c.Notifications.URL())
		}
	}
}
