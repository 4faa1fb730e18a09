package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/mfpgate/mfpgate/daemon/control"
)

func (p *process) audit() *cobra.Command {
	c := &cobra.Command{Use: "audit", Short: "Show what was decided and done, and whether anybody has changed that record", Args: cobra.NoArgs}
	p.listAudit(c)
	list := &cobra.Command{Use: "list", Short: "List what was decided and done, by whom, the newest first", Args: cobra.NoArgs}
	p.listAudit(list)
	c.AddCommand(list, p.verifyAudit())
	return c
}

func (p *process) listAudit(c *cobra.Command) {
	r := p.remote(c).shows(c)
	room := c.Flags().String("room", "", "one room's entries; by default the newest of all")
	before := c.Flags().Uint64("before", 0, "entries of the room before this number")
	limit := c.Flags().Int("limit", 100, "entries at most, 1 to 1000")
	c.RunE = func(c *cobra.Command, _ []string) error {
		switch {
		case *limit < 1 || *limit > control.MaxAudit:
			return &exit{usage, fmt.Errorf("--limit takes 1 to %d", control.MaxAudit)}
		case *before > 0 && *room == "":
			return &exit{usage, fmt.Errorf("--before needs --room: each room has its own numbers")}
		}
		query := url.Values{"limit": {strconv.Itoa(*limit)}}
		if *room != "" {
			query.Set("room", *room)
		}
		if *before > 0 {
			query.Set("before", strconv.FormatUint(*before, 10))
		}
		text, err := r.ask(c.Context(), http.MethodGet, "audit", query, nil)
		if err != nil {
			return err
		}
		if *r.json {
			_, err := fmt.Fprintln(p.out, string(bytes.TrimSpace(text)))
			return err
		}
		var entries struct{ Items []control.AuditEntry }
		if err := json.Unmarshal(text, &entries); err != nil {
			return &exit{refused, fmt.Errorf("the daemon's answer: %w", err)}
		}
		printAudit(p.out, entries.Items)
		return nil
	}
}

func printAudit(out io.Writer, list []control.AuditEntry) {
	rows := [][]string{{"TIME", "ROOM", "NUMBER", "WHO", "WHAT", "OF", "DETAIL"}}
	for _, e := range list {
		rows = append(rows, []string{e.Time.Local().Format(time.DateTime), clean(e.Room), strconv.FormatUint(e.Seq, 10), clean(e.Actor), clean(e.Action),
			clean(e.Object), clean(cmp.Or(e.Detail, "-"))})
	}
	printTable(out, rows, nil) // nothing of an audit is cut
}

func (p *process) verifyAudit() *cobra.Command {
	c := &cobra.Command{Use: "verify", Short: "Look at every entry of every chain; fail if one was changed, taken out or put in", Args: cobra.NoArgs,
		Long: "Look at every entry of every chain; fail if one was changed, taken out or put in.\nWho can write the store can write a whole chain anew: keep the hashes elsewhere, and compare."}
	r := p.remote(c).shows(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		text, err := r.call(c.Context(), http.MethodGet, "audit/verify", nil)
		if err != nil {
			return err
		}
		var report control.AuditReport
		if err := json.Unmarshal(text, &report); err != nil {
			return &exit{refused, fmt.Errorf("the daemon's answer: %w", err)}
		}
		if *r.json {
			fmt.Fprintln(p.out, string(bytes.TrimSpace(text)))
		} else {
			for _, chain := range report.Chains {
				fmt.Fprintf(p.out, "%s/%s: %d entries, up to %s\n", clean(chain.Gateway), clean(chain.Room), chain.Entries, clean(chain.Hash))
			}
			if len(report.Chains) == 0 {
				fmt.Fprintln(p.out, "no entries yet")
			}
		}
		for _, chain := range report.Chains {
			if chain.Wrong != "" {
				fmt.Fprintf(p.err, "mfpgate: %s/%s: entry %d: %s\n", clean(chain.Gateway), clean(chain.Room), chain.Seq, clean(chain.Wrong))
			}
		}
		if !report.Right {
			return &exit{code: refused}
		}
		return nil
	}
	return c
}
