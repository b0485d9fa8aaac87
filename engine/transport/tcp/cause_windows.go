package tcp

import (
	"syscall"

	"golang.org/x/sys/windows"

	"github.com/lyquor/lyquor/engine/transport"
)

// causes translates the system's codes; one that is missing is CauseOther.
var causes = map[syscall.Errno]transport.Cause{
	windows.WSAEADDRINUSE:           transport.InUse,
	windows.WSAECONNREFUSED:         transport.Refused,
	windows.WSAEHOSTUNREACH:         transport.Unreachable,
	windows.WSAEHOSTDOWN:            transport.Unreachable,
	windows.WSAENETUNREACH:          transport.Unreachable,
	windows.WSAENETDOWN:             transport.Unreachable,
	windows.WSAEADDRNOTAVAIL:        transport.Unreachable,
	windows.WSAEAFNOSUPPORT:         transport.Unreachable,
	windows.WSAETIMEDOUT:            transport.TimedOut,
	windows.ERROR_SEM_TIMEOUT:       transport.TimedOut,
	windows.WSAECONNRESET:           transport.Reset,
	windows.WSAECONNABORTED:         transport.Reset,
	windows.WSAENETRESET:            transport.Reset,
	windows.WSAENOTCONN:             transport.Reset, // of a link: it was connected once
	windows.ERROR_NETNAME_DELETED:   transport.Reset, // what AcceptEx makes of a reset
	windows.WSAEACCES:               transport.Denied,
	windows.WSAEMFILE:               transport.Exhausted,
	windows.WSAENOBUFS:              transport.Exhausted,
	windows.ERROR_NOT_ENOUGH_MEMORY: transport.Exhausted,
}

// passingErrors are what accept returns for a connection that failed while it was
// queued.
var passingErrors = map[syscall.Errno]bool{
	windows.WSAECONNABORTED:       true,
	windows.WSAECONNRESET:         true,
	windows.ERROR_NETNAME_DELETED: true,
}
