package outbox

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestBudgetCountsMemory: what a driver is charged with is the memory that its messages
// keep, however little of it they use, and all of it comes back.
func TestBudgetCountsMemory(t *testing.T) {
	table := newTable(t, 12, 64)
	s, h, readers := newEndpoint(t, table, 1<<20)
	growAll(&readers[0])
	chunk, block := table.chunks.PieceSize(), table.blocks.PieceSize()
	used := func() int64 { return table.Budget(0).Used.Load() }
	held := func() int64 { return int64(table.chunks.InUse()*chunk + table.blocks.InUse()*block) }
	for _, size := range []int{1, table.maxInline, table.maxInline + 1, chunk, chunk + 1, block} {
		_, _, err := table.Send(h, 0, 0, make([]byte, size))
		require.NoError(t, err)
		require.Equal(t, held(), used(), "a message of %d bytes", size)
	}
	require.Equal(t, int64(table.maxInline+1+chunk+chunk+1+block), s.lanes[0].charged.Load(),
		"in the lane the message counts")
	_, _, err := table.Send(h, 0, 0, make([]byte, block+1))
	require.NoError(t, err)
	require.Equal(t, held()+int64(block+1), used(), "Go's memory")
	table.Budget(0).Limit.Store(used() + int64(block) - 1)
	_, _, err = table.Send(h, 0, 0, make([]byte, chunk+1))
	require.ErrorIs(t, err, ErrAgain, "no room for a block")
	table.Budget(0).Limit.Store(int64(block + chunk - 1))
	_, _, err = table.Send(h, 1, 0, make([]byte, chunk+1))
	require.ErrorIs(t, err, ErrTooLarge, "there never is, with the chunk for its entry")
	endLife(t, table, s, readers)
	requireEmpty(t, table)
}
