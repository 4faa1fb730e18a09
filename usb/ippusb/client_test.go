package ippusb_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate/usb/ippusb"
)

// TestClientsThatLeave: whatever they do and when, the next request gets its own answer, and the interface is idle after it.
func TestClientsThatLeave(t *testing.T) {
	slow := func(p *peer) { // takes a second to answer, and one in the midst of it
		answering(func(p *peer, req *http.Request, _ []byte) string {
			if req.URL.Path != "/slow" {
				return okay
			}
			pause(time.Second)
			p.say("HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n" + big(20000))
			pause(time.Second)
			return big(50000)[20000:]
		})(p)
	}
	for rule, leave := range map[string]func(t *testing.T, r *rig, ctx context.Context, cancel func()){
		"before it asks": func(t *testing.T, r *rig, ctx context.Context, cancel func()) {
			cancel()
			if _, err := r.RoundTrip(request(ctx, "GET", "/slow", nil)); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			if n := r.outs[0].Total(); n != 0 {
				t.Errorf("the printer was sent %d bytes", n)
			}
		},
		"before the answer": func(t *testing.T, r *rig, ctx context.Context, cancel func()) {
			time.AfterFunc(time.Second/2, cancel)
			begun := time.Now()
			if _, err := r.RoundTrip(request(ctx, "GET", "/slow", nil)); !errors.Is(err, context.Canceled) || time.Since(begun) != time.Second/2 {
				t.Error(err, time.Since(begun))
			}
		},
		"before the answer, with a cause": func(t *testing.T, r *rig, ctx context.Context, _ func()) {
			mine := errors.New("mine")
			ctx, cancel := context.WithTimeoutCause(ctx, time.Second/2, mine)
			defer cancel()
			if _, err := r.RoundTrip(request(ctx, "GET", "/slow", nil)); !errors.Is(err, mine) {
				t.Error(err)
			}
		},
		"in the answer": func(t *testing.T, r *rig, ctx context.Context, cancel func()) {
			resp := must(r.RoundTrip(request(ctx, "GET", "/slow", nil)))
			time.AfterFunc(time.Second/2, cancel)
			begun := time.Now()
			b, err := io.ReadAll(resp.Body)
			if !errors.Is(err, context.Canceled) || len(b) != 20000 || time.Since(begun) != time.Second/2 {
				t.Errorf("%d bytes, %v after %v", len(b), err, time.Since(begun))
			}
			if _, err := resp.Body.Read(make([]byte, 1)); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		},
		"without reading": func(t *testing.T, r *rig, ctx context.Context, cancel func()) {
			must(r.RoundTrip(request(ctx, "GET", "/slow", nil)))
			cancel()
		},
		"by closing the body": func(t *testing.T, r *rig, ctx context.Context, _ func()) {
			resp := must(r.RoundTrip(request(ctx, "GET", "/slow", nil)))
			for range 2 {
				if err := resp.Body.Close(); err != nil {
					t.Error(err)
				}
			}
			if _, err := resp.Body.Read(make([]byte, 1)); !errors.Is(err, http.ErrBodyReadAfterClose) {
				t.Error(err)
			}
		},
		"by closing the body while it reads": func(t *testing.T, r *rig, ctx context.Context, _ func()) {
			resp := must(r.RoundTrip(request(ctx, "GET", "/slow", nil)))
			time.AfterFunc(time.Second/2, func() { resp.Body.Close() })
			if b, err := io.ReadAll(resp.Body); !errors.Is(err, http.ErrBodyReadAfterClose) || len(b) != 20000 {
				t.Errorf("%d bytes, %v", len(b), err)
			}
		},
		"after a part": func(t *testing.T, r *rig, ctx context.Context, _ func()) {
			resp := must(r.RoundTrip(request(ctx, "GET", "/slow", nil)))
			if _, err := io.ReadFull(resp.Body, make([]byte, 30001)); err != nil {
				t.Error(err)
			}
			resp.Body.Close()
		},
		"after the end": func(t *testing.T, r *rig, ctx context.Context, cancel func()) {
			resp := must(r.RoundTrip(request(ctx, "GET", "/slow", nil)))
			b := must(io.ReadAll(resp.Body))
			if string(b) != big(50000) {
				t.Error("it got something else")
			}
			if s := r.Stats(); s.Busy != 0 {
				t.Errorf("%+v", s)
			}
			cancel()
			resp.Body.Close()
			if _, err := resp.Body.Read(make([]byte, 1)); err != io.EOF {
				t.Error(err)
			}
		},
	} {
		t.Run(rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := plug(t, 1, slow).open(t, nil)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				leave(t, r, ctx, cancel)
				r.mustGet(t)
				synctest.Wait()
				if s := r.Stats(); s.Busy != 0 || len(r.breaks()) != 0 {
					t.Errorf("%+v, %v", s, r.breaks())
				}
			})
		})
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestWhatCameWhenTheClientLeft: packets that are there when a read is given up are not lost.
func TestWhatCameWhenTheClientLeft(t *testing.T) {
	for rule, room := range map[string]int{"read ahead": 2048, "read to the client": 32 << 10} {
		t.Run(rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := plug(t, 1, answering(func(p *peer, req *http.Request, _ []byte) string {
					if req.URL.Path != "/slow" {
						return okay
					}
					p.say("HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n")
					pause(time.Second)
					p.say(big(2048)) // whole packets, behind which more comes: the transfer goes on
					pause(time.Second)
					return big(50000)[2048:]
				}))
				r.ins[0].Unended(true)
				r.open(t, nil)
				ctx, cancel := context.WithCancel(t.Context())
				resp := must(r.RoundTrip(request(ctx, "GET", "/slow", nil)))
				time.AfterFunc(time.Second+10*time.Millisecond, cancel)
				b := make([]byte, room)
				if n, err := resp.Body.Read(b); err != nil || string(b[:n]) != big(2048) {
					t.Errorf("%d bytes, %v", n, err)
				}
				r.mustGet(t)
				if b := r.breaks(); len(b) != 0 {
					t.Errorf("%v", b)
				}
			})
		})
	}
}

