package ippusb_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/tests/usb/model"
	"github.com/mfpgate/mfpgate/usb/bus"
	"github.com/mfpgate/mfpgate/usb/ippusb"
)

// slowly takes a minute to answer.
var slowly = answering(func(p *peer, req *http.Request, _ []byte) string {
	p.sleep(time.Minute)
	if req.URL.Path == "/long" {
		return "HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n" + big(50000)
	}
	return okay
})

func TestNewClaimsAllOrNone(t *testing.T) {
	r := plug(t, 3, slowly)
	r.plugged.Hold(2)
	h := must(r.handle(t))
	o := ippusb.Options{Clock: mfpgate.SystemClock{}, Handle: h, Interfaces: ippInterfaces(r.plugged.Device())}
	if _, err := ippusb.New(o); !errors.Is(err, bus.ErrBusy) || r.plugged.Claimed() != 0 {
		t.Errorf("%v, %d claims", err, r.plugged.Claimed())
	}
	o.Quirks.MaxInterfaces = 2
	tr, err := ippusb.New(o)
	if err != nil || r.plugged.Claimed() != 2 || tr.Stats().Interfaces != 2 {
		t.Fatalf("%v, %d claims", err, r.plugged.Claimed())
	}
	if err := errors.Join(tr.Close(), tr.Close()); err != nil || r.plugged.Claimed() != 0 {
		t.Errorf("%v, %d claims", err, r.plugged.Claimed())
	}
	o.Interfaces = nil
	if _, err := ippusb.New(o); err == nil {
		t.Error("a printer without interfaces was taken")
	}
	for rule, e := range map[string]bus.Endpoint{"no endpoint": {}, "no packet": {Number: 1}, "a packet that no USB has": {Number: 1, MaxPacket: 1 << 20}} {
		o.Interfaces = []bus.Interface{{Number: 0, In: bus.Endpoint{Number: 1, MaxPacket: 512}, Out: e}}
		if _, err := ippusb.New(o); err == nil || r.plugged.Claimed() != 0 {
			t.Errorf("%s: %v", rule, err)
		}
	}
}

// TestShutdown waits for what was begun, and refuses what was not.
func TestShutdown(t *testing.T) {
	for rule, tc := range map[string]struct {
		patience time.Duration
		cut      error
	}{"it waits": {2 * time.Minute, nil}, "its patience ends": {time.Second, context.DeadlineExceeded}} {
		t.Run(rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := plug(t, 1, slowly).open(t, nil)
				got := make(chan error, 2)
				for range 2 {
					go func() { _, err := r.get(t.Context()); got <- err }()
					synctest.Wait()
				}
				ctx, cancel := context.WithTimeout(t.Context(), tc.patience)
				defer cancel()
				done := make(chan error, 1)
				go func() { done <- r.Shutdown(ctx) }()
				synctest.Wait()
				if err := <-got; !errors.Is(err, ippusb.ErrClosed) {
					t.Errorf("the one that waited got %v", err)
				}
				if _, err := r.get(t.Context()); !errors.Is(err, ippusb.ErrClosed) {
					t.Errorf("a new one got %v", err)
				}
				if err := <-done; !errors.Is(err, tc.cut) || (err == nil) != (tc.cut == nil) {
					t.Errorf("Shutdown: %v", err)
				}
				if err := <-got; (err == nil) != (tc.cut == nil) || err != nil && !errors.Is(err, ippusb.ErrClosed) {
					t.Errorf("the one that was served got %v", err)
				}
				if len(r.breaks()) != 0 || r.plugged.Claimed() != 0 {
					t.Errorf("%v, %d claims", r.breaks(), r.plugged.Claimed())
				}
				if err := r.Shutdown(ctx); err != nil {
					t.Errorf("once more: %v", err)
				}
			})
		})
	}
}

// TestShutdownOfAnUnpluggedPrinter: who shuts down may know it first, and what is ended then says so.
func TestShutdownOfAnUnpluggedPrinter(t *testing.T) {
	for rule, tc := range map[string]struct {
		known  time.Duration // after the beginning
		waited error         // what the request gets that waits
	}{"known before": {0, bus.ErrGone}, "known when it waits": {time.Second, ippusb.ErrClosed}} {
		t.Run(rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := plug(t, 1, slowly).open(t, nil)
				served, waited := make(chan error, 1), make(chan error, 1)
				for _, got := range []chan error{served, waited} {
					go func() { _, err := r.get(t.Context()); got <- err }()
					synctest.Wait()
				}
				ctx, cancel := context.WithCancelCause(t.Context())
				if tc.known == 0 {
					cancel(bus.ErrGone)
				}
				time.AfterFunc(tc.known, func() { cancel(bus.ErrGone) })
				if err := r.Shutdown(ctx); tc.known > 0 && !errors.Is(err, bus.ErrGone) {
					t.Errorf("Shutdown: %v", err)
				}
				if err := <-served; !errors.Is(err, ippusb.ErrBroken) || !errors.Is(err, bus.ErrGone) {
					t.Errorf("the one that was served got %v", err)
				}
				if err := <-waited; !errors.Is(err, tc.waited) {
					t.Errorf("the one that waited got %v", err)
				}
			})
		})
	}
}

