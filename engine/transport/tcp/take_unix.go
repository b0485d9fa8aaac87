//go:build unix

package tcp

import (
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/lyquor/lyquor/engine/internal/system"
)

// takeConn makes a connection of net's of the caller's descriptor.
func takeConn(fd int) (halfCloser, error) {
	if err := inspect(fd, false); err != nil {
		return nil, err
	}
	return take(fd, func(f *os.File) (halfCloser, error) {
		conn, err := net.FileConn(f)
		if err != nil {
			return nil, err
		}
		return conn.(halfCloser), nil // stream sockets of all families that net knows
	})
}

// takeListener makes a listener of net's of the caller's descriptor.
func takeListener(fd int) (net.Listener, error) {
	if err := inspect(fd, true); err != nil {
		return nil, err
	}
	return take(fd, net.FileListener)
}

// take has net make T of a copy of fd, since net copies what it is given, and closes
// fd only when that has succeeded.
func take[T any](fd int, open func(*os.File) (T, error)) (T, error) {
	var none T
	own, err := system.Fcntl(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return none, os.NewSyscallError("fcntl", err)
	}
	file := os.NewFile(uintptr(own), format(netip.AddrPort{}, fd))
	defer file.Close()
	taken, err := open(file)
	if err != nil {
		return none, err
	}
	_ = system.Close(fd) // whatever it says, the descriptor is gone
	return taken, nil
}
