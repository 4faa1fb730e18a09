package region_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/region"
	"github.com/mfpgate/mfpgate/store/journal"
)

func TestPlanSaysWhatAMoveWouldDo(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.make(w.store)
		r := w.wants("dev_1")
		r.Data = map[string]mfpgate.DataPolicy{"address-book": mfpgate.DataLeave, "": mfpgate.DataReset}
		p, err := w.Plan(t.Context(), gw, r)
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Hash) != 64 {
			t.Errorf("hash %q", p.Hash)
		}
		p.Hash = ""
		want := mfpgate.MovePlan{
			Device: "dev_1", MFP: mfpOf(1), From: "us", To: "jp", Epoch: 2, Registration: "r1.us.1.1",
			Services: []mfpgate.PlannedService{{ID: "document-cloud", Available: true, Action: "move"}},
			Children: []mfpgate.PlannedChild{
				{Service: "document-cloud", ID: "translate", Available: true, Action: "keep"},
				{Service: "document-cloud", ID: "whiteboard", Action: "unlink"},
			},
			Data: []mfpgate.PlannedData{
				{Class: "address-book", Items: 1, Bytes: 10, Policy: mfpgate.DataLeave}, {Class: "jobs", Items: 3, Bytes: 300, Policy: mfpgate.DataReset},
			},
			Blockers: []mfpgate.MoveBlocker{},
		}
		if diff := cmp.Diff(want, p); diff != "" {
			t.Error(diff)
		}
	})
}

