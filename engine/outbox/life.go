package outbox

import (
	"math"

	"github.com/lyquor/lyquor/engine/wire"
)

// maxGeneration is the last life of a slot: a handle has 24 bits for it.
const maxGeneration = 1<<24 - 1

// Allocate begins a life of a slot. outboxBytes bounds each lane's inline and
// referred bytes however it grows; it is rounded up to what a lane needs at least.
func (t *Table) Allocate(kind Kind, owner, budget uint32, outboxBytes uint64) (*Slot, error) {
	i := t.takeSlot(owner)
	if i == 0 {
		return nil, ErrHandles
	}
	t.root.slotsLive.Add(1)
	s := t.Slot(i)
	generation := Handle(s.ID.Load()).Generation() + 1 // see pushSlot
	// The last life's handle is void before anything that it could be asked about
	// changes. Whoever reads a word of a slot looks at the ID after that.
	s.ID.Store(uint64(makeHandle(0, generation, i)))
	s.Context.Store(0)
	s.MaxMessage.Store(0)
	s.State.Store(0)
	s.command.Store(uint64(generation) << 32)
	s.linger.Store(uint64(generation)<<32 | math.MaxUint32)
	s.Inbox.Store(0)
	s.Reason.Store(0)
	s.Want.Store(0)
	s.Awaited.Store(0)
	s.Untold.Store(0)
	s.Manual.Store(0)
	s.remains.Store(0)
	s.Held.Store(Life)
	s.budget.Store(budget)
	if kind == KindEndpoint {
		bound := t.bound(outboxBytes)
		s.bound.Store(uint32(bound))
		s.openLanes(generation, t.firstLimit(bound), t.colour(s))
		for lane := range wire.Lane(wire.Lanes) {
			s.lanes[lane].given.Store(0)
			s.Listen(generation, lane, 0)
		}
	}
	s.ID.Store(uint64(makeHandle(kind, generation, i)))
	return s, nil
}

// bound returns the most that a lane's limit may become, in words: what was asked for,
// if a message fits and a large directory spans it with a chunk more.
func (t *Table) bound(outboxBytes uint64) uint64 {
	bound := max(min(outboxBytes, MaxLog)/wordSize, 2*words(t.maxInline))
	return min(bound, uint64(t.largeMask)<<t.chunkShift)
}

// firstLimit returns what a lane's limit begins with, in words: the small directory
// spans it with a chunk more.
func (t *Table) firstLimit(bound uint64) uint64 {
	return min(bound, FirstLimit/wordSize, t.inlineSpan())
}

// inlineSpan is the largest limit of a lane without a large directory, in words.
func (t *Table) inlineSpan() uint64 { return (inlinePieces - 1) << t.chunkShift }

// colour returns how many words into a chunk a slot's lanes begin: where a cache line
// does, and in the first half, so that any message fits behind it. Many endpoints that are
// sent to in turn are at the same place of their chunks all the time. If that were the
// same number for all, what they work at would fall into the same few sets of the caches,
// and be gone when its turn comes. (Bonwick, The Slab Allocator, USENIX 1994, section 4.3:
// slab coloring.) The factor is 2^32 over the golden ratio: slots that follow each other
// get colours far from each other.
func (t *Table) colour(s *Slot) uint64 {
	return uint64(t.indexOf(s)*0x9e3779b1) * t.colours >> 32 * lineWords
}

// openLanes makes the lanes empty. Words of a lane's producers stay as they are
// where a producer of a former life may be about to undo what it did: each charge
// is taken back by whoever made it.
func (s *Slot) openLanes(generation uint32, limit, start uint64) {
	for i := range s.lanes {
		l := &s.lanes[i]
		l.head.Store(start)
		l.headSeq.Store(0)
		l.cut.Store(0)
		l.limit.Store(uint32(limit))
		l.asked.Store(0)
		l.tail.Store(uint64(generation&genMask)<<genShift | start)
	}
}

// Close refuses all further claims on a slot's lanes. Claims made before stay
// good and will be published.
func (t *Table) Close(s *Slot) {
	for i := range s.lanes {
		s.lanes[i].tail.Or(closedBit)
	}
}

// Retire ends a slot's life: the worker is done with it, and has dropped each of
// its lanes. The slot comes back once the program has released every message that
// it holds.
func (t *Table) Retire(s *Slot) { t.Unhold(s, Life) }

// Unhold gives back part of what Slot.Held counts.
func (t *Table) Unhold(s *Slot, n int64) {
	if s.Held.Add(-n) == 0 {
		t.pushSlot(t.indexOf(s))
	}
}

// takeSlot takes a free slot for an owner. A producer may ring for a slot whose
// life is over: it published its last message, slept, and rings now. A slot with
// such a notice is put aside until the notice was seen to, because the bell that
// holds it may be one that nobody answers any more, and then no later notice of
// the slot would ever arrive. The owner is set first: a producer that rings after
// the look finds the new one.
func (t *Table) takeSlot(owner uint32) uint32 {
	t.mu.Lock()
	defer t.mu.Unlock()
	for k, i := range t.noticed {
		if t.unnoticed(i, owner) {
			t.noticed = append(t.noticed[:k], t.noticed[k+1:]...)
			return i
		}
	}
	for {
		i := t.popSlot()
		if i == 0 || t.unnoticed(i, owner) {
			return i
		}
		t.noticed = append(t.noticed, i)
	}
}

// unnoticed gives a free slot to an owner and says whether no notice of it is
// under way.
func (t *Table) unnoticed(i, owner uint32) bool {
	s := t.Slot(i)
	s.Owner.Store(owner)
	return s.scheduled.Load() == 0
}

func (t *Table) popSlot() uint32 {
	free := &t.root.slotsFree
	for {
		top := free.Load()
		i := uint32(top)
		if i == 0 {
			break
		}
		next := t.Slot(i).free.Load()
		if free.CompareAndSwap(top, (top>>32+1)<<32|uint64(next)) {
			return i
		}
	}
	for {
		n := t.root.slotsFresh.Load()
		if n == t.root.slotCount {
			return 0
		}
		if t.root.slotsFresh.CompareAndSwap(n, n+1) {
			return n
		}
	}
}

// pushSlot makes a slot free. One whose generations are used up rests for good: with
// the next life its handles would begin to come again, and the program may have kept
// any of them. Slots are reused last in, first out, so a busy program brings a slot
// that far; it has a million.
func (t *Table) pushSlot(i uint32) {
	free := &t.root.slotsFree
	s := t.Slot(i)
	t.root.slotsLive.Add(-1)
	if Handle(s.ID.Load()).Generation() == maxGeneration {
		return
	}
	for {
		top := free.Load()
		s.free.Store(uint32(top))
		if free.CompareAndSwap(top, (top>>32+1)<<32|uint64(i)) {
			return
		}
	}
}
