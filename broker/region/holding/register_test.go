package holding_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/region"
	"github.com/mfpgate/mfpgate/broker/region/holding"
)

func TestRegister(t *testing.T) {
	moved := append(forward[:len(forward):len(forward)], mfpgate.StepRetire)
	for _, c := range []struct {
		rule         string
		region       string
		taken        []mfpgate.MoveStep
		registration string
		foreign      string
		want         error
		state        mfpgate.HoldingState
	}{
		{rule: "a new device is active", region: "de", registration: "r1.de.1.a", state: mfpgate.HoldingActive},
		{rule: "under another region's id it is foreign", region: "de", registration: "r1.us.1.old", foreign: "us", state: mfpgate.HoldingForeign},
		{rule: "the same once more changes nothing", region: "us", registration: "r1.us.1.old", state: mfpgate.HoldingActive},
		{rule: "the same once more while it drains", region: "us", taken: forward[:4], registration: "r1.us.1.old", state: mfpgate.HoldingDraining},
		{rule: "under another id it is not", region: "us", registration: "r1.us.1.b", want: region.ErrOutOfTurn},
		{rule: "not while it is prepared", region: "jp", taken: forward[:2], registration: "r1.jp.1.a", want: region.ErrOutOfTurn},
		{rule: "not after it was moved", region: "us", taken: moved, registration: "r1.us.1.c", want: &holding.Moved{}},
		{rule: "after it was aborted", region: "jp", taken: []mfpgate.MoveStep{mfpgate.StepAbort}, registration: "r1.jp.1.a", state: mfpgate.HoldingActive},
		{rule: "no id", region: "de", want: holding.ErrInvalid},
		{rule: "foreign here", region: "de", registration: "r1.de.1.a", foreign: "de", want: holding.ErrInvalid},
	} {
		t.Run(c.rule, func(t *testing.T) {
			g := newRig(t)
			g.register()
			g.take(c.taken...)
			h, err := g.books[c.region].Register(t.Context(), mfp, c.registration, 1, services, c.foreign)
			switch want := c.want.(type) {
			case *holding.Moved:
				if !errors.As(err, &want) || want.To != "jp" {
					t.Fatalf("%v", err)
				}
			default:
				if !errors.Is(err, c.want) {
					t.Fatalf("%v, want %v", err, c.want)
				}
			}
			if c.want == nil && (h.State != c.state || h.MFP != mfp || h.Region != c.region) {
				t.Errorf("%+v", h)
			}
		})
	}
}

// TestAForeignDevice is registered in jp under its id of us, where its data stay; later it is moved there, or the move is taken back.
func TestAForeignDevice(t *testing.T) {
	for _, back := range []bool{false, true} {
		g := newRig(t)
		g.register()
		if _, err := g.books["jp"].Register(t.Context(), mfp, "r1.us.1.old", 1, services, "us"); err != nil {
			t.Fatal(err)
		}
		if h, err := g.books["jp"].CheckIn(t.Context(), mfp, 1); err != nil || h.State != mfpgate.HoldingForeign || !h.CheckedIn.IsZero() {
			t.Errorf("check-in: %+v, %v", h, err)
		}
		var moved *holding.Moved
		if err := g.books["jp"].Put(t.Context(), mfp, "log", "a", nil); !errors.As(err, &moved) || moved.To != "us" {
			t.Errorf("put: %v", err)
		}
		g.take(forward...)
		if !back {
			g.want("jp", mfpgate.HoldingActive)
			continue
		}
		g.take(mfpgate.StepAbort)
		if h := g.want("jp", mfpgate.HoldingForeign); h.Registration != "r1.us.1.old" || h.To != "us" || g.rows("jp") != 0 {
			t.Errorf("after the abort: %+v", h)
		}
	}
}

