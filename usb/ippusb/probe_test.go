package ippusb_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mfpgate/mfpgate/usb/bus"
	"github.com/mfpgate/mfpgate/usb/ippusb"
)

// ipp is an answer to an IPP request.
func ipp(id uint32) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/ipp\r\nContent-Length: 9\r\n\r\n%s\x03", binary.BigEndian.AppendUint32([]byte{2, 0, 0, 0}, id))
}

// idOf is a request's.
func idOf(body []byte) uint32 { return binary.BigEndian.Uint32(body[4:]) }

func TestProbe(t *testing.T) {
	right := func(_ *peer, _ int, body []byte) string { return ipp(idOf(body)) }
	for rule, tc := range map[string]struct {
		quirks ippusb.Quirks
		before func(p *peer)                            // what it says on its own
		answer func(p *peer, n int, body []byte) string // to its n-th request
		resets int
		want   error
		within time.Duration
	}{
		"an answer":                    {answer: right, within: 40 * time.Millisecond},
		"an answer that is no IPP":     {answer: func(*peer, int, []byte) string { return "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno" }, within: 40 * time.Millisecond},
		"it starts":                    {answer: func(*peer, int, []byte) string { return "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n" }, within: 40 * time.Millisecond},
		"what another was told before": {before: func(p *peer) { p.say("ok\r\n" + okay + ipp(1)) }, answer: right, within: 80 * time.Millisecond},
		"what another is told now":     {answer: func(_ *peer, n int, body []byte) string { return ipp(7) + ipp(8) + ipp(idOf(body)) }, within: 40 * time.Millisecond},
		"silent at first": {answer: func(_ *peer, n int, body []byte) string {
			if n == 1 {
				return ""
			}
			return ipp(idOf(body))
		}, resets: 2, within: 41 * time.Second},
		"it answers both when it was silent at first": {answer: func(p *peer, n int, body []byte) string {
			if n == 1 {
				p.seen.Reset()
				p.seen.Write(body[4:8])
				return ""
			}
			return ipp(binary.BigEndian.Uint32(p.seen.Bytes())) + ipp(idOf(body))
		}, resets: 2, within: 41 * time.Second},
		"silent":                        {answer: func(*peer, int, []byte) string { return "" }, resets: 1, want: ippusb.ErrSilent, within: 41 * time.Second},
		"silent, with less patience":    {quirks: ippusb.Quirks{InitTimeout: time.Second}, answer: func(*peer, int, []byte) string { return "" }, resets: 1, want: ippusb.ErrSilent, within: 3 * time.Second},
		"silent, and must not be reset": {quirks: ippusb.Quirks{NoSoftReset: true}, answer: func(*peer, int, []byte) string { return "" }, want: ippusb.ErrSilent, within: 21 * time.Second},
		"it speaks something else":      {answer: func(*peer, int, []byte) string { return "@PJL\r\n" }, resets: 1, want: ippusb.ErrSilent, within: time.Second},
		"it speaks without end": {answer: func(*peer, int, []byte) string {
			return "HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n" + big(2<<20)
		}, resets: 1, want: ippusb.ErrSilent, within: time.Second},
		"it answers others only": {answer: func(*peer, int, []byte) string { return ipp(1) + ipp(2) + ipp(3) + ipp(4) }, resets: 1, want: ippusb.ErrSilent, within: time.Second},
		"reset first":            {quirks: ippusb.Quirks{SoftReset: true}, answer: right, resets: 2, within: 40 * time.Millisecond},
	} {
		t.Run(rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := plug(t, 2, func(p *peer) {
					if tc.before != nil {
						tc.before(p)
					}
					n := 0
					answering(func(p *peer, req *http.Request, body []byte) string {
						if req.Method == "GET" {
							return okay
						}
						if n++; req.URL.Path != "/ipp/print" || req.Header.Get("Content-Type") != "application/ipp" {
							t.Errorf("%v", req)
						}
						return tc.answer(p, n, body)
					})(p)
				}).open(t, func(o *ippusb.Options) { o.Quirks = tc.quirks })
				synctest.Wait()
				begun := time.Now()
				err := r.Probe(t.Context())
				if !errors.Is(err, tc.want) || (err != nil) != (tc.want != nil) || time.Since(begun) > tc.within {
					t.Errorf("got %v after %v, want %v", err, time.Since(begun), tc.want)
				}
				if int(r.control.Load()) != tc.resets {
					t.Errorf("%d soft resets, want %d", r.control.Load(), tc.resets)
				}
				synctest.Wait()
				if tc.want != nil {
					if !errors.Is(err, ippusb.ErrBroken) || len(r.breaks()) != 1 {
						t.Errorf("Broken was called with %v", r.breaks())
					}
					return
				}
				for range 4 {
					r.mustGet(t)
				}
			})
		})
	}
}

// TestProbeOfAPrinterThatTakesNothing has the same patience.
func TestProbeOfAPrinterThatTakesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := plug(t, 1, slowly)
		r.outs[0].Pause()
		r.open(t, nil)
		begun := time.Now()
		if err := r.Probe(t.Context()); !errors.Is(err, ippusb.ErrSilent) || time.Since(begun) > 41*time.Second {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
	})
}

// TestProbeEnds: with its context, with the device, and with the transport.
func TestProbeEnds(t *testing.T) {
	for rule, tc := range map[string]struct {
		end  func(r *rig, cancel func())
		want error
	}{
		"its context": {func(_ *rig, cancel func()) { cancel() }, context.Canceled},
		"the device":  {func(r *rig, _ func()) { r.plugged.Unplug() }, bus.ErrGone},
		"Close":       {func(r *rig, _ func()) { r.Close() }, ippusb.ErrClosed},
	} {
		t.Run(rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := plug(t, 1, slowly).open(t, nil)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				time.AfterFunc(time.Second, func() { tc.end(r, cancel) })
				begun := time.Now()
				if err := r.Probe(ctx); !errors.Is(err, tc.want) || time.Since(begun) != time.Second {
					t.Errorf("%v after %v", err, time.Since(begun))
				}
				synctest.Wait()
				if s := r.Stats(); s.Busy != 0 {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}

// TestFarewell: what a printer says to a connection that it takes for idle is no answer to the next request.
func TestFarewell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := plug(t, 1, func(p *peer) {
			for {
				if _, _, err := p.hear(); err != nil {
					return
				}
				p.say(okay)
				p.sleep(30 * time.Second)
				p.say("HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
			}
		}).open(t, nil)
		for range 3 {
			r.mustGet(t)
			pause(time.Minute)
		}
	})
}

func TestDelays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := plug(t, 2, fixed(okay)).open(t, func(o *ippusb.Options) {
			o.Quirks = ippusb.Quirks{WriteDelay: time.Minute, WriteDelayOver: 1000}
		})
		begun := time.Now()
		for range 3 {
			r.mustGet(t)
		}
		if d := time.Since(begun); d > time.Second {
			t.Errorf("small writes are delayed: three requests took %v", d)
		}
		resp := must(r.RoundTrip(request(t.Context(), "POST", "/", readFunc((&countdown{10}).read))))
		resp.Body.Close()
		if d := time.Since(begun); d < 4*time.Minute {
			t.Errorf("writes were not delayed: %v", d)
		}
	})
}

// countdown is a body in pieces of 16 KiB.
type countdown struct{ n int }

func (c *countdown) read(p []byte) (int, error) {
	if c.n--; c.n < 0 {
		return 0, io.EOF
	}
	return copy(p, big(16<<10)), nil
}
