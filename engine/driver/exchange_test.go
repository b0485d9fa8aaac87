//go:build linux

package driver

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lyquor/lyquor/engine/endpoint"
	"github.com/lyquor/lyquor/engine/outbox"
	"github.com/lyquor/lyquor/engine/wire"

	"github.com/stretchr/testify/require"
)

func TestConnectAndExchange(t *testing.T) {
	onEach(t, func(k *kit) {
		seed := uint64(time.Now().UnixNano())
		k.Logf("seed %d", seed)
		random := rand.New(rand.NewPCG(seed, 0))
		a, b := k.pair(nil)
		up, err := wire.ParseUpDetail(b.events[1].Detail)
		require.NoError(k, err)
		require.Equal(k, Agent, up.Agent)
		require.Equal(k, b.Endpoint.RemoteAddr(), up.Remote)
		accepted, err := wire.ParseAcceptedDetail(b.events[0].Detail)
		require.NoError(k, err)
		require.Equal(k, up.Remote, accepted.Remote)
		sizes := []int{0, 1, 7, 8, 9, 16 << 10, 16<<10 + 1, 64 << 10, 64<<10 + 1, 1 << 20}
		for _, x := range []end{a, b} {
			var want [wire.Lanes][]message
			total := 0
			for lane := range wire.Lane(wire.Lanes) {
				for _, size := range sizes {
					data := make([]byte, size)
					for i := range data {
						data[i] = byte(random.Uint32())
					}
					id := x.send(lane, uint16(size), data)
					want[lane] = append(want[lane], message{lane, uint16(size), id, data})
					total++
				}
			}
			other := a
			if x == a {
				other = b
			}
			var got [wire.Lanes][]message
			for _, m := range other.awaitMessages(total) {
				got[m.lane] = append(got[m.lane], m)
			}
			for lane := range want {
				require.Len(k, got[lane], len(sizes))
				for i := range sizes {
					require.Equal(k, want[lane][i].id, got[lane][i].id)
					require.Equal(k, want[lane][i].channel, got[lane][i].channel)
					require.True(k, string(want[lane][i].data) == string(got[lane][i].data))
				}
			}
		}
		_, err = a.Send(0, 0, make([]byte, 1<<20+1))
		require.ErrorIs(k, err, outbox.ErrTooLarge)
		a.Close(time.Second)
		a.requireEnd(endpoint.OK, "closed by this side")
		b.requireEnd(endpoint.OK, "closed by the peer")
		_, err = a.Send(0, 0, nil)
		require.ErrorIs(k, err, ErrClosed)
	})
}

// TestEchoFromInside: Send is legal inside a sink.
func TestEchoFromInside(t *testing.T) {
	onEach(t, func(k *kit) {
		a, _ := k.pair(func(_, b *probe) {
			b.onMessage = func(e *Endpoint, m message) bool {
				_, err := e.Send(m.lane, m.channel, m.data)
				return err == nil // refused: it comes again when there is room
			}
		})
		const count = 3000
		for i := range uint64(count) {
			a.send(wire.Normal, uint16(i), binary.LittleEndian.AppendUint64(nil, i))
		}
		for i, m := range a.awaitMessages(count) {
			require.Equal(k, uint64(i), m.id)
			require.Equal(k, uint64(i), binary.LittleEndian.Uint64(m.data))
		}
	})
}

// TestManySenders: many goroutines send at once, wait for room, and each one's messages
// stay in order, with the ids that they were told.
func TestManySenders(t *testing.T) {
	onEach(t, func(k *kit) {
		const senders, each = 8, 1500
		a, b := k.pair(nil)
		ids := make([][]uint64, senders)
		var group sync.WaitGroup
		for s := range senders {
			group.Go(func() {
				for i := range each {
					data := make([]byte, 300)
					binary.LittleEndian.PutUint64(data, uint64(i))
					ids[s] = append(ids[s], a.send(wire.Normal, uint16(s), data))
				}
			})
		}
		group.Wait()
		next := make([]int, senders)
		for i, m := range b.awaitMessages(senders * each) {
			require.Equal(k, uint64(i), m.id)
			s := m.channel
			require.Equal(k, uint64(next[s]), binary.LittleEndian.Uint64(m.data), "sender %d", s)
			require.Equal(k, ids[s][next[s]], m.id)
			next[s]++
		}
		require.Positive(k, a.has(endpoint.EventWritable), "senders had to wait")
	})
}

