//go:build !long

package need

// Long says that the test is one of `make test-long`.
const Long = false
