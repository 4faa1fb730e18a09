package region

import (
	"slices"

	"github.com/mfpgate/mfpgate"
)

// Steps returns the steps of a move. SetSteps breaks them, before Run.
func (s *Saga) Steps() []mfpgate.MoveStep { return slices.Clone(s.forward) }

// SetSteps has moves take these steps.
func (s *Saga) SetSteps(steps ...mfpgate.MoveStep) { s.forward = steps }
