//go:build linux

package driver

import (
	"sync/atomic"
	"testing"

	"github.com/lyquor/lyquor/engine/endpoint"
	"github.com/lyquor/lyquor/engine/outbox"

	"github.com/stretchr/testify/require"
)

// TestLateQuiet: the program gave up waiting for a driver to be quiet, resumed it, and
// asked again. The answer to what it asked first is none to what it asks now.
func TestLateQuiet(t *testing.T) {
	onTCP(t, func(k *kit) {
		d := k.open(nil)
		w := d.workers[1]
		ask := func(bits uint32) {
			require.True(k, d.slot.Ask(d.Handle(), bits))
			if b := d.table.Ring(d.slot); b != nil {
				d.wakeBell(b)
			}
		}
		queued := func(n int) {
			eventually(k, "commands", func() bool {
				w.mail.Lock()
				defer w.mail.Unlock()
				return len(w.mail.list) == n
			})
		}
		// quiet says what the program sees: whether its question of an epoch is answered.
		quiet := func(epoch uint32) bool {
			const others = outbox.StateUp | outbox.StateClosed | outbox.StateSleeps
			return d.slot.State.Load()&^others == outbox.StateQuiet|epoch<<8
		}
		stuck, callback, between, gate := make(chan int), make(chan int), make(chan int), make(chan int)
		w.post(func() { close(stuck); <-callback })
		<-stuck
		ask(outbox.CommandQuiesce)
		queued(1)
		w.post(func() { close(between); <-gate })
		ask(outbox.CommandResume)
		ask(outbox.CommandQuiesce)
		queued(4)
		close(callback)
		<-between
		require.True(k, quiet(0), "the first question is answered late")
		require.False(k, quiet(1), "the second is not")
		close(gate)
		eventually(k, "the second answer", func() bool { return quiet(1) })
		ask(outbox.CommandResume)
	})
}

// TestResumeOfAnEndpointWhileAllIsQuiet: while a driver is quiesced, no callback begins, also
// not of an endpoint that had paused and is resumed, or gets its receiver, meanwhile.
func TestResumeOfAnEndpointWhileAllIsQuiet(t *testing.T) {
	onTCP(t, func(k *kit) {
		var refusing, refused atomic.Bool
		refusing.Store(true)
		a, b := k.pair(func(_, b *probe) {
			b.onMessage = func(*Endpoint, message) bool {
				refused.Store(refusing.Load())
				return !refusing.Load()
			}
		})
		a.send(0, 0, []byte("paused"))
		eventually(k, "it has paused", refused.Load)
		d := b.driver
		quiet := func() bool { return d.slot.State.Load()&outbox.StateQuiet != 0 }
		ask := func(command uint32) {
			d.slot.Ask(d.Handle(), command)
			if bell := d.table.Ring(d.slot); bell != nil {
				d.wakeBell(bell)
			}
		}
		ask(outbox.CommandQuiesce)
		eventually(k, "quiet", quiet)
		refusing.Store(false)
		b.Resume()
		for range 3 { // turns of its worker, which has been told of the wish before the first
			turned := make(chan struct{})
			b.Post(func() { b.worker.sched.Ready(&b.node); close(turned) })
			<-turned
		}
		began := len(b.messages())
		ask(outbox.CommandResume)
		b.awaitMessages(1)
		a.Close(0)
		a.await(endpoint.EventClosed)
		b.awaitEnd()
		require.Zero(k, began, "callbacks have begun while the driver was quiet")
	})
}
