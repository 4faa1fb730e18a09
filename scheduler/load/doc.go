// Package load says when more devices will be served at once than there is room for: from occurrences to overload bands.
//
// The unit of load is a device, not a connection: what overlaps on one device counts once. All instants are UTC
// milliseconds and all intervals half-open. [Detect] is exact in these units: bands, peaks, excess and contributors are what
// counting every millisecond would give. [NewTimeline] gives the same load as a series for charts, [Expand] makes
// occurrences from a recurrence.
//
// # What is estimated
//
// A job is planned until its p95 end and is likely until its p50 end. A band is certain where the likely load alone exceeds
// the capacity. Elsewhere it is a risk, and its probability takes each job as running for certain until its p50 end, from
// there with the log-normal survival through p50 and p95, and not at all from its planned end on; jobs as independent; and
// a group of anonymous devices as ending together. The load is then a sum of independent variables, and its probability of
// exceeding the capacity is that at the worst instant of the band: exactly, where the jobs beyond their p50 end times the
// devices there is room for among them are up to 1024, and by the normal approximation with continuity correction where they
// are more (within 0.01 in tests). In a band with so many starts and jobs that more than 262,144 pairs of them would have to be
// looked at, some of its instants are, evenly spaced, at least 64. MustLeave is a lower bound where occurrences of one device
// overlap, and exact where none do.
//
// # Refusals
//
// A [Problem] whose parts do not fit one another is refused with [ErrProblem] and nothing is corrected silently. What is not in
// the horizon is cut off at its ends, and an occurrence that lasts no time is no load. It is a pure function: no clock, no
// goroutine, no map order; the same problem gives the same bands. Input from outside must be bounded in number by the
// caller; time and memory grow in proportion to it, and to the sum over bands of the occurrences in them.
package load
