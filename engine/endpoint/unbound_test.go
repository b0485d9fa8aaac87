package endpoint

import (
	"testing"

	"github.com/lyquor/lyquor/engine/outbox"
	"github.com/lyquor/lyquor/engine/wire"

	"github.com/stretchr/testify/require"
)

// unboundPair returns two open endpoints; the program of a receives nothing yet.
func unboundPair(t *testing.T, choice OnRestart) *pair {
	p := openPair(t, newTable(t), func(c *Config) { c.Resume, c.OnRestart, c.Later = -1, choice, true })
	p.a.ep.SetUnbound(true)
	p.a.ep.Pause()
	return p
}

// restartAll has the peer of a restart.
func (p *pair) restartAll() {
	p.restart()
	p.cut()
	p.relink()
	p.settle()
}

// TestRestartWithoutReceiver: what there is nobody to report to is sent again, however often
// the peer restarts, and counted as what it is; nothing piles up.
func TestRestartWithoutReceiver(t *testing.T) {
	for _, choice := range []OnRestart{Report, Resend} {
		p := unboundPair(t, choice)
		p.a.rec.events = nil
		p.a.send(wire.Normal, 0, []byte("consumed"))
		p.settle()
		p.b.ep.Consumed(p.now, 0, wire.Normal, outbox.Count{Messages: 1, Bytes: outbox.Charge(len("consumed"))})
		p.pass(ackDelay)
		p.settle()
		p.a.send(wire.Normal, 0, []byte("one"))
		for range 5 {
			p.b.send(wire.Normal, 0, []byte("not taken"))
			p.b.ep.End()
			p.settle()
			p.restartAll()
			require.Empty(t, p.a.ep.receive.backlog, "nobody takes what a former peer has sent")
			require.Zero(t, p.a.ep.receive.stale)
			require.Len(t, p.b.rec.messages, 1)
			require.Equal(t, "one", string(p.b.rec.messages[0].data))
		}
		a := p.a.ep.Lane(wire.Normal).LaneAccount
		require.Equal(t, wire.LaneAccount{Accepted: 2, Acknowledged: 1, Maybe: 1}, a, "nothing was told of before")
		p.a.ep.SetUnbound(false)
		p.b.send(wire.Normal, 0, []byte("taken"))
		p.settle()
		p.a.ep.Resume(p.now)
		require.Len(t, p.a.rec.messages, 1)
		for _, e := range p.a.rec.events {
			require.NotEqual(t, EventRestarted, e.Kind, "it was told of nothing, and is owed nothing")
		}
		p.drop()
	}
}

// TestDropWithoutReceiver: what is to be dropped is, and the last restart is told late.
func TestDropWithoutReceiver(t *testing.T) {
	p := unboundPair(t, Drop)
	for range 5 {
		p.a.send(wire.Normal, 0, []byte("one"))
		p.settle()
		p.restartAll()
		require.Empty(t, p.b.rec.messages)
		require.Len(t, p.a.ep.receive.backlog, 1)
	}
	p.a.rec.events = nil
	p.a.ep.SetUnbound(false)
	p.a.ep.Resume(p.now)
	require.Len(t, p.a.rec.events, 1)
	detail, err := wire.ParseRestartedDetail(p.a.rec.events[0].Detail)
	require.NoError(t, err)
	require.Equal(t, wire.LaneAccount{Accepted: 1, Maybe: 1}, detail.Lanes[wire.Normal])
	p.drop()
}

// TestPartedTakesNoMore: a peer that has closed hears nothing more, so nothing is accepted,
// though the program has still to take what came before the end.
func TestPartedTakesNoMore(t *testing.T) {
	for _, cut := range []bool{false, true} {
		p := openPair(t, newTable(t), nil)
		p.a.rec.takes = func(message) bool { return false }
		p.b.send(wire.Normal, 0, []byte("not taken"))
		p.settle()
		if p.b.ep.Close(p.now, p.now); cut {
			p.cut()
		}
		p.settle()
		require.True(t, p.a.ep.Parting())
		require.NotZero(t, p.a.slot.State.Load()&outbox.StateParted)
		_, _, err := p.a.table.Send(p.a.handle, wire.Normal, 0, []byte("to nobody"))
		require.Equal(t, outbox.ErrClosed, err)
		p.a.rec.takes = nil
		p.a.ep.Resume(p.now)
		require.Len(t, p.a.rec.messages, 1)
		require.Equal(t, Closed, p.a.ep.Phase())
		p.drop()
	}
}

// TestPartedWithoutReceiver: an endpoint that nobody receives from ends with its peer.
func TestPartedWithoutReceiver(t *testing.T) {
	for _, cut := range []bool{false, true} {
		p := openPair(t, newTable(t), nil)
		p.a.ep.SetUnbound(true)
		p.a.ep.Pause()
		p.b.send(wire.Normal, 0, []byte("not taken"))
		p.settle()
		if p.b.ep.Close(p.now, p.now); cut {
			p.cut()
		}
		p.settle()
		require.Equal(t, Closed, p.a.ep.Phase())
		require.Empty(t, p.a.rec.messages)
		p.drop()
	}
}
