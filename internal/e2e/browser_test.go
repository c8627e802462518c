//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// A Browser represents a tab of a real Chromium.
type Browser struct {
	tab func() context.Context // by which chromedp finds it
}

// StartBrowser starts a browser that ends with the test.
func StartBrowser(t testing.TB) *Browser {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		const missing = "chromium is not on PATH"
		if os.Getenv("CI") != "" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.Flag("hide-scrollbars", true))
	if os.Getuid() == 0 {
		options = append(options, chromedp.NoSandbox)
	}
	// It must be able to close properly although the test's context has ended.
	allocator, stop := chromedp.NewExecAllocator(context.WithoutCancel(t.Context()), options...)
	ctx, closeTab := chromedp.NewContext(allocator)
	t.Cleanup(func() {
		closeTab()
		stop()
	})
	return &Browser{func() context.Context { return ctx }}
}

// Do runs steps, each within waitTimeout.
func (b *Browser) Do(t testing.TB, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	for i, step := range steps {
		if err := chromedp.Do(b.tab(), step); err != nil {
			t.Fatalf("browser, step %d: %v", i+1, err)
		}
	}
}

// Await waits until a JavaScript expression is true.
func (b *Browser) Await(t testing.TB, what, expression string) {
	t.Helper()
	_, err := chromedp.Run(b.tab(), chromedp.Poll[chromedp.Void](expression, chromedp.WithPollingInterval(100*time.Millisecond), chromedp.WithPollingTimeout(waitTimeout)))
	if err != nil {
		text, _ := chromedp.Run(b.tab(), chromedp.Evaluate[string](pageScript+".text"))
		t.Fatalf("waiting in the browser for %s: %v; the page is\n%s", what, err, text)
	}
}

// SignIn signs the browser in to Home Assistant.
func (b *Browser) SignIn(t testing.TB, ha *HomeAssistant) {
	t.Helper()
	tokens := encode(t, map[string]any{
		"access_token": ha.tokens.Access, "refresh_token": ha.tokens.Refresh, "token_type": "Bearer", "expires_in": 1800,
		"hassUrl": ha.URL, "clientId": ha.URL + "/", "expires": time.Now().Add(30 * time.Minute).UnixMilli(),
	})
	b.Do(t, chromedp.Navigate(ha.URL+"/manifest.json"))
	for key, value := range map[string]string{"hassTokens": string(tokens), "dockedSidebar": `"always_hidden"`} {
		b.Do(t, chromedp.Evaluate[chromedp.Void](fmt.Sprintf("localStorage.setItem(%q, %q)", key, value)))
	}
}

// A Screen describes the screen that the browser pretends to have.
type Screen struct {
	Width, Height int64
	Scale         float64
	Mobile        bool
	Dark          bool
}

// Show sets the size and the color scheme of the screen.
func (b *Browser) Show(t testing.TB, s Screen) {
	t.Helper()
	scheme := "light"
	if s.Dark {
		scheme = "dark"
	}
	options := []chromedp.EmulateViewportOption{chromedp.EmulateScale(s.Scale)}
	if s.Mobile {
		options = append(options, chromedp.EmulateMobile)
	}
	b.Do(t, chromedp.EmulateViewport(s.Width, s.Height, options...), func(ctx context.Context, tab *chromedp.Target) (chromedp.Void, error) {
		_, err := cdp.Call(ctx, tab, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
		return chromedp.Void{}, err
	})
}

// Picture returns what the screen shows.
func (b *Browser) Picture(t testing.TB, format page.CaptureScreenshotFormat) []byte {
	t.Helper()
	quality := int64(80)
	picture, err := chromedp.Run(b.tab(), func(ctx context.Context, tab *chromedp.Target) ([]byte, error) {
		r, err := cdp.Call(ctx, tab, page.CaptureScreenshot, page.CaptureScreenshotParams{Format: format, Quality: &quality})
		return r.Data, err
	})
	if err != nil {
		t.Fatal(err)
	}
	return picture
}

// restScript is JavaScript that reports whether nothing moves or changes its color on a page of Home Assistant, in any of its shadow roots.
const restScript = `(() => {
	const walk = root => root.getAnimations().every(a => a.playState != 'running') &&
		[...root.querySelectorAll('*')].every(e => !e.shadowRoot || walk(e.shadowRoot));
	return walk(document);
})()`

// StillPicture returns what the screen shows once nothing moves or changes its color any more. Texts such as "5 seconds ago" may still change.
func (b *Browser) StillPicture(t testing.TB, format page.CaptureScreenshotFormat) []byte {
	t.Helper()
	end := time.Now().Add(waitTimeout)
	for rests := 0; time.Now().Before(end); {
		picture := b.Picture(t, format) // has the browser draw, which begins transitions
		atRest, err := chromedp.Run(b.tab(), chromedp.Evaluate[bool](restScript))
		if err != nil {
			t.Fatal(err)
		}
		if rests++; !atRest {
			rests = 0
		}
		if rests == 5 {
			return picture
		}
	}
	t.Fatal("the page does not come to rest")
	return nil
}

// pageScript is JavaScript that describes a page of Home Assistant: its text, the cards that report an error, and the number of Markdown
// cards that have a text.
const pageScript = `(() => {
	const page = {text: '', errors: [], lists: 0};
	const walk = root => {
		for (const e of root.querySelectorAll('*')) {
			const name = e.localName;
			if (name == 'hui-error-card' || name == 'hui-warning' || name == 'hui-error-badge' || name == 'ha-alert' && e.getAttribute('alert-type') == 'error') {
				page.errors.push(name + ': ' + (e.shadowRoot?.textContent ?? '') + e.textContent);
			}
			if (name == 'ha-markdown-element' && e.textContent.trim() != '') page.lists++;
			if (name != 'style' && name != 'script') {
				for (const n of e.childNodes) if (n.nodeType == Node.TEXT_NODE) page.text += n.textContent.trim() + ' ';
			}
			if (e.shadowRoot) walk(e.shadowRoot);
		}
	};
	walk(document);
	if (page.text.includes('Entity not found')) page.errors.push('Entity not found'); // not every version has an element for it
	return page;
})()`

// A Page is a page as pageScript describes it.
type Page struct {
	Text   string
	Errors []string
	Lists  int
}

// Page describes the page that is shown.
func (b *Browser) Page(t testing.TB) Page {
	t.Helper()
	p, err := chromedp.Run(b.tab(), chromedp.Evaluate[Page](pageScript))
	if err != nil {
		t.Fatal(err)
	}
	return p
}
