package outbox

import (
	"strings"
	"testing"
	"unsafe"

	"github.com/lyquor/lyquor/engine/arena"
	"github.com/lyquor/lyquor/engine/wire"

	"github.com/stretchr/testify/require"
)

func TestHandle(t *testing.T) {
	h := Handle(uint64(KindInbox)<<56 | 0xabcdef<<32 | 0x12345678)
	require.Equal(t, KindInbox, h.Kind())
	require.Equal(t, uint32(0xabcdef), h.Generation())
	require.Equal(t, uint32(0x12345678), h.Index())
}

func TestFindRefusesWhatIsNoHandle(t *testing.T) {
	table := newTable(t, 9, 8)
	s, h, readers := newEndpoint(t, table, 0)
	require.Equal(t, s, table.Find(h))
	for _, no := range []Handle{0, h ^ 1<<32, h ^ 1<<56, h + 1, Handle(h.Index()), h&^0xffffffff | 1<<31} {
		require.Nil(t, table.Find(no), "%#x", uint64(no))
		_, _, err := table.Send(no, 0, 0, nil)
		require.ErrorIs(t, err, ErrClosed)
	}
	endLife(t, table, s, readers)
}

// TestNumbers: C knows these by the same numbers.
func TestNumbers(t *testing.T) {
	require.Equal(t, []wire.Kind{0x70, 0x71, 0x72, 0x73}, []wire.Kind{kindPad, kindRef, kindTimed, kindWithdrawn})
	require.Equal(t, []uint64{0, 1, 2, 3, 4, 5},
		[]uint64{ReleaseNothing, ReleaseChunk, ReleaseBlock, ReleaseHeld, ReleaseFree, ReleaseCall})
	require.Equal(t, []Kind{1, 2, 3, 4, 5}, []Kind{KindDriver, KindListener, KindEndpoint, KindInbox, KindTimer})
	require.Equal(t, []uint32{1, 2, 4, 8, 16},
		[]uint32{StateUp, StateClosed, StateQuiet, StateSleeps, StateParted})
	require.Equal(t, []uint32{1, 2, 4, 8}, []uint32{CommandClose, CommandEnd, CommandResume, CommandQuiesce})
	require.Equal(t, []uint32{1, 16, 17, 256}, []uint32{WantEvent, WantWake, WantAny, WantAck})
	require.Equal(t, []int{1_099_511_627_776, 16_384, 262_144, 134_217_728},
		[]int{Filling, MaxInline, FirstLimit, MaxLog})
}

// TestFull: a lane takes what fits to the last word, and not a word more.
func TestFull(t *testing.T) {
	table := newTable(t, 16, 16)
	s, h, readers := newEndpoint(t, table, 0)
	for _, size := range []int{MaxInline, MaxInline - wordSize} {
		_, _, err := table.Send(h, wire.Low, 0, make([]byte, size))
		require.NoError(t, err)
	}
	id, _, err := table.Send(h, wire.Low, 0, []byte("x"))
	require.ErrorIs(t, err, ErrAgain, "two words, and one is left")
	require.Zero(t, id)
	_, _, err = table.Send(h, wire.Low, 0, nil)
	require.NoError(t, err)
	_, _, err = table.Send(h, wire.Low, 0, nil)
	require.ErrorIs(t, err, ErrAgain)
	messages, bytes := s.Backlog(wire.Low)
	require.Equal(t, [2]uint64{3, 2*MaxInline - wordSize + 3*wordSize}, [2]uint64{messages, bytes})
	require.Equal(t, uint64(3), endLife(t, table, s, readers))
	requireEmpty(t, table)
}

// TestKnown: a handle is known once its life has begun, and for ever.
func TestKnown(t *testing.T) {
	table := newTable(t, 9, 8)
	s, h, readers := newEndpoint(t, table, 0)
	require.True(t, table.Known(h))
	for _, no := range []Handle{0, h + 1, h + 1<<32, h &^ (0xffffff << 32), h &^ (0xff << 56),
		h | 0xff<<56, h &^ 0xffffffff} {
		require.False(t, table.Known(no), "%#x", uint64(no))
	}
	endLife(t, table, s, readers)
	require.True(t, table.Known(h))
	s, next, readers := newEndpoint(t, table, 0)
	require.Equal(t, h+1<<32, next)
	require.True(t, table.Known(h))
	require.True(t, table.Known(next))
	endLife(t, table, s, readers)
}

