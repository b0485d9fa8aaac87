//go:build unix

package tcp

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/lyquor/lyquor/engine/internal/system"
)

// inspect says what is wrong with a descriptor of the caller's, which is to be a
// connected stream socket or, if listening, one that listens. It changes nothing.
func inspect(fd int, listening bool) error {
	kind, err := system.Getsockopt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	switch {
	case err == unix.EBADF:
		return badAddress("descriptor %d is not open", fd)
	case err == unix.ENOTSOCK:
		return badAddress("descriptor %d is not a socket; allowed is a stream socket", fd)
	case err != nil:
		return os.NewSyscallError("getsockopt", err)
	case kind != unix.SOCK_STREAM:
		return badAddress("descriptor %d is a socket of type %d; allowed is a stream socket (type %d)",
			fd, kind, unix.SOCK_STREAM)
	}
	listens, err := system.Getsockopt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err != nil {
		return os.NewSyscallError("getsockopt", err)
	}
	if listening {
		if listens == 0 {
			return badAddress("descriptor %d does not listen; listen(2) must have been called on it", fd)
		}
		return nil
	}
	if listens != 0 {
		return badAddress("descriptor %d listens; allowed to dial is a connected socket", fd)
	}
	if _, err = system.Getpeername(fd); err == unix.ENOTCONN {
		return badAddress("descriptor %d is not connected, or not any more", fd)
	}
	return nil
}

// stopListening has a listening socket refuse connections from now on, which closing
// alone does not do while a forked child holds a copy. Systems that know it for
// connected sockets only refuse, and lose nothing by it.
func stopListening(socket syscall.RawConn) {
	_ = socket.Control(func(fd uintptr) { _ = system.Shutdown(int(fd), unix.SHUT_RDWR) })
}