func TestPlanFindsWhoHoldsTheDevice(t *testing.T) {
	for _, c := range []struct {
		rule     string
		do       func(w *world)
		from     string
		blockers []mfpgate.Reason
		refused  mfpgate.Reason
	}{
		{rule: "the market says that it does", do: func(*world) {}, from: "us"},
		{rule: "without a market every region is asked", do: func(w *world) { w.market("") }, from: "us"},
		{rule: "a market that is no region is none", do: func(w *world) { w.market("fr") }, from: "us"},
		{rule: "the market has moved it to another peer", do: func(w *world) {
			w.market("de")
			w.clouds["de"].models[mfpOf(1)] = w.clouds["us"].models[mfpOf(1)]
			w.clouds["de"].held[mfpOf(1)] = &mfpgate.Holding{MFP: mfpOf(1), Region: "de", State: mfpgate.HoldingMoved, Epoch: 1, To: "us", Registration: "r1.de.1.1"}
			w.clouds["us"].held[mfpOf(1)].Epoch = 2
		}, from: "us"},
		{rule: "another region's silence does not matter", do: func(w *world) { w.silence("de") }, from: "us"},
		{rule: "a region that has it under a foreign id does not hold it", do: func(w *world) {
			w.clouds["jp"].models[mfpOf(1)] = w.clouds["us"].models[mfpOf(1)]
			w.clouds["jp"].held[mfpOf(1)] = &mfpgate.Holding{MFP: mfpOf(1), Region: "jp", State: mfpgate.HoldingForeign, Epoch: 1, Registration: "r1.us.1.1"}
			w.market("jp")
		}, from: "us"},
		{rule: "the region that holds it is no peer", do: func(w *world) {
			w.clouds["us"].held[mfpOf(1)].State, w.clouds["us"].held[mfpOf(1)].To = mfpgate.HoldingMoved, "fr"
		}, from: "fr", blockers: []mfpgate.Reason{region.NoPeer, region.NotActive}},
		{rule: "it is here", do: func(w *world) {
			w.clouds["jp"].models, w.clouds["jp"].held = w.clouds["us"].models, w.clouds["us"].held
			w.clouds["us"].models = nil
			w.market("jp")
		}, from: "jp", blockers: []mfpgate.Reason{region.AlreadyHome}},
		{rule: "it is being moved from there", do: func(w *world) { w.clouds["us"].held[mfpOf(1)].State = mfpgate.HoldingDraining }, from: "us",
			blockers: []mfpgate.Reason{region.NotActive}},
		{rule: "only a foreign id is known", do: func(w *world) { w.clouds["us"].held[mfpOf(1)].State = mfpgate.HoldingForeign }, from: "us",
			blockers: []mfpgate.Reason{region.ForeignOnly}},
		{rule: "only a foreign id is known, and a region is silent", do: func(w *world) {
			w.clouds["us"].held[mfpOf(1)].State = mfpgate.HoldingForeign
			w.silence("de")
		}, from: "us", blockers: []mfpgate.Reason{region.ForeignOnly, region.RegionUnreached}},
		{rule: "this region's services hold something of it", do: func(w *world) {
			w.clouds["jp"].held[mfpOf(1)] = &mfpgate.Holding{MFP: mfpOf(1), Region: "jp", State: mfpgate.HoldingPrepared, Move: "mov_x"}
		}, from: "us", blockers: []mfpgate.Reason{region.TargetOccupied}},
		{rule: "a service is not rolled out", do: func(w *world) { w.clouds["jp"].offers = w.clouds["jp"].offers[1:] }, from: "us",
			blockers: []mfpgate.Reason{region.NotRolledOut}},
		{rule: "nobody knows it", do: func(w *world) { w.clouds["us"].models = nil }, refused: region.UnknownHere},
		{rule: "its region is silent", do: func(w *world) { w.silence("us") }, refused: region.RegionUnreached},
		{rule: "the gateway has not told of it", do: func(w *world) { delete(w.device, "dev_1") }, refused: region.UnknownHere},
		{rule: "the gateway does not know its serial number", do: func(w *world) { w.device["dev_1"] = mfpgate.Device{ID: "dev_1", Model: "MFP 5"} },
			refused: region.UnknownHere},
		{rule: "a region answers with another device", do: func(w *world) {
			w.after = func(c call) error {
				if c.found != nil {
					c.found.Serial = "SN7"
				}
				return nil
			}
		}, refused: region.RegionUnreached},
		{rule: "a region answers with names that are none", do: func(w *world) {
			w.after = func(c call) error {
				if c.found != nil {
					c.found.Services[0].ID = "<script>"
				}
				return nil
			}
		}, refused: region.RegionUnreached},
		{rule: "a region answers with an epoch that is none", do: func(w *world) {
			w.after = func(c call) error {
				if c.found != nil {
					c.found.Epoch = 1<<64 - 1
				}
				return nil
			}
		}, refused: region.RegionUnreached},
		{rule: "a region answers with more than a move can carry", do: func(w *world) {
			w.after = func(c call) error {
				for i := 0; c.found != nil && i < 200; i++ {
					c.found.Services = append(c.found.Services, mfpgate.HeldService{ID: fmt.Sprint("s", i)})
				}
				return nil
			}
		}, refused: region.RegionUnreached},
	} {
		t.Run(c.rule, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				c.do(w)
				w.make(w.store)
				p, err := w.Plan(t.Context(), gw, w.wants("dev_1"))
				if reason(err) != c.refused || c.refused == "" && err != nil {
					t.Fatalf("%v, want %q", err, c.refused)
				}
				var got []mfpgate.Reason
				for _, b := range p.Blockers {
					got = append(got, b.Reason)
				}
				if p.From != c.from || !slices.Equal(got, c.blockers) {
					t.Errorf("from %q, blocked by %+v; want %q, %v", p.From, p.Blockers, c.from, c.blockers)
				}
				if err != nil {
					return
				}
				r := w.wants("dev_1")
				r.Plan = p.Hash
				if _, _, err := w.Start(t.Context(), gw, r, admin, ""); len(c.blockers) > 0 && reason(err) != region.Blocked || len(c.blockers) == 0 && err != nil {
					t.Errorf("start: %v", err)
				}
			})
		})
	}
}

func (w *world) market(name string) {
	d := w.device["dev_1"]
	d.Market = name
	w.device["dev_1"] = d
}

func (w *world) silence(name string) {
	w.before = func(c call) error {
		if c.region == name {
			return errAway
		}
		return nil
	}
}

func TestWhatIsAskedForIsChecked(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.make(w.store)
		for _, c := range []struct {
			rule string
			r    mfpgate.MoveRequest
			want mfpgate.Reason
		}{
			{"another target", mfpgate.MoveRequest{Device: "dev_1", To: "us", Plan: "x"}, region.OtherTarget},
			{"no such policy", mfpgate.MoveRequest{Device: "dev_1", Data: map[string]mfpgate.DataPolicy{"jobs": "burn"}, Plan: "x"}, region.BadRequest},
			{"no hash", mfpgate.MoveRequest{Device: "dev_1"}, region.BadRequest},
		} {
			_, _, err := w.Start(t.Context(), gw, c.r, admin, "")
			if reason(err) != c.want || !errors.Is(err, mfpgate.ErrRefused) {
				t.Errorf("%s: %v, want %s", c.rule, err, c.want)
			}
		}
	})
}

