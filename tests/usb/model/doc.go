// Package model is a USB printer in user space: its descriptors, its bulk endpoints packet by packet, and what stands behind them, a
// raw port that records jobs and answers PJL, and an IPP server. It does not know who carries its transfers: membus (in the process,
// behind bus.Bus), mockbus (libusb, without a kernel) or usbip (a real kernel).
//
// A printer works while a carrier has it attached; every goroutine of it has ended when Detach returns. What was recorded stays. Faults
// belong to an endpoint, happen in the order in which they were asked for, and are the same for every carrier (Fault).
//
// It refuses what hardware refuses: a transfer to an endpoint that the chosen setting does not have, an IN transfer with too little room
// for a packet (ErrBabble), and all but ClearHalt on an endpoint that halted (ErrStall).
package model
