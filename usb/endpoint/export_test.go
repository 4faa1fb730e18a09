package endpoint

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
