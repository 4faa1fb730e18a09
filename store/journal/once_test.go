package journal_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/journal"
	"github.com/mfpgate/mfpgate/store/memory"
)

func TestOnce(t *testing.T) {
	h := newSite(t, memory.New())
	broken := errors.New("broken")
	ran := 0
	once := func(scope, key string, request any, fail error) (answer string, replayed bool, err error) {
		err = h.store.Update(t.Context(), func(tx store.Tx) (err error) {
			answer, replayed, err = journal.Once(tx, scope, key, request, func() (string, error) {
				ran++
				return fmt.Sprint("answer ", ran), fail
			})
			return err
		})
		return answer, replayed, err
	}
	for _, tc := range []struct {
		rule       string
		scope, key string
		request    any
		fail, want error
		answer     string
		replayed   bool
	}{
		{"the first runs", "s", "k", 1, nil, nil, "answer 1", false},
		{"the second is the first again", "s", "k", 1, nil, nil, "answer 1", true},
		{"another request is refused", "s", "k", 2, nil, journal.ErrDiffers, "", false},
		{"another scope is another key", "z", "k", 2, nil, nil, "answer 2", false},
		{"a failure", "s", "f", 1, broken, broken, "answer 3", false},
		{"is not remembered", "s", "f", 1, nil, nil, "answer 4", false},
		{"no scope", "", "k", 1, nil, journal.ErrInvalid, "", false},
	} {
		answer, replayed, err := once(tc.scope, tc.key, tc.request, tc.fail)
		if !errors.Is(err, tc.want) || tc.want == nil && err != nil || answer != tc.answer || replayed != tc.replayed {
			t.Errorf("%s: got %q, %v, %v", tc.rule, answer, replayed, err)
		}
	}
	for n := range journal.Remembered - 1 {
		_, _, err := once("s", fmt.Sprint("n", n), 1, nil)
		must(t, err)
	}
	if _, replayed, err := once("s", "f", 1, nil); !replayed || err != nil {
		t.Errorf("the sixteenth is forgotten: %v, %v", replayed, err)
	}
	if _, replayed, err := once("s", "k", 1, nil); replayed || err != nil {
		t.Errorf("the eighteenth is remembered: %v, %v", replayed, err)
	}
	for n := range 5 { // sixteen of these would be no record any more
		err := h.store.Update(t.Context(), func(tx store.Tx) error {
			_, _, err := journal.Once(tx, "large", fmt.Sprint(n), 1, func() (string, error) { return strings.Repeat("x", 40<<10), nil })
			return err
		})
		must(t, err)
	}
}
