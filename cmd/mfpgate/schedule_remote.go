package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/daemon/control"
)

func (p *process) showSchedule(c *cobra.Command) {
	r := p.remote(c).shows(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		var s control.Schedule
		return r.show(c.Context(), "schedule", &s, func(w io.Writer) { printSchedule(w, s, p.clock.Now()) })
	}
}

func (p *process) overloads() *cobra.Command {
	c := &cobra.Command{Use: "overloads", Short: "List the times in which more devices are planned than can be served", Args: cobra.NoArgs}
	r := p.remote(c).shows(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		var s control.Schedule
		text, err := r.call(c.Context(), http.MethodGet, "schedule", nil)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(text, &s); err != nil {
			return &exit{refused, fmt.Errorf("the daemon's answer: %w", err)}
		}
		if *r.json { // a list as all lists are
			return json.NewEncoder(p.out).Encode(map[string][]api.Band{"items": s.Bands})
		}
		printBands(p.out, "overload", roots(s.Bands), time.Local)
		if s.ProposalID != "" && len(s.Bands) > 0 {
			printBands(p.out, "overload left with the proposal", roots(s.BandsAfter), time.Local)
		}
		return nil
	}
	return c
}

func (p *process) proposeSchedule() *cobra.Command {
	c := &cobra.Command{Use: "propose", Short: "Plan now, and propose new starts that remove the overloads", Args: cobra.NoArgs}
	r := p.remote(c).shows(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		text, err := r.call(c.Context(), http.MethodPost, "schedule/propose", nil)
		return r.proposal(text, err)
	}
	return c
}

func (p *process) applySchedule() *cobra.Command {
	c := &cobra.Command{Use: "apply [PROPOSAL]", Short: "Have the present proposal applied now; the contract's mode must be auto", Args: cobra.MaximumNArgs(1)}
	r := p.remote(c).shows(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		id := ""
		if len(args) == 1 {
			id = args[0]
		} else {
			text, err := r.call(c.Context(), http.MethodGet, "schedule/proposal", nil)
			if err != nil {
				return err
			}
			var present control.Proposal
			if err := json.Unmarshal(text, &present); err != nil {
				return &exit{refused, fmt.Errorf("the daemon's answer: %w", err)}
			}
			if id = present.ID; id == "" {
				return &exit{refused, fmt.Errorf("there is no proposal; make one with `mfpgate schedule propose`")}
			}
		}
		text, err := r.call(c.Context(), http.MethodPost, "schedule/apply", map[string]string{"proposalId": id})
		return r.proposal(text, err)
	}
	return c
}

// proposal prints what a proposal came to.
func (r *remote) proposal(text []byte, err error) error {
	if err != nil {
		return err
	}
	if *r.json {
		_, err := fmt.Fprintln(r.process.out, string(bytes.TrimSpace(text)))
		return err
	}
	var p control.Proposal
	if err := json.Unmarshal(text, &p); err != nil {
		return &exit{refused, fmt.Errorf("the daemon's answer: %w", err)}
	}
	printProposal(r.process.out, p)
	return nil
}

func roots(bands []api.Band) []mfpgate.Band {
	out := make([]mfpgate.Band, len(bands))
	for i, b := range bands {
		out[i] = b.Root()
	}
	return out
}

func printSchedule(out io.Writer, s control.Schedule, now time.Time) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%s\t%s\n", name, clean(fmt.Sprintf(format, args...)))
	}
	at := func(t time.Time) string {
		if t.IsZero() {
			return "never"
		}
		return clock(t, time.Local)
	}
	line("mode", "%s", s.Mode)
	if s.Why != "" {
		line("in force", "%s: %s", s.Effective, s.Why)
	}
	if s.Idle != "" {
		line("idle", "%s: %s", s.Idle, s.IdleText)
	}
	line("planned", "%s", at(s.Planned))
	line("fetched", "%s", at(s.Fetched))
	if !s.Next.IsZero() {
		line("next", "%s, in %s", at(s.Next), s.Next.Sub(now).Round(time.Second))
	}
	line("deliveries", "%d, %d left out; %d background schedules", s.Deliveries, s.LeftOut, s.Background)
	line("planned now", "%d devices at once", s.PlannedNow)
	line("overloads", "%d", len(s.Bands))
	if s.ProposalID != "" {
		line("proposal", "%s, %s; with it %d %s left", s.ProposalID, s.ProposalState, len(s.BandsAfter), plural("overload", len(s.BandsAfter)))
	}
	if s.Report.Refused != "" {
		line("REFUSED", "the report: %s", s.Report.Refused)
	}
	if s.Error != "" {
		line("FAILED", "%s", s.Error)
	}
	_ = w.Flush()
}

func printProposal(out io.Writer, p control.Proposal) {
	fmt.Fprintf(out, "%s: %s\n", clean(p.ID), cmp.Or(p.State, "there is none"))
	if p.Refused != "" {
		fmt.Fprintf(out, "refused: %s\n", clean(p.Refused))
	}
	if len(p.Changes) > 0 {
		w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "DELIVERY\tDEVICE\tFROM\tTO\tSTATE")
		for _, c := range p.Changes {
			state := c.State
			if c.Outcome != "" {
				state += ": " + c.Outcome
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", clean(c.DeliveryID), clean(cmp.Or(c.DeviceName, string(c.Device), "-")), clock(c.From, time.Local),
				clock(c.To, time.Local), clean(state))
		}
		_ = w.Flush()
	}
	for _, u := range p.Unresolved {
		fmt.Fprintf(out, "unresolved: %s: %s\n", clean(u.DeliveryID), clean(u.Reason))
	}
}
