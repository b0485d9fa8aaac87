//go:build linux

package driver

import (
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lyquor/lyquor/engine/endpoint"
	"github.com/lyquor/lyquor/engine/outbox"
	"github.com/lyquor/lyquor/engine/wire"

	"github.com/stretchr/testify/require"
)

// TestCloseDelivers: with time to linger, everything accepted arrives first.
func TestCloseDelivers(t *testing.T) {
	for name, linger := range map[string]time.Duration{"positive": patience, "for ever": -1} {
		t.Run(name, func(t *testing.T) {
			onEach(t, func(k *kit) {
				a, b := k.pair(nil)
				sent := 0
				for a.has(endpoint.EventWritable) == 0 && sent < 200 {
					if _, err := a.Send(wire.Bulk, 0, make([]byte, 30_000)); err == nil {
						sent++
					}
				}
				a.Close(linger)
				b.requireEnd(endpoint.OK, "closed by the peer")
				a.requireEnd(endpoint.OK, "closed by this side")
				require.Len(k, b.messages(), sent)
			})
		})
	}
}

// TestCloseAtOnce drops what is queued, and says so in the account.
func TestCloseAtOnce(t *testing.T) {
	onEach(t, func(k *kit) {
		a, b := k.pair(func(_, b *probe) { b.onMessage = func(*Endpoint, message) bool { return false } })
		sent := uint64(a.fillUp(wire.Bulk, make([]byte, 10_000)))
		a.Close(0)
		a.Close(0)
		account := a.awaitEnd()
		require.Equal(k, "closed by this side", account.Text)
		require.Equal(k, sent, account.Lanes[wire.Bulk].Accepted)
		require.Less(k, account.Lanes[wire.Bulk].Acknowledged, sent)
		b.Close(0)
		b.awaitEnd()
	})
}

// TestShortLingerIsNotNone and a negative one is for ever, whatever the unit.
func TestLingerMillis(t *testing.T) {
	require.Equal(t, int32(0), lingerMillis(0))
	require.Equal(t, int32(1), lingerMillis(1))
	require.Equal(t, int32(1), lingerMillis(time.Millisecond))
	require.Equal(t, int32(-1), lingerMillis(-1))
	require.Equal(t, int32(-1), lingerMillis(-1<<63))
	require.Equal(t, int32(1<<31-1), lingerMillis(1<<63-1))
	require.Equal(t, int32(2), lingerMillis(time.Millisecond+1))
}

// TestLingerEnds: a peer that does not read holds a close up for the shortest time that
// was said, whichever of the calls the worker has seen.
func TestLingerEnds(t *testing.T) {
	onEach(t, func(k *kit) {
		a, b := k.pair(func(_, b *probe) { b.onMessage = func(*Endpoint, message) bool { return false } })
		a.fillUp(wire.Bulk, make([]byte, 10_000))
		begin := time.Now()
		for _, linger := range []time.Duration{-1, 200 * time.Millisecond, time.Hour, -1} {
			a.Close(linger)
		}
		a.requireEnd(endpoint.OK, "closed by this side")
		require.GreaterOrEqual(k, time.Since(begin), 200*time.Millisecond)
		b.Close(0)
		b.awaitEnd()
	})
}

// TestCloseInsideCallbacks is legal in each of them.
func TestCloseInsideCallbacks(t *testing.T) {
	onEach(t, func(k *kit) {
		a, b := k.pair(func(_, b *probe) {
			b.onMessage = func(e *Endpoint, _ message) bool { e.Close(0); return true }
		})
		a.send(0, 0, []byte("x"))
		b.requireEnd(endpoint.OK, "closed by this side")
		a.requireEnd(endpoint.OK, "closed by the peer")
		a.Close(0) // of what is over: nothing happens
		a.End()
		a.Resume()

		p := &probe{t: k, onEvent: func(e *Endpoint, ev endpoint.Event) { e.Close(0) }}
		s := k.listen(k.open(nil), EndpointOptions{}, func(p *probe) {
			p.onEvent = func(e *Endpoint, ev endpoint.Event) { e.Close(0) }
		})
		_, err := k.open(nil).Dial(s.Addr(), EndpointOptions{}, func(*Endpoint) Sink { return p })
		require.NoError(k, err)
		p.awaitEnd()
		s.accept(k).awaitEnd()
	})
}

