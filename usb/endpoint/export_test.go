package endpoint

import "net/netip"

// LetIn is how many of these come in to an endpoint that is shared with all.
func LetIn(from ...netip.Addr) (in int) {
	share := LAN
	d := &door{clients: func(netip.Addr) bool { return true }, hosts: map[string]int{}}
	d.share.Store(&share)
	for _, a := range from {
		if _, ok := d.enter(a, func() bool { return false }); ok {
			in++
		}
	}
	return in
}

// Owner is whose socket the kernel's table says.
var Owner = owner

// URL is Address as a URL: http://127.0.0.1:61000.
func (p *Endpoint) URL() string { return "http://" + p.Address().String() }

// Shared says whether the site's network may use it now.
func (p *Endpoint) Shared() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.share == LAN
}

// Name is what it was published as last; "": nothing yet.
func (p *Endpoint) Name() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.name
}