func TestOnlyEndpointsTakeMessages(t *testing.T) {
	table := newTable(t, 9, 8)
	s, err := table.Allocate(KindTimer, 0, 0, 0)
	require.NoError(t, err)
	h := Handle(s.ID.Load())
	_, _, err = table.Send(h, 0, 0, nil)
	require.ErrorIs(t, err, ErrClosed)
	_, err = table.Claim(h, 0, wire.MakeHeader(0, wire.Msg, 0, 0), 0)
	require.ErrorIs(t, err, ErrClosed)
	table.Retire(s)
}

// TestGenerations follows a slot through the end of the count.
func TestGenerations(t *testing.T) {
	table := newTable(t, 9, 8)
	s, h, readers := newEndpoint(t, table, 0)
	require.Equal(t, uint32(1), h.Generation())
	endLife(t, table, s, readers)
	for _, last := range []uint32{genMask - 1, genMask, maxGeneration - 1} {
		s.ID.Store(uint64(last)<<32 | uint64(h.Index()))
		again, now, readers := newEndpoint(t, table, 0)
		require.Equal(t, s, again)
		require.Equal(t, last+1, now.Generation())
		_, _, err := table.Send(now, 0, 0, []byte("x"))
		require.NoError(t, err)
		_, err = table.Claim(h&^(maxGeneration<<32)|Handle(last)<<32, 0, 0, 0)
		require.ErrorIs(t, err, ErrClosed)
		endLife(t, table, s, readers)
		table.Notices(0, func(*Slot) {}, nil)
	}
	next, h, readers := newEndpoint(t, table, 0)
	require.NotEqual(t, s, next, "a slot whose generations are used up rests: its handles would come again")
	require.Equal(t, uint32(1), h.Generation())
	endLife(t, table, next, readers)
	again, _, readers := newEndpoint(t, table, 0)
	require.Equal(t, next, again, "what rests does not keep others from being reused")
	endLife(t, table, again, readers)
}

// TestLivesBeginAnew: nothing that a life left in its slot is there in the next.
func TestLivesBeginAnew(t *testing.T) {
	table := newTable(t, 9, 8)
	s, h, readers := newEndpoint(t, table, 0)
	s.Context.Store(1)
	s.State.Store(StateClosed)
	require.True(t, s.AskClose(h, 1))
	s.Inbox.Store(1)
	s.Reason.Store(-1)
	s.Want.Store(WantAny)
	s.Awaited.Store(1)
	s.Give(wire.Low, 1)
	s.lanes[wire.Low].asked.Store(1 << 20)
	require.True(t, s.Ask(h, CommandClose|CommandResume))
	endLife(t, table, s, readers)
	again, err := table.Allocate(KindEndpoint, 1, 1, 0)
	require.NoError(t, err)
	require.Equal(t, s, again)
	require.Equal(t, uint64(0), s.Context.Load()+s.MaxMessage.Load())
	require.Equal(t, uint32(0), s.State.Load()|s.Inbox.Load()|s.Want.Load()|s.Awaited.Load())
	require.Zero(t, s.Reason.Load())
	require.Equal(t, Forever, s.Linger())
	bits, epoch := s.Asked()
	require.Equal(t, [2]uint32{}, [2]uint32{bits, epoch})
	require.Equal(t, int64(Life), s.Held.Load())
	require.Zero(t, s.lanes[wire.Low].given.Load())
	require.Zero(t, s.lanes[wire.Low].asked.Load())
	require.Equal(t, [2]uint32{1, 1}, [2]uint32{s.budget.Load(), s.Owner.Load()})
	table.Retire(s)
}

// TestLinger: of several calls to close the shortest time counts, and a call of an
// earlier life counts for nothing in the next.
func TestLinger(t *testing.T) {
	table := newTable(t, 9, 8)
	s, h, readers := newEndpoint(t, table, 0)
	for _, call := range [][2]int32{{Forever, Forever}, {70, 70}, {Forever, 70}, {71, 70}, {69, 69}, {0, 0}, {5, 0}} {
		require.True(t, s.AskClose(h, call[0]))
		require.Equal(t, call[1], s.Linger(), "after %d", call[0])
		require.Equal(t, CommandClose, s.Asks())
	}
	endLife(t, table, s, readers)
	again, err := table.Allocate(KindEndpoint, 1, 1, 0)
	require.NoError(t, err)
	require.Equal(t, s, again)
	require.False(t, s.AskClose(h, 0))
	require.Equal(t, Forever, s.Linger())
	require.Zero(t, s.Asks())
	table.Retire(s)
}

