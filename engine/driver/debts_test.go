//go:build linux

package driver

import (
	"math/rand/v2"
	"testing"
	"time"
	"unsafe"

	"github.com/lyquor/lyquor/engine/arena"
	"github.com/lyquor/lyquor/engine/endpoint"
	"github.com/lyquor/lyquor/engine/outbox"
	"github.com/lyquor/lyquor/engine/wire"

	"github.com/stretchr/testify/require"
)

// backlog returns how many messages of a lane are not acknowledged.
func (e end) backlog(lane wire.Lane) uint64 {
	n, _ := e.slot.Backlog(lane)
	return n
}

// awaitBacklog waits until so many messages of a lane are not acknowledged. Those that
// are count up, so that one too many would show.
func (e end) awaitBacklog(lane wire.Lane, n uint64) {
	e.t.Helper()
	eventually(e.t, "acknowledgements", func() bool { return e.backlog(lane) <= n })
	require.Equal(e.t, n, e.backlog(lane))
}

// TestManualAck: what a program was given, by callback or through an inbox, is
// acknowledged when it says so, up to that message and in that lane, and not before.
func TestManualAck(t *testing.T) {
	for name, queues := range map[string]bool{"callback": false, "inbox": true} {
		t.Run(name, func(t *testing.T) {
			onEach(t, func(k *kit) {
				o := EndpointOptions{Resume: -1, ManualAck: true}
				s := k.listen(k.open(nil), o, func(p *probe) {
					p.queues = queues
					p.onMessage = func(e *Endpoint, m message) bool {
						if m.lane == wire.Urgent {
							require.NoError(k, e.Ack(m.lane, m.id), "inside the callback")
						}
						return true
					}
				})
				a := k.dial(k.open(nil), s.Addr(), EndpointOptions{Resume: -1}, nil)
				sizes := []int{0, 1, 8, 8, 9, 20_000, 100_000, 3, 3, 3}
				for i, size := range sizes {
					a.send(wire.Normal, uint16(i), make([]byte, size))
					a.send(wire.Low, 0, []byte{byte(i)})
				}
				b := s.accept(k)
				b.awaitMessages(2 * len(sizes))
				held := make(chan *loans)
				b.Post(func() { held <- b.given })
				require.Nil(k, <-held, "what was given waits for no release")
				a.send(wire.Urgent, 0, []byte("now"))
				a.awaitBacklog(wire.Urgent, 0)
				require.EqualValues(k, len(sizes), a.backlog(wire.Normal), "nothing was acknowledged but that")
				require.ErrorIs(k, b.Ack(wire.Normal, uint64(len(sizes))), outbox.ErrNotGiven)
				require.ErrorIs(k, b.Ack(wire.Bulk, 0), outbox.ErrNotGiven)
				for _, id := range []uint64{0, 3, 5, 9} {
					require.NoError(k, b.Ack(wire.Normal, id))
					require.NoError(k, b.Ack(wire.Normal, id/2), "again")
					a.awaitBacklog(wire.Normal, 9-id)
				}
				require.EqualValues(k, 10, a.backlog(wire.Low))
				require.NoError(k, b.Ack(wire.Low, 6))
				a.awaitBacklog(wire.Low, 3)
				a.Close(0)
				account := a.awaitEnd()
				require.Equal(k, wire.LaneAccount{Accepted: 10, Acknowledged: 7, Maybe: 3}, account.Lanes[wire.Low])
				b.awaitEnd()
				require.ErrorIs(k, b.Ack(wire.Low, 9), ErrClosed)
			})
		})
	}
}

// TestManualAckIsCredit: what is not acknowledged uses up the window, the sender says
// why it waits, and everything arrives as the program goes on.
func TestManualAckIsCredit(t *testing.T) {
	onTCP(t, func(k *kit) {
		o := EndpointOptions{Resume: -1, ManualAck: true, Window: endpoint.MinWindow}
		s := k.listen(k.open(nil), o, nil)
		a := k.dial(k.open(nil), s.Addr(), EndpointOptions{Resume: -1}, nil)
		random := rand.New(rand.NewPCG(rand.Uint64(), 1))
		const count = 200 // what an outbox holds at first, and more than the window
		for range count {
			a.send(wire.Normal, 0, make([]byte, random.IntN(1200)))
		}
		b := s.accept(k)
		b.awaitMessages(10)
		eventually(k, "no credit", func() bool { return a.mirror.noCredit.Load() != 0 })
		require.Contains(k, a.Explain(), "no credit")
		require.Less(k, len(b.messages()), count)
		for acked := 0; acked < count; {
			eventually(k, "more", func() bool { return len(b.messages()) > acked })
			acked = len(b.messages())
			require.NoError(k, b.Ack(wire.Normal, uint64(acked-1)))
		}
		a.awaitBacklog(wire.Normal, 0)
		a.Close(0)
		a.awaitEnd()
		b.awaitEnd()
	})
}

