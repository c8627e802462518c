package bridge_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/bridge"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

// Whatever the way of saving, what is read in the end is what was saved.
func TestEveryWayOfSavingIsNoticed(t *testing.T) {
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, way := range []struct {
		name string
		link bool // the file is a link to one in a directory that is swapped, as Kubernetes has it
		save func(file, text string, pause func(time.Duration))
	}{
		{"in place", false, func(file, text string, pause func(time.Duration)) { must(os.WriteFile(file, []byte(text), 0o600)) }},
		{"in place, in pieces", false, func(file, text string, pause func(time.Duration)) {
			f, err := os.OpenFile(file, os.O_WRONLY|os.O_TRUNC, 0o600)
			must(err)
			for _, c := range text {
				_, err := f.WriteString(string(c))
				must(err)
				pause(900 * time.Millisecond)
			}
			must(f.Close())
		}},
		{"rename", false, func(file, text string, pause func(time.Duration)) {
			must(os.WriteFile(file+".new", []byte(text), 0o600))
			must(os.Rename(file+".new", file))
		}},
		{"rename away and create", false, func(file, text string, pause func(time.Duration)) {
			must(os.Rename(file, file+"~"))
			pause(time.Second)
			must(os.WriteFile(file, []byte(text), 0o600))
			must(os.Remove(file + "~"))
		}},
		{"link swapped", true, func(file, text string, pause func(time.Duration)) {
			dir := filepath.Dir(file)
			next, err := os.MkdirTemp(dir, "data")
			must(err)
			must(os.WriteFile(filepath.Join(next, "file"), []byte(text), 0o600))
			must(os.Symlink(next, filepath.Join(dir, "next")))
			must(os.Rename(filepath.Join(dir, "next"), filepath.Join(dir, "current")))
		}},
		{"with the time and size of before", false, func(file, text string, pause func(time.Duration)) {
			info, err := os.Stat(file)
			must(err)
			must(os.WriteFile(file, []byte(text), 0o600))
			must(os.Chtimes(file, info.ModTime(), info.ModTime()))
		}},
	} {
		t.Run(way.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				file := filepath.Join(dir, "graph2mqtt.yaml")
				if way.link {
					must(os.Mkdir(filepath.Join(dir, "data"), 0o700))
					must(os.WriteFile(filepath.Join(dir, "data", "file"), []byte("000"), 0o600))
					must(os.Symlink(filepath.Join(dir, "data"), filepath.Join(dir, "current")))
					must(os.Symlink(filepath.Join(dir, "current", "file"), file))
				} else {
					must(os.WriteFile(file, []byte("000"), 0o600))
				}
				var mu sync.Mutex
				var read []string
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				go bridge.Watch(ctx, func() []string { return []string{file} }, nil, func() {
					text, err := os.ReadFile(file)
					mu.Lock()
					defer mu.Unlock()
					if err != nil {
						text = []byte("missing")
					}
					read = append(read, string(text))
				})
				synctest.Wait()
				for i := range 100 {
					text := fmt.Sprintf("%03d", i+1)
					way.save(file, text, time.Sleep)
					time.Sleep(5 * time.Second)
					synctest.Wait()
					mu.Lock()
					if len(read) != i+1 || read[i] != text {
						t.Fatalf("after saving %s, read %v", text, read[max(len(read)-3, 0):])
					}
					mu.Unlock()
				}
			})
		})
	}
}

func TestASignalReadsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := make(chan os.Signal)
		read := 0
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go bridge.Watch(ctx, func() []string { return nil }, now, func() { read++ })
		now <- os.Interrupt
		synctest.Wait()
		if read != 1 {
			t.Errorf("read %d times", read)
		}
	})
}

