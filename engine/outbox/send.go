package outbox

import (
	"unsafe"

	"github.com/lyquor/lyquor/engine/arena"
	"github.com/lyquor/lyquor/engine/wire"
)

// Send copies a message into a slot's lane and returns its id and, if a worker
// must be woken, its bell. It never waits: ErrAgain says that the lane or the
// driver's memory is full.
func (t *Table) Send(h Handle, lane wire.Lane, channel uint16, data []byte) (uint64, *Bell, error) {
	return t.SendUntil(h, lane, channel, data, 0)
}

// SendUntil is Send of a message that is withdrawn if no link was given a byte of it
// before a deadline, by the clock that Reader.Expire is told; 0 is none.
func (t *Table) SendUntil(h Handle, lane wire.Lane, channel uint16, data []byte, until int64) (uint64, *Bell, error) {
	s, err := t.sendable(h, lane, len(data))
	if err != nil {
		return 0, nil, err
	}
	if len(data) > t.maxInline {
		return t.sendCopy(s, h, lane, channel, data, until)
	}
	header := wire.MakeHeader(uint32(len(data)), wire.Msg, lane, channel)
	claim, err := t.claimUntil(h, lane, header, len(data), until)
	if err != nil {
		return 0, nil, err
	}
	copy(claim.Bytes(), data)
	claim.Publish()
	return claim.Sequence, t.Ring(s), nil
}

// SendHeld sends data without copying it. free is called once, by the worker,
// when the bytes are no longer needed; data must not change until then. On error
// nothing was kept, and free is not called.
func (t *Table) SendHeld(h Handle, lane wire.Lane, channel uint16, data []byte, free func()) (uint64, *Bell, error) {
	s, err := t.sendable(h, lane, len(data))
	if err != nil {
		return 0, nil, err
	}
	ref := Reference{Size: uint64(len(data)), Release: ReleaseHeld}
	claim, err := t.claimReference(s, h, lane, channel, &ref, 0)
	if err != nil {
		return 0, nil, err
	}
	ref.Hint = t.hold(data, free)
	claim.refer(&ref)
	return claim.Sequence, t.Ring(s), nil
}

// sendable returns the slot of a handle whose lane takes messages. Closed comes
// before every other answer: after "again" the sender waits for a worker, and
// nobody works for a life that is over. (If the end comes after this look, the
// sender learns of it when it tries once more after Want.)
func (t *Table) sendable(h Handle, lane wire.Lane, size int) (*Slot, error) {
	s := t.Find(h)
	if s == nil || h.Kind() != KindEndpoint || !takes(s.lanes[lane].tail.Load(), h) {
		return nil, ErrClosed
	}
	if uint64(size) > s.MaxMessage.Load() {
		return nil, ErrTooLarge
	}
	return s, nil
}

// sendCopy copies a message beside the log: into a piece if one is large enough,
// else into Go memory. It copies after the claim, as with small messages, so that
// a refusal costs little; what it copies to is there before.
func (t *Table) sendCopy(s *Slot, h Handle, lane wire.Lane, channel uint16, data []byte,
	until int64) (uint64, *Bell, error) {
	ref := Reference{Size: uint64(len(data)), Release: ReleaseHeld}
	var pool *arena.Pool
	switch {
	case len(data) <= t.chunks.PieceSize():
		pool, ref.Release = t.chunks, ReleaseChunk
	case len(data) <= t.blocks.PieceSize():
		pool, ref.Release = t.blocks, ReleaseBlock
	}
	var piece arena.Index
	if pool != nil {
		if piece = pool.TakeAny(); piece == 0 {
			t.budgets[s.budget.Load()].Starved.Store(1)
			return 0, nil, ErrAgain
		}
	}
	claim, err := t.claimReference(s, h, lane, channel, &ref, until)
	if err != nil {
		if pool != nil {
			pool.GiveDirty(piece)
		}
		return 0, nil, err
	}
	if pool == nil {
		ref.Hint = t.hold(append([]byte(nil), data...), nil)
	} else {
		copy(pool.Bytes(piece), data)
		ref.Addr, ref.Hint = address(pool.Piece(piece)), uint64(piece)
	}
	claim.refer(&ref)
	return claim.Sequence, t.Ring(s), nil
}

