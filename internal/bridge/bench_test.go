package bridge_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	stdruntime "runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/cputest"
	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/calendars"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/presence"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
	"github.com/graph2mqtt/graph2mqtt/mqtt/homeassistant"
)

// The benchmarks of this file measure the bridge with a real Mosquitto and with the simulator in the same process, which is part
// of all CPU times and memory. Tests assert the counts. All of them run for some minutes:
//
//	go test ./internal/bridge -run '^$' -bench . -benchtime 100ms -timeout 30m

// sizes returns numbers of accounts; with -short a tenth of them, which shows that the benchmarks work.
func sizes(all ...int) []int {
	if testing.Short() {
		for i := range all {
			all[i] = max(all[i]/10, 1)
		}
	}
	return all
}

// BenchmarkStart measures a start until everything is published.
func BenchmarkStart(b *testing.B) {
	for _, n := range sizes(1, 100, 300, 500) {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				f := newFleetBridge(b, n, "", fleetSensors)
				before := cputest.Time(b)
				b.StartTimer()
				f.Start()
				stats := f.StoreStats()
				b.StopTimer()
				b.ReportMetric((cputest.Time(b) - before).Seconds(), "cpu-s")
				b.ReportMetric(float64(stats.Commits), "commits")
				b.ReportMetric(float64(stats.Bytes)/1e6, "MB-written")
				b.ReportMetric(float64(liveMemory())/(1<<20), "MiB-live")
				b.ReportMetric(float64(stdruntime.NumGoroutine()), "goroutines")
				f.Stop()
				b.StartTimer()
			}
		})
	}
}

// BenchmarkReconnect measures a restart of the broker, and of Home Assistant.
func BenchmarkReconnect(b *testing.B) {
	for _, n := range sizes(100, 300) {
		f := newFleetBridge(b, n, "", idleSensors)
		f.Start()
		messages := uint64(0)
		b.Run(fmt.Sprint("broker/", n), func(b *testing.B) {
			before, published := cputest.Time(b), f.MQTTStats().Published
			for b.Loop() {
				f.Reconnect()
			}
			messages = (f.MQTTStats().Published - published) / uint64(b.N)
			b.ReportMetric(float64(messages), "messages/op")
			b.ReportMetric((cputest.Time(b)-before).Seconds()/float64(b.N), "cpu-s/op")
		})
		publish := f.publisher()
		b.Run(fmt.Sprint("birth/", n), func(b *testing.B) {
			before := cputest.Time(b)
			for b.Loop() {
				f.Birth(publish, messages*9/10)
			}
			b.ReportMetric((cputest.Time(b)-before).Seconds()/float64(b.N), "cpu-s/op")
		})
		f.Stop()
	}
}

// BenchmarkMinute measures a minute in which nothing changes: of one account that polls nothing, and of many that poll.
func BenchmarkMinute(b *testing.B) {
	if testing.Short() {
		b.Skip("takes minutes")
	}
	for _, test := range []struct {
		name, sensors string
		accounts      int
		settle        time.Duration // until every snapshot is complete and on disk
	}{{"idle/1", idleSensors, 1, 10 * time.Second}, {"polling/300", fleetSensors, 300, 100 * time.Second}} {
		b.Run(test.name, func(b *testing.B) {
			f := newFleetBridge(b, test.accounts, "", test.sensors)
			f.Start()
			time.Sleep(test.settle)
			cpu, stats, total, wakes := cputest.Time(b), f.StoreStats(), f.Microsoft.Total(), wakeUps()
			for b.Loop() {
				time.Sleep(time.Minute)
			}
			after := f.StoreStats()
			n := float64(b.N)
			b.ReportMetric((cputest.Time(b)-cpu).Seconds()/n, "cpu-s/min")
			b.ReportMetric(float64(after.Commits-stats.Commits)/n, "commits/min")
			b.ReportMetric(float64(after.Bytes-stats.Bytes)/1024/n, "KiB/min")
			b.ReportMetric(float64(f.Microsoft.Total()-total)/n, "requests/min")
			b.ReportMetric(float64(wakeUps()-wakes)/n, "wake-ups/min")
			f.Stop()
		})
	}
}

