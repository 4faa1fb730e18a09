package load

// Certainty says how sure an overload is.
type Certainty uint8

// The certainties.
const (
	Risk    Certainty = iota + 1 // jobs that take longer than their p50 make it
	Certain                      // jobs make it within their p50
)

// String returns "risk" or "certain".
func (c Certainty) String() string {
	switch c {
	case Risk:
		return "risk"
	case Certain:
		return "certain"
	default:
		return "none"
	}
}

// Band is a longest interval in which the planned load exceeds one capacity with one certainty.
type Band struct {
	From, To  int64 // UTC milliseconds
	Capacity  int   // devices
	Peak      int   // devices, the largest planned load
	PeakAt    int64 // the first instant at which it is reached
	Excess    int64 // device-milliseconds above the capacity
	Certainty Certainty
	// Probability is 1 for a certain band, else that of exceeding the capacity at the worst instant; the package's comment
	// says how it is estimated.
	Probability float64
	// MustLeave is how many of the band's deliveries must leave it at least, whatever else is done, or all of them where what
	// cannot move exceeds the capacity alone. Bands share deliveries: their numbers do not add up.
	MustLeave    int
	Contributors []Contributor // largest share first
}

// Contributor is a source's part in a band.
type Contributor struct {
	Source int32
	Count  int // occurrences that overlap the band
	// PeakShare is how many of the devices at PeakAt it serves; a device that several sources serve is counted for the
	// occurrence that started first in the horizon, of equal ones the first of the problem. So shares add up to Peak.
	PeakShare int
}

// Detect returns the bands of overload in the horizon, in order, or ErrProblem.
func Detect(p Problem) ([]Band, error) {
	if err := p.validate(); err != nil {
		return nil, err
	}
	overlaps := p.findOverlaps()
	planned := view{p: &p, v: &overlaps}
	bands := planned.bands()
	if len(bands) == 0 {
		return nil, nil
	}
	// What certainty, contributors and the rest are worked out from is what overlaps these bands, mostly a small part: outside
	// of them the load without the others is smaller than it was, so nothing else comes to exceed.
	hits := p.hits(&overlaps, bands)
	bands = view{p: &p, v: &overlaps, hits: hits, likely: true}.bands()
	newScene(&p, &overlaps).explain(bands, hits)
	return bands, nil
}

func (w view) bands() []Band {
	d := detector{p: w.p, likely: w.likely}
	w.levels(d.add)
	d.close()
	return d.bands
}

// detector joins levels to bands.
type detector struct {
	p      *Problem
	likely bool // split where the certainty changes
	bands  []Band
	open   bool
	band   Band
}

func (d *detector) add(l level) {
	if l.planned <= l.room {
		if d.open {
			d.close()
		}
		return
	}
	certainty := Risk
	if d.likely && l.likely > l.room {
		certainty = Certain
	}
	if !d.open || d.band.Certainty != certainty || d.band.Capacity != int(l.room) {
		d.close()
		d.open = true
		d.band = Band{From: l.from, Capacity: int(l.room), Peak: int(l.planned), PeakAt: l.from, Certainty: certainty}
	}
	if int(l.planned) > d.band.Peak {
		d.band.Peak, d.band.PeakAt = int(l.planned), l.from
	}
	d.band.To = l.to
	d.band.Excess += (l.planned - l.room) * (l.to - l.from)
}

func (d *detector) close() {
	if d.open && d.band.Peak-d.band.Capacity >= d.p.MinExcess {
		d.bands = append(d.bands, d.band)
	}
	d.open = false
}
