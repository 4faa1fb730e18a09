//go:build !race

package rig

// Racing says that the test, and so the gateway that it builds, has the race detector.
const Racing = false
