package autoreply_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/graph2mqtt/graph2mqtt/services/autoreply"
)

func TestText(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"", ""},
		{"plain", "plain"},
		{"<html>\n<body>\n<p>I'm at our company's worldwide reunion and will respond to your message as soon as I return.<br>\n</p></body>\n</html>\n",
			"I'm at our company's worldwide reunion and will respond to your message as soon as I return."},
		{"one<br>two<br/>three<br />four", "one\ntwo\nthree\nfour"},
		{`<p class="MsoNormal">one</p><p class="MsoNormal">two</p>`, "one\n\ntwo"},
		{`<div style="color: black"><div>one</div><div>two</div></div><div>three</div>`, "one\ntwo\n\nthree"},
		{`<ul><li>a</li><li>b</li></ul>`, "a\nb"},
		{"Tom &amp; Jerry&nbsp;&lt;3 &auml;&#39;", "Tom & Jerry <3 ä'"},
		{`see <a href="https://contoso.example/a?b=1&amp;c=2">the page</a>`, "see the page <https://contoso.example/a?b=1&c=2>"},
		{"<head><style><!-- p {color: red} --></style><title>x</title></head><body>text</body>", "text"},
		{"a<!-- <p>hidden</p> -->b", "ab"},
		{"<p>one", "one"},
		{"a < b", "a"}, // as browsers and html2text have it: the rest is a tag that never ends
	} {
		if got := autoreply.Text(tt.in); got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestShort(t *testing.T) {
	fits := strings.Repeat("ä", 255)
	if got := autoreply.Short(fits); got != fits {
		t.Errorf("255 characters were changed")
	}
	if got, want := autoreply.Short(fits+"b"), strings.Repeat("ä", 254)+"…"; got != want {
		t.Errorf("got %q", got)
	}
}

func FuzzText(f *testing.F) {
	f.Add(`<p class="x">one<br />two</p>`)
	f.Add("<!-- <div>&amp;</div")
	f.Fuzz(func(t *testing.T, s string) {
		if got := autoreply.Text(s); strings.TrimSpace(got) != got {
			t.Errorf("%q begins or ends with space", got)
		}
		if got := autoreply.Short(s); utf8.RuneCountInString(got) > 255 {
			t.Errorf("%d characters", utf8.RuneCountInString(got))
		}
	})
}
