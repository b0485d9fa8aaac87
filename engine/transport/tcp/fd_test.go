//go:build unix

package tcp

import (
	"io"
	"net"
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/lyquor/lyquor/engine/transport"
)

func fdAddr(fd int) string { return "fd://" + strconv.Itoa(fd) }

// socket returns a new descriptor, closed at the end unless somebody took it over.
func socket(t *testing.T, domain, kind int) int {
	t.Helper()
	fd, err := unix.Socket(domain, kind, 0)
	require.NoError(t, err)
	return fd
}

// readAll reads to the end of a link, polling it, because it may be of either kind.
func readAll(t *testing.T, l transport.Link) (string, error) {
	t.Helper()
	ready := make(chan struct{}, 1)
	if l.Descriptor() < 0 {
		l.SetNotify(func(transport.Ready) {
			select {
			case ready <- struct{}{}:
			default:
			}
		})
	}
	var got []byte
	for p := make([]byte, 100); ; {
		n, err := l.Read(p)
		got = append(got, p[:n]...)
		switch {
		case err == nil:
		case err != transport.ErrAgain:
			return string(got), err
		case l.Descriptor() < 0:
			receiveFrom(t, ready)
		default:
			poll := []unix.PollFd{{Fd: int32(l.Descriptor()), Events: unix.POLLIN}}
			_, err = unix.Poll(poll, int(patience.Milliseconds()))
			if err != unix.EINTR {
				require.NoError(t, err)
			}
		}
	}
}

// Both ends of a socket pair are taken over; the links own them.
func TestAdoptSocketPair(t *testing.T) {
	flavours(t, func(t *testing.T, tr *Transport) {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		require.NoError(t, err)
		a, err := dial(t, tr, fdAddr(pair[0]))
		require.NoError(t, err)
		b, err := dial(t, tr, fdAddr(pair[1]))
		require.NoError(t, err)
		require.Equal(t, fdAddr(pair[0]), a.LocalAddr())
		require.Equal(t, fdAddr(pair[1]), b.RemoteAddr())
		if a.Descriptor() < 0 {
			a.SetNotify(func(transport.Ready) {})
		}
		n, err := a.Write([][]byte{[]byte("over a "), []byte("pair")})
		require.NoError(t, err)
		require.Equal(t, 11, n)
		require.NoError(t, a.CloseWrite())
		text, err := readAll(t, b)
		require.Equal(t, io.EOF, err)
		require.Equal(t, "over a pair", text)
		require.NoError(t, a.Close())
		require.NoError(t, b.Close())
		for _, fd := range pair {
			_, err = unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
			require.Equal(t, unix.EBADF, err, "descriptor %d outlives its link", fd)
		}
	})
}

// A connected TCP socket keeps its own addresses.
func TestAdoptTCP(t *testing.T) {
	flavours(t, func(t *testing.T, tr *Transport) {
		l, links := listen(t, tr, "tcp://127.0.0.1:0")
		fd := socket(t, unix.AF_INET, unix.SOCK_STREAM)
		port, err := strconv.Atoi(l.Addr()[len("tcp://127.0.0.1:"):])
		require.NoError(t, err)
		require.NoError(t, unix.Connect(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}))
		a, err := dial(t, tr, fdAddr(fd))
		require.NoError(t, err)
		require.Equal(t, l.Addr(), a.RemoteAddr())
		b := receiveFrom(t, links)
		require.Equal(t, a.LocalAddr(), b.RemoteAddr())
		require.NoError(t, b.Close())
	})
}

// A listening socket, of TCP or not, is taken over; closing the listener closes our
// copy only.
func TestAdoptListener(t *testing.T) {
	path := t.TempDir() + "/socket"
	for _, network := range []struct{ name, addr string }{{"tcp", "127.0.0.1:0"}, {"unix", path}} {
		flavours(t, func(t *testing.T, tr *Transport) {
			_ = os.Remove(path)
			plain, err := net.Listen(network.name, network.addr)
			require.NoError(t, err)
			defer plain.Close()
			file, err := plain.(interface{ File() (*os.File, error) }).File()
			require.NoError(t, err)
			fd, err := unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
			require.NoError(t, err)
			require.NoError(t, file.Close())
			l, links := listen(t, tr, fdAddr(fd))
			if network.name == "tcp" {
				require.Equal(t, "tcp://"+plain.Addr().String(), l.Addr())
			} else {
				require.Equal(t, fdAddr(fd), l.Addr())
			}
			conn, err := net.Dial(network.name, plain.Addr().String())
			require.NoError(t, err)
			_, err = conn.Write([]byte("hello"))
			require.NoError(t, err)
			require.NoError(t, conn.Close())
			text, err := readAll(t, receiveFrom(t, links))
			require.Equal(t, io.EOF, err)
			require.Equal(t, "hello", text)
			require.NoError(t, l.Close())
			conn, err = net.Dial(network.name, plain.Addr().String())
			require.NoError(t, err, "the socket still listens for the others that hold it")
			require.NoError(t, conn.Close())
		})
	}
}

// What cannot be taken over is refused with the reason, and left alone.
func TestAdoptRefuses(t *testing.T) {
	file, err := os.Open(os.DevNull)
	require.NoError(t, err)
	defer file.Close()
	bound := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
	listening := socket(t, unix.AF_INET, unix.SOCK_STREAM)
	require.NoError(t, unix.Bind(listening, bound))
	require.NoError(t, unix.Listen(listening, 1))
	fresh := socket(t, unix.AF_INET, unix.SOCK_STREAM)
	datagram := socket(t, unix.AF_INET, unix.SOCK_DGRAM)
	gone := socket(t, unix.AF_INET, unix.SOCK_STREAM)
	require.NoError(t, unix.Close(gone))
	const noNumber = 1<<31 - 1 // larger than any limit on descriptors
	flavours(t, func(t *testing.T, tr *Transport) {
		for _, c := range []struct {
			fd           int
			dial, listen string
		}{
			{noNumber, "is not open", "is not open"},
			{int(file.Fd()), "is not a socket", "is not a socket"},
			{datagram, "allowed is a stream socket", "allowed is a stream socket"},
			{fresh, "is not connected", "does not listen"},
			{listening, "listens; allowed to dial is a connected socket", ""},
		} {
			_, err := dial(t, tr, fdAddr(c.fd))
			require.ErrorContains(t, err, c.dial)
			require.Equal(t, transport.BadAddress, causeIn(t, err))
			if c.listen != "" {
				_, err = tr.Listen(t.Context(), fdAddr(c.fd), func(transport.Link) {}, func(error) {})
				require.ErrorContains(t, err, c.listen)
				require.Equal(t, transport.BadAddress, causeIn(t, err))
			}
		}
	})
	for _, fd := range []int{listening, fresh, datagram} {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
		require.NoError(t, err)
		require.Zero(t, flags&unix.O_NONBLOCK, "a refused descriptor was changed")
		require.NoError(t, unix.Close(fd))
	}
}
