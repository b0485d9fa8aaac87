package outbox

import (
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/lyquor/lyquor/engine/wire"

	"github.com/stretchr/testify/require"
)

// TestSalvageOutlivesTheLog: a list has the data when the log goes on, and takes its whole
// chunks from it and no more than what lies in the last.
func TestSalvageOutlivesTheLog(t *testing.T) {
	table := newTable(t, 9, 64)
	s, h, readers := newEndpoint(t, table, 1<<14)
	r, used := &readers[0], &table.Budget(0).Used
	var want []Remnant
	for i := range 100 {
		data := []byte(strings.Repeat("x", i%30))
		id, _, err := table.Send(h, 0, 7, data)
		require.NoError(t, err)
		want = append(want, Remnant{ID: id, Channel: 7, Data: data})
	}
	chunks := table.chunks.InUse()
	claim, err := table.Claim(h, 0, wire.MakeHeader(4, wire.Msg, 0, 0), 4)
	require.NoError(t, err)
	require.Equal(t, uint64(100), r.Remaining())
	var list Remnants
	r.Salvage(100, &list)
	require.Equal(t, chunks, table.chunks.InUse(), "none was needed for it")
	require.Equal(t, chunks, len(list.Parts))
	require.Less(t, used.Load(), int64((chunks+1)*512), "one is shared, and a part of it copied")
	require.Equal(t, want, slices.Collect(list.All()))
	copy(claim.Bytes(), "late")
	claim.Publish()
	require.Equal(t, uint64(1), r.Remaining(), "what was being written is the log's")
	e, ok := r.Peek(r.Sent(), 1)
	require.True(t, ok)
	require.Equal(t, "late", string(e.Run[wire.HeaderSize:][:4]))
	r.Advance(e)
	require.True(t, r.Acknowledge(101, nil))
	require.False(t, r.Rest())
	require.Equal(t, list.Charged, used.Load(), "nothing else is left")
	require.Equal(t, want, slices.Collect(list.All()))
	for m := range list.All() {
		if m.ID == 1 {
			break // whoever looks need not look at all
		}
	}
	list.Drop(nil)
	require.Zero(t, used.Load())
	endLife(t, table, s, readers)
	requireEmpty(t, table)
}

// TestSalvageOfWhatEnded: nothing is made for the messages of a list, be they ever so many
// and small; it is the log's chunks.
func TestSalvageOfWhatEnded(t *testing.T) {
	table := newTable(t, 16, 16)
	s, h, readers := newEndpoint(t, table, 1<<20)
	r := &readers[0]
	growAll(r)
	n := 0
	for ; ; n++ {
		if _, _, err := table.Send(h, 0, 0, []byte("x")); err != nil {
			break
		}
	}
	require.Greater(t, n, 20_000)
	used := table.Budget(0).Used.Load()
	table.Close(s)
	var list Remnants
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r.SalvageAll(&list)
	runtime.ReadMemStats(&after)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(10<<10), "for %d messages", n)
	require.Equal(t, used, table.Budget(0).Used.Load())
	require.Equal(t, used, list.Charged)
	require.Equal(t, uint64(n), r.Accepted())
	require.True(t, r.Settled())
	seen := 0
	for m := range list.All() {
		require.Equal(t, uint64(seen), m.ID)
		seen++
	}
	require.Equal(t, n, seen)
	list.Drop(nil)
	require.Equal(t, uint64(n), endLife(t, table, s, readers))
	requireEmpty(t, table)
}
