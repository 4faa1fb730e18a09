package delivery_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/memory"
	"github.com/mfpgate/mfpgate/telemetry"
	"github.com/mfpgate/mfpgate/usb/delivery"
)

const printer mfpgate.DeviceID = "dev_usb"

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// house is a gateway with one printer on its USB, its region, and time of the test's own (in a bubble of synctest).
type house struct {
	t     *testing.T
	facts store.Store
	dir   string
	stop  func() // of the process that runs
	*delivery.Deliveries

	mu     sync.Mutex
	device mfpgate.Device
	takes  bool
	room   int64

	// The region.
	order   *mfpgate.DeliveryOrder
	bytes   []byte
	told    []mfpgate.DeliveryReport // once for each key
	keys    map[string]mfpgate.DeliveryReport
	asked   int
	offsets []int64
	call    context.Context                              // of the last download
	give    func(offset int64) (delivery.Content, error) // nil: what was asked for
	away    error
	refuse  map[mfpgate.DeliveryState]error
	// The printer and the relay.
	jobs  [][]byte // what it took
	print func(doc mfpgate.Document) (mfpgate.JobStatus, error)
	busy  error // of SetUp and Move
	moves int
	works int // open now
	poll  time.Duration
	step  func() error // before and after each call; an error ends it
}

func newHouse(t *testing.T) *house {
	h := &house{t: t, facts: memory.New(), dir: t.TempDir(), takes: true, room: 1 << 40, bytes: bytes.Repeat([]byte("firmware "), 100_000),
		keys: map[string]mfpgate.DeliveryReport{}, poll: 10 * time.Minute, refuse: map[mfpgate.DeliveryState]error{}}
	h.device = mfpgate.Device{ID: printer, Name: "labels", Model: "LP-1", Firmware: "1.0", Attachment: mfpgate.AttachmentUSB,
		MonitoringMode: mfpgate.MonitoringPolling, State: mfpgate.DeviceOnline, USB: &mfpgate.USBPort{Bus: "1-1", Mode: mfpgate.USBModeRaw}}
	return h
}

// plan gives the printer an order in that time, with a window of two hours.
func (h *house) plan(in time.Duration) {
	sum := sha256.Sum256(h.bytes)
	start := time.Now().Add(in).UTC()
	h.set(func() {
		h.order = &mfpgate.DeliveryOrder{Delivery: "d1", Version: "1", Start: start, LatestEnd: start.Add(2 * time.Hour),
			Package: mfpgate.Package{ID: "pkg_1", Model: "LP-1", Version: "2.0", Size: int64(len(h.bytes)), SHA256: hex.EncodeToString(sum[:])}}
	})
}

func (h *house) set(change func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change()
}

func (h *house) plug(there bool) {
	h.set(func() {
		h.device.USB, h.device.State = nil, mfpgate.DeviceOffline
		if there {
			h.device.USB, h.device.State = &mfpgate.USBPort{Bus: "1-1", Mode: mfpgate.USBModeRaw}, mfpgate.DeviceOnline
		}
	})
	h.Wake()
}

func (h *house) options(facts store.Store) delivery.Options {
	return delivery.Options{Clock: mfpgate.SystemClock{}, Rand: rand.New(rand.NewPCG(1, 2)), Store: facts, Dir: h.dir, Cloud: h, Log: telemetry.Discard(),
		Devices: func() []mfpgate.Device { h.mu.Lock(); defer h.mu.Unlock(); return []mfpgate.Device{h.device} },
		Takes:   func(mfpgate.Device) bool { h.mu.Lock(); defer h.mu.Unlock(); return h.takes },
		Free:    func(string) (int64, error) { h.mu.Lock(); defer h.mu.Unlock(); return h.room, nil },
		Slot: func(context.Context, mfpgate.Device) (delivery.Work, error) {
			h.set(func() { h.works++ })
			return &slot{h: h}, nil
		},
		Print: h.job}
}

// start runs a process on the house's store until halt.
func (h *house) start() { h.startOn(h.facts) }

