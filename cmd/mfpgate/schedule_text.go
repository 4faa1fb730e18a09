package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
)

// printLines prints text that has lines of its own.
func (p *process) printLines(text string) error {
	for line := range strings.Lines(text) {
		if _, err := fmt.Fprintln(p.out, clean(strings.TrimSuffix(line, "\n"))); err != nil {
			return err
		}
	}
	return nil
}

// printPlan shows a plan in the contract's zone.
func printPlan(out io.Writer, s mfpgate.ScheduleSnapshot, p mfpgate.SchedulePlan) {
	zone, err := time.LoadLocation(s.Contract.TimeZone)
	if err != nil {
		zone = time.UTC
	}
	printBands(out, "overload", p.Bands, zone)
	if q := p.Proposal.Quality; p.Proposal.ID != "" {
		printChanges(out, p.Proposal, zone)
		fmt.Fprintf(out, "\n%s\n", quality(q))
		printBands(out, "overload left", p.BandsLeft, zone)
	}
	printLeftOut(out, p.LeftOut)
}

func printBands(out io.Writer, what string, bands []mfpgate.Band, zone *time.Location) {
	if len(bands) == 0 {
		fmt.Fprintf(out, "no %s\n", what)
		return
	}
	fmt.Fprintf(out, "%d %s\n", len(bands), plural(what, len(bands)))
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "FROM\tTO\tDEVICES\tCAPACITY\tSURE\tMUST MOVE")
	for _, b := range bands {
		sure := string(b.Certainty)
		if b.Certainty == mfpgate.OverloadRisk {
			sure = fmt.Sprintf("%s %.0f %%", b.Certainty, b.Probability*100)
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\t%d\n", clock(b.From, zone), clock(b.To, zone), b.Peak, b.Capacity, sure, b.MustMove)
	}
	_ = w.Flush() // as of any print
	for _, b := range bands {
		fmt.Fprintf(out, "  %s\n", clean(b.Text))
		if b.Certificate != nil {
			fmt.Fprintf(out, "    %s\n", clean(b.Certificate.Text))
		}
	}
}

func plural(what string, n int) string {
	if n == 1 {
		return what
	}
	first, rest, ok := strings.Cut(what, " ")
	if !ok {
		return what + "s"
	}
	return first + "s " + rest
}

func printChanges(out io.Writer, p mfpgate.Proposal, zone *time.Location) {
	if len(p.Changes) > 0 {
		fmt.Fprintf(out, "\n%d %s\n", len(p.Changes), plural("change", len(p.Changes)))
		w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "DELIVERY\tFROM\tTO\tBY\tREASON\tFOR")
		for _, c := range p.Changes {
			by, _ := api.Shift(c.To.Sub(c.From)).MarshalText() // it has no error
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", clean(c.Delivery), clock(c.From, zone), clock(c.To, zone), by, c.Code,
				clean(cmp.Or(c.FreedBy, "-")))
		}
		_ = w.Flush()
	}
	if len(p.Unresolved) > 0 {
		fmt.Fprintf(out, "\n%d unresolved\n", len(p.Unresolved))
		for _, u := range p.Unresolved {
			fmt.Fprintf(out, "  %s: %s (%s)\n", clean(u.Delivery), clean(u.Text), strings.Join(u.Options, ", "))
		}
	}
}

// quality says in a line what the proposal costs and how far it may be from the best.
func quality(q mfpgate.Quality) string {
	text := fmt.Sprintf("quality: %d unresolved (at least %d), %d moved (at least %d), by %s together (at least %s): ",
		q.Unresolved, q.UnresolvedBound, q.Moved, q.MovedBound, api.Duration(q.Displacement), api.Duration(q.DisplacementBound))
	if q.Optimal {
		return text + "the best there is"
	}
	return text + fmt.Sprintf("at most %.1f %% from the best", q.Gap*100)
}

func printLeftOut(out io.Writer, list []mfpgate.LeftOut) {
	if len(list) == 0 {
		return
	}
	counts := map[mfpgate.Reason]int{}
	var reasons []mfpgate.Reason
	for _, l := range list {
		if counts[l.Reason]++; counts[l.Reason] == 1 {
			reasons = append(reasons, l.Reason)
		}
	}
	slices.Sort(reasons)
	parts := make([]string, len(reasons))
	for i, r := range reasons {
		parts[i] = fmt.Sprintf("%d %s", counts[r], r)
	}
	fmt.Fprintf(out, "\nnot counted: %s\n", strings.Join(parts, ", "))
}

func clock(t time.Time, zone *time.Location) string {
	return t.In(zone).Format("2006-01-02 15:04:05 MST")
}
