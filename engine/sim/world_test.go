package sim

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestHeapOrder: events come by time, and in the order of planning where that is equal.
func TestHeapOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	var h eventHeap
	var want []event
	for i := range uint64(2000) {
		e := event{at: r.Int64N(50), turn: i}
		want = append(want, e)
		h.push(e)
	}
	slices.SortStableFunc(want, func(a, b event) int { return int(a.at - b.at) })
	for _, e := range want {
		require.Equal(t, e, h.pop())
	}
	require.Empty(t, h)
}

// TestClock: when is the inverse of now, and a change of drift is no jump.
func TestClock(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 1))
	c := clock{world: 0, node: int64(time.Hour)}
	for now := int64(0); now < 1000*int64(time.Hour); now += r.Int64N(int64(time.Hour)) {
		before := c.now(now)
		c.skew(now, r.Int64N(2*maxDrift+1)-maxDrift)
		require.Equal(t, before, c.now(now))
		due := before + r.Int64N(int64(time.Hour))
		at := c.when(due)
		require.GreaterOrEqual(t, c.now(at), due)
		require.Less(t, c.now(at-3), due, "no later than need be")
	}
}

// TestTimers come at their time on the node's own clock, and not after a crash, nor
// once they are stopped.
func TestTimers(t *testing.T) {
	w := newWorld(t, Config{Seed: 3})
	var fired []time.Duration
	n := w.Node("n", func(n *Node) {
		begin := n.Now()
		note := func() { fired = append(fired, n.Now()-begin) }
		n.Timer(20*time.Millisecond, note)
		n.Timer(10*time.Millisecond, note)
		n.Timer(15*time.Millisecond, note).Stop()
		n.Timer(time.Hour, note)
	})
	w.After(0, func() { n.Skew(maxDrift) })
	require.NoError(t, w.Run(time.Second))
	require.Len(t, fired, 2)
	for i, d := range fired {
		require.InDelta(t, (time.Duration(i)+1)*10*time.Millisecond, d, float64(time.Millisecond))
	}
	n.Crash(false)
	require.NoError(t, w.Run(2*time.Hour))
	require.Len(t, fired, 2)
}

// TestPause: a process that is paused runs its timers when it goes on.
func TestPause(t *testing.T) {
	w := newWorld(t, Config{Seed: 3})
	fired := time.Duration(0)
	n := w.Node("n", func(n *Node) { n.Timer(time.Second, func() { fired = w.Now() }) })
	require.NoError(t, w.Run(time.Millisecond))
	n.Pause()
	require.NoError(t, w.Run(time.Minute))
	require.Zero(t, fired)
	n.Continue()
	require.NoError(t, w.Run(2*time.Minute))
	require.InDelta(t, time.Minute, fired, float64(time.Millisecond))
}

// newWorld returns a world that ends with the test, which fails if it does not end well.
func newWorld(t *testing.T, c Config) *World {
	t.Helper()
	w, err := New(c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.Close()) })
	return w
}
