package outbox

import (
	"sync/atomic"
	"unsafe"

	"github.com/lyquor/lyquor/engine/arena"
	"github.com/lyquor/lyquor/engine/wire"
)

// A lane's directory says which chunk holds which of its positions. It is a ring
// of places, longer by one than the chunks that the lane's limit can span. A place
// is filled by whoever has claimed something in that chunk and finds it empty, and
// emptied by the reader before the head passes the chunk's end.
//
// Nobody fills a place without a claim: a claim that is not published pins the
// slot's life and the place. So nothing is ever written to a directory whose slot
// was retired meanwhile, and a lane that rests owns no chunk.
//
// There are two: a small one in the slot, and a large one that a lane has while its
// limit is above what the small one spans. A position alone says in which of them it is
// looked up (lane.large), and that changes for positions only that nobody can claim yet.

// placeSize is the size of a place in bytes.
const placeSize = 4

// place returns the directory's place for the chunk that holds a position. The
// slot may have begun another life, or given its large directory up; then the place
// means nothing, but is memory of some directory still.
func (t *Table) place(s *Slot, lane wire.Lane, pos uint64) *atomic.Uint32 {
	l := &s.lanes[lane]
	i := uint32(pos >> t.chunkShift)
	large := l.large.Load()
	if large == 0 || (pos-large)&posMask >= posHalf {
		return &l.inline[i&(inlinePieces-1)]
	}
	piece := t.directories.Piece(arena.Index(large >> 32))
	return (*atomic.Uint32)(unsafe.Add(piece, (i&t.largeMask)*placeSize))
}

// lacks returns how many chunks a claim at position start has to bring, with the
// one for padding from position pos.
func (t *Table) lacks(s *Slot, lane wire.Lane, pos, start uint64) (n int) {
	if t.chunkAt(s, lane, start) == 0 {
		n++
	}
	if start != pos && t.chunkAt(s, lane, pos) == 0 {
		n++
	}
	return n
}

func (t *Table) chunkAt(s *Slot, lane wire.Lane, pos uint64) arena.Index {
	return arena.Index(t.place(s, lane, pos).Load())
}

// word returns the address of a position in its chunk.
func (t *Table) word(chunk arena.Index, pos uint64) unsafe.Pointer {
	return unsafe.Add(t.chunks.Piece(chunk), (pos&(t.chunkWords-1))*wordSize)
}

func (t *Table) wordAt(s *Slot, lane wire.Lane, pos uint64) unsafe.Pointer {
	return t.word(t.chunkAt(s, lane, pos), pos)
}