// TestDrainIsBounded: an answer that nobody reads may be neither endless nor slow for ever.
func TestDrainIsBounded(t *testing.T) {
	for rule, tc := range map[string]struct {
		every time.Duration
		want  error
		says  string
	}{
		"endless": {0, ippusb.ErrProtocol, "longer than 1000000 bytes"},
		"slow":    {time.Second, ippusb.ErrTimeout, "took more than 5m0s"},
	} {
		t.Run(rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := plug(t, 1, func(p *peer) {
					_, _, _ = p.hear()
					p.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
					for p.ctx.Err() == nil {
						p.say("400\r\n" + big(1024) + "\r\n")
						pause(tc.every)
					}
				}).open(t, func(o *ippusb.Options) { o.DrainBytes = 1e6 })
				resp := must(r.RoundTrip(request(t.Context(), "GET", "/", nil)))
				resp.Body.Close()
				pause(6 * time.Minute)
				if b := r.breaks(); len(b) != 1 || !errors.Is(b[0], tc.want) || !strings.Contains(b[0].Error(), tc.says) {
					t.Errorf("%v", b)
				}
			})
		})
	}
}

// TestFirstComeFirstServed: requests are served in the order in which they came, and one that leaves is passed over.
func TestFirstComeFirstServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var order []string
		r := plug(t, 1, answering(func(_ *peer, req *http.Request, _ []byte) string {
			mu.Lock()
			order = append(order, req.URL.Path)
			mu.Unlock()
			pause(time.Second)
			return okay
		})).open(t, nil)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				mine := t.Context()
				if i%3 == 2 {
					mine = ctx
				}
				resp, err := r.RoundTrip(request(mine, "GET", fmt.Sprintf("/%d", i), nil))
				if i%3 == 2 && i > 1 {
					if !errors.Is(err, context.Canceled) {
						t.Error(i, err)
					}
					return
				}
				resp.Body.Close()
			})
			synctest.Wait()
		}
		if s := r.Stats(); s.Busy != 1 || s.Waiting != 7 {
			t.Errorf("%+v", s)
		}
		cancel()
		wg.Wait()
		if diff := cmp.Diff([]string{"/0", "/1", "/3", "/4", "/6", "/7"}, order); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// TestEachInterfaceCarriesOneAtATime, and all of them are used side by side.
func TestEachInterfaceCarriesOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := plug(t, 3, func(p *peer) {
			for {
				req, _, err := p.hear()
				if err != nil {
					return
				}
				pause(time.Second)
				if p.r.Buffered() > 0 || p.out.Total() != int64(p.seen.Len()) {
					t.Error("a request came before the one before it was answered")
				}
				p.say(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(req.URL.Path), req.URL.Path))
			}
		}).open(t, nil)
		begun := time.Now()
		var wg sync.WaitGroup
		for i := range 30 {
			wg.Go(func() {
				target := fmt.Sprintf("/%d", i)
				resp := must(r.RoundTrip(request(t.Context(), "GET", target, nil)))
				if b := must(io.ReadAll(resp.Body)); string(b) != target {
					t.Errorf("%s got the answer to %s", target, b)
				}
			})
		}
		wg.Wait()
		if d := time.Since(begun).Round(time.Second); d != 10*time.Second {
			t.Errorf("it took %v", d)
		}
	})
}

// TestEarlyAnswers: a refusal ends a request that is still being sent; any other answer does not.
func TestEarlyAnswers(t *testing.T) {
	for status, whole := range map[string]bool{"200 OK": true, "302 Found": true, "413 Content Too Large": false, "503 Service Unavailable": false} {
		t.Run(status, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got := make(chan int, 1)
				r := plug(t, 1, func(p *peer) {
					req := must(http.ReadRequest(p.r))
					p.say("HTTP/1.1 " + status + "\r\nContent-Length: 5\r\n\r\nearly")
					pause(time.Minute) // it takes no more until then
					b, err := io.ReadAll(req.Body)
					if err != nil {
						t.Error(err)
					}
					got <- len(b)
					answering(func(*peer, *http.Request, []byte) string { return okay })(p)
				}).open(t, nil)
				resp := must(r.RoundTrip(request(t.Context(), "POST", "/", io.MultiReader(strings.NewReader(big(2<<20))))))
				if b := must(io.ReadAll(resp.Body)); string(b) != "early" {
					t.Errorf("%q", b)
				}
				if s := r.Stats(); s.Busy != 1 && whole {
					t.Errorf("the interface was given back in the midst of a request: %+v", s)
				}
				r.mustGet(t)
				if n := <-got; (n == 2<<20) != whole {
					t.Errorf("the printer got %d bytes", n)
				}
			})
		})
	}
}
