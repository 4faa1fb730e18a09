package schedule_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/tests/need"
	"github.com/mfpgate/mfpgate/tests/rig"
)

// tab is an operator's browser, which is what the tests of package browser use.
type tab struct {
	t    *testing.T
	ctx  context.Context
	home string // the gateway's pages

	mu       sync.Mutex
	requests []string // method and path, with the type of what was asked for
}

func openTab(t *testing.T, s *scene) *tab {
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
	b := &tab{t: t, ctx: ctx}
	err := chromedp.Listen(ctx, func(ev any) {
		if e, ok := ev.(*network.EventRequestWillBeSent); ok {
			b.mu.Lock()
			defer b.mu.Unlock()
			at, err := url.Parse(e.Request.URL)
			if err == nil && at.Scheme == "data" {
				return // a picture within a style sheet
			}
			b.requests = append(b.requests, fmt.Sprintf("%s %s %s", e.Request.Method, at.Path, e.Type))
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	password, err := os.ReadFile(s.password)
	if err != nil {
		t.Fatal(err)
	}
	base, err := url.Parse(s.url)
	if err != nil {
		t.Fatal(err)
	}
	base.User = url.UserPassword(operator, strings.TrimSpace(string(password)))
	b.open(base.JoinPath("ui", "gateways", gateway).String())
	base.User = nil
	b.home = base.JoinPath("ui", "gateways", gateway).String()
	return b
}

func (b *tab) open(address string) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, chromedp.Navigate(address)); err != nil {
		b.t.Fatal(err)
	}
}

// is is whether the expression is true in the page.
func (b *tab) is(expression string) bool {
	b.t.Helper()
	return eval[bool](b, "Boolean("+expression+")")
}

func eval[T any](b *tab, expression string) T {
	b.t.Helper()
	value, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.t.Fatalf("%.80s: %v", expression, err)
	}
	return value
}

// press clicks a button that leads to another page, and waits for that.
func (b *tab) press(selector string) {
	b.t.Helper()
	b.is(`document.left = true`)
	if err := chromedp.Do(b.ctx, chromedp.Click(selector)); err != nil {
		b.t.Fatal(err)
	}
	rig.Until(b.t, "the page after "+selector, func() bool {
		there, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool](`!document.left && document.readyState === "complete"`))
		return err == nil && there
	})
}

// adjust does what the warning screen is for: it opens each overload that is reported and moves what is selected there to the nearest
// free times, until none is reported any more. The first crowd does not wait for that.
func (b *tab) adjust(crowd time.Time) (moves int) {
	b.t.Helper()
	warnings := b.home + "/warnings"
	for clock, began := (mfpgate.SystemClock{}), false; clock.Now().Before(crowd); {
		b.open(warnings)
		if b.is(`document.getElementById("no-warnings")`) {
			if began {
				return moves
			}
			_ = mfpgate.Wait(b.ctx, clock, 200*time.Millisecond) // none is reported yet
			continue
		}
		began = true
		bands := eval[[]string](b, `[...document.querySelectorAll("[data-band]")].map(e => e.dataset.band)`)
		for _, band := range bands {
			b.open(warnings + "?" + url.Values{"band": {band}}.Encode())
			for b.is(`document.getElementById("move-selected") && !document.getElementById("gone")`) {
				if b.is(`!document.querySelector("input[name=select]:checked")`) {
					b.is(`document.querySelector("input[name=select]").click()`)
				}
				moves += eval[int](b, `document.querySelectorAll("input[name=select]:checked").length`)
				b.press("#move-selected")
			}
		}
	}
	b.t.Fatalf("after %d moves there are warnings, or were none yet, and the first crowd comes", moves)
	return moves
}

// asked are the requests that were neither loads of the operator's pages nor what these load.
func (b *tab) asked() (others []string, forms int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.requests {
		part := strings.Fields(r)
		page := strings.HasPrefix(part[1], "/ui/gateways/"+gateway)
		switch {
		case part[0] == "POST" && page && strings.HasPrefix(part[1], "/ui/gateways/"+gateway+"/warnings/") && strings.HasSuffix(part[1], "/move") && part[2] == "Document":
			forms++
		case part[0] == "GET" && (page && part[2] == "Document" || strings.HasPrefix(part[1], "/ui/assets/") || part[1] == "/favicon.ico"):
		default:
			others = append(others, r)
		}
	}
	return others, forms
}
