//go:build unix

package system

import "golang.org/x/sys/unix"

// Close gives a descriptor back, also when it fails: close(2).
func Close(fd int) error {
	err := unix.Close(fd)
	if errno := Error("close"); errno != 0 {
		return errno
	}
	return err
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

// Getsockopt returns an option that is a number.
func Getsockopt(fd, level, option int) (int, error) {
	if errno := Error("getsockopt"); errno != 0 {
		return 0, errno
	}
	return unix.GetsockoptInt(fd, level, option)
}

// SetNonblock has calls on a descriptor return instead of wait.
func SetNonblock(fd int) error {
	if errno := Error("fcntl"); errno != 0 {
		return errno
	}
	return unix.SetNonblock(fd, true)
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
