package ippusb_test

import (
	"github.com/mfpgate/mfpgate/tests/usb/model"
	"github.com/mfpgate/mfpgate/usb/bus"
)

// faults are n zero-length reads: one at once, the others after 600 bytes.
func faults(n int) []model.Fault {
	return []model.Fault{{Kind: model.ZeroRead}, {Kind: model.ZeroRead, After: 600, Times: n - 1}}
}

func zeroRead(after int64) model.Fault {
	return model.Fault{Kind: model.ZeroRead, After: after, Times: 1}
}

// faultCases are faults of one interface, at bytes of the request and the answer.
var faultCases = map[string]struct {
	in, out []model.Fault
	want    error
}{
	"no memory to send":            {out: []model.Fault{{Kind: model.NoMemory, Times: 3}, {Kind: model.NoMemory, After: 50000, Times: 12}}},
	"no memory to receive":         {in: []model.Fault{{Kind: model.NoMemory, Times: 3}, {Kind: model.NoMemory, After: 98 * 512, Times: 9}}},
	"a halt before the request":    {out: []model.Fault{{Kind: model.Stall}}, want: bus.ErrStalled},
	"a halt in the request":        {out: []model.Fault{{Kind: model.Stall, After: 30000}}, want: bus.ErrStalled},
	"a failure in the request":     {out: []model.Fault{{Kind: model.Failure, After: 30000}}, want: bus.ErrFailed},
	"a halt before the answer":     {in: []model.Fault{{Kind: model.Stall}}, want: bus.ErrStalled},
	"a halt in the head":           {in: []model.Fault{{Kind: model.Stall, After: 10}}, want: bus.ErrStalled},
	"a halt in the answer":         {in: []model.Fault{{Kind: model.Stall, After: 30000}}, want: bus.ErrStalled},
	"an overflow in the answer":    {in: []model.Fault{{Kind: model.Overflow, After: 30000}}, want: bus.ErrOverflow},
	"a failure in the answer":      {in: []model.Fault{{Kind: model.Failure, After: 30000}}, want: bus.ErrFailed},
	"unplugged in the request":     {out: []model.Fault{{Kind: model.Unplug, After: 30000}}, want: bus.ErrGone},
	"unplugged before the answer":  {in: []model.Fault{{Kind: model.Unplug}}, want: bus.ErrGone},
	"unplugged in the answer":      {in: []model.Fault{{Kind: model.Unplug, After: 30000}}, want: bus.ErrGone},
	"zero-length reads everywhere": {in: []model.Fault{{Kind: model.ZeroRead, Times: 5}, {Kind: model.ZeroRead, After: 512, Times: 2}, {Kind: model.ZeroRead, After: 57 * 512, Times: 7}}},
}
