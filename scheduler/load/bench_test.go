package load_test

import (
	"fmt"
	"sort"
	"testing"

	"github.com/mfpgate/mfpgate/scheduler/load"
	"github.com/mfpgate/mfpgate/scheduler/load/loadtest"
)

// BenchmarkDetect prints what an occurrence costs from its rule to the bands, beside what sorting its two events by
// comparison alone costs in the same run.
func BenchmarkDetect(b *testing.B) {
	for _, n := range []int{1_000, 10_000, 100_000, 1_000_000} {
		fleet := loadtest.New(1, n)
		p := fleet.Expand()
		n := len(p.Occurrences)
		per := func(b *testing.B) {
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/occurrence")
		}
		b.Run(fmt.Sprintf("expand/%d", n), func(b *testing.B) {
			for b.Loop() {
				fleet.Expand()
			}
			per(b)
		})
		// Without overload, with it in some peaks, and in most of them.
		for _, room := range []int{100, 4, 3, 2} {
			p := p
			p.Capacity = nil
			for _, s := range fleet.Problem.Capacity {
				p.Capacity = append(p.Capacity, load.Step{At: s.At, Devices: s.Devices * room / 4})
			}
			b.Run(fmt.Sprintf("detect/room%d/%d", room, n), func(b *testing.B) {
				b.ReportAllocs()
				bands, hits := 0, 0
				for b.Loop() {
					list, err := load.Detect(p)
					if err != nil {
						b.Fatal(err)
					}
					bands, hits = len(list), 0
					for _, band := range list {
						for _, c := range band.Contributors {
							hits += c.Count
						}
					}
				}
				per(b)
				b.ReportMetric(float64(bands), "bands")
				b.ReportMetric(float64(hits)/float64(n), "hits/occurrence")
			})
		}
		b.Run(fmt.Sprintf("sort.Slice/%d", n), func(b *testing.B) {
			type event struct {
				at    int64
				delta int32
			}
			for b.Loop() {
				events := make([]event, 0, 2*n)
				for _, o := range p.Occurrences {
					events = append(events, event{o.Start, 1}, event{o.Start + int64(o.Duration), -1})
				}
				sort.Slice(events, func(i, j int) bool { return events[i].at < events[j].at })
			}
			per(b)
		})
	}
}