// BenchmarkAccount measures the memory and goroutines of a further account.
func BenchmarkAccount(b *testing.B) {
	few := sizes(10, 110)
	for b.Loop() {
		var memory [2]uint64
		var goroutines [2]int
		for i, n := range few {
			f := newFleetBridge(b, n, "", idleSensors)
			f.Start()
			memory[i], goroutines[i] = liveMemory(), stdruntime.NumGoroutine()
			f.Stop()
		}
		further := float64(few[1] - few[0])
		b.ReportMetric(float64(int64(memory[1])-int64(memory[0]))/further/(1<<20), "MiB/account")
		b.ReportMetric(float64(goroutines[1]-goroutines[0])/further, "goroutines/account")
	}
}

// BenchmarkCommand measures 50 commands over MQTT, one after the other. Shown is the time from Microsoft's answer until the state is at
// a subscriber of the broker.
func BenchmarkCommand(b *testing.B) {
	f := newFleetBridge(b, 1, "    enable_update: true\n", "      out_of_office: {type: auto_reply, interval: 24h}\n")
	f.Start()
	defer f.Stop()
	publish := f.publisher()
	w := f.watch("graph2mqtt/a000/out_of_office/state", "graph2mqtt/a000/out_of_office/response/#")
	defer w.Close()
	answered := make(chan time.Time, 1000)
	f.Microsoft.OnRequest(func(r simulator.Request) {
		if r.Method == http.MethodPatch {
			answered <- time.Now()
		}
	})
	mode := map[string]string{"enable": `"mode":"alwaysEnabled"`, "disable": `"mode":"disabled"`}
	// execute waits for the response and for the state, which may be published again after it.
	execute := func(operation string) (shown time.Duration) {
		publish("graph2mqtt/a000/out_of_office/request/"+operation, "{}")
		for isShown, isAnswered := false, false; !isShown || !isAnswered; {
			select {
			case m := <-w.messages:
				switch {
				case strings.Contains(m.Topic, "/response/"):
					isAnswered = true
				case !isShown && strings.Contains(string(m.Payload), mode[operation]):
					isShown, shown = true, m.Received.Sub(<-answered)
				}
			case <-time.After(waitTimeout):
				b.Fatalf("%s: shown %t, answered %t", operation, isShown, isAnswered)
			}
		}
		return shown
	}
	execute("enable")
	var shown []time.Duration
	before := f.StoreStats()
	for b.Loop() {
		for range 25 {
			shown = append(shown, execute("disable"), execute("enable"))
		}
	}
	slices.Sort(shown)
	b.ReportMetric(float64(shown[len(shown)/2].Microseconds())/1000, "shown-p50-ms")
	b.ReportMetric(float64(f.StoreStats().Commits-before.Commits)/float64(len(shown)), "commits/command")
	b.ReportMetric(float64(f.StoreStats().Bytes-before.Bytes)/float64(len(shown)), "disk-B/command")
	b.ReportMetric(float64(len(shown))/b.Elapsed().Seconds(), "commands/s")
}

// BenchmarkAttributesPayload measures the attributes of many events.
func BenchmarkAttributesPayload(b *testing.B) {
	for _, n := range []int{50, 5000} {
		s := entity.State{ItemsKey: "events"}
		for i := range n {
			s.Items = append(s.Items, map[string]any{"subject": fmt.Sprint("Meeting ", i), "description": strings.Repeat("x", 300), "start": time.Unix(int64(i), 0)})
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				homeassistant.AttributesPayload(s)
			}
		})
	}
}

// canned repeats Microsoft's earlier answer to each request.
type canned struct {
	simulator http.RoundTripper
	url       string
	header    http.Header
	body      []byte // of the answer, not compressed
}

func (c *canned) RoundTrip(r *http.Request) (*http.Response, error) {
	if c.body == nil {
		request := r.Clone(r.Context())
		request.Header.Set("Accept-Encoding", "identity")
		res, err := c.simulator.RoundTrip(request)
		if err != nil {
			return nil, err
		}
		if c.body, err = io.ReadAll(res.Body); err != nil {
			return nil, err
		}
		c.url, c.header = r.URL.String(), res.Header
	}
	return &http.Response{
		Status: "200 OK", StatusCode: http.StatusOK, Proto: "HTTP/2.0", ProtoMajor: 2, Header: c.header, Request: r,
		Body: io.NopCloser(bytes.NewReader(c.body)), ContentLength: int64(len(c.body)),
	}, nil
}

type benchTokens struct{ token string }

