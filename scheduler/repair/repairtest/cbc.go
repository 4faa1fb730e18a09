package repairtest

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate/scheduler/repair"
)

// Objective is what an answer is worth, by aim.
type Objective struct {
	Unresolved, Priority, Moved int
	Distance                    int64 // milliseconds: the displacement, and a slot for each move to another start than the one proposed
}

// Less says whether o is better than p.
func (o Objective) Less(p Objective) bool {
	switch {
	case o.Unresolved != p.Unresolved:
		return o.Unresolved < p.Unresolved
	case o.Priority != p.Priority:
		return o.Priority < p.Priority
	case o.Moved != p.Moved:
		return o.Moved < p.Moved
	}
	return o.Distance < p.Distance
}

// ObjectiveOf computes what an answer is worth from its starts alone, and fails if it breaks a job's bounds or the capacity.
func ObjectiveOf(p repair.Problem, r repair.Result) (Objective, error) {
	var o Objective
	out := make(map[int]bool)
	for _, i := range r.Unresolved {
		out[i] = true
	}
	if len(r.Starts) != len(p.Jobs) {
		return o, fmt.Errorf("%d starts of %d jobs", len(r.Starts), len(p.Jobs))
	}
	var events []event
	for i, job := range p.Jobs {
		start := r.Starts[i]
		if out[i] {
			o.Unresolved++
			o.Priority += job.Priority
			if start != job.Start {
				return o, fmt.Errorf("job %d is unresolved and was moved", i)
			}
			continue
		}
		if start != job.Start {
			if !allowed(p, job, start) {
				return o, fmt.Errorf("job %d may not start at %d", i, start)
			}
			o.Moved++
			o.Distance += distance(p, job, start)
		}
		events = append(events, event{start, 1}, event{start + job.Duration, -1})
	}
	for _, e := range overloads(p, events) {
		return o, fmt.Errorf("at %d more run than there is room for", e)
	}
	return o, nil
}

type event struct {
	at int64
	by int
}

// overloads are the instants at which more run than there is room for.
func overloads(p repair.Problem, events []event) (at []int64) {
	sort.Slice(events, func(i, j int) bool { return events[i].at < events[j].at })
	running, next := 0, 0
	check := func(t int64) {
		if running > 0 && running > Room(p, t) {
			at = append(at, t)
		}
	}
	for i, e := range events {
		for next < len(p.Capacity) && p.Capacity[next].At < e.at {
			check(p.Capacity[next].At)
			next++
		}
		running += e.by
		if i+1 == len(events) || events[i+1].at != e.at {
			check(e.at)
		}
	}
	return at
}

// Room is for how many there is room at an instant.
func Room(p repair.Problem, t int64) int {
	k := sort.Search(len(p.Capacity), func(i int) bool { return p.Capacity[i].At > t })
	if k == 0 {
		return 0
	}
	return max(p.Capacity[k-1].Free, 0)
}

func allowed(p repair.Problem, job repair.Job, start int64) bool {
	if start%p.Slot != 0 || start < job.First || start > job.Last {
		return false
	}
	for _, c := range job.Closed {
		if start < c.To && start+job.Duration > c.From {
			return false
		}
	}
	return true
}

func distance(p repair.Problem, job repair.Job, start int64) int64 {
	if start == job.Start {
		return 0
	}
	d := max(start-job.Start, job.Start-start)
	if job.Proposed != 0 && start != job.Proposed {
		d += p.Slot
	}
	return d
}

// Starts are those that a job may have, the planned one first.
func Starts(p repair.Problem, job repair.Job) []int64 {
	starts := []int64{job.Start}
	t := job.First / p.Slot * p.Slot
	if t < job.First {
		t += p.Slot
	}
	for ; t <= job.Last; t += p.Slot {
		if t != job.Start && allowed(p, job, t) {
			starts = append(starts, t)
		}
	}
	return starts
}

// cbcColumn is a job's start in the model.
type cbcColumn struct {
	job   int
	start int64
}

