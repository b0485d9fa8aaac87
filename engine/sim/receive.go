package sim

import (
	"slices"

	"github.com/lyquor/lyquor/engine/endpoint"
	"github.com/lyquor/lyquor/engine/wire"
)

// receiver is the endpoint as its protocol sees it.
type receiver Endpoint

// Run hands frames to the handler, one message at a time.
func (r *receiver) Run(frames []byte, first *[wire.Lanes]uint64) (done int) {
	e, ids := (*Endpoint)(r), *first
	for done < len(frames) {
		h := wire.GetHeader(frames[done:])
		m := Message{Lane: h.Lane(), Channel: h.Channel(), ID: ids[h.Lane()]}
		m.Data = frames[done+wire.HeaderSize:][:h.Size():h.Size()]
		if !e.take(m) {
			break
		}
		ids[h.Lane()]++
		done += h.FrameSize()
	}
	return done
}

// Long hands over an assembled message.
func (r *receiver) Long(m endpoint.Memory, lane wire.Lane, channel uint16, id uint64) bool {
	e := (*Endpoint)(r)
	if !e.take(Message{Lane: lane, Channel: channel, ID: id, Data: m.Bytes}) {
		return false
	}
	e.book.assembled -= len(m.Bytes)
	return true
}

// Hold notes that the protocol keeps what it was given.
func (r *receiver) Hold(frames []byte) []byte {
	r.holds++
	r.held += len(frames)
	return frames
}

// Unhold ends that for a part.
func (r *receiver) Unhold(frames []byte) { r.held -= len(frames) }

// Allocate returns memory for a long message.
func (r *receiver) Allocate(size uint64) (endpoint.Memory, bool) {
	r.book.assembled += int(size)
	return endpoint.Memory{Bytes: make([]byte, size)}, true
}

// Discard takes memory back.
func (r *receiver) Discard(m endpoint.Memory) { r.book.assembled -= len(m.Bytes) }

// Event hands an event to the handler.
func (r *receiver) Event(ev endpoint.Event) {
	e := (*Endpoint)(r)
	w := e.node.world
	told := Event{Kind: ev.Kind, Code: ev.Code, Lane: ev.Lane}
	switch ev.Kind {
	case endpoint.EventUp:
		e.up, e.backoff, e.downAt = true, 0, 0
		if !e.switching {
			e.former = ""
		}
		e.closePast()
		if e.end != nil {
			e.book.meets(e, e.end.peer().owner)
		}
	case endpoint.EventDown:
		e.downAt = e.node.now()
	case endpoint.EventRestarted:
		d, err := wire.ParseRestartedDetail(ev.Detail)
		w.check(err == nil, "%v: the detail of RESTARTED: %v", e, err)
		told.Lanes = d.Lanes
		w.counts.Restarts++
		e.book.restarted(e, &d.Lanes, ev.Remains)
	}
	told.Unacked = slices.Collect(ev.Remains.All())
	e.tell(told)
	ev.Remains.Drop()
}

// take hands a message to the handler, once the books have been looked at.
func (e *Endpoint) take(m Message) bool {
	w := e.node.world
	if w.failure != nil {
		return true // the run is over; nothing that follows means anything
	}
	// What comes before RESTARTED is told is of the former epoch, also if it was held.
	m.epoch, m.size = uint32(e.book.told), len(m.Data)
	if !e.book.expects(e, &m) {
		return true
	}
	if e.handler.Inbox == nil && (e.dawdles() || e.handler.Message != nil && !e.handler.Message(e, m)) {
		return false
	}
	w.note(noteMessage, uint64(e.node.index), uint64(m.Lane), m.ID, uint64(m.Channel))
	w.counts.Delivered++
	w.counts.Bytes += uint64(len(m.Data))
	e.book.delivered(e, &m)
	if e.handler.Inbox != nil {
		e.give(m)
	}
	return true
}

// tell hands an event to the handler.
func (e *Endpoint) tell(ev Event) {
	w := e.node.world
	e.book.witness(e, &ev)
	w.note(noteEvent, uint64(e.node.index), uint64(ev.Kind))
	w.tell("%v: %v", e, ev)
	e.hear(ev)
}

// tellClosed delivers the account, the last event. An endpoint that never was up and
// that nobody dialled is nobody's.
func (e *Endpoint) tellClosed() {
	e.core.TellRestarts()
	code, text := e.core.Reason()
	ev := Event{Kind: endpoint.EventClosed, Code: code, Text: text}
	for i := range ev.Lanes {
		ev.Lanes[i] = e.core.Lane(wire.Lane(i)).LaneAccount
	}
	e.node.world.counts.Closed++
	remains := e.core.Remains()
	ev.Unacked = slices.Collect(remains.All())
	e.tell(ev)
	remains.Drop()
}
