//go:build !js

package tcp

import (
	"net"
	"os"
	"syscall"

	"github.com/lyquor/lyquor/engine/internal/system"
	"github.com/lyquor/lyquor/engine/transport"
)

// portable makes library-driven links of Go's own connections.
type portable struct{}

func (portable) wrap(conn *net.TCPConn) (transport.Link, error) { return newStream(conn, -1), nil }

func (portable) accept(l *net.TCPListener) (acceptor, error) {
	return &netAcceptor{l: l, given: -1}, nil
}

func (portable) adopt(fd int) (transport.Link, error) {
	conn, err := takeConn(fd)
	if err != nil {
		return nil, err
	}
	return newStream(conn, fd), nil
}

func (portable) acceptFrom(fd int) (acceptor, error) {
	l, err := takeListener(fd)
	if err != nil {
		return nil, err
	}
	return &netAcceptor{l: l, given: fd}, nil
}

// netAcceptor accepts from net.
type netAcceptor struct {
	l     net.Listener
	given int // the number in fd://, or -1: then the socket is ours alone
}

func (a *netAcceptor) addr() string { return format(endpointOf(a.l.Addr()), a.given) }

func (a *netAcceptor) next() (transport.Link, error) {
	if errno := system.Error("accept"); errno != 0 {
		return nil, os.NewSyscallError("accept", errno)
	}
	conn, err := a.l.Accept()
	if err != nil {
		return nil, err
	}
	return newStream(conn.(halfCloser), a.given), nil
}

func (a *netAcceptor) descriptor() int {
	if socket, ok := a.l.(syscall.Conn); ok {
		if raw, err := socket.SyscallConn(); err == nil {
			return numberOf(raw)
		}
	}
	return -1
}

// numberOf returns the descriptor behind raw, or -1 if it is closed.
func numberOf(raw syscall.RawConn) int {
	number := -1
	if raw.Control(func(fd uintptr) { number = int(fd) }) != nil {
		return -1
	}
	return number
}

func (a *netAcceptor) close() error {
	if socket, ok := a.l.(syscall.Conn); ok && a.given < 0 {
		if raw, err := socket.SyscallConn(); err == nil {
			stopListening(raw)
		}
	}
	return a.l.Close()
}
