package api

import (
	"math"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
)

// FromBand writes a band.
func FromBand(r mfpgate.Band) Band {
	b := Band{
		BandID: r.ID, From: r.From.UTC(), To: r.To.UTC(), Capacity: r.Capacity, Peak: r.Peak, PeakAt: r.PeakAt.UTC(),
		ExcessDeviceSeconds: r.Excess.Seconds(), Certainty: string(r.Certainty), Probability: r.Probability,
		Contributors: []Contributor{}, MustMove: r.MustMove, Certificate: fromCertificate(r.Certificate), Text: r.Text,
	}
	for _, c := range r.Contributors {
		w := Contributor{Type: c.Type, Count: c.Count, PeakShare: c.PeakShare}
		if c.Type == mfpgate.ContributorBackground {
			w.ServiceID = c.ID
		} else {
			w.BatchID = c.ID
		}
		b.Contributors = append(b.Contributors, w)
	}
	return b
}

// FromBands writes bands; none is an empty list.
func FromBands(list []mfpgate.Band) []Band {
	bands := make([]Band, 0, len(list))
	for _, b := range list {
		bands = append(bands, FromBand(b))
	}
	return bands
}

// Root returns the band.
func (b Band) Root() mfpgate.Band {
	r := mfpgate.Band{
		ID: b.BandID, From: b.From, To: b.To, Capacity: b.Capacity, Peak: b.Peak, PeakAt: b.PeakAt,
		Excess: seconds(b.ExcessDeviceSeconds), Certainty: mfpgate.Certainty(b.Certainty), Probability: b.Probability,
		MustMove: b.MustMove, Certificate: b.Certificate.root(), Text: b.Text,
	}
	for _, c := range b.Contributors {
		id := c.BatchID
		if c.Type == mfpgate.ContributorBackground {
			id = c.ServiceID
		}
		r.Contributors = append(r.Contributors, mfpgate.Contributor{Type: c.Type, ID: id, Count: c.Count, PeakShare: c.PeakShare})
	}
	return r
}

func rootBands(list []Band) []mfpgate.Band {
	var bands []mfpgate.Band
	for _, b := range list {
		bands = append(bands, b.Root())
	}
	return bands
}

func fromCertificate(r *mfpgate.Certificate) *Certificate {
	if r == nil {
		return nil
	}
	return &Certificate{From: r.From.UTC(), To: r.To.UTC(), NeedDeviceSeconds: r.Need.Seconds(), HaveDeviceSeconds: r.Have.Seconds(),
		AtLeastUnresolved: r.AtLeastUnresolved, Text: r.Text}
}

func (c *Certificate) root() *mfpgate.Certificate {
	if c == nil {
		return nil
	}
	return &mfpgate.Certificate{From: c.From, To: c.To, Need: seconds(c.NeedDeviceSeconds), Have: seconds(c.HaveDeviceSeconds),
		AtLeastUnresolved: c.AtLeastUnresolved, Text: c.Text}
}

// FromReport writes a report.
func FromReport(r mfpgate.OverloadReport) OverloadReport {
	w := OverloadReport{
		ReportID: r.ID, ComputedAt: r.ComputedAt.UTC(), Horizon: FromInterval(r.Horizon),
		Inputs: ReportInputs{ContractETag: r.Inputs.Contract, DeltaToken: r.Inputs.DeltaToken, BackgroundETag: r.Inputs.Background,
			TZData: r.Inputs.TZData},
		Bands: FromBands(r.Bands), Supersedes: r.Supersedes,
	}
	for _, c := range r.Site.Capacity {
		w.Capacity = append(w.Capacity, SnapshotCapacity{At: c.At.UTC(), Devices: c.Devices})
	}
	for _, b := range r.Site.Background {
		w.Background = append(w.Background, FromBackground(b))
	}
	return w
}

// Root returns the report.
func (o OverloadReport) Root() mfpgate.OverloadReport {
	r := mfpgate.OverloadReport{
		ID: o.ReportID, ComputedAt: o.ComputedAt, Horizon: o.Horizon.Root(),
		Inputs: mfpgate.ReportInputs{Contract: o.Inputs.ContractETag, DeltaToken: o.Inputs.DeltaToken, Background: o.Inputs.BackgroundETag,
			TZData: o.Inputs.TZData},
		Bands: rootBands(o.Bands), Supersedes: o.Supersedes,
	}
	for _, c := range o.Capacity {
		r.Site.Capacity = append(r.Site.Capacity, mfpgate.CapacityStep(c))
	}
	for _, b := range o.Background {
		r.Site.Background = append(r.Site.Background, b.Root())
	}
	return r
}

