package destination

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"

	"github.com/mfpgate/mfpgate"
)

// Classify turns the error of a connection attempt into its reason.
func Classify(err error) mfpgate.Reason {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		switch errno {
		case syscall.ECONNREFUSED:
			return ReasonConnectionRefused
		case syscall.ECONNRESET, syscall.ECONNABORTED, syscall.EPIPE:
			return ReasonReset
		case syscall.ETIMEDOUT:
			return ReasonConnectionTimeout
		case syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL, syscall.EAGAIN:
			return ReasonExhausted
		}
		return ReasonUnreachable // among them EHOSTUNREACH, ENETUNREACH, and EPERM or EACCES of a local firewall
	}
	var timeout net.Error
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout() {
		return ReasonConnectionTimeout
	}
	return ReasonUnreachable
}

// telling returns the error that says more about the destination: an answer of its host before silence, silence before a
// family that this site has no route for. Of two alike the first, whose address the resolver preferred.
func telling(a, b error) error {
	if a == nil || weight(b) > weight(a) {
		return b
	}
	return a
}

func weight(err error) int {
	switch Classify(err) {
	case ReasonConnectionRefused, ReasonReset:
		return 3
	case ReasonConnectionTimeout:
		return 2
	case ReasonExhausted:
		return 1
	}
	return 0
}
