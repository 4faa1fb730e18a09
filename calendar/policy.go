package calendar

import "fmt"

// Gap says when a local time runs that the clock skips.
type Gap uint8

// The gap rules, for 02:30 where the clock goes from 02:00 to 03:00.
const (
	GapNext  Gap = iota // at the first instant after the gap: 03:00
	GapSkip             // not at all
	GapShift            // as though the clock had not changed yet: 03:30 (RFC 5545 §3.3.5)
)

// Fold says when a local time runs that the clock shows twice.
type Fold uint8

// The fold rules.
const (
	FoldFirst  Fold = iota // at the first showing only
	FoldSecond             // at the last showing only
	FoldBoth               // at each showing
)

// Policy resolves local times that a clock change skips or repeats. The zero value loses nothing and repeats nothing.
type Policy struct {
	Gap  Gap
	Fold Fold
}

var (
	gapNames  = [...]string{GapNext: "next", GapSkip: "skip", GapShift: "shift"}
	foldNames = [...]string{FoldFirst: "first", FoldSecond: "second", FoldBoth: "both"}
)

// ParseGap reads "next", "skip" or "shift".
func ParseGap(s string) (Gap, error) {
	for i, name := range gapNames {
		if s == name {
			return Gap(i), nil
		}
	}
	return 0, fmt.Errorf("unknown gap rule %.32q; write next, skip or shift", s)
}

// ParseFold reads "first", "second" or "both".
func ParseFold(s string) (Fold, error) {
	for i, name := range foldNames {
		if s == name {
			return Fold(i), nil
		}
	}
	return 0, fmt.Errorf("unknown fold rule %.32q; write first, second or both", s)
}

// String writes the rule as ParseGap reads it.
func (g Gap) String() string {
	if int(g) < len(gapNames) {
		return gapNames[g]
	}
	return fmt.Sprintf("gap(%d)", g)
}

// String writes the rule as ParseFold reads it.
func (f Fold) String() string {
	if int(f) < len(foldNames) {
		return foldNames[f]
	}
	return fmt.Sprintf("fold(%d)", f)
}
