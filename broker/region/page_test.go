package region_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
)

// TestMovesAreListedInPages: each once, the newest first, whatever begins meanwhile.
func TestMovesAreListedInPages(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.start()
		var want []mfpgate.MoveID
		begin := func(i int) mfpgate.MoveID {
			device := mfpgate.DeviceID(fmt.Sprint("dev_", i))
			w.enter(device, i)
			w.sleep(time.Second)
			return w.moves(device).ID
		}
		for i := range 11 {
			want = append(want, begin(i+1))
		}
		slices.Reverse(want)
		for _, limit := range []int{1, 2, 3, 11, 12} {
			var got []mfpgate.MoveID
			for before := mfpgate.MoveID(""); ; {
				page, err := w.Page(t.Context(), before, limit)
				if err != nil || len(page) > limit {
					t.Fatalf("%d moves, %v", len(page), err)
				}
				for _, m := range page {
					got = append(got, m.ID)
				}
				if len(page) < limit {
					break
				}
				before = page[limit-1].ID
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%d at once (-want +got):\n%s", limit, diff)
			}
		}
		first, err := w.Page(t.Context(), "", 4)
		if err != nil {
			t.Fatal(err)
		}
		begin(12)
		next, err := w.Page(t.Context(), first[3].ID, 4)
		if err != nil || len(next) != 4 || next[0].ID != want[4] {
			t.Errorf("after a move that begins between two pages: %+v, %v", next, err)
		}
	})
}