// claimReference accepts a message whole or not at all: it is charged in full before
// its entry is claimed. Of the reference Size and Release are set.
func (t *Table) claimReference(s *Slot, h Handle, lane wire.Lane, channel uint16, ref *Reference,
	until int64) (Claim, error) {
	budget, takes := s.budget.Load(), t.takes(ref)
	if takes+int64(t.chunks.PieceSize()) > t.budgets[budget].Limit.Load() {
		return Claim{}, ErrTooLarge // with the chunk for its entry
	}
	if !t.charge(budget, takes) {
		return Claim{}, ErrAgain
	}
	l := &s.lanes[lane]
	l.charged.Add(int64(ref.Size))
	claim, err := t.claimUntil(h, lane, wire.MakeHeader(0, kindRef, lane, channel), refPayload, until)
	if err != nil {
		l.charged.Add(-int64(ref.Size))
		t.uncharge(budget, takes)
	}
	return claim, err
}

// refer fills an entry with a reference and publishes it.
func (c *Claim) refer(ref *Reference) {
	*(*Reference)(unsafe.Add(c.entry, wordSize)) = *ref
	c.Publish()
}

// Want announces that a sender waits for room for a message of size bytes in a lane, and
// how: bit is WantEvent or WantWake. After it the sender tries once more, then waits; the
// worker looks at once.
func (t *Table) Want(h Handle, lane wire.Lane, size int, bit uint32) *Bell {
	s := t.Find(h)
	if s == nil {
		return nil
	}
	if l := &s.lanes[lane]; s.Want.Load()&(WantAny<<lane) == 0 || uint32(size) < l.asked.Load() {
		l.asked.Store(uint32(size))
	}
	if bit <<= lane; s.Want.Or(bit)&bit != 0 {
		return nil
	}
	return t.Ring(s)
}

// heldMemory keeps Go memory alive that the log refers to.
type heldMemory struct {
	entries []heldEntry
	free    []uint64
}

type heldEntry struct {
	data []byte
	done func()
}

func (t *Table) hold(data []byte, done func()) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := &t.held
	if n := len(h.free); n != 0 {
		i := h.free[n-1]
		h.free = h.free[:n-1]
		h.entries[i] = heldEntry{data, done}
		return i
	}
	h.entries = append(h.entries, heldEntry{data, done})
	return uint64(len(h.entries) - 1)
}

// drop forgets an entry and returns what is to be called then, outside the lock.
func (h *heldMemory) drop(i uint64) func() {
	done := h.entries[i].done
	h.entries[i] = heldEntry{}
	h.free = append(h.free, i)
	return done
}

// Payload returns the bytes that a reference stands for.
func (t *Table) Payload(ref Reference) []byte {
	switch ref.Release {
	case ReleaseHeld:
		t.mu.Lock()
		defer t.mu.Unlock()
		return t.held.entries[ref.Hint].data
	case ReleaseChunk:
		return t.chunks.Bytes(arena.Index(ref.Hint))[:ref.Size]
	case ReleaseBlock:
		return t.blocks.Bytes(arena.Index(ref.Hint))[:ref.Size]
	}
	return foreign(ref.Addr, ref.Size)
}

// Release gives back the memory behind a reference. It returns false for memory
// of the program's own C code, which only the C side can give back.
func (t *Table) Release(ref Reference) bool {
	switch ref.Release {
	case ReleaseNothing:
	case ReleaseChunk:
		t.chunks.GiveDirty(arena.Index(ref.Hint))
	case ReleaseBlock:
		t.blocks.GiveDirty(arena.Index(ref.Hint))
	case ReleaseHeld:
		t.mu.Lock()
		done := t.held.drop(ref.Hint)
		t.mu.Unlock()
		if done != nil {
			done()
		}
	default:
		return false
	}
	return true
}

// foreign returns memory that only C knows. The conversion goes through a pointer
// to the number because the address is no Go pointer and never was.
func foreign(addr, size uint64) []byte {
	return unsafe.Slice(*(**byte)(unsafe.Pointer(&addr)), size)
}
