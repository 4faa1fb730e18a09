// Package slots decides which devices are served now and which wait: admission by device.
//
// The unit is a device, never a connection. A slot is the right of one device to be served; a device holds it while one
// of its connections is being set up or has moved a byte within Linger. Capacity counts the devices that hold a slot. An
// open tunnel that is silent for longer costs nothing, which is how a site of 500 MFPs with idle push tunnels is served
// by a box with 50 slots.
//
// Per device (the states of [Snapshot]):
//
//	                     Connect                     last Close, no place kept
//	     (unknown) ------------------->  idle  ---------------------------------> (forgotten)
//	                                    |    ^
//	      SetUp or Move, a slot is free |    | Linger passed without a byte, or
//	      and nobody is in the queue    |    | set-up over without one; last Close
//	                                    v    |
//	   +------------------------------->  held  -- Move: stays held; never waits
//	   | its turn: first in the queue, or of those in their planned slot
//	   | and a slot is free
//	queued  <--- SetUp or Move, no slot is free --- idle
//	   |  ^
//	   |  | SetUp or Move within 2R: same place as before
//	   v  |
//	  away  --- 2R passed: place lost ---> idle or (forgotten)
//
// queued -> away: QueueTimeout passed; the caller got [Refused] with RetryAfter R. queued -> idle: every caller that
// waited has left (its context ended or its connection was closed); the place is free at once.
//
// What it promises:
//
//   - At no moment do more devices hold a slot than the capacity in force. When capacity falls (calendar or reload) no
//     holder is cut; nobody is granted until the count is below it.
//   - The queue is first come, first served, one place per device however many of its connections wait; when the device's
//     turn comes all of them go on. A device whose slot lapsed and that wants another goes to the tail, so nobody has two
//     turns while another waits for one, and nobody waits for more turns than devices stood before it. A free slot never
//     goes to a newcomer while somebody waits.
//   - The exception to arrival is the plan: of those who wait, devices in their planned slot have their turns before the
//     others, and among themselves by arrival. A slot that begins or ends while its device waits is noticed within a second.
//     Nobody starves: after three turns in a row that passed the first of the others, the next is its. So a device that came
//     behind B others sees at most 3(B+1) pass it, and one in its planned slot waits for at most a third more turns than
//     planned devices stood before it, rounded up. The plan cuts no holder, and keeps no slot free for who is not there.
//   - A wait ends after QueueTimeout with a RetryAfter R of whole seconds, estimated from the place in the queue and the
//     rate of turns seen, at least 1 s and at most QueueTimeout rounded up. The place is kept for 2R. No slot is kept
//     with it: those behind are served meanwhile.
//   - QueueLimit bounds the devices that wait to set up a connection; one more is refused at once. A device that returns
//     to a kept place and an established tunnel that moves again are not turned away by it: both were promised their turn.
//   - State is bounded by the open connections plus QueueLimit kept places (beyond, the place that would be lost soonest
//     is lost now). A device with neither connection nor place is forgotten.
//   - An idle gateway sleeps: Run arms a timer only while a device waits. Lapses and calendar steps that nobody waits for
//     are accounted when the next caller comes.
//
// How it fails: with *[Refused] (a stable reason and, for the queue, when to return), with [ErrClosed] when the connection
// was closed meanwhile, or with the context's error. It logs nothing and does no I/O.
//
// The hot path, [Conn.Move] of a device that holds a slot, takes no lock: one word per device carries "holds until T" and
// is advanced by compare-and-swap; taking a lapsed slot away is a compare-and-swap of the same word to zero, so whichever
// comes first wins and the other sees it. Everything else is under one mutex and costs O(log n) of the devices: lapses
// and kept places are heaps, and the queue is a list by arrival with a Fenwick tree that finds the first who is present
// and anyone's position.
package slots
