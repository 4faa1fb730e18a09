package throttle

// Keys is how many are remembered.
func (t *Throttle) Keys() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.clear)
}