// TestADeviceMovesBack while the end of the first move is still to come.
func TestADeviceMovesBack(t *testing.T) {
	g := newRig(t)
	g.data = map[string]mfpgate.DataPolicy{"log": mfpgate.DataLeave}
	g.register()
	g.take(append(forward[:len(forward):len(forward)], mfpgate.StepRetire)...)
	g.put("jp", "log", "today", "of jp")
	home := func(step mfpgate.MoveStep) {
		t.Helper()
		o := mfpgate.MoveOrder{Move: "mov_2", Step: step, Epoch: 3, MFP: mfp, From: "jp", To: "us", Registration: "r1.us.3.new"}
		at := map[string]string{"us": "jp", "jp": "us"}[where(step)]
		if _, err := g.books[at].Order(t.Context(), o); err != nil {
			t.Fatalf("%s: %v", step, err)
		}
	}
	for _, step := range forward {
		home(step)
	}
	g.want("us", mfpgate.HoldingActive)
	if a := g.take(mfpgate.StepDelete); a.State != mfpgate.HoldingAbsent || a.Receipt == nil {
		t.Errorf("the first move's delete: %+v", a)
	}
	g.wantErr("us", mfpgate.StepRetire, region.ErrFenced)
	g.wantErr("jp", mfpgate.StepAbort, region.ErrOutOfTurn)
	home(mfpgate.StepRetire)
	if h := g.want("us", mfpgate.HoldingActive); h.Epoch != 3 {
		t.Errorf("%+v", h)
	}
	if v, err := g.books["us"].Get(t.Context(), mfp, "log", "today"); err != nil || string(v) != "of jp" {
		t.Errorf("what was left in us is not what the device has now: %q, %v", v, err)
	}
	if g.rows("us") != 5 || g.rows("jp") != 0 { // four items, and one that was left
		t.Errorf("rows: us %d, jp %d", g.rows("us"), g.rows("jp"))
	}
}

func TestItemsAreBounded(t *testing.T) {
	g := newRig(t)
	g.register()
	put := func(class, name string, size int) error {
		return g.books["us"].Put(t.Context(), mfp, class, name, make([]byte, size))
	}
	for _, bad := range []struct{ class, name string }{{"", "a"}, {"A", "a"}, {"a", ""}, {"a", "../a"}, {"a/b", "c"}, {"a", strings.Repeat("n", 129)}} {
		if err := put(bad.class, bad.name, 1); !errors.Is(err, holding.ErrInvalid) {
			t.Errorf("%q/%q: %v", bad.class, bad.name, err)
		}
	}
	if err := put("scan", "a", holding.MaxItem+1); !errors.Is(err, holding.ErrInvalid) {
		t.Error(err)
	}
	for n := range holding.MaxBytes/holding.MaxItem - 1 {
		if err := put("scan", fmt.Sprint(n), holding.MaxItem); err != nil {
			t.Fatal(err)
		}
	}
	if err := put("scan", "last", holding.MaxItem); !errors.Is(err, holding.ErrFull) {
		t.Errorf("more than %d bytes: %v", holding.MaxBytes, err)
	}
	if err := put("scan", "0", 0); err != nil {
		t.Errorf("one that shrinks: %v", err)
	}
	if err := put("scan", "last", holding.MaxItem); err != nil {
		t.Errorf("in the room of that: %v", err)
	}
	for n := range holding.MaxClasses - 4 {
		if err := put(fmt.Sprint("c", n), "a", 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := put("one-more", "a", 0); !errors.Is(err, holding.ErrFull) {
		t.Errorf("more than %d classes: %v", holding.MaxClasses, err)
	}
	if err := g.books["us"].Delete(t.Context(), mfp, "scan", "none"); !errors.Is(err, holding.ErrNoItem) {
		t.Error(err)
	}
	if _, err := g.books["us"].Get(t.Context(), mfp, "scan", "none"); !errors.Is(err, holding.ErrNoItem) {
		t.Error(err)
	}
	if _, err := g.books["us"].Get(t.Context(), "mfp_2", "scan", "none"); !errors.Is(err, region.ErrNoHolding) {
		t.Error(err)
	}
	// All of it moves.
	g.take(forward...)
	if us, jp := g.holding("us"), g.holding("jp"); us.Digest != g.take(mfpgate.StepDelta).Digest || jp.State != mfpgate.HoldingActive || g.rows("jp") != g.rows("us") {
		t.Errorf("us %d rows, jp %d", g.rows("us"), g.rows("jp"))
	}
}

func TestList(t *testing.T) {
	g := newRig(t)
	for n := range 5 {
		if _, err := g.books["us"].Register(t.Context(), fmt.Sprint("mfp_", n), fmt.Sprint("r1.us.1.", n), 1, services, ""); err != nil {
			t.Fatal(err)
		}
	}
	var names []string
	for after := ""; ; {
		page, err := g.books["us"].List(t.Context(), after, 2)
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range page {
			names = append(names, h.MFP)
			after = h.MFP
		}
		if len(page) < 2 {
			break
		}
	}
	diff(t, "the pages", names, []string{"mfp_0", "mfp_1", "mfp_2", "mfp_3", "mfp_4"})
}
