package system

import "golang.org/x/sys/unix"

// Accept4 accepts a connection.
func Accept4(fd, flags int) (int, unix.Sockaddr, error) {
	if errno := Error("accept4"); errno != 0 {
		return -1, nil, errno
	}
	return unix.Accept4(fd, flags)
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

// Prctl changes the calling thread.
func Prctl(option int, a, b, c, d uintptr) error {
	if errno := Error("prctl"); errno != 0 {
		return errno
	}
	return unix.Prctl(option, a, b, c, d)
}
