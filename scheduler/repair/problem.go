package repair

// Span is a piece of time, half-open, in UTC milliseconds.
type Span struct{ From, To int64 }

// Step says how many devices there is room for from At until the next step: the capacity less what cannot move. It is
// negative where that alone exceeds the capacity.
type Step struct {
	At   int64 // UTC milliseconds
	Free int
}

// Job is one delivery that may be given another start. Instants are UTC milliseconds.
type Job struct {
	Start    int64 // where it is planned; staying there is always allowed, whatever First, Last and Closed say
	Duration int64 // milliseconds, more than 0
	// First and Last bound the other starts, inclusive: only multiples of Problem.Slot between them. First > Last: it can only stay.
	First, Last int64
	Closed      []Span // ascending, disjoint; at another start the job must not touch them
	Priority    int    // 0 to 9; of as many unresolved jobs, those of the lowest priorities remain
	Proposed    int64  // the start that was proposed for it before, which is dearer to change than to keep; 0: none
	Group       int    // jobs of one group share a customer; the fourth aim spreads moves over groups
}

// Problem is a set of jobs in overload and the room for them.
type Problem struct {
	Slot     int64  // milliseconds between the starts that may be proposed, which are multiples of it; at least 1000
	Capacity []Step // ascending; before the first step there is no room
	Jobs     []Job
	// Work bounds the search, in units of about a nanosecond of one core of 2026. It is counted and not timed, so that the same
	// problem has the same answer on any machine.
	Work int64
}

// Certificate proves that jobs must remain: wherever they are put, they need more of [From, To) than there is. Mostly they are those whose
// every allowed place lies in it, with all of their durations; if that proves more, also those that overlap it wherever they are
// put, with the least of their overlaps. Of a single job that has no place at all, Need is its duration and Have the most
// room in one piece.
type Certificate struct {
	Span
	Need, Have int64 // device-milliseconds
	AtLeast    int   // jobs that must remain
	Jobs       []int // those that it is about, ascending
}

// Result is where the jobs are to start. A job that is unresolved keeps its planned start, and takes no room from the others.
type Result struct {
	Starts       []int64 // by job
	Unresolved   []int   // ascending
	Moved        int
	Displacement int64 // milliseconds, the sum over the moved jobs
	LongestMove  int64 // milliseconds
	Bound        Bound
	// The first three aims are proved to be at their best. Where starts were proposed before, the third counts a slot for each
	// that is changed, too; Bound.Displacement may then be below Displacement all the same.
	Optimal      bool
	Certificates []Certificate // of jobs that must remain; they need not explain all of Bound.Unresolved
	Solver       string        // of which tiers the answer is: "flow", "exact", "search" or several, joined by +; empty if nothing was solved
}

// Bound is what no answer can be below.
type Bound struct {
	Unresolved   int   // it may exceed the sum of the certificates' AtLeast: an exact tier proves it by looking at all
	Moved        int   // of answers with as many unresolved as this one, of the same sum of priorities
	Displacement int64 // milliseconds; of answers that have as many moved, too
}
