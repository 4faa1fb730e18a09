package registration_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"github.com/mfpgate/mfpgate/tests/need"
)

// browser is one chromium; each of its people has a context of their own, without the others' logins.
type browser struct{ ctx context.Context }

func openBrowser(t *testing.T) *browser {
	t.Helper()
	flags := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(need.Program(t, "chromium")), chromedp.DisableGPU, chromedp.IgnoreCertErrors, chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("no-proxy-server", true))
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
	return &browser{ctx}
}

// tab is a page of one person.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu        sync.Mutex
	documents int // pages that were loaded
	streams   int // streams of events that were opened
}

func (b *browser) person(t *testing.T) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(b.ctx, chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	p := &tab{t: t, ctx: ctx}
	err := chromedp.Listen(ctx, func(ev any) {
		e, ok := ev.(*network.EventRequestWillBeSent)
		if !ok {
			return
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		switch e.Type {
		case network.ResourceTypeDocument:
			p.documents++
		case network.ResourceTypeEventSource:
			p.streams++
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	p.do(chromedp.EmulateViewport(1280, 900))
	return p
}

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatal(err)
	}
}

func (b *tab) open(address string) {
	b.t.Helper()
	b.do(chromedp.Navigate(address))
}

func eval[T any](b *tab, expression string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.t.Fatalf("%.80s: %v", expression, err)
	}
	return value
}

// await waits until the expression is true in the page, which may be left for another one meanwhile.
func (b *tab) await(expression string) {
	b.t.Helper()
	await(b.t, "the page comes to "+expression, func() bool {
		ok, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool]("Boolean("+expression+")"))
		return err == nil && ok
	}, func() string {
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

// state waits until the portal's page of a registration says that it stands so.
func (b *tab) state(text string) {
	b.t.Helper()
	b.await(fmt.Sprintf(`document.getElementById("state")?.textContent.includes(%q)`, text))
}

// login logs in to the portal, where one asks for it: one after the other, because the portal takes five attempts of one address at once.
func (b *tab) login(door *sync.Mutex, name string) {
	b.t.Helper()
	b.await(`document.querySelector("#password")`)
	door.Lock()
	defer door.Unlock()
	b.do(chromedp.SetValue("#name", name), chromedp.SendKeys("#password", password), chromedp.Click("button[type=submit]"))
	b.await(`location.pathname !== "/login"`)
}

// remember marks the page. stays wants that it was followed by no other since, and that it was told of what changed by a stream.
func (b *tab) remember() func() {
	b.t.Helper()
	eval[bool](b, `window.mark = true`)
	b.mu.Lock()
	before := b.documents
	b.mu.Unlock()
	return func() {
		b.t.Helper()
		same := eval[bool](b, `window.mark === true && (document.getElementById("stale")?.hidden ?? true)`)
		b.mu.Lock()
		defer b.mu.Unlock()
		if !same || b.documents != before || b.streams == 0 {
			b.t.Errorf("the page was loaded anew (%d times), followed no stream (%d) or says that the gateway is away", b.documents-before, b.streams)
		}
	}
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
