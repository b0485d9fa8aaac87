//go:build linux

package driver

import (
	"testing"

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
