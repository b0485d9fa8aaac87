//go:build linux

package driver

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/lyquor/lyquor/engine/transport"

	"github.com/stretchr/testify/require"
)

// watched is a transport that says when it is asked to listen.
type watched struct {
	transport.Transport
	asked func()
}

func (w watched) Listen(ctx context.Context, addr string, accept func(transport.Link), fault func(error)) (
	transport.Listener, error) {
	w.asked()
	return w.Transport.Listen(ctx, addr, accept, fault)
}

// A driver that is closed while a name is being resolved ends, and the listener that
// comes of it ends with it: nobody tells the worker again.
func TestListenWhileClosing(t *testing.T) {
	onEach(t, func(k *kit) {
		var d *Driver
		closed := make(chan struct{})
		d = k.open(func(o *Options) {
			for i, inner := range o.Transports {
				o.Transports[i] = watched{inner, func() {
					// The worker learns of the close first, of the listener behind it.
					require.True(k, d.workers[0].post(func() { <-closed }))
					d.Close(0)
				}}
			}
		})
		var drops atomic.Int32
		l, err := d.Listen(k.where(), EndpointOptions{}, func(*Endpoint) Sink { return nil }, func() { drops.Add(1) })
		close(closed)
		require.NoError(k, err)
		wait(k, d)
		require.EqualValues(k, 1, drops.Load())
		l.Close() // late, and without effect
	})
}

// TestLateRing: who rings for what belonged to a driver that is closed may find its bell with
// the next driver, whose worker it has to wake then.
func TestLateRing(t *testing.T) {
	onTCP(t, func(k *kit) {
		one := func(o *Options) { o.Workers = 1 }
		closed := k.open(one)
		closed.Close(0)
		wait(k, closed)
		w := k.open(one).workers[0]
		require.True(k, closed.workers[0].bell == w.bell, "they have one bell")
		done := make(chan struct{})
		require.True(k, w.mail.put(func() { close(done) }))
		eventually(k, "the worker wakes up", func() bool {
			if b := w.bell.Wake(); b != nil {
				closed.wakeBell(b)
			}
			select {
			case <-done:
				return true
			default:
				return false
			}
		})
	})
}
