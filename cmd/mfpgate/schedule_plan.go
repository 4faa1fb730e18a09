package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/calendar"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/scheduler/plan"
)

// longestBudget is what a plan may take at most.
const longestBudget = 10 * time.Minute

func (p *process) planSchedule() *cobra.Command {
	c := &cobra.Command{Use: "plan --snapshot FILE", Short: "Find the overloads of a snapshot, and new starts that remove them", Args: cobra.NoArgs,
		Long: "Find the overloads of a snapshot of a delivery schedule, and new starts that remove them.\n" +
			"It needs no daemon and no cloud: the same snapshot gives the same answer anywhere, to the byte."}
	file := c.Flags().String("snapshot", "", `the snapshot, as JSON; "-" is the standard input`)
	asJSON := c.Flags().Bool("json", false, "print the plan as JSON")
	explain := c.Flags().String("explain", "", "tell of one delivery, by its id, what was decided and why")
	budget := c.Flags().Duration("budget", time.Second, "how long to search at most, counted in steps of about a nanosecond")
	schema := c.Flags().Bool("schema", false, "print the JSON schemas of snapshot and plan")
	c.MarkFlagsOneRequired("snapshot", "schema")
	c.MarkFlagsMutuallyExclusive("json", "explain", "schema")
	c.MarkFlagsMutuallyExclusive("snapshot", "schema")
	c.RunE = func(*cobra.Command, []string) error {
		if *schema {
			return p.printJSON(map[string]json.RawMessage{"snapshot": api.SnapshotSchema(), "plan": api.PlanSchema()})
		}
		if *budget < time.Millisecond || *budget > longestBudget {
			return &exit{usage, fmt.Errorf("--budget %s: must be 1ms to %s", *budget, longestBudget)}
		}
		s, err := p.snapshot(*file)
		if err != nil {
			return err
		}
		made, err := plan.Make(s, plan.Options{Work: budget.Nanoseconds()})
		switch {
		case errors.Is(err, plan.ErrSnapshot):
			return &exit{usage, fmt.Errorf("%s: %w", *file, err)}
		case err != nil:
			return failed(err)
		case *asJSON:
			return p.printJSON(api.FromPlan(made))
		case *explain != "":
			text, err := plan.Explain(s, made, *explain)
			if err != nil {
				return &exit{usage, fmt.Errorf("--explain: %w", err)}
			}
			return p.printLines(text)
		}
		printPlan(p.out, s, made)
		return nil
	}
	return c
}

// snapshot reads a file, or the standard input.
func (p *process) snapshot(file string) (mfpgate.ScheduleSnapshot, error) {
	in := p.in
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return mfpgate.ScheduleSnapshot{}, &exit{usage, err}
		}
		defer func() { _ = f.Close() }() // it was only read
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, api.MaxSnapshot+1))
	if err != nil {
		return mfpgate.ScheduleSnapshot{}, &exit{usage, fmt.Errorf("read %s: %w", file, err)}
	}
	s, err := api.ReadSnapshot(data, calendar.Texts{})
	if err == nil {
		return s.Root(), nil
	}
	if faults, ok := errors.AsType[api.Faults](err); ok {
		for _, f := range faults {
			fmt.Fprintf(p.err, "%s: %s\n", file, clean(f.Error()))
		}
		return mfpgate.ScheduleSnapshot{}, &exit{code: usage}
	}
	return mfpgate.ScheduleSnapshot{}, &exit{usage, err}
}

// printJSON prints a document for other programs.
func (p *process) printJSON(doc any) error {
	out := json.NewEncoder(p.out)
	out.SetEscapeHTML(false)
	out.SetIndent("", "  ")
	return out.Encode(doc)
}
