//go:build linux

package driver

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/lyquor/lyquor/engine/endpoint"
	"github.com/lyquor/lyquor/engine/outbox"
	"github.com/lyquor/lyquor/engine/wire"

	"github.com/stretchr/testify/require"
)

// explains waits until an endpoint says that.
func (e end) explains(text string) {
	e.t.Helper()
	last := ""
	defer func() {
		if !strings.Contains(last, text) {
			e.t.Errorf("it says %q", last)
		}
	}()
	eventually(e.t, text, func() bool { last = e.Explain(); return strings.Contains(last, text) })
}

// TestExplain forces each reason and reads it.
func TestExplain(t *testing.T) {
	onTCP(t, func(k *kit) {
		d := k.open(nil)
		full := "tcp://" + fullListener(k)
		connecting := k.dial(d, full, EndpointOptions{}, nil)
		connecting.explains("connecting, nothing queued: connecting to " + full)
		connecting.send(wire.Low, 0, make([]byte, 8))
		connecting.explains("LOW: 1 queued, 16 bytes: connecting to " + full)
		connecting.send(wire.Urgent, 0, nil)
		require.Equal(k, "URGENT: 1 queued, 8 bytes: connecting to "+full+"\n"+
			"LOW: 1 queued, 16 bytes: connecting to "+full+"; URGENT goes first", connecting.Explain())

		// A socket that takes connections and says nothing.
		silent := "tcp://" + rawListener(k)
		k.dial(d, silent, EndpointOptions{}, nil).explains("handshake, nothing queued: handshake with " + silent)

		a, b := k.pair(nil)
		a.explains("open, nothing queued: about to be sent")
		a.Close(0)
		a.awaitEnd()
		a.explains("closed, nothing queued: the endpoint is closed")
		b.awaitEnd()
	})
}

// TestExplainClosing: GOAWAY is said, and the peer's end is waited for.
func TestExplainClosing(t *testing.T) {
	onTCP(t, func(k *kit) {
		s := k.listen(k.open(nil), EndpointOptions{}, nil)
		conn := s.connect(k)
		_, err := conn.Write(greeting())
		require.NoError(k, err)
		e := s.accept(k)
		e.await(endpoint.EventUp)
		e.Close(0)
		e.explains("closing, nothing queued: closing")
		e.requireEnd(endpoint.OK, "closed by this side")
	})
}

func TestExplainCallback(t *testing.T) {
	onTCP(t, func(k *kit) {
		hold := make(chan struct{})
		a, b := k.pair(func(_, b *probe) { b.onMessage = func(*Endpoint, message) bool { <-hold; return true } })
		a.send(0, 0, nil)
		b.explains("a callback runs on worker ")
		close(hold)
		b.explains("about to be sent")
	})
}

// TestExplainInFlight: of a long message that is sent and not consumed nothing is queued. What
// keeps it is the peer, not that this side takes nothing either.
func TestExplainInFlight(t *testing.T) {
	onTCP(t, func(k *kit) {
		refuse := func(*Endpoint, message) bool { return false }
		a, b := k.pair(func(a, b *probe) { a.onMessage, b.onMessage = refuse, refuse })
		a.send(wire.Low, 0, make([]byte, 20_000))
		a.explains("LOW: 0 queued, 0 bytes: 1 in flight, the peer has not consumed them")
		require.Zero(k, a.Counts()[QueuedBytes])
		b.explains("paused by this side's callback")
		b.send(wire.Low, 0, make([]byte, 20_000))
		b.explains("LOW: 0 queued, 0 bytes: 1 in flight, the peer has not consumed them")
	})
}

// store is what an inbox holds, in a test's hands.
type store struct {
	mu    sync.Mutex
	runs  [][]byte
	bytes int
}

func (s *store) put(frames []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.runs = append(s.runs, frames)
	s.bytes += len(frames)
}

func (s *store) size() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bytes
}

// release gives back everything, the last message first, as a program may.
func (s *store) release(e *Endpoint) {
	s.mu.Lock()
	runs := s.runs
	s.runs, s.bytes = nil, 0
	s.mu.Unlock()
	giveBack(e, runs, func(wire.Header) bool { return true })
}

// giveBack gives those messages back that are chosen, the last one first.
func giveBack(e *Endpoint, runs [][]byte, chosen func(wire.Header) bool) {
	for _, frames := range slices.Backward(runs) {
		var at []int
		for n := 0; n < len(frames); n += wire.GetHeader(frames[n:]).FrameSize() {
			if chosen(wire.GetHeader(frames[n:])) {
				at = append(at, n)
			}
		}
		for _, n := range slices.Backward(at) {
			(*atomic.Uint64)(unsafe.Pointer(&frames[n])).Or(ReleasedBit)
		}
	}
	if e.slot.Awaited.Swap(0) != 0 {
		e.ring()
	}
}

