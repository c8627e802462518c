package htmltext_test

import (
	"strings"
	"testing"

	"github.com/graph2mqtt/graph2mqtt/internal/graph/htmltext"
)

func TestText(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"", ""},
		{"plain", "plain"},
		{"<html>\n<body>\n<p>I'm at our company's worldwide reunion and will respond to your message as soon as I return.<br>\n</p></body>\n</html>\n",
			"I'm at our company's worldwide reunion and will respond to your message as soon as I return."},
		{"one<br>two<br/>three<br />four", "one\ntwo\nthree\nfour"},
		{"one<br><br>two", "one\n\ntwo"},
		{`<p class="MsoNormal">one</p><p class="MsoNormal">two</p>`, "one\n\ntwo"},
		{`<div style="color: black"><div>one</div><div>two</div></div><div>three</div>`, "one\ntwo\nthree"},
		{`<div>one</div><div><br></div><div>two</div>`, "one\n\ntwo"},
		{`<ul><li>a</li><li>b</li></ul>`, "a\nb"},
		{"<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>", "a b\nc"},
		{"<b>a</b> <i>b</i>\n  c", "a b c"},
		{"<pre>a\n  b</pre>", "a\nb"},
		{"Tom &amp; Jerry&nbsp;&lt;3 &auml;&#39;", "Tom & Jerry <3 ä'"},
		{`see <a href="https://contoso.example/a?b=1&amp;c=2">the page</a>`, "see the page <https://contoso.example/a?b=1&c=2>"},
		{`<a href="https://contoso.example">https://contoso.example</a>, <a href="mailto:ann@contoso.com">ann@contoso.com</a>`, "https://contoso.example, ann@contoso.com"},
		{"<head><style><!-- p {color: red} --></style><title>x</title></head><body>text<script>alert(1)</script></body>", "text"},
		{"a<!-- <p>hidden</p> -->b", "ab"},
		{"<p>one", "one"},
		{"a < b", "a < b"},
		{`<p>Hi <emoji id="smile" alt="🙂" title="Smile"></emoji>!</p>`, "Hi 🙂!"},
	} {
		if got := htmltext.Text(tt.in); got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestFromText(t *testing.T) {
	for _, in := range []string{"", "plain", "a < b & c", "one\ntwo\n\nthree"} {
		if got := htmltext.Text(htmltext.FromText(in)); got != in {
			t.Errorf("%q comes back as %q", in, got)
		}
	}
	if got := htmltext.FromText("a\r\n<b>"); got != "a<br>&lt;b&gt;" {
		t.Error(got)
	}
}

func TestIsHTML(t *testing.T) {
	for s, want := range map[string]bool{"<p>a</p>": true, "a<br/>b": true, `<A HREF="x">`: true, "a < b": false, "<3": false, "<name@contoso.com>": false} {
		if htmltext.IsHTML(s) != want {
			t.Errorf("%q: %v", s, !want)
		}
	}
}

// A mail of a megabyte is converted fast.
func TestLong(t *testing.T) {
	if n := len(htmltext.Text(strings.Repeat("<div>line</div>", 100_000))); n != 499_999 {
		t.Errorf("%d bytes", n)
	}
}

func FuzzText(f *testing.F) {
	f.Add(`<p class="x">one<br />two</p>`)
	f.Add("<!-- <div>&amp;</div")
	f.Fuzz(func(t *testing.T, s string) {
		if got := htmltext.Text(s); strings.TrimSpace(got) != got {
			t.Errorf("%q begins or ends with space", got)
		}
	})
}
