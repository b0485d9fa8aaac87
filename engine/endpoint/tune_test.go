package endpoint

import (
	"testing"

	"github.com/lyquor/lyquor/engine/outbox"
	"github.com/lyquor/lyquor/engine/wire"

	"github.com/stretchr/testify/require"
)

// trip is a round trip of the links below.
const trip = int64(100e6)

// distant returns two endpoints whose windows may grow to a cap; what a's log holds is
// what it begins with.
func distant(t *testing.T, window uint64) *pair {
	p := openPair(t, newTable(t), func(c *Config) { c.Window, c.MaxMessage = window, wire.DefaultMaxMessage })
	require.False(t, p.a.ep.send.lanes[wire.Normal].Rest())
	return p
}

// fill has a send to its peer for as long as there is room, over a link that takes
// everything.
func (p *pair) fill(t *testing.T, size int) {
	for {
		_, _, err := p.a.table.Send(p.a.handle, wire.Normal, 0, make([]byte, size))
		if err == nil {
			continue
		}
		require.ErrorIs(t, err, outbox.ErrAgain)
		for p.a.write(everything, everything) > 0 {
		}
		if !p.a.ep.MakeRoom(wire.Normal) {
			return
		}
	}
}

// round lets a round trip go by.
func (p *pair) round() {
	for _, s := range []*side{p.a, p.b} {
		p.now += trip / 2
		s.deliver(everything)
		for s.peer().write(everything, everything) > 0 {
		}
	}
}

// TestWindowAndOutboxFollowTheLink: both grow until the cap, fourfold every other round trip,
// for messages in the log and beside it; the log never holds much more than twice what may be under way,
// and is small again at rest.
func TestWindowAndOutboxFollowTheLink(t *testing.T) {
	const most = 2 << 20
	for _, size := range []int{1000, 100_000} {
		p := distant(t, most)
		for range 5 {
			window := p.b.ep.Window(wire.Normal)
			p.fill(t, size)
			p.round()
			require.LessOrEqual(t, p.a.slot.Limit(wire.Normal), 2*window)
			require.LessOrEqual(t, p.b.ep.Window(wire.Normal), min(4*window, most))
		}
		require.Equal(t, uint64(most), p.b.ep.Window(wire.Normal))
		require.Greater(t, p.a.slot.Limit(wire.Normal), uint64(most)/2)
		require.Equal(t, uint64(firstWindow), p.b.ep.Window(wire.Urgent), "another lane's window stays")
		p.settle()
		require.True(t, p.a.ep.Acked())
		require.True(t, p.a.ep.Rest())
		require.Equal(t, uint64(outbox.FirstLimit), p.a.slot.Limit(wire.Normal))
		p.drop()
	}
}

// TestWindowOfASlowProgram: one that consumes less than half a window in a round trip keeps
// it, however it does that: little by little, or all of it now and then.
func TestWindowOfASlowProgram(t *testing.T) {
	for _, every := range []int{1, 10} {
		p := distant(t, 8<<20)
		takes := 0
		p.b.rec.takes = func(message) bool { takes--; return takes >= 0 }
		for i := range 60 {
			p.fill(t, 10_000)
			if i%every == 0 {
				takes = min(8*every, 26) // of 27 in a window
				p.b.ep.Resume(p.now)
				p.b.write(everything, everything)
			}
			p.round()
		}
		require.NotZero(t, p.b.ep.rounds.trip)
		require.Equal(t, uint64(firstWindow), p.b.ep.Window(wire.Normal))
		require.LessOrEqual(t, p.a.slot.Limit(wire.Normal), uint64(2*firstWindow))
		p.drop()
	}
}

// TestWindowOfAShortTrip: what is consumed in a burst, because it had gathered on the way,
// is no reason for more.
func TestWindowOfAShortTrip(t *testing.T) {
	p := distant(t, 8<<20)
	for range 20 {
		for range 5 {
			p.fill(t, 10_000)
			p.now += 150e3
			p.a.deliver(everything)
			p.b.write(everything, everything)
			p.b.deliver(everything)
		}
		p.now += 20e6
	}
	p.b.ep.measured(20e6)
	require.Equal(t, int64(150e3), p.b.ep.rounds.trip)
	require.Equal(t, uint64(firstWindow), p.b.ep.Window(wire.Normal))
	p.drop()
}

// TestWindowsShareMemory: what all windows of a driver grow by is bounded, and comes back
// with their endpoints.
func TestWindowsShareMemory(t *testing.T) {
	p := distant(t, 64<<20)
	budget := p.a.table.Budget(0)
	before := budget.Limit.Load()
	budget.Limit.Store(8 << 20)
	for range 12 {
		p.fill(t, 60_000)
		p.round()
	}
	require.Equal(t, uint64(2<<20), p.b.ep.Window(wire.Normal), "4 MiB would be a quarter of what is left, or more")
	budget.Limit.Store(before)
	p.settle()
	p.drop()
	require.True(t, p.a.table.Grant(p.a.slot, uint64(before/4)), "everything came back")
	p.a.table.Ungrant(p.a.slot, uint64(before/4))
}

// TestOutboxStaysWhileTheLinkIsFull: a log grows if all of it is on its way, and the peer
// would take more; neither alone is enough.
func TestOutboxStaysWhileTheLinkIsFull(t *testing.T) {
	p := distant(t, 8<<20)
	p.a.ep.send.limit[wire.Normal] = 1 << 30 // the peer would take everything
	for {
		_, _, err := p.a.table.Send(p.a.handle, wire.Normal, 0, make([]byte, 10_000))
		if err != nil {
			break
		}
	}
	require.False(t, p.a.ep.MakeRoom(wire.Normal), "what it holds is not on its way")
	require.Equal(t, uint64(outbox.FirstLimit), p.a.slot.Limit(wire.Normal))
	for p.a.write(everything, everything) > 0 {
	}
	p.a.ep.send.limit[wire.Normal] = p.a.ep.send.lanes[wire.Normal].Taken().Bytes
	require.False(t, p.a.ep.MakeRoom(wire.Normal), "the peer does not take more")
	p.a.ep.send.limit[wire.Normal]++
	require.True(t, p.a.ep.MakeRoom(wire.Normal))
	p.drop()
}
