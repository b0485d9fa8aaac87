package outbox

import (
	"sync/atomic"
	"unsafe"

	"github.com/lyquor/lyquor/engine/arena"
	"github.com/lyquor/lyquor/engine/wire"
)

// A lane's directory says which chunk holds which of its positions. It is a ring
// of places, longer by one than the chunks that the lane's bound can span. A place
// is filled by whoever has claimed something in that chunk and finds it empty, and
// emptied by the reader before the head passes the chunk's end.
//
// Nobody fills a place without a claim: a claim that is not published pins the
// slot's life and the place. So nothing is ever written to a directory whose slot
// was retired meanwhile, and a lane that rests owns no chunk.

// place returns the directory's place for the chunk that holds a position. The
// slot may have begun another life; then the place means nothing, but is memory
// of some directory still: those are never used for anything else.
func (t *Table) place(s *Slot, lane wire.Lane, pos uint64) *atomic.Uint32 {
	l := &s.lanes[lane]
	i := uint32(pos >> t.chunkShift)
	directory := arena.Index(s.directory.Load())
	if directory == 0 {
		return &l.inline[i&(inlinePieces-1)]
	}
	mask := l.mask.Load()
	at := (uint32(lane)*(mask+1) + i&mask) * 4
	return (*atomic.Uint32)(unsafe.Add(t.chunks.Piece(directory), at))
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

// takeDirectory returns an empty directory, or 0 if memory has run out. It is a
// piece of the chunk pool that stays a directory for good: producers that slept
// may look at it long after its slot was retired. All places are empty, as the
// reader left them.
func (t *Table) takeDirectory() arena.Index {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := len(t.directories); n > 0 {
		directory := t.directories[n-1]
		t.directories = t.directories[:n-1]
		return directory
	}
	return t.chunks.TakeClean()
}

func (t *Table) giveDirectory(directory arena.Index) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.directories = append(t.directories, directory)
}