func TestANewConfigurationTouchesOnlyWhatChanged(t *testing.T) {
	h := newHome(t)
	const account = "  work:\n    client_id: $CLIENT\n    cloud: $CLOUD\n    timezone: Europe/Berlin\n"
	const other = "  other:\n    client_id: $CLIENT\n    cloud: $CLOUD\n    sensors:\n      out_of_office: {type: auto_reply}\n"
	// The permissions to write are granted, and not used yet.
	h.Configure(account + "    enable_update: true\n    sensors:\n      out_of_office: {type: auto_reply}\n      calendar: {type: calendar}\n" + other)
	h.SignIn("work")
	h.SignIn("other")
	h.Configure(account + "    sensors:\n      out_of_office: {type: auto_reply}\n      calendar: {type: calendar}\n" + other)
	h.Start()
	for _, topic := range []string{"work/out_of_office", "work/calendar", "other/out_of_office"} {
		h.Shows("graph2mqtt/"+topic+"/availability", "online")
	}

	mark := h.mark()
	h.Configure(account + "    enable_update: true\n    sensors:\n      out_of_office: {type: auto_reply}\n      holidays: {type: calendar, calendar: Birthdays}\n" + other)
	h.Reload()
	h.Shows("graph2mqtt/work/holidays/availability", "online")
	h.Shows("graph2mqtt/work/out_of_office/commands", "online")
	h.Shows("homeassistant/device/graph2mqtt-work-calendar/config", "")
	h.Shows("graph2mqtt/work/calendar/state", "")
	h.Publish("graph2mqtt/work/out_of_office/set/enabled", "ON")
	h.Next(mark, "graph2mqtt/work/out_of_office/response/set/enabled", func(string) bool { return true })
	h.Next(mark, "graph2mqtt/work/out_of_office/event", func(string) bool { return true })
	h.Next(mark, "graph2mqtt/work/event", func(p string) bool { return strings.Contains(p, "command_ok") })
	for _, m := range h.since(mark) {
		if strings.HasPrefix(m.Topic, "graph2mqtt/other/") && !strings.HasSuffix(m.Topic, "/status") || m.Payload == "offline" && m.Topic == "graph2mqtt/bridge/state" {
			t.Errorf("%s = %s, though nothing changed there", m.Topic, m.Payload)
		}
	}

	mark = h.mark()
	h.Configure(account + "    enable_update: true\n    sensors:\n      out_of_office: {type: auto_reply}\n      holidays: {type: calendar, calendar: Birthdays, end_offset: 48h}\n" + other)
	h.Reload()
	h.Next(mark, "graph2mqtt/work/holidays/attributes", func(string) bool { return true })
	for _, m := range h.since(mark) {
		if strings.HasPrefix(m.Topic, "graph2mqtt/work/out_of_office/") {
			t.Errorf("%s = %s, though nothing changed there", m.Topic, m.Payload)
		}
	}

	h.Configure(other)
	h.Reload()
	h.Gone("graph2mqtt/work")
	h.Gone("graph2mqtt-work")
}

func TestWhatTheBrokersConnectionNeedsStartsABridgeAnew(t *testing.T) {
	h := newHome(t)
	h.one("", outOfOffice)
	h.SignIn("work")
	h.Start()
	h.Shows("graph2mqtt/work/out_of_office/availability", "online")
	c := h.load()
	c.HomeAssistant.Discovery = "component"
	h.Give(c)
	if err := <-h.ended; err == nil || !strings.Contains(err.Error(), bridge.ErrRestart.Error()) {
		t.Errorf("the bridge ended with %v", err)
	}
}

// Nothing that is written while a signal has the file read is overlooked.
func TestASavingWhileAFileIsReadIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "graph2mqtt.yaml")
		now := make(chan os.Signal)
		read := 0
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go bridge.Watch(ctx, func() []string { return []string{file} }, now, func() {
			if read++; read == 1 {
				if err := os.WriteFile(file, []byte("new"), 0o600); err != nil {
					t.Error(err)
				}
			}
		})
		now <- os.Interrupt
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if read != 2 {
			t.Errorf("read %d times", read)
		}
	})
}

func TestABridgeThatCannotBeMade(t *testing.T) {
	h := newHome(t)
	h.one("", outOfOffice)
	c := h.load()
	c.MQTT.CAFile = h.path("missing.pem")
	_, err := bridge.New(bridge.Options{Config: c, Kinds: bridge.Kinds(), Dir: h.open(c), Log: slog.New(slog.DiscardHandler), Level: new(slog.LevelVar)})
	if err == nil || !strings.HasPrefix(err.Error(), "mqtt.ca_file: ") {
		t.Errorf("error %v", err)
	}
	h.Start() // the state directory is free again
}

// With a sensor that reads the mailbox's settings its time zone may be known, too.
func TestTheMailboxsZoneAfterANewConfiguration(t *testing.T) {
	h := newHome(t)
	const account = "  work:\n    client_id: $CLIENT\n    cloud: $CLOUD\n    sensors:\n"
	const calendar, replies = "      calendar: {type: calendar}\n", "      out_of_office: {type: auto_reply}\n"
	h.Microsoft.SetTimeZone(simulator.Adele, "Tokyo Standard Time")
	h.Configure(account + calendar + replies)
	h.SignIn("work")
	h.Configure(account + calendar)
	h.Start()
	h.Shows("graph2mqtt/work/calendar/availability", "online")
	h.Configure(account + calendar + replies)
	h.Reload()
	h.Holds("graph2mqtt/work/out_of_office/state", func(p string) bool {
		var state struct{ Start string }
		return json.Unmarshal([]byte(p), &state) == nil && strings.HasSuffix(state.Start, "+09:00")
	})
}
