package model_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate/tests/usb/model"
)

// TestPackets: transfers of the host's meet the device's packets as on the wire.
func TestPackets(t *testing.T) {
	type read struct {
		N   int
		Err error
	}
	for _, tc := range []struct {
		rule  string
		wrote []int // by the device
		set   func(*model.In)
		ask   []int // by the host
		want  []read
	}{
		{"a short packet ends a transfer", []int{700, 100}, nil, []int{1024, 1024}, []read{{N: 700}, {N: 100}}},
		{"a packet without bytes ends whole packets", []int{1024, 3}, nil, []int{4096, 512}, []read{{N: 1024}, {N: 3}}},
		{"a full transfer leaves it to the next", []int{512, 3}, nil, []int{512, 512, 512}, []read{{N: 512}, {N: 0}, {N: 3}}},
		{"without it the transfer goes on", []int{512, 3}, func(q *model.In) { q.Unended(true) }, []int{1024}, []read{{N: 515}}},
		{"a packet that does not fit is lost", []int{512, 3}, nil, []int{100, 512, 512}, []read{{Err: model.ErrBabble}, {N: 0}, {N: 3}}},
		{"odd packets each end a transfer", []int{600}, func(q *model.In) { q.Split(7, 500) }, []int{512, 512, 512, 512}, []read{{N: 7}, {N: 500}, {N: 7}, {N: 86}}},
		{"a zero read is no data", []int{5}, func(q *model.In) { q.Fail(model.Fault{Kind: model.ZeroRead, Times: 2}) }, []int{512, 512, 512}, []read{{}, {}, {N: 5}}},
		{"an overflow hits once", []int{5}, func(q *model.In) { q.Fail(model.Fault{Kind: model.Overflow}) }, []int{512, 512}, []read{{Err: model.ErrBabble}, {N: 5}}},
		{"a halt stays until it is cleared", []int{5}, func(q *model.In) { q.Fail(model.Fault{Kind: model.Stall}) }, []int{512, 512}, []read{{Err: model.ErrStall}, {Err: model.ErrStall}}},
		{"a fault comes at its byte", []int{900}, func(q *model.In) { q.Fail(model.Fault{Kind: model.Failure, After: 700}) }, []int{1024, 512}, []read{{700, model.ErrWire}, {N: 200}}},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			q := model.NewIn()
			if tc.set != nil {
				tc.set(q)
			}
			for _, n := range tc.wrote {
				if _, err := q.Write(t.Context(), make([]byte, n)); err != nil {
					t.Fatal(err)
				}
			}
			var got []read
			for _, n := range tc.ask {
				n, err := q.Transfer(soon(t), make([]byte, n))
				got = append(got, read{n, err})
			}
			if diff := cmp.Diff(tc.want, got, cmp.Comparer(func(a, b error) bool { return errors.Is(a, b) })); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestOutFaults: what the device took is said, and no byte is lost or doubled by a fault.
func TestOutFaults(t *testing.T) {
	p := attached(t, model.Options{})
	document := bytes.Repeat([]byte("0123456789"), 1000)
	p.RawOut.Fail(model.Fault{Kind: model.Stall, After: 1}, model.Fault{Kind: model.Failure, After: 4000, Times: 2}, model.Fault{Kind: model.Nak, After: 100})
	rest := document
	for _, want := range []struct {
		n   int
		err error
	}{{1, model.ErrStall}, {0, model.ErrStall}, {4000, model.ErrWire}, {0, model.ErrWire}} {
		n, err := p.Transfer(soon(t), 1, rest)
		if n != want.n || !errors.Is(err, want.err) {
			t.Fatalf("%d %v, want %d %v", n, err, want.n, want.err)
		}
		rest = rest[n:]
		if errors.Is(err, model.ErrStall) && n == 0 {
			if err := p.ClearHalt(1); err != nil {
				t.Fatal(err)
			}
		}
	}
	ctx, cancel := context.WithCancel(soon(t))
	defer cancel()
	var n int
	sent := make(chan error, 1)
	go func() {
		k, err := p.Transfer(ctx, 1, rest)
		n = k
		sent <- err
	}()
	eventually(t, "it NAKs", func() bool { return p.RawOut.Faults() == 0 })
	cancel()
	if err := <-sent; n != 100 || !errors.Is(err, context.Canceled) {
		t.Fatalf("cancelled: %d %v", n, err)
	}
	p.RawOut.Resume()
	send(t, p, 1, rest[n:])
	eventually(t, "all taken", func() bool { return p.Raw.Bytes() == int64(len(document)) })
	if _, got := p.Raw.Take(); got != digest(document) {
		t.Error("the bytes are not those that were sent")
	}
}

func TestNeedsShortPacket(t *testing.T) {
	p := attached(t, model.Options{})
	p.RawOut.NeedShort(true)
	send(t, p, 1, make([]byte, 1024))
	if _, err := p.Control(t.Context(), model.Setup{RequestType: 0xA1, Request: 1, Length: 1}, nil); err != nil {
		t.Fatal(err)
	}
	if p.Raw.Bytes() != 0 {
		t.Error("the device saw bytes before a short packet")
	}
	send(t, p, 1, nil)
	eventually(t, "seen", func() bool { return p.Raw.Bytes() == 1024 })
	if p.RawOut.ZeroPackets() != 1 {
		t.Error("the packet without bytes was not counted")
	}
}

// TestDeviceIDs: every form of the answer to GET_DEVICE_ID.
func TestDeviceIDs(t *testing.T) {
	plain := model.New(model.Options{Serial: "S1"}).DeviceID()
	for form, want := range map[model.IDForm]string{
		model.IDPlain:        string([]byte{0, byte(len(plain) + 2)}) + plain,
		model.IDLittleEndian: string([]byte{byte(len(plain) + 2), 0}) + plain,
		model.IDTruncated:    string([]byte{0, byte(len(plain) + 2)}) + plain[:len(plain)-2],
		model.IDTooLong:      string([]byte{byte((len(plain) + 1002) >> 8), byte((len(plain) + 1002) & 0xff)}) + plain,
		model.IDTooShort:     string([]byte{0, byte((len(plain) + 2) / 2)}) + plain,
		model.IDEmpty:        "\x00\x02",
		model.IDNothing:      "",
		model.IDPlaceholder:  string([]byte{0, byte(len(plain) + 2 + 10)}) + strings.Replace(plain, "S1", "000000000000", 1),
	} {
		p := model.New(model.Options{Serial: "S1", IDForm: form})
		got, err := p.Control(t.Context(), model.Setup{RequestType: 0xA1, Length: 1024}, nil)
		if err != nil || string(got) != want {
			t.Errorf("%q: %q %v, want %q", form, got, err, want)
		}
	}
	p := model.New(model.Options{IDForm: model.IDRefused})
	if _, err := p.Control(t.Context(), model.Setup{RequestType: 0xA1, Length: 1024}, nil); !errors.Is(err, model.ErrStall) {
		t.Errorf("refused: %v", err)
	}
	composite, alone := model.New(model.Options{}), model.New(model.Options{Layout: model.Bidirectional})
	second := model.Setup{RequestType: 0xA1, Index: 2 << 8, Length: 1024}
	if _, err := alone.Control(t.Context(), second, nil); !errors.Is(err, model.ErrStall) {
		t.Errorf("an interface that is not there: %v", err)
	}
	if _, err := composite.Control(t.Context(), second, nil); err != nil {
		t.Errorf("interface 2 of three: %v", err)
	}
}
