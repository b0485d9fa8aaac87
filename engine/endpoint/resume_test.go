package endpoint

import (
	"slices"
	"testing"

	"github.com/lyquor/lyquor/engine/wire"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// check holds what must be so at any time, whatever happened.
func (w *world) check() {
	for lane := range wire.Lane(wire.Lanes) {
		s := w.a.ep.Lane(lane)
		require.Equal(w.rt, s.Accepted, s.Acknowledged+s.Maybe+s.Never+s.Withdrawn)
	}
	if w.restarts {
		return
	}
	for _, d := range [][2]*life{{w.a, w.b}, {w.b, w.a}} {
		from, to := d[0], d[1]
		for lane := range wire.Lanes {
			s := from.ep.Lane(wire.Lane(lane))
			require.Equal(w.rt, uint64(len(from.sent[lane])), s.Accepted)
			require.Equal(w.rt, s.Accepted, s.Acknowledged+s.Maybe+s.Never+s.Withdrawn)
			require.LessOrEqual(w.rt, s.Acknowledged, uint64(to.done[lane]), "acknowledged and not consumed")
			missing, _ := w.requireSame(from.sent[lane], to.got[lane])
			require.LessOrEqual(w.rt, uint64(missing), s.Withdrawn, "missing and not withdrawn")
			require.LessOrEqual(w.rt, uint64(len(to.got[lane])), s.Acknowledged+s.Maybe, "got and never sent")
			if slices.Contains(to.rec.kinds(), EventEnded) {
				w.requireAll(from.sent[lane], to.got[lane])
			}
			require.Less(w.rt, underWay(from, to, lane), to.ep.config.Window, "lane %d beyond the window", lane)
		}
	}
}

// TestResumption: whatever happens to links, every message arrives once, in order in
// its lane and unchanged, or was withdrawn because its time was over; both sides learn
// so; and all memory comes back.
func TestResumption(t *testing.T) {
	worlds(t, false, func(w *world) {
		for range rapid.IntRange(1, 120).Draw(w.rt, "steps") {
			w.step()
		}
		w.heal(w.quiet)
		w.check()
		for _, d := range [][2]*life{{w.a, w.b}, {w.b, w.a}} {
			for lane, sent := range d[0].sent {
				missing := uint64(w.requireAll(sent, d[1].got[lane]))
				count := uint64(len(sent))
				s := d[0].ep.Lane(wire.Lane(lane))
				require.Equal(w.rt, missing, s.Withdrawn)
				require.Equal(w.rt, count-missing, s.Acknowledged)
				require.Zero(w.rt, s.Maybe+s.Never+s.Queued)
				require.Equal(w.rt, count-missing, d[1].ep.Received(wire.Lane(lane)))
				require.Equal(w.rt, count-missing, d[0].ep.Written(wire.Lane(lane)))
			}
			require.Equal(w.rt, d[0].ended, slices.Contains(d[1].rec.kinds(), EventEnded))
			require.True(w.rt, d[0].ep.Rest(), "an idle endpoint owns nothing")
		}
		require.Zero(w.rt, w.table.Budget(0).Used.Load())
	})
}

// TestEndDuringAdoption: an endpoint that ends when it is told that its link is lost, as after
// a panic of its program, is not opened again by the next link, and the peer begins anew.
func TestEndDuringAdoption(t *testing.T) {
	p := openPair(t, newTable(t), func(c *Config) { c.Resume = -1 })
	b := p.b
	b.rec.heard = func(e Event) {
		if e.Kind == EventDown {
			b.ep.Abort(Internal, "in the program")
		}
	}
	p.a.cut()
	p.relink()
	p.settle()
	require.Equal(t, Closed, b.ep.Phase())
	require.NotSame(t, b, p.b)
	require.Equal(t, Open, p.b.ep.Phase())
	require.Equal(t, uint32(1), p.a.ep.Epoch())
	p.drop()
}
