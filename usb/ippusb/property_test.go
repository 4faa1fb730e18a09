package ippusb_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mfpgate/mfpgate/tests/usb/model"
	"github.com/mfpgate/mfpgate/usb/bus"
	"github.com/mfpgate/mfpgate/usb/ippusb"
)

// TestNothingIsLost: whatever clients do, and whatever happens to transfers, in the end each interface is idle, or the transport is broken
// and said so once. No client gets another's answer, and a printer that got a whole request got the client's.
func TestNothingIsLost(t *testing.T) {
	rounds := 60
	if testing.Short() {
		rounds = 20
	}
	var whole, brokenRounds int
	for seed := range rounds {
		synctest.Test(t, func(t *testing.T) {
			w := &world{T: t, rand: rand.New(rand.NewPCG(uint64(seed), 7))}
			w.run()
			whole += w.whole
			brokenRounds += len(w.breaks())
		})
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	t.Logf("%d whole answers; %d of %d rounds broke the transport", whole, brokenRounds, rounds)
	if whole < rounds || brokenRounds == 0 || brokenRounds == rounds {
		t.Error("the rounds do not show both ends")
	}
}

// world is one round.
type world struct {
	*testing.T
	*rig
	mu    sync.Mutex
	rand  *rand.Rand
	whole int
}

func (w *world) n(n int) int { w.mu.Lock(); defer w.mu.Unlock(); return w.rand.IntN(n) }

func (w *world) run() {
	t := w.T
	r := plug(t, 1+w.n(3), answering(func(p *peer, req *http.Request, body []byte) string {
		pause(time.Duration(w.n(3)) * 100 * time.Millisecond)
		size, _ := strconv.Atoi(req.URL.Query().Get("size"))
		answer := fmt.Sprintf("%s %x %s", req.URL.Path, sha256.Sum256(body), big(size))
		if w.n(2) == 0 {
			return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(answer), answer)
		}
		k := w.n(len(answer)-1) + 1
		return fmt.Sprintf("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n%s0\r\n\r\n", k, answer[:k], rest(answer[k:]))
	}))
	w.rig = r.open(t, func(o *ippusb.Options) {
		o.Quirks.ZLPSend, o.SendTimeout = w.n(2) == 0, 10*time.Minute
	})
	kinds := []model.Kind{model.ZeroRead, model.ZeroRead, model.NoMemory, model.NoMemory, model.Stall, model.Nak, model.Overflow, model.Failure, model.Unplug}
	for range w.n(4) {
		kind := kinds[w.n(len(kinds))]
		f := model.Fault{Kind: kind, After: int64(w.n(200)) * 512, Times: 1 + w.n(3)}
		if i := w.n(len(r.ins)); kind == model.ZeroRead || w.n(2) == 0 && kind != model.Nak {
			r.ins[i].Fail(f)
		} else if kind != model.Overflow {
			r.outs[i].Fail(f)
		}
	}
	var wg sync.WaitGroup
	for g := range 6 {
		wg.Go(func() {
			for i := range 4 {
				w.client(fmt.Sprintf("/%d/%d", g, i))
			}
		})
	}
	if w.n(10) == 0 {
		wg.Go(func() {
			pause(time.Duration(w.n(1000)) * time.Millisecond)
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(w.n(1000))*time.Millisecond)
			defer cancel()
			_ = r.Shutdown(ctx)
		})
	}
	wg.Wait()
	pause(time.Hour) // drains, and time-outs of what was left in the lurch
	synctest.Wait()
	s := r.Stats()
	if s.Busy != 0 || s.Waiting != 0 {
		t.Errorf("lost: %+v", s)
	}
	if n := len(r.breaks()); n > 1 {
		t.Errorf("Broken was called with %v", r.breaks())
	}
	for range s.Interfaces {
		resp, err := r.RoundTrip(request(t.Context(), "GET", "/last?size=1", nil))
		switch {
		case err == nil && len(r.breaks()) == 0:
			resp.Body.Close()
			pause(time.Second)
		case err == nil, !errors.Is(err, ippusb.ErrBroken) && !errors.Is(err, ippusb.ErrClosed):
			t.Errorf("after all: %v; broken: %v", err, r.breaks())
		}
	}
	if err := r.Close(); err != nil || r.plugged.Claimed() != 0 {
		t.Errorf("Close: %v, %d claims", err, r.plugged.Claimed())
	}
}

func rest(s string) string {
	if s == "" {
		return ""
	}
	return fmt.Sprintf("%x\r\n%s\r\n", len(s), s)
}

// client asks once, in its way.
func (w *world) client(path string) {
	ctx, cancel := context.WithCancel(w.Context())
	defer cancel()
	if w.n(3) == 0 {
		time.AfterFunc(time.Duration(w.n(2000))*time.Millisecond, cancel)
	}
	size := []int{0, 5, 20000, 70000}[w.n(4)]
	var sent io.Reader
	content := ""
	switch w.n(5) {
	case 0, 1:
		content = big([]int{1, 10000, 16384, 50000, 300000}[w.n(5)])
		sent = readOnly{strings.NewReader(content)}
	case 2:
		content = "cut"
		sent = io.MultiReader(strings.NewReader(big(40000)), readFunc(func([]byte) (int, error) {
			if w.n(2) == 0 {
				panic("a body")
			}
			return 0, errors.New("broken body")
		}))
	case 3:
		content = "slow"
		sent = &slowBody{w, strings.NewReader(strings.Repeat(big(9000), 5))}
	}
	method := "POST"
	if sent == nil {
		method = "GET"
	}
	resp, err := w.RoundTrip(request(ctx, method, path+"?size="+strconv.Itoa(size), sent))
	if err != nil {
		if known := []error{ippusb.ErrBroken, ippusb.ErrClosed, context.Canceled}; !anyOf(err, known) && content != "cut" {
			w.Errorf("%s: %v", path, err)
		}
		return
	}
	var got strings.Builder
	switch w.n(4) {
	case 0:
		_, _ = io.CopyN(&got, resp.Body, int64(w.n(1000)))
		resp.Body.Close()
		return
	case 1:
		pause(time.Duration(w.n(3)) * time.Second)
	case 2:
		time.AfterFunc(time.Duration(w.n(500))*time.Millisecond, func() { resp.Body.Close() })
	}
	if _, err = io.Copy(&got, resp.Body); err != nil {
		if known := []error{ippusb.ErrBroken, ippusb.ErrClosed, context.Canceled, http.ErrBodyReadAfterClose}; !anyOf(err, known) {
			w.Errorf("%s: body: %v", path, err)
		}
		return
	}
	want := fmt.Sprintf("%s %x %s", path, sha256.Sum256([]byte(content)), big(size))
	if content == "slow" {
		want = fmt.Sprintf("%s %x %s", path, sha256.Sum256([]byte(strings.Repeat(big(9000), 5))), big(size))
	}
	if got.String() != want {
		w.Errorf("%s got %.100q, want %.100q", path, got.String(), want)
	}
	w.mu.Lock()
	w.whole++
	w.mu.Unlock()
}

func anyOf(err error, known []error) bool {
	for _, k := range append(known, bus.ErrGone) {
		if errors.Is(err, k) {
			return true
		}
	}
	return false
}

// readOnly hides what its reader has besides.
type readOnly struct{ io.Reader }

// slowBody brings a piece now and then.
type slowBody struct {
	w    *world
	rest io.Reader
}

func (s *slowBody) Read(p []byte) (int, error) {
	pause(time.Duration(s.w.n(300)) * time.Millisecond)
	return s.rest.Read(p[:min(len(p), 9000)])
}
