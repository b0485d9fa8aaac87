package endpoint

import (
	"testing"

	"github.com/lyquor/lyquor/engine/wire"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestRestart: the accepting side forgets everything, again and again. Each message
// reaches one of its lives, or none, in order, with the number that Send gave; who sent
// it is told which it was, as far as that can be known; and what comes later arrives.
func TestRestart(t *testing.T) {
	worlds(t, true, func(w *world) {
		for range rapid.IntRange(1, 120).Draw(w.rt, "steps") {
			w.step()
		}
		w.heal(w.quiet)
		require.Equal(w.rt, w.b, w.met[len(w.met)-1].life)
		require.Len(w.rt, w.a.told, len(w.met)-1, "one RESTARTED for each peer but the first")
		for lane := range wire.Lanes {
			w.requireForth(lane)
			w.requireBack(lane)
		}
	})
}

// requireForth holds what a sent against what its peers got, and what it was told.
func (w *world) requireForth(lane int) {
	rt, sent := w.rt, w.a.sent[lane]
	for _, l := range w.lives {
		if got := l.got[lane]; len(got) > 0 {
			from := int(got[0].id)
			requireSame(rt, sent[from:][:len(got)], got)
		}
	}
	since, resend := 0, w.a.ep.config.OnRestart == Resend
	for k, told := range w.a.told {
		old, s, accepted := w.met[k], told.Lanes[lane], w.met[k+1].sent[lane]
		require.Equal(rt, accepted-since, int(s.Accepted))
		require.Equal(rt, s.Accepted, s.Acknowledged+s.Maybe+s.Never)
		acked := since + int(s.Acknowledged)
		for id := since; id < acked; id++ {
			i := id - int(old.got[lane][0].id)
			require.True(rt, i >= 0 && i < old.done[lane], "message %d is acknowledged and not consumed", id)
		}
		for _, m := range w.met[:k+1] {
			if got := m.got[lane]; len(got) > 0 {
				require.Less(rt, int(got[len(got)-1].id), accepted-int(s.Never), "got and never sent")
			}
		}
		since = accepted
		if resend {
			since = acked
		}
		if next := w.met[k+1].got[lane]; len(next) > 0 {
			require.Equal(rt, since, int(next[0].id), "the first message of the next life")
		}
	}
	requireSame(rt, sent[since:], w.b.got[lane])
	s := w.a.ep.Lane(wire.Lane(lane))
	require.Equal(rt, len(sent)-since, int(s.Accepted))
	require.Equal(rt, s.Accepted, s.Acknowledged)
	if resend {
		return
	}
	holders := make([]int, len(sent))
	for _, l := range w.lives {
		for _, m := range l.got[lane] {
			holders[m.id]++
			require.Equal(rt, 1, holders[m.id], "message %d was delivered twice", m.id)
		}
	}
}

// requireBack holds what a got against what its peers sent.
func (w *world) requireBack(lane int) {
	for k, p := range w.a.past {
		m := w.met[k]
		got := p.got[lane]
		requireSame(w.rt, m.life.sent[lane][:len(got)], got)
		acked := int(m.ep.Lane(wire.Lane(lane)).Acknowledged)
		require.LessOrEqual(w.rt, acked, p.done[lane], "acknowledged and not consumed")
		require.LessOrEqual(w.rt, len(got), int(w.a.told[k].Lanes[lane].Received))
	}
	requireSame(w.rt, w.b.sent[lane], w.a.got[lane])
}
