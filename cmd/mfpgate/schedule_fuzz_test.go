package main

import (
	"encoding/json"
	"math/rand/v2"
	"testing"
)

// FuzzPlan holds that any bytes lead to a plan or to faults, never to a panic or to a plan that breaks its own rules.
func FuzzPlan(f *testing.F) {
	for seed := range uint64(8) {
		doc, err := json.Marshal(drawing{rand.New(rand.NewPCG(seed, 9))}.snapshot())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(doc)
	}
	f.Add([]byte(`{"now":"2026-10-24T22:00:00Z","contract":{},"deliveries":[]}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		if len(doc) > 16<<10 {
			return // a mutation that repeats itself costs time and shows nothing
		}
		code, out, stderr := planned(t, doc, "--json", "--budget", "1ms")
		switch {
		case code == done && json.Valid([]byte(out)) && stderr == "":
		case code == usage && out == "" && stderr != "":
		default:
			t.Fatalf("exit %d\n%s\n%s", code, stderr, out)
		}
	})
}
