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
	frames []byte // the rest of a run
	long   endpoint.Memory
	lane   wire.Lane // of the long one
	epoch  uint32
}

// gave notes a run that the sink queued: its block stays until the worker has seen that
// all of it is released.
func (e *Endpoint) gave(g given) {
	if g.frames != nil {
		t := e.driver.table
		t.RefBlock(t.Blocks().Of(unsafe.Pointer(&g.frames[0])), 1)
	} else {
		e.driver.options.Memory.Retain(g.long)
	}
	if len(e.given) == cap(e.given) && e.givenAt > 0 {
		n := copy(e.given, e.given[e.givenAt:])
		e.given, e.givenAt = e.given[:n], 0
	}
	e.given = append(e.given, g)
}

// reckon tells the core of what the program has released, and asks to be told of more.
func (e *Endpoint) reckon(now int64) {
	if e.debts != nil {
		e.collect(now)
		return
	}
	for e.givenAt < len(e.given) {
		g := &e.given[e.givenAt]
		if !e.released(now, g) {
			if e.core.AckPending() || e.slot.Awaited.Swap(1) != 0 {
				return // looks again when the acknowledgement goes out, or when it is told to
			}
			if !e.released(now, g) {
				return
			}
			e.slot.Awaited.Store(0)
		}
		e.forget(g)
		e.givenAt++
	}
	e.given, e.givenAt = e.given[:0], 0
}

// released counts what is released at the front, and says whether that is all of it.
func (e *Endpoint) released(now int64, g *given) bool {
	if g.frames == nil {
		word := unsafe.Add(unsafe.Pointer(&g.long.Bytes[0]), -wire.HeaderSize)
		if (*atomic.Uint64)(word).Load()&ReleasedBit == 0 {
			return false
		}
		e.core.Consumed(now, g.epoch, g.lane, outbox.Count{Messages: 1, Bytes: outbox.Charge(len(g.long.Bytes))})
		return true
	}
	var count [wire.Lanes]outbox.Count
	rest := g.frames
	for len(rest) > 0 {
		h := wire.Header((*atomic.Uint64)(unsafe.Pointer(&rest[0])).Load())
		if h&ReleasedBit == 0 {
			break
		}
		size := wire.HeaderSize + wire.Padded(int(h.Size()))
		count[h.Lane()].Messages++
		count[h.Lane()].Bytes += uint64(size)
		rest = rest[size:]
	}
	for lane, n := range count {
		if n.Messages > 0 {
			e.core.Consumed(now, g.epoch, wire.Lane(lane), n)
		}
	}
	if len(rest) > 0 {
		// The block is found by the start of what is left of it.
		g.frames = rest
		return false
	}
	return true
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
	for i := range e.given[e.givenAt:] {
		e.forget(&e.given[e.givenAt+i])
	}
	e.given, e.givenAt = nil, 0
}
