package ippusb

// Stats are what a transport is doing.
type Stats struct {
	Interfaces int // claimed
	Busy       int // of these, with a transaction
	Waiting    int // requests that wait for one
}

// Stats says what the transport is doing.
func (t *Transport) Stats() Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	return Stats{len(t.pairs), len(t.pairs) - len(t.idle), len(t.waiting)}
}
