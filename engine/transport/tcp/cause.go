//go:build !js

package tcp

import (
	"context"
	"errors"
	"net"
	"syscall"

	"github.com/lyquor/lyquor/engine/transport"
)

// failure makes err the error of an operation at addr that ran under ctx.
func failure(ctx context.Context, op, addr string, err error) *transport.Error {
	e := &transport.Error{Op: op, Addr: addr, Cause: causeOf(err), Err: err}
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		e.Cause = transport.TimedOut
	case ctx.Err() != nil:
		e.Cause = transport.Canceled
	}
	return e
}

// causeOf finds the cause in what net or the system returned.
func causeOf(err error) transport.Cause {
	var (
		dns     *net.DNSError
		errno   syscall.Errno
		timeout interface{ Timeout() bool }
	)
	switch {
	case errors.Is(err, errBadAddress):
		return transport.BadAddress
	case errors.Is(err, errUnknownScheme):
		return transport.UnknownScheme
	case errors.As(err, &dns):
		return transport.Unresolved
	case errors.As(err, &errno):
		return causes[errno]
	case errors.As(err, &timeout) && timeout.Timeout():
		return transport.TimedOut
	}
	return transport.CauseOther
}