// TestBackPressure: a peer that does not read stops the sender with ErrAgain, and
// EventWritable comes when it reads again.
func TestBackPressure(t *testing.T) {
	onEach(t, func(k *kit) {
		var takes atomic.Bool
		a, b := k.pair(func(_, b *probe) {
			b.onMessage = func(*Endpoint, message) bool { return takes.Load() }
		})
		data := make([]byte, 10_000)
		sent := a.fillUp(wire.Low, data)
		a.explains("in flight, no credit: the peer has not consumed what it was sent")
		require.Contains(k, b.Explain(), "paused by this side's callback")
		before := a.has(endpoint.EventWritable)
		takes.Store(true)
		b.Resume()
		b.awaitMessages(sent)
		eventually(k, "WRITABLE", func() bool { return a.has(endpoint.EventWritable) > before })
		a.send(wire.Low, 0, data)
		b.awaitMessages(sent + 1)
		require.Len(k, b.messages(), sent+1)
	})
}

// TestSlowSink pauses again and again, also with long messages, and gets everything once.
func TestSlowSink(t *testing.T) {
	onEach(t, func(k *kit) {
		var seen atomic.Int64
		a, b := k.pair(func(_, b *probe) {
			b.onMessage = func(*Endpoint, message) bool { return seen.Add(1)%7 != 0 }
		})
		const count = 300
		var group sync.WaitGroup
		group.Go(func() {
			for i := range count {
				size := 100
				if i%20 == 0 {
					size = 200_000
				}
				a.send(wire.Normal, uint16(i), make([]byte, size))
			}
		})
		eventually(k, "all messages", func() bool {
			b.Resume()
			return len(b.messages()) == count
		})
		group.Wait()
		for i, m := range b.messages() {
			require.Equal(k, uint64(i), m.id)
			require.Equal(k, uint16(i), m.channel)
		}
	})
}

// TestReceiveLater: nothing is read until there is a sink, and then all of it.
func TestReceiveLater(t *testing.T) {
	onEach(t, func(k *kit) {
		accepted := make(chan *Endpoint, 1)
		l, err := k.open(nil).Listen(k.where(), EndpointOptions{}, func(e *Endpoint) Sink {
			accepted <- e
			return nil
		}, nil)
		require.NoError(k, err)
		a := k.dial(k.open(nil), l.Addr(), EndpointOptions{}, nil)
		b := <-accepted
		for i := range 10 {
			a.send(wire.Normal, uint16(i), make([]byte, i%4/3*100_000))
		}
		a.await(endpoint.EventUp)
		eventually(k, "all is held", func() bool {
			return b.driver.options.Memory.(*ledger).users.Load() == 2 && b.mirror.paused.Load()
		})
		require.Contains(k, b.Explain(), "nobody receives: no callback or inbox is bound")
		p := &probe{t: k}
		require.NoError(k, b.Receive(p.sink))
		require.Equal(k, ErrReceiver, b.Receive(nobody(k)), "only one may")
		for i, m := range p.awaitMessages(10) {
			require.Equal(k, i, int(m.channel))
			require.Len(k, m.data, i%4/3*100_000)
		}
		require.Equal(k, endpoint.EventAccepted, p.events[0].Kind)
		require.Equal(k, endpoint.EventUp, p.events[1].Kind)
		b.Close(0)
		p.awaitEnd()
		require.Equal(k, ErrClosed, b.Receive(nobody(k)))
		// What is held for a sink that never comes is given back: the kit looks.
		k.dial(a.driver, l.Addr(), EndpointOptions{}, nil).send(wire.Normal, 0, make([]byte, 100_000))
		eventually(k, "one more is held", func() bool { return b.driver.options.Memory.(*ledger).users.Load() == 1 })
		<-accepted
	})
}

// TestReceiveTooLate: an endpoint whose last event comes between Receive and the
// worker's turn gives the sink its Drop alone.
func TestReceiveTooLate(t *testing.T) {
	onEach(t, func(k *kit) {
		d := k.open(nil)
		s := k.listen(d, EndpointOptions{Resume: WithLink}, nil)
		e, err := d.Dial(s.Addr(), EndpointOptions{Resume: WithLink}, func(*Endpoint) Sink { return nil })
		require.NoError(k, err)
		other := s.accept(k)
		other.await(endpoint.EventUp)
		begun, end := make(chan struct{}), make(chan struct{})
		e.Post(func() {
			close(begun)
			<-end
			e.core.Fail(e.driver.Now(), endpoint.Reset, "it ends before the worker comes to the sink")
			e.Step(e.worker.now)
		})
		<-begun
		p := &probe{t: k}
		require.NoError(k, e.Receive(p.sink))
		close(end)
		eventually(k, "Drop", p.dropped)
		require.Empty(k, p.events)
		other.awaitEnd()
	})
}

