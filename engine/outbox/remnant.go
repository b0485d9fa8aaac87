package outbox

import (
	"bytes"
	"iter"
	"unsafe"

	"github.com/lyquor/lyquor/engine/arena"
	"github.com/lyquor/lyquor/engine/wire"
)

// Remnant is a message that was accepted and will not be acknowledged.
type Remnant struct {
	ID      uint64 // what Send returned
	Lane    wire.Lane
	Channel uint16
	Maybe   bool // a link was given a byte of it: it may have been delivered; else it was never sent
	Data    []byte
}

// Remnants are messages that were accepted and will not be acknowledged, taken out of
// the log: with its chunks, with what the messages refer to, and with what both count in
// the driver's budget. So they take no more than they did in the log, and nothing is done
// for a message until somebody looks at it.
type Remnants struct {
	Parts   []Part // lane by lane, in the order of ids
	Charged int64  // bytes
	table   *Table
	budget  uint32
}

// Part is a number of entries that lie together.
type Part struct {
	Lane       wire.Lane
	Chunk      arena.Index // that they lie in; 0: they are a copy, for in the chunk the log goes on
	References uint32      // among them
	First      uint64      // id of the first message
	Touched    uint64      // a link was given a byte of the messages below this id
	Entries    []byte
}

// Remaining returns how many messages are published and not acknowledged, with those that
// were withdrawn.
func (r *Reader) Remaining() uint64 {
	t, pos, count := r.table, r.freed, r.acked
	for {
		chunk := t.chunkAt(r.slot, r.lane, pos)
		if chunk == 0 || published(t.word(chunk, pos)) == 0 {
			return count.Messages - r.acked.Messages
		}
		_, size := step(t.word(chunk, pos), &count)
		pos += size
	}
}

// Salvage withdraws the first n messages as Withdraw does, and adds them to m.
func (r *Reader) Salvage(n uint64, m *Remnants) {
	if n == 0 {
		return
	}
	r.noteCut()
	r.move(n, m, false)
	if r.sent < r.freed {
		r.sent, r.taken = r.freed, r.acked
		if r.gone != nil {
			r.gone.Taken = r.gone.Acked
		}
	}
	r.remark()
	r.publishHead()
}

// SalvageAll adds all messages of a lane that is closed and settled to m. Of the reader
// only the counts are of use afterwards, and Drop.
func (r *Reader) SalvageAll(m *Remnants) {
	n, tail := r.Accepted()-r.acked.Messages, &r.slot.lanes[r.lane].tail
	if n == 0 || (tail.Load()-r.freed)&posMask == 0 {
		return // there is nothing, or it was taken before
	}
	acked, gone := r.acked, r.Gone()
	r.move(n, m, true)
	if r.acked = acked; r.gone != nil {
		*r.gone = gone
	}
	// The last chunk is gone too, so the lane has to end where one does: as in Rest, but
	// nobody claims.
	next := (r.freed + r.table.chunkWords - 1) &^ (r.table.chunkWords - 1)
	tail.Store(tail.Load()&^posMask | next&posMask)
	r.freed, r.sent = next, next
	r.marks.clear()
}

// move takes n messages out of the log, and the padding behind them. Its last chunk is
// left to it, unless all is taken.
func (r *Reader) move(n uint64, m *Remnants, all bool) {
	t := r.table
	m.table, m.budget = t, r.slot.budget.Load()
	for last := r.acked.Messages + n; r.acked.Messages < last; {
		p := Part{Lane: r.lane, First: r.acked.Messages, Touched: r.touched}
		begin, chunk := r.freed, t.chunkAt(r.slot, r.lane, r.freed)
		for end := begin&^(t.chunkWords-1) + t.chunkWords; r.freed < end; {
			at := t.word(chunk, r.freed)
			if r.acked.Messages == last && published(at).Kind() != kindPad {
				break
			}
			h, size := step(at, &r.acked)
			switch h.Kind() {
			case kindRef:
				ref := (*Reference)(unsafe.Add(at, wordSize))
				r.slot.lanes[r.lane].charged.Add(-int64(ref.Size))
				m.Charged += t.takes(ref)
				p.References++
			case kindWithdrawn:
				r.gone.Acked++
			}
			r.freed += size
		}
		p.Entries = unsafe.Slice((*byte)(t.word(chunk, begin)), (r.freed-begin)*wordSize)
		if all || r.freed&(t.chunkWords-1) == 0 {
			p.Chunk = r.takeChunk(begin)
			m.Charged += int64(t.chunks.PieceSize())
		} else {
			p.Entries = bytes.Clone(p.Entries)
			m.Charged += int64(len(p.Entries))
			t.uncharge(m.budget, -int64(len(p.Entries))) // whatever the limit is
		}
		m.Parts = append(m.Parts, p)
	}
}

// All returns the messages. Their data is good until Drop.
func (m *Remnants) All() iter.Seq[Remnant] {
	return func(yield func(Remnant) bool) {
		for i := range m.Parts {
			p := &m.Parts[i]
			more := p.each(func(id uint64, h wire.Header, payload []byte) bool {
				x := Remnant{ID: id, Lane: p.Lane, Channel: h.Channel(), Maybe: id < p.Touched}
				if h.Kind() == kindRef {
					x.Data = m.table.Payload(*referenceIn(payload))
				} else {
					x.Data = payload[:h.Size():h.Size()]
				}
				return yield(x)
			})
			if !more {
				return
			}
		}
	}
}

// Drop gives back what the messages lie in, and what they count; release is called with
// each reference. It may be called again.
func (m *Remnants) Drop(release func(Reference)) {
	for i := range m.Parts {
		p := &m.Parts[i]
		if p.References != 0 {
			p.each(func(_ uint64, h wire.Header, payload []byte) bool {
				if h.Kind() == kindRef {
					release(*referenceIn(payload))
				}
				return true
			})
		}
		if p.Chunk != 0 {
			m.table.chunks.GiveDirty(p.Chunk)
		}
	}
	if m.Charged != 0 {
		m.table.uncharge(m.budget, m.Charged)
	}
	*m = Remnants{}
}

// each visits the messages that were not withdrawn, each with its padded payload, until
// visit returns false; then it does.
func (p *Part) each(visit func(id uint64, h wire.Header, payload []byte) bool) bool {
	count := Count{Messages: p.First}
	for rest := p.Entries; len(rest) > 0; {
		id := count.Messages
		h, size := step(unsafe.Pointer(&rest[0]), &count)
		if count.Messages > id && h.Kind() != kindWithdrawn && !visit(id, h, rest[wordSize:size*wordSize]) {
			return false
		}
		rest = rest[size*wordSize:]
	}
	return true
}

func referenceIn(payload []byte) *Reference { return (*Reference)(unsafe.Pointer(&payload[0])) }

// Budget returns the index of the budget that a slot is charged to.
func (s *Slot) Budget() uint32 { return s.budget.Load() }
