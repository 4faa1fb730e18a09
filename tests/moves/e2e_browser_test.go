package moves_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/mfpgate/mfpgate/tests/need"
)

const password = "correct horse battery"

// tab is a page of one person, who shares no login with others.
type tab struct {
	t   *testing.T
	ctx context.Context
}

// browser starts one chromium, and returns what opens a tab of somebody.
func browser(t *testing.T) (person func() *tab) {
	t.Helper()
	flags := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(need.Program(t, "chromium")), chromedp.DisableGPU, chromedp.IgnoreCertErrors, chromedp.UserDataDir(t.TempDir()),
		chromedp.WSURLReadTimeout(patience), chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("no-proxy-server", true))
	if os.Geteuid() == 0 {
		flags = append(flags, chromedp.NoSandbox) // chromium's sandbox refuses to run as root
	}
	ctx, cancelAllocator := chromedp.NewExecAllocator(context.Background(), flags...)
	t.Cleanup(cancelAllocator)
	ctx, cancel := chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	return func() *tab {
		own, cancel := chromedp.NewContext(ctx, chromedp.WithNewBrowserContext())
		t.Cleanup(cancel)
		if err := chromedp.Do(own); err != nil { // the tab lives as long as the context of the first call
			t.Fatal(err)
		}
		p := &tab{t, own}
		p.do(chromedp.EmulateViewport(1280, 900))
		return p
	}
}

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatal(err)
	}
}

// await waits until the expression is true in the page, which may be left for another one meanwhile.
func (b *tab) await(expression string) {
	b.t.Helper()
	eventually(b.t, "the page comes to "+expression, func() bool {
		ok, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool]("Boolean("+expression+")"))
		return err == nil && ok
	}, func() any {
		text, err := chromedp.Run(b.ctx, chromedp.Evaluate[string]("location.href + ' ' + (document.body?.innerText ?? '')"))
		if err != nil {
			return err.Error()
		}
		return text
	})
}

// says waits until the page says all of these.
func (b *tab) says(texts ...string) {
	b.t.Helper()
	for _, text := range texts {
		b.await(fmt.Sprintf(`document.body.innerText.replaceAll("\u202f", " ").includes(%q)`, text))
	}
}

// login opens a page of the portal, and logs in where one asks for it.
func (b *tab) login(address, name string) {
	b.t.Helper()
	b.do(chromedp.Navigate(address))
	b.await(`document.querySelector("#password")`)
	b.do(chromedp.SetValue("#name", name), chromedp.SendKeys("#password", password), chromedp.Click("button[type=submit]"))
	b.await(`location.pathname !== "/login"`)
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
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644); err != nil {
		b.t.Fatal(err)
	}
}
