package outbox

import (
	"unsafe"

	"github.com/lyquor/lyquor/engine/wire"
)

// A message with a time to live has a deadline before it in the log. Once a link was
// given a byte of the message the deadline is padding; if its time is over before that,
// deadline and message become one entry that holds nothing, and keeps the message's
// place until the peer has counted it. A run ends before a deadline; so messages that
// have none cost nothing.

// deadline reads the word of a kindTimed.
func deadline(p unsafe.Pointer) int64 { return *(*int64)(unsafe.Add(p, wordSize)) }

// Gone counts messages that were withdrawn because their time was over.
type Gone struct {
	Total    uint64
	Taken    uint64 // of what lies before Sent
	Acked    uint64 // of what was acknowledged
	Touched  uint64 // of what Touched counts
	Reported uint64 // of what was acknowledged when Report was called last
}

// Gone returns how many messages were withdrawn.
func (r *Reader) Gone() Gone {
	if r.gone == nil {
		return Gone{}
	}
	return *r.gone
}

// Report begins the count for another report.
func (r *Reader) Report() {
	if r.gone != nil {
		r.gone.Reported = r.gone.Acked
	}
}

// Due says that the time of an entry's first message is over: see Expire.
func (r *Reader) Due(e *Entry, now int64) bool { return e.timed && deadline(r.deadlineOf(e)) <= now }

// gap returns the entry for what was withdrawn from a position on.
func (r *Reader) gap(pos uint64) Entry {
	e := Entry{Withdrawn: true, start: pos, end: pos}
	for {
		_, h, pos := r.look(e.end)
		if h.Kind() != kindWithdrawn {
			return e
		}
		e.messages++
		e.end = r.behind(pos + words(int(h.Size())))
	}
}

// keep makes a deadline padding: a link was given a byte of the message behind it.
func (r *Reader) keep(at unsafe.Pointer) { publish(at, wire.MakeHeader(wordSize, kindPad, r.lane, 0)) }

// deadlineOf returns the address of the deadline before an entry that has one.
func (r *Reader) deadlineOf(e *Entry) unsafe.Pointer {
	return r.table.wordAt(r.slot, r.lane, e.start-timedWords)
}

// Expire withdraws the messages from position from on, which is as in Peek, whose time
// is over at now, up to the first for which that is not so. Their places remain, for
// the peer is to count them; release is called with what they referred to.
func (r *Reader) Expire(from uint64, now int64, release func(Reference)) {
	for {
		at, h, pos := r.look(from)
		if h.Kind() != kindTimed || deadline(at) > now {
			return
		}
		from = pos + r.expire(at, release)
	}
}

// expire withdraws the message behind the deadline at an address, and returns how many
// words it keeps.
func (r *Reader) expire(at unsafe.Pointer, release func(Reference)) uint64 {
	message := unsafe.Add(at, timedWords*wordSize)
	_, size := step(message, &Count{})
	if published(message).Kind() == kindRef {
		r.unrefer(message, release)
	}
	size += timedWords
	publish(at, wire.MakeHeader(uint32(size-1)*wordSize, kindWithdrawn, r.lane, 0))
	if r.gone == nil {
		r.gone = new(Gone)
	}
	r.gone.Total++
	return size
}

// Sweep withdraws all that was never taken and whose time is over at now, and frees it
// where nothing in flight lies before it: no link is there, and a peer that comes is told
// how many it misses. It returns when the next one is due, or 0.
func (r *Reader) Sweep(now int64, release func(Reference)) (next int64) {
	for from := r.sent; ; {
		at, h, pos := r.look(from)
		switch {
		case h == 0:
			r.freeGaps(release)
			return next
		case h.Kind() == kindTimed && deadline(at) <= now:
			r.expire(at, release) // its place is stepped over like a message
		case h.Kind() == kindTimed && (next == 0 || deadline(at) < next):
			next = deadline(at)
		}
		_, size := step(at, &Count{})
		from = pos + size
	}
}

// freeGaps frees what was withdrawn before everything else.
func (r *Reader) freeGaps(release func(Reference)) {
	for r.freed == r.sent {
		e, ok := r.Peek(r.sent, 1)
		if !ok || !e.Withdrawn {
			return
		}
		r.Advance(e)
		r.Acknowledge(r.taken.Messages, release)
	}
}
