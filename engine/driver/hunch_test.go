package driver

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestHunch: a worker whose looks pay looks each time, one whose looks are in vain gives
// up soon and tries again seldom.
func TestHunch(t *testing.T) {
	var h hunch
	turns := func(n int, right bool) (looks int) {
		looking := false
		for range n {
			h.worked(looking, 0)
			if looking = h.window > 0; looking {
				looks++
			}
			if !right {
				h.slept()
				looking = false
			}
		}
		return looks
	}
	require.Equal(t, hunchLuck, turns(hunchEvery, false), "the first looks, and no more")
	require.Equal(t, hunchLuck, turns(hunchEvery, false))
	require.Equal(t, 3*hunchEvery, turns(3*hunchEvery, true), "found out, and kept up")
	require.LessOrEqual(t, turns(hunchEvery, false), 2*hunchLuck+1, "given up soon")
}

// TestHunchInStreams: however lucky a worker is, it does not look behind much that it read.
func TestHunchInStreams(t *testing.T) {
	var h hunch
	for range 2 * hunchEvery {
		h.worked(true, hunchStream-1)
		require.Positive(t, h.window)
		h.worked(false, hunchStream)
		require.Zero(t, h.window)
		h.slept()
	}
	require.Equal(t, hunchLuck, h.luck, "that it did not look was no bad luck")
}

// TestHunchInCrowds: where letting others go first takes long, looks go on only if they
// save more than that costs.
func TestHunchInCrowds(t *testing.T) {
	var h hunch
	clock, looks := int64(0), 0
	yield := func(took int64) { h.yield(func() int64 { return clock }, func() { clock += took }) }
	for h.turns < 4*hunchEvery {
		if h.worked(false, 0); h.window > 0 {
			looks++
			yield(hunchCrowd - 1)
			require.Positive(t, h.window, "whoever answers may take that long")
			yield(hunchCrowd)
			require.Zero(t, h.luck)
			h.worked(true, 0)
			require.Zero(t, h.window, "that something came meanwhile does not make it better")
		}
	}
	require.Equal(t, 4, looks)
	for h.window == 0 {
		h.worked(false, 0)
	}
	for range 2 * hunchSaved / hunchWindow {
		h.worked(true, 0)
	}
	for range hunchSaved / hunchCrowd {
		yield(hunchCrowd)
		h.worked(true, 0)
		require.Positive(t, h.window)
	}
	yield(hunchCrowd)
	require.Zero(t, h.luck)
}
