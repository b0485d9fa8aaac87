//go:build linux

package driver

import (
	"testing"

	"github.com/lyquor/lyquor/engine/endpoint"
	"github.com/lyquor/lyquor/engine/wire"

	"github.com/stretchr/testify/require"
)

// TestUrgentOvertakes: what is urgent waits for little of a long message that is on its way,
// however much the sockets would hold.
func TestUrgentOvertakes(t *testing.T) {
	runKit(t, false, "tcp://127.0.0.1:0", func(k *kit) {
		const long = 64 << 20
		// What a socket lets in of which little was read yet, what a shallow one holds
		// unsent, and frames. Another holds four times as much.
		const most = 1 << 20
		o := EndpointOptions{MaxMessage: long, Outbox: maxOutbox}
		overtook := make(chan uint64, 1)
		s := k.listen(k.open(nil), o, func(p *probe) {
			p.onMessage = func(e *Endpoint, m message) bool {
				if m.lane == wire.Urgent && m.id == 1 {
					_, bytes := e.core.Bytes()
					overtook <- bytes
				}
				return true
			}
		})
		a := k.dial(k.open(nil), s.Addr(), o, nil)
		b := s.accept(k)
		a.await(endpoint.EventUp)
		a.send(wire.Urgent, 0, []byte("early"))
		b.awaitMessages(1)
		quiesce := make(chan uint64)
		b.worker.post(func() { b.quiet = true; _, bytes := b.core.Bytes(); quiesce <- bytes })
		before := <-quiesce
		a.send(wire.Bulk, 0, make([]byte, long))
		eventually(k, "the socket is full", func() bool { return a.since.Load() != 0 })
		a.send(wire.Urgent, 0, []byte("now"))
		b.worker.post(func() { b.quiet = false; b.resume() })
		b.awaitMessages(2)
		after := <-overtook
		k.Logf("%d bytes came first", after-before)
		require.Less(k, after-before, uint64(most))
		b.awaitMessages(3)
	})
}
