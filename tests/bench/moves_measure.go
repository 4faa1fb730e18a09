package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/mfpgate/mfpgate"
)

func insecure() *tls.Config { return &tls.Config{InsecureSkipVerify: true} } // of our own processes on the loopback

func listen(at string) (net.Listener, error) { return net.Listen("tcp", at) }

// head is one device of a herd.
type head struct {
	id   mfpgate.DeviceID
	plan string
}

func (h *herd) listen(out io.Reader) {
	defer close(h.read)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var e struct {
			Event  string
			Counts map[string]int
		}
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			continue
		}
		h.mu.Lock()
		h.events[e.Event]++
		for what, n := range e.Counts {
			h.counts[what] += n
		}
		h.mu.Unlock()
	}
}

func (r *meadow) told(event string) (n int) {
	for _, h := range r.herds {
		h.mu.Lock()
		n += h.events[event]
		h.mu.Unlock()
	}
	return n
}

// call asks the gateway. A refusal is an error with its text.
func (r *meadow) call(ctx context.Context, method, path string, body, into any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://mfpgate/api/v1/"+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := r.api.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err == nil && resp.StatusCode > 299 {
		err = fmt.Errorf("%s %s: %s: %.300s", method, path, resp.Status, answer)
	}
	if err == nil {
		err = json.Unmarshal(answer, into)
	}
	return err
}

// ready waits until every device is registered, known and can be moved, and returns them.
func (r *meadow) ready(ctx context.Context) (list []*head, err error) {
	total := 0
	for _, h := range r.herds {
		total += h.count
	}
	if err := r.until(ctx, "every device is registered", time.Second, func() (bool, error) { return r.told("registered") >= total, nil }); err != nil {
		return nil, fmt.Errorf("%d of %d: %w", r.told("registered"), total, err)
	}
	fmt.Fprintf(r.out, "  %d devices are registered\n", total)
	err = r.until(ctx, "the gateway knows every serial number", 2*time.Second, func() (bool, error) {
		var page struct{ Items []mfpgate.Device }
		if err := r.call(ctx, http.MethodGet, "devices", nil, &page); err != nil {
			return false, err
		}
		list = nil
		for _, d := range page.Items {
			if d.Serial != "" {
				list = append(list, &head{id: d.ID})
			}
		}
		return len(list) == total, nil
	})
	if err != nil {
		return nil, fmt.Errorf("%d of %d: %w", len(list), total, err)
	}
	if err := r.until(ctx, "devices have data of all classes", time.Second, func() (bool, error) { return r.told("stored") >= movesClasses*total, nil }); err != nil {
		return nil, err
	}
	fmt.Fprintf(r.out, "  %d devices are known and have data\n", total)
	return list, r.all(ctx, list, func(ctx context.Context, d *head) error {
		var last error
		err := r.until(ctx, "a device can be moved", time.Second, func() (bool, error) {
			var plan mfpgate.MovePlan
			last = r.call(ctx, http.MethodPost, "moves", map[string]any{"deviceId": d.id, "dryRun": true}, &plan)
			d.plan = plan.Hash
			if last == nil && (len(plan.Blockers) > 0 || len(plan.Data) < movesClasses) {
				last = fmt.Errorf("%v, %d classes", plan.Blockers, len(plan.Data))
			}
			return last == nil, nil
		})
		if err != nil {
			err = fmt.Errorf("%w: %w", err, last)
		}
		return err
	})
}

// peaks follows the memory of what is watched.
func (r *meadow) peaks(ctx context.Context) (stop func() map[string]float64) {
	ctx, cancel := context.WithCancel(ctx)
	most := map[string]float64{}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			for name, p := range r.watched {
				if kib, err := p.rss(); err == nil {
					most[name] = max(most[name], kib)
				}
			}
			if mfpgate.Wait(ctx, r.clock, 500*time.Millisecond) != nil {
				return
			}
		}
	})
	return func() map[string]float64 { cancel(); wg.Wait(); return most }
}

