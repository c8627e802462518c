package page_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/hub"
	"github.com/graph2mqtt/graph2mqtt/internal/web/page"
)

// files are files in memory, which two processes share.
type files struct {
	mu      sync.Mutex
	lock    sync.Mutex
	content map[string][]byte
	changed []func(string)
}

func (f *files) Read(name string) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if b, ok := f.content[name]; ok {
		return b, nil
	}
	return nil, fs.ErrNotExist
}

func (f *files) Write(name string, plain []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.content == nil {
		return errors.New("disk full")
	}
	f.content[name] = bytes.Clone(plain)
	return nil
}

func (f *files) WithLock(_ context.Context, _ string, do func() error) error {
	f.lock.Lock()
	defer f.lock.Unlock()
	return do()
}

func (f *files) Watch(ctx context.Context, changed func(string)) error {
	f.mu.Lock()
	f.changed = append(f.changed, changed)
	f.mu.Unlock()
	<-ctx.Done()
	return nil
}

// notify reports a change of the files.
func (f *files) notify() {
	for _, changed := range f.changed {
		changed("")
	}
}

func wantLink(t *testing.T, l *page.Links, secret, account string) {
	t.Helper()
	if got, ok := l.Find(secret); got != account || ok != (account != "") {
		t.Errorf("the link is of %q, %v; want %q", got, ok, account)
	}
}

func TestLinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &files{content: map[string][]byte{}}
		bridge, program := page.OpenLinks(f, slog.New(slog.DiscardHandler)), page.OpenLinks(f, slog.New(slog.DiscardHandler))
		signedIn := map[string]time.Time{}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = bridge.Run(ctx, func(account string) time.Time { return signedIn[account] }) })
		synctest.Wait()

		adele, expires, err := program.Make("adele", time.Hour)
		if err != nil || len(adele) != 26 || !expires.Equal(time.Now().Add(time.Hour).UTC().Truncate(time.Second)) {
			t.Fatal(adele, expires, err)
		}
		ben, _, err := program.Make("ben", 3*time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		f.notify()
		wantLink(t, bridge, adele, "adele")
		wantLink(t, bridge, ben, "ben")
		for _, wrong := range []string{"", "x", adele[1:], strings.ToUpper(adele), adele + " "} {
			wantLink(t, bridge, wrong, "")
		}
		for name, content := range f.content {
			if bytes.Contains(content, []byte(adele)) {
				t.Errorf("%s has the secret", name)
			}
		}

		// Another link revokes the one before, and only that.
		again, _, err := bridge.Make("adele", time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		wantLink(t, bridge, adele, "")
		wantLink(t, bridge, again, "adele")
		wantLink(t, bridge, ben, "ben")

		// A sign-in from before counts for nothing; one from after it revokes the link, for good.
		signedIn["ben"] = time.Now().Add(-time.Minute)
		f.notify()
		wantLink(t, bridge, ben, "ben")
		time.Sleep(time.Minute)
		signedIn["ben"] = time.Now()
		f.notify()
		wantLink(t, bridge, ben, "")
		if account, ok := bridge.UsedBy(ben); account != "ben" || !ok {
			t.Errorf("nobody learns that the sign-in succeeded: %q", account)
		}
		signedIn["ben"] = time.Time{} // signed out
		f.notify()
		wantLink(t, bridge, ben, "")
		wantLink(t, page.OpenLinks(f, slog.New(slog.DiscardHandler)), ben, "")
		time.Sleep(10 * time.Minute)
		if _, ok := bridge.UsedBy(ben); ok {
			t.Error("a used link tells for ever who signed in")
		}

		time.Sleep(50 * time.Minute)
		wantLink(t, bridge, again, "") // expired

		f.content["sign-in-links"] = []byte("broken")
		f.notify()
		if _, _, err := bridge.Make("adele", time.Hour); err == nil || !strings.HasPrefix(err.Error(), "make a sign-in link of adele: ") {
			t.Errorf("with an unreadable file: %v", err)
		}
		f.content = nil
		if _, _, err := bridge.Make("adele", time.Hour); err == nil || err.Error() != "make a sign-in link of adele: disk full" {
			t.Errorf("without a disk: %v", err)
		}
		cancel()
		running.Wait()
	})
}

// The page of a link asks every 2 s. Its answer takes nothing of the other devices.
func TestStateOfALinkAmongManyDevices(t *testing.T) {
	s := newSite(t)
	cost := func() float64 { return testing.AllocsPerRun(20, func() { s.handler.SignInState("work") }) }
	if got := s.handler.SignInState("work"); got != "Work" {
		t.Fatalf("the account is %q", got)
	}
	few := cost()
	for i := range 500 {
		id := hub.ID{Account: "work", Sensor: "s" + strconv.Itoa(i)}
		s.hub.Declare(hub.Device{ID: id})
		s.hub.Record(id, hub.Poll{})
	}
	if many := cost(); many > few+10 {
		t.Errorf("%.0f allocations, %.0f with 500 sensors more", few, many)
	}
}

// An organization has no user who could sign in.
func TestNoLinkOfAnOrganization(t *testing.T) {
	h, err := page.New(page.Options{
		Log: slog.New(slog.DiscardHandler), Hub: hub.New(), Links: page.OpenLinks(&files{content: map[string][]byte{}}, slog.New(slog.DiscardHandler)),
		Account: func(id string) (page.AccountInfo, bool) { return page.AccountInfo{Application: true}, id == "contoso" },
	})
	if err != nil {
		t.Fatal(err)
	}
	for account, want := range map[string]string{
		"contoso": "contoso is an organization: it signs in by itself and needs no link",
		"work":    `there is no account \"work\"`,
	} {
		r := httptest.NewRequest(http.MethodPost, "/api/links", strings.NewReader(`{"account": "`+account+`"}`))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code < 400 || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d, %s", account, w.Code, w.Body)
		}
	}
}
