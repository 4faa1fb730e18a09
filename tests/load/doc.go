// Package load shows that the relay keeps its promise of capacity under a whole site's load: never more devices at once
// than it was told, everybody's turn in time, and nothing left behind. And that the gateway knows a great site's devices: each
// once, each asked in its turn, and who is away.
package load