func (h *house) startOn(facts store.Store) {
	var err error
	h.Deliveries, err = delivery.New(h.options(facts))
	must(h.t, err)
	ctx, cancel := context.WithCancel(h.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	h.stop = func() {
		cancel()
		<-ended
	}
}

func (h *house) halt() { h.stop() }

func (h *house) pass(d time.Duration) {
	wait(d)
	synctest.Wait()
}

// wait lets the bubble's time go by.
func wait(d time.Duration) { _ = mfpgate.Wait(context.Background(), mfpgate.SystemClock{}, d) }

func (h *house) hook() error {
	h.mu.Lock()
	step := h.step
	h.mu.Unlock()
	if step == nil {
		return nil
	}
	return step()
}

func (h *house) CheckIn(_ context.Context, _ mfpgate.DeviceID, _ string, _ bool, _ string) (*mfpgate.DeliveryOrder, time.Duration, error) {
	if err := h.hook(); err != nil {
		return nil, 0, err
	}
	h.mu.Lock()
	h.asked++
	order, err := h.order, h.away
	if order != nil {
		one := *order
		order = &one
	}
	h.mu.Unlock()
	if err == nil {
		err = h.hook()
	}
	return order, h.poll, err
}

func (h *house) Delivered(_ context.Context, _ mfpgate.DeviceID, r mfpgate.DeliveryReport, key string) error {
	if err := h.hook(); err != nil {
		return err
	}
	h.mu.Lock()
	err := h.away
	if err == nil {
		err = h.refuse[r.State]
	}
	if err == nil {
		if before, seen := h.keys[key]; seen {
			if before != r {
				h.t.Errorf("the key %s came with %+v and with %+v", key, before, r)
			}
		} else {
			h.keys[key] = r
			h.told = append(h.told, r)
			h.took(r)
		}
	}
	h.mu.Unlock()
	if err == nil {
		err = h.hook()
	}
	return err
}

// took is what the region makes of a report: what runs has another version, what is over is not told any more.
func (h *house) took(r mfpgate.DeliveryReport) {
	switch {
	case h.order == nil || h.order.Delivery != r.Delivery:
	case r.State == mfpgate.DeliveryRunning:
		h.order.Version, h.order.Running = "2", true
	default:
		h.order = nil
	}
}

func (h *house) Package(ctx context.Context, dial func(context.Context, string, string) (net.Conn, error), p mfpgate.Package, offset int64) (delivery.Content, error) {
	if err := h.hook(); err != nil {
		return delivery.Content{}, err
	}
	if _, err := dial(ctx, "tcp", "region:443"); err != nil {
		return delivery.Content{}, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.offsets, h.call = append(h.offsets, offset), ctx
	if h.give != nil {
		return h.give(offset)
	}
	return part(h.bytes[offset:], offset), h.away
}

func part(rest []byte, begins int64) delivery.Content {
	return delivery.Content{ReadCloser: io.NopCloser(bytes.NewReader(rest)), Begins: begins, Length: int64(len(rest))}
}

func (h *house) job(ctx context.Context, _ mfpgate.DeviceID, doc mfpgate.Document, told func(mfpgate.JobStatus)) (mfpgate.JobStatus, error) {
	if err := h.hook(); err != nil {
		return mfpgate.JobStatus{State: mfpgate.JobAborted}, err
	}
	told(mfpgate.JobStatus{State: mfpgate.JobPending})
	h.mu.Lock()
	print := h.print
	there := h.device.USB != nil
	h.mu.Unlock()
	if !there {
		return mfpgate.JobStatus{State: mfpgate.JobAborted}, errors.New("the printer is gone")
	}
	if print != nil {
		return print(doc)
	}
	status, err := h.takeAll(ctx, doc)
	if err == nil {
		err = h.hook()
	}
	return status, err
}

// takeAll is a printer that takes a document in pieces.
func (h *house) takeAll(ctx context.Context, doc mfpgate.Document) (mfpgate.JobStatus, error) {
	var got []byte
	at := -1
	buf := make([]byte, 300_000)
	for {
		n, err := doc.Content.Read(buf)
		if n > 0 {
			if no := h.hook(); no != nil { // what was read has not gone yet
				return mfpgate.JobStatus{State: mfpgate.JobAborted, Sent: int64(len(got))}, no
			}
			got = append(got, buf[:n]...)
			h.set(func() {
				if at < 0 {
					at = len(h.jobs)
					h.jobs = append(h.jobs, nil)
				}
				h.jobs[at] = bytes.Clone(got)
			})
		}
		switch {
		case errors.Is(err, io.EOF):
			return mfpgate.JobStatus{State: mfpgate.JobCompleted, Sent: int64(len(got)), Reasons: []string{"queued-in-device"}}, nil
		case err != nil:
			return mfpgate.JobStatus{State: mfpgate.JobAborted, Sent: int64(len(got)), Message: "the rest did not come"}, err
		case ctx.Err() != nil:
			return mfpgate.JobStatus{State: mfpgate.JobAborted, Sent: int64(len(got))}, ctx.Err()
		}
	}
}

// slot is the relay's.
type slot struct {
	h      *house
	closed bool
}

func (s *slot) SetUp(context.Context) error { s.h.mu.Lock(); defer s.h.mu.Unlock(); return s.h.busy }
func (s *slot) Move(context.Context) error {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	s.h.moves++
	return s.h.busy
}
func (s *slot) Dial(context.Context, string, string) (net.Conn, error) { return nil, nil }
func (s *slot) Close() {
	if s.closed {
		s.h.t.Error("a slot was closed twice")
	}
	s.closed = true
	s.h.set(func() { s.h.works-- })
}

// refused is an error of the relay, or of the region.
type refused struct {
	reason mfpgate.Reason
	delay  time.Duration
}

func (r refused) Error() string        { return string(r.reason) }
func (r refused) Why() mfpgate.Reason  { return r.reason }
func (r refused) Delay() time.Duration { return r.delay }

// outcome is what the region was told last, and how many jobs the printer has had.
func (h *house) outcome() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	last := mfpgate.DeliveryReport{}
	for _, r := range h.told {
		if r.State != mfpgate.DeliveryRunning {
			last = r
		}
	}
	return fmt.Sprintf("%s %s, %d jobs", last.State, last.Reason, len(h.jobs))
}

// seen is what has happened so far.
type seen struct {
	told                []mfpgate.DeliveryReport
	jobs                [][]byte
	offsets             []int64
	asked, moves, works int
}

func (h *house) seen() seen {
	h.mu.Lock()
	defer h.mu.Unlock()
	return seen{slices.Clone(h.told), slices.Clone(h.jobs), slices.Clone(h.offsets), h.asked, h.moves, h.works}
}

// clean wants nothing left behind.
func (h *house) clean() {
	h.t.Helper()
	files, err := os.ReadDir(h.dir)
	must(h.t, err)
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(files) != 0 || h.works != 0 {
		h.t.Errorf("%d files and %d slots are left", len(files), h.works)
	}
}
