package ipp

import (
	"context"
	"errors"

	"github.com/OpenPrinting/goipp"

	"github.com/mfpgate/mfpgate"
)

// dialect is how a printer wants to be asked. The zero value is how every printer is asked first.
type dialect struct {
	older int  // how many versions below 2.0
	group bool // the whole group, because it cannot pick attributes by name
}

// maxDialects bounds what is remembered; what is forgotten costs a few exchanges to learn again.
const maxDialects = 4096

// ask returns the printer's attributes, found with as many exchanges as it takes: three versions, and the group once.
func (c *Client) ask(ctx context.Context, t target, names []string) (attributes, error) {
	before := c.dialect(t.endpoint)
	d := before
	for {
		a, err := c.exchange(ctx, t, d, names)
		if err == nil {
			err = ippFailure(a.status)
			if next, again := d.after(a); again {
				d = next
				continue
			}
		}
		if err == nil && !a.describes() {
			err = ErrNotPrinter
		}
		switch {
		case err == nil && d != before:
			c.remember(t.endpoint, d)
		case errors.Is(err, ErrRefused) || errors.Is(err, ErrNotPrinter) || errors.Is(err, ErrNotIPP):
			c.remember(t.endpoint, dialect{}) // another printer, perhaps, or another firmware
		}
		return a.attributes, err
	}
}

// after says how to ask again after an answer that may be the fault of the question.
func (d dialect) after(a answer) (next dialect, again bool) {
	const oldest = 2
	switch {
	case a.status == goipp.StatusErrorVersionNotSupported && d.older < oldest:
		return dialect{older: d.older + 1, group: d.group}, true
	case a.status == goipp.StatusErrorBadRequest && d.older < oldest && !d.group: // the answer of some to a version unknown to them
		return dialect{older: d.older + 1}, true
	case d.group:
		return d, false
	case a.status == goipp.StatusErrorBadRequest: // to all versions: the names are what is bad
		return dialect{older: 1, group: true}, true
	case a.status == goipp.StatusErrorAttributesOrValues, a.status == goipp.StatusErrorRequestValue,
		a.status < 0x0100 && len(a.values) == 0:
		return dialect{older: d.older, group: true}, true
	}
	return d, false
}

func (d dialect) version() goipp.Version {
	return [...]goipp.Version{goipp.MakeVersion(2, 0), goipp.MakeVersion(1, 1), goipp.MakeVersion(1, 0)}[d.older]
}

func (d dialect) names(wanted []string) []string {
	if d.group {
		return []string{"printer-description"}
	}
	return wanted
}

func (c *Client) dialect(e mfpgate.Endpoint) dialect {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dialects[e]
}

func (c *Client) remember(e mfpgate.Endpoint, d dialect) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d == (dialect{}) {
		delete(c.dialects, e)
		return
	}
	if _, known := c.dialects[e]; !known && len(c.dialects) >= maxDialects {
		for old := range c.dialects {
			delete(c.dialects, old)
			break
		}
	}
	c.dialects[e] = d
}