func (r *meadow) measure(ctx context.Context) ([]*series, error) {
	list, err := r.ready(ctx)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(r.out, "  the mover that keeps nothing begins\n")
	other, err := r.moveUnsaved(ctx, r.trust, r.gateway.address)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", unsaved, err)
	}
	rest := map[string]float64{}
	for name, p := range r.watched {
		if rest[name], err = p.rss(); err != nil {
			return nil, err
		}
	}
	cpu, err := r.spent()
	if err != nil {
		return nil, err
	}
	stop := r.peaks(ctx)
	fmt.Fprintf(r.out, "  the batch begins\n")
	began := r.clock.Now()
	err = r.all(ctx, list, func(ctx context.Context, d *head) error {
		var m mfpgate.Move
		return r.call(ctx, http.MethodPost, "moves", map[string]any{"deviceId": d.id, "plan": d.plan}, &m)
	})
	if err != nil {
		return nil, err
	}
	started := r.clock.Now().Sub(began)
	var items []mfpgate.Move
	err = r.until(ctx, "every source has retired", 2*time.Second, func() (bool, error) {
		var page struct{ Items []mfpgate.Move }
		if err := r.call(ctx, http.MethodGet, "moves", nil, &page); err != nil {
			return false, err
		}
		items = page.Items
		retired := 0
		for _, m := range items {
			if m.State == mfpgate.MoveRolledBack {
				return false, fmt.Errorf("move %s of %s was taken back: %s %s", m.ID, m.MFP, m.Reason, m.Detail)
			}
			if m.Receipt != nil {
				retired++
			}
		}
		return retired == len(list), nil
	})
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, standing(items))
	}
	first, last, drained := items[0].StartedAt, items[0].StartedAt, []float64{}
	for _, m := range items {
		if m.StartedAt.Before(first) {
			first = m.StartedAt
		}
		var from time.Time
		for _, s := range m.Steps {
			switch s.Step {
			case mfpgate.StepDrain:
				from = s.At
			case mfpgate.StepRetire: // until then the source's services ask the device to come again
				drained = append(drained, s.At.Sub(from).Seconds())
				if s.At.After(last) {
					last = s.At
				}
			}
		}
	}
	took := last.Sub(first).Seconds()
	n := float64(len(list))
	all := []*series{}
	add := func(name, unit string, value float64, targets ...target) {
		s := &series{name: name, unit: unit, targets: targets}
		s.put(0, ours, value)
		all = append(all, s)
	}
	add("moves_per_second", "1/s", n/took)
	all[0].put(0, unsaved, other.perSecond)
	add("moves_batch", "s", took)
	add("moves_start", "s", started.Seconds())
	slices.Sort(drained)
	add("moves_draining_median", "s", drained[len(drained)/2])
	add("moves_draining_most", "s", drained[len(drained)-1])
	for _, name := range slices.Sorted(maps.Keys(r.watched)) {
		used, err := r.watched[name].cpu()
		if err != nil {
			return nil, err
		}
		add("moves_cpu_"+name, "CPU ms/move", (used-cpu[name]).Seconds()*1000/n)
		if name != "gateway" {
			all[len(all)-1].put(0, unsaved, other.cpu[name].Seconds()*1000)
		}
	}
	most := stop()
	for _, name := range slices.Sorted(maps.Keys(r.watched)) {
		add("moves_memory_"+name, "KiB/move", (most[name]-rest[name])/n)
	}
	// A device that goes by directives comes at its next turn; the others are asked a few times more what they get.
	if err := mfpgate.Wait(ctx, r.clock, 3*movesPoll); err != nil {
		return nil, err
	}
	for _, h := range r.herds {
		if err := h.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			return nil, err
		}
		<-h.read
		_ = h.cmd.Wait()
		requests := 0
		for _, k := range h.counts {
			requests += k
		}
		var parts []string
		for _, what := range slices.Sorted(maps.Keys(h.counts)) {
			parts = append(parts, fmt.Sprintf("%d %s", h.counts[what], what))
		}
		r.notes = append(r.notes, fmt.Sprintf("note: %d devices of kind %s made %d requests: %s; %d went by a directive", h.count, h.kind, requests, strings.Join(parts, ", "), h.events["redirected"]))
		add("moves_answered_"+h.kind, "share", float64(h.counts["answered"]+h.counts["retried"])/float64(requests))
		add("moves_late_"+h.kind, "requests", float64(h.counts["late"]), target{bound: 0})
		add("moves_silent_"+h.kind, "requests", float64(h.counts["silent"]), target{bound: 0})
	}
	return all, nil
}

// standing says where moves stand.
func standing(items []mfpgate.Move) string {
	count := map[string]int{}
	for _, m := range items {
		count[fmt.Sprintf("%s in %s %s", m.State, m.Step, m.Reason)]++
	}
	return fmt.Sprint(count)
}