func TestNegativeResultCloses(t *testing.T) {
	onEach(t, func(k *kit) {
		a, b := k.pair(nil)
		b.negative.Store(true)
		a.send(0, 0, []byte("x"))
		b.requireEnd(endpoint.Gone, "the callback asked for it")
		a.requireEnd(endpoint.OK, "closed by the peer")
	})
}

// TestLateCallsReachNobodyElse: an endpoint, timer or listener that is over shares its
// slot with whoever came after it, and calls on it must not reach them.
func TestLateCallsReachNobodyElse(t *testing.T) {
	onEach(t, func(k *kit) {
		a, b := k.pair(nil)
		a.Close(0)
		a.awaitEnd()
		b.awaitEnd()
		timer, err := a.driver.NewTimer(nil, 1, func(outbox.Handle, Sink) {})
		require.NoError(k, err)
		eventually(k, "the timer", func() bool { return timer.slot.State.Load()&outbox.StateClosed != 0 })
		s := k.listen(a.driver, EndpointOptions{}, nil)
		for range 50 { // until the slots are used again
			c := k.dial(b.driver, s.Addr(), EndpointOptions{}, nil)
			c.await(endpoint.EventUp)
			d := s.accept(k)
			for range 3 {
				a.Close(0)
				b.Close(0)
				a.End()
				b.Resume()
				timer.Close()
			}
			c.send(0, 0, []byte("alive"))
			d.awaitMessages(1)
			d.send(0, 0, []byte("alive"))
			c.awaitMessages(1)
			if c.slot == a.slot || c.slot == b.slot || d.slot == a.slot || d.slot == b.slot {
				return
			}
			c.Close(0)
			c.awaitEnd()
			d.awaitEnd()
		}
		k.Error("no slot was used again")
	})
}

// TestDriverCloses with everything open: endpoints that talk, that connect, that
// nobody receives, listeners, timers, guests.
func TestDriverCloses(t *testing.T) {
	onEach(t, func(k *kit) {
		a, b := k.pair(nil)
		d := a.driver
		s := k.listen(d, EndpointOptions{}, nil)
		inner := k.dial(d, s.Addr(), EndpointOptions{}, nil)
		silent, err := d.Dial(s.Addr(), EndpointOptions{}, func(*Endpoint) Sink { return nil })
		require.NoError(k, err)
		addr := s.Addr()
		var fired, guests atomic.Int32
		_, err = d.NewTimer(nil, d.Now()+int64(time.Hour), func(outbox.Handle, Sink) { fired.Add(1) })
		require.NoError(k, err)
		_, err = d.NewGuest(outbox.KindInbox, func(done func()) { guests.Add(1); go done() })
		require.NoError(k, err)
		inner.await(endpoint.EventUp)
		a.send(0, 0, []byte("last"))
		// silent redials until this is over, if its connection was still in the backlog.
		d.Close(patience / 4)
		d.Close(patience / 4)
		_, err = d.Dial(addr, EndpointOptions{}, func(*Endpoint) Sink { return nil })
		require.Equal(k, ErrClosed, err)
		_, err = d.Listen(k.where(), EndpointOptions{}, nil, nil)
		require.Equal(k, ErrClosed, err)
		_, err = d.NewTimer(nil, 1, nil)
		require.Equal(k, ErrClosed, err)
		_, err = d.NewGuest(outbox.KindInbox, nil)
		require.Equal(k, ErrClosed, err)
		wait(k, d)
		a.requireEnd(endpoint.OK, "closed by this side")
		inner.awaitEnd()
		b.requireEnd(endpoint.OK, "closed by the peer")
		require.Len(k, b.messages(), 1)
		require.Zero(k, fired.Load())
		require.Equal(k, int32(1), guests.Load())
		require.Contains(k, silent.Explain(), "closed")
		require.Equal(k, ErrClosed, silent.Receive(nobody(k)))
		silent.Close(0)
		inner.Close(0)
		_, err = inner.Send(0, 0, nil)
		require.ErrorIs(k, err, ErrClosed)
	})
}

