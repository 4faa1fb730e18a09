//go:build race

package need

// Racing says that the test has the race detector, and so have the programs that it builds.
const Racing = true
