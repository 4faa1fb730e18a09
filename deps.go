//go:build pinned

package mfpgate

import (
	_ "github.com/OpenPrinting/goipp"
	_ "github.com/gosnmp/gosnmp"
	_ "github.com/miekg/dns"
	_ "golang.org/x/net/ipv4"
	_ "golang.org/x/time/rate"
)
