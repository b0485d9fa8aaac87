package outbox

import (
	"errors"
	"sync/atomic"
	"unsafe"

	"github.com/lyquor/lyquor/engine/arena"
	"github.com/lyquor/lyquor/engine/wire"
)

// What a claim can be refused for.
var (
	// ErrAgain: no room now. A WRITABLE notice follows if the caller announced its
	// wish (Table.Want).
	ErrAgain = errors.New("outbox: full")
	// ErrClosed: the slot takes no more messages, or its life is over.
	ErrClosed = errors.New("outbox: closed")
	// ErrTooLarge: the message is larger than the peer or this outbox can ever take.
	ErrTooLarge = errors.New("outbox: message too large")
)

// Claim is the right and the duty to fill an entry: it is published by exactly
// one Publish, until which the lane's later messages wait.
type Claim struct {
	Sequence uint64 // the message's id in its lane
	entry    unsafe.Pointer
	header   wire.Header
	size     int // payload bytes claimed
}

// Bytes is the memory to be filled.
func (c *Claim) Bytes() []byte { return unsafe.Slice((*byte)(unsafe.Add(c.entry, wordSize)), c.size) }

// Publish makes the message visible. The caller rings the slot's bell next.
func (c *Claim) Publish() { publish(c.entry, c.header) }

// Claim claims an entry of size payload bytes behind everything claimed before
// in the lane. It decides room, bound, closed and stale in one exchange, never
// waits for another producer, and takes memory only where an entry begins a chunk.
func (t *Table) Claim(h Handle, lane wire.Lane, header wire.Header, size int) (Claim, error) {
	s := t.Slot(h.Index())
	l := &s.lanes[lane]
	need := words(size)
	for {
		tail := l.tail.Load()
		if uint32(tail>>genShift) != h.Generation()&genMask || tail&closedBit != 0 {
			return Claim{}, ErrClosed
		}
		head, headSeq := l.head.Load(), l.headSeq.Load()
		pos, skip := tail&posMask, uint64(0)
		if off := pos & (t.chunkWords - 1); off+need > t.chunkWords {
			skip = t.chunkWords - off
		}
		if !l.fits((pos-head)&posMask, skip+need) {
			// The tail read first may be older than the head read after it.
			if l.tail.Load() != tail {
				continue
			}
			return Claim{}, ErrAgain
		}
		start := (pos + skip) & posMask
		chunk := t.chunkAt(s, lane, start)
		if chunk == 0 {
			if !t.install(s, lane, start) {
				return Claim{}, ErrAgain
			}
			continue
		}
		next := tail&^(posMask|seqMask<<posBits) | (start+need)&posMask | (tail+seqOne)&(seqMask<<posBits)
		if !l.tail.CompareAndSwap(tail, next) {
			continue
		}
		if skip != 0 {
			publish(t.wordAt(s, lane, pos), wire.MakeHeader(uint32(skip-1)*wordSize, kindPad, lane, 0))
		}
		entry := unsafe.Add(t.chunks.Piece(chunk), (start&(t.chunkWords-1))*wordSize)
		return Claim{Sequence: headSeq + (tail>>posBits-headSeq)&seqMask, entry: entry, header: header, size: size}, nil
	}
}

// fits says whether need more words may be claimed when used words are. An empty
// lane takes any one message, so that none is too large to ever be sent.
func (l *lane) fits(used, need uint64) bool {
	if used == 0 {
		return true
	}
	limit := int64(l.limit) * wordSize
	return used <= uint64(l.limit) && int64(used+need)*wordSize+l.charged.Load() <= limit
}

// directoryOf returns the pieces that hold a lane's positions.
func (t *Table) directoryOf(s *Slot, lane wire.Lane) unsafe.Pointer {
	l := &s.lanes[lane]
	if s.directory == 0 {
		return unsafe.Pointer(&l.inline[0])
	}
	return unsafe.Add(t.chunks.Piece(s.directory), uintptr(lane)*uintptr(l.mask+1)*4)
}

// slotOf returns the directory's entry for the chunk that holds a position.
func (t *Table) entryOf(s *Slot, lane wire.Lane, pos uint64) *atomic.Uint32 {
	i := uint32(pos>>t.chunkShift) & s.lanes[lane].mask
	return (*atomic.Uint32)(unsafe.Add(t.directoryOf(s, lane), uintptr(i)*4))
}

func (t *Table) chunkAt(s *Slot, lane wire.Lane, pos uint64) arena.Index {
	return arena.Index(t.entryOf(s, lane, pos).Load())
}

func (t *Table) wordAt(s *Slot, lane wire.Lane, pos uint64) unsafe.Pointer {
	return unsafe.Add(t.chunks.Piece(t.chunkAt(s, lane, pos)), (pos&(t.chunkWords-1))*wordSize)
}

// install puts a chunk where a claim is about to begin, or says that memory has
// run out. Any producer may do it for any other; a chunk that the claim then does
// not reach serves a later one, because a directory's entry is only ever emptied
// behind the head.
func (t *Table) install(s *Slot, lane wire.Lane, pos uint64) bool {
	if !t.charge(s.Budget, int64(t.chunks.PieceSize())) {
		return false
	}
	chunk := t.chunks.TakeClean()
	if chunk != 0 && t.entryOf(s, lane, pos).CompareAndSwap(0, uint32(chunk)) {
		return true
	}
	t.uncharge(s.Budget, int64(t.chunks.PieceSize()))
	if chunk == 0 {
		t.budgets[s.Budget].Starved.Store(1)
		return false
	}
	t.chunks.GiveClean(chunk)
	return true
}

// charge counts bytes against a driver's budget, or refuses and marks it starved.
func (t *Table) charge(budget uint32, n int64) bool {
	b := &t.budgets[budget]
	if b.Used.Add(n) > b.Limit.Load() {
		b.Used.Add(-n)
		b.Starved.Store(1)
		return false
	}
	return true
}

func (t *Table) uncharge(budget uint32, n int64) { t.budgets[budget].Used.Add(-n) }
