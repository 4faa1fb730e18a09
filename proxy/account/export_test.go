package account

// Sources counts what a Limiter keeps.
func Sources(l *Limiter) int { return len(l.forgiven) }

// Remember makes a File keep only the last n verified credentials.
func Remember(f *File, n int) { f.good.limit = n }
