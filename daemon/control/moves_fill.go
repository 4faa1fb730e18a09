package control

import (
	"slices"

	"github.com/mfpgate/mfpgate"
)

// filled has an empty list where there was none: readers of JSON need not know null. The lists are copies, since what a gateway
// shows may be its own.
func filled[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return slices.Clone(list)
}

func filledPlan(p mfpgate.MovePlan) mfpgate.MovePlan {
	p.Services, p.Children, p.Data, p.Blockers = filled(p.Services), filled(p.Children), filled(p.Data), filled(p.Blockers)
	return p
}

func filledMove(m mfpgate.Move) mfpgate.Move {
	m.Plan, m.Steps = filledPlan(m.Plan), filled(m.Steps)
	if m.Receipt != nil {
		r := filledReceipt(*m.Receipt)
		m.Receipt = &r
	}
	return m
}

func filledReceipt(r mfpgate.DeletionReceipt) mfpgate.DeletionReceipt {
	r.Purged, r.Left = filled(r.Purged), filled(r.Left)
	return r
}

func filledResidence(r mfpgate.Residence) mfpgate.Residence {
	r.Services, r.Data, r.Receipts = filled(r.Services), filled(r.Data), filled(r.Receipts)
	for i := range r.Services {
		r.Services[i].Children = filled(r.Services[i].Children)
	}
	for i := range r.Receipts {
		r.Receipts[i] = filledReceipt(r.Receipts[i])
	}
	return r
}