// TestEpochs: an answer to a command that was taken back shows that it is old, and
// nothing is asked of another life.
func TestEpochs(t *testing.T) {
	table := newTable(t, 9, 8)
	s, err := table.Allocate(KindDriver, 0, 0, 0)
	require.NoError(t, err)
	h := Handle(s.ID.Load())
	asked := func(bits, epoch uint32) {
		t.Helper()
		gotBits, gotEpoch := s.Asked()
		require.Equal(t, bits, gotBits)
		require.Equal(t, epoch, gotEpoch)
		require.Zero(t, s.Asks())
	}
	require.True(t, s.Ask(h, CommandQuiesce|CommandEnd))
	require.True(t, s.Ask(h, CommandResume))
	require.Equal(t, CommandEnd|CommandResume, s.Asks(), "what no worker has seen is taken back")
	require.True(t, s.Ask(h, CommandQuiesce))
	asked(CommandEnd|CommandResume|CommandQuiesce, 1)
	asked(0, 1)
	s.State.Store(StateSleeps)
	s.Quieten(0)
	require.Equal(t, StateSleeps|StateQuiet, s.State.Load())
	s.Quieten(1)
	require.Equal(t, StateSleeps|StateQuiet|1<<8, s.State.Load())
	for range 1<<24 - 1 {
		s.Ask(h, CommandResume)
	}
	asked(CommandResume, 0)
	require.False(t, s.Ask(h+1<<32, CommandClose), "the count does not run into the generation")
	require.True(t, s.Ask(h, CommandClose))
	table.Retire(s)
	_, err = table.Allocate(KindDriver, 0, 0, 0)
	require.NoError(t, err)
	require.False(t, s.Ask(h, CommandClose))
	asked(0, 0)
}

func TestHandlesRunOut(t *testing.T) {
	table := newTable(t, 9, 8)
	var slots []*Slot
	for range 15 { // slot 0 is none
		s, err := table.Allocate(KindTimer, 0, 0, 0)
		require.NoError(t, err)
		slots = append(slots, s)
	}
	_, err := table.Allocate(KindEndpoint, 0, 0, 1<<20)
	require.ErrorIs(t, err, ErrHandles)
	table.Retire(slots[3])
	s, err := table.Allocate(KindInbox, 0, 0, 0)
	require.NoError(t, err)
	require.Equal(t, slots[3], s)
	require.Equal(t, uint32(2), Handle(s.ID.Load()).Generation())
}

// TestRetireWaitsForWhatIsHeld: a slot comes back with the last message that the
// program releases.
func TestRetireWaitsForWhatIsHeld(t *testing.T) {
	table := newTable(t, 9, 8)
	s, _, readers := newEndpoint(t, table, 0)
	s.Held.Add(100)
	endLife(t, table, s, readers)
	table.Unhold(s, 60)
	other, _, more := newEndpoint(t, table, 0)
	require.NotEqual(t, s, other)
	table.Unhold(s, 40)
	again, _, _ := newEndpoint(t, table, 0)
	require.Equal(t, s, again)
	endLife(t, table, other, more)
}

// TestBlocks: a block comes back with the last that refers to it.
func TestBlocks(t *testing.T) {
	table := newTable(t, 9, 16)
	block := table.Blocks().TakeAny()
	table.RefBlock(block, Filling)
	table.RefBlock(block, 30)
	require.Equal(t, int64(30), table.BlockHeld(block))
	table.UnrefBlock(block, Filling)
	require.Equal(t, 1, table.Blocks().InUse())
	table.UnrefBlock(block, 29)
	require.Equal(t, 1, table.Blocks().InUse())
	table.UnrefBlock(block, 1)
	requireEmpty(t, table)
}

// TestDefault: the process's table has the sizes that docs and lyquor.h tell.
func TestDefault(t *testing.T) {
	require.Equal(t, Config{Slots: 1_048_576, Bells: 1024, Budgets: 256,
		ChunkShift: 16, Chunks: 131_072, BlockShift: 18, Blocks: 32_768,
		DirectoryShift: 14, Directories: 32_768, Coloured: true}, size(true))
	require.Equal(t, Config{Slots: 4096, Bells: 64, Budgets: 64,
		ChunkShift: 16, Chunks: 512, BlockShift: 18, Blocks: 128,
		DirectoryShift: 14, Directories: 64, Coloured: true}, size(false))
	require.Equal(t, size(arena.Mapped), Default())
}

