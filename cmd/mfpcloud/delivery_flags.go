package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate/cloud/api"
)

// instantFlag reads RFC 3339, or a time from now: +10m.
func instantFlag(name, text string, now time.Time) (*time.Time, error) {
	if text == "" {
		return nil, nil
	}
	if later, ok := strings.CutPrefix(text, "+"); ok {
		d, err := time.ParseDuration(later)
		if err != nil {
			return nil, fmt.Errorf("%s %q: must be RFC 3339, or a time from now such as +10m", name, text)
		}
		t := now.Add(d).UTC().Truncate(time.Second)
		return &t, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return nil, fmt.Errorf("%s %q: must be RFC 3339, or a time from now such as +10m", name, text)
	}
	t = t.UTC()
	return &t, nil
}

func startFlag(d *api.Delivery, text string, now time.Time) (err error) {
	d.Schedule.StartUTC, err = instantFlag("start", text, now)
	if err == nil && (text == "") == (d.Schedule.Local == "") {
		err = fmt.Errorf("start: give --start or --local, and not both")
	}
	return err
}

func windowFlag(d *api.Delivery, text string, now time.Time) error {
	if text == "" {
		return nil
	}
	from, to, ok := strings.Cut(text, "/")
	if !ok {
		return fmt.Errorf("window %q: must be FROM/TO", text)
	}
	earliest, err := instantFlag("window", from, now)
	if err != nil {
		return err
	}
	latest, err := instantFlag("window", to, now)
	d.Window = &api.StartWindow{EarliestStart: earliest, LatestEnd: latest}
	return err
}

func durationFlag(d *api.Delivery, text string) error {
	if text == "" {
		return nil
	}
	half, most, ok := strings.Cut(text, "/")
	if !ok {
		most = half
	}
	p50, err50 := time.ParseDuration(half)
	p95, err95 := time.ParseDuration(most)
	if err50 != nil || err95 != nil || p50 <= 0 || p95 < p50 {
		return fmt.Errorf("duration %q: must be p95, or p50/p95, such as 9m/16m", text)
	}
	d.Duration = &api.Estimate{P50: api.Duration(p50), P95: api.Duration(p95), Basis: "assumed"}
	return nil
}

func retryFlag(d *api.Delivery, text string) error {
	if text == "" {
		return nil
	}
	times, every, ok := strings.Cut(text, "x")
	n, err := strconv.Atoi(times)
	interval, err2 := time.ParseDuration(every)
	if !ok || err != nil || err2 != nil || n < 1 || interval <= 0 {
		return fmt.Errorf("retry %q: must be TIMESxINTERVAL, such as 2x6h", text)
	}
	d.Retry = &api.Retry{Max: n, Interval: api.Duration(interval)}
	return nil
}
