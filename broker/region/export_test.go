package region

import (
	"slices"

	"github.com/mfpgate/mfpgate"
)

// Order returns the steps of a move in their order. SetOrder breaks it, before Run.
func (s *Saga) Order() []mfpgate.MoveStep { return slices.Clone(s.order) }

// SetOrder has moves take these steps.
func (s *Saga) SetOrder(order ...mfpgate.MoveStep) { s.order = order }

// SetUndo has moves taken back by these steps.
func (s *Saga) SetUndo(undo ...mfpgate.MoveStep) { s.undo = undo }
