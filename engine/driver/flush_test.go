//go:build linux

package driver

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lyquor/lyquor/engine/endpoint"
	"github.com/lyquor/lyquor/engine/outbox"
	"github.com/lyquor/lyquor/engine/wire"
)

// answers returns the codes of the EventAcked that came.
func (p *probe) answers() (codes []endpoint.Code) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, ev := range p.events {
		if ev.Kind == endpoint.EventAcked {
			codes = append(codes, ev.Code)
		}
	}
	return codes
}

// onWorker runs a function on the endpoint's worker, behind what was asked of that before.
func (e end) onWorker(run func()) {
	e.t.Helper()
	done := make(chan struct{})
	require.True(e.t, e.post(func() { run(); close(done) }))
	<-done
}

func (e end) awaitAnswers(codes ...endpoint.Code) {
	e.t.Helper()
	eventually(e.t, "EventAcked", func() bool { return len(e.answers()) >= len(codes) })
	e.onWorker(func() {})
	require.Equal(e.t, codes, e.answers())
}

// TestAskFlush: each question is answered when all is consumed that was accepted before it,
// and no sooner.
func TestAskFlush(t *testing.T) {
	onEach(t, func(k *kit) {
		s := k.listen(k.open(nil), EndpointOptions{ManualAck: true}, nil)
		a := k.dial(k.open(nil), s.Addr(), EndpointOptions{}, nil)
		b := s.accept(k)
		a.AskFlush()
		a.awaitAnswers(0)

		for i := range uint64(3) {
			require.Equal(k, i, a.send(wire.Low, 0, []byte("message")))
			a.AskFlush()
			a.onWorker(func() { require.NotNil(k, a.flush) })
			a.AskFlush() // of the second and third message, both share one answer
		}
		b.awaitMessages(3)
		a.awaitAnswers(0)
		require.NoError(k, b.Ack(wire.Low, 0))
		a.awaitAnswers(0, 0)
		require.NoError(k, b.Ack(wire.Low, 1))
		a.onWorker(func() { require.NotNil(k, a.flush) })
		a.awaitAnswers(0, 0)
		require.NoError(k, b.Ack(wire.Low, 2))
		a.awaitAnswers(0, 0, 0)
		a.onWorker(func() { require.Nil(k, a.flush) })

		a.send(wire.Low, 0, []byte("not consumed"))
		a.AskFlush()
		b.Close(0)
		a.awaitEnd()
		b.awaitEnd()
		require.Len(k, a.answers(), 3)
	})
}

// TestAskFlushHurries: the peer is asked for its acknowledgement, which may be late else.
func TestAskFlushHurries(t *testing.T) {
	onEach(t, func(k *kit) {
		a, b := k.pair(func(_, _ *probe) {})
		for range 200 {
			a.send(wire.Low, 0, []byte("message"))
			before := len(a.answers())
			a.AskFlush()
			eventually(k, "EventAcked", func() bool { return len(a.answers()) > before })
		}
		require.Len(k, b.messages(), 200)
	})
}

// TestAskFlushAfterRestart: what a restart of the peer has withdrawn was not consumed.
func TestAskFlushAfterRestart(t *testing.T) {
	onTCP(t, func(k *kit) {
		s := k.listen(k.open(nil), EndpointOptions{ManualAck: true}, nil)
		a := k.dial(k.open(nil), s.Addr(), EndpointOptions{}, nil)
		first := s.accept(k)
		a.send(wire.Low, 0, []byte("maybe"))
		first.awaitMessages(1)
		a.AskFlush()
		a.onWorker(func() { require.NotNil(k, a.flush) })
		first.driver.sessions.remove(first.Endpoint) // as if its process was another one now
		a.cut()
		a.awaitAnswers(endpoint.Reset)
		a.await(endpoint.EventRestarted)
		second := s.accept(k)
		a.send(wire.Low, 0, []byte("consumed"))
		a.AskFlush()
		require.NoError(k, second.Ack(wire.Low, second.awaitMessages(1)[0].id))
		a.awaitAnswers(endpoint.Reset, 0)
		a.Close(0)
		a.awaitEnd()
		second.awaitEnd()
	})
}

// TestAskFlushWhileQuiesced: the answer waits for Resume as all events do.
func TestAskFlushWhileQuiesced(t *testing.T) {
	onTCP(t, func(k *kit) {
		a, b := k.pair(func(_, _ *probe) {})
		a.send(wire.Low, 0, []byte("message"))
		b.awaitMessages(1)
		a.command(outbox.CommandQuiesce)
		eventually(k, "quiet", a.isQuiet)
		a.AskFlush()
		a.onWorker(func() {})
		require.Empty(k, a.answers())
		a.Resume()
		a.awaitAnswers(0)
	})
}
