package approval

// Usable is what stands between a service's answer and everybody who sees it.
var Usable = usable

// MaxInterval and MaxLifetime bound what a service may name.
const (
	MaxInterval = maxInterval
	MaxLifetime = maxLifetime
)
