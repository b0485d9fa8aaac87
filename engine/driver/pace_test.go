package driver

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestPace: only a worker that writes little at a time to many, for producers that are
// ahead of it, rests; and never for longer than its turn took.
func TestPace(t *testing.T) {
	const ms = int64(time.Millisecond)
	turn := func(took int64, writes, bytes, messages int) int64 {
		var p pace
		for range writes {
			p.wrote(bytes, messages)
		}
		rest := p.rest(took)
		require.Zero(t, p, "a turn begins anew")
		return rest
	}
	require.Equal(t, 4*ms, turn(4*ms, 500, 4<<10, 60))
	require.Equal(t, 20*ms, turn(50*ms, 500, 4<<10, 60), "bounded")
	require.Zero(t, turn(4*ms, 500, 64, 1), "answers to requests are not held up")
	require.Zero(t, turn(4*ms, 10, 4<<10, 60), "few endpoints")
	require.Zero(t, turn(4*ms, 500, 65<<10, 900), "large writes")
	require.Zero(t, turn(ms/2, 500, 4<<10, 60), "a short turn")
}
