package outbox

import (
	"unsafe"

	"github.com/lyquor/lyquor/engine/arena"
	"github.com/lyquor/lyquor/engine/wire"
)

// Reader is the worker's side of one lane: it finds what is published, hands it
// out in order, and frees it once it is acknowledged. Positions count words and
// never wrap here.
//
//	─ free ─┤── in flight ──┤── published ... claimed
//	      freed           sent
type Reader struct {
	table   *Table
	slot    *Slot
	begin   uint64 // nothing before it was claimed since the lane owned no memory
	freed   uint64 // the lane's head
	sent    uint64 // everything before it was taken by Advance
	taken   Count  // what lies before sent
	acked   Count  // what lies before freed
	touched uint64 // messages of which a link was ever given a byte, or their SKIP
	written uint64 // the same without those that were withdrawn untouched
	marks   marks  // between freed and sent
	lane    wire.Lane
	gone    *Gone // of the messages that these count, those that were withdrawn; nil: none
}

// Count is a number of messages from the start of the slot's life, and what they take
// of a peer's window, in bytes: those that were withdrawn take nothing.
type Count struct{ Messages, Bytes uint64 }

// Charge returns what a message counts in flow control, in bytes: a header and its
// padded payload, however it is cut into frames.
func Charge(payload int) uint64 { return words(payload) * wordSize }

// Open begins at the start of a slot's life.
func (r *Reader) Open(t *Table, s *Slot, lane wire.Lane) {
	start := t.colour(s)
	*r = Reader{table: t, slot: s, lane: lane, begin: start, freed: start, sent: start}
}

// Entry is what a reader hands out at once: a run of whole frames that lies together
// and can be sent as it is, or one message by reference, or the place of messages that
// were withdrawn.
type Entry struct {
	Run       []byte // frames; nil for a reference
	Payload   []byte // a reference's bytes
	Channel   uint16 // of a reference
	Withdrawn bool   // it stands for messages that are never sent
	timed     bool   // its first message has a deadline
	messages  int32
	start     uint64 // position of its first frame
	end       uint64 // position behind it, and behind padding that follows
}

// Sent returns the position up to which Advance has taken entries.
func (r *Reader) Sent() uint64 { return r.sent }

// Taken returns what Advance has taken, Acked what was acknowledged of it.
func (r *Reader) Taken() Count { return r.taken }

// Acked returns what was acknowledged: it is freed.
func (r *Reader) Acked() Count { return r.acked }

// Touched returns how many messages a link was ever given a byte of.
func (r *Reader) Touched() uint64 { return r.touched }

// Written is Touched without what was withdrawn before a link was given any of it. It
// never falls.
func (r *Reader) Written() uint64 { return r.written }

// touch notes that a link was given all messages below end, of which those below begin
// were taken before, or a part of the last.
func (r *Reader) touch(begin, end uint64) {
	if end > r.touched {
		r.written += end - max(r.touched, begin)
		r.touched = end
		if r.gone != nil {
			r.gone.Touched = r.gone.Taken
		}
	}
}

// Touch notes that a link was given a part of the message behind what was taken.
func (r *Reader) Touch() {
	if at, h, _ := r.look(r.sent); h.Kind() == kindTimed {
		r.keep(at)
	}
	r.touch(r.taken.Messages, r.taken.Messages+1)
}

// Maybe returns how many messages a link was ever given a byte of that are not
// acknowledged.
func (r *Reader) Maybe() uint64 {
	gone := r.Gone()
	touched, acked := r.touched-gone.Touched, r.acked.Messages-gone.Acked
	return touched - min(acked, touched)
}

// End returns the position behind an entry.
func (e *Entry) End() uint64 { return e.end }

// Messages returns how many messages an entry holds.
func (e *Entry) Messages() int { return int(e.messages) }

// Peek returns the entry at position from, which is Sent or the End of the entry
// before; ok is false if nothing is published there. A run ends with the frame
// that reaches most bytes, so it holds one frame at least.
func (r *Reader) Peek(from uint64, most int) (e Entry, ok bool) {
	at, h, from := r.look(from)
	switch h.Kind() {
	case wire.Msg:
		return r.run(from, at, most), true
	case 0:
		return Entry{}, false
	case kindWithdrawn:
		return r.gap(from), true
	case kindTimed:
		e = r.message(from+timedWords, unsafe.Add(at, timedWords*wordSize), most)
		e.timed = true
		return e, true
	}
	return r.message(from, at, most), true
}

