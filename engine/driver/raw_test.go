//go:build linux

package driver

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lyquor/lyquor/engine/endpoint"
	"github.com/lyquor/lyquor/engine/wire"

	"github.com/stretchr/testify/require"
)

// rawListener returns the address of a socket with the shortest backlog, from which
// nobody accepts.
func rawListener(k *kit) string {
	k.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(k, err)
	k.Cleanup(func() { unix.Close(fd) })
	require.NoError(k, unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	require.NoError(k, unix.Listen(fd, 0))
	name, err := unix.Getsockname(fd)
	require.NoError(k, err)
	return (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: name.(*unix.SockaddrInet4).Port}).String()
}

// connect returns a bare socket to a listener.
func (s *server) connect(k *kit) net.Conn {
	k.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(s.Addr(), "tcp://"))
	require.NoError(k, err)
	k.Cleanup(func() { c.Close() })
	require.NoError(k, c.SetDeadline(time.Now().Add(patience)))
	return c
}

// greeting is a peer's beginning.
func greeting() []byte {
	b := wire.AppendPreface(nil, wire.Preface{Min: wire.WireVersion, Max: wire.WireVersion})
	return wire.AppendHello(b, wire.Hello{Incarnation: [16]byte{1}, Agent: "raw"})
}

// lastFrame returns what the last frame of a stream says, which is a GOAWAY.
func goAway(k *kit, stream []byte) wire.GoAway {
	k.Helper()
	stream = stream[wire.PrefaceSize:]
	for {
		require.GreaterOrEqual(k, len(stream), wire.HeaderSize, "no GOAWAY")
		h := wire.GetHeader(stream)
		if h.Kind() == wire.KindGoAway {
			g, err := wire.ParseGoAway(stream[wire.HeaderSize:][:h.Size()])
			require.NoError(k, err)
			require.Len(k, stream, h.FrameSize(), "GOAWAY is the last")
			return g
		}
		stream = stream[h.FrameSize():]
	}
}

// TestHostilePeers end their own endpoint, are told why, and disturb nobody.
func TestHostilePeers(t *testing.T) {
	onTCP(t, func(k *kit) {
		d := k.open(nil)
		s := k.listen(d, EndpointOptions{}, nil)
		good := k.dial(d, s.Addr(), EndpointOptions{}, nil)
		peer := s.accept(k)
		header := func(size uint32, kind wire.Kind) []byte {
			b := make([]byte, 8)
			wire.PutHeader(b, wire.MakeHeader(size, kind, 0, 0))
			return b
		}
		for _, c := range []struct {
			name  string
			bytes []byte
			code  endpoint.Code
			text  string
			told  bool
		}{
			{"another protocol", []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), endpoint.Protocol,
				"wire: the peer is not a lyquor", false},
			{"kind 0", append(greeting(), make([]byte, 8)...), endpoint.Protocol, "wire: frame of kind 0", true},
			{"START too long", append(greeting(), header(1<<31, wire.Start)...), endpoint.TooLarge,
				"message of 2147483648 bytes; at most 1048576 are accepted", true},
			{"MSG too long", append(greeting(), header(1<<31, wire.Msg)...), endpoint.Protocol,
				"wire: MSG of size", true},
			{"noise", bytes.Repeat([]byte{0x8c}, 100_000), endpoint.Protocol,
				"wire: the peer is not a lyquor", false},
		} {
			conn := s.connect(k)
			_, err := conn.Write(c.bytes)
			require.NoError(k, err)
			detail := s.accept(k).awaitEnd()
			require.Equal(k, c.code, endpoint.Code(detail.Code), c.name)
			require.Contains(k, detail.Text, c.text, c.name)
			stream, err := io.ReadAll(conn)
			if c.told {
				require.NoError(k, err, c.name)
				g := goAway(k, stream)
				require.Equal(k, int32(c.code), g.Code, c.name)
				require.Contains(k, g.Text, c.text, c.name)
			}
			require.True(k, k.logged("endpoint.protocol"))
		}
		good.send(0, 0, []byte("unharmed"))
		peer.awaitMessages(1)
	})
}

// TestPeersThatLeave in the middle of something.
func TestPeersThatLeave(t *testing.T) {
	onTCP(t, func(k *kit) {
		s := k.listen(k.open(nil), EndpointOptions{Resume: WithLink}, nil)
		long := make([]byte, 8)
		wire.PutHeader(long, wire.MakeHeader(500_000, wire.Start, 0, 0))
		for _, sent := range [][]byte{
			nil, greeting()[:5], greeting(), append(greeting(), 1, 2, 3), append(greeting(), long...),
		} {
			conn := s.connect(k)
			_, err := conn.Write(sent)
			require.NoError(k, err)
			if len(sent) < len(greeting()) { // the program hears of it when there is a peer, or will be none
				require.NoError(k, conn.(*net.TCPConn).CloseWrite())
			}
			e := s.accept(k)
			if len(sent) >= len(greeting()) {
				e.await(endpoint.EventUp)
				require.NoError(k, conn.(*net.TCPConn).CloseWrite())
			}
			e.requireEnd(endpoint.Reset, "the peer ended the connection without a word")
		}
		conn := s.connect(k)
		_, err := conn.Write(greeting())
		require.NoError(k, err)
		e := s.accept(k)
		e.await(endpoint.EventUp)
		require.NoError(k, conn.(*net.TCPConn).SetLinger(0))
		conn.Close() // with a reset
		detail := e.awaitEnd()
		require.Equal(k, endpoint.Reset, endpoint.Code(detail.Code))
		require.Contains(k, detail.Text, "connection reset")
	})
}