// TestManualAckWhileAnAckIsPutOff: a worker that puts an ACK off is told when the program has
// acknowledged enough for it to go out, and not of each message before that.
func TestManualAckWhileAnAckIsPutOff(t *testing.T) {
	onTCP(t, func(k *kit) {
		s := k.listen(k.open(nil), EndpointOptions{ManualAck: true, Window: 64 << 10}, nil)
		a := k.dial(k.open(nil), s.Addr(), EndpointOptions{}, nil)
		const count = 60 // of 1 KiB: about the window
		for range count {
			a.send(wire.Normal, 0, make([]byte, 1000))
		}
		b := s.accept(k)
		b.awaitMessages(count)
		waits := false
		for id := uint64(0); !waits && id < 10; id++ {
			before := a.backlog(wire.Normal)
			require.NoError(k, b.Ack(wire.Normal, id))
			eventually(k, "it waits for more, or did not put the ACK off", func() bool {
				waits = b.slot.AwaitsAck(wire.Normal)
				return waits || a.backlog(wire.Normal) < before
			})
		}
		require.True(k, waits)
		require.NoError(k, b.Ack(wire.Normal, count/2))
		require.False(k, b.slot.AwaitsAck(wire.Normal), "it is told")
		a.awaitBacklog(wire.Normal, count/2-1)
		require.NoError(k, b.Ack(wire.Normal, count-1))
		a.awaitBacklog(wire.Normal, 0)
		a.Close(0)
		a.awaitEnd()
		b.awaitEnd()
	})
}

// TestManualAckAfterRestart: ids of a peer that has restarted acknowledge nothing of the
// one that came after it.
func TestManualAckAfterRestart(t *testing.T) {
	onEach(t, func(k *kit) {
		s := k.listen(k.open(nil), EndpointOptions{Resume: -1}, nil)
		a := k.dial(k.open(nil), s.Addr(), EndpointOptions{Resume: -1, ManualAck: true}, nil)
		b := s.accept(k)
		b.await(endpoint.EventUp)
		for range 5 {
			b.send(wire.Normal, 0, []byte("first life"))
		}
		a.awaitMessages(5)
		require.NoError(k, a.Ack(wire.Normal, 1))
		b.awaitBacklog(wire.Normal, 3)
		b.driver.sessions.remove(b.Endpoint) // as if its process was another one now
		a.cut()
		reborn := s.accept(k)
		a.await(endpoint.EventRestarted)
		require.NoError(k, a.Ack(wire.Normal, 3), "before anything came from the new peer")
		for range 5 {
			reborn.send(wire.Normal, 0, []byte("second life"))
		}
		messages := a.awaitMessages(10)
		require.NoError(k, a.Ack(wire.Normal, 4), "it was given that")
		require.ErrorIs(k, a.Ack(wire.Normal, 1<<outbox.NumberBits|5), outbox.ErrNotGiven)
		require.EqualValues(k, 1<<outbox.NumberBits|1, messages[6].id)
		require.NoError(k, a.Ack(wire.Normal, messages[6].id))
		reborn.awaitBacklog(wire.Normal, 3)
		require.NoError(k, a.Ack(wire.Normal, messages[9].id))
		reborn.awaitBacklog(wire.Normal, 0)
		b.Close(0)
		a.Close(0)
		a.awaitEnd()
		b.awaitEnd()
		reborn.awaitEnd()
	})
}

// TestAckWithoutOption: messages that are acknowledged by themselves are not by hand.
func TestAckWithoutOption(t *testing.T) {
	onTCP(t, func(k *kit) {
		a, b := k.pair(nil)
		a.send(0, 0, []byte("one"))
		b.awaitMessages(1)
		require.ErrorIs(k, b.Ack(0, 0), outbox.ErrNotManual)
		a.Close(0)
		a.awaitEnd()
		b.awaitEnd()
	})
}