// look returns the first word, its address and its position, from position from on that
// is no padding; 0 if nothing is published there.
func (r *Reader) look(from uint64) (at unsafe.Pointer, h wire.Header, pos uint64) {
	for {
		chunk := r.table.chunkAt(r.slot, r.lane, from)
		if chunk == 0 {
			return nil, 0, from
		}
		at = r.table.word(chunk, from)
		if h = published(at); h.Kind() != kindPad {
			return at, h, from
		}
		from += words(int(h.Size()))
	}
}

// message returns the entry of the message at a position and its address.
func (r *Reader) message(pos uint64, at unsafe.Pointer, most int) Entry {
	h := published(at)
	if h.Kind() != kindRef {
		return r.run(pos, at, most)
	}
	payload := r.table.Payload(*(*Reference)(unsafe.Add(at, wordSize)))
	end := r.behind(pos + words(refPayload))
	return Entry{Payload: payload, Channel: h.Channel(), messages: 1, start: pos, end: end}
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
	return Entry{Run: run, messages: int32(messages), start: from, end: r.behind(from + size/wordSize)}
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
	if e.timed {
		r.keep(r.deadlineOf(&e))
	}
	begin := r.taken.Messages
	if r.pass(&e); e.Withdrawn {
		begin = r.taken.Messages
	}
	r.touch(begin, r.taken.Messages)
	r.marks.push(r.freed, mark{r.sent, r.taken, r.Gone().Taken, e.Run == nil && !e.Withdrawn})
}

// pass moves sent behind an entry.
func (r *Reader) pass(e *Entry) {
	r.sent = e.end
	r.taken.Messages += uint64(e.messages)
	r.taken.Bytes += e.Charge()
	if e.Withdrawn {
		r.gone.Taken += uint64(e.messages)
	}
}

// Charge returns what an entry's messages count in flow control, in bytes.
func (e *Entry) Charge() uint64 {
	if e.Run == nil && !e.Withdrawn {
		return Charge(len(e.Payload))
	}
	return uint64(len(e.Run)) // of what was withdrawn, nothing
}

// AdvancePart takes the frames that the first n bytes of a run, at least one, cover wholly,
// and returns how many bytes of the next frame they cover too.
func (r *Reader) AdvancePart(e Entry, n int) (rest int) {
	if e.timed {
		r.keep(r.deadlineOf(&e))
	}
	done, before := 0, r.taken.Messages
	for done < n {
		size := wire.GetHeader(e.Run[done:]).FrameSize()
		if done+size > n {
			break
		}
		done += size
		r.taken.Messages++
	}
	r.taken.Bytes += uint64(done)
	r.touch(before, r.taken.Messages)
	r.sent = e.start + uint64(done)/wordSize
	if done == len(e.Run) {
		r.sent = e.end
	}
	r.marks.push(r.freed, mark{r.sent, r.taken, r.Gone().Taken, false})
	return n - done
}

// Acknowledge frees the messages below number messages. It returns false, and frees
// nothing, if so many were never taken. release is called with each reference passed.
func (r *Reader) Acknowledge(messages uint64, release func(Reference)) bool {
	if messages > r.taken.Messages {
		return false
	}
	if messages > r.acked.Messages {
		r.free(messages, release)
		r.publishHead()
	}
	return true
}

// Rewind goes back to what was acknowledged, and forward again to message number
// messages: that is what is taken next. It returns false if that was freed, or if no
// link was given a part of the one before it, unless all before it were withdrawn.
func (r *Reader) Rewind(messages uint64) bool {
	if messages < r.acked.Messages || messages > max(r.touched, r.acked.Messages) {
		return false
	}
	r.sent, r.taken = r.freed, r.acked
	if r.gone != nil {
		r.gone.Taken = r.gone.Acked
	}
	r.skipTo(messages)
	r.remark()
	return true
}

