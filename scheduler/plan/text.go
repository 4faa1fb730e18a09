package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
)

// place names the site's zone as people do: "Berlin time".
func (c *scene) place() string {
	name := c.site.String()
	if name == "UTC" {
		return name
	}
	return strings.ReplaceAll(name[strings.LastIndexByte(name, '/')+1:], "_", " ") + " time"
}

// clock writes an instant in full: "02:00 Berlin time on 2 Dec".
func (c *scene) clock(at int64) string {
	return c.hour(at) + " " + c.place() + " on " + c.day(at)
}

// hour writes the time of day; seconds only if there are any, and the offset where the clock shows this time twice.
func (c *scene) hour(at int64) string {
	t := time.UnixMilli(at).In(c.site)
	layout := "15:04"
	switch {
	case at%1000 != 0:
		layout = "15:04:05.000"
	case at%60_000 != 0:
		layout = "15:04:05"
	}
	if c.repeated(at) {
		layout += "-07:00"
	}
	return t.Format(layout)
}

// repeated reports whether the clock shows the same time twice around here.
func (c *scene) repeated(at int64) bool {
	t := time.UnixMilli(at).In(c.site)
	start, end := t.ZoneBounds()
	_, offset := t.Zone()
	same := func(other time.Time, then time.Time) bool {
		_, o := other.In(c.site).Zone()
		u := t.Add(time.Duration(offset-o) * time.Second) // when the other offset shows this time
		_, really := u.Zone()
		return o != offset && really == o && !then.IsZero()
	}
	return !start.IsZero() && same(start.Add(-time.Second), start) || !end.IsZero() && same(end, end)
}

// day writes the date, with the year unless it is this one.
func (c *scene) day(at int64) string {
	t := time.UnixMilli(at).In(c.site)
	if t.Year() != time.UnixMilli(c.now).In(c.site).Year() {
		return t.Format("2 Jan 2006")
	}
	return t.Format("2 Jan")
}

// span writes a piece of time: "02:00-02:16 Berlin time on 2 Dec".
func (c *scene) span(from, to int64) string {
	if c.day(from) == c.day(to) {
		return c.hour(from) + "-" + c.hour(to) + " " + c.place() + " on " + c.day(from)
	}
	return c.hour(from) + " on " + c.day(from) + " to " + c.hour(to) + " on " + c.day(to) + " " + c.place()
}

// bandText says what a band is, who makes it and what must happen.
func (c *scene) bandText(b *mfpgate.Band) string {
	var parts []string
	for i, part := range b.Contributors {
		if i == 3 && len(b.Contributors) > 4 {
			rest := 0
			for _, p := range b.Contributors[i:] {
				rest += p.PeakShare
			}
			parts = append(parts, fmt.Sprintf("%d of %d others", rest, len(b.Contributors)-i))
			break
		}
		switch {
		case part.PeakShare == 0:
		case part.Type == mfpgate.ContributorBackground:
			parts = append(parts, fmt.Sprintf("%d of %s", part.PeakShare, part.ID))
		case part.ID == "":
			parts = append(parts, fmt.Sprintf("%d without a batch", part.PeakShare))
		default:
			parts = append(parts, fmt.Sprintf("%d of batch %s", part.PeakShare, part.ID))
		}
	}
	text := fmt.Sprintf("%s: %s at once where %d can be served (%s)", c.span(b.From.UnixMilli(), b.To.UnixMilli()), devices(b.Peak), b.Capacity,
		strings.Join(parts, ", "))
	if b.Certainty == mfpgate.OverloadRisk {
		text += fmt.Sprintf(", if they take long (%s)", percent(b.Probability))
	}
	switch b.MustMove {
	case 0:
		return text + "; none of them can be moved"
	case 1:
		return text + "; at least 1 delivery must move"
	}
	return fmt.Sprintf("%s; at least %d deliveries must move", text, b.MustMove)
}

func devices(n int) string { return count(n, "device") }

func count(n int, noun string) string {
	switch {
	case n == 1:
		return "1 " + noun
	case strings.HasSuffix(noun, "y"):
		noun = strings.TrimSuffix(noun, "y") + "ies"
	default:
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

func percent(p float64) string {
	switch {
	case p < 0.01:
		return "less than 1 %"
	case p > 0.99:
		return "more than 99 %"
	}
	return fmt.Sprintf("%.0f %%", p*100)
}

// merged joins the movable and the fixed part of each batch, the largest share first.
func (c *scene) merged(list []mfpgate.Contributor) []mfpgate.Contributor {
	var out []mfpgate.Contributor
	for _, p := range list {
		i := slices.IndexFunc(out, func(o mfpgate.Contributor) bool { return o.Type == p.Type && o.ID == p.ID })
		if i < 0 {
			out = append(out, p)
			continue
		}
		out[i].Count += p.Count
		out[i].PeakShare += p.PeakShare
	}
	slices.SortFunc(out, func(a, b mfpgate.Contributor) int {
		switch {
		case a.PeakShare != b.PeakShare:
			return b.PeakShare - a.PeakShare
		case a.Count != b.Count:
			return b.Count - a.Count
		case a.Type != b.Type:
			return strings.Compare(a.Type, b.Type)
		}
		return strings.Compare(a.ID, b.ID)
	})
	return out
}
