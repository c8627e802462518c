package mail_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
	"github.com/graph2mqtt/graph2mqtt/services"
	"github.com/graph2mqtt/graph2mqtt/services/mail"
)

// A mortal transport lets some requests through. With lost it delivers one more, whose answer is lost.
type mortal struct {
	next http.RoundTripper
	left atomic.Int32
	lost bool
}

// RoundTrip implements http.RoundTripper.
func (m *mortal) RoundTrip(r *http.Request) (*http.Response, error) {
	switch left := m.left.Add(-1); {
	case left >= 0:
		return m.next.RoundTrip(r)
	case left == -1 && m.lost:
		if resp, err := m.next.RoundTrip(r); err == nil {
			_ = resp.Body.Close()
		}
	}
	return nil, errors.New("the program was killed")
}

func through(t testing.TB, s *simulator.Simulator, transport http.RoundTripper) *graph.Client {
	t.Helper()
	return graphtest.ClientVia(t, s, transport, simulator.Adele, "Mail.ReadWrite", "Mail.Send", "User.Read")
}

// file makes a file of n bytes and returns the target that may send it, and its path.
func file(t testing.TB, n int) (mail.Target, string) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "file.bin")
	if err := os.WriteFile(path, make([]byte, n), 0o600); err != nil {
		t.Fatal(err)
	}
	return mail.Target{Directories: []string{dir}}, path
}

func TestSendLarge(t *testing.T) {
	for _, tt := range []struct {
		size  int
		large bool // send may send large mails
		op    string
		want  string // of the error
	}{
		{2_900_000, false, "send", ""},
		{3_100_000, false, "send", "the files have 3.1 MB: a mail may have about 2.9 MB of files and text unless allow names send_large"},
		{3_100_000, true, "send", ""},
		{3_200_000, true, "send", ""},
		{3_100_000, false, "send_large", ""},
		{9_000_000, false, "send_large", ""},
		{40 << 20, true, "send", "ErrorMessageSizeExceeded"},
	} {
		s := contoso(t)
		target, path := file(t, tt.size)
		target.Large = tt.large
		_, r, err := decode(t, target, tt.op, fmt.Sprintf(`{%s, "attachments": [%q], "photos": ["data:image/png;name=cam.png;base64,YQ=="]}`, to, path))
		if err != nil {
			t.Fatal(err)
		}
		_, err = r.Execute(t.Context(), graphtest.Client(t, s, simulator.Adele, "Mail.ReadWrite", "Mail.Send"), services.Attempt{ID: key, Now: time.Now()})
		if tt.want != "" {
			if err == nil || !strings.Contains(err.Error(), tt.want) || len(s.SentMails(simulator.Adele)) != 0 {
				t.Errorf("%d bytes: got %v, want %s", tt.size, err, tt.want)
			}
			continue
		}
		for _, r := range s.Requests() {
			if limit := map[bool]int{true: 39 << 20 / 10, false: 4 << 20}[strings.HasSuffix(r.Path, "/sendMail")]; len(r.Body) > limit {
				t.Errorf("%d bytes: %s %s has %d bytes", tt.size, r.Method, r.Path, len(r.Body))
			}
			if r.Method == "PUT" && (strings.HasPrefix(r.Path, "/v1.0/") || len(r.Body) >= 4_000_000) {
				t.Errorf("%d bytes: %d bytes uploaded to %s", tt.size, len(r.Body), r.Path)
			}
		}
		if sent := s.SentMails(simulator.Adele); err != nil || len(sent) != 1 || len(sent[0].Attachments) != 2 || len(sent[0].Attachments[0].Content) != tt.size || !sent[0].Attachments[1].Inline {
			t.Errorf("%d bytes: got %v, %d mails", tt.size, err, len(sent))
		}
		if n := len(s.Mails(simulator.Adele, "drafts")); n != 0 {
			t.Errorf("%d bytes: %d drafts are left", tt.size, n)
		}
	}
}