// remark has all that was taken be walked when it is freed.
func (r *Reader) remark() {
	r.marks.clear()
	r.marks.push(r.freed, mark{r.sent, r.taken, r.Gone().Taken, true})
}

// skipTo takes what is published up to message number messages.
func (r *Reader) skipTo(messages uint64) {
	for r.taken.Messages < messages {
		at := r.table.wordAt(r.slot, r.lane, r.sent)
		h, size := step(at, &r.taken)
		if h.Kind() == kindWithdrawn {
			r.gone.Taken++
		}
		r.sent = r.behind(r.sent + size)
	}
}

// Message returns message number n, if it is not acknowledged and was published. Of one
// that was withdrawn it returns the gap from there on.
func (r *Reader) Message(n uint64) (e Entry, ok bool) {
	pos, count := r.freed, r.acked
	for n > count.Messages {
		at, h, from := r.look(pos)
		if h == 0 {
			return Entry{}, false
		}
		_, size := step(at, &count)
		pos = from + size
	}
	if n < count.Messages {
		return Entry{}, false
	}
	return r.Peek(pos, 1)
}

// Withdraw frees the first n messages, which are published and not acknowledged, sent or
// not, as if they were acknowledged. Before they count as such it is noted that they were
// not, for threads that wait for that.
func (r *Reader) Withdraw(n uint64, release func(Reference)) {
	if n == 0 {
		return
	}
	r.noteCut()
	r.skipTo(r.acked.Messages + n)
	r.remark()
	r.Acknowledge(r.acked.Messages+n, release)
}

// noteCut says that what is not acknowledged now is withdrawn, from the first on.
func (r *Reader) noteCut() {
	cut := &r.slot.lanes[r.lane].cut
	cut.Store((cut.Load()>>CutShift+1)<<CutShift | r.acked.Messages&(1<<CutShift-1))
}

// step adds what the entry at an address holds to a count. It returns its header, and
// how many words of the log it takes.
func step(at unsafe.Pointer, count *Count) (h wire.Header, size uint64) {
	h = published(at)
	switch h.Kind() {
	case kindPad, kindTimed:
		return h, words(int(h.Size()))
	case kindWithdrawn:
		count.Messages++
		return h, words(int(h.Size()))
	case kindRef:
		count.Messages++
		count.Bytes += Charge(int((*Reference)(unsafe.Add(at, wordSize)).Size))
		return h, words(refPayload)
	}
	size = words(int(h.Size()))
	count.Messages++
	count.Bytes += size * wordSize
	return h, size
}

// free moves freed behind message number messages and the padding there: from mark to
// mark, and where there is none, from entry to entry.
func (r *Reader) free(messages uint64, release func(Reference)) {
	for r.freed < r.sent {
		k := r.marks.front()
		switch {
		case k != nil && k.pos <= r.freed:
			r.marks.pop()
		case k != nil && !k.refs && k.count.Messages <= messages:
			r.acked = k.count
			if r.gone != nil {
				r.gone.Acked = k.gone
			}
			r.leave(k.pos)
			r.marks.pop()
		default:
			at := r.table.wordAt(r.slot, r.lane, r.freed)
			if r.acked.Messages == messages && published(at).Kind() != kindPad {
				return
			}
			r.freeEntry(at, release)
		}
	}
}

func (r *Reader) freeEntry(at unsafe.Pointer, release func(Reference)) {
	h, size := step(at, &r.acked)
	switch h.Kind() {
	case kindRef:
		r.unrefer(at, release)
	case kindWithdrawn:
		r.gone.Acked++
	}
	r.leave(r.freed + size)
}

// unrefer gives back what the reference at an address stands for.
func (r *Reader) unrefer(at unsafe.Pointer, release func(Reference)) {
	ref := *(*Reference)(unsafe.Add(at, wordSize))
	r.slot.lanes[r.lane].charged.Add(-int64(ref.Size))
	r.table.uncharge(r.slot.budget.Load(), r.table.takes(&ref))
	release(ref)
}

// leave moves freed, and gives back the chunks that it leaves.
func (r *Reader) leave(pos uint64) {
	t := r.table
	for r.freed < pos {
		stop := min(pos, (r.freed|(t.chunkWords-1))+1)
		if stop&(t.chunkWords-1) == 0 {
			r.giveChunk(r.takeChunk(stop-1), stop)
		}
		r.freed = stop
	}
}

