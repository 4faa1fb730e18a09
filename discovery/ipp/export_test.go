package ipp

import (
	"net/netip"
	"time"

	"github.com/mfpgate/mfpgate"
)

// DecodeForTest is what Identify and Read make of an answer's body.
func DecodeForTest(body []byte, parts mfpgate.Parts) (mfpgate.Sighting, mfpgate.Reading, error) {
	a, err := decode(body)
	if err != nil {
		return mfpgate.Sighting{}, mfpgate.Reading{}, err
	}
	t, err := newTarget(mfpgate.Endpoint{Protocol: mfpgate.ProtocolIPP, Address: netip.MustParseAddrPort("10.1.0.9:631"), Path: "ipp/print"})
	return a.sighting(t, time.Time{}), a.reading(parts), err
}

// DialectsForTest is how many printers' dialects are remembered.
func (c *Client) DialectsForTest() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.dialects)
}
