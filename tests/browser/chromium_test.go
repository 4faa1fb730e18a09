package browser_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/tests/need"
)

// patience is how long a page may take to show what a test waits for: generous, for a machine with other work.
const patience = 40 * time.Second

// tab is one page of one browser.
type tab struct {
	t   *testing.T
	ctx context.Context
}

func openTab(t *testing.T) *tab {
	t.Helper()
	flags := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(need.Program(t, "chromium")), chromedp.DisableGPU, chromedp.IgnoreCertErrors, chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("no-proxy-server", true))
	if os.Geteuid() == 0 {
		flags = append(flags, chromedp.NoSandbox) // chromium's sandbox refuses to run as root
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	ctx, cancelAllocator := chromedp.NewExecAllocator(ctx, flags...)
	t.Cleanup(cancelAllocator)
	ctx, cancelTab := chromedp.NewContext(ctx)
	t.Cleanup(cancelTab)
	return &tab{t, ctx}
}

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, steps...); err != nil {
		b.t.Fatal(err)
	}
}

// eval is a value of the page.
func eval[T any](b *tab, expression string) T {
	b.t.Helper()
	value, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.t.Fatalf("%.80s: %v", expression, err)
	}
	return value
}

// await waits until the expression is true in the page, which may be left for another one meanwhile.
func (b *tab) await(expression string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	for {
		ok, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("Boolean("+expression+")"))
		if err == nil && ok {
			return
		}
		if mfpgate.Wait(ctx, mfpgate.SystemClock{}, 50*time.Millisecond) != nil {
			b.t.Fatalf("the page never came to %s: %v\n%s", expression, err, eval[string](b, "document.body?.innerText ?? ''"))
		}
	}
}

func (b *tab) login(name, password string) {
	b.t.Helper()
	b.do(chromedp.SetValue("#name", name), chromedp.SendKeys("#password", password), chromedp.Click("button[type=submit]"))
}

// looks are how the pages are looked at.
var looks = []struct {
	name          string
	scheme        string
	width, height int64
}{
	{"light", "light", 1280, 900},
	{"dark", "dark", 1280, 900},
	{"narrow", "light", 320, 640},
}

// check has axe-core look at the page in every look, and the page fit in the window. 320 pixels are also what a window of
// 640 leaves at a zoom of 200 %.
func (b *tab) check(page string) {
	b.t.Helper()
	axe, err := os.ReadFile("testdata/axe.min.js")
	if err != nil {
		b.t.Fatal(err)
	}
	for _, l := range looks {
		b.do(chromedp.EmulateViewport(l.width, l.height))
		if _, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: l.scheme}}}); err != nil {
			b.t.Fatal(err)
		}
		b.picture(page + "-" + l.name)
		if eval[bool](b, "!window.axe") {
			eval[bool](b, string(axe)+"; true")
		}
		found, err := chromedp.Run(b.ctx, chromedp.Evaluate[[]string](`axe.run(document, {resultTypes: ["violations"]}).then(r =>
			r.violations.flatMap(v => v.nodes.map(n => v.id + ": " + n.target.join(" ") + ": " + n.failureSummary)))`, chromedp.EvalAwaitPromise))
		if err != nil {
			b.t.Fatal(err)
		}
		if len(found) > 0 {
			b.t.Errorf("%s, %s: axe-core found:\n%s", page, l.name, strings.Join(found, "\n"))
		}
		if wide := eval[int64](b, "document.documentElement.scrollWidth"); wide > l.width {
			b.t.Errorf("%s, %s: the page is %d pixels wide in a window of %d", page, l.name, wide, l.width)
		}
	}
	b.do(chromedp.EmulateViewport(1280, 900))
}

// picture saves what the page looks like, if asked to.
func (b *tab) picture(name string) {
	b.t.Helper()
	dir := os.Getenv("SCREENSHOT_DIR")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s.png", name)), png, 0o644); err != nil {
		b.t.Fatal(err)
	}
}
