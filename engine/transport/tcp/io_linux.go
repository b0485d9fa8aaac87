package tcp

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/lyquor/lyquor/engine/internal/system"
)

// Both calls bypass the scheduler's book-keeping, which is right only because they
// cannot block: MSG_DONTWAIT sees to that even if another process, sharing a socket
// that was handed over, makes it blocking again.

// receive reads into p, which is not empty. 0 bytes and no error is the end.
func receive(fd int, p []byte) (int, syscall.Errno) {
	for {
		var n uintptr
		errno := system.Error("recvfrom")
		if errno == 0 {
			n, _, errno = unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&p[0])),
				uintptr(len(p)), unix.MSG_DONTWAIT, 0, 0)
		}
		if errno == 0 {
			wrote(p[:n])
			return int(n), 0
		}
		if errno != unix.EINTR {
			return 0, errno
		}
	}
}

// send writes at most maxIovecs slices, not all of them empty.
func send(fd int, bufs [][]byte) (int, syscall.Errno) {
	var vector [maxIovecs]unix.Iovec
	count := 0
	for _, b := range bufs {
		if len(b) > 0 {
			vector[count].Base = &b[0]
			vector[count].SetLen(len(b))
			count++
		}
	}
	willRead(bufs)
	message := unix.Msghdr{Iov: &vector[0]}
	message.SetIovlen(count)
	for {
		var n uintptr
		errno := system.Error("sendmsg")
		if errno == 0 {
			n, _, errno = unix.RawSyscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&message)),
				unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		}
		if errno == 0 {
			return int(n), 0
		}
		if errno != unix.EINTR {
			return 0, errno
		}
	}
}