// TestWindow: a program that releases nothing stops the sender at the window, which says
// so; nobody is taken for dead; and it goes on once the program has released.
func TestWindow(t *testing.T) {
	onTCP(t, func(k *kit) {
		const window, size = 64 << 10, 16_000
		var held store
		s := k.listen(k.open(nil), EndpointOptions{Window: window, KeepAlive: 250 * time.Millisecond},
			func(p *probe) { p.queues, p.onRun = true, held.put })
		a := k.dial(k.open(nil), s.Addr(), EndpointOptions{KeepAlive: 250 * time.Millisecond}, nil)
		b := s.accept(k)
		a.await(endpoint.EventUp)
		sent := a.fillUp(wire.Normal, make([]byte, size))
		a.explains("5 in flight, no credit: the peer has not consumed what it was sent")
		require.LessOrEqual(k, held.size(), window+size+wire.HeaderSize)
		before, _ := b.signs()
		eventually(k, "signs of life", func() bool { now, _ := b.signs(); return now > before+4*32 })
		require.Zero(k, a.has(endpoint.EventClosed))
		require.Zero(k, b.has(endpoint.EventClosed))
		eventually(k, "the rest", func() bool {
			held.release(b.Endpoint)
			return len(b.messages()) == sent
		})
		held.release(b.Endpoint)
		eventually(k, "the acknowledgement of all", func() bool { return a.acked() })
		a.Close(0)
		a.awaitEnd()
		b.awaitEnd()
	})
}

// TestSocketFull: a peer that grants much and reads nothing fills the socket.
func TestSocketFull(t *testing.T) {
	onTCP(t, func(k *kit) {
		s := k.listen(k.open(nil), EndpointOptions{Outbox: 64 << 20, Resume: WithLink}, nil)
		hello := wire.Hello{Incarnation: [16]byte{1}}
		for i := range hello.Points {
			hello.Points[i].Window = 1 << 30
		}
		conn := s.connect(k)
		_, err := conn.Write(wire.AppendHello(wire.AppendPreface(nil, wire.Preface{Min: 1, Max: 1}), hello))
		require.NoError(k, err)
		e := s.accept(k)
		e.await(endpoint.EventUp)
		e.fillUp(wire.Normal, make([]byte, 16_000))
		e.explains("socket full for")
		require.Contains(k, e.Explain(), "the peer does not read")
		conn.Close()
		e.awaitEnd()
	})
}

// TestMemoryLimit: senders get ErrAgain when the driver's memory is used up, readers
// wait, and both go on when it is back.
func TestMemoryLimit(t *testing.T) {
	onTCP(t, func(k *kit) {
		small := k.open(func(o *Options) { o.MemoryLimit = 1 << 20 })
		var takes atomic.Bool
		s := k.listen(k.open(nil), EndpointOptions{}, func(p *probe) {
			p.onMessage = func(*Endpoint, message) bool { return takes.Load() }
		})
		var ends []end
		sent := 0
		for range 12 {
			e := k.dial(small, s.Addr(), EndpointOptions{Outbox: 1 << 20}, nil)
			e.await(endpoint.EventUp)
			ends = append(ends, e)
		}
		for _, e := range ends {
			for { // messages of one chunk, until the budget or the link says no
				if _, err := e.Send(wire.Bulk, 0, make([]byte, 60_000)); err != nil {
					require.ErrorIs(k, err, outbox.ErrAgain)
					break
				}
				sent++
			}
		}
		budget := small.table.Budget(small.budget)
		eventually(k, "somebody starves", func() bool {
			if budget.Starved.Load() == 0 { // the links took it all meanwhile
				for _, e := range ends {
					if _, err := e.Send(wire.Bulk, 0, make([]byte, 60_000)); err == nil {
						sent++
					}
				}
				return false
			}
			for _, e := range ends {
				if strings.Contains(e.Explain(), "the driver's memory limit is reached") {
					return true
				}
				if _, err := e.Send(wire.Bulk, 0, make([]byte, 60_000)); err == nil {
					sent++
				}
			}
			return false
		})
		require.LessOrEqual(k, budget.Used.Load(), budget.Limit.Load())
		takes.Store(true)
		total := 0
		var peers []end
		for range ends {
			peers = append(peers, s.accept(k))
		}
		eventually(k, "everything arrives", func() bool {
			total = 0
			for _, p := range peers {
				p.Resume()
				total += len(p.messages())
			}
			return total == sent
		})
		for _, e := range ends {
			e.send(wire.Bulk, 0, make([]byte, 60_000))
		}
		eventually(k, "and more", func() bool {
			total = 0
			for _, p := range peers {
				total += len(p.messages())
			}
			return total == sent+len(ends)
		})
	})
}

// TestFullBothWays: two programs whose memory is full of messages for each other still
// read, and so get rid of them.
func TestFullBothWays(t *testing.T) {
	onTCP(t, func(k *kit) {
		small := func(o *Options) { o.MemoryLimit, o.Workers = 1<<20, 1 }
		s := k.listen(k.open(small), EndpointOptions{Outbox: 4 << 20}, nil)
		a := k.dial(k.open(small), s.Addr(), EndpointOptions{Outbox: 4 << 20}, nil)
		b := s.accept(k)
		var sent [2]int
		for i, e := range []end{a, b} { // while the link is not up, or as fast as can be
			for n := 0; n < 200; n++ {
				if _, err := e.Send(wire.Bulk, 0, make([]byte, 60_000)); err == nil {
					sent[i]++
				}
			}
			require.Positive(k, sent[i])
		}
		b.awaitMessages(sent[0])
		a.awaitMessages(sent[1])
	})
}