func (t benchTokens) Token(context.Context) (string, error)                 { return t.token, nil }
func (t benchTokens) Renew(context.Context, string, string) (string, error) { return t.token, nil }
func (t benchTokens) Personal() bool                                        { return false }
func (t benchTokens) Granted() []string {
	return []string{"Calendars.Read", "Presence.Read", "User.Read"}
}

// BenchmarkPoll measures the requests of a poll without the network, compared with a client that only sends the request and
// decodes the answer.
func BenchmarkPoll(b *testing.B) {
	m := simulator.Contoso(simulator.Options{})
	start := time.Now().Add(time.Hour)
	for i := range 10 {
		m.AddEvent(simulator.Adele, "", simulator.Event{Subject: fmt.Sprint("Meeting ", i), Start: start, End: start.Add(time.Hour)})
	}
	for _, test := range []struct {
		name   string
		poll   func(context.Context, *graph.Client) error
		decode func([]byte) error
	}{
		{"calendar of 10 events", pollCalendar, decodeEvents},
		{"presence", pollPresence, decodePresence},
	} {
		transport := &canned{simulator: m.Transport()}
		tokens := benchTokens{m.Token(simulator.Adele, "Calendars.Read", "Presence.Read", "User.Read")}
		g, err := graph.New(graph.Options{Root: m.GraphURL(), Transport: transport, Tokens: tokens, ClientID: simulator.ContosoClient})
		if err != nil {
			b.Fatal(err)
		}
		if err := test.poll(b.Context(), g); err != nil {
			b.Fatal(err)
		}
		var ours, minimal float64
		b.Run(test.name+"/ours", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := test.poll(b.Context(), g); err != nil {
					b.Fatal(err)
				}
			}
			ours = float64(b.Elapsed()) / float64(b.N)
		})
		b.Run(test.name+"/minimal", func(b *testing.B) {
			b.ReportAllocs()
			client := http.Client{Transport: transport}
			for b.Loop() {
				request, err := http.NewRequestWithContext(b.Context(), http.MethodGet, transport.url, http.NoBody)
				if err != nil {
					b.Fatal(err)
				}
				request.Header.Set("Authorization", "Bearer "+tokens.token)
				res, err := client.Do(request)
				if err != nil {
					b.Fatal(err)
				}
				content, err := io.ReadAll(res.Body)
				if err == nil {
					err = test.decode(content)
				}
				if err != nil {
					b.Fatal(err)
				}
				_ = res.Body.Close()
			}
			minimal = float64(b.Elapsed()) / float64(b.N)
			b.ReportMetric(ours/minimal, "ours/minimal")
		})
	}
}

// minimalEvent has the fields that the sensors show.
type minimalEvent struct {
	ID, ICalUID, Type, SeriesMasterID, Subject, Sensitivity, ShowAs, Importance, OnlineMeetingURL, WebLink string
	IsAllDay, IsCancelled, IsReminderOn, IsOnlineMeeting                                                   bool
	ReminderMinutesBeforeStart                                                                             int
	Start, End                                                                                             struct{ DateTime, TimeZone string }
	Body                                                                                                   struct{ Content string }
	Location                                                                                               struct{ DisplayName string }
	ResponseStatus                                                                                         struct{ Response string }
	Categories                                                                                             []string
	Organizer                                                                                              struct {
		EmailAddress struct{ Name, Address string }
	}
	Attendees []struct {
		Type         string
		Status       struct{ Response string }
		EmailAddress struct{ Name, Address string }
	}
}

func decodeEvents(content []byte) error {
	var answer struct{ Value []minimalEvent }
	return json.Unmarshal(content, &answer)
}

func decodePresence(content []byte) error {
	var answer struct {
		Availability, Activity string
		StatusMessage          *struct{ Message struct{ Content string } }
	}
	return json.Unmarshal(content, &answer)
}

func pollCalendar(ctx context.Context, g *graph.Client) error {
	now := time.Now().Truncate(24 * time.Hour)
	events, err := calendars.Calendar{}.View(ctx, g, "", now, now.Add(72*time.Hour))
	if err == nil && len(events) < 10 {
		err = fmt.Errorf("%d events", len(events))
	}
	return err
}

func pollPresence(ctx context.Context, g *graph.Client) error {
	_, err := presence.ReadOwn(ctx, g)
	return err
}
