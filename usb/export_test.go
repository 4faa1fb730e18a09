package usb

// StatusNumbers are the buses and addresses in a text that ipp-usb, or somebody in its place, sent.
func StatusNumbers(text []byte) (all []int) {
	for _, s := range parseStatus(text) {
		all = append(all, s.bus, s.address)
	}
	return all
}