// If the program dies, a large mail is sent once or not at all, and no draft is left if sending had not begun.
func TestSendLargeIsInterrupted(t *testing.T) {
	for _, lost := range []bool{false, true} {
		for steps := range 8 {
			synctest.Test(t, func(t *testing.T) {
				s := contoso(t)
				target, path := file(t, 3_200_000)
				_, r, err := decode(t, target, "send_large", fmt.Sprintf(`{%s, "attachments": [%q]}`, to, path))
				if err != nil {
					t.Fatal(err)
				}
				dying := &mortal{next: s.Transport(), lost: lost}
				dying.left.Store(int32(steps))
				a := services.Attempt{ID: key, Now: time.Now()}
				_, failed := r.Execute(t.Context(), through(t, s, dying), a)
				sent := len(s.SentMails(simulator.Adele))
				_, found, err := r.(services.Verifier).Verify(t.Context(), through(t, s, s.Transport()), a)
				drafts := s.Mails(simulator.Adele, "drafts")
				name := fmt.Sprintf("killed at step %d, answer lost: %v", steps, lost)
				if found != (sent == 1) || len(s.SentMails(simulator.Adele)) != sent {
					t.Errorf("%s: found: %v, %v; sent: %d", name, found, err, sent)
				}
				if failed == nil != (sent == 1 && steps >= 5) {
					t.Errorf("%s: got %v, sent: %d", name, failed, sent)
				}
				switch {
				case len(drafts) == 1 && (err == nil || !strings.Contains(err.Error(), "the mail is still a draft, with the message_id "+drafts[0].ImmutableID)):
					t.Errorf("%s: a draft is left, and the answer is %v", name, err)
				case len(drafts) > 1:
					t.Errorf("%s: %d drafts are left", name, len(drafts))
				case len(drafts) == 1 && s.Count("POST", "/v1.0/me/messages/"+drafts[0].ImmutableID+"/send") > 0:
					t.Errorf("%s: a sent draft is left", name)
				}
			})
		}
	}
}

// An error before sending is known not to have sent anything: it is tried again.
func TestSendLargeIsTriedAgain(t *testing.T) {
	for _, path := range []string{"/v1.0/me/messages", "/v1.0/me/messages/{id}/attachments/createUploadSession", "/v1.0/me/messages/{id}"} {
		s := contoso(t)
		target, file := file(t, 3_200_000)
		_, r, err := decode(t, target, "send_large", fmt.Sprintf(`{%s, "attachments": [%q]}`, to, file))
		if err != nil {
			t.Fatal(err)
		}
		g, a := through(t, s, s.Transport()), services.Attempt{ID: key, Now: time.Now()}
		s.OnRequest(nil)
		s.Fail(simulator.Fault{Method: map[bool]string{true: "PATCH", false: "POST"}[strings.HasSuffix(path, "{id}")], Path: strings.Split(path, "/{id}")[0], Status: http.StatusGatewayTimeout, Done: true, Times: 1})
		_, err = r.Execute(t.Context(), g, a)
		var e *graph.Error
		if !errors.As(err, &e) || e.OutcomeUnknown || !e.Transient() {
			t.Errorf("%s: got %v", path, err)
		}
		if n := len(s.Mails(simulator.Adele, "drafts")); n != 0 {
			t.Errorf("%s: %d drafts are left", path, n)
		}
		if _, err := r.Execute(t.Context(), g, a); err != nil || len(s.SentMails(simulator.Adele)) != 1 {
			t.Errorf("%s: the second attempt: %v", path, err)
		}
	}
}

