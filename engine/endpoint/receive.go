package endpoint

import (
	"errors"
	"fmt"

	"github.com/lyquor/lyquor/engine/wire"
)

// receiver is the receiving half: what is counted, and long messages under way.
type receiver struct {
	ids        [wire.Lanes]uint64 // of the next message in each lane
	first      [wire.Lanes]uint64 // the same at the start of the run that is delivered
	assembling uint8              // set of lanes with a long message under way
	assembly   [wire.Lanes]*assembly
}

// assembly is a long message of which some fragments arrived.
type assembly struct {
	memory  Memory
	have    uint64
	channel uint16
}

// Receive takes bytes in the order in which the link gave them and returns how
// many it consumed. What it left must begin the next call, with more behind it: an
// incomplete frame, which is at most wire.HeaderSize+wire.MaxPayload bytes long,
// or everything if the receiver paused (Paused). The bytes must be aligned to 8.
// An error has already ended the endpoint.
func (e *Endpoint) Receive(now int64, b []byte) (done int, err error) {
	e.now, e.lastHeard, e.pinged = now, now, 0
	if !e.greeted {
		if len(b) < wire.PrefaceSize {
			return 0, nil
		}
		if err := e.receivePreface(b[:wire.PrefaceSize]); err != nil {
			return 0, e.protocol(err)
		}
		done = wire.PrefaceSize
	}
	for e.phase < Closed && !e.paused {
		n, err := e.receiveSome(b[done:])
		if err != nil {
			return done, e.protocol(err)
		}
		if n == 0 {
			break
		}
		done += n
	}
	e.receivedBytes += uint64(done)
	return done, nil
}

// receiveSome consumes a run of messages or one other frame; 0 if the next frame
// is incomplete, or the receiver paused.
func (e *Endpoint) receiveSome(b []byte) (int, error) {
	if len(b) < wire.HeaderSize {
		return 0, nil
	}
	if e.met && !e.heardEnd {
		if size, count := e.run(b); size > 0 {
			return e.deliverRun(b[:size], count), nil
		}
	}
	h := wire.GetHeader(b)
	if err := wire.Check(h); err != nil {
		return 0, err
	}
	size := h.FrameSize()
	if len(b) < size {
		return 0, nil
	}
	payload := b[wire.HeaderSize : wire.HeaderSize+size-wire.HeaderSize]
	if h.Kind() != wire.Start {
		payload = payload[:h.Size()]
	}
	return size, e.receiveFrame(h, payload)
}

// run measures the whole messages at the start of b, and counts them by lane.
func (e *Endpoint) run(b []byte) (size int, count [wire.Lanes]uint64) {
	for len(b)-size >= wire.HeaderSize {
		h := wire.GetHeader(b[size:])
		if !wire.PlainMsg(h) || e.receive.assembling>>h.Lane()&1 != 0 {
			break
		}
		next := size + wire.HeaderSize + wire.Padded(int(h.Size()))
		if next > len(b) {
			break
		}
		size = next
		count[h.Lane()&(wire.Lanes-1)]++
	}
	return size, count
}

func (e *Endpoint) deliverRun(b []byte, count [wire.Lanes]uint64) int {
	e.receive.first = e.receive.ids
	taken := e.config.Receiver.Run(b, &e.receive.first)
	if taken < 0 {
		e.sayWhy(OK, "")
		e.end(Gone, "the callback asked for it")
		return 0
	}
	if taken < len(b) {
		e.paused = true
		_, count = e.run(b[:taken])
	}
	for i, n := range count {
		e.receive.ids[i] += n
	}
	return taken
}

func (e *Endpoint) receivePreface(b []byte) error {
	theirs, err := wire.ParsePreface(b)
	if err != nil {
		return err
	}
	if e.version, err = wire.Negotiate(preface, theirs); err != nil {
		return err
	}
	e.greeted = true
	return nil
}

