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
			h.worked(looking)
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
