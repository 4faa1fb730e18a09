package config

// Change is one key whose value is another than before.
type Change struct {
	Key     string // dotted path; a list changes as a whole
	Restart bool   // it cannot take effect in the running daemon
}

// Changes is in the order of the key table.
type Changes []Change

// Diff says what changed. A secret changes with what its file holds; the content of relay.accounts.file and of the
// certificate is not part of a Config and never a change.
func Diff(old, next *Config) Changes { return keys(old).changes(keys(next), "", false) }

func (o object) changes(other object, at string, fixed bool) Changes {
	var all Changes
	for i, k := range o {
		name, fixed := join(at, k.name), fixed || k.fixed
		if below, ok := k.kind.(object); ok {
			all = append(all, below.changes(other[i].kind.(object), name, fixed)...)
		} else if k.kind.differs(other[i].kind) {
			all = append(all, Change{name, fixed})
		}
	}
	return all
}

// Keys names every changed key.
func (c Changes) Keys() []string {
	var names []string
	for _, change := range c {
		names = append(names, change.Key)
	}
	return names
}

// Restart names the changed keys that take a restart; a reload with any is refused.
func (c Changes) Restart() []string {
	var names []string
	for _, change := range c {
		if change.Restart {
			names = append(names, change.Key)
		}
	}
	return names
}