// takeChunk empties the place of the chunk that holds position pos. That comes
// before the head moves on, because a producer that sees the new head relies on it.
func (r *Reader) takeChunk(pos uint64) arena.Index {
	return arena.Index(r.table.place(r.slot, r.lane, pos).Swap(0))
}

// giveChunk gives back a chunk that the lane has used up to position end, zeroed.
func (r *Reader) giveChunk(chunk arena.Index, end uint64) {
	t := r.table
	start := (end - 1) &^ (t.chunkWords - 1)
	from := max(r.begin, start) - start
	clear(t.chunks.Bytes(chunk)[from*wordSize : (end-start)*wordSize])
	t.chunks.GiveClean(chunk)
	t.uncharge(r.slot.budget.Load(), int64(t.chunks.PieceSize()))
}

func (r *Reader) publishHead() {
	l := &r.slot.lanes[r.lane]
	r.follow(l)
	l.headSeq.Store(r.acked.Messages)
	l.head.Store(r.freed)
}

// roomMost is how much becomes free of a lane, in bytes, before refused senders are told:
// enough for them and the worker not to take turns message by message.
const roomMost = 1 << 20

// HasRoom says whether a sender that found the lane full should try again: the smallest
// message that was refused fits, and half of the lane is free, or roomMost beside that
// message, for half of a large lane would be missing on a distant link; or all of it is
// free, whatever refused senders have charged for the moment.
func (r *Reader) HasRoom() bool {
	l := &r.slot.lanes[r.lane]
	used := (l.tail.Load() - r.freed) & posMask
	return used == 0 || l.roomy(used*wordSize+uint64(max(l.charged.Load(), 0)))
}

// Full says, for any thread, whether a sender that found the lane full would be told to
// wait.
func (s *Slot) Full(lane wire.Lane) bool {
	_, bytes := s.Backlog(lane)
	return !s.lanes[lane].roomy(bytes)
}

// Wish returns, for any thread, the size of the smallest message in bytes that waits for
// room in a lane, while a bit of Slot.Want says that one does.
func (s *Slot) Wish(lane wire.Lane) uint32 { return s.lanes[lane].asked.Load() }

// roomy says whether a lane that holds so many bytes has room that senders are told of.
func (l *lane) roomy(bytes uint64) bool {
	limit, more := uint64(l.limit.Load())*wordSize, most(l.asked.Load())
	return bytes+more <= limit && (bytes <= limit/2 || bytes+more+roomMost <= limit)
}

// most returns the most that a message of size bytes can take of a lane's limit: with its
// deadline, and the padding before it where a chunk ends.
func most(size uint32) uint64 {
	referred := uint64(0)
	if size > MaxInline {
		referred, size = uint64(size), uint32(refPayload)
	}
	return referred + 2*(words(int(size))+timedWords)*wordSize
}

// Queued returns how many messages were claimed and not taken, and the bytes of
// log and references that the lane holds.
func (r *Reader) Queued() (messages, bytes uint64) {
	l := &r.slot.lanes[r.lane]
	tail := l.tail.Load()
	messages = (tail>>posBits - r.taken.Messages) & seqMask
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
	return r.taken.Messages + queued
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

// Drop frees everything, sent or not, with all memory that the lane owns, and returns
// how many messages were never taken. The lane is closed and settled, so that nobody
// will write to that memory; of the reader only the counts are of use afterwards.
func (r *Reader) Drop(release func(Reference)) (untaken uint64) {
	accepted, taken := r.Accepted(), r.taken
	for {
		e, ok := r.Peek(r.sent, r.table.chunks.PieceSize())
		if !ok {
			break
		}
		r.sent = e.end
	}
	acked, gone := r.acked, r.Gone()
	r.free(accepted, release)
	if chunk := r.takeChunk(r.freed); chunk != 0 {
		r.giveChunk(chunk, r.freed)
	}
	r.shrink()
	if r.taken, r.acked = taken, acked; r.gone != nil {
		*r.gone = gone
	}
	return accepted - taken.Messages
}
