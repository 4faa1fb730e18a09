// Package soak holds the tests that print over USB while everything fails that can fail: the whole of usb, its driver libusb, its
// transports and its HTTP endpoints, over the rig mockbus, in one process that must neither crash nor keep anything. It has no code but
// tests.
//
// Every round prints one document through one of the product's doors (door), disturbs that with one fault (fault), and checks what was
// told of the job against what the model has got (round.true). The printer must then work again by itself. A failure names the seed and
// the round; SOAK_SEED and SOAK_ROUND in the environment play them again.
//
// Time leaps while nothing moves (clock): pauses and time-outs of the product take some milliseconds, and are as long as they are.
package soak