// receiveFrame takes any frame but a run of plain messages.
func (e *Endpoint) receiveFrame(h wire.Header, payload []byte) error {
	if !e.met {
		if h.Kind() != wire.KindHello {
			return fmt.Errorf("%v before HELLO", h.Kind())
		}
		return e.receiveHello(payload)
	}
	if h.Kind().Optional() {
		return nil
	}
	switch h.Kind() {
	case wire.Msg, wire.Start, wire.Frag:
		if e.heardEnd {
			return fmt.Errorf("%v after FIN", h.Kind())
		}
		return e.receiveLong(h, payload)
	case wire.KindPing:
		p, err := wire.ParsePing(payload)
		if err == nil {
			e.send.pong, e.send.pongDue = wire.Pong(p), true
		}
		return err
	case wire.KindPong:
		p, err := wire.ParsePong(payload)
		if err == nil && p.Nonce == e.pingNonce && e.pingSent != 0 {
			e.rtt = e.now - e.pingSent
			e.pingSent = 0
		}
		return err
	case wire.KindFin:
		return e.receiveFin()
	case wire.KindGoAway:
		g, err := wire.ParseGoAway(payload)
		if err == nil {
			e.goneAway(g)
		}
		return err
	}
	return fmt.Errorf("second %v", h.Kind())
}

func (e *Endpoint) receiveHello(payload []byte) error {
	hello, err := wire.ParseHello(payload)
	if err != nil {
		return err
	}
	e.peer, e.met = hello, true
	if e.phase == Opening { // else this side has said GOAWAY already
		e.phase, e.openBy = Open, 0
		e.opened(hello)
	}
	return nil
}

func (e *Endpoint) receiveFin() error {
	if e.heardEnd {
		return errors.New("second FIN")
	}
	if e.receive.assembling != 0 {
		return errors.New("FIN inside a long message")
	}
	e.heardEnd = true
	e.config.Receiver.Event(Event{Kind: EventEnded})
	return nil
}

// receiveLong takes a fragment of a long message, or the start of one.
func (e *Endpoint) receiveLong(h wire.Header, payload []byte) error {
	r, lane := &e.receive, h.Lane()
	under := r.assembling>>lane&1 != 0
	switch {
	case h.Kind() == wire.Start && !under:
		return e.startLong(h)
	case h.Kind() != wire.Frag || !under:
		return fmt.Errorf("%v in lane %v out of place", h.Kind(), lane)
	}
	a := r.assembly[lane]
	if a.have+uint64(len(payload)) > uint64(len(a.memory.Bytes)) {
		return fmt.Errorf("FRAG in lane %v beyond the %d bytes that START announced", lane, len(a.memory.Bytes))
	}
	a.have += uint64(copy(a.memory.Bytes[a.have:], payload))
	if a.have == uint64(len(a.memory.Bytes)) {
		e.finishLong(lane)
	}
	return nil
}

// errTooLong is the middle of what a peer is told whose message is too long.
var errTooLong = errors.New("bytes; at most")

func (e *Endpoint) startLong(h wire.Header) error {
	if uint64(h.Size()) > e.config.MaxMessage {
		return fmt.Errorf("message of %d %w %d are accepted", h.Size(), errTooLong, e.config.MaxMessage)
	}
	memory, ok := e.config.Receiver.Allocate(uint64(h.Size()))
	if !ok {
		e.Abort(NoMemory, fmt.Sprintf("no memory for a message of %d bytes", h.Size()))
		return nil
	}
	e.receive.assembling |= 1 << h.Lane()
	e.receive.assembly[h.Lane()] = &assembly{memory: memory, channel: h.Channel()}
	return nil
}

// finishLong hands over a long message that is whole; if the receiver pauses
// instead, Resume does it.
func (e *Endpoint) finishLong(lane wire.Lane) {
	r := &e.receive
	a := r.assembly[lane]
	if !e.config.Receiver.Long(a.memory, lane, a.channel, r.ids[lane]) {
		e.paused, e.waiting = true, a
		e.waitingLane = lane
		return
	}
	e.waiting = nil
	r.assembly[lane] = nil
	r.assembling &^= 1 << lane
	r.ids[lane]++
}

// Paused says whether the receiver took less than it was given; the owner then
// calls Receive no more until Resume.
func (e *Endpoint) Paused() bool { return e.paused }

// Pause delivers nothing more until Resume; the owner asks for it, inside Event too.
func (e *Endpoint) Pause() { e.paused = true }

// Resume delivers again. What Receive left is to be given to it once more.
func (e *Endpoint) Resume() {
	if !e.paused || e.phase == Closed {
		return
	}
	e.paused, e.afresh = false, true
	if e.waiting != nil {
		e.finishLong(e.waitingLane)
	}
}

// discardLong gives back what was assembled.
func (e *Endpoint) discardLong() {
	for lane, a := range e.receive.assembly {
		if a != nil {
			e.config.Receiver.Discard(a.memory)
			e.receive.assembly[lane] = nil
		}
	}
	e.receive.assembling, e.waiting = 0, nil
}
