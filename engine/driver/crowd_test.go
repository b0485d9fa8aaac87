//go:build linux

package driver

import (
	"sync/atomic"
	"testing"

	"github.com/lyquor/lyquor/engine/endpoint"
	"github.com/lyquor/lyquor/engine/outbox"
	"github.com/lyquor/lyquor/engine/wire"

	"github.com/stretchr/testify/require"
)

const (
	crowdMemory = minMemoryLimit
	// crowd is how many endpoints take what they can get: three times as many as there are
	// blocks in the driver's memory.
	crowd = 3 * crowdMemory / (256 << 10)
)

// openTight starts a driver with one worker and the least memory.
func (k *kit) openTight() *Driver {
	return k.open(func(o *Options) { o.Workers, o.MemoryLimit = 1, crowdMemory })
}

// requireRoom wants that an endpoint of a crowded driver can talk, both ways, that the
// driver keeps within its memory, and that what is held takes little more than its size.
func requireRoom(k *kit, d *Driver, quick, peer end) {
	k.Helper()
	for range 20 {
		before := len(peer.messages())
		quick.send(wire.Normal, 0, make([]byte, 60_000))
		peer.awaitMessages(before + 1)
		before = len(quick.messages())
		peer.send(wire.Normal, 0, make([]byte, 60_000))
		quick.awaitMessages(before + 1)
	}
	require.LessOrEqual(k, d.table.Budget(d.budget).Used.Load(), int64(crowdMemory))
	// Those that are charged, what the worker reads into, the store, and the same of the
	// driver that sends.
	require.LessOrEqual(k, d.table.Blocks().InUse(), crowdMemory/d.table.Blocks().PieceSize()+4+crowd/8)
}

// TestPausedNeighbours: programs that take nothing, more of them than there are blocks in
// the driver's memory, leave the others something to read into.
func TestPausedNeighbours(t *testing.T) {
	onEach(t, func(k *kit) {
		var refusing, accepted atomic.Int32
		refusing.Store(1)
		d := k.openTight()
		s := k.listen(d, EndpointOptions{}, func(p *probe) {
			if accepted.Add(1) <= crowd {
				p.onMessage = func(*Endpoint, message) bool { return refusing.Load() == 0 }
			}
		})
		sender := k.open(func(o *Options) { o.Workers = 1 })
		var slow []end
		for range crowd {
			a := k.dial(sender, s.Addr(), EndpointOptions{}, nil)
			b := s.accept(k)
			a.send(wire.Normal, 0, make([]byte, 8000))
			eventually(k, "a pause", func() bool { return b.mirror.paused.Load() })
			a.send(wire.Normal, 0, make([]byte, 8001))
			eventually(k, "that more is held", func() bool { return b.Counts()[MessagesReceived] == 2 })
			slow = append(slow, b)
		}
		a := k.dial(sender, s.Addr(), EndpointOptions{}, nil)
		requireRoom(k, d, a, s.accept(k))
		refusing.Store(0)
		for _, b := range slow {
			b.Resume()
			list := b.awaitMessages(2)
			require.Len(k, list[0].data, 8000)
			require.Len(k, list[1].data, 8001)
		}
	})
}

// TestHoldingNeighbours: the same of programs that pull and release nothing.
func TestHoldingNeighbours(t *testing.T) {
	onEach(t, func(k *kit) {
		var accepted atomic.Int32
		held := make([]store, crowd)
		d := k.openTight()
		s := k.listen(d, EndpointOptions{}, func(p *probe) {
			if n := accepted.Add(1); n <= crowd {
				p.queues, p.onRun = true, held[n-1].put
			}
		})
		sender := k.open(func(o *Options) { o.Workers = 1 })
		var slow, senders []end
		for range crowd {
			a := k.dial(sender, s.Addr(), EndpointOptions{}, nil)
			b := s.accept(k)
			a.send(wire.Normal, 0, make([]byte, 8000))
			b.awaitMessages(1)
			slow, senders = append(slow, b), append(senders, a)
		}
		a := k.dial(sender, s.Addr(), EndpointOptions{}, nil)
		requireRoom(k, d, a, s.accept(k))
		for i, b := range slow {
			require.Equal(k, 8008, held[i].size())
			require.Equal(k, wire.MakeHeader(8000, wire.Msg, wire.Normal, 0), wire.GetHeader(held[i].runs[0]),
				"what is held was not overwritten")
			held[i].release(b.Endpoint)
			eventually(k, "the acknowledgement", func() bool { return senders[i].acked() })
		}
	})
}

