package tcp

import (
	"errors"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/lyquor/lyquor/engine/transport"
)

// pair returns both ends of a descriptor-driven link.
func pair(t *testing.T) (a, b *link) {
	t.Helper()
	tr := New(Options{})
	listening, links := listen(t, tr, "tcp://127.0.0.1:0")
	dialled, err := dial(t, tr, listening.Addr())
	require.NoError(t, err)
	accepted := receiveFrom(t, links)
	t.Cleanup(func() { accepted.Close() })
	return dialled.(*link), accepted.(*link)
}

// duplicate copies the descriptor below a link or listener, as fork does.
func duplicate(t *testing.T, of any) {
	t.Helper()
	var raw syscall.RawConn
	var err error
	switch of := of.(type) {
	case *link:
		copyOf(t, of.Descriptor())
		return
	case *stream:
		raw, err = of.conn.(syscall.Conn).SyscallConn()
	case *socketAcceptor:
		raw = of.raw
	case *netAcceptor:
		raw, err = of.l.(syscall.Conn).SyscallConn()
	}
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) { copyOf(t, int(fd)) }))
}

func copyOf(t *testing.T, fd int) {
	t.Helper()
	other, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	require.NoError(t, err)
	t.Cleanup(func() { unix.Close(other) })
}

func TestLinkIsSmall(t *testing.T) {
	require.LessOrEqual(t, unsafe.Sizeof(link{}), uintptr(80), "Go's size class for it is 80 bytes")
	const count = 2000
	tr := New(Options{})
	pairs := make([]transport.Link, 0, count)
	for range count / 2 {
		ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		require.NoError(t, err)
		for _, fd := range ends {
			l, err := tr.flavour.adopt(fd)
			require.NoError(t, err)
			pairs = append(pairs, l)
		}
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.GC() // what lies in pools goes with the second
	runtime.ReadMemStats(&before)
	for i, l := range pairs {
		require.NoError(t, l.Close())
		pairs[i] = nil
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	perLink := (int64(before.HeapAlloc) - int64(after.HeapAlloc)) / count
	t.Logf("%d bytes per link", perLink)
	require.LessOrEqual(t, perLink, int64(100))
}

func TestSocketOptions(t *testing.T) {
	a, b := pair(t)
	l, _ := listen(t, New(Options{}), "tcp://127.0.0.1:0")
	require.NoError(t, l.(*listener).source.(*socketAcceptor).raw.Control(func(fd uintptr) {
		protocol, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PROTOCOL)
		require.NoError(t, err)
		require.Equal(t, unix.IPPROTO_TCP, protocol)
	}))
	for _, l := range []*link{a, b} {
		fd := l.Descriptor()
		noDelay, err := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY)
		require.NoError(t, err)
		require.NotZero(t, noDelay)
		keepAlive, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE)
		require.NoError(t, err)
		require.Zero(t, keepAlive)
		protocol, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
		require.NoError(t, err)
		require.Equal(t, unix.IPPROTO_TCP, protocol)
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		require.NoError(t, err)
		require.NotZero(t, flags&unix.FD_CLOEXEC)
		flags, err = unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
		require.NoError(t, err)
		require.NotZero(t, flags&unix.O_NONBLOCK)
	}
}

// A child that the host has forked holds copies of all descriptors. Neither the
// peer of a closed link nor one who dials a closed listener may notice.
func TestCloseReachesThroughCopies(t *testing.T) {
	flavours(t, func(t *testing.T, tr *Transport) {
		l, links := listen(t, tr, "tcp://127.0.0.1:0")
		a, err := dial(t, tr, l.Addr())
		require.NoError(t, err)
		b := receiveFrom(t, links)
		duplicate(t, a)
		require.NoError(t, a.Close())
		_, err = readAll(t, b)
		require.Equal(t, io.EOF, err)
		require.NoError(t, b.Close())

		duplicate(t, l.(*listener).source)
		require.NoError(t, l.Close())
		_, err = dial(t, tr, l.Addr())
		require.Equal(t, transport.Refused, causeIn(t, err), "%v", err)
	})
}

// reset has the peer of b break the connection.
func reset(t *testing.T, a, b *link) {
	t.Helper()
	require.NoError(t, unix.SetsockoptLinger(a.Descriptor(), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}))
	// With a linger time of zero, closing resets; Close would shut down first, in order.
	require.NoError(t, unix.Close(a.Descriptor()))
	a.fd = -1
	poll := []unix.PollFd{{Fd: int32(b.Descriptor()), Events: unix.POLLRDHUP}}
	for poll[0].Revents&unix.POLLERR == 0 {
		n, err := unix.Poll(poll, int(patience.Milliseconds()))
		require.True(t, err == unix.EINTR || n == 1, "%v", err)
	}
}

