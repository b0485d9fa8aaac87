package tcp

import (
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/lyquor/lyquor/engine/internal/system"
	"github.com/lyquor/lyquor/engine/transport"
)

// native returns the platform's best flavour.
func native() flavour { return driven{} }

// driven makes descriptor-driven links.
type driven struct{}

// wrap takes the socket out of conn: a copy of the descriptor stays, non-blocking as
// it was, and with the original Go's poller forgets it.
func (driven) wrap(conn *net.TCPConn) (transport.Link, error) {
	defer conn.Close()
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	var fd int
	var failed error
	err = raw.Control(func(own uintptr) { fd, failed = system.Fcntl(own, unix.F_DUPFD_CLOEXEC, 0) })
	if err == nil && failed != nil {
		err = os.NewSyscallError("fcntl", failed)
	}
	if err != nil {
		return nil, err
	}
	// TCP_NODELAY is what net sets on every connection that it dials.
	return &link{local: endpointOf(conn.LocalAddr()), remote: endpointOf(conn.RemoteAddr()), fd: int32(fd)}, nil
}

// adopt takes over the caller's descriptor.
func (driven) adopt(fd int) (transport.Link, error) {
	if err := inspect(fd, false); err != nil {
		return nil, err
	}
	local, err := system.Getsockname(fd)
	if err != nil {
		return nil, os.NewSyscallError("getsockname", err)
	}
	remote, err := system.Getpeername(fd)
	if err != nil {
		return nil, os.NewSyscallError("getpeername", err)
	}
	l := &link{local: endpointIn(local), remote: endpointIn(remote), fd: int32(fd), given: int32(fd)}
	if err = prepare(fd, l.local); err != nil {
		return nil, err
	}
	return l, nil
}

// accept takes the listening socket over from net, whose own Accept would register
// each connection with Go's poller.
func (driven) accept(l *net.TCPListener) (acceptor, error) {
	defer l.Close()
	if errno := system.Error("fcntl"); errno != 0 {
		return nil, os.NewSyscallError("fcntl", errno)
	}
	file, err := l.File()
	if err != nil {
		return nil, err
	}
	return newSocketAcceptor(file, endpointOf(l.Addr()), -1)
}

// acceptFrom takes over the caller's listening descriptor.
func (driven) acceptFrom(fd int) (acceptor, error) {
	if err := inspect(fd, true); err != nil {
		return nil, err
	}
	bound, err := system.Getsockname(fd)
	if err != nil {
		return nil, os.NewSyscallError("getsockname", err)
	}
	if err = prepare(fd, netip.AddrPort{}); err != nil {
		return nil, err
	}
	// NewFile registers a non-blocking descriptor with Go's poller.
	return newSocketAcceptor(os.NewFile(uintptr(fd), format(netip.AddrPort{}, fd)), endpointIn(bound), fd)
}

// prepare makes a socket non-blocking and close-on-exec and, if it is one of TCP,
// switches Nagle's algorithm off: first what may be refused, because a socket that is
// refused is left as it was.
func prepare(fd int, local netip.AddrPort) error {
	if err := setNoDelay(fd, local); err != nil {
		return err
	}
	if err := system.SetNonblock(fd); err != nil {
		return os.NewSyscallError("fcntl", err)
	}
	unix.CloseOnExec(fd)
	return nil
}

// setNoDelay passes over sockets that are not of TCP; another protocol with IP
// addresses (MPTCP, SCTP) may know the option or not, and works without.
func setNoDelay(fd int, local netip.AddrPort) error {
	if !local.IsValid() {
		return nil
	}
	err := system.Setsockopt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if err == unix.EOPNOTSUPP || err == unix.ENOPROTOOPT {
		return nil
	}
	return os.NewSyscallError("setsockopt", err)
}

// endpointIn returns the address in a, or an invalid one if it is not one of IP.
// A zone keeps its number, which costs no look-up and which Dial takes as well.
func endpointIn(a unix.Sockaddr) netip.AddrPort {
	switch a := a.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		ip := netip.AddrFrom16(a.Addr).Unmap()
		if a.ZoneId != 0 {
			ip = ip.WithZone(strconv.FormatUint(uint64(a.ZoneId), 10))
		}
		return netip.AddrPortFrom(ip, uint16(a.Port))
	}
	return netip.AddrPort{}
}

// socketAcceptor accepts with accept4, waiting in Go's poller, so that a listener
// takes no thread.
type socketAcceptor struct {
	file  *os.File
	raw   syscall.RawConn
	bound netip.AddrPort
	given int // the number in fd://, or -1: then the socket is ours alone
}

func newSocketAcceptor(file *os.File, bound netip.AddrPort, given int) (acceptor, error) {
	raw, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil, err
	}
	return &socketAcceptor{file: file, raw: raw, bound: bound, given: given}, nil
}

func (a *socketAcceptor) addr() string { return format(a.bound, a.given) }

func (a *socketAcceptor) descriptor() int { return numberOf(a.raw) }

func (a *socketAcceptor) close() error {
	if a.given < 0 {
		stopListening(a.raw)
	}
	return a.file.Close()
}

func (a *socketAcceptor) next() (transport.Link, error) {
	var fd int
	var remote unix.Sockaddr
	var failed error
	err := a.raw.Read(func(listening uintptr) bool {
		fd, remote, failed = accept(int(listening))
		return failed != unix.EAGAIN
	})
	if err == nil && failed != nil {
		err = os.NewSyscallError("accept4", failed)
	}
	if err != nil {
		return nil, err
	}
	l := &link{remote: endpointIn(remote), fd: int32(fd), given: int32(a.given)}
	local, err := system.Getsockname(fd)
	if err == nil {
		l.local = endpointIn(local)
		err = setNoDelay(fd, l.local)
	}
	if err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

func accept(listening int) (int, unix.Sockaddr, error) {
	for {
		fd, remote, err := system.Accept4(listening, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if err != unix.EINTR {
			return fd, remote, err
		}
	}
}
