package print_test

import (
	"flag"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/server/print"
)

var update = flag.Bool("update", false, "write the golden files")

// drawn is what is drawn anew each time.
var drawn = []struct {
	what *regexp.Regexp
	as   string
}{
	{regexp.MustCompile(`[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}`), "BCDF-GHJK"},
	{regexp.MustCompile(`prn_[0-9A-Z]{26}`), "prn_01"},
	{regexp.MustCompile(`usr_[0-9A-Z]{26}\.[A-Za-z0-9_-]{43}`), "usr_01.MAC"},
	{regexp.MustCompile(`[0-9a-f]{8}( [0-9a-f]{8}){7}`), "FINGERPRINT"},
}

// golden holds a page against its file.
func golden(t *testing.T, name string, got reply, status int) {
	t.Helper()
	if got.status != status {
		t.Errorf("%s: %d, want %d", name, got.status, status)
	}
	page := got.body
	for _, d := range drawn {
		if d.as == "BCDF-GHJK" && strings.HasPrefix(name, "code") {
			continue // its example is no code
		}
		page = d.what.ReplaceAllString(page, d.as)
	}
	file := filepath.Join("testdata", name+".html")
	if *update {
		if err := os.WriteFile(file, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), page); diff != "" {
		t.Errorf("%s: %s", name, diff)
	}
	for _, raw := range []string{"<script", "<img", "ZgotmplZ", "%!", "style="} {
		if strings.Contains(page, raw) {
			t.Errorf("%s: %q is on the page", name, raw)
		}
	}
	if policy := got.header.Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") || got.header.Get("Cache-Control") != "no-store" ||
		got.header.Get("Referrer-Policy") != "no-referrer" {
		t.Errorf("%s: %v", name, got.header)
	}
}

func TestPages(t *testing.T) {
	d := newDesk(t)
	d.run()
	golden(t, "code", d.page(admin, "/device"), 200)
	golden(t, "code-wrong", d.as(admin, "/device", url.Values{"code": {"BBBB-BBBB"}}), 422)
	golden(t, "printers-none", d.page(admin, "/print/"), 200)
	golden(t, "login", d.get("/device"), 401)
	code := d.code()
	d.fake.Advance(4 * time.Minute)
	form := url.Values{"code": {code.UserCode}}
	golden(t, "request", d.as(admin, "/device", form), 200)
	golden(t, "request-nobody", d.as(admin, "/device/decision", url.Values{"code": {code.UserCode}, "do": {"approve"}}), 422)
	golden(t, "allowed", d.decide(admin, code, "approve", hana, "ken@example.jp"), 200)
	golden(t, "decided-before", d.decide("ops@example.jp", code, "deny"), 409)
	der, _ := csr(t)
	op := d.register(d.redeemed(code), "k", der)
	d.await("letters", func() bool { return d.count("journal/intent/letter/") == 0 })
	letters := d.mail.list()
	letter := letters[slices.IndexFunc(letters, func(l mfpgate.Letter) bool { return l.To == hana })] // they are sent side by side
	_, link, _ := strings.Cut(letter.Text, base)
	link, _, _ = strings.Cut(link, "\n")
	golden(t, "confirm", d.get(link), 200)
	golden(t, "confirmed", d.form(link, nil, "Sec-Fetch-Site", "same-origin"), 200)
	d.fake.Advance(2 * time.Hour)
	golden(t, "printers", d.page(admin, "/print/"), 200)
	allow := d.code("scope", "print.allow", "printer_id", op.PrinterID, "requester", "yuki@example.jp")
	golden(t, "request-allow", d.as(admin, "/device", url.Values{"code": {allow.UserCode}}), 200)
	again := d.code()
	golden(t, "request-again", d.as(admin, "/device", url.Values{"code": {again.UserCode}}), 200)
	golden(t, "denied", d.decide(admin, again, "deny"), 200)
	d.fake.Advance(print.DefaultLifetime)
	golden(t, "expired", d.as(admin, "/device", url.Values{"code": {allow.UserCode}}), 410)

	text := letter.To + "\n" + letter.Subject + "\n\n" + drawn[2].what.ReplaceAllString(letter.Text, drawn[2].as)
	if *update {
		if err := os.WriteFile("testdata/letter.txt", []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/letter.txt")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), text); diff != "" {
		t.Error(diff)
	}
}
