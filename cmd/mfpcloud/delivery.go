package main

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
)

// maxPlan bounds a file of deliveries, and sentTogether what is sent of it at once.
const (
	maxPlan      = 256 << 20
	sentTogether = 500
)

func deliveryCommand() *cobra.Command {
	return group("delivery", "Planned software, from the running region", deliveryAdd(), deliveryList(), deliveryCancel())
}

func deliveryAdd() *cobra.Command {
	add := &cobra.Command{
		Use: "add GATEWAY --device D --package P (--local T --zone Z | --start T) [flags] --url URL --operator NAME --password-file F", Args: cobra.ExactArgs(1),
		Short: "Plan deliveries and print their ids; those of one command are refused together, a file's by five hundred",
	}
	flags := add.Flags()
	file := flags.String("file", "", "JSON list of deliveries, or an object with items, in place of the other flags; - for standard input")
	devices := flags.StringSlice("device", nil, "the gateway's id of a device; several by commas, or again")
	var d api.Delivery
	flags.StringVar(&d.PackageID, "package", "", "what to install; without one the delivery is planned and nothing comes of it")
	flags.StringVar(&d.BatchID, "batch", "", "a name for deliveries that are planned together")
	flags.StringVar(&d.Kind, "kind", "", "firmware, application, licence or settings")
	flags.StringVar(&d.Schedule.Local, "local", "", "start as a clock on the wall shows it, 2026-12-02T02:00:00")
	flags.StringVar(&d.Schedule.TimeZone, "zone", "", "whose clock, such as Asia/Tokyo; the contract's if empty")
	flags.StringVar(&d.Schedule.Gap, "gap", "", "of a time that the clock skips: next, skip or shift")
	flags.StringVar(&d.Schedule.Fold, "fold", "", "of a time that the clock shows twice: first, second or both")
	flags.StringVar(&d.Schedule.RRule, "rrule", "", "recurs: RFC 5545, begins at --local")
	flags.IntVar(&d.Priority, "priority", 0, "0 to 9, higher is more urgent")
	start := flags.String("start", "", "start in UTC, RFC 3339, or from now: +10m")
	window := flags.String("window", "", "earliest start and latest end: FROM/TO, each RFC 3339 or from now, either may be missing: +0s/+6h")
	duration := flags.String("duration", "", "expected: p95, or p50/p95, such as 9m/16m")
	pinned := flags.String("pinned", "", "why the gateway may not move it; empty: it may")
	retry := flags.String("retry", "", "what the device does after a failure: TIMESxINTERVAL, such as 2x6h")
	allow := flags.Bool("allow-overload", false, "plan it although the gateway is overloaded then")
	return onRegion(add, func(c *cobra.Command, r *remote, args []string) error {
		now := mfpgate.SystemClock{}.Now
		var list []api.Delivery
		var err error
		if *file != "" {
			list, err = readDeliveries(c.InOrStdin(), *file)
		} else {
			err = errors.Join(startFlag(&d, *start, now()), windowFlag(&d, *window, now()), durationFlag(&d, *duration), retryFlag(&d, *retry))
			if *pinned != "" {
				d.Movable, d.PinnedReason = new(bool), *pinned
			}
			if len(*devices) == 0 {
				err = errors.Join(err, errors.New("device: at least one, or --file"))
			}
			for _, id := range *devices {
				one := d
				one.DeviceID = id
				list = append(list, one)
			}
		}
		if err != nil {
			return err
		}
		query := url.Values{}
		if *allow {
			query.Set("allowOverload", "true")
		}
		for some := range slices.Chunk(list, sentTogether) {
			var created api.Page[api.Delivery]
			body := map[string]any{"items": some}
			if _, err := r.send(c.Context(), http.MethodPost, map[string]string{"Idempotency-Key": rand.Text()}, body, &created, query, args[0], "deliveries:batch"); err != nil {
				return overloadText(err)
			}
			for _, d := range created.Items {
				fmt.Fprintln(c.OutOrStdout(), d.DeliveryID)
			}
		}
		return nil
	})
}