// TestSendersShortOfMemory: while most of a driver's memory is held for a peer that takes
// nothing, a sender to another that was refused hears of room, and one that needs more
// than there is does not ask in a loop.
func TestSendersShortOfMemory(t *testing.T) {
	onEach(t, func(k *kit) {
		var refusing atomic.Bool
		refusing.Store(true)
		s := k.listen(k.open(nil), EndpointOptions{}, func(p *probe) {
			p.onMessage = func(_ *Endpoint, m message) bool { return len(m.data) == 1000 && !refusing.Load() }
		})
		d := k.openTight()
		k.dial(d, s.Addr(), EndpointOptions{}, nil).send(wire.Normal, 0, make([]byte, 850_000))
		var begin, told atomic.Int64
		greedy := k.dial(d, s.Addr(), EndpointOptions{}, func(p *probe) {
			p.onEvent = func(e *Endpoint, ev endpoint.Event) {
				begin.CompareAndSwap(0, d.Now())
				if ev.Kind == endpoint.EventWritable {
					told.Add(1)
				}
				// At the end of the test it is closed, and its connection lost.
				_, err := e.Send(wire.Normal, 0, make([]byte, 900_000))
				if err != outbox.ErrAgain && err != ErrClosed {
					p.t.Errorf("900 kB: %v", err)
				}
			}
		})
		greedy.await(endpoint.EventWritable)
		modest := k.dial(d, s.Addr(), EndpointOptions{Outbox: minOutbox}, nil)
		modest.fillUp(wire.Normal, make([]byte, 1000))
		before := modest.has(endpoint.EventWritable)
		refusing.Store(false)
		for range 3 {
			s.accept(k).Resume()
		}
		eventually(k, "WRITABLE", func() bool { return modest.has(endpoint.EventWritable) > before })
		require.Greater(k, d.table.Budget(d.budget).Used.Load(), int64(crowdMemory-256<<10), "memory is short")
		require.LessOrEqual(k, told.Load(), (d.Now()-begin.Load())/memoryPeriod+1, "times that one was told")
	})
}

// TestHalfFrames: peers that stop within a frame leave the others something to read into.
func TestHalfFrames(t *testing.T) {
	onTCP(t, func(k *kit) {
		d := k.openTight()
		s := k.listen(d, EndpointOptions{}, nil)
		const size = 60_000
		frame := make([]byte, wire.HeaderSize+size)
		wire.PutHeader(frame, wire.MakeHeader(size, wire.Msg, wire.Normal, 0))
		var half []end
		var finish []func()
		for range crowd {
			conn := s.connect(k)
			_, err := conn.Write(append(greeting(), frame[:size/2]...))
			require.NoError(k, err)
			b := s.accept(k)
			b.await(endpoint.EventUp)
			half = append(half, b)
			finish = append(finish, func() {
				_, err := conn.Write(frame[size/2:])
				require.NoError(k, err)
			})
		}
		eventually(k, "all halves", func() bool {
			return d.Counts()[BytesRead] >= uint64(crowd*(len(greeting())+size/2))
		})
		a := k.dial(k.open(func(o *Options) { o.Workers = 1 }), s.Addr(), EndpointOptions{}, nil)
		requireRoom(k, d, a, s.accept(k))
		for i, b := range half {
			finish[i]()
			require.Len(k, b.awaitMessages(1)[0].data, size)
		}
	})
}
