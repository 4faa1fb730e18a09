// Package plan turns a snapshot of a gateway's schedule into its overloads and the new starts that remove them.
//
// [Detect] says where more devices are planned than can be served, [Make] which deliveries should start when instead,
// [Explain] why, and [Timeline], [Alternatives] and [Capacity] what people look at and choose from. All are pure functions of
// the snapshot: no clock, no map order, no order of the lists in it; the same snapshot gives the same answer, on any machine.
//
// # What counts
//
// The unit is a device: it counts once at a time, whatever it does. A delivery holds its slot from its start for the time
// that nineteen of twenty do not exceed (p95); [Estimate] says what is assumed where that is unknown. A running one has
// begun, and holds its slot for one slot of time more at least. A service's devices hold theirs from the earliest start to the
// latest end that its jitter allows. A service that says how many devices come at once, and not which, takes that many
// besides all others; one that says nothing takes one. What a device may do after a failure is not counted.
//
// A local time outranks an instant, in its own zone, the contract's or UTC. Fold "both" gives two starts to a rule and one, the
// first, to what comes once. A device behind an inner gateway counts as well, for its bytes pass through both.
//
// # What may move
//
// Planned deliveries that come once, are not pinned, and start after the lead time. Their new starts are multiples of the
// slot, after the lead time, inside their windows, off their blackouts, no farther than the longest move, and their ends
// inside the horizon. What overloads nothing that is reported (Contract.NotifyMinExcess) is left alone. A delivery that finds no
// place keeps its start; others are planned as though it were not there, and it counts in the bands that are left.
//
// # Refusals
//
// A snapshot that is not well written is refused whole with [ErrSnapshot], a delivery's own schedule excepted: that delivery
// is left out with a reason. A horizon is at most 400 days, and expands to at most four million occurrences. Every answer is held
// against the load anew before it is returned: a repair that would break a rule is an error, and no answer.
package plan