// TestBounds: the bound is what was asked for, where a large directory can span it, and
// the limit begins with what the small one spans.
func TestBounds(t *testing.T) {
	for _, c := range []struct {
		shift, directoryShift uint32
		bytes, first, bound   uint64
	}{
		{16, 14, 0, 2 * (16<<10 + 8), 2 * (16<<10 + 8)},
		{16, 14, 64 << 10, 64 << 10, 64 << 10},
		{16, 14, 256 << 10, 256 << 10, 256 << 10},
		{16, 14, 449 << 10, 256 << 10, 449 << 10},
		{16, 14, 1 << 40, 256 << 10, MaxLog},
		{9, 8, 0, 2 * (128 + 8), 2 * (128 + 8)},
		{9, 8, 1 << 20, 7 * 512, 63 * 512},
	} {
		table, err := NewTable(Config{Slots: 2, Bells: 1, Budgets: 1, ChunkShift: c.shift, Chunks: 1, BlockShift: 12,
			Blocks: 1, DirectoryShift: c.directoryShift, Directories: 1})
		require.NoError(t, err)
		bound := table.bound(c.bytes)
		require.Equal(t, c.bound, bound*wordSize, "%+v", c)
		require.Equal(t, c.first, table.firstLimit(bound)*wordSize, "%+v", c)
		// Otherwise two chunks in use could have one place.
		require.LessOrEqual(t, table.firstLimit(bound), uint64(inlinePieces-1)<<table.chunkShift)
		require.LessOrEqual(t, bound, uint64(table.largeMask)<<table.chunkShift)
		require.LessOrEqual(t, uint64(table.largeMask+1)<<table.chunkShift, uint64(1)<<posBits)
	}
}

// sendAll sends messages of one chunk's share until the lane is full, and returns how many.
func sendAll(t *testing.T, table *Table, h Handle, lane wire.Lane) (n int) {
	for {
		_, _, err := table.Send(h, lane, 0, make([]byte, table.maxInline))
		if err != nil {
			require.ErrorIs(t, err, ErrAgain)
			return n
		}
		n++
	}
}

// TestGrowth: a lane that has grown holds more, in one log, and begins again small once
// it rests: before it came to its large directory, behind that, and with half in it.
func TestGrowth(t *testing.T) {
	for _, rounds := range []int{0, 1, 2, 20} {
		table := newTable(t, 9, 100)
		s, h, readers := newEndpoint(t, table, 40<<9)
		r, l := &readers[wire.Low], &s.lanes[wire.Low]
		take := func(n int) {
			for range n {
				e, ok := r.Peek(r.Sent(), 1)
				require.True(t, ok)
				r.Advance(e)
			}
			require.True(t, r.Acknowledge(r.Taken().Messages, nil))
		}
		small := sendAll(t, table, h, wire.Low)
		require.Equal(t, uint64(7<<9), s.Limit(wire.Low))
		require.True(t, r.Grow())
		require.Equal(t, uint64(14<<9), s.Limit(wire.Low))
		require.NotZero(t, l.large.Load())
		total := small + sendAll(t, table, h, wire.Low)
		require.Greater(t, total, 2*small-3)
		require.True(t, r.Grow())
		require.True(t, r.Grow())
		require.False(t, r.Grow(), "the bound is reached")
		require.Equal(t, uint64(40<<9), s.Limit(wire.Low))
		total += sendAll(t, table, h, wire.Low)
		require.Greater(t, total, 5*small)
		require.True(t, r.Rest(), "it is not empty")
		for range rounds {
			take(small)
			total += sendAll(t, table, h, wire.Low) - small
		}
		take(total)
		require.False(t, r.Rest())
		require.Equal(t, uint64(7<<9), s.Limit(wire.Low))
		require.Zero(t, table.directories.InUse())
		require.Equal(t, small, sendAll(t, table, h, wire.Low))
		require.True(t, r.Grow())
		take(small)
		require.False(t, r.Rest(), "from before its large directory")
		require.Zero(t, table.directories.InUse())
		endLife(t, table, s, readers)
		requireEmpty(t, table)
	}
}

