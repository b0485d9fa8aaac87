//go:build linux

package driver

import (
	"bytes"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/lyquor/lyquor/engine/endpoint"
	"github.com/lyquor/lyquor/engine/wire"

	"github.com/stretchr/testify/require"
)

// stall returns the address of a relay to another one. Of what the next dialler says it
// passes as many bytes as stand in next, and of others everything.
func (k *kit) stall(to string, next chan int64) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(k, err)
	k.Cleanup(func() { l.Close() })
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			k.Cleanup(func() { near.Close() })
			most := int64(1 << 62)
			select {
			case most = <-next:
			default:
			}
			far, err := net.Dial("tcp", strings.TrimPrefix(to, "tcp://"))
			if err != nil {
				near.Close()
				continue
			}
			k.Cleanup(func() { far.Close() })
			go func() { _, _ = io.Copy(near, far); near.Close() }()
			go func() {
				if n, _ := io.CopyN(far, near, most); n < most {
					far.Close()
				}
			}()
		}
	}()
	return "tcp://" + l.Addr().String()
}

// stranger returns the address of something that is no lyquor: it says a text to whoever
// comes, and nothing more.
func (k *kit) stranger(text string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(k, err)
	k.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			k.Cleanup(func() { c.Close() })
			_, _ = io.WriteString(c, text)
		}
	}()
	return "tcp://" + l.Addr().String()
}

// TestStalledHandshake: a link that stalls inside HELLO, and that the accepting side gives
// up first, costs the session nothing; nor does the first one end the endpoint.
func TestStalledHandshake(t *testing.T) {
	onTCP(t, func(k *kit) {
		s := k.listen(k.open(nil), EndpointOptions{Connect: 200 * time.Millisecond}, nil)
		next := make(chan int64, 1)
		next <- 40 // the preface and a part of HELLO
		a := k.dial(k.open(nil), k.stall(s.Addr(), next), EndpointOptions{}, nil)
		s.accept(k).awaitEnd() // of which nobody knew who it was
		b := s.accept(k)
		a.send(0, 0, []byte("one"))
		b.awaitMessages(1)
		next <- 40
		a.cut()
		a.send(0, 0, []byte("two"))
		b.awaitMessages(2)
		require.Zero(k, a.has(endpoint.EventRestarted)+a.has(endpoint.EventClosed))
		a.Close(0)
		a.awaitEnd()
	})
}

// resumption is what a bare peer says that resumes its session and has received nothing.
func (b end) resumption() (h wire.Hello) {
	asked := make(chan struct{})
	b.post(func() {
		peer, _ := b.core.Peer()
		h.Incarnation, h.Session = peer.Incarnation, b.core.Session()
		close(asked)
	})
	<-asked
	for i := range h.Points {
		h.Points[i].Window = wire.DefaultWindow
	}
	return h
}

// TestAlignedAfterCut: where a link breaks inside a frame, what the next one brings is
// aligned again, although it is read behind what the program keeps.
func TestAlignedAfterCut(t *testing.T) {
	onTCP(t, func(k *kit) {
		d := k.open(nil)
		kept := make(chan []byte, 3)
		s := k.listen(d, EndpointOptions{Resume: ForEver}, func(p *probe) {
			p.onRun = func(frames []byte) {
				d.table.RefBlock(d.table.Blocks().Of(unsafe.Pointer(&frames[0])), 1) // as a program does
				kept <- frames
			}
		})
		preface := wire.AppendPreface(nil, wire.Preface{Min: wire.WireVersion, Max: wire.WireVersion})
		hello := greeting()[len(preface):]
		var b end
		for i := range 3 {
			c := s.connect(k)
			m := make([]byte, 8, 16)
			wire.PutHeader(m, wire.MakeHeader(5, wire.Msg, wire.Normal, 0))
			m = append(m, "hello\x00\x00\x00"...)
			m = append(m, 1, 2, 3) // of the next frame's header
			_, err := c.Write(bytes.Join([][]byte{preface, hello, m}, nil))
			require.NoError(k, err)
			if i == 0 {
				b = s.accept(k)
			}
			frames := <-kept
			defer d.table.UnrefBlock(b.blockOf(frames), 1)
			require.Zero(k, uintptr(unsafe.Pointer(&frames[0]))%8)
			c.Close()
			eventually(k, "the link is lost", func() bool { return b.has(endpoint.EventDown) == i+1 })
			hello = wire.AppendHello(nil, b.resumption())
		}
		b.Close(0)
		b.awaitEnd()
	})
}

// TestGoodbyeBehindHello: what comes in one piece with a HELLO that resumes a session is
// heard by who has the session, or by the new endpoint if nobody has.
func TestGoodbyeBehindHello(t *testing.T) {
	for name, fits := range map[string]bool{"resumed": true, "refused": false} {
		t.Run(name, func(t *testing.T) {
			onTCP(t, func(k *kit) {
				s := k.listen(k.open(nil), EndpointOptions{Resume: ForEver}, nil)
				first := s.connect(k)
				_, err := first.Write(greeting())
				require.NoError(k, err)
				b := s.accept(k)
				b.await(endpoint.EventUp)
				first.Close()
				b.await(endpoint.EventDown)
				h := b.resumption()
				if !fits {
					h.Points[0].Received = 1 // of none that were sent
				}
				m := wire.AppendPreface(nil, wire.Preface{Min: wire.WireVersion, Max: wire.WireVersion})
				m = wire.AppendGoAway(wire.AppendHello(m, h), wire.GoAway{})
				c := s.connect(k)
				_, err = c.Write(m)
				require.NoError(k, err)
				heir := b
				if !fits {
					heir = s.accept(k)
				}
				detail := heir.awaitEnd()
				require.Equal(k, int32(endpoint.OK), detail.Code)
				require.Equal(k, "closed by the peer", detail.Text)
				b.Close(0)
				b.awaitEnd()
			})
		})
	}
}

