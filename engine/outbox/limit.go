package outbox

import (
	"github.com/lyquor/lyquor/engine/arena"
	"github.com/lyquor/lyquor/engine/wire"
)

// budgetShare is the part of what is left of a driver's budget that a lane's limit may
// grow by: the first that grow get much, and those that come later still something.
const budgetShare = 4

// Limit returns, for any thread, what a lane's log and its references may hold now, in
// bytes.
func (s *Slot) Limit(lane wire.Lane) uint64 { return uint64(s.lanes[lane].limit.Load()) * wordSize }

// Grow doubles the lane's limit, up to the slot's bound. It returns false if the lane is
// at its bound, or if too little memory is left for that.
func (r *Reader) Grow() bool {
	t, l := r.table, &r.slot.lanes[r.lane]
	limit := uint64(l.limit.Load())
	next := min(2*limit, uint64(r.slot.bound.Load()))
	b := &t.budgets[r.slot.budget.Load()]
	if next <= limit || int64(next-limit)*wordSize > (b.Limit.Load()-b.Used.Load())/budgetShare {
		return false
	}
	if next > t.inlineSpan() && l.large.Load() == 0 {
		directory := t.directories.TakeClean()
		if directory == 0 {
			return false
		}
		// Nobody can claim from there on who has not read a head or a limit that is stored
		// after this.
		l.large.Store(uint64(directory)<<32 | r.beyond(limit)&posMask)
	}
	l.limit.Store(uint32(next))
	return true
}

// beyond returns the first chunk's start that a claim cannot reach with a limit.
func (r *Reader) beyond(limit uint64) uint64 {
	return (r.freed + limit + r.table.chunkWords - 1) &^ (r.table.chunkWords - 1)
}

// follow has the large directory's first position follow the head, once the head has
// come to it, so that it never seems to lie ahead when positions wrap.
func (r *Reader) follow(l *lane) {
	if large := l.large.Load(); large != 0 && (r.freed-large)&posMask < posHalf {
		l.large.Store(large&^posMask | r.freed&posMask)
	}
}

// Rest gives back the chunk of a lane that is empty, and what it has grown by. A lane
// that rests owns no memory. To have every claim that looked at the old tail look again,
// it moves the tail: to the next chunk, or to where no claim could have reached. Until
// the head has followed, the skipped words count as used.
func (r *Reader) Rest() (owns bool) {
	t, l := r.table, &r.slot.lanes[r.lane]
	old, limit := l.tail.Load(), uint64(l.limit.Load())
	if r.freed != r.sent || (old-r.freed)&posMask != 0 {
		return true
	}
	r.marks = marks{}
	owns = t.chunkAt(r.slot, r.lane, r.freed) != 0
	large := l.large.Load()
	ahead := (large - r.freed) & posMask // of a large directory that the log has not come to
	next := r.beyond(1) + t.colour(r.slot)
	switch {
	case large == 0 && !owns:
		r.shrink()
		return false
	case large == 0:
	case ahead != 0 && ahead < posHalf:
		next = r.freed + ahead
	default:
		next = r.beyond(limit) + t.colour(r.slot)
		l.large.Store(large&^posMask | (next-posHalf)&posMask) // from next on it is not looked at
	}
	if !l.tail.CompareAndSwap(old, old&^posMask|next&posMask) {
		l.large.Store(large)
		return true
	}
	chunk, end := r.takeChunk(r.freed), r.freed
	more := large != 0 && next == r.freed+ahead
	if !more {
		r.shrink()
	}
	r.freed, r.sent = next, next
	r.publishHead()
	if chunk != 0 {
		r.giveChunk(chunk, end)
	}
	r.begin = next
	return more && r.Rest()
}

// shrink takes back what Grow did. Nothing is in the large directory, and nobody can
// claim where it is looked at.
func (r *Reader) shrink() {
	l := &r.slot.lanes[r.lane]
	if large := l.large.Swap(0); large != 0 {
		r.table.directories.GiveClean(arena.Index(large >> 32))
	}
	l.limit.Store(uint32(r.table.firstLimit(uint64(r.slot.bound.Load()))))
}

// Grant lets the peer of a slot send n bytes more than it may at first, if what all of a
// driver's peers may is at most its memory's limit with that; it takes no more than a
// share of what is left.
func (t *Table) Grant(s *Slot, n uint64) bool {
	b := &t.budgets[s.budget.Load()]
	for {
		granted := b.granted.Load()
		if int64(n) > (b.Limit.Load()-granted)/budgetShare {
			return false
		}
		if b.granted.CompareAndSwap(granted, granted+int64(n)) {
			return true
		}
	}
}

// Ungrant takes back n bytes of what Grant allowed: the peer is gone.
func (t *Table) Ungrant(s *Slot, n uint64) { t.budgets[s.budget.Load()].granted.Add(-int64(n)) }