// TestGrowthWhilePositionsWrap: a lane that stays large for longer than positions last is
// looked up in one place.
func TestGrowthWhilePositionsWrap(t *testing.T) {
	table := newTable(t, 9, 100)
	s, h, readers := newEndpoint(t, table, 40<<9)
	r := &readers[0]
	growAll(r)
	most := 0
	for range 10 {
		n := sendAll(t, table, h, 0)
		require.GreaterOrEqual(t, n, most)
		most = n
		for range n {
			e, ok := r.Peek(r.Sent(), 1)
			require.True(t, ok)
			require.Equal(t, 1, e.Messages())
			r.Advance(e)
		}
		require.True(t, r.Acknowledge(r.Taken().Messages, nil))
		if left := r.freed & (table.chunkWords - 1); left != 0 {
			// As if much had been sent meanwhile, behind the chunk in which the lane stands.
			r.giveChunk(r.takeChunk(r.freed), left)
		}
		r.startAt((r.freed+posHalf/2)>>table.chunkShift, r.taken.Messages)
	}
	endLife(t, table, s, readers)
	requireEmpty(t, table)
}

// TestGrowthWantsMemory: what a lane grows by is at most a share of what the driver has left.
func TestGrowthWantsMemory(t *testing.T) {
	table := newTable(t, 9, 8)
	s, _, readers := newEndpoint(t, table, 40<<9)
	budget := table.Budget(0)
	budget.Limit.Store(budgetShare*(7<<9) - 1)
	require.False(t, readers[0].Grow())
	budget.Limit.Add(1)
	require.True(t, readers[0].Grow())
	require.False(t, readers[0].Grow(), "it would grow by twice as much")
	budget.Limit.Store(1 << 40)
	for range table.directories.Capacity() - 1 {
		require.NotZero(t, table.directories.TakeClean())
	}
	require.False(t, readers[1].Grow(), "no directory is left")
	require.True(t, readers[0].Grow(), "it has one")
	endLife(t, table, s, readers)
}

// TestChargeOfAFormerLife: a producer charges, sleeps while its slot begins another
// life, is refused and takes its charge back. The new life's count stays right.
func TestChargeOfAFormerLife(t *testing.T) {
	table := newTable(t, 9, 8)
	s, _, readers := newEndpoint(t, table, 0)
	s.lanes[0].charged.Add(1000)
	endLife(t, table, s, readers)
	s, _, readers = newEndpoint(t, table, 0)
	s.lanes[0].charged.Add(-1000)
	require.Zero(t, s.lanes[0].charged.Load())
	endLife(t, table, s, readers)
}

// TestSparesOfAFormerLife: chunks that were taken for a claim which comes too late
// go back to where they were charged.
func TestSparesOfAFormerLife(t *testing.T) {
	table := newTable(t, 9, 8)
	s, _, readers := newEndpoint(t, table, 0)
	var extra spares
	require.True(t, table.takeSpares(s, &extra, 1))
	endLife(t, table, s, readers)
	_, err := table.Allocate(KindEndpoint, 0, 1, 0)
	require.NoError(t, err)
	require.True(t, table.takeSpares(s, &extra, 2))
	table.giveSpares(&extra)
	require.Zero(t, table.Budget(0).Used.Load())
	require.Zero(t, table.Budget(1).Used.Load())
}

// TestTwoSpares: a claim whose padding begins where nobody has yet installed the
// chunk brings one for that, too.
func TestTwoSpares(t *testing.T) {
	table := newTable(t, 9, 8)
	s, h, readers := newEndpoint(t, table, 3000)
	l := &s.lanes[0]
	// As if another producer had claimed 60 words and slept before its install.
	l.tail.Store(l.tail.Load() + 60 + seqOne)
	c, err := table.Claim(h, 0, wire.MakeHeader(100, wire.Msg, 0, 0), 100)
	require.NoError(t, err)
	require.Equal(t, uint64(1), c.Sequence)
	require.Equal(t, 2, table.chunks.InUse())
	chunk := table.chunkAt(s, 0, 0)
	require.Equal(t, wire.MakeHeader(3*wordSize, kindPad, 0, 0), published(table.word(chunk, 60)))
	_, ok := readers[0].Peek(0, 1000)
	require.False(t, ok)
	publish(table.word(chunk, 0), wire.MakeHeader(59*wordSize, wire.Msg, 0, 0))
	c.Publish()
	endLife(t, table, s, readers)
	requireEmpty(t, table)
}

