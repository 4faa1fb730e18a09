//go:build !long

package crash_test

// kills of one store's process by TestKill; `make test-long` makes more.
const kills = 50
