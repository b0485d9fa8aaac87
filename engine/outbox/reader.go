package outbox

import (
	"unsafe"

	"github.com/lyquor/lyquor/engine/arena"
	"github.com/lyquor/lyquor/engine/wire"
)

// Reader is the worker's side of one lane: it finds what is published, hands it
// out in order, and frees it. Positions count words and never wrap here.
//
//	─ free ─┤── given out ──┤── published ... claimed
//	      freed           sent
type Reader struct {
	table *Table
	slot  *Slot
	freed uint64 // the lane's head
	sent  uint64 // everything before it was taken by Advance
	taken uint64 // messages before sent
	refs  uint32 // references between freed and sent
	lane  wire.Lane
}

// Open begins at the start of a slot's life.
func (r *Reader) Open(t *Table, s *Slot, lane wire.Lane) {
	*r = Reader{table: t, slot: s, lane: lane}
}

// Entry is what a reader hands out at once: either a run of whole frames that
// lies together and can be sent as it is, or one message by reference.
type Entry struct {
	Run      []byte // frames; nil for a reference
	Payload  []byte // a reference's bytes
	Channel  uint16 // of a reference
	messages int
	start    uint64 // position of its first frame
	end      uint64 // position behind it, and behind padding that follows
}

// Sent returns the position up to which Advance has taken entries.
func (r *Reader) Sent() uint64 { return r.sent }

// Taken returns how many messages Advance has taken.
func (r *Reader) Taken() uint64 { return r.taken }

// End returns the position behind an entry.
func (e *Entry) End() uint64 { return e.end }

// Messages returns how many messages an entry holds.
func (e *Entry) Messages() int { return e.messages }

// Peek returns the entry at position from, which is Sent or the End of the entry
// before; ok is false if nothing is published there. A run ends with the frame
// that reaches most bytes, so it holds one frame at least.
func (r *Reader) Peek(from uint64, most int) (e Entry, ok bool) {
	t := r.table
	for {
		chunk := t.chunkAt(r.slot, r.lane, from)
		if chunk == 0 {
			return Entry{}, false
		}
		at := t.word(chunk, from)
		switch h := published(at); {
		case h == 0:
			return Entry{}, false
		case h.Kind() == kindPad:
			from += words(int(h.Size()))
		case h.Kind() == kindRef:
			payload := t.Payload(*(*Reference)(unsafe.Add(at, wordSize)))
			end := r.behind(from + words(refPayload))
			return Entry{Payload: payload, Channel: h.Channel(), messages: 1, start: from, end: end}, true
		default:
			return r.run(from, at, most), true
		}
	}
}

// Ready says whether a message is published at position pos.
func (r *Reader) Ready(pos uint64) bool {
	pos = r.behind(pos)
	chunk := r.table.chunkAt(r.slot, r.lane, pos)
	return chunk != 0 && published(r.table.word(chunk, pos)) != 0
}

// Drained says that the lane is closed and nothing was claimed behind position pos.
func (r *Reader) Drained(pos uint64) bool {
	tail := r.slot.lanes[r.lane].tail.Load()
	return tail&closedBit != 0 && (tail-pos)&posMask == 0
}

// run walks the published messages that lie together from position from, at
// address at, in one chunk.
func (r *Reader) run(from uint64, at unsafe.Pointer, most int) Entry {
	room := (r.table.chunkWords - from&(r.table.chunkWords-1)) * wordSize
	size, messages := uint64(0), 0
	for size < room && size < uint64(most) {
		h := published(unsafe.Add(at, size))
		if h.Kind() != wire.Msg {
			break
		}
		size += words(int(h.Size())) * wordSize
		messages++
	}
	run := unsafe.Slice((*byte)(at), size)
	return Entry{Run: run, messages: messages, start: from, end: r.behind(from + size/wordSize)}
}

// behind returns the position behind padding that is published at pos. Nothing
// need ever follow it, so it is taken with what comes before: a lane whose last
// claim was longer than its message is empty once that message was taken.
func (r *Reader) behind(pos uint64) uint64 {
	chunk := r.table.chunkAt(r.slot, r.lane, pos)
	for chunk != 0 && pos&(r.table.chunkWords-1) != 0 {
		h := published(r.table.word(chunk, pos))
		if h.Kind() != kindPad {
			break
		}
		pos += words(int(h.Size()))
	}
	return pos
}

// Advance takes an entry: all of it was given to the link.
func (r *Reader) Advance(e Entry) {
	r.sent = e.end
	r.taken += uint64(e.messages)
	if e.Run == nil {
		r.refs++
	}
}

// AdvancePart takes the frames that the first n bytes of a run cover wholly, and
// returns how many bytes of the next frame they cover too.
func (r *Reader) AdvancePart(e Entry, n int) (rest int) {
	done := 0
	for done < n {
		size := wire.GetHeader(e.Run[done:]).FrameSize()
		if done+size > n {
			break
		}
		done += size
		r.taken++
	}
	r.sent = e.start + uint64(done)/wordSize
	if done == len(e.Run) {
		r.sent = e.end
	}
	return n - done
}

// Free gives back everything that was taken. release is called with each
// reference passed.
func (r *Reader) Free(release func(Reference)) {
	if r.freed == r.sent {
		return
	}
	r.free(r.sent, release)
	r.publishHead()
}