// TestSizes sends at the bounds between the ways of storing.
func TestSizes(t *testing.T) {
	table := newTable(t, 12, 16)
	s, h, readers := newEndpoint(t, table, 1<<20)
	s.MaxMessage.Store(20000)
	for _, c := range []struct{ size, chunks, blocks, held int }{
		{0, 1, 0, 0}, {1, 1, 0, 0}, {1024, 1, 0, 0}, {1025, 2, 0, 0}, {4096, 2, 0, 0}, {4097, 1, 1, 0},
		{16384, 1, 1, 0}, {16385, 1, 0, 1}, {20000, 1, 0, 1},
	} {
		_, _, err := table.Send(h, 0, 9, make([]byte, c.size))
		require.NoError(t, err)
		require.Equal(t, c.chunks, table.chunks.InUse(), "%+v", c)
		require.Equal(t, c.blocks, table.blocks.InUse(), "%+v", c)
		require.Equal(t, c.held, len(table.held.entries)-len(table.held.free), "%+v", c)
		e, ok := readers[0].Peek(readers[0].Sent(), 1)
		require.True(t, ok)
		readers[0].Advance(e)
		readers[0].Acknowledge(readers[0].Taken().Messages, func(ref Reference) { require.True(t, table.Release(ref)) })
		require.False(t, readers[0].Rest())
	}
	_, _, err := table.Send(h, 0, 0, make([]byte, 20001))
	require.ErrorIs(t, err, ErrTooLarge)
	endLife(t, table, s, readers)
	requireEmpty(t, table)
}

// TestForeignMemory: C lends memory that only its address names.
func TestForeignMemory(t *testing.T) {
	table := newTable(t, 9, 8)
	lent, err := arena.Reserve(64)
	require.NoError(t, err)
	*(*[5]byte)(lent.Base()) = [5]byte([]byte("hello"))
	ref := Reference{Addr: address(lent.Base()), Size: 5, Release: ReleaseCall + 1000}
	require.Equal(t, "hello", string(table.Payload(ref)))
	require.False(t, table.Release(ref), "only C can call what C gave")
	require.True(t, table.Release(Reference{Addr: ref.Addr, Size: 5, Release: ReleaseNothing}))
}

// TestHeldIsFreedOnce, and never if it was refused.
func TestHeldIsFreedOnce(t *testing.T) {
	table := newTable(t, 9, 8)
	s, h, readers := newEndpoint(t, table, 0)
	freed := 0
	lend := func(size int) error {
		_, _, err := table.SendHeld(h, 0, 0, make([]byte, size), func() { freed++ })
		return err
	}
	require.NoError(t, lend(200))
	require.ErrorIs(t, lend(200), ErrAgain)
	s.MaxMessage.Store(2000)
	require.ErrorIs(t, lend(2001), ErrTooLarge)
	table.Budget(0).Limit.Store(1000)
	require.ErrorIs(t, lend(1001), ErrTooLarge, "more than the budget ever has")
	require.Zero(t, freed)
	require.Equal(t, uint64(1), endLife(t, table, s, readers))
	require.Equal(t, 1, freed)
	require.ErrorIs(t, lend(1), ErrClosed)
	require.Equal(t, 1, freed)
	requireEmpty(t, table)
}

// TestMemoryRunsOut: a refusal for want of memory says so to the driver, leaves
// nothing behind, and ends when memory is back.
func TestMemoryRunsOut(t *testing.T) {
	table := newTable(t, 9, 2)
	s, h, readers := newEndpoint(t, table, 3000)
	starved := func() bool { return table.Budget(0).Starved.Swap(0) == 1 }
	send := func(lane wire.Lane) error {
		_, _, err := table.Send(h, lane, 0, make([]byte, 100))
		return err
	}
	require.NoError(t, send(0))
	require.NoError(t, send(1))
	require.False(t, starved())
	require.ErrorIs(t, send(2), ErrAgain)
	require.True(t, starved(), "no chunk is left")
	require.NoError(t, send(0), "where there is a chunk there is room")
	table.Budget(0).Limit.Store(2 * 512)
	e, _ := readers[1].Peek(0, 1)
	readers[1].Advance(e)
	readers[1].Acknowledge(readers[1].Taken().Messages, nil)
	require.False(t, readers[1].Rest())
	require.NoError(t, send(2))
	require.ErrorIs(t, send(3), ErrAgain)
	require.True(t, starved(), "no budget is left")
	require.Equal(t, int64(2*512), table.Budget(0).Used.Load())
	endLife(t, table, s, readers)
	requireEmpty(t, table)
}

