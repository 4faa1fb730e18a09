package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	roles "github.com/mfpgate/mfpgate/cloud/server/region"
	"github.com/mfpgate/mfpgate/store/journal"
)

const onUse = " --url URL --operator NAME --password-file F"

func movesCommand() *cobra.Command {
	return group("moves", "The moves of devices to the region", movesList(), movesShow(),
		movesAct(api.VerbAbort, "Take a move back that is not committed"),
		movesAct(api.VerbRetry, "Try a move's step again at once"),
		movesAct(api.VerbConfirmLost, "Give up waiting for a device that was moved"))
}

func movesList() *cobra.Command {
	list := &cobra.Command{Use: "list" + onUse, Short: "List the moves of every gateway, the newest first", Args: cobra.NoArgs}
	asJSON := list.Flags().Bool("json", false, "print the API's own objects")
	return onRegion(list, func(c *cobra.Command, r *remote, _ []string) error {
		all, err := whole[mfpgate.Move](c, r, "v1", "moves")
		if err != nil {
			return err
		}
		if *asJSON {
			return printJSON(c.OutOrStdout(), all)
		}
		table := newTable(c.OutOrStdout(), "ID", "GATEWAY", "MFP", "FROM", "TO", "EPOCH", "STATE", "STEP", "SINCE", "REASON")
		for _, m := range all.Items {
			table.row(string(m.ID), m.Gateway, m.MFP, m.From, m.To, strconv.FormatUint(m.Epoch, 10), string(m.State), string(m.Step), when(m.Since), string(m.Reason))
		}
		return table.Flush()
	})
}

func movesShow() *cobra.Command {
	return onRegion(&cobra.Command{Use: "show MOVE" + onUse, Short: "Show a move as the API has it", Args: cobra.ExactArgs(1)},
		func(c *cobra.Command, r *remote, args []string) error {
			var m mfpgate.Move
			if err := r.exchange(c.Context(), http.MethodGet, nil, nil, &m, nil, "v1", "moves", args[0]); err != nil {
				return err
			}
			return printJSON(c.OutOrStdout(), m)
		})
}

func movesAct(verb, short string) *cobra.Command {
	return onRegion(&cobra.Command{Use: verb + " MOVE" + onUse, Short: short, Args: cobra.ExactArgs(1)},
		func(c *cobra.Command, r *remote, args []string) error {
			var m mfpgate.Move
			if err := r.exchange(c.Context(), http.MethodPost, nil, nil, &m, nil, "v1", "moves", args[0], verb); err != nil {
				return err
			}
			_, err := fmt.Fprintf(c.OutOrStdout(), "%s is %s, step %s\n", m.ID, m.State, m.Step)
			return err
		})
}

func holdingsCommand() *cobra.Command {
	list := &cobra.Command{Use: "list" + onUse, Short: "List what the services hold of each device; --url is that of the services", Args: cobra.NoArgs}
	asJSON := list.Flags().Bool("json", false, "print the API's own objects")
	return group("holdings", "What the region's services hold", onRegion(list, func(c *cobra.Command, r *remote, _ []string) error {
		all, err := whole[mfpgate.Holding](c, r, "svc", "v1", "registrations")
		if err != nil {
			return err
		}
		if *asJSON {
			return printJSON(c.OutOrStdout(), all)
		}
		table := newTable(c.OutOrStdout(), "MFP", "STATE", "EPOCH", "SERVICES", "ITEMS", "BYTES", "TO", "MOVE", "LAST CHECK-IN")
		for _, h := range all.Items {
			var services []string
			for _, s := range h.Services {
				services = append(services, s.ID+suffix(s.Children))
			}
			items, bytes := 0, int64(0)
			for _, d := range h.Data {
				items, bytes = items+d.Items, bytes+d.Bytes
			}
			table.row(h.MFP, string(h.State), strconv.FormatUint(h.Epoch, 10), joined(services), strconv.Itoa(items), strconv.FormatInt(bytes, 10),
				h.To, string(h.Move), when(h.LastCheckIn))
		}
		return table.Flush()
	}))
}

