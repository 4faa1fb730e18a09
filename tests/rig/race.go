//go:build race

package rig

// racing builds the gateway as the test itself is built.
const racing = true