// TestPiecesRunOut: a message that is copied beside the log is refused if no piece is left
// for it, and that leaves nothing behind either.
func TestPiecesRunOut(t *testing.T) {
	table := newTable(t, 9, 8)
	s, h, readers := newEndpoint(t, table, 1<<14)
	for size, pool := range map[int]*arena.Pool{400: table.Chunks(), 2000: table.Blocks()} {
		var taken []arena.Index
		for piece := pool.TakeAny(); piece != 0; piece = pool.TakeAny() {
			taken = append(taken, piece)
		}
		id, _, err := table.Send(h, 0, 0, make([]byte, size))
		require.ErrorIs(t, err, ErrAgain)
		require.Zero(t, id)
		require.Equal(t, uint32(1), table.Budget(0).Starved.Swap(0))
		for _, piece := range taken {
			pool.GiveDirty(piece)
		}
		_, _, err = table.Send(h, 0, 0, make([]byte, size))
		require.NoError(t, err)
	}
	endLife(t, table, s, readers)
	requireEmpty(t, table)
}

// TestTableThatCannotBe: sizes that no pool can have are refused, each of them.
func TestTableThatCannotBe(t *testing.T) {
	good := Config{Slots: 2, Bells: 1, Budgets: 1, ChunkShift: 12, Chunks: 1, BlockShift: 12, Blocks: 1,
		DirectoryShift: 12, Directories: 1}
	for _, spoil := range []func(*Config){
		func(c *Config) { c.Chunks = 0 },
		func(c *Config) { c.Blocks = 0 },
		func(c *Config) { c.Directories = 0 },
	} {
		c := good
		spoil(&c)
		table, err := NewTable(c)
		require.ErrorContains(t, err, "pool of 0 pieces")
		require.Nil(t, table)
	}
	if arena.Mapped {
		c := good
		c.Chunks, c.ChunkShift = 1<<30, 30 // more than any address space
		_, err := NewTable(c)
		require.ErrorContains(t, err, "reserve")
	}
}

// TestRefusals: nothing but the error comes with one, and nothing is left of the message.
func TestRefusals(t *testing.T) {
	table := newTable(t, 9, 8)
	s, h, readers := newEndpoint(t, table, 0)
	refused := func(h Handle, size int, want error) {
		t.Helper()
		before := table.Budget(0).Used.Load()
		id, bell, err := table.SendUntil(h, wire.Low, 0, make([]byte, size), 5)
		require.ErrorIs(t, err, want)
		require.Zero(t, id)
		require.Nil(t, bell)
		id, bell, err = table.SendHeld(h, wire.Low, 0, make([]byte, size), func() { t.Error("it was not taken") })
		require.ErrorIs(t, err, want)
		require.Zero(t, id)
		require.Nil(t, bell)
		require.Equal(t, before, table.Budget(0).Used.Load())
		require.Zero(t, s.lanes[wire.Low].charged.Load())
		require.Zero(t, table.Blocks().InUse())
	}
	for _, size := range []int{1, 400, 2000, 4000} { // in the log, in a chunk, in a block, in Go memory
		refused(h+1<<32, size, ErrClosed)
		s.MaxMessage.Store(uint64(size - 1))
		refused(h, size, ErrTooLarge)
		s.MaxMessage.Store(1 << 30)
	}
	table.Budget(0).Limit.Store(1024)
	refused(h, 1025, ErrTooLarge)
	table.Budget(0).Limit.Store(1 << 40)
	for sendAll(t, table, h, wire.Low) > 0 {
	}
	for _, size := range []int{128, 400, 2000, 4000} {
		refused(h, size, ErrAgain)
	}
	endLife(t, table, s, readers)
	requireEmpty(t, table)
}

// TestGrant: a quarter of what is left, and what is given back.
func TestGrant(t *testing.T) {
	table := newTable(t, 9, 8)
	s, err := table.Allocate(KindEndpoint, 0, 1, 0)
	require.NoError(t, err)
	require.Equal(t, uint32(1), s.Budget())
	table.Budget(1).Limit.Store(4000)
	require.False(t, table.Grant(s, 1001))
	require.True(t, table.Grant(s, 1000))
	require.False(t, table.Grant(s, 751))
	require.True(t, table.Grant(s, 750))
	table.Ungrant(s, 1750)
	require.True(t, table.Grant(s, 1000))
	require.Zero(t, table.Budget(0).granted.Load())
	table.Retire(s)
}

