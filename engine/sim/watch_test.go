package sim

import (
	"testing"
	"time"

	"github.com/lyquor/lyquor/engine/outbox"
	"github.com/lyquor/lyquor/engine/wire"

	"github.com/stretchr/testify/require"
)

// TestWatch: what waits for nothing, or longer than its time, is noticed. The engine
// has none of it, so the test says that it were so.
func TestWatch(t *testing.T) {
	long := int64(time.Hour)
	cases := map[string]struct {
		breach func(s *Endpoint)
		want   string
	}{
		"a timer": {func(s *Endpoint) {
			s.node.Timer(time.Second, func() {}).due = s.node.now() - lateSlack - 1
		}, "a timer of its program is late by"},
		"a deadline": {func(s *Endpoint) { s.due = 1 }, "s->r is late by"},
		"a silence":  {func(s *Endpoint) { s.heardAt -= long }, "open, though the peer is silent since"},
		"no link": {func(s *Endpoint) {
			s.downAt, s.options.Resume = s.node.now()-long, time.Second
		}, "without a link since"},
		"a linger": {func(s *Endpoint) {
			s.closing, s.closeBy = true, s.node.now()-long
		}, "not closed, 1h0m0s after its time"},
		"room, untold": {func(s *Endpoint) {
			s.slot.Want.Or(outbox.WantEvent)
		}, "a sender waits for room in an empty lane"},
		"a notice": {func(s *Endpoint) {
			s.node.turnAt = 0
			s.node.world.table.Ring(s.slot)
		}, "s sleeps, and somebody has rung"},
		"a message": {func(s *Endpoint) {
			c, err := s.node.world.table.Claim(s.handle, wire.Low, wire.MakeHeader(0, wire.Msg, wire.Low, 0), 0)
			require.NoError(t, err)
			c.Publish()
		}, "a message waits, and the link has room"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w, s, _ := twoMessages(t)
			w.watch()
			require.NoError(t, w.failure)
			s.node.awakeAt -= 2 * long
			c.breach(s)
			w.watch()
			require.ErrorContains(t, w.failure, c.want)
		})
	}
}

// TestWatchPauses: what was due in a pause is late only if it is not done after it.
func TestWatchPauses(t *testing.T) {
	p := newPair(t, Config{Seed: 31}, nil)
	p.b.Pause()
	require.NoError(t, p.w.Run(p.w.Now()+2*time.Second))
	require.Positive(t, p.accepted.due)
	require.Less(t, p.accepted.due, p.b.now()-lateSlack)
	p.b.Continue()
	require.NoError(t, p.w.Run(p.w.Now()+time.Minute))
}

// TestUntold: in Settle, what the peer is done with is acknowledged soon.
func TestUntold(t *testing.T) {
	w, s, _ := twoMessages(t)
	require.NoError(t, w.Run(time.Second))
	s.takenAt, s.takenOn = 1, s.end
	require.True(t, s.untold())
	s.takenOn = nil
	require.False(t, s.untold(), "it was another link")
	s.takenAt = 1
	_, err := s.Send(wire.Low, 0, nil)
	require.NoError(t, err)
	require.False(t, s.untold(), "it is not taken yet")
	require.NoError(t, w.Settle(time.Second))
}
