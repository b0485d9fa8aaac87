package endpoint

import (
	"slices"
	"testing"

	"github.com/lyquor/lyquor/engine/outbox"
	"github.com/lyquor/lyquor/engine/wire"

	"github.com/stretchr/testify/require"
)

// requireRemains asserts that a list has what an account counts as not acknowledged,
// lane by lane in the order of ids, as it was sent: data returns that, where it is known.
func requireRemains(t tester, r *Remains, lanes [wire.Lanes]wire.LaneAccount,
	data func(wire.Lane, uint64) []byte) {
	t.Helper()
	list := slices.Collect(r.All())
	last := uint64(0)
	for i := range wire.Lane(wire.Lanes) {
		a := lanes[i]
		for k := range a.Maybe + a.Never {
			require.NotEmpty(t, list, "lane %v: %d of %+v", i, k, a)
			m := list[0]
			list = list[1:]
			require.Equal(t, i, m.Lane)
			require.Equal(t, k < a.Maybe, m.Maybe, "lane %v: message %d of %+v", i, k, a)
			require.True(t, k == 0 || m.ID > last, "lane %v: %d after %d", i, m.ID, last)
			last = m.ID
			if data != nil {
				require.Equal(t, string(data(i, m.ID)), string(m.Data), "message %v/%d", i, m.ID)
			}
		}
	}
	require.Empty(t, list)
}

// requireLast asserts what the list of a side that is over has.
func (s *side) requireLast(data func(wire.Lane, uint64) []byte) {
	var lanes [wire.Lanes]wire.LaneAccount
	for i := range lanes {
		lanes[i] = s.ep.Lane(wire.Lane(i)).LaneAccount
	}
	r := s.ep.Remains()
	requireRemains(s.t, r, lanes, data)
	untold := s.ep.config.Slot.Untold.Load()
	r.Drop()
	require.Equal(s.t, untold, s.ep.config.Slot.Untold.Load(), "of restarts, not of the end")
}

// TestRemains: what a restart leaves is listed, with its data though the log has moved on,
// if it is to be reported, and only then; what it lay in comes back with the list.
func TestRemains(t *testing.T) {
	for choice, want := range map[OnRestart]int{Report: 4, Resend: 0, Drop: 0} {
		p := openPair(t, newTable(t), func(c *Config) { c.Resume, c.OnRestart, c.Later = -1, choice, true })
		freed := 0
		var remains *Remains
		p.a.rec.heard = func(e Event) {
			if e.Kind == EventRestarted {
				remains = e.Remains
			}
		}
		long := make([]byte, 100_000)
		p.a.send(wire.Normal, 0, []byte("maybe"))
		p.a.send(wire.Low, 0, long)
		p.settleHalf(p.a, 50_000)
		_, _, err := p.a.table.SendHeld(p.a.handle, wire.Low, 7, long[:20_000], func() { freed++ })
		require.NoError(t, err)
		p.a.send(wire.Low, 0, []byte("never"))
		p.a.rec.keeps = true
		p.restart()
		p.a.cut()
		p.relink()
		p.settle()
		p.a.send(wire.Normal, 0, []byte("another"))
		p.settle()
		if want == 0 {
			require.Nil(t, remains)
			require.Equal(t, choice == Drop, freed == 1)
			p.drop()
			continue
		}
		require.Zero(t, freed, "it is listed")
		require.Equal(t, []outbox.Remnant{
			{ID: 0, Lane: wire.Normal, Maybe: true, Data: []byte("maybe")},
			{ID: 0, Lane: wire.Low, Maybe: true, Data: long},
			{ID: 1, Lane: wire.Low, Channel: 7, Data: long[:20_000]},
			{ID: 2, Lane: wire.Low, Data: []byte("never")},
		}, slices.Collect(remains.All()))
		block := int64(p.a.table.Blocks().PieceSize())
		require.Greater(t, remains.Charged, block+20_000, "the copy, what is lent, and entries")
		require.Less(t, remains.Charged, block+20_000+1000)
		remains.Drop()
		remains.Drop()
		require.Equal(t, 1, freed)
		p.drop()
	}
}

// TestRemainsOfAPausedProgram: lists wait in their places with their events, each of its
// restart, and what nobody will hear of is given back.
func TestRemainsOfAPausedProgram(t *testing.T) {
	p := openPair(t, newTable(t), func(c *Config) { c.Resume, c.Later = -1, true })
	var lists [][]outbox.Remnant
	p.a.rec.heard = func(e Event) {
		if e.Kind == EventRestarted {
			lists = append(lists, slices.Collect(e.Remains.All()))
		}
	}
	p.a.rec.takes = func(message) bool { return false }
	p.b.send(wire.Normal, 0, []byte("not taken"))
	p.settle()
	for _, text := range []string{"first", "second"} {
		p.a.send(wire.Normal, 0, []byte(text))
		p.settle()
		p.restart()
		p.a.cut()
		p.relink()
		p.settle()
	}
	p.a.rec.takes = nil
	require.Empty(t, lists)
	p.a.ep.Resume(p.now)
	require.Len(t, lists, 2)
	require.Equal(t, "first", string(lists[0][0].Data))
	require.Equal(t, "second", string(lists[1][0].Data))
	p.a.rec.takes = func(message) bool { return false }
	p.b.send(wire.Normal, 0, []byte("not taken"))
	p.a.send(wire.Normal, 0, []byte("third"))
	p.settle()
	p.restart()
	p.a.cut()
	p.relink()
	p.settle()
	p.drop()
}

// TestPanicOfAResumedProgram: what waited behind the message is neither kept for ever nor lost:
// the account of a restart is told before the end.
func TestPanicOfAResumedProgram(t *testing.T) {
	p := openPair(t, newTable(t), func(c *Config) { c.Resume, c.Later = -1, true })
	var listed []outbox.Remnant
	p.a.rec.heard = func(e Event) {
		if e.Kind == EventRestarted {
			listed = slices.AppendSeq(listed, e.Remains.All())
		}
	}
	p.a.rec.takes = func(message) bool { return false }
	p.b.send(wire.Normal, 0, []byte("not taken"))
	p.b.send(wire.Normal, 0, make([]byte, 100_000))
	p.a.send(wire.Normal, 0, []byte("never acknowledged"))
	p.settle()
	p.restart()
	p.a.cut()
	p.relink()
	p.settle()
	p.a.rec.takes = func(message) bool { panic("in the program") }
	require.Panics(t, func() { p.a.ep.Resume(p.now) })
	p.a.ep.Abort(Internal, "in the program")
	p.a.ep.TellRestarts()
	require.Len(t, listed, 1)
	p.drop()
}
