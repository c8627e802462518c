package htmltext_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/graph2mqtt/graph2mqtt/internal/graph/htmltext"
)

func TestClean(t *testing.T) {
	for _, tt := range []struct{ name, markup, want string }{
		{"document", `<html><head><title>x</title><style>p{}</style></head><body><p class="MsoNormal">Hello<o:p></o:p></p></body></html>`, `<p>Hello</p>`},
		{"script", `<p onclick="run()">a<script>run()</script></p><iframe src="https://x"></iframe>`, `<p>a</p>`},
		{"links", `<a href="https://x/?a=1&b=2" target="_blank">x</a><a href="JavaScript:run()">y</a>`, `<a href="https://x/?a=1&amp;b=2">x</a><a>y</a>`},
		{"pictures", `<img src="cid:1" alt="one" onerror="run()"><img src="http://tracker/1.gif">`, `<img src="cid:1" alt="one"><img>`},
		{"escapes", `<p>1 &lt; 2 &amp; "3"</p>`, `<p>1 &lt; 2 &amp; &#34;3&#34;</p>`},
		{"right to left", `<div dir="rtl">שלום 👋</div>`, `<div dir="rtl">שלום 👋</div>`},
		{"broken", `<p>a<b>b`, `<p>a<b>b</b></p>`},
		{"empty", ``, ``},
	} {
		if got := htmltext.Clean(tt.markup, 1000); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestCleanIsBounded(t *testing.T) {
	got := htmltext.Clean("<div>"+strings.Repeat("<p>ä€</p>", 10_000)+"</div>", 500)
	if len(got) > 600 || !utf8.ValidString(got) || !strings.HasSuffix(got, "</p></div>") {
		t.Errorf("%d bytes, ending in %q", len(got), got[len(got)-20:])
	}
}