// CBC solves the problem's time-indexed model with COIN-OR's branch and cut, one aim after the other. proved says that every aim was
// proved to be at its best within the budget.
func CBC(ctx context.Context, path string, p repair.Problem, budget time.Duration) (o Objective, proved bool, err error) {
	dir, err := os.MkdirTemp("", "repair-cbc-")
	if err != nil {
		return o, false, err
	}
	defer os.RemoveAll(dir)
	var columns []cbcColumn
	points := make(map[int64]bool)
	for i, job := range p.Jobs {
		for _, t := range Starts(p, job) {
			columns = append(columns, cbcColumn{i, t})
			points[t] = true
		}
	}
	for _, step := range p.Capacity {
		points[step.At] = true
	}
	aims := []string{"", "", "", ""}
	terms := make([]bytes.Buffer, 4)
	priorities := 0
	for i, job := range p.Jobs {
		fmt.Fprintf(&terms[0], " + u%d\n", i)
		if job.Priority > 0 {
			fmt.Fprintf(&terms[1], " + %d u%d\n", job.Priority, i)
			priorities++
		}
	}
	for k, c := range columns {
		if job := p.Jobs[c.job]; c.start != job.Start {
			fmt.Fprintf(&terms[2], " + x%d\n", k)
			fmt.Fprintf(&terms[3], " + %g x%d\n", float64(distance(p, job, c.start))/float64(p.Slot), k)
		}
	}
	rows := cbcRows(p, columns, points)
	proved = true
	left := budget // of the processor's time, which is what cbc counts
	for aim := range aims {
		if terms[aim].Len() == 0 {
			continue
		}
		var model bytes.Buffer
		fmt.Fprintf(&model, "Minimize\n obj:%s\nSubject To\n%s", terms[aim].String(), rows)
		for k := range aim {
			if terms[k].Len() > 0 {
				fmt.Fprintf(&model, " a%d: %s <= %s\n", k, terms[k].String(), aims[k])
			}
		}
		model.WriteString("Binaries\n")
		for k := range columns {
			fmt.Fprintf(&model, " x%d\n", k)
		}
		for i := range p.Jobs {
			fmt.Fprintf(&model, " u%d\n", i)
		}
		model.WriteString("End\n")
		file, solution := filepath.Join(dir, "model.lp"), filepath.Join(dir, "solution")
		if err := os.WriteFile(file, model.Bytes(), 0o600); err != nil {
			return o, false, err
		}
		// What an aim does not need, the later ones may use.
		seconds := left.Seconds() / float64(len(aims)-aim)
		if aim == 0 {
			seconds = left.Seconds() / 2
		}
		seconds = max(seconds, 0.5)
		cmd := exec.CommandContext(ctx, path, file, "sec", strconv.FormatFloat(seconds, 'f', 2, 64), "ratioGap", "0", "allowableGap", "0", "solve", "solu", solution)
		if out, err := cmd.CombinedOutput(); err != nil {
			return o, false, fmt.Errorf("run cbc: %w: %s", err, out)
		}
		left -= cmd.ProcessState.UserTime()
		text, err := os.ReadFile(solution)
		if err != nil {
			return o, false, fmt.Errorf("read cbc's solution: %w", err)
		}
		r, optimal := cbcResult(p, columns, text)
		proved = proved && optimal
		this, err := ObjectiveOf(p, r)
		if err != nil {
			if aim > 0 { // out of time before the first answer: the one of the aim before stands
				return o, false, nil
			}
			return o, false, fmt.Errorf("check cbc's answer: %w", err)
		}
		o = this
		aims = []string{
			strconv.Itoa(o.Unresolved), strconv.Itoa(o.Priority), strconv.Itoa(o.Moved), "",
		}
	}
	return o, proved, nil
}

// cbcRows are the constraints: a place for each job, and room at each instant at which something can begin or the room changes.
func cbcRows(p repair.Problem, columns []cbcColumn, points map[int64]bool) string {
	var rows strings.Builder
	for k := 0; k < len(columns); {
		i := columns[k].job
		fmt.Fprintf(&rows, " j%d: u%d", i, i)
		for ; k < len(columns) && columns[k].job == i; k++ {
			fmt.Fprintf(&rows, " + x%d\n", k)
		}
		rows.WriteString(" = 1\n")
	}
	at := make([]int64, 0, len(points))
	for t := range points {
		at = append(at, t)
	}
	sort.Slice(at, func(i, j int) bool { return at[i] < at[j] })
	for n, t := range at {
		some := false
		for k, c := range columns {
			if c.start <= t && t < c.start+p.Jobs[c.job].Duration {
				if !some {
					fmt.Fprintf(&rows, " c%d:", n)
					some = true
				}
				fmt.Fprintf(&rows, " + x%d\n", k)
			}
		}
		if some {
			fmt.Fprintf(&rows, " <= %d\n", Room(p, t))
		}
	}
	return rows.String()
}

// cbcResult reads a solution file.
func cbcResult(p repair.Problem, columns []cbcColumn, text []byte) (r repair.Result, optimal bool) {
	placed := make([]bool, len(p.Jobs))
	for _, job := range p.Jobs {
		r.Starts = append(r.Starts, job.Start)
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) > 0 && fields[0] == "Optimal" {
			optimal = true
		}
		if len(fields) < 3 || !strings.HasPrefix(fields[1], "x") {
			continue
		}
		k, err := strconv.Atoi(fields[1][1:])
		value, err2 := strconv.ParseFloat(fields[2], 64)
		if err == nil && err2 == nil && value > 0.5 {
			r.Starts[columns[k].job] = columns[k].start
			placed[columns[k].job] = true
		}
	}
	for i, yes := range placed {
		if !yes {
			r.Unresolved = append(r.Unresolved, i)
		}
	}
	return r, optimal
}

// Compare solves the problem of a seed, of 50 to 300 jobs, with solve and with CBC, each within about budget seconds, and returns what both
// answers are worth, and whether CBC has proved its own. It fails if an answer does not fit.
func Compare(ctx context.Context, solve func(repair.Problem) repair.Result, cbcPath string, seed uint64, budgetSeconds int) (ours, cbc Objective, proved bool, err error) {
	p := Generate(seed, int(50+seed*37%251), Options{Bimodal: seed%3 == 2, Work: int64(budgetSeconds) * 1_000_000_000})
	ours, err = ObjectiveOf(p, solve(p))
	if err != nil {
		return ours, cbc, false, fmt.Errorf("seed %d: %w", seed, err)
	}
	cbc, proved, err = CBC(ctx, cbcPath, p, time.Duration(budgetSeconds)*time.Second)
	if err != nil {
		return ours, cbc, false, fmt.Errorf("seed %d: %w", seed, err)
	}
	return ours, cbc, proved, nil
}
