package endpoint

import (
	"slices"
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
	since, resend := 0, w.a.ep.config.OnRestart == Resend
	for k, told := range w.a.told {
		old, s, accepted := w.met[k], told.Lanes[lane], w.met[k+1].sent[lane]
		require.Equal(rt, accepted-since, int(s.Accepted))
		require.Equal(rt, s.Accepted, s.Acknowledged+s.Maybe+s.Never+s.Withdrawn)
		require.LessOrEqual(rt, int(s.Acknowledged), old.done[lane], "acknowledged and not consumed")
		missing, _ := w.requireSame(sent[since:], old.got[lane])
		require.LessOrEqual(rt, missing, int(s.Withdrawn), "missing and not withdrawn")
		for _, m := range w.met[:k+1] {
			if got := m.got[lane]; len(got) > 0 {
				require.Less(rt, int(got[len(got)-1].id), accepted-int(s.Never), "got and never sent")
			}
		}
		next := accepted
		if resend {
			// Which of them were acknowledged is not told where others were withdrawn.
			next = w.met[k+1].since[lane]
			acked := slices.IndexFunc(old.got[lane], func(m message) bool { return int(m.id) >= next })
			if acked < 0 {
				acked = len(old.got[lane])
			}
			require.Equal(rt, int(s.Acknowledged), acked)
		}
		since = next
	}
	missing := w.requireAll(sent[since:], w.b.got[lane])
	s := w.a.ep.Lane(wire.Lane(lane))
	require.Equal(rt, len(sent)-since, int(s.Accepted))
	require.Equal(rt, missing, int(s.Withdrawn))
	require.Equal(rt, s.Accepted, s.Acknowledged+s.Withdrawn)
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
		w.requireSame(m.life.sent[lane], got)
		acked := int(m.ep.Lane(wire.Lane(lane)).Acknowledged)
		require.LessOrEqual(w.rt, acked, p.done[lane], "acknowledged and not consumed")
		require.LessOrEqual(w.rt, len(got), int(w.a.told[k].Lanes[lane].Received))
	}
	w.requireAll(w.b.sent[lane], w.a.got[lane])
}
