//go:build linux

package driver

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lyquor/lyquor/engine/endpoint"
	"github.com/lyquor/lyquor/engine/outbox"
	"github.com/lyquor/lyquor/engine/wire"

	"github.com/stretchr/testify/require"
)

// soon bounds what a test waits for.
func soon(k *kit) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	k.Cleanup(cancel)
	return ctx
}

// over is a context that has ended.
func over() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// TestWaits: goroutines wait for a connection, for room, until all is acknowledged, and for the end.
func TestWaits(t *testing.T) {
	onEach(t, func(k *kit) {
		var refusing atomic.Bool
		refusing.Store(true)
		s := k.listen(k.open(nil), EndpointOptions{Window: endpoint.MinWindow}, func(p *probe) {
			p.onMessage = func(*Endpoint, message) bool { return !refusing.Load() }
		})
		ctx := soon(k)
		a := k.dial(k.open(nil), s.Addr(), EndpointOptions{Outbox: outbox.FirstLimit}, nil)
		require.NoError(k, a.WaitUp(ctx))
		require.NoError(k, a.WaitUp(over()), "it is up already")
		require.NoError(k, a.Flush(ctx), "there is nothing")
		b := s.accept(k)
		sent := uint64(a.fillUp(wire.Low, make([]byte, 1000)))
		_, err := a.SendWait(over(), wire.Low, 0, make([]byte, 1000))
		require.ErrorIs(k, err, context.Canceled)
		require.ErrorIs(k, a.Flush(over()), context.Canceled)
		require.ErrorIs(k, a.Wait(over()), context.Canceled)

		const threads, each = 4, 500
		var wait sync.WaitGroup
		for range threads {
			wait.Go(func() {
				for range each {
					if _, err := a.SendWait(ctx, wire.Low, 0, make([]byte, 1000)); err != nil {
						k.Error(err)
						return
					}
				}
			})
		}
		refusing.Store(false)
		b.Resume()
		wait.Wait()
		id, err := a.SendWait(ctx, wire.Low, 0, nil)
		require.NoError(k, err)
		require.Equal(k, sent+threads*each, id)
		require.NoError(k, a.Flush(ctx))
		require.Zero(k, a.backlog(wire.Low))
		require.Len(k, b.messages(), int(id)+1)

		a.Close(0)
		require.NoError(k, a.Wait(ctx))
		a.awaitEnd()
		require.NoError(k, a.Wait(over()))
		require.ErrorIs(k, a.WaitUp(ctx), ErrClosed)
		require.ErrorIs(k, a.Flush(ctx), ErrClosed)
		_, err = a.SendWait(ctx, wire.Low, 0, nil)
		require.ErrorIs(k, err, ErrClosed)
		b.awaitEnd()
	})
}

// TestWaitsEnd: who waits for what will not come is told.
func TestWaitsEnd(t *testing.T) {
	onEach(t, func(k *kit) {
		s := k.listen(k.open(nil), EndpointOptions{Window: endpoint.MinWindow}, func(p *probe) {
			p.onMessage = func(*Endpoint, message) bool { return false }
		})
		ctx := soon(k)
		a := k.dial(k.open(nil), s.Addr(), EndpointOptions{Outbox: outbox.FirstLimit}, nil)
		b := s.accept(k)
		a.fillUp(wire.Low, make([]byte, 1000))
		ends := make(chan error)
		go func() { ends <- a.Flush(ctx) }()
		go func() {
			_, err := a.SendWait(ctx, wire.Low, 0, make([]byte, 1000))
			ends <- err
		}()
		go func() { ends <- a.Wait(ctx) }()
		eventually(k, "they wait", func() bool {
			return a.slot.Want.Load()&waiters == outbox.WantAck|outbox.WantWake<<wire.Low
		})
		b.Close(0)
		var got []error
		for range 3 {
			got = append(got, <-ends)
		}
		require.ElementsMatch(k, []error{ErrClosed, ErrClosed, nil}, got)
		a.awaitEnd()
		b.awaitEnd()
	})
}

// TestWaitDuringTheLastEvent: a thread in C that is woken before the last event finds that its
// endpoint is not closed, and waits again. It is told of the end, too.
func TestWaitDuringTheLastEvent(t *testing.T) {
	onEach(t, func(k *kit) {
		var seen atomic.Uint32
		a, _ := k.pair(func(a, _ *probe) {
			a.onEvent = func(e *Endpoint, ev endpoint.Event) {
				if ev.Kind == endpoint.EventClosed {
					seen.Store(e.slot.Room.Load())
					e.slot.Want.Or(outbox.WantAck)
				}
			}
		})
		a.Close(0)
		require.NoError(k, a.Wait(soon(k)))
		eventually(k, "it is woken", func() bool { return a.slot.Room.Load() != seen.Load() })
	})
}

// TestFlushAfterRestart: what a restart of the peer has withdrawn was not consumed.
func TestFlushAfterRestart(t *testing.T) {
	onTCP(t, func(k *kit) {
		s := k.listen(k.open(nil), EndpointOptions{ManualAck: true}, nil)
		ctx := soon(k)
		a := k.dial(k.open(nil), s.Addr(), EndpointOptions{}, nil)
		first := s.accept(k)
		a.send(wire.Low, 0, []byte("maybe"))
		first.awaitMessages(1)
		flushed := make(chan error)
		go func() { flushed <- a.Flush(ctx) }()
		eventually(k, "it waits", func() bool { return a.slot.Want.Load()&outbox.WantAck != 0 })
		first.driver.sessions.remove(first.Endpoint) // as if its process was another one now
		a.cut()
		require.ErrorIs(k, <-flushed, ErrReset)
		a.await(endpoint.EventRestarted)
		second := s.accept(k)
		a.send(wire.Low, 0, []byte("consumed"))
		require.NoError(k, second.Ack(wire.Low, second.awaitMessages(1)[0].id))
		require.NoError(k, a.Flush(ctx))
		a.Close(0)
		a.awaitEnd()
		second.awaitEnd()
	})
}
