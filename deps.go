//go:build pinned

package mfpgate

// Modules that are pinned before their first import.
import (
	_ "github.com/brutella/dnssd"
	_ "github.com/google/gousb"
)