// TestStartHoldsThePlanAgainstItsHash: what was shown is what happens.
func TestStartHoldsThePlanAgainstItsHash(t *testing.T) {
	for _, c := range []struct {
		rule string
		do   func(w *world, r *mfpgate.MoveRequest)
		want mfpgate.Reason
	}{
		{"nothing has changed", func(*world, *mfpgate.MoveRequest) {}, ""},
		{"more was printed", func(w *world, _ *mfpgate.MoveRequest) { w.clouds["us"].held[mfpOf(1)].Data[0].Items++ }, ""},
		{"a class of data came", func(w *world, _ *mfpgate.MoveRequest) {
			h := w.clouds["us"].held[mfpOf(1)]
			h.Data = append(h.Data, mfpgate.HeldData{Class: "fonts"})
		}, region.PlanChanged},
		{"another policy", func(_ *world, r *mfpgate.MoveRequest) {
			r.Data = map[string]mfpgate.DataPolicy{"jobs": mfpgate.DataReset}
		}, region.PlanChanged},
		{"a child came", func(w *world, _ *mfpgate.MoveRequest) {
			w.clouds["us"].held[mfpOf(1)].Services[0].Children = []string{"a", "translate", "whiteboard"}
		}, region.PlanChanged},
		{"a child is offered now", func(w *world, _ *mfpgate.MoveRequest) {
			w.clouds["jp"].offers[0].Children = []string{"translate", "whiteboard"}
		}, region.PlanChanged},
		{"a service is not offered any more", func(w *world, _ *mfpgate.MoveRequest) { w.clouds["jp"].offers = nil }, region.PlanChanged},
		{"another epoch", func(w *world, _ *mfpgate.MoveRequest) { w.clouds["us"].held[mfpOf(1)].Epoch = 3 }, region.PlanChanged},
		{"another registration", func(w *world, _ *mfpgate.MoveRequest) { w.clouds["us"].held[mfpOf(1)].Registration = "r1.us.1.x" }, region.PlanChanged},
	} {
		t.Run(c.rule, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.make(w.store)
				r := w.wants("dev_1")
				p, err := w.Plan(t.Context(), gw, r)
				if err != nil {
					t.Fatal(err)
				}
				c.do(w, &r)
				r.Plan = p.Hash
				_, _, err = w.Start(t.Context(), gw, r, admin, "")
				if reason(err) != c.want || c.want == "" && err != nil {
					t.Errorf("%v, want %q", err, c.want)
				}
			})
		})
	}
}

func TestADeviceHasOneOpenMove(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.start()
		r := w.wants("dev_1")
		p, err := w.Plan(t.Context(), gw, r)
		if err != nil {
			t.Fatal(err)
		}
		r.Plan = p.Hash
		got := make(chan error, 8)
		for range cap(got) {
			go func() { // the loop below waits for it
				_, _, err := w.Start(t.Context(), gw, r, admin, "")
				got <- err
			}()
		}
		started := 0
		for range cap(got) {
			switch err := <-got; {
			case err == nil:
				started++
			case reason(err) != region.MoveIsOpen && reason(err) != region.PlanChanged && reason(err) != region.Blocked:
				t.Error(err)
			}
		}
		synctest.Wait()
		list, err := w.Page(t.Context(), "", region.MaxList)
		if err != nil || started != 1 || len(list) != 1 {
			t.Fatalf("%d started, %d moves, %v", started, len(list), err)
		}
		_, _, err = w.Start(t.Context(), gw, r, admin, "")
		if reason(err) != region.MoveIsOpen || !strings.Contains(err.Error(), string(list[0].ID)) {
			t.Errorf("%v, want it to name %s", err, list[0].ID)
		}
	})
}

func TestAKeyStartsOneMove(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.start()
		r := w.wants("dev_1")
		p, err := w.Plan(t.Context(), gw, r)
		if err != nil {
			t.Fatal(err)
		}
		r.Plan = p.Hash
		first, replayed, err := w.Start(t.Context(), gw, r, admin, "k1")
		if err != nil || replayed {
			t.Fatal(replayed, err)
		}
		synctest.Wait()
		w.silence("us") // nobody is asked
		again, replayed, err := w.Start(t.Context(), gw, r, admin, "k1")
		if err != nil || !replayed || again.ID != first.ID || again.Step != mfpgate.StepVerify {
			t.Errorf("%+v, %t, %v", again, replayed, err)
		}
		r.Plan = "other"
		if _, _, err := w.Start(t.Context(), gw, r, admin, "k1"); !errors.Is(err, journal.ErrDiffers) {
			t.Errorf("another request: %v", err)
		}
	})
}
