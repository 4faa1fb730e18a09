package approval_test

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/approval"
	"github.com/mfpgate/mfpgate/broker/approval/approvaltest"
	"github.com/mfpgate/mfpgate/tests/need"
)

// TestWhateverHappens has a service, a mail server, an administrator, two users, a clock and a power supply that do anything. What must hold:
// no more codes count than are allowed, no device is two printers, and everything ends by its deadline.
func TestWhateverHappens(t *testing.T) {
	rounds := need.Seeds(40)
	ends := map[mfpgate.Reason]int{}
	for seed := range rounds {
		bubble(t, func(t *testing.T, g *gateway) {
			dice := rand.New(rand.NewPCG(seed, 7))
			trouble := dice.Float64() * .5
			answers := []error{mfpgate.ErrPending, mfpgate.ErrSlowDown, mfpgate.ErrCodeExpired, mfpgate.ErrInvalidGrant, errors.New("502"), mfpgate.ErrNoPrinter,
				errors.New("connection reset")}
			luck := rand.New(rand.NewPCG(seed, 8)) // of the calls, which throw while the test does
			lucky := func(call approvaltest.Call, _ string) error {
				if luck.Float64() >= trouble {
					return nil
				}
				if call == approvaltest.Redeem {
					return answers[luck.IntN(len(answers))]
				}
				return errors.New("no answer")
			}
			g.office.Before, g.office.After = serial(lucky), serial(lucky)
			g.mailer.Before = g.office.Before
			g.office.Replay, g.office.Slow, g.office.Least = dice.IntN(2) == 0, dice.IntN(4), time.Duration(dice.IntN(8))*time.Second
			g.office.Lifetime, g.office.Pushes = time.Duration(1+dice.IntN(600))*time.Second, dice.IntN(2) == 0
			g.policy.Deadline, g.office.Interval = 2*time.Hour, time.Duration(dice.IntN(30))*time.Second
			g.start()
			a, b := g.ask("d1", user), g.ask("d1", "sato@example.com")
			for range 40 {
				switch dice.IntN(8) {
				case 0:
					g.office.Decide(user, dice.IntN(5) > 0)
				case 1:
					g.office.Decide("sato@example.com", dice.IntN(5) > 0)
				case 2:
					g.halt()
					g.start()
				case 3:
					g.clock.step(time.Duration(dice.IntN(240)-120) * time.Second)
				case 4:
					_ = g.Resend(t.Context(), a.ID, "a")
				}
				g.pass(time.Duration(dice.IntN(180)) * time.Second)
				for _, id := range []string{a.ID, b.ID} {
					if r := g.get(id); r.Attempt > r.Attempts {
						t.Errorf("seed %d: %d codes count of %d", seed, r.Attempt, r.Attempts)
					}
				}
			}
			g.pass(3 * time.Hour)
			if n := len(g.office.Printers()); n > 1 {
				t.Errorf("seed %d: %d printers", seed, n)
			}
			for _, id := range []string{a.ID, b.ID} {
				r := g.get(id)
				if !r.State.Ended() {
					t.Errorf("seed %d: %s has not ended: %s, %s, deadline %s, now %s", seed, r.User, r.State, r.Reason, r.Deadline, g.clock.Now())
				}
				if r.State == mfpgate.RegistrationRegistered {
					ends["registered"]++
				} else {
					ends[r.Reason]++
				}
			}
			g.leftovers("at the end")
		})
		if t.Failed() {
			return
		}
	}
	t.Logf("ends: %v", ends)
	if ends["registered"] == 0 || ends[approval.Timeout]+ends[approval.Exhausted]+ends[approval.Denied] == 0 {
		t.Errorf("the rounds tell little: %v", ends)
	}
}

// serial lets one caller at a time throw the dice.
func serial(fn func(approvaltest.Call, string) error) func(approvaltest.Call, string) error {
	turn := make(chan struct{}, 1)
	return func(c approvaltest.Call, about string) error {
		turn <- struct{}{}
		defer func() { <-turn }()
		return fn(c, about)
	}
}