// TestDialTooLate: a driver that has closed when Dial has made the sink drops it.
func TestDialTooLate(t *testing.T) {
	onEach(t, func(k *kit) {
		d, ended := k.open(nil), 0
		p := &probe{t: k}
		_, err := d.Dial(k.where(), EndpointOptions{Ended: func(*Endpoint) { ended++ }}, func(*Endpoint) Sink {
			d.Close(0)
			wait(k, d)
			return p
		})
		require.Equal(k, ErrClosed, err)
		require.True(k, p.dropped())
		require.Equal(k, 1, ended)
		require.Empty(k, p.events)
	})
}

// TestOldEndpoint: what the program does to an endpoint that has ended does not reach
// the one that has its slot now.
func TestOldEndpoint(t *testing.T) {
	onEach(t, func(k *kit) {
		d := k.open(nil)
		s := k.listen(d, EndpointOptions{}, nil)
		old := k.dial(d, s.Addr(), EndpointOptions{}, func(p *probe) {
			p.onEvent = func(e *Endpoint, ev endpoint.Event) {
				live := e.Hold(func() {})
				if live == (ev.Kind == endpoint.EventClosed) {
					k.Errorf("event %d: the endpoint lives: %v", ev.Kind, live)
				}
			}
		})
		first := s.accept(k)
		old.await(endpoint.EventUp)
		old.Close(0)
		old.awaitEnd()
		first.awaitEnd()
		eventually(k, "its slot is used again", func() bool {
			next, err := d.table.Allocate(outbox.KindTimer, 0, d.budget, 0)
			require.NoError(k, err)
			k.Cleanup(func() { d.table.Retire(next) })
			return next == old.slot
		})
		require.False(k, old.Hold(func() { k.Error("the slot is another's") }))
		require.Equal(k, ErrClosed, old.Receive(nobody(k)))
	})
}

// TestManyDrivers open and close at once, so that their share of the process comes back.
func TestManyDrivers(t *testing.T) {
	onTCP(t, func(k *kit) {
		var group sync.WaitGroup
		for range 4 {
			group.Go(func() {
				for range 25 {
					d, err := Open(Options{Portable: k.portable, Workers: 2})
					if err != nil {
						k.Errorf("open: %v", err)
						return
					}
					d.Close(0)
					wait(k, d)
				}
			})
		}
		group.Wait()
	})
}

func TestOptionsAreChecked(t *testing.T) {
	for _, c := range []struct {
		o    Options
		text string
	}{
		{Options{Workers: -1}, "workers is -1; 1 to 64 are allowed"},
		{Options{Workers: 65}, "workers is 65; 1 to 64 are allowed"},
		{Options{BusyPoll: -1}, "busy poll is -1ns; 0 to 1s are allowed"},
		{Options{CPUs: []int{0}, Workers: 2}, "1 CPUs are given for 2 workers; one each is needed"},
		{Options{Name: "longer than it may be"}, `name "longer than it may be" is longer than 10 bytes`},
		{Options{MemoryLimit: 5}, "memory limit is 5 bytes; at least 1048576 are needed"},
	} {
		_, err := Open(c.o)
		require.EqualError(t, err, c.text)
		require.Equal(t, endpoint.Invalid, err.(*Error).Code)
	}
	runKit(t, false, "mem://x", func(k *kit) {
		_, err := Open(Options{CPUs: []int{1 << 9}, Workers: 1})
		require.ErrorContains(k, err, "bind worker to CPU 512")
		d := k.open(nil)
		for _, c := range []struct {
			o    EndpointOptions
			text string
		}{
			{EndpointOptions{Worker: 3}, "worker is 3; 0 to 2 are allowed"},
			{EndpointOptions{Outbox: 1}, "outbox is 1 bytes; 65536 to 134217728 are allowed"},
			{EndpointOptions{Window: 1}, "window is 1 bytes; 65536 to 1073741824 are allowed"},
			{EndpointOptions{MaxMessage: 1}, "longest message is 1 bytes; 1048576 to 1073741824 are allowed"},
			{EndpointOptions{KeepAlive: 25 * time.Hour}, "keep-alive is 25h0m0s; at most 24h0m0s is allowed"},
			{EndpointOptions{Connect: -1}, "bound on connecting is -1ns; up to 24h0m0s is allowed"},
		} {
			_, err := d.Dial("mem://x", c.o, nil)
			require.EqualError(k, err, c.text)
			_, err = d.Listen("mem://x", c.o, nil, nil)
			require.EqualError(k, err, c.text)
		}
	})
}

