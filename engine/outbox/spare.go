package outbox

import (
	"sync/atomic"

	"github.com/lyquor/lyquor/engine/arena"
)

// spares are zeroed chunks that a claim takes before its exchange and may install
// after it. It needs two at most: where its entry begins, and where the padding
// before that begins if whoever claimed there first was not yet able to install.
type spares struct {
	chunk  [2]arena.Index
	n      int
	budget uint32 // what they are charged to
}

// takeSpares takes chunks until there are want of them, or says that memory has
// run out.
func (t *Table) takeSpares(s *Slot, extra *spares, want int) bool {
	if extra.n == 0 {
		extra.budget = s.budget.Load()
	}
	for extra.n < want {
		if !t.charge(extra.budget, int64(t.chunks.PieceSize())) {
			return false
		}
		chunk := t.chunks.TakeClean()
		if chunk == 0 {
			t.uncharge(extra.budget, int64(t.chunks.PieceSize()))
			t.budgets[extra.budget].Starved.Store(1)
			return false
		}
		extra.chunk[extra.n] = chunk
		extra.n++
	}
	return true
}

// giveSpares gives back what was not installed.
func (t *Table) giveSpares(extra *spares) {
	for extra.n != 0 {
		extra.n--
		t.chunks.GiveClean(extra.chunk[extra.n])
		t.uncharge(extra.budget, int64(t.chunks.PieceSize()))
	}
}

// install returns the chunk at a place in which something was claimed, after
// filling it with a spare if nobody has yet.
func (extra *spares) install(place *atomic.Uint32) arena.Index {
	if chunk := place.Load(); chunk != 0 {
		return arena.Index(chunk)
	}
	chunk := extra.chunk[extra.n-1]
	if !place.CompareAndSwap(0, uint32(chunk)) {
		return arena.Index(place.Load())
	}
	extra.n--
	return chunk
}

// charge counts bytes against a driver's budget, or refuses and marks it starved.
// A refusal leaves no trace that could refuse somebody else.
func (t *Table) charge(budget uint32, n int64) bool {
	b := &t.budgets[budget]
	for {
		used := b.Used.Load()
		if used+n > b.Limit.Load() {
			b.Starved.Store(1)
			return false
		}
		if b.Used.CompareAndSwap(used, used+n) {
			return true
		}
	}
}

func (t *Table) uncharge(budget uint32, n int64) { t.budgets[budget].Used.Add(-n) }
