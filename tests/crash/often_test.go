//go:build long

package crash_test

// kills of one store's process by TestKill.
const kills = 200
