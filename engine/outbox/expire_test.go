package outbox

import (
	"testing"

	"github.com/lyquor/lyquor/engine/wire"

	"github.com/stretchr/testify/require"
)

// sendUntil sends a message of size bytes to the lane of a reader.
func (r *Reader) sendUntil(t *testing.T, size int, until int64) {
	_, _, err := r.table.SendUntil(Handle(r.slot.ID.Load()), r.lane, 7, make([]byte, size), until)
	require.NoError(t, err)
}

// counted takes everything from where the reader is, what is due at now withdrawn before,
// and returns how many messages each entry had: less than 0 for gaps.
func (r *Reader) counted(now int64, release func(Reference)) (list []int) {
	for {
		e, ok := r.Peek(r.Sent(), 1<<20)
		if ok && r.Due(&e, now) {
			r.Expire(r.Sent(), now, release)
			e, ok = r.Peek(r.Sent(), 1<<20)
		}
		if !ok {
			return list
		}
		n := e.Messages()
		if e.Withdrawn {
			n = -n
		}
		list = append(list, n)
		r.Advance(e)
	}
}

// TestExpire: what is late leaves a gap, between messages that are sent; the gap is found
// again after going back, whatever the time is then.
func TestExpire(t *testing.T) {
	table := newTable(t, 9, 64)
	s, _, readers := newEndpoint(t, table, 30<<10)
	r := &readers[wire.Low]
	growAll(r)
	for _, until := range []int64{0, 10, 10, 5, 20, 0, 9, 0} {
		r.sendUntil(t, 40, until)
	}
	r.sendUntil(t, 2000, 10) // by reference
	r.sendUntil(t, 2000, 11)
	used := table.Budget(0).Used.Load()
	freed := 0
	release := func(ref Reference) {
		freed += int(ref.Size)
		require.True(t, table.Release(ref))
	}
	require.Equal(t, []int{1, -3, 2, -1, 1, -1, 1}, r.counted(10, release))
	require.Equal(t, 2000, freed)
	block := int64(table.Blocks().PieceSize())
	require.Equal(t, used-block, table.Budget(0).Used.Load(), "what it referred to came back at once")
	want := Count{Messages: 10, Bytes: 4*Charge(40) + Charge(2000)}
	require.Equal(t, want, r.Taken())
	require.Equal(t, Gone{Total: 5, Taken: 5, Touched: 5}, r.Gone())
	require.Equal(t, uint64(5), r.Maybe())
	for to := range uint64(11) {
		require.True(t, r.Rewind(to))
		r.counted(100, release)
		require.Equal(t, want, r.Taken(), "what was given to a link has no deadline any more")
		require.Equal(t, Gone{Total: 5, Taken: 5, Touched: 5}, r.Gone())
	}
	require.True(t, r.Acknowledge(3, release))
	require.Equal(t, Count{Messages: 3, Bytes: Charge(40)}, r.Acked())
	require.Equal(t, uint64(2), r.Gone().Acked)
	require.Equal(t, uint64(4), r.Maybe())
	require.True(t, r.Acknowledge(10, release))
	require.Equal(t, want, r.Acked())
	endLife(t, table, s, readers)
	requireEmpty(t, table)
}

// TestSweep: without a link, what is late is withdrawn wherever it lies, and freed as far
// as nothing else lies before it.
func TestSweep(t *testing.T) {
	table := newTable(t, 9, 64)
	s, _, readers := newEndpoint(t, table, 800)
	r := &readers[wire.Low]
	for _, until := range []int64{1, 2, 9, 3, 8} {
		r.sendUntil(t, 100, until)
	}
	require.False(t, r.HasRoom())
	require.Equal(t, int64(1), r.Sweep(0, nil))
	require.Equal(t, int64(8), r.Sweep(3, nil))
	require.Equal(t, Count{Messages: 2}, r.Acked())
	require.Equal(t, Gone{Total: 3, Taken: 2, Acked: 2, Touched: 2}, r.Gone())
	require.Equal(t, int64(9), r.Sweep(8, nil))
	require.Equal(t, uint64(2), r.Acked().Messages)
	require.Zero(t, r.Sweep(9, nil))
	require.True(t, r.HasRoom())
	require.Equal(t, Count{Messages: 5}, r.Acked())
	require.Equal(t, uint64(5), r.Gone().Acked)
	require.Zero(t, r.Maybe())

	r.sendUntil(t, 100, 0)
	r.sendUntil(t, 100, 10)
	e, _ := r.Peek(r.Sent(), 1)
	r.Advance(e)
	require.Zero(t, r.Sweep(10, nil))
	require.Equal(t, uint64(5), r.Acked().Messages, "a message in flight lies before it")
	endLife(t, table, s, readers)
	requireEmpty(t, table)
}
