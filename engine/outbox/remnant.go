package outbox

import (
	"unsafe"

	"github.com/lyquor/lyquor/engine/wire"
)

// Remnant is a message that was accepted and will not be acknowledged.
type Remnant struct {
	ID      uint64 // what Send returned
	Lane    wire.Lane
	Channel uint16
	Maybe   bool // a link was given a byte of it: it may have been delivered; else it was never sent
	Data    []byte
	// Reference gives back the memory that Data is in; of ReleaseNothing if that is somebody else's.
	Reference Reference
}

// Remaining counts what is published and not acknowledged, with what was withdrawn, and
// the bytes of it that lie in the log.
func (r *Reader) Remaining() (n Count) {
	n.Messages = r.walk(^uint64(0), func(_ uint64, h wire.Header, _ unsafe.Pointer) {
		if h.Kind() != kindRef {
			n.Bytes += uint64(wire.Padded(int(h.Size())))
		}
	})
	return n
}

// Salvage appends those of the first n messages that are not acknowledged to a list which
// were not withdrawn. Memory that they refer to is the list's from then on. What lies in
// the log is copied to memory, which has room for it, and whose rest is returned; or, if
// memory is nil, left there.
func (r *Reader) Salvage(n uint64, list []Remnant, memory []byte) ([]Remnant, []byte) {
	r.walk(n, func(id uint64, h wire.Header, at unsafe.Pointer) {
		m := Remnant{ID: id, Lane: r.lane, Channel: h.Channel(), Maybe: id < r.touched}
		payload := unsafe.Add(at, wordSize)
		if h.Kind() == kindRef {
			ref := (*Reference)(payload)
			m.Data, m.Reference = r.table.Payload(*ref), *ref
			ref.Release = ReleaseNothing
		} else {
			m.Data = unsafe.Slice((*byte)(payload), h.Size())
			if memory != nil {
				size := copy(memory, m.Data)
				m.Data, memory = memory[:size:size], memory[wire.Padded(size):]
			}
		}
		list = append(list, m)
	})
	return list, memory
}

// walk visits the first n messages that are published and not acknowledged, but for those
// that were withdrawn, and returns how many there are with them.
func (r *Reader) walk(n uint64, visit func(id uint64, h wire.Header, at unsafe.Pointer)) uint64 {
	t, pos, count := r.table, r.freed, r.acked
	for count.Messages-r.acked.Messages < n {
		chunk := t.chunkAt(r.slot, r.lane, pos)
		if chunk == 0 || published(t.word(chunk, pos)) == 0 {
			break
		}
		id, at := count.Messages, t.word(chunk, pos)
		h, size := r.step(at, &count)
		if count.Messages > id && h.Kind() != kindWithdrawn {
			visit(id, h, at)
		}
		pos += size
	}
	return count.Messages - r.acked.Messages
}

// Burden counts n bytes against a slot's budget, whatever its limit; n may be negative.
func (t *Table) Burden(budget uint32, n int64) { t.uncharge(budget, -n) }

// Budget returns the index of the budget that a slot is charged to.
func (s *Slot) Budget() uint32 { return s.budget.Load() }