func suffix(children []string) string {
	if len(children) == 0 {
		return ""
	}
	return "(" + strings.Join(children, ",") + ")"
}

func auditCommand() *cobra.Command {
	list := &cobra.Command{Use: "list ROOM" + onUse, Short: "List an audit chain, the newest first: management or services", Args: cobra.ExactArgs(1)}
	asJSON := list.Flags().Bool("json", false, "print the API's own objects")
	limit := list.Flags().Int("limit", 100, "entries, 500 at most")
	before := list.Flags().Uint64("before", 0, "only those before this number; 0: from the newest")
	verify := &cobra.Command{Use: "verify ROOM" + onUse, Short: "Tell whether an audit chain is whole", Args: cobra.ExactArgs(1)}
	return group("audit", "Who did what",
		onRegion(list, func(c *cobra.Command, r *remote, args []string) error {
			query := url.Values{"limit": {strconv.Itoa(*limit)}}
			if *before > 0 {
				query.Set("before", strconv.FormatUint(*before, 10))
			}
			var page api.Page[journal.Entry]
			if err := r.exchange(c.Context(), http.MethodGet, nil, nil, &page, query, "v1", "audit", args[0]); err != nil {
				return err
			}
			if *asJSON {
				return printJSON(c.OutOrStdout(), page)
			}
			table := newTable(c.OutOrStdout(), "SEQ", "TIME", "ACTOR", "ACTION", "OBJECT", "AFTER")
			for _, e := range page.Items {
				table.row(strconv.FormatUint(e.Seq, 10), when(e.Time), e.Actor, e.Action, e.Object, string(e.After))
			}
			return table.Flush()
		}),
		onRegion(verify, func(c *cobra.Command, r *remote, args []string) error {
			var page api.Page[roles.Chain]
			if err := r.exchange(c.Context(), http.MethodGet, nil, nil, &page, nil, "v1", "audit", args[0], "verify"); err != nil {
				return err
			}
			for _, chain := range page.Items {
				if chain.Wrong != "" {
					return fmt.Errorf("%s: entry %d is %s", chain.Writer, chain.Seq, chain.Wrong)
				}
				fmt.Fprintf(c.OutOrStdout(), "%s: %d entries, whole; the last has hash %s\n", chain.Writer, chain.Entries, chain.Hash)
			}
			return nil
		}))
}

// whole reads all pages of a list.
func whole[T any](c *cobra.Command, r *remote, path ...string) (api.Page[T], error) {
	all := api.Page[T]{Items: []T{}}
	for query := (url.Values{"limit": {"500"}}); ; {
		var page api.Page[T]
		if err := r.exchange(c.Context(), http.MethodGet, nil, nil, &page, query, path...); err != nil {
			return all, err
		}
		all.Items = append(all.Items, page.Items...)
		if page.NextCursor == "" {
			return all, nil
		}
		query.Set("cursor", page.NextCursor)
	}
}

func printJSON(w io.Writer, v any) error {
	out := json.NewEncoder(w)
	out.SetIndent("", "  ")
	return out.Encode(v)
}

// table prints rows whose texts may be anybody's: what devices and regions say must not move the cursor of a terminal.
type table struct{ *tabwriter.Writer }

func newTable(w io.Writer, titles ...string) table {
	t := table{tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
	t.row(titles...)
	return t
}

func (t table) row(texts ...string) {
	for i, text := range texts {
		texts[i] = strings.Map(func(r rune) rune {
			if unicode.IsPrint(r) {
				return r
			}
			return '?'
		}, text)
	}
	fmt.Fprintln(t, strings.Join(texts, "\t"))
}

func joined(list []string) string { return strings.Join(list, " ") }

func when(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format(time.RFC3339)
}
