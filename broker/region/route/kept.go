package route

import "github.com/mfpgate/mfpgate"

// Kept are Residences as they are known now, in no order; nobody is asked.
func (b *Broker) Kept() []mfpgate.Residence {
	devices := b.Devices.Devices()
	list := make([]mfpgate.Residence, 0, len(devices))
	latest := b.latest()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, d := range devices {
		list = append(list, b.residence(d, latest[d.ID]))
	}
	return list
}