// TestDialFails with a code and a text that names the address.
func TestDialFails(t *testing.T) {
	onTCP(t, func(k *kit) {
		d := k.open(nil)
		_, err := d.Dial("carrier-pigeon://x", EndpointOptions{}, nil)
		require.EqualError(k, err,
			`address "carrier-pigeon://x": no transport for it; known are the schemes fd, mem, tcp`)
		_, err = d.Dial("nothing", EndpointOptions{}, nil)
		require.Equal(k, endpoint.BadAddress, err.(*Error).Code)
		_, err = d.Listen("pigeon://x", EndpointOptions{}, nil, nil)
		require.Equal(k, endpoint.BadAddress, err.(*Error).Code)

		full := fullListener(k)
		free, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(k, err)
		nobody := free.Addr().String()
		free.Close()
		for _, c := range []struct {
			addr string
			code endpoint.Code
			text string
		}{
			{"tcp://" + nobody, endpoint.Refused, "connection refused"},
			{"mem://nobody", endpoint.Refused, "connection refused"},
			{"tcp://127.0.0.1:99999", endpoint.BadAddress, "bad address"},
			{"tcp://127.0.0.1", endpoint.BadAddress, "bad address"},
			{"mem://no good", endpoint.BadAddress, "bad address"},
			{"tcp://name.invalid:1", endpoint.BadAddress, "name not resolved"},
			{"tcp://" + full, endpoint.TimedOut, "timed out"},
		} {
			e := k.dial(d, c.addr, EndpointOptions{Connect: 300 * time.Millisecond, Resume: WithLink}, nil)
			_, err := e.Send(0, 0, []byte("kept until it connects"))
			if err != nil {
				require.ErrorIs(k, err, ErrClosed, "it had failed already")
			}
			detail := e.awaitEnd()
			require.Equal(k, c.code, endpoint.Code(detail.Code), "%s: %s", c.addr, detail.Text)
			require.Contains(k, detail.Text, c.addr)
			require.Contains(k, detail.Text, c.text)
			require.Zero(k, e.has(endpoint.EventUp))
		}
		s := k.listen(d, EndpointOptions{}, nil)
		_, err = d.Listen(s.Addr(), EndpointOptions{}, nil, nil)
		require.Equal(k, endpoint.Busy, err.(*Error).Code)
		require.ErrorContains(k, err, s.Addr())
	})
}

// fullListener returns an address where nobody accepts and the backlog is full, so
// that an attempt to connect gets no answer.
func fullListener(k *kit) string {
	k.Helper()
	l := rawListener(k)
	var conns []net.Conn
	k.Cleanup(func() {
		for _, c := range conns {
			c.Close()
		}
	})
	for range 50 {
		c, err := net.DialTimeout("tcp", l, 100*time.Millisecond)
		if err != nil {
			return l
		}
		conns = append(conns, c)
	}
	require.FailNow(k, "the backlog does not fill")
	return ""
}

// TestCloseWhileConnecting ends the attempt.
func TestCloseWhileConnecting(t *testing.T) {
	onTCP(t, func(k *kit) {
		e := k.dial(k.open(nil), "tcp://"+fullListener(k), EndpointOptions{}, nil)
		eventually(k, "the attempt", func() bool { return strings.Contains(e.Explain(), "connecting to tcp://") })
		e.Close(0)
		e.requireEnd(endpoint.OK, "closed by this side")
	})
}