// TestPingFlood: a peer that pings without end and does not read costs no memory.
func TestPingFlood(t *testing.T) {
	onTCP(t, func(k *kit) {
		s := k.listen(k.open(nil), EndpointOptions{}, nil)
		conn := s.connect(k)
		_, err := conn.Write(greeting())
		require.NoError(k, err)
		e := s.accept(k)
		pings := bytes.Repeat(wire.AppendPing(nil, wire.Ping{Nonce: 7}), 5000)
		for range 40 {
			_, err := conn.Write(pings)
			require.NoError(k, err)
		}
		fine := append([]byte(nil), pings[:0]...)
		msg := make([]byte, 8)
		wire.PutHeader(msg, wire.MakeHeader(0, wire.Msg, 0, 0))
		_, err = conn.Write(append(fine, msg...))
		require.NoError(k, err)
		e.awaitMessages(1)
		sent := make(chan int, 1)
		e.post(func() {
			e.worker.vector = endpoint.Vector{}
			e.core.Gather(e.worker.now, &e.worker.vector, 1<<30)
			sent <- e.worker.vector.Size
			e.core.Wrote(&e.worker.vector, 0)
		})
		require.Less(k, <-sent, 200, "what waits to be said")
	})
}

// TestKeepAliveAgainstASilentPeer: a socket that is open and says nothing.
func TestKeepAliveAgainstASilentPeer(t *testing.T) {
	onTCP(t, func(k *kit) {
		s := k.listen(k.open(nil), EndpointOptions{KeepAlive: 60 * time.Millisecond, Resume: WithLink}, nil)
		conn := s.connect(k)
		begin := time.Now()
		_, err := conn.Write(greeting())
		require.NoError(k, err)
		e := s.accept(k)
		e.requireEnd(endpoint.TimedOut, "no sign of life from the peer")
		require.GreaterOrEqual(k, time.Since(begin), 180*time.Millisecond)
		stream, err := io.ReadAll(conn)
		require.NoError(k, err)
		require.Equal(k, "no sign of life from the peer", goAway(k, stream).Text)
		require.Equal(k, 2, bytes.Count(stream, []byte{0, byte(wire.KindPing), 0, 0, 0}), "pings")
	})
}

// TestKeepAliveWhilePaused: nobody is taken for dead because he does not read.
func TestKeepAliveWhilePaused(t *testing.T) {
	onTCP(t, func(k *kit) {
		const period = 250 * time.Millisecond // a loaded machine must not look like silence
		var takes bool
		s := k.listen(k.open(nil), EndpointOptions{KeepAlive: period}, func(p *probe) {
			p.onMessage = func(*Endpoint, message) bool { return takes }
		})
		a := k.dial(k.open(nil), s.Addr(), EndpointOptions{KeepAlive: period}, nil)
		b := s.accept(k)
		a.await(endpoint.EventUp)
		a.send(0, 0, []byte("x"))
		eventually(k, "the pause", func() bool { return b.mirror.paused.Load() })
		_, before := a.signs()
		eventually(k, "signs of life", func() bool { _, now := a.signs(); return now >= before+5*32 })
		changed := make(chan struct{})
		b.Post(func() { takes = true; close(changed) })
		<-changed
		b.Resume()
		b.awaitMessages(1)
		_, before = a.signs()
		eventually(k, "more of them", func() bool { _, now := a.signs(); return now >= before+2*32 })
		require.Zero(k, a.has(endpoint.EventClosed))
		require.Zero(k, b.has(endpoint.EventClosed))
		require.Positive(k, a.Counts()[RoundTrip])
	})
}

// signs returns the bytes that an endpoint has sent and received.
func (e end) signs() (sent, received uint64) {
	c := e.Counts()
	return c[BytesSent], c[BytesReceived]
}

func TestHandshakeTimeout(t *testing.T) {
	onTCP(t, func(k *kit) {
		s := k.listen(k.open(nil), EndpointOptions{Connect: 100 * time.Millisecond}, nil)
		s.connect(k)
		s.accept(k).requireEnd(endpoint.TimedOut, "no handshake from the peer in time")
	})
}