// TestEndsAtOnce: by Close, or by pulling the cable, at each phase of a request. Nobody waits for a drain, nor for a body that is stuck.
func TestEndsAtOnce(t *testing.T) {
	phases := map[string]func(t *testing.T, r *rig, told chan<- error){
		"while it waits": func(t *testing.T, r *rig, told chan<- error) {
			for range 2 {
				go func() { _, err := r.get(t.Context()); told <- err }()
			}
		},
		"while it sends": func(t *testing.T, r *rig, told chan<- error) {
			r.outs[0].Fail(model.Fault{Kind: model.Nak, After: 30000})
			go func() {
				_, err := r.RoundTrip(request(t.Context(), "POST", "/", io.MultiReader(strings.NewReader(big(1<<20)))))
				told <- err
			}()
		},
		"while the client says nothing": func(t *testing.T, r *rig, told chan<- error) {
			in, out := io.Pipe()
			go out.Write([]byte(big(20000)))
			go func() { _, err := r.RoundTrip(request(t.Context(), "POST", "/", in)); told <- err }()
		},
		"while a body is read in advance": func(t *testing.T, r *rig, told chan<- error) {
			in, _ := io.Pipe()
			go func() { _, err := r.RoundTrip(request(t.Context(), "POST", "/", in)); told <- err }()
			go r.get(t.Context()) // by which the bus is seen to end
		},
		"while the printer thinks": func(t *testing.T, r *rig, told chan<- error) {
			go func() { _, err := r.get(t.Context()); told <- err }()
		},
		"in the answer": func(t *testing.T, r *rig, told chan<- error) {
			r.ins[0].Fail(model.Fault{Kind: model.Nak, After: 30})
			go func() { _, err := r.get(t.Context()); told <- err }()
			pause(2 * time.Minute)
		},
		"while the client reads nothing": func(t *testing.T, r *rig, told chan<- error) {
			go func() {
				resp, err := r.RoundTrip(request(t.Context(), "GET", "/long", nil))
				if err == nil {
					pause(5 * time.Minute)
					_, err = io.ReadAll(resp.Body)
				}
				told <- err
			}()
			pause(2 * time.Minute)
		},
		"while it drains": func(t *testing.T, r *rig, told chan<- error) {
			r.ins[0].Fail(model.Fault{Kind: model.Nak, After: 39})
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, err := r.get(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
			go func() { _, err := r.get(t.Context()); told <- err }()
			pause(2 * time.Minute)
		},
	}
	for phase, begin := range phases {
		for how, tc := range map[string]struct {
			end  func(r *rig)
			want []error
		}{
			"closed":    {func(r *rig) { r.Close() }, []error{ippusb.ErrClosed}},
			"unplugged": {func(r *rig) { r.plugged.Unplug() }, []error{ippusb.ErrBroken, bus.ErrGone}},
		} {
			t.Run(how+" "+phase, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := plug(t, 1, slowly).open(t, nil)
					told := make(chan error, 2)
					begin(t, r, told)
					synctest.Wait()
					begun := time.Now()
					tc.end(r)
					synctest.Wait()
					if time.Since(begun) != 0 {
						t.Errorf("it took %v", time.Since(begun))
					}
					if how == "unplugged" && phase == "while the client reads nothing" {
						pause(5 * time.Minute) // nothing moves on the bus until then, so nobody sees it
						synctest.Wait()
					}
					if s := r.Stats(); s.Busy != 0 || s.Waiting != 0 {
						t.Errorf("%+v", s)
					}
					if n := len(r.breaks()); n != len(tc.want)-1 {
						t.Errorf("Broken was called with %v", r.breaks())
					}
					err := <-told
					for _, want := range tc.want {
						if !errors.Is(err, want) {
							t.Errorf("the client got %v, want %v", err, want)
						}
					}
				})
			})
		}
	}
}

