package bridge_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"image"
	"image/color"
	"image/png"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/fetch"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// browsers are the names of programs that the tests of the status page can use.
var browsers = []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"}

// openBrowser starts the browser of all tests of the status page. It skips the test where there is none, except in CI.
func openBrowser(t *testing.T) context.Context {
	t.Helper()
	path := ""
	for _, name := range browsers {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	switch {
	case path == "" && os.Getenv("CI") != "":
		t.Fatalf("no browser: want one of %s", strings.Join(browsers, ", "))
	case path == "":
		t.Skipf("no browser to show the status page with: want one of %s", strings.Join(browsers, ", "))
	}
	ctx, cancel := chromedp.NewContext(context.WithoutCancel(t.Context()), chromedp.WithAllocatorOptions(
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.IgnoreCertErrors, chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true), chromedp.Flag("disable-quic", true),
		chromedp.Flag("lang", "en-US"), chromedp.Env("TZ=Europe/Berlin"),
		// A name whose pages get no Sec-Fetch headers, as pages at addresses of a home network.
		chromedp.Flag("host-resolver-rules", "MAP *.local 127.0.0.1"),
	))
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	return ctx
}

// A tab shows one page in a profile of its own.
type tab struct {
	t   *testing.T
	ctx func() context.Context // in which chromedp keeps the tab
}

// newTab opens a tab in a window of this width.
func newTab(t *testing.T, browser context.Context, width int64) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser, chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil { // not with a timeout: with the context of the first use the tab ends
		t.Fatal(err)
	}
	p := &tab{t, func() context.Context { return ctx }}
	p.do(chromedp.EmulateViewport(width, 900))
	return p
}

func (p *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx(), waitTimeout)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		p.t.Fatalf("%v; the page shows:\n%s", err, p.text())
	}
}

// text returns what the page shows.
func (p *tab) text() string {
	ctx, cancel := context.WithTimeout(p.ctx(), time.Second)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string](`document.body.innerText`))
	if err != nil {
		return err.Error()
	}
	return text
}

func (p *tab) open(address string) {
	p.t.Helper()
	p.do(chromedp.Navigate(address))
}

// sees waits until a text is visible.
func (p *tab) sees(text string) {
	p.t.Helper()
	p.do(chromedp.WaitVisible(chromedp.Search(`//*[text()[contains(., "` + text + `")]]`)))
}

// click clicks a button, a link or a summary by its text.
func (p *tab) click(text string) {
	p.t.Helper()
	quoted := `[normalize-space(.)="` + text + `" or contains(@aria-label, "` + text + `")]`
	p.do(chromedp.Click(chromedp.Search(`(//button`+quoted+` | //a`+quoted+` | //summary`+quoted+`)[1]`), chromedp.NodeVisible))
}

func (p *tab) fill(id, text string) {
	p.t.Helper()
	p.do(chromedp.WaitVisible(chromedp.ID(id)))
	p.value(`document.getElementById("` + id + `").select(), ""`)
	p.do(chromedp.SendKeys(chromedp.ID(id), text))
}

func (p *tab) value(expression string) string {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx(), waitTimeout)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[string](expression))
	if err != nil {
		p.t.Fatalf("%s: %v", expression, err)
	}
	return value
}

// front shows the tab again after another one was opened: a hidden page asks for nothing.
func (p *tab) front() {
	p.t.Helper()
	if _, err := chromedp.Call(p.ctx(), page.BringToFront, cdp.Empty{}); err != nil {
		p.t.Fatal(err)
	}
}

// theme selects light or dark.
func (p *tab) theme(name string) {
	p.t.Helper()
	p.prefers("prefers-color-scheme", name)
}

// prefers sets what the user prefers.
func (p *tab) prefers(feature, value string) {
	p.t.Helper()
	if _, err := chromedp.Run(p.ctx(), func(ctx context.Context, target *chromedp.Target) (chromedp.Void, error) {
		_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: feature, Value: value}}})
		return chromedp.Void{}, err
	}); err != nil {
		p.t.Fatal(err)
	}
}

// picture returns the whole page as a PNG file.
func (p *tab) picture() []byte {
	p.t.Helper()
	b, err := chromedp.Run(p.ctx(), chromedp.FullScreenshot(100))
	if err != nil {
		p.t.Fatal(err)
	}
	return b
}

