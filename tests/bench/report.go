package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
)

// ours is the name of what is measured in a round; every other name is a peer's.
const ours = "ours"

// target is a bound on a series: on the ratio of ours to a peer or, where peer is empty, on ours itself.
type target struct {
	peer  string
	bound float64
	least bool // ours must reach the bound; else it must not exceed it
}

func (t target) met(r result) bool {
	got, there := r.Ours, true
	if t.peer != "" {
		got, there = r.Ratio[t.peer]
	}
	if !there || math.IsNaN(got) {
		return false
	}
	if t.least {
		return got >= t.bound
	}
	return got <= t.bound
}

func (t target) String() string {
	sign := "<="
	if t.least {
		sign = ">="
	}
	if t.peer == "" {
		return fmt.Sprintf("%s %g", sign, t.bound)
	}
	return fmt.Sprintf("%s %g x %s", sign, t.bound, t.peer)
}

// series is one figure over the rounds.
type series struct {
	name, unit string
	targets    []target
	rounds     []map[string]float64 // by name
}

// put notes a figure of the round that runs.
func (s *series) put(round int, who string, value float64) {
	for len(s.rounds) <= round {
		s.rounds = append(s.rounds, map[string]float64{})
	}
	s.rounds[round][who] = value
}

// result is what bench.json says of a series.
type result struct {
	Name  string             `json:"name"`
	Unit  string             `json:"unit"`
	Ours  float64            `json:"ours"`
	Peers map[string]float64 `json:"peers"`
	Ratio map[string]float64 `json:"ratio"` // of ours to the peer's
}

func (s *series) result() result {
	values, ratios := map[string][]float64{}, map[string][]float64{}
	for _, round := range s.rounds {
		for who, v := range round {
			values[who] = append(values[who], v)
			if us, there := round[ours]; there && who != ours && v > 0 {
				ratios[who] = append(ratios[who], us/v)
			}
		}
	}
	r := result{Name: s.name, Unit: s.unit, Ours: median(values[ours]), Peers: map[string]float64{}, Ratio: map[string]float64{}}
	for who, v := range values {
		if who != ours {
			r.Peers[who] = median(v)
		}
	}
	for who, v := range ratios {
		r.Ratio[who] = median(v)
	}
	return r
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	v = slices.Sorted(slices.Values(v))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

func writeJSON(file string, all []*series) error {
	results := make([]result, 0, len(all))
	for _, s := range all {
		results = append(results, s.result())
	}
	text, err := json.MarshalIndent(results, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}

// writeTable prints every series with its targets, and reports whether all are met.
func writeTable(out io.Writer, all []*series) (good bool) {
	good = true
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "figure\tunit\tours (least..most)\tpeers (ours / peer)\ttargets")
	for _, s := range all {
		r := s.result()
		var beside, verdicts []string
		for _, who := range slices.Sorted(maps.Keys(r.Peers)) {
			beside = append(beside, fmt.Sprintf("%s %.3g (%.2f)", who, r.Peers[who], r.Ratio[who]))
		}
		for _, t := range s.targets {
			verdict := "pass"
			if !t.met(r) {
				verdict, good = "FAIL", false
			}
			verdicts = append(verdicts, t.String()+" "+verdict)
		}
		least, most := s.spread()
		fmt.Fprintf(w, "%s\t%s\t%.3g (%.3g..%.3g)\t%s\t%s\n", s.name, s.unit, r.Ours, least, most,
			strings.Join(beside, ", "), strings.Join(verdicts, ", "))
	}
	_ = w.Flush()
	return good
}

func (s *series) spread() (least, most float64) {
	least, most = math.Inf(1), math.Inf(-1)
	for _, round := range s.rounds {
		if v, there := round[ours]; there {
			least, most = min(least, v), max(most, v)
		}
	}
	return least, most
}
