package main

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
)

func backgroundCommand() *cobra.Command {
	return group("background", "Planned traffic of other services, from the running region", backgroundSet(), backgroundList(), backgroundDelete())
}

func backgroundSet() *cobra.Command {
	set := &cobra.Command{
		Use:  "set GATEWAY SERVICE (--cron C | --rrule R --local T | --start T) --duration 10m (--devices all | --concurrency N) --url URL --operator NAME --password-file F",
		Args: cobra.ExactArgs(2), Short: "Say when a service's traffic passes a gateway; it is not moved, and deliveries make room for it",
	}
	flags := set.Flags()
	var b api.BackgroundSchedule
	flags.StringVar(&b.Kind, "kind", "", "meterRead, logUpload, backup, telemetry")
	flags.StringVar(&b.Cron, "cron", "", "five fields, in the zone's time")
	flags.StringVar(&b.RRule, "rrule", "", "RFC 5545")
	flags.StringVar(&b.Local, "local", "", "where the rule begins, or the one time")
	flags.StringVar(&b.TimeZone, "zone", "", "IANA name; the contract's if empty")
	flags.IntVar(&b.Concurrency, "concurrency", 0, "devices at once, where it is not said which")
	start := flags.String("start", "", "once, in UTC: RFC 3339, or from now: +10m")
	devices := flags.StringSlice("devices", nil, "all, or the gateway's device ids")
	duration := flags.Duration("duration", 0, "of one device")
	jitter := flags.Duration("jitter", 0, "devices start up to this later")
	must(set.MarkFlagRequired("duration"))
	return onRegion(set, func(c *cobra.Command, r *remote, args []string) (err error) {
		b.ServiceID, b.Duration, b.Jitter, b.Devices = args[1], api.Duration(*duration), api.Duration(*jitter), *devices
		if b.StartUTC, err = instantFlag("start", *start, mfpgate.SystemClock{}.Now()); err != nil {
			return err
		}
		condition := map[string]string{"If-None-Match": "*"}
		etag, err := r.call(c.Context(), http.MethodGet, "", nil, nil, args[0], "background-schedules", args[1])
		var p *api.Problem
		switch {
		case err == nil:
			condition = map[string]string{"If-Match": etag}
		case !errors.As(err, &p) || p.Status != http.StatusNotFound:
			return err
		}
		_, err = r.send(c.Context(), http.MethodPut, condition, b, nil, nil, args[0], "background-schedules", args[1])
		return overloadText(err)
	})
}

func backgroundList() *cobra.Command {
	list := &cobra.Command{
		Use: "list GATEWAY --url URL --operator NAME --password-file F", Args: cobra.ExactArgs(1), Short: "Print a gateway's background schedules as JSON",
	}
	return onRegion(list, func(c *cobra.Command, r *remote, args []string) error {
		var page api.Page[api.BackgroundSchedule]
		if _, err := r.call(c.Context(), http.MethodGet, "", &page, nil, args[0], "background-schedules"); err != nil {
			return err
		}
		out := json.NewEncoder(c.OutOrStdout())
		out.SetIndent("", "  ")
		return out.Encode(page)
	})
}

func backgroundDelete() *cobra.Command {
	remove := &cobra.Command{
		Use: "delete GATEWAY SERVICE --url URL --operator NAME --password-file F", Args: cobra.ExactArgs(2), Short: "Forget a service's traffic",
	}
	return onRegion(remove, func(c *cobra.Command, r *remote, args []string) error {
		etag, err := r.call(c.Context(), http.MethodGet, "", nil, nil, args[0], "background-schedules", args[1])
		if err != nil {
			return err
		}
		_, err = r.call(c.Context(), http.MethodDelete, etag, nil, nil, args[0], "background-schedules", args[1])
		return err
	})
}
