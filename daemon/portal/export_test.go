package portal

// Patterns are the addresses that p serves.
func (p *Portal) Patterns() (list []string) {
	for _, x := range p.routes() {
		list = append(list, x.pattern)
	}
	return list
}
