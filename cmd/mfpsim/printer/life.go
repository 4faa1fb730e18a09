package printer

import (
	"time"

	"github.com/mfpgate/mfpgate"
)

// What a printer's own life is like.
const (
	pageTime    = 2 * time.Second
	mostPages   = 20
	troubleOdds = 25 // one job in so many ends in trouble
	troubleTime = 2 * time.Minute
	serviceTime = 10 * time.Minute // until somebody changes an empty toner or a full box
)

// troubles are what may stop or warn after a job.
var troubles = []struct {
	reason string
	stops  bool
}{
	{"media-low-warning", false},
	{"media-empty-error", true},
	{"cover-open-error", true},
	{"media-jam-error", true},
	{"output-area-almost-full-report", false},
}

// idleUntilJob waits for the next job: arrivals without memory, as those of many people are.
func (p *Printer) idleUntilJob() {
	mean := float64(time.Hour) / p.site.o.JobsPerHour
	p.site.agenda.in(time.Duration(min(mean*p.site.dice.exp(), float64(100*24*time.Hour))), p.beginJob)
}

func (p *Printer) beginJob() {
	pages := 1 + p.site.dice.intN(mostPages)
	color := p.site.dice.intN(3) == 0
	p.mu.Lock()
	begins := p.power == on && p.state == mfpgate.PrinterIdle
	if begins {
		p.enter(mfpgate.PrinterProcessing, "")
	}
	p.mu.Unlock()
	if !begins {
		p.idleUntilJob()
		return
	}
	p.site.agenda.in(time.Duration(pages)*pageTime, func() { p.endJob(pages, color) })
}

func (p *Printer) endJob(pages int, color bool) {
	trouble := p.site.dice.intN(troubleOdds) == 0
	which := troubles[p.site.dice.intN(len(troubles))]
	p.mu.Lock()
	if p.power == off || p.state != mfpgate.PrinterProcessing { // switched off, or a test's word stands
		p.mu.Unlock()
		p.idleUntilJob()
		return
	}
	n := int64(pages)
	p.count(Impressions, n)
	p.count(Pages, n)
	p.count(MediaSheets, (n+1)/2)
	if color {
		p.count(ImpressionsColor, n)
	}
	serviced := p.wear(n, color)
	p.enter(mfpgate.PrinterIdle, "")
	if trouble && p.trouble == "" {
		p.trouble = which.reason
		if which.stops {
			p.enter(mfpgate.PrinterStopped, "")
		}
		p.site.agenda.in(time.Duration(float64(troubleTime)*(0.5+p.site.dice.float())), p.endTrouble)
	}
	p.mu.Unlock()
	for _, i := range serviced {
		p.site.agenda.in(serviceTime, func() { p.service(i) })
	}
	p.idleUntilJob()
}

// wear uses up supplies, and says which have just come to their end. The caller holds the lock.
func (p *Printer) wear(pages int64, color bool) (ended []int) {
	for i, s := range p.o.Supplies {
		amount := pages
		switch {
		case p.levels[i] < 0 || s.Max <= 0:
			continue // it does not know
		case s.Unit == "percent":
			amount = (pages + 9) / 10 // ten pages a point: a thousand pages a toner, so that there is something to see
		}
		chromatic := s.Color != "" && s.Color != "black"
		switch {
		case chromatic && !color:
		case s.Receives && p.levels[i] < s.Max:
			if p.levels[i] = min(s.Max, p.levels[i]+(amount+3)/4); p.levels[i] == s.Max {
				ended = append(ended, i)
			}
		case !s.Receives && p.levels[i] > 0:
			if p.levels[i] = max(0, p.levels[i]-amount); p.levels[i] == 0 {
				ended = append(ended, i)
			}
		}
	}
	return ended
}

// service puts in a new toner or an empty box.
func (p *Printer) service(i int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.o.Supplies[i]
	switch {
	case s.Receives && p.levels[i] == s.Max:
		p.levels[i] = 0
	case !s.Receives && p.levels[i] == 0:
		p.levels[i] = s.Max
	}
}

func (p *Printer) endTrouble() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.trouble != "" && p.state == mfpgate.PrinterStopped {
		p.enter(mfpgate.PrinterIdle, "")
	}
	p.trouble = ""
}