// TestNobodyReceives: what is sent and resumed at an endpoint that has no sink yet
// delivers nothing to nobody.
func TestNobodyReceives(t *testing.T) {
	onEach(t, func(k *kit) {
		accepted := make(chan *Endpoint, 1)
		l, err := k.open(nil).Listen(k.where(), EndpointOptions{}, func(e *Endpoint) Sink {
			accepted <- e
			return nil
		}, nil)
		require.NoError(k, err)
		a := k.dial(k.open(nil), l.Addr(), EndpointOptions{}, nil)
		a.await(endpoint.EventUp)
		b := <-accepted
		a.send(0, 0, []byte("waits"))
		b.Resume()
		eventually(k, "a refusal", func() bool {
			for range 1000 {
				if _, err := b.Send(0, 0, make([]byte, 10_000)); err == outbox.ErrAgain {
					return true
				}
			}
			return false
		})
		eventually(k, "the others", func() bool { return len(a.messages()) > 0 && b.Counts()[QueuedMessages] == 0 })
		p := &probe{t: k}
		require.NoError(k, b.Receive(p.sink))
		p.awaitMessages(1)
		p.await(endpoint.EventWritable) // kept until there was somebody
	})
}

func TestHalfClose(t *testing.T) {
	onEach(t, func(k *kit) {
		a, b := k.pair(nil)
		a.send(wire.Bulk, 0, make([]byte, 300_000))
		a.End()
		b.await(endpoint.EventEnded)
		require.Len(k, b.messages(), 1)
		_, err := a.Send(0, 0, nil)
		require.ErrorIs(k, err, ErrClosed)
		b.send(0, 0, []byte("still"))
		a.awaitMessages(1)
		b.End()
		a.await(endpoint.EventEnded)
		b.Close(time.Second)
		b.requireEnd(endpoint.OK, "closed by this side")
		a.requireEnd(endpoint.OK, "closed by the peer")
	})
}

// TestManyEndpoints: all of them talk, to two workers each side.
func TestManyEndpoints(t *testing.T) {
	onEach(t, func(k *kit) {
		const count, each = manyEndpoints, 3
		var got atomic.Int64
		s := k.listen(k.open(nil), EndpointOptions{}, func(p *probe) {
			p.onMessage = func(e *Endpoint, m message) bool {
				_, err := e.Send(m.lane, m.channel, m.data)
				return err == nil // refused: it comes again when there is room
			}
		})
		d := k.open(nil)
		ends := make([]end, count)
		for i := range ends {
			ends[i] = k.dial(d, s.Addr(), EndpointOptions{}, func(p *probe) {
				p.onMessage = func(*Endpoint, message) bool { got.Add(1); return true }
			})
			for n := range each {
				ends[i].send(wire.Normal, uint16(n), []byte(fmt.Sprint(i)))
			}
		}
		eventually(k, "all echoes", func() bool { return got.Load() == count*each })
		for i, e := range ends {
			for n, m := range e.messages() {
				require.Equal(k, uint64(n), m.id)
				require.Equal(k, fmt.Sprint(i), string(m.data))
			}
		}
		counts := d.Counts()
		require.Equal(k, uint64(count*each), counts[Frames])
		require.Equal(k, uint64(count), counts[Endpoints])
		for n := range d.Workers() {
			one, ok := d.WorkerCounts(n + 1)
			require.True(k, ok)
			require.InDelta(k, count/2, one[Endpoints], count/10, "worker %d", n)
		}
	})
}

// TestFullInbox: what an inbox has no room for comes later, without a word from the program.
func TestFullInbox(t *testing.T) {
	onEach(t, func(k *kit) {
		d := k.open(nil)
		asked := 0
		s := k.listen(d, EndpointOptions{}, func(p *probe) {
			p.queues = true
			p.onMessage = func(*Endpoint, message) bool { asked++; return asked%3 == 0 }
		})
		a := k.dial(d, s.Addr(), EndpointOptions{}, nil)
		b := s.accept(k)
		for range 2 { // which the window allows: nothing is ever released here
			a.send(wire.Normal, 0, []byte("short"))
			a.send(wire.Normal, 0, []byte("another"))
			a.send(wire.Normal, 0, make([]byte, 100_000))
		}
		for i, m := range b.awaitMessages(6) {
			require.Equal(k, uint64(i), m.id)
		}
	})
}

// TestNoVainWritable: who was refused hears of room only when his message has some, not
// again and again.
func TestNoVainWritable(t *testing.T) {
	onTCP(t, func(k *kit) {
		large := make([]byte, 300<<10)
		again := 0
		a := k.dial(k.open(nil), "tcp://127.0.0.1:1", EndpointOptions{}, func(p *probe) {
			p.onEvent = func(e *Endpoint, ev endpoint.Event) {
				if ev.Kind == endpoint.EventWritable {
					if _, err := e.Send(wire.Normal, 0, large); err == ErrAgain {
						again++
					}
				}
			}
		})
		a.send(wire.Normal, 0, []byte("small"))
		_, err := a.Send(wire.Normal, 0, large)
		require.ErrorIs(k, err, ErrAgain)
		for range 20 {
			turn := make(chan struct{})
			a.post(func() { close(turn) })
			<-turn
		}
		a.Close(0)
		a.awaitEnd()
		require.Zero(k, again)
	})
}