// The kernel reports a reset once, to a read or a write; the link reports it always,
// and never as an orderly end.
func TestResetIsNeverAnEnd(t *testing.T) {
	write := func(l *link) error { _, err := l.Write([][]byte{{1}}); return err }
	read := func(l *link) error { _, err := l.Read(make([]byte, 1)); return err }
	for _, calls := range [][]func(*link) error{{read, read, write}, {write, read, write, read}} {
		a, b := pair(t)
		reset(t, a, b)
		for _, call := range calls {
			err := call(b)
			require.Equal(t, transport.Reset, causeIn(t, err), "%v", err)
			require.ErrorContains(t, err, b.RemoteAddr())
			require.NotContains(t, b.RemoteAddr(), "fd://")
		}
	}
}

// Bytes that arrived before the link died are read, then comes the cause.
func TestBytesBeforeReset(t *testing.T) {
	a, b := pair(t)
	_, err := a.Write([][]byte{[]byte("last")})
	require.NoError(t, err)
	reset(t, a, b)
	_, err = b.Write([][]byte{{1}})
	require.Equal(t, transport.Reset, causeIn(t, err))
	text, err := readAll(t, b)
	require.Equal(t, "last", text)
	require.Equal(t, transport.Reset, causeIn(t, err))
}

// Writing to a broken connection raises no SIGPIPE, whose action is the host's.
func TestNoSigpipe(t *testing.T) {
	signals := make(chan os.Signal, 10)
	signal.Notify(signals, unix.SIGPIPE, unix.SIGWINCH)
	defer signal.Stop(signals)
	a, b := pair(t)
	reset(t, a, b)
	for {
		_, err := b.Write([][]byte{{1}})
		require.Equal(t, transport.Reset, causeIn(t, err))
		if errors.Is(err, unix.EPIPE) {
			break
		}
		b.death = 0 // the first error was the reset's own
	}
	// Of signals that are pending together Go delivers those of smaller number first, so
	// this one comes last.
	require.NoError(t, unix.Kill(os.Getpid(), unix.SIGWINCH))
	require.Equal(t, unix.SIGWINCH, receiveFrom(t, signals))
}

// A socket that somebody made blocking again does not block us.
func TestNeverBlocks(t *testing.T) {
	a, b := pair(t)
	require.NoError(t, unix.SetNonblock(a.Descriptor(), false))
	_, err := a.Read(make([]byte, 1))
	require.Equal(t, transport.ErrAgain, err)
	block := make([]byte, 1<<20)
	for err = nil; err == nil; {
		_, err = a.Write([][]byte{block})
	}
	require.True(t, errors.Is(err, transport.ErrAgain))
	require.NoError(t, b.Close())
}

func BenchmarkWriteRead(bench *testing.B) {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	require.NoError(bench, err)
	a, err := driven{}.adopt(ends[0])
	require.NoError(bench, err)
	b, err := driven{}.adopt(ends[1])
	require.NoError(bench, err)
	defer a.Close()
	defer b.Close()
	bufs, p := [][]byte{make([]byte, 8), make([]byte, 64)}, make([]byte, 4096)
	bench.ReportAllocs()
	for bench.Loop() {
		if _, err = a.Write(bufs); err != nil {
			bench.Fatal(err)
		}
		if _, err = b.Read(p); err != nil {
			bench.Fatal(err)
		}
	}
}

// unsent returns what a socket has taken and not sent, in bytes.
func unsent(t *testing.T, l *link) int {
	n, err := unix.IoctlGetInt(l.Descriptor(), unix.SIOCOUTQNSD)
	require.NoError(t, err)
	return n
}

// fill writes until the link takes no more.
func fill(t *testing.T, l *link) {
	block := [][]byte{make([]byte, 64<<10)}
	for {
		n, err := l.Write(block)
		if err == transport.ErrAgain {
			return
		}
		require.NoError(t, err)
		if n < len(block[0]) {
			return
		}
	}
}

// A shallow link leaves little in the socket behind which something urgent would wait, and
// says when it is writable again.
func TestShallow(t *testing.T) {
	deep, _ := pair(t)
	fill(t, deep)
	const onePacket = 64 << 10
	require.Greater(t, unsent(t, deep), unsentMost+onePacket, "what an ordinary link holds")

	a, b := pair(t)
	a.Shallow()
	fill(t, a)
	require.LessOrEqual(t, unsent(t, a), unsentMost+onePacket)
	poll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	require.NoError(t, err)
	defer unix.Close(poll)
	event := unix.EpollEvent{Events: unix.EPOLLOUT | unix.EPOLLET&0xffffffff}
	require.NoError(t, unix.EpollCtl(poll, unix.EPOLL_CTL_ADD, a.Descriptor(), &event))
	events := make([]unix.EpollEvent, 1)
	n, err := unix.EpollWait(poll, events, 0)
	require.NoError(t, err)
	require.Zero(t, n, "writable while it is full")
	room := make([]byte, 64<<10)
	for begin := time.Now(); n == 0; {
		require.Less(t, time.Since(begin), patience, "nobody says that it is writable")
		if _, err = b.Read(room); err != transport.ErrAgain {
			require.NoError(t, err)
		}
		n, err = unix.EpollWait(poll, events, 0)
		require.NoError(t, err)
	}
	written, err := a.Write([][]byte{make([]byte, 1)})
	require.NoError(t, err)
	require.Equal(t, 1, written)
}
