package endpoint

import (
	"github.com/lyquor/lyquor/engine/outbox"
	"github.com/lyquor/lyquor/engine/wire"
)

// held is something that keeps its place behind messages which the program has not
// taken yet. What comes from the link is read all the same: an acknowledgement may
// stand behind it, and the peer's credit bounds how much there can be.
type held struct {
	what   heldKind
	lane   wire.Lane
	frames []byte             // of a run
	first  [wire.Lanes]uint64 // of a run: each lane's first message; of a long one: its own, at 0
	long   *assembly
	event  Event
	goAway wire.GoAway
	epoch  uint32 // in which it arrived
	code   Code   // of the link's end
	text   string
}

type heldKind uint8

const (
	heldRun heldKind = iota
	heldLong
	heldEvent
	heldGoAway
	heldEnd
)

// holding says that what arrives now has to wait.
func (e *Endpoint) holding() bool { return e.paused || len(e.receive.backlog) != 0 }

// hold puts something behind what waits already.
func (e *Endpoint) hold(h held) {
	if h.what == heldRun {
		h.frames = e.config.Receiver.Hold(h.frames)
	}
	h.epoch = e.epoch
	e.receive.backlog = append(e.receive.backlog, h)
}

// inOrder does something now, or when all that waits is done.
func (e *Endpoint) inOrder(h held) {
	h.epoch = e.epoch
	if e.holding() || !e.carryOut(&h) {
		e.hold(h)
	}
}

// carryOut does what was held. It returns false if the receiver did not take it, or
// not all of it: the rest stays.
func (e *Endpoint) carryOut(h *held) bool {
	e.behind = e.epoch - h.epoch
	defer func() { e.behind = 0 }()
	switch h.what {
	case heldRun:
		_, count := run(h.frames, 0)
		taken := e.deliverRun(h.frames, &h.first, &count)
		e.config.Receiver.Unhold(h.frames[:taken])
		h.frames = h.frames[taken:]
		return len(h.frames) == 0
	case heldLong:
		if !e.config.Receiver.Long(h.long.memory, h.lane, h.long.channel, h.first[0]) {
			e.paused = true
			return false
		}
		e.took(h.lane, outbox.Count{Messages: 1, Bytes: outbox.Charge(len(h.long.memory.Bytes))})
	case heldEvent:
		e.config.Receiver.Event(h.event)
	case heldGoAway:
		e.goneAway(h.goAway)
	case heldEnd:
		e.end(h.code, h.text)
	}
	return true
}

// Paused says whether the receiver took less than it was given: nothing is delivered
// until Resume.
func (e *Endpoint) Paused() bool { return e.paused }

// Pause delivers nothing more until Resume; the owner asks for it, inside Event too.
func (e *Endpoint) Pause() { e.paused = true }

// Resume delivers again, what was held first.
func (e *Endpoint) Resume(now int64) {
	if !e.paused || e.phase == Closed {
		return
	}
	e.now, e.paused = now, false
	list, done := e.receive.backlog, 0
	e.receive.backlog = nil
	defer func() { e.receive.backlog = append(e.receive.backlog, list[done:]...) }() // also if the receiver panics
	for done < len(list) && e.phase < Closed && !e.paused && e.carryOut(&list[done]) {
		done++
	}
}

// TellRestarts tells the receiver of restarts of the peer that it was not told of before the
// endpoint ended, because it had paused: their accounts, and lists, are in no other event.
func (e *Endpoint) TellRestarts() {
	for i := range e.receive.backlog {
		if h := &e.receive.backlog[i]; h.what == heldEvent && h.event.Kind == EventRestarted {
			event := h.event
			h.event = Event{}
			e.config.Receiver.Event(event)
		}
	}
}

// discard gives back the memory of something that nobody will take.
func (e *Endpoint) discard(h *held) {
	switch h.what {
	case heldRun:
		e.config.Receiver.Unhold(h.frames)
	case heldLong:
		e.config.Receiver.Discard(h.long.memory)
	case heldEvent:
		h.event.Remains.Drop()
	}
}

// discardAll gives back what is held, and what was assembled.
func (e *Endpoint) discardAll() {
	for i := range e.receive.backlog {
		e.discard(&e.receive.backlog[i])
	}
	e.receive.backlog = nil
	e.discardLong()
}

// discardLong gives back what was assembled.
func (e *Endpoint) discardLong() {
	for i := range e.receive.lanes {
		if a := e.receive.lanes[i].assembly; a != nil {
			e.config.Receiver.Discard(a.memory)
			e.receive.lanes[i].assembly = nil
		}
	}
	e.receive.assembling, e.resumed = 0, 0
}