// TestSwitchToAStranger: the endpoint goes back to where it was, with all that it has.
func TestSwitchToAStranger(t *testing.T) {
	onTCP(t, func(k *kit) {
		s := k.listen(k.open(nil), EndpointOptions{}, nil)
		a := k.dial(k.open(nil), s.Addr(), EndpointOptions{}, nil)
		b := s.accept(k)
		a.await(endpoint.EventUp)
		require.NoError(k, a.Switch(k.stranger("HTTP/1.0 400 Bad Request\r\n\r\n")))
		a.send(0, 0, []byte("precious"))
		eventually(k, "it is refused", func() bool {
			return k.logged("switch.failed " + s.Addr() + " is where it stays: wire: the peer is not a lyquor")
		})
		eventually(k, "it is back", func() bool { return a.has(endpoint.EventUp) == 2 && a.at(s.Addr()) })
		b.awaitMessages(1)
		require.Zero(k, a.has(endpoint.EventRestarted))
		a.Close(0)
		a.awaitEnd()
	})
}

// TestRedialOfAStranger: somebody else has the address for a while.
func TestRedialOfAStranger(t *testing.T) {
	onTCP(t, func(k *kit) {
		s := k.listen(k.open(nil), EndpointOptions{}, nil)
		a := k.dial(k.open(nil), s.Addr(), EndpointOptions{}, nil)
		b := s.accept(k)
		a.await(endpoint.EventUp)
		elsewhere := k.stranger("SSH-2.0-OpenSSH_9.6\r\n")
		a.post(func() { a.addr.Store(&elsewhere) }) // as if the name now meant that
		a.cut()
		a.send(0, 0, []byte("precious"))
		eventually(k, "it was there", func() bool { return k.logged("endpoint.protocol " + elsewhere) })
		here := s.Addr()
		a.post(func() { a.addr.Store(&here) })
		b.awaitMessages(1)
		require.Zero(k, a.has(endpoint.EventRestarted)+a.has(endpoint.EventClosed))
		first := k.dial(k.open(nil), elsewhere, EndpointOptions{}, nil)
		require.Equal(k, int32(endpoint.Protocol), first.awaitEnd().Code, "who has no session is told")
		a.Close(0)
		a.awaitEnd()
	})
}

// TestSwitchToSilence: an end for want of a link is not an orderly one.
func TestSwitchToSilence(t *testing.T) {
	onTCP(t, func(k *kit) {
		s := k.listen(k.open(nil), EndpointOptions{}, nil)
		a := k.dial(k.open(nil), s.Addr(), EndpointOptions{Resume: 200 * time.Millisecond}, nil)
		b := s.accept(k)
		a.await(endpoint.EventUp)
		require.NoError(k, a.Switch(k.stranger("")))
		a.await(endpoint.EventDown)
		a.send(0, 0, []byte("precious"))
		detail := a.awaitEnd()
		require.Equal(k, int32(endpoint.TimedOut), detail.Code)
		require.Equal(k, wire.LaneAccount{Accepted: 1, Never: 1}, detail.Lanes[0])
		b.Close(0)
		b.awaitEnd()
	})
}

// TestHeirInACallback: while the callback of an endpoint does not return, its peer comes
// again and again, and one of its links waits.
func TestHeirInACallback(t *testing.T) {
	onTCP(t, func(k *kit) {
		block := make(chan struct{})
		ds := k.open(func(o *Options) { o.Workers = 2 })
		var calls atomic.Int32
		o := EndpointOptions{Connect: 50 * time.Millisecond}
		s := k.listen(ds, o, func(p *probe) {
			p.onMessage = func(*Endpoint, message) bool {
				if calls.Add(1) == 1 {
					<-block
				}
				return true
			}
		})
		a := k.dial(k.open(nil), s.Addr(), o, nil)
		b := s.accept(k)
		a.await(endpoint.EventUp)
		a.send(0, 0, []byte("one"))
		eventually(k, "the callback", func() bool { return calls.Load() == 1 })
		a.cut()
		var last *suitor
		for range 6 {
			eventually(k, "the next link waits", func() bool { s := b.suitor.Load(); return s != nil && s != last })
			last = b.suitor.Load()
		}
		// The listener, the session, the link that waits, and one that takes its place.
		eventually(k, "older ones are over", func() bool { return ds.entities.Load() <= 4 })
		close(block)
		a.send(0, 0, []byte("two"))
		b.awaitMessages(2)
		eventually(k, "it is up again", func() bool { return a.mirror.phase.Load() == uint32(endpoint.Open) })
		require.Zero(k, a.has(endpoint.EventRestarted))
		a.Close(0)
		a.awaitEnd()
	})
}