// TestDebts: any mix of messages and acknowledgements pays each message once, in order,
// with its size, also where numbers are left out.
func TestDebts(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	for range 200 {
		var l debtLane
		var owed []struct{ number, size uint64 }
		next, paid := uint64(random.IntN(10)), uint64(0)
		for range 300 {
			if random.IntN(3) > 0 {
				size := 8 * uint64(1+random.IntN(2))
				l.add(next, size)
				owed = append(owed, struct{ number, size uint64 }{next, size})
				next += 1 + uint64(random.IntN(20)/19)
				continue
			}
			if paid += uint64(random.IntN(8)); paid > next {
				paid = next
			}
			var want outbox.Count
			for len(owed) > 0 && owed[0].number < paid {
				want.Messages++
				want.Bytes += owed[0].size
				owed = owed[1:]
			}
			require.Equal(t, want, l.pay(paid))
			bytes := 1 + uint64(random.IntN(200))
			number, ok := uint64(0), false
			for left, i := bytes, 0; i < len(owed) && !ok; i++ {
				number, ok = owed[i].number+1, left <= owed[i].size
				left -= min(left, owed[i].size)
			}
			got, enough := l.after(bytes)
			require.Equal(t, ok, enough)
			require.True(t, !ok || got == number, "%d bytes with the messages before %d, not %d", bytes, number, got)
			require.LessOrEqual(t, len(l.list)-l.at, len(owed))
		}
	}
}

// TestManualAckThroughRestarts: a program that acknowledges nothing holds nothing of peers
// that restart again and again, if it has a callback: it hears each. What an inbox holds
// of them stops the next one until enough is released.
func TestManualAckThroughRestarts(t *testing.T) {
	const window, lives = endpoint.MinWindow, 5
	for name, queues := range map[string]bool{"callback": false, "inbox": true} {
		t.Run(name, func(t *testing.T) {
			onTCP(t, func(k *kit) {
				s := k.listen(k.open(nil), EndpointOptions{}, nil)
				o := EndpointOptions{Window: window, ManualAck: true, KeepAlive: 250 * time.Millisecond}
				a := k.dial(k.open(nil), s.Addr(), o, func(p *probe) { p.queues = queues })
				var last end
				for i := range lives {
					last = s.accept(k)
					last.await(endpoint.EventUp)
					for range 60 {
						last.send(wire.Normal, uint16(i), make([]byte, 1000))
					}
					a.awaitMessages(60 * (i + 1))
					last.driver.sessions.remove(last.Endpoint) // as if its process was another one now
					if i == lives-1 && queues {
						a.slot.Held.Add(wire.Lanes*window + 1)
					}
					a.cut()
				}
				last = s.accept(k)
				last.await(endpoint.EventUp)
				last.send(wire.Normal, lives, make([]byte, 1000)) // longer than what may be read with HELLO
				if queues {
					eventually(k, "the worker waits for a release", func() bool { return a.slot.Awaited.Load() != 0 })
					require.Len(k, a.messages(), 60*lives)
					a.slot.Held.Add(-wire.Lanes*window - 1)
					if a.slot.Awaited.Swap(0) != 0 {
						a.ring()
					}
				}
				list := a.awaitMessages(60*lives + 1)
				require.NoError(k, a.Ack(wire.Normal, list[60*lives].id))
				last.awaitBacklog(wire.Normal, 0)
			})
		})
	}
}

// TestReleaseByLane: what the program keeps of one lane holds up the acknowledgement of no
// other.
func TestReleaseByLane(t *testing.T) {
	onTCP(t, func(k *kit) {
		var held store
		seed := rand.Uint64()
		k.Logf("seed %d", seed)
		random := rand.New(rand.NewPCG(seed, 1))
		d := k.open(nil)
		block := func(frames []byte) arena.Index { return d.table.Blocks().Of(unsafe.Pointer(&frames[0])) }
		s := k.listen(d, EndpointOptions{}, func(p *probe) {
			p.queues = true
			p.onRun = func(frames []byte) {
				d.table.RefBlock(block(frames), 1) // to be looked at when it is given back
				held.put(frames)
			}
		})
		a := k.dial(k.open(nil), s.Addr(), EndpointOptions{}, nil)
		b := s.accept(k)
		taken := 0
		for round := range 10 {
			var sent [wire.Lanes]uint64
			total := 1 + random.IntN(200)
			for range total {
				lane := wire.Lane(random.IntN(wire.Lanes))
				a.send(lane, 0, make([]byte, random.IntN(300)))
				sent[lane]++
			}
			taken += total
			b.awaitMessages(taken)
			held.mu.Lock()
			runs := held.runs
			held.runs = nil
			held.mu.Unlock()
			for _, i := range random.Perm(wire.Lanes) {
				giveBack(b.Endpoint, runs, func(h wire.Header) bool { return h.Lane() == wire.Lane(i) })
				a.awaitBacklog(wire.Lane(i), 0)
				sent[i] = 0
				for lane, n := range sent {
					require.Equal(k, n, a.backlog(wire.Lane(lane)), "round %d", round)
				}
			}
			for _, frames := range runs {
				d.table.UnrefBlock(block(frames), 1)
			}
		}
		a.Close(0)
		a.awaitEnd()
		b.awaitEnd()
	})
}