// free moves freed up to position to, chunk by chunk.
func (r *Reader) free(to uint64, release func(Reference)) {
	t := r.table
	for r.freed < to {
		stop := min(to, (r.freed|(t.chunkWords-1))+1)
		if r.refs > 0 {
			r.freeReferences(stop, release)
		}
		if stop&(t.chunkWords-1) == 0 {
			r.giveChunk(r.takeChunk(stop-1), t.chunkWords)
		}
		r.freed = stop
	}
}

// freeReferences walks the entries from freed to position to.
func (r *Reader) freeReferences(to uint64, release func(Reference)) {
	t := r.table
	for pos := r.freed; pos < to; {
		at := t.wordAt(r.slot, r.lane, pos)
		h := published(at)
		if h.Kind() == kindRef {
			ref := *(*Reference)(unsafe.Add(at, wordSize))
			r.slot.lanes[r.lane].charged.Add(-int64(ref.Size))
			t.uncharge(r.slot.budget.Load(), int64(ref.Size))
			r.refs--
			release(ref)
			pos += words(refPayload)
			continue
		}
		pos += words(int(h.Size()))
	}
}

// takeChunk empties the place of the chunk that holds position pos. That comes
// before the head moves on, because a producer that sees the new head relies on it.
func (r *Reader) takeChunk(pos uint64) arena.Index {
	return arena.Index(r.table.place(r.slot, r.lane, pos).Swap(0))
}

// giveChunk zeroes the used words of a chunk and gives it back.
func (r *Reader) giveChunk(chunk arena.Index, used uint64) {
	t := r.table
	clear(t.chunks.Bytes(chunk)[:used*wordSize])
	t.chunks.GiveClean(chunk)
	t.uncharge(r.slot.budget.Load(), int64(t.chunks.PieceSize()))
}

func (r *Reader) publishHead() {
	l := &r.slot.lanes[r.lane]
	l.headSeq.Store(r.taken)
	l.head.Store(r.freed)
}

// HasRoom says whether a sender that found the lane full should try again: half
// of it is free, so that senders and worker do not take turns message by message;
// or all of it, whatever refused senders have charged for the moment.
func (r *Reader) HasRoom() bool {
	l := &r.slot.lanes[r.lane]
	used := (l.tail.Load() - r.freed) & posMask
	return used == 0 || used*wordSize+uint64(max(l.charged.Load(), 0)) <= uint64(l.limit.Load())*wordSize/2
}

// Queued returns how many messages were claimed and not taken, and the bytes of
// log and references that the lane holds.
func (r *Reader) Queued() (messages, bytes uint64) {
	l := &r.slot.lanes[r.lane]
	tail := l.tail.Load()
	messages = (tail>>posBits - r.taken) & seqMask
	bytes = (tail-r.freed)&posMask*wordSize + uint64(max(l.charged.Load(), 0))
	return messages, bytes
}

// Backlog returns, for any thread, how many messages of a lane were claimed and not
// freed, and the bytes of log and references that they hold.
func (s *Slot) Backlog(lane wire.Lane) (messages, bytes uint64) {
	l := &s.lanes[lane]
	head, headSeq, tail := l.head.Load(), l.headSeq.Load(), l.tail.Load()
	messages = (tail>>posBits - headSeq) & seqMask
	return messages, (tail-head)&posMask*wordSize + uint64(max(l.charged.Load(), 0))
}

// Accepted returns how many messages were ever claimed in the lane.
func (r *Reader) Accepted() uint64 {
	queued, _ := r.Queued()
	return r.taken + queued
}

// Rest gives back the chunk of a lane that is empty. A lane that rests owns no
// memory; moving the tail to the next chunk makes every claim that looked at the
// old one look again. Until the head has followed, the skipped words count as used.
func (r *Reader) Rest() (owns bool) {
	tail := &r.slot.lanes[r.lane].tail
	old := tail.Load()
	if r.freed != r.sent || (old-r.freed)&posMask != 0 {
		return true
	}
	used := r.freed & (r.table.chunkWords - 1)
	if used == 0 {
		return false
	}
	next := r.freed - used + r.table.chunkWords
	if !tail.CompareAndSwap(old, old&^posMask|next&posMask) {
		return true
	}
	chunk := r.takeChunk(r.freed)
	r.freed, r.sent = next, next
	r.publishHead()
	r.giveChunk(chunk, used)
	return false
}

// Settled says whether all that was claimed is published. Once the lane is
// closed this becomes true for good, and Drop may be called.
func (r *Reader) Settled() bool {
	tail := r.slot.lanes[r.lane].tail.Load()
	pos := r.sent
	for (tail-pos)&posMask != 0 {
		e, ok := r.Peek(pos, r.table.chunks.PieceSize())
		if !ok {
			return false
		}
		pos = e.end
	}
	return true
}

// Drop frees everything, sent or not, with all memory that the lane owns, and
// returns how many messages were never taken. The lane is closed and settled, so
// that nobody will write to that memory; the reader is of no use afterwards.
func (r *Reader) Drop(release func(Reference)) (unsent uint64) {
	taken := r.taken
	for {
		e, ok := r.Peek(r.sent, r.table.chunks.PieceSize())
		if !ok {
			break
		}
		r.Advance(e)
	}
	r.free(r.sent, release)
	if used := r.freed & (r.table.chunkWords - 1); used != 0 {
		r.giveChunk(r.takeChunk(r.freed), used)
	}
	return r.taken - taken
}
