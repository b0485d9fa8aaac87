package system

import "golang.org/x/sys/unix"

// Accept4 accepts a connection.
func Accept4(fd, flags int) (int, unix.Sockaddr, error) {
	if errno := Error("accept4"); errno != 0 {
		return -1, nil, errno
	}
	return unix.Accept4(fd, flags)
}

// Close gives a descriptor back, also when it fails: close(2).
func Close(fd int) error {
	err := unix.Close(fd)
	if errno := Error("close"); errno != 0 {
		return errno
	}
	return err
}

// EpollCreate1 opens an epoll instance.
func EpollCreate1(flags int) (int, error) {
	if errno := Error("epoll_create1"); errno != 0 {
		return -1, errno
	}
	return unix.EpollCreate1(flags)
}

// EpollCtl changes what an epoll instance watches.
func EpollCtl(epoll, op, fd int, event *unix.EpollEvent) error {
	if errno := Error("epoll_ctl"); errno != 0 {
		return errno
	}
	return unix.EpollCtl(epoll, op, fd, event)
}

// Eventfd opens an eventfd.
func Eventfd(initial uint, flags int) (int, error) {
	if errno := Error("eventfd"); errno != 0 {
		return -1, errno
	}
	return unix.Eventfd(initial, flags)
}

// Fcntl changes a descriptor, or copies it.
func Fcntl(fd uintptr, command, argument int) (int, error) {
	if errno := Error("fcntl"); errno != 0 {
		return -1, errno
	}
	return unix.FcntlInt(fd, command, argument)
}

// Getpeername returns the peer's address.
func Getpeername(fd int) (unix.Sockaddr, error) {
	if errno := Error("getpeername"); errno != 0 {
		return nil, errno
	}
	return unix.Getpeername(fd)
}

// Getsockname returns a socket's own address.
func Getsockname(fd int) (unix.Sockaddr, error) {
	if errno := Error("getsockname"); errno != 0 {
		return nil, errno
	}
	return unix.Getsockname(fd)
}

// Prctl changes the calling thread.
func Prctl(option int, a, b, c, d uintptr) error {
	if errno := Error("prctl"); errno != 0 {
		return errno
	}
	return unix.Prctl(option, a, b, c, d)
}

// Setsockopt sets an option that is a number.
func Setsockopt(fd, level, option, value int) error {
	if errno := Error("setsockopt"); errno != 0 {
		return errno
	}
	return unix.SetsockoptInt(fd, level, option, value)
}

// Shutdown ends one direction of a connection, or both.
func Shutdown(fd, how int) error {
	if errno := Error("shutdown"); errno != 0 {
		return errno
	}
	return unix.Shutdown(fd, how)
}
