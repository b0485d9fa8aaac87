//go:build race

package tcp

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// The same calls through functions that tell the race detector which memory they
// touch.

// receive reads into p, which is not empty. 0 bytes and no error is the end.
func receive(fd int, p []byte) (int, syscall.Errno) {
	for {
		n, err := unix.Read(fd, p)
		if err == nil {
			return n, 0
		}
		if err != unix.EINTR {
			return 0, err.(syscall.Errno)
		}
	}
}

// send writes at most maxIovecs slices, not all of them empty.
func send(fd int, bufs [][]byte) (int, syscall.Errno) {
	for {
		n, err := unix.SendmsgBuffers(fd, bufs, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		if err == nil {
			return n, 0
		}
		if err != unix.EINTR {
			return 0, err.(syscall.Errno)
		}
	}
}
