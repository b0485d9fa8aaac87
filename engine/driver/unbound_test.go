//go:build linux

package driver

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/lyquor/lyquor/engine/endpoint"
	"github.com/lyquor/lyquor/engine/wire"

	"github.com/stretchr/testify/require"
)

// nobodyYet makes no sink.
func nobodyYet(*Endpoint) Sink { return nil }

// ask runs a question on an endpoint's worker.
func ask[T any](e *Endpoint, question func() T) T {
	answer := make(chan T, 1)
	e.Post(func() { answer <- question() })
	return <-answer
}

// TestSendsWithoutReceiver: a program that only sends piles up no events over many links,
// and one that receives late hears of the present one.
func TestSendsWithoutReceiver(t *testing.T) {
	onEach(t, func(k *kit) {
		s := k.listen(k.open(nil), EndpointOptions{}, nil)
		e, err := k.open(nil).Dial(s.Addr(), EndpointOptions{}, nobodyYet)
		require.NoError(k, err)
		a := end{e, &probe{t: k}}
		b := s.accept(k)
		for i := range 20 {
			a.send(wire.Normal, 0, []byte("x"))
			b.awaitMessages(i + 1)
			n := b.has(endpoint.EventUp)
			a.cut()
			eventually(k, "another link", func() bool { return b.has(endpoint.EventUp) > n })
		}
		eventually(k, "the last one is known", func() bool {
			return ask(e, func() bool { return len(e.early) == 1 && e.early[0].Kind == endpoint.EventUp })
		})
		require.NoError(k, a.Receive(a.probe.sink))
		a.await(endpoint.EventUp)
		require.Zero(k, a.has(endpoint.EventDown))
	})
}

// TestRestartsWithoutReceiver: peers that restart do not use up memory, and what the first
// ones had not acknowledged the last one gets.
func TestRestartsWithoutReceiver(t *testing.T) {
	const lives = 20
	onTCP(t, func(k *kit) {
		var life atomic.Int32
		s := k.listen(k.open(nil), EndpointOptions{Resume: WithLink}, func(p *probe) {
			last := life.Add(1) == lives
			p.onMessage = func(*Endpoint, message) bool { return last }
		})
		d := k.open(func(o *Options) { o.MemoryLimit = 8 << 20 })
		e, err := d.Dial(s.Addr(), EndpointOptions{Outbox: 1 << 20}, nobodyYet)
		require.NoError(k, err)
		sent := 0
		for ; err == nil; sent++ {
			_, err = e.Send(wire.Normal, 0, make([]byte, 10_000))
		}
		sent-- // the last was refused
		used := d.table.Budget(d.budget).Used.Load()
		for range lives - 1 {
			b := s.accept(k)
			b.await(endpoint.EventUp)
			b.post(func() {
				b.core.Close(b.driver.Now(), 0) // it is not to wait for its program
				b.core.Fail(b.driver.Now(), endpoint.Reset, "cut by the test")
				b.worker.sched.Ready(&b.node)
			})
		}
		last := s.accept(k)
		require.LessOrEqual(k, d.table.Budget(d.budget).Used.Load(), 2*used)
		require.Equal(k, uint64(sent-1), last.awaitMessages(sent)[sent-1].id)
		eventually(k, "all is acknowledged", func() bool { return end{e, nil}.acked() })
	})
}

// TestPeerClosesBehindABacklog: whoever waits to send to a peer that has closed is told, and
// an endpoint without receiver is over with that.
func TestPeerClosesBehindABacklog(t *testing.T) {
	for name, bound := range map[string]bool{"paused": true, "without receiver": false} {
		t.Run(name, func(t *testing.T) {
			onEach(t, func(k *kit) {
				s := k.listen(k.open(nil), EndpointOptions{}, nil)
				p := &probe{t: k, onMessage: func(*Endpoint, message) bool { return false }}
				ended := make(chan struct{})
				o := EndpointOptions{Ended: func(*Endpoint) { close(ended) }}
				e, err := k.open(nil).Dial(s.Addr(), o, func(*Endpoint) Sink {
					if bound {
						return p
					}
					return nil
				})
				require.NoError(k, err)
				b := s.accept(k)
				b.await(endpoint.EventUp)
				b.send(wire.Normal, 0, []byte("banner"))
				eventually(k, "it is there", func() bool { return e.Counts()[MessagesReceived] == 1 })
				b.Close(0)
				eventually(k, "nothing more is accepted", func() bool {
					_, err := e.Send(wire.Normal, 0, []byte("to nobody"))
					return err != nil
				})
				if bound {
					e.Close(0)
					p.awaitEnd()
				}
				<-ended
			})
		})
	}
}

// TestAcceptedWithoutReceiver: peers that come and go leave nothing behind.
func TestAcceptedWithoutReceiver(t *testing.T) {
	onEach(t, func(k *kit) {
		ds, d := k.open(nil), k.open(nil)
		l, err := ds.Listen(k.where(), EndpointOptions{}, nobodyYet, nil)
		require.NoError(k, err)
		for range 10 {
			a := k.dial(d, l.Addr(), EndpointOptions{}, nil)
			a.await(endpoint.EventUp)
			a.send(wire.Normal, 0, []byte("x"))
			a.Close(time.Millisecond)
			a.awaitEnd()
		}
		eventually(k, "only the listener is left", func() bool { return ds.entities.Load() == 1 })
	})
}
