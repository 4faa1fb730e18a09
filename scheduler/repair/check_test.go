package repair_test

import (
	"errors"
	"testing"

	"github.com/mfpgate/mfpgate/scheduler/repair"
)

func checkProblem() repair.Problem {
	return repair.Problem{
		Slot:     1000,
		Capacity: []repair.Step{{At: 0, Free: 1}, {At: 8000, Free: -1}},
		Jobs: []repair.Job{
			{Start: 1500, Duration: 2000, First: 0, Last: 6000, Closed: []repair.Span{{From: 4000, To: 4500}}},
			{Start: 1500, Duration: 1000, First: 0, Last: 9000},
		},
	}
}

func TestCheckRefuses(t *testing.T) {
	if err := checkProblem().Check(); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		rule  string
		spoil func(p *repair.Problem)
	}{
		{"slots below a second", func(p *repair.Problem) { p.Slot = 999 }},
		{"work below nothing", func(p *repair.Problem) { p.Work = -1 }},
		{"capacity steps at the same instant", func(p *repair.Problem) { p.Capacity[1].At = 0 }},
		{"instants before 1970", func(p *repair.Problem) { p.Jobs[0].Start = -1 }},
		{"instants too far off", func(p *repair.Problem) { p.Jobs[0].Last = 1<<42 + 1 }},
		{"jobs that take no time", func(p *repair.Problem) { p.Jobs[0].Duration = 0 }},
		{"priorities above 9", func(p *repair.Problem) { p.Jobs[0].Priority = 10 }},
		{"empty closed spans", func(p *repair.Problem) { p.Jobs[0].Closed[0].To = 4000 }},
		{"closed spans that overlap", func(p *repair.Problem) {
			p.Jobs[0].Closed = append(p.Jobs[0].Closed, repair.Span{From: 4499, To: 4600})
		}},
		{"more slots than fit into memory", func(p *repair.Problem) { p.Jobs[0].Last = 1000 << 22 }},
		{"more jobs than can be summed", func(p *repair.Problem) { p.Jobs = make([]repair.Job, 1<<20+1) }},
	} {
		t.Run(test.rule, func(t *testing.T) {
			p := checkProblem()
			test.spoil(&p)
			if err := p.Check(); !errors.Is(err, repair.ErrProblem) {
				t.Errorf("got %v", err)
			}
			if got := repair.Solve(p); len(got.Unresolved) != len(p.Jobs) {
				t.Errorf("%d of %d jobs unresolved", len(got.Unresolved), len(p.Jobs))
			}
		})
	}
}

func TestFeasibleRefuses(t *testing.T) {
	for _, test := range []struct {
		rule   string
		result repair.Result
		ok     bool
	}{
		{"nothing that is right", repair.Result{Starts: []int64{2000, 0}, Moved: 2, Displacement: 2000, LongestMove: 1500}, true},
		{"no unresolved job where it is planned", repair.Result{Starts: []int64{1500, 1500}, Unresolved: []int{1}}, true},
		{"more devices than there is room for", repair.Result{Starts: []int64{1500, 1500}}, false},
		{"a device where there is no room at all", repair.Result{Starts: []int64{1500, 8000}, Moved: 1, Displacement: 6500, LongestMove: 6500}, false},
		{"no job that ends when the room does", repair.Result{Starts: []int64{6000, 0}, Unresolved: []int{}, Moved: 2, Displacement: 6000, LongestMove: 4500}, true},
		{"a start between slots", repair.Result{Starts: []int64{2500, 1500}, Moved: 1, Displacement: 1000, LongestMove: 1000}, false},
		{"a start that touches a closed span", repair.Result{Starts: []int64{3000, 1500}, Moved: 1, Displacement: 1500, LongestMove: 1500}, false},
		{"a start after the last", repair.Result{Starts: []int64{7000, 1500}, Moved: 1, Displacement: 5500, LongestMove: 5500}, false},
		{"an unresolved job that moved", repair.Result{Starts: []int64{1500, 4000}, Unresolved: []int{1}, Moved: 1, Displacement: 2500, LongestMove: 2500}, false},
		{"moves counted wrong", repair.Result{Starts: []int64{1500, 4000}, Moved: 1, Displacement: 2499, LongestMove: 2500}, false},
		{"unresolved jobs that are none", repair.Result{Starts: []int64{1500, 1500}, Unresolved: []int{1, 2}}, false},
		{"too few starts", repair.Result{Starts: []int64{1500}}, false},
	} {
		t.Run(test.rule, func(t *testing.T) {
			err := repair.Feasible(checkProblem(), test.result)
			if test.ok != (err == nil) || err != nil && !errors.Is(err, repair.ErrInfeasible) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestFeasibleRefusesAJobOverTheEndOfTheRoom(t *testing.T) {
	p := checkProblem()
	p.Jobs[0].Last = 7000
	got := repair.Result{Starts: []int64{7000, 1500}, Moved: 1, Displacement: 5500, LongestMove: 5500}
	if err := repair.Feasible(p, got); !errors.Is(err, repair.ErrInfeasible) {
		t.Errorf("a job over the end of the room: %v", err)
	}
}
