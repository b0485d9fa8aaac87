package outbox

import (
	"bytes"
	"slices"
	"testing"

	"github.com/lyquor/lyquor/engine/wire"

	"github.com/stretchr/testify/require"
)

// TestColours: lanes of a thousand slots begin all over the first half of a chunk, where a
// cache line does; so no set of a cache has to hold much more than its share of them.
func TestColours(t *testing.T) {
	const slots = 1000
	c := Default()
	c.Slots = slots + 1
	table, err := NewTable(c)
	require.NoError(t, err)
	table.Budget(0).Limit.Store(1 << 40)
	at := map[uint64]int{}
	for range slots {
		s, err := table.Allocate(KindEndpoint, 0, 0, 0)
		require.NoError(t, err)
		start := table.colour(s)
		require.Zero(t, start%lineWords)
		require.Less(t, start, table.chunkWords/2)
		at[start]++
	}
	require.Len(t, at, 512, "each place is taken")
	for start, n := range at {
		require.LessOrEqual(t, n, 3, "slots that begin at word %d", start)
	}
}

// TestColouredLife: a lane that does not begin where its chunk does sends, rests, begins
// again at its colour, and ends, and each chunk comes back zeroed, with its charge.
func TestColouredLife(t *testing.T) {
	table := newColouredTable(t, 12, 64, true)
	for range 15 {
		s, h, readers := newEndpoint(t, table, 1<<14)
		r, start := &readers[wire.Low], table.colour(s)
		require.Equal(t, start, r.Sent())
		used := 0
		for range 3 {
			require.False(t, r.Rest(), "nothing is there yet")
			require.Equal(t, start, r.Sent()&(table.chunkWords-1), "where the log goes on")
			for _, size := range []int{1, 700, 1024, 1024, 1024, 9} { // in one chunk, or two
				_, _, err := table.Send(h, wire.Low, 7, bytes.Repeat([]byte{0xff}, size))
				require.NoError(t, err)
			}
			for taken := uint64(0); taken < 6; {
				e, ok := r.Peek(r.Sent(), 1<<20)
				require.True(t, ok)
				require.Contains(t, []uint64{0, start}, e.start&(table.chunkWords-1))
				taken += uint64(e.Messages())
				r.Advance(e)
			}
			used = max(used, table.chunks.InUse())
			require.True(t, r.Acknowledge(r.Taken().Messages, nil))
			require.False(t, r.Rest())
			require.Zero(t, table.chunks.InUse(), "a lane that rests owns no chunk")
			require.Zero(t, table.Budget(0).Used.Load())
		}
		require.NotZero(t, used)
		endLife(t, table, s, readers)
	}
	requireEmpty(t, table)
	for range table.chunks.Capacity() {
		require.False(t, slices.ContainsFunc(table.chunks.Bytes(table.chunks.TakeClean()), func(b byte) bool {
			return b != 0
		}), "a clean chunk is zeroed")
	}
}
