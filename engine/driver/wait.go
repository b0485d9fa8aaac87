package driver

import (
	"context"
	"sync/atomic"

	"github.com/lyquor/lyquor/engine/endpoint"
	"github.com/lyquor/lyquor/engine/outbox"
	"github.com/lyquor/lyquor/engine/wire"
)

// ErrReset says that the peer has restarted, and that it did not consume all that was
// waited for: EventRestarted tells what became of it.
var ErrReset = &Error{endpoint.Reset, "the peer has restarted, and had not consumed all of it"}

// SendWait is Send that waits for room. Like all calls here it returns ctx's error if that
// comes first, may be called by any number of goroutines at once, and must not be called
// from a sink, which has a worker wait for itself.
func (e *Endpoint) SendWait(ctx context.Context, lane wire.Lane, channel uint16, data []byte) (id uint64, err error) {
	wait := e.wait(ctx, func() (done bool, failed error) {
		if id, err = e.send(lane, channel, data, 0, outbox.WantWake); err == outbox.ErrAgain {
			return false, nil
		}
		return true, err
	})
	return id, wait
}

// Flush waits until the peer has consumed every message that was accepted before the call,
// but for those whose time to live was over. ErrReset if the peer restarted meanwhile and
// some of them were reported or dropped, not consumed, or if it did before and the sink has
// not been given the EventRestarted that reports some; ErrClosed if it became vain.
func (e *Endpoint) Flush(ctx context.Context) error {
	var point outbox.Point
	e.lease.use(func() { point = e.slot.Point() })
	return e.wait(ctx, func() (bool, error) {
		done, err := false, error(ErrClosed)
		e.lease.use(func() {
			all, lost := e.slot.Reached(point)
			switch {
			case lost:
				err = ErrReset
			case all:
				done, err = true, nil
			case e.slot.State.Load()&outbox.StateParted != 0:
			default:
				err = nil
				if e.slot.Want.Or(outbox.WantAck)&outbox.WantAck == 0 {
					e.ring() // what came before the worker was told to tell, it tells now
				}
			}
		})
		return done, err
	})
}

// WaitUp waits until the endpoint has been connected once; ErrClosed if it ends before.
func (e *Endpoint) WaitUp(ctx context.Context) error {
	return e.wait(ctx, func() (up bool, err error) {
		if !e.lease.use(func() { up = e.slot.State.Load()&outbox.StateUp != 0 }) {
			return false, ErrClosed
		}
		return up, nil
	})
}

// Wait waits until the endpoint is closed and its sink has got its Drop.
func (e *Endpoint) Wait(ctx context.Context) error {
	return e.wait(ctx, func() (bool, error) { return e.gone.Load(), nil })
}

// wait calls ready, and again when something may have changed that it looks at, until it
// says done or fails.
func (e *Endpoint) wait(ctx context.Context, ready func() (done bool, err error)) error {
	for {
		changed := e.changes.next() // before the look: what changes after it is told
		if done, err := ready(); done || err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// changes has goroutines told of what an endpoint's worker has changed. It takes a word while
// nobody waits.
type changes struct{ channel atomic.Pointer[chan struct{}] }

// next returns what tell closes.
func (c *changes) next() <-chan struct{} {
	made := make(chan struct{})
	for {
		if there := c.channel.Load(); there != nil {
			return *there
		}
		if c.channel.CompareAndSwap(nil, &made) {
			return made
		}
	}
}

func (c *changes) tell() {
	if there := c.channel.Swap(nil); there != nil {
		close(*there)
	}
}
