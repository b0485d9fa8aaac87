package tcp

import (
	"io"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/lyquor/lyquor/engine/internal/system"
	"github.com/lyquor/lyquor/engine/transport"
)

// maxIovecs is how many slices go into one system call. The array lies on the stack
// (1 KiB), and 64 are enough to make the call's own cost disappear.
const maxIovecs = 64

// link is a connected, non-blocking stream socket. There may be a million of them, so
// it is small: addresses are kept as numbers, because the kernel forgets the peer's
// when the connection breaks, and become text when asked for.
type link struct {
	local, remote netip.AddrPort // invalid for a socket that is not of IP
	fd            int32          // -1 after Close
	given         int32          // the number in fd:// for such a socket
	death         uint16         // the errno that ended the link, or 0
	ended         bool           // CloseWrite was called
}

var (
	_ transport.Link    = (*link)(nil)
	_ transport.Shallow = (*link)(nil)
)

// Read takes bytes from the socket.
func (l *link) Read(p []byte) (int, error) {
	if l.fd < 0 {
		return 0, transport.ErrClosed
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, errno := receive(int(l.fd), p)
	switch {
	case errno == 0 && n > 0:
		return n, nil
	case l.death != 0:
		// The kernel gives an error once, to whichever call comes first, and then
		// pretends an orderly end. If Write got it, Read has to remember.
		return 0, l.failure("read")
	case errno == 0:
		return 0, io.EOF
	case errno == unix.EAGAIN:
		return 0, transport.ErrAgain
	}
	l.death = uint16(errno)
	return 0, l.failure("read")
}

// Write gives bytes to the socket.
func (l *link) Write(bufs [][]byte) (int, error) {
	switch {
	case l.fd < 0 || l.ended:
		return 0, transport.ErrClosed
	case l.death != 0:
		return 0, l.failure("write")
	}
	total := 0
	for len(bufs) > 0 {
		batch := bufs[:min(len(bufs), maxIovecs)]
		bufs = bufs[len(batch):]
		want := 0
		for _, b := range batch {
			want += len(b)
		}
		if want == 0 {
			continue
		}
		n, errno := send(int(l.fd), batch)
		if errno == 0 {
			total += n
			if n < want {
				// The socket is full, and the kernel knows that somebody waits.
				return total, nil
			}
			continue
		}
		if errno != unix.EAGAIN {
			l.death = uint16(errno)
		}
		return l.stopped(total)
	}
	return total, nil
}

// stopped returns what Write says after total bytes and an error: the bytes if
// there are any, and the error the next time.
func (l *link) stopped(total int) (int, error) {
	switch {
	case total > 0:
		return total, nil
	case l.death != 0:
		return 0, l.failure("write")
	}
	return 0, transport.ErrAgain
}

// unsentMost bounds what a shallow link's socket takes beyond what is under way, in
// bytes. The kernel takes at most one packet of 64 KiB more, and says that the socket is
// writable when less than half is left (TCP_NOTSENT_LOWAT in tcp(7)). Half of this cost
// two fifths of the throughput on loopback: the owner did not wake up in time.
const unsentMost = 256 << 10

// Shallow bounds what the socket holds unsent. One that is not of TCP does not know the option.
func (l *link) Shallow() {
	_ = system.Setsockopt(int(l.fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsentMost)
}

// CloseWrite sends the end of this direction.
func (l *link) CloseWrite() error {
	switch {
	case l.fd < 0:
		return transport.ErrClosed
	case l.ended:
		return nil
	}
	l.ended = true
	if err := system.Shutdown(int(l.fd), unix.SHUT_WR); err != nil {
		if l.death == 0 {
			l.death = uint16(err.(syscall.Errno))
		}
		return l.failure("close")
	}
	return nil
}

// Close ends the connection and gives the descriptor back.
func (l *link) Close() error {
	if l.fd < 0 {
		return nil
	}
	fd := int(l.fd)
	l.fd = -1
	// A copy in a forked child would keep the connection open. The connection may be
	// broken already, which is no news.
	_ = system.Shutdown(fd, unix.SHUT_RDWR)
	if err := system.Close(fd); err != nil && err != unix.EINTR {
		// After EINTR the descriptor is gone on Linux; close(2), "Dealing with error
		// returns".
		err = os.NewSyscallError("close", err)
		return &transport.Error{Op: "close", Addr: l.RemoteAddr(), Cause: causeOf(err), Err: err}
	}
	return nil
}

// Descriptor returns the socket.
func (l *link) Descriptor() int { return int(l.fd) }

// SetNotify does nothing: the link has a descriptor.
func (l *link) SetNotify(func(transport.Ready)) {}

// LocalAddr returns this end's address.
func (l *link) LocalAddr() string { return format(l.local, int(l.given)) }

// RemoteAddr returns the peer's address.
func (l *link) RemoteAddr() string { return format(l.remote, int(l.given)) }

// failure makes the error that the link has died of.
func (l *link) failure(op string) error {
	errno := syscall.Errno(l.death)
	return &transport.Error{Op: op, Addr: l.RemoteAddr(), Cause: causeOf(errno), Err: errno}
}