// FromProposal writes a proposal.
func FromProposal(r mfpgate.Proposal) ChangeProposal {
	q := r.Quality
	p := ChangeProposal{
		ProposalID: r.ID, BasedOn: BasedOn{ReportID: r.Report, DeltaToken: r.DeltaToken}, Apply: r.Apply,
		Changes: make([]Change, 0, len(r.Changes)), Unresolved: make([]Unresolved, 0, len(r.Unresolved)),
		Quality: Quality{
			Unresolved: q.Unresolved, UnresolvedLB: q.UnresolvedBound, Moved: q.Moved, MovedLB: q.MovedBound,
			Displacement: Duration(q.Displacement), DisplacementLB: Duration(q.DisplacementBound),
			Status: QualityGap, Gap: q.Gap, Solver: q.Solver, Seed: q.Seed,
		},
	}
	if q.Optimal {
		p.Quality.Status = QualityOptimal
	}
	for _, c := range r.Changes {
		w := Change{ChangeID: c.ID, DeliveryID: c.Delivery, From: c.From.UTC(), To: c.To.UTC(), MoveBy: Shift(c.To.Sub(c.From)),
			Reason: Reason{Code: c.Code, BandID: c.Band, FreedBy: c.FreedBy, Text: c.Text}}
		if c.Version != "" {
			w.IfMatch = `"` + c.Version + `"`
		}
		p.Changes = append(p.Changes, w)
	}
	for _, u := range r.Unresolved {
		p.Unresolved = append(p.Unresolved, Unresolved{DeliveryID: u.Delivery, Reason: u.Text, Certificate: fromCertificate(u.Certificate),
			NoStartFound: u.Certificate == nil, Options: u.Options})
	}
	return p
}

// The states of a proposal's quality.
const (
	QualityOptimal = "optimal"
	QualityGap     = "gap"
)

// Root returns the proposal.
func (p ChangeProposal) Root() mfpgate.Proposal {
	q := p.Quality
	r := mfpgate.Proposal{
		ID: p.ProposalID, Report: p.BasedOn.ReportID, DeltaToken: p.BasedOn.DeltaToken, Apply: p.Apply,
		Quality: mfpgate.Quality{
			Unresolved: q.Unresolved, UnresolvedBound: q.UnresolvedLB, Moved: q.Moved, MovedBound: q.MovedLB,
			Displacement: time.Duration(q.Displacement), DisplacementBound: time.Duration(q.DisplacementLB),
			Optimal: q.Status == QualityOptimal, Gap: q.Gap, Solver: q.Solver, Seed: q.Seed,
		},
	}
	for _, c := range p.Changes {
		r.Changes = append(r.Changes, mfpgate.Change{ID: c.ChangeID, Delivery: c.DeliveryID, Version: Unquote(c.IfMatch), From: c.From, To: c.To,
			Code: c.Reason.Code, Band: c.Reason.BandID, FreedBy: c.Reason.FreedBy, Text: c.Reason.Text})
	}
	for _, u := range p.Unresolved {
		r.Unresolved = append(r.Unresolved, mfpgate.Unresolved{Delivery: u.DeliveryID, Certificate: u.Certificate.root(), Text: u.Reason,
			Options: u.Options})
	}
	return r
}

// Unquote returns an entity tag without its quotes; what has none stays as it is.
func Unquote(etag string) string {
	if inner, ok := strings.CutPrefix(etag, `"`); ok {
		if inner, ok := strings.CutSuffix(inner, `"`); ok {
			return inner
		}
	}
	return etag
}

// Outcome returns what became of the proposal.
func (p ProposalState) Outcome() mfpgate.ProposalOutcome {
	r := mfpgate.ProposalOutcome{ID: p.ProposalID, Withdrawn: p.State == "withdrawn"}
	for _, c := range p.Changes {
		version := c.NewVersion
		if version == "" {
			version = c.CurrentVersion
		}
		r.Changes = append(r.Changes, mfpgate.ChangeOutcome{Change: c.ChangeID, Delivery: c.DeliveryID, State: mfpgate.ChangeState(c.State),
			Version: string(version), Reason: c.Reason})
	}
	return r
}

// Root returns the event.
func (e ScheduleEvent) Root() mfpgate.ScheduleEvent {
	return mfpgate.ScheduleEvent{Seq: e.Seq, Type: e.Type, Object: e.Object}
}

// seconds reads a number from outside; what no duration can hold is cut off.
func seconds(s float64) time.Duration {
	switch ns := math.Round(s * 1e9); {
	case !(ns > 0): // NaN as well
		return 0
	case ns >= math.MaxInt64:
		return math.MaxInt64
	default:
		return time.Duration(ns)
	}
}
