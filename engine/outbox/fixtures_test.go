package outbox

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/lyquor/lyquor/engine/arena"
	"github.com/lyquor/lyquor/engine/wire"

	"github.com/stretchr/testify/require"
)

// tester is what testing.T, testing.B and rapid.T have in common.
type tester interface {
	require.TestingT
	Helper()
}

// newTable returns a small table whose budgets are ample. Chunks of 2^9 to 2^12
// bytes make every boundary frequent.
func newTable(t tester, shift, chunks uint32) *Table {
	t.Helper()
	return newColouredTable(t, shift, chunks, false)
}

// newColouredTable returns one whose lanes may begin anywhere in a chunk.
func newColouredTable(t tester, shift, chunks uint32, coloured bool) *Table {
	t.Helper()
	table, err := NewTable(Config{
		Slots: 16, Bells: 4, Budgets: 2, ChunkShift: shift, Chunks: chunks, BlockShift: shift + 2, Blocks: 16,
		DirectoryShift: 8, Directories: 16, Coloured: coloured,
	})
	require.NoError(t, err)
	for i := range table.budgets {
		table.Budget(uint32(i)).Limit.Store(1 << 40)
	}
	return table
}

// newEndpoint begins a life with readers on all lanes.
func newEndpoint(t tester, table *Table, outboxBytes uint64) (*Slot, Handle, []Reader) {
	t.Helper()
	s, err := table.Allocate(KindEndpoint, 0, 0, outboxBytes)
	require.NoError(t, err)
	s.MaxMessage.Store(1 << 30)
	readers := make([]Reader, wire.Lanes)
	for i := range readers {
		readers[i].Open(table, s, wire.Lane(i))
	}
	return s, Handle(s.ID.Load()), readers
}

// growAll lets a lane hold all that its bound allows.
func growAll(r *Reader) {
	for r.Grow() {
	}
}

// endLife closes, drops and retires, and returns how many messages were unsent.
func endLife(t tester, table *Table, s *Slot, readers []Reader) (unsent uint64) {
	t.Helper()
	table.Close(s)
	for i := range readers {
		require.True(t, readers[i].Settled())
		unsent += readers[i].Drop(func(ref Reference) { require.True(t, table.Release(ref)) })
	}
	table.Retire(s)
	return unsent
}

// requireEmpty asserts that a table without lives holds no memory.
func requireEmpty(t tester, table *Table) {
	t.Helper()
	require.Zero(t, table.chunks.InUse(), "chunks in use")
	require.Zero(t, table.Directories().InUse(), "directories in use")
	require.Zero(t, table.blocks.InUse(), "blocks in use")
	require.Equal(t, len(table.held.entries), len(table.held.free), "Go memory held")
	for i := range table.budgets {
		require.Zero(t, table.budgets[i].Used.Load(), "budget %d", i)
	}
	for i := range table.root.slotsFresh.Load() {
		for k := range table.Slot(i).lanes {
			l := &table.Slot(i).lanes[k]
			require.Zero(t, l.charged.Load(), "slot %d lane %d", i, k)
			require.Zero(t, l.large.Load(), "slot %d lane %d", i, k)
			for at := range l.inline {
				require.Zero(t, l.inline[at].Load(), "slot %d lane %d place %d", i, k, at)
			}
		}
	}
	for i := range table.directories.Capacity() {
		for _, b := range table.directories.Bytes(arena.Index(i + 1)) {
			require.Zero(t, b, "directory %d", i+1)
		}
	}
}

// startAt moves the beginning of a life's lane, so that counters wrap in it. The
// position is a chunk's first.
func (r *Reader) startAt(chunk, messages uint64) {
	l := &r.slot.lanes[r.lane]
	pos := chunk << r.table.chunkShift
	generation := l.tail.Load() >> genShift << genShift
	l.tail.Store(generation | messages&seqMask<<posBits | pos&posMask)
	r.freed, r.sent, r.taken.Messages, r.acked.Messages, r.touched = pos, pos, messages, messages, messages
	r.publishHead()
}

// fill makes a payload that looks like the log's own entries wherever it is read:
// messages, padding and references of all sizes.
func fill(b []byte, random *rand.Rand) {
	kinds := [...]wire.Kind{0, wire.Msg, kindPad, kindRef, wire.Start, kindTimed, kindWithdrawn}
	var word [8]byte
	for at := 0; at < len(b); at += 8 {
		n := random.Uint64()
		h := wire.MakeHeader(uint32(n%200), kinds[n>>32%7], wire.Lane(n>>40%4), uint16(n>>48))
		wire.PutHeader(word[:], h)
		copy(b[at:], word[:])
	}
}

// frames calls visit with each frame of a run.
func frames(t tester, run []byte, visit func(h wire.Header, payload []byte)) {
	for len(run) > 0 {
		h := wire.GetHeader(run)
		require.NoError(t, wire.Check(h), "header %#x", uint64(h))
		payload := run[wire.HeaderSize : wire.HeaderSize+int(h.Size())]
		for _, b := range run[wire.HeaderSize+len(payload) : h.FrameSize()] {
			require.Zero(t, b, "padding")
		}
		visit(h, payload)
		run = run[h.FrameSize():]
	}
}

// sum is FNV-1a over 8 bytes at a time: enough to see bytes of another message.
func sum(b []byte) uint64 {
	h := uint64(14695981039346656037)
	for ; len(b) >= 8; b = b[8:] {
		h = (h ^ binary.LittleEndian.Uint64(b)) * 1099511628211
	}
	for _, c := range b {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return h
}

// seeded returns a source of randomness whose seed the test prints.
func seeded(t testing.TB) uint64 {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return seed
}
