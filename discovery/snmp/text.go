package snmp

import (
	"errors"
	"net"
	"syscall"

	"github.com/mfpgate/mfpgate/protocol/ieee1284"
)

// text is a foreign octet string as a text to show; anything else is empty.
func text(v any) string {
	b, ok := v.([]byte)
	if !ok {
		return ""
	}
	return ieee1284.Text(string(b[:min(len(b), 4*MaxText)]), MaxText)
}

// isNetwork reports whether the error is the network's, which callers look into.
func isNetwork(err error) bool {
	var op *net.OpError
	var number syscall.Errno
	return errors.As(err, &op) || errors.As(err, &number)
}
