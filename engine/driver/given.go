package driver

import (
	"sync/atomic"
	"unsafe"

	"github.com/lyquor/lyquor/engine/endpoint"
	"github.com/lyquor/lyquor/engine/outbox"
	"github.com/lyquor/lyquor/engine/wire"
)

// ReleasedBit marks a message as released, in the 8 bytes before its data: in the header
// of its frame, or in the last word before the memory of a long one. It is the top bit
// of a header's kind. The program's threads set it in any order; the worker tells the
// peer of what is released without a gap.
const ReleasedBit = 1 << 39

// given is a run, or a long message, that lies in an inbox or with the program.
type given struct {
	frames []byte
	long   endpoint.Memory
	lane   wire.Lane // of the long one
	epoch  uint32
}

// loans is what the sink queued, in the order in which it came. Each lane has a place up to
// which all of the lane's is released: what the program keeps of one lane holds up no other.
// An entry is forgotten when all of them have passed it.
type loans struct {
	list  []given
	at    int // the first that is not forgotten
	lanes [wire.Lanes]place
}

// place is where a lane goes on: that many bytes into an entry.
type place struct{ at, offset int }

// gave notes a run or a message that the sink queued: its memory stays until the worker has
// seen that all of it is released.
func (e *Endpoint) gave(g given) {
	if g.frames != nil {
		t := e.driver.table
		t.RefBlock(t.Blocks().Of(unsafe.Pointer(&g.frames[0])), 1)
	} else {
		e.driver.options.Memory.Retain(g.long)
	}
	if e.given == nil {
		e.given = new(loans)
	}
	e.given.add(g)
}

func (l *loans) add(g given) {
	if len(l.list) == cap(l.list) && l.at > 0 {
		l.list = l.list[:copy(l.list, l.list[l.at:])]
		for i := range l.lanes {
			l.lanes[i].at -= l.at
		}
		l.at = 0
	}
	l.list = append(l.list, g)
}

// reckon tells the core of what the program has released, and asks to be told of more.
func (e *Endpoint) reckon(now int64) {
	if e.debts != nil {
		e.collect(now)
		return
	}
	if e.given == nil {
		return
	}
	held := e.slot.Held.Load() // first: what is released from here on counts as awaited
	if !e.lends(now) {
		return
	}
	await := uint32(outbox.AwaitAny)
	if e.acknowledges() {
		bytes, ok := e.untilAck()
		if !ok {
			return // it looks again when the acknowledgement goes out
		}
		await = outbox.AwaitRelease(held, bytes)
	}
	if e.slot.Awaited.Swap(await) == await {
		return
	}
	e.slot.Held.Load() // after it, what a thread marked that has not seen Awaited is seen
	if !e.lends(now) {
		e.slot.Awaited.Store(0)
	}
}

// untilAck returns how much has to be released at least before an ACK is due that is put
// off; false if none will be for that.
func (e *Endpoint) untilAck() (bytes uint64, ok bool) {
	for i := range wire.Lane(wire.Lanes) {
		if lacks, due := e.core.UntilAck(i); due && (!ok || lacks < bytes) {
			bytes, ok = lacks, true
		}
	}
	// A little less, because what is held of a message is less than what it counts.
	return bytes - bytes/8, ok
}

// acknowledges says that an acknowledgement will go out, upon which the endpoint has its
// turn anyway. Without a link it goes nowhere.
func (e *Endpoint) acknowledges() bool { return e.link != nil && e.core.AckPending() }

// lends counts what is released, and says whether the program has more.
func (e *Endpoint) lends(now int64) bool {
	l := e.given
	if len(l.list) == 0 {
		return false
	}
	passed := len(l.list)
	for i := range l.lanes {
		lane := wire.Lane(i)
		if p := &l.lanes[lane]; e.core.Heard(lane) {
			for p.at < len(l.list) && e.released(now, &l.list[p.at], lane, &p.offset) {
				*p = place{at: p.at + 1}
			}
			passed = min(passed, p.at)
		}
	}
	for ; l.at < passed; l.at++ {
		e.forget(&l.list[l.at])
	}
	if l.at == len(l.list) {
		*l = loans{list: l.list[:0]}
		return false
	}
	for i := range l.lanes {
		if p := &l.lanes[i]; p.at < l.at { // it has had nothing yet
			*p = place{at: l.at}
		}
	}
	return true
}

// released counts what is released of a lane from an offset on, which it moves, and says
// whether that is all that there is of it.
func (e *Endpoint) released(now int64, g *given, lane wire.Lane, offset *int) bool {
	if g.frames == nil {
		if g.lane != lane {
			return true
		}
		word := unsafe.Add(unsafe.Pointer(&g.long.Bytes[0]), -wire.HeaderSize)
		if (*atomic.Uint64)(word).Load()&ReleasedBit == 0 {
			return false
		}
		e.core.Consumed(now, g.epoch, lane, outbox.Count{Messages: 1, Bytes: outbox.Charge(len(g.long.Bytes))})
		return true
	}
	var n outbox.Count
	at := *offset
	for at < len(g.frames) {
		h := wire.Header((*atomic.Uint64)(unsafe.Pointer(&g.frames[at])).Load())
		size := wire.HeaderSize + wire.Padded(int(h.Size()))
		if h.Lane() == lane {
			if h&ReleasedBit == 0 {
				break
			}
			n.Messages++
			n.Bytes += uint64(size)
		}
		at += size
	}
	*offset = at
	if n.Messages > 0 {
		e.core.Consumed(now, g.epoch, lane, n)
	}
	return at == len(g.frames)
}

// forget ends the worker's interest in what was given.
func (e *Endpoint) forget(g *given) {
	if g.frames == nil {
		e.driver.options.Memory.Discard(g.long)
		return
	}
	t := e.driver.table
	t.UnrefBlock(t.Blocks().Of(unsafe.Pointer(&g.frames[0])), 1)
}

// forgetAll is for an endpoint that is over.
func (e *Endpoint) forgetAll() {
	if l := e.given; l != nil {
		for i := range l.list[l.at:] {
			e.forget(&l.list[l.at+i])
		}
		e.given = nil
	}
}
