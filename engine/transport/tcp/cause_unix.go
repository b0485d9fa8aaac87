//go:build unix

package tcp

import (
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/lyquor/lyquor/engine/transport"
)

// causes translates the system's codes; one that is missing is CauseOther.
var causes = map[syscall.Errno]transport.Cause{
	unix.EADDRINUSE:    transport.InUse,
	unix.ECONNREFUSED:  transport.Refused,
	unix.EHOSTUNREACH:  transport.Unreachable,
	unix.EHOSTDOWN:     transport.Unreachable,
	unix.ENETUNREACH:   transport.Unreachable,
	unix.ENETDOWN:      transport.Unreachable,
	unix.EADDRNOTAVAIL: transport.Unreachable, // to connect, Linux says so too if it has no address of the family
	unix.EAFNOSUPPORT:  transport.Unreachable,
	unix.ETIMEDOUT:     transport.TimedOut,
	unix.ECONNRESET:    transport.Reset,
	unix.ECONNABORTED:  transport.Reset,
	unix.EPIPE:         transport.Reset,
	unix.ENOTCONN:      transport.Reset, // of a link: it was connected once
	unix.EACCES:        transport.Denied,
	unix.EPERM:         transport.Denied,
	unix.EMFILE:        transport.Exhausted,
	unix.ENFILE:        transport.Exhausted,
	unix.ENOBUFS:       transport.Exhausted,
	unix.ENOMEM:        transport.Exhausted,
}

// passingErrors are what accept(2) returns for a connection that failed while it was
// queued. EPERM and EOPNOTSUPP, which the manual lists too, are left out: a sandbox
// or a wrong socket gives them at every call.
var passingErrors = map[syscall.Errno]bool{
	unix.ECONNABORTED: true,
	unix.ECONNRESET:   true,
	unix.EPROTO:       true,
	unix.EHOSTUNREACH: true,
	unix.EHOSTDOWN:    true,
	unix.ENETUNREACH:  true,
	unix.ENETDOWN:     true,
}