// A mail that is too large is refused before its files are read.
func TestTooLargeIsNotRead(t *testing.T) {
	target, path := file(t, 0)
	if err := os.Truncate(path, 149<<20); err != nil {
		t.Fatal(err)
	}
	s := contoso(t)
	_, r, err := decode(t, target, "send", fmt.Sprintf(`{%s, "attachments": [%q]}`, to, path))
	if err != nil {
		t.Fatal(err)
	}
	g := graphtest.Client(t, s, simulator.Adele, "Mail.Send")
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err = r.Execute(t.Context(), g, services.Attempt{ID: key, Now: time.Now()})
	runtime.ReadMemStats(&after)
	if want := "the files have 156.2 MB: a mail may have about 2.9 MB of files and text unless allow names send_large"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 || len(s.Requests()) > 0 {
		t.Errorf("allocated %d bytes, %d requests", n, len(s.Requests()))
	}
	if err := os.Truncate(path, 151<<20); err != nil {
		t.Fatal(err)
	}
	if _, err := call(t, s, target, "send_large", fmt.Sprintf(`{%s, "attachments": [%q]}`, to, path)); err == nil || err.Error() != "attachments[0]: want a file of at most 150 MB, as Exchange does, not 151 MB" {
		t.Errorf("got %v", err)
	}
}

func TestSendLargeIsRefused(t *testing.T) {
	target, path := file(t, 3_200_000)
	s := contoso(t)
	if _, err := call(t, s, target, "send_large", fmt.Sprintf(`{%s, "attachments": [%q], "save_to_sent": false}`, to, path)); err == nil || err.Error() != "save_to_sent: want true, because a mail of this size is always kept in Sent Items" {
		t.Errorf("got %v", err)
	}
	target.SendAs = []string{"megan@contoso.com"}
	if _, err := call(t, s, target, "send_large", fmt.Sprintf(`{%s, "attachments": [%q], "from": "megan@contoso.com"}`, to, path)); !graph.HasCode(err, "ErrorSendAsDenied") {
		t.Errorf("got %v", err)
	}
	if n := len(s.Mails(simulator.Adele, "drafts")); n != 0 {
		t.Errorf("%d drafts are left", n)
	}
}

// A large mail needs both of its permissions, for any mailbox, and nothing else.
func TestSendLargePermissions(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*mail.Target)
		fields string
		want   []string
	}{
		{"own", func(*mail.Target) {}, ``, []string{"Mail.ReadWrite", "Mail.Send"}},
		{"send_as", func(m *mail.Target) { m.SendAs = []string{info} }, `, "from": "` + info + `"`, []string{"Mail.ReadWrite", "Mail.Send.Shared"}},
		{"shared", func(m *mail.Target) { m.Mailbox.Address = info }, ``, []string{"Mail.ReadWrite.Shared", "Mail.Send.Shared"}},
	} {
		for without := -1; without < len(tt.want); without++ {
			s := contoso(t)
			target, path := file(t, 3_200_000)
			tt.change(&target)
			op, r, err := decode(t, target, "send_large", fmt.Sprintf(`{%s, "attachments": [%q]%s}`, to, path, tt.fields))
			if err != nil {
				t.Fatal(err)
			}
			scopes := graph.Scopes(op.Permissions)
			if diff := cmp.Diff(tt.want, scopes); diff != "" {
				t.Errorf("%s: %s", tt.name, diff)
			}
			if without >= 0 {
				scopes = append(slices.Delete(scopes, without, without+1), "User.Read")
			}
			_, err = r.Execute(t.Context(), graphtest.Client(t, s, simulator.Adele, scopes...), services.Attempt{ID: key, Now: time.Now()})
			n := len(s.Mails("megan@contoso.com", ""))
			if without < 0 && (err != nil || n != 1) || without >= 0 && (!graph.Is(err, graph.PermissionMissing) || n != 0) {
				t.Errorf("%s with %q: %v, %d mails", tt.name, scopes, err, n)
			}
			for _, owner := range []string{simulator.Adele, info} {
				if n := len(s.Mails(owner, "drafts")); n != 0 {
					t.Errorf("%s with %q: %d drafts are left", tt.name, scopes, n)
				}
			}
		}
	}
}