// TestListenerCloses: what it accepted lives on, and its address is free.
func TestListenerCloses(t *testing.T) {
	onEach(t, func(k *kit) {
		var drops atomic.Int32
		d := k.open(nil)
		p := &probe{t: k}
		ends := make(chan *Endpoint, 1)
		l, err := d.Listen(k.where(), EndpointOptions{}, func(e *Endpoint) Sink { ends <- e; return p },
			func() { drops.Add(1) })
		require.NoError(k, err)
		addr := l.Addr()
		a := k.dial(k.open(nil), addr, EndpointOptions{}, nil)
		a.await(endpoint.EventUp)
		l.Close()
		l.Close()
		eventually(k, "drop", func() bool { return drops.Load() == 1 })
		require.Empty(k, l.Addr())
		a.send(0, 0, []byte("x"))
		p.awaitMessages(1)
		b := k.dial(a.driver, addr, EndpointOptions{Resume: WithLink}, nil)
		require.Equal(k, endpoint.Refused, endpoint.Code(b.awaitEnd().Code))
		again, err := d.Listen(addr, EndpointOptions{}, func(*Endpoint) Sink { return nil }, nil)
		require.NoError(k, err)
		require.Equal(k, addr, again.Addr())
		l.Close()
		require.Equal(k, addr, again.Addr(), "a late close reaches nobody else")
	})
}

// TestPanicPoisonsOnlyItsEndpoint, wherever in a sink it comes from.
func TestPanicPoisonsOnlyItsEndpoint(t *testing.T) {
	onEach(t, func(k *kit) {
		k.panics.Store(true)
		a, b := k.pair(func(_, b *probe) {
			b.onMessage = func(_ *Endpoint, m message) bool {
				if m.channel == 13 {
					panic("a defect in the program")
				}
				return true
			}
		})
		s := k.listen(b.driver, EndpointOptions{}, nil)
		other := k.dial(a.driver, s.Addr(), EndpointOptions{}, nil)
		peer := s.accept(k)
		for _, size := range []int{1, 100_000} { // in Run, and in Long
			c := k.dial(a.driver, a.RemoteAddr(), EndpointOptions{}, nil)
			c.send(0, 13, make([]byte, size))
			c.requireEnd(endpoint.Internal, "closed by the peer: internal error: a defect in the program")
		}
		require.True(k, k.logged("endpoint.panic"))
		require.True(k, k.logged("a defect in the program"))
		events := k.dial(a.driver, s.Addr(), EndpointOptions{}, func(p *probe) {
			p.onEvent = func(_ *Endpoint, ev endpoint.Event) {
				if ev.Kind == endpoint.EventUp {
					panic("in an event")
				}
			}
		})
		events.requireEnd(endpoint.Internal, "internal error: in an event")
		timer := k.dial(a.driver, s.Addr(), EndpointOptions{}, nil)
		_, err := a.driver.NewTimer(timer.Endpoint, 1, func(outbox.Handle, Sink) { panic("in a timer") })
		require.NoError(k, err)
		timer.requireEnd(endpoint.Internal, "internal error: in a timer")
		_, err = a.driver.NewTimer(nil, 1, func(outbox.Handle, Sink) { panic("in a timer of nobody") })
		require.NoError(k, err)
		eventually(k, "the log line", func() bool { return k.logged("in a timer of nobody") })
		last := k.dial(a.driver, s.Addr(), EndpointOptions{}, func(p *probe) {
			p.onEvent = func(_ *Endpoint, ev endpoint.Event) {
				if ev.Kind == endpoint.EventClosed {
					panic("in the last event")
				}
			}
		})
		last.Close(0)
		last.awaitEnd()
		other.send(0, 0, []byte("unharmed"))
		peer.awaitMessages(1)
		require.NotContains(k, other.Explain(), "a callback runs")
	})
}