// TestRestOfARestingLane changes nothing, be it that the lane was never used.
func TestRestOfARestingLane(t *testing.T) {
	table := newTable(t, 9, 8)
	s, h, readers := newEndpoint(t, table, 0)
	r := &readers[0]
	for range 2 {
		require.False(t, r.Rest())
		at := r.Sent()
		require.Zero(t, at&(table.chunkWords-1))
		require.False(t, r.Rest())
		require.Equal(t, at, r.Sent())
		_, _, err := table.Send(h, 0, 0, []byte("x"))
		require.NoError(t, err)
		r.rest(t, 1)
		require.True(t, r.Acknowledge(r.Taken().Messages, nil))
	}
	endLife(t, table, s, readers)
	requireEmpty(t, table)
}

// TestFreeSlotsCountChanges: the stack of free slots is never again what it was, for a
// thread that has read its top and comes late.
func TestFreeSlotsCountChanges(t *testing.T) {
	table := newTable(t, 9, 8)
	for i := range uint64(5) {
		one, err := table.Allocate(KindTimer, 0, 0, 0)
		require.NoError(t, err)
		other, err := table.Allocate(KindTimer, 0, 0, 0)
		require.NoError(t, err)
		table.Retire(one)
		table.Retire(other)
		changes := 4*i + 2 // of the first, both are fresh
		require.Equal(t, changes<<32|uint64(table.indexOf(other)), table.root.slotsFree.Load())
	}
}

// TestTruncatedClaimLeavesNoResidue: padding behind the last message is no reason
// for the lane to count as used.
func TestTruncatedClaimLeavesNoResidue(t *testing.T) {
	table := newTable(t, 9, 8)
	s, h, readers := newEndpoint(t, table, 0)
	r := &readers[0]
	c, err := table.Claim(h, 0, wire.MakeHeader(100, wire.Msg, 0, 3), 100)
	require.NoError(t, err)
	copy(c.Bytes(), strings.Repeat("x", 100))
	c.Truncate(10)
	require.Equal(t, "xxxxxxxxxx", string(c.Bytes()))
	c.Publish()
	e, ok := r.Peek(0, 1000)
	require.True(t, ok)
	require.Len(t, e.Run, 24)
	frames(t, e.Run, func(h wire.Header, payload []byte) { require.Equal(t, "xxxxxxxxxx", string(payload)) })
	table.Close(s)
	require.False(t, r.Drained(r.Sent()))
	require.True(t, r.Drained(e.End()))
	r.Advance(e)
	require.True(t, r.Settled())
	require.False(t, r.Ready(r.Sent()))
	r.Acknowledge(r.Taken().Messages, nil)
	require.False(t, r.Rest())
	endLife(t, table, s, readers)
	requireEmpty(t, table)
}

// TestRootIsForC: what the root says is where things are.
func TestRootIsForC(t *testing.T) {
	table := newTable(t, 9, 8)
	root := (*Root)(table.Root())
	require.Equal(t, address(unsafe.Pointer(table.Slot(0))), root.slots)
	require.Equal(t, address(unsafe.Pointer(table.Bell(0))), root.bells)
	require.Equal(t, address(unsafe.Pointer(table.Budget(0))), root.budgets)
	require.Equal(t, address(unsafe.Pointer(&table.blockRefs[0])), root.blockRefs)
	require.Equal(t, uint32(16), root.slotCount)
	require.Equal(t, 4, table.Bells())
	require.Equal(t, 2, table.Budgets())
}

// TestAwaitRelease: the worker is told when so much is released, and no later than when all is.
func TestAwaitRelease(t *testing.T) {
	for _, c := range []struct {
		held  int64
		bytes uint64
		left  int64 // that is too much still
	}{{Life + 1000, 200, 808}, {Life + 1000, 2000, 8}, {1000, 200, 808}, {Life + 1<<30, 8, 1 << 30}} {
		below := AwaitRelease(c.held, c.bytes)
		require.NotZero(t, below)
		require.GreaterOrEqual(t, uint64(c.left)/8, uint64(below))
		require.Less(t, uint64(max(c.held&(Life-1)-int64(c.bytes), 0))/8, uint64(below))
	}
}