// TestTimeouts: time counts from the last byte that moved, and no time-out comes while the printer does something.
func TestTimeouts(t *testing.T) {
	for rule, tc := range map[string]struct {
		change func(*ippusb.Options)
		in     time.Duration // how long the printer pauses in the request, and
		out    time.Duration // before the answer, and in it
		after  time.Duration // when it is over; negative: it is not
	}{
		"a printer that pauses":                 {nil, 71 * time.Hour, 4 * time.Minute, -1},
		"one that takes no byte":                {nil, 82 * time.Hour, 0, 72 * time.Hour},
		"one that takes none, if so said":       {func(o *ippusb.Options) { o.SendTimeout = time.Minute }, 2 * time.Minute, 0, time.Minute},
		"one without paper for long":            {func(o *ippusb.Options) { o.SendTimeout = -1 }, 200 * time.Hour, 0, -1},
		"one that thinks":                       {nil, 0, 6 * time.Minute, 5 * time.Minute},
		"one that thinks for long":              {func(o *ippusb.Options) { o.AnswerTimeout = time.Hour }, 0, 59 * time.Minute, -1},
		"one that thinks for ever":              {func(o *ippusb.Options) { o.AnswerTimeout = -1 }, 0, 3 * time.Hour, -1},
		"one that thinks for as long as it may": {func(o *ippusb.Options) { o.AnswerTimeout = time.Second }, 10 * time.Minute, time.Second / 2, -1},
	} {
		t.Run(rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := plug(t, 1, func(p *peer) {
					req, err := http.ReadRequest(p.r)
					if err != nil {
						return
					}
					for _, n := range []int64{100000, 200000, 300000} { // two of them in one piece
						_, _ = io.CopyN(io.Discard, req.Body, n)
						p.sleep(tc.in)
					}
					if _, err := io.Copy(io.Discard, req.Body); err != nil {
						return
					}
					p.sleep(tc.out)
					p.say(okay[:20])
					p.sleep(tc.out)
					p.say(okay[20:])
				}).open(t, tc.change)
				begun := time.Now()
				resp, err := r.RoundTrip(request(t.Context(), "POST", "/", io.MultiReader(strings.NewReader(big(1<<20)))))
				if err == nil {
					_, err = io.ReadAll(resp.Body)
				}
				if (tc.after >= 0) != errors.Is(err, ippusb.ErrTimeout) {
					t.Errorf("after %v: %v", time.Since(begun), err)
				}
				if d := time.Since(begun) - tc.after; tc.after >= 0 && (d < 0 || d > tc.after/8+time.Second) {
					t.Errorf("it was cut after %v, want %v", time.Since(begun), tc.after)
				}
				synctest.Wait()
				if n := len(r.breaks()); (n == 1) != (tc.after >= 0) {
					t.Errorf("%v", r.breaks())
				}
			})
		})
	}
}

// TestASlowClientIsNotTheDevicesFault: time that the client takes is not counted.
func TestASlowClientIsNotThePrintersFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := plug(t, 1, fixed("HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n"+big(50000))).open(t, nil)
		n := 0
		body := readFunc(func(p []byte) (int, error) {
			if n++; n > 20 {
				return 0, io.EOF
			}
			pause(time.Hour)
			return copy(p, big(2000)), nil
		})
		resp := must(r.RoundTrip(request(t.Context(), "POST", "/", body)))
		b := make([]byte, 10000)
		for range 5 {
			pause(time.Hour)
			if _, err := io.ReadFull(resp.Body, b); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestWhoIsToldOfAFault: only the request that found it, on its way out or back, takes it for its own.
func TestWhoIsToldOfAFault(t *testing.T) {
	for rule, tc := range map[string]struct {
		fault func(r *rig)
		want  error
	}{
		"in an answer": {func(r *rig) { r.ins[0].Fail(model.Fault{Kind: model.Failure, After: 10}) }, bus.ErrFailed},
		"in a request": {func(r *rig) { r.outs[0].Fail(model.Fault{Kind: model.Stall, After: 10}) }, bus.ErrStalled},
	} {
		t.Run(rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := plug(t, 2, func(p *peer) {
					if p.n == 0 {
						fixed(okay)(p)
					}
				}).open(t, nil)
				tc.fault(r)
				mine, other := make(chan error, 1), make(chan error, 1)
				r.outs[0].Pause()
				go func() { _, err := r.get(t.Context()); mine <- err }()
				synctest.Wait()
				go func() { _, err := r.get(t.Context()); other <- err }()
				synctest.Wait()
				r.outs[0].Resume()
				if err := <-mine; !errors.Is(err, ippusb.ErrBroken) || !errors.Is(err, tc.want) {
					t.Errorf("who found it got %v", err)
				}
				if err := <-other; !errors.Is(err, ippusb.ErrBroken) || errors.Is(err, tc.want) {
					t.Errorf("the other got %v", err)
				}
			})
		})
	}
}

// TestBrokenMayClose: it is what its owner does first.
func TestBrokenMayClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		closed := make(chan error, 1)
		var r *rig
		r = plug(t, 1, fixed("rubbish")).open(t, func(o *ippusb.Options) { o.Broken = func(error) { closed <- r.Close() } })
		if _, err := r.get(t.Context()); !errors.Is(err, ippusb.ErrBroken) {
			t.Error(err)
		}
		if err := <-closed; err != nil || r.plugged.Claimed() != 0 {
			t.Error(err, r.plugged.Claimed())
		}
	})
}