// overloadText adds to a refusal what it says of overloads.
func overloadText(err error) error {
	var p *api.Problem
	if !errors.As(err, &p) {
		return err
	}
	lines := []string{p.Error()}
	for _, e := range p.Errors {
		lines = append(lines, "  "+e.Pointer+": "+e.Code)
	}
	for _, b := range p.Bands {
		lines = append(lines, "  overload: "+printable(b.Text))
	}
	for _, a := range p.Alternatives {
		lines = append(lines, "  possible: "+a.StartUTC.UTC().Format(time.RFC3339))
	}
	return errors.New(strings.Join(lines, "\n"))
}

func readDeliveries(stdin io.Reader, file string) (list []api.Delivery, err error) {
	in := stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, maxPlan))
	if err != nil {
		return nil, err
	}
	if json.Unmarshal(data, &list) == nil {
		return list, nil
	}
	var page api.Page[api.Delivery]
	if err := json.Unmarshal(data, &page); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return page.Items, nil
}

func deliveryList() *cobra.Command {
	list := &cobra.Command{
		Use: "list GATEWAY --url URL --operator NAME --password-file F", Args: cobra.ExactArgs(1),
		Short: "List the deliveries of a gateway's relayed devices, and of those behind it",
	}
	all := list.Flags().Bool("all", false, "those too that are over")
	asJSON := list.Flags().Bool("json", false, "print the API's own objects")
	return onRegion(list, func(c *cobra.Command, r *remote, args []string) error {
		out := api.Deliveries{Items: []api.Delivery{}, Removed: []string{}, Whole: true}
		for query := (url.Values{"limit": {"500"}, "finished": {fmt.Sprint(*all)}}); ; {
			var page api.Deliveries
			if _, err := r.call(c.Context(), http.MethodGet, "", &page, query, args[0], "deliveries"); err != nil {
				return err
			}
			out.Items = append(out.Items, page.Items...)
			if out.DeltaToken = page.DeltaToken; page.NextCursor == "" {
				break
			}
			query.Set("cursor", page.NextCursor)
		}
		if *asJSON {
			enc := json.NewEncoder(c.OutOrStdout())
			enc.SetIndent("", "  ")
			return enc.Encode(out)
		}
		slices.SortStableFunc(out.Items, func(a, b api.Delivery) int { return startOf(a).Compare(startOf(b)) })
		table := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "ID\tDEVICE\tVIA\tBATCH\tSTART\tLOCAL\tSTATE\tREASON\tVERSION")
		for _, d := range out.Items {
			row := []string{d.DeliveryID, d.DeviceID, d.ViaGatewayID, d.BatchID, startOf(d).Format(time.RFC3339),
				strings.TrimSpace(d.Schedule.Local + " " + d.Schedule.TimeZone), cmp.Or(d.State, "planned"), d.Reason, string(d.Version)}
			for i, cell := range row {
				row[i] = printable(cell)
			}
			fmt.Fprintln(table, strings.Join(row, "\t"))
		}
		return table.Flush()
	})
}

func startOf(d api.Delivery) time.Time {
	if d.Schedule.StartUTC == nil {
		return time.Time{}
	}
	return d.Schedule.StartUTC.UTC()
}

func deliveryCancel() *cobra.Command {
	cancel := &cobra.Command{
		Use: "cancel GATEWAY DELIVERY --url URL --operator NAME --password-file F", Args: cobra.ExactArgs(2), Short: "Cancel a delivery that has not begun",
	}
	return onRegion(cancel, func(c *cobra.Command, r *remote, args []string) error {
		var d api.Delivery
		etag, err := r.call(c.Context(), http.MethodGet, "", &d, nil, args[0], "deliveries", args[1])
		if err != nil {
			return err
		}
		d.State = "cancelled"
		_, err = r.send(c.Context(), http.MethodPut, map[string]string{"If-Match": etag}, d, nil, nil, args[0], "deliveries", args[1])
		return err
	})
}
