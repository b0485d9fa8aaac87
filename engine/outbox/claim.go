package outbox

import (
	"errors"
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
	size     int  // payload bytes claimed
	timed    bool // a deadline lies before the entry
}

// Bytes is the memory to be filled.
func (c *Claim) Bytes() []byte { return unsafe.Slice((*byte)(unsafe.Add(c.entry, wordSize)), c.size) }

// Truncate makes the message shorter than was claimed: size is at most what it
// was. The words that are left over become padding in the log.
func (c *Claim) Truncate(size int) {
	clear(c.Bytes()[size:])
	had, used := words(c.size), words(size)
	if had > used {
		rest := wire.MakeHeader(uint32(had-used-1)*wordSize, kindPad, c.header.Lane(), 0)
		publish(unsafe.Add(c.entry, used*wordSize), rest)
	}
	c.header = wire.MakeHeader(uint32(size), c.header.Kind(), c.header.Lane(), c.header.Channel())
	c.size = size
}

// Publish makes the message visible. The caller rings the slot's bell next.
func (c *Claim) Publish() {
	publish(c.entry, c.header)
	if c.timed {
		// Last, for who reads the log comes to this word first.
		h := wire.MakeHeader(wordSize, kindTimed, c.header.Lane(), 0)
		publish(unsafe.Add(c.entry, -timedWords*wordSize), h)
	}
}

// Claim claims an entry of size payload bytes behind everything claimed before
// in the lane. It decides room, bound, closed and stale in one exchange, never
// waits for another producer, and takes memory only where an entry begins a chunk.
// The handle's index must be of the table; Find has looked at it.
func (t *Table) Claim(h Handle, lane wire.Lane, header wire.Header, size int) (Claim, error) {
	return t.claimUntil(h, lane, header, size, 0)
}

// claimUntil claims an entry for a message that is to be sent before a deadline; 0 is
// none.
func (t *Table) claimUntil(h Handle, lane wire.Lane, header wire.Header, size int, until int64) (Claim, error) {
	var extra spares
	need := words(size)
	if until != 0 {
		need += timedWords
	}
	c, err := t.claim(h, lane, need, &extra)
	if extra.n != 0 {
		t.giveSpares(&extra)
	}
	c.header, c.size = header, size
	if until != 0 && err == nil {
		*(*int64)(unsafe.Add(c.entry, wordSize)) = until
		c.entry, c.timed = unsafe.Add(c.entry, timedWords*wordSize), true
	}
	return c, err
}

// claim looks at a lane until its exchange of the tail succeeds. All that is read
// before may be of another life; the exchange proves that it was not. Only then
// is anything written that other threads can see.
func (t *Table) claim(h Handle, lane wire.Lane, need uint64, extra *spares) (Claim, error) {
	s := t.Slot(h.Index())
	l := &s.lanes[lane]
	for {
		tail := l.tail.Load()
		if !takes(tail, h) {
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
		place := t.place(s, lane, start)
		chunk := arena.Index(place.Load())
		if chunk == 0 || skip != 0 {
			lacks := t.lacks(s, lane, pos, start)
			if lacks > extra.n && !t.takeSpares(s, extra, lacks) {
				// Others may have had what they needed, and installed it.
				if l.tail.Load() != tail || t.lacks(s, lane, pos, start) < lacks {
					continue
				}
				return Claim{}, ErrAgain
			}
		}
		next := tail&^(posMask|seqMask<<posBits) | (start+need)&posMask | (tail+seqOne)&(seqMask<<posBits)
		if !l.tail.CompareAndSwap(tail, next) {
			continue
		}
		if skip != 0 {
			pad := t.word(extra.install(t.place(s, lane, pos)), pos)
			publish(pad, wire.MakeHeader(uint32(skip-1)*wordSize, kindPad, lane, 0))
		}
		if chunk == 0 {
			chunk = extra.install(place)
		}
		sequence := headSeq + (tail>>posBits-headSeq)&seqMask
		return Claim{Sequence: sequence, entry: t.word(chunk, start)}, nil
	}
}

// takes says whether a lane with that tail takes messages of a handle.
func takes(tail uint64, h Handle) bool {
	return uint32(tail>>genShift) == h.Generation()&genMask && tail&closedBit == 0
}

// fits says whether need more words may be claimed when used words are. An empty
// lane takes any one message, so that none is too large to ever be sent.
func (l *lane) fits(used, need uint64) bool {
	if used == 0 {
		return true
	}
	limit := uint64(l.limit.Load())
	return used <= limit && int64(used+need)*wordSize+l.charged.Load() <= int64(limit*wordSize)
}