// small returns the upper part of a PNG file with its 256 most frequent colors, which are nearly all that a page has.
func small(t *testing.T, picture []byte, height int) []byte {
	t.Helper()
	full, err := png.Decode(bytes.NewReader(picture))
	if err != nil {
		t.Fatal(err)
	}
	bounds := full.Bounds()
	bounds.Max.Y = min(bounds.Max.Y, height)
	counts := map[color.RGBA]int{}
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			counts[color.RGBAModel.Convert(full.At(x, y)).(color.RGBA)]++
		}
	}
	frequent := slices.SortedFunc(maps.Keys(counts), func(a, b color.RGBA) int { return counts[b] - counts[a] })
	reduced := image.NewPaletted(bounds, nil)
	for _, c := range frequent {
		if len(reduced.Palette) < 256 && !slices.ContainsFunc(reduced.Palette, func(other color.Color) bool { return similar(c, other.(color.RGBA)) }) {
			reduced.Palette = append(reduced.Palette, c)
		}
	}
	nearest := map[color.RGBA]uint8{}
	for _, c := range frequent {
		nearest[c] = uint8(reduced.Palette.Index(c))
	}
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			reduced.SetColorIndex(x, y, nearest[color.RGBAModel.Convert(full.At(x, y)).(color.RGBA)])
		}
	}
	var b bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&b, reduced); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// similar reports whether nobody sees the difference of two colors.
func similar(a, b color.RGBA) bool {
	difference := func(a, b uint8) int { return max(int(a)-int(b), int(b)-int(a)) }
	return difference(a.R, b.R)+difference(a.G, b.G)+difference(a.B, b.B) < 16
}

// password answers the browser's questions for a password: the first one with this, further ones with Cancel.
func (p *tab) password(password string) {
	p.t.Helper()
	asked := 0
	if err := chromedp.Listen(p.ctx(), func(event any) {
		switch e := event.(type) {
		case *fetch.EventAuthRequired:
			answer := &fetch.AuthChallengeResponse{Response: fetch.AuthChallengeResponseResponseCancelAuth}
			if asked++; asked == 1 {
				answer = &fetch.AuthChallengeResponse{Response: fetch.AuthChallengeResponseResponseProvideCredentials, Username: "me", Password: password}
			}
			go func() {
				_, _ = chromedp.Call(p.ctx(), fetch.ContinueWithAuth, fetch.ContinueWithAuthParams{RequestID: e.RequestID, AuthChallengeResponse: answer})
			}()
		case *fetch.EventRequestPaused:
			go func() {
				_, _ = chromedp.Call(p.ctx(), fetch.ContinueRequest, fetch.ContinueRequestParams{RequestID: e.RequestID})
			}()
		}
	}); err != nil {
		p.t.Fatal(err)
	}
	yes := true
	if _, err := chromedp.Call(p.ctx(), fetch.Enable, fetch.EnableParams{HandleAuthRequests: &yes}); err != nil {
		p.t.Fatal(err)
	}
}

// A violation is one finding of axe-core.
type violation struct {
	ID    string
	Help  string
	Nodes []struct{ HTML, FailureSummary string }
}

// axe checks the accessibility of the page as it is. https://www.deque.com/axe/
func (p *tab) axe() {
	p.t.Helper()
	compressed, err := os.ReadFile(filepath.Join("testdata", "axe", "axe.min.js.gz"))
	if err != nil {
		p.t.Fatal(err)
	}
	r, err := gzip.NewReader(bytes.NewReader(compressed))
	if err != nil {
		p.t.Fatal(err)
	}
	script, err := io.ReadAll(r)
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := chromedp.Run(p.ctx(), chromedp.Evaluate[any](string(script)+"; undefined", chromedp.EvalIgnoreExceptions)); err != nil {
		p.t.Fatal(err)
	}
	text, err := chromedp.Run(p.ctx(), chromedp.Evaluate[string](`axe.run({runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}).then((r) => JSON.stringify({passes: r.passes.length, violations: r.violations}))`, chromedp.EvalAwaitPromise))
	if err != nil {
		p.t.Fatal(err)
	}
	var result struct {
		Passes     int
		Violations []violation
	}
	if err := json.Unmarshal([]byte(text), &result); err != nil {
		p.t.Fatal(err)
	}
	if result.Passes < 20 {
		p.t.Errorf("axe-core checked only %d rules", result.Passes)
	}
	for _, v := range result.Violations {
		for _, n := range v.Nodes {
			p.t.Errorf("%s: %s\n%.300s\n%s", v.ID, v.Help, n.HTML, n.FailureSummary)
		}
	}
}
