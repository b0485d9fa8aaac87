package endpoint

import (
	"errors"
	"fmt"

	"github.com/lyquor/lyquor/engine/outbox"
	"github.com/lyquor/lyquor/engine/wire"
)

// receiver is the receiving half: what is counted, long messages under way, and what
// arrived while the program takes nothing.
type receiver struct {
	lanes      [wire.Lanes]intake
	assembling lanes // with a long message under way
	heard      lanes // in which the peer ever sent something
	backlog    []held
	stale      uint64             // bytes of peers that have restarted since which are not consumed
	first      [wire.Lanes]uint64 // of the run that is delivered: a local one would be allocated
}

// intake is the receiving half of one lane.
type intake struct {
	next     uint64       // number of the next message
	got      uint64       // messages received whole, of all the peers that there were
	before   uint64       // of these, those of peers that have restarted since
	bytes    uint64       // charged by what was received or begun
	consumed outbox.Count // what the peer may forget
	assembly *assembly    // of message next; nil: none is under way
	skips    []skip       // that are not consumed yet
}

// skip is a gap in the numbers: the peer withdrew the messages from at on.
type skip struct{ at, count uint64 }

// skip leaves n numbers out. Gaps that follow each other are one, so that there are not
// more of them than messages, which the window bounds.
func (in *intake) skip(n uint64) {
	if i := len(in.skips) - 1; i >= 0 && in.skips[i].at+in.skips[i].count == in.next {
		in.skips[i].count += n
	} else {
		in.skips = append(in.skips, skip{in.next, n})
	}
	in.next += n
}

// assembly is a long message of which some fragments arrived.
type assembly struct {
	memory  Memory
	have    uint64
	channel uint16
}

// Receive takes bytes in the order in which the link gave them and returns how
// many it consumed. What it left must begin the next call, with more behind it: an
// incomplete frame, which is at most wire.HeaderSize+wire.MaxPayload bytes long. The
// bytes must be aligned to 8. An error has already ended the endpoint, or given the link up
// that was to resume its session, and 0 comes with it.
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
	for e.phase > Waiting && e.phase < Closed && e.offer == nil && !e.parting {
		n, err := e.receiveSome(b[done:])
		if err != nil {
			return 0, e.protocol(err)
		}
		if n == 0 {
			break
		}
		done += n
	}
	if e.parting || e.phase == Waiting {
		done = len(b) // nothing counts behind GOAWAY
	}
	e.receivedBytes += uint64(done)
	return done, nil
}

// receiveSome consumes a run of messages or one other frame; 0 if the next frame
// is incomplete.
func (e *Endpoint) receiveSome(b []byte) (int, error) {
	if len(b) < wire.HeaderSize {
		return 0, nil
	}
	if e.unnamed != nil && wire.GetHeader(b).Kind() != wire.KindGoAway {
		if e.meetUnnamed(); e.phase == Closed {
			return 0, nil
		}
		return e.receiveSome(b)
	}
	if e.met && !e.heardEnd && !e.aside {
		if size, err := e.receiveRun(b); size != 0 || err != nil {
			return size, err
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
	payload := b[wire.HeaderSize:size]
	if h.Kind() != wire.Start && h.Kind() != wire.Skip {
		payload = payload[:h.Size()]
	}
	return size, e.receiveFrame(h, payload)
}

// run measures the whole messages at the start of b, and counts them by lane.
func run(b []byte, not lanes) (size int, count [wire.Lanes]outbox.Count) {
	for len(b)-size >= wire.HeaderSize {
		h := wire.GetHeader(b[size:])
		if !wire.PlainMsg(h) || not.has(h.Lane()) {
			break
		}
		whole := wire.HeaderSize + wire.Padded(int(h.Size()))
		if size+whole > len(b) {
			break
		}
		size += whole
		c := &count[h.Lane()&(wire.Lanes-1)]
		c.Messages++
		c.Bytes += uint64(whole)
	}
	return size, count
}

// receiveRun takes the whole messages at the start of b, if there are any.
func (e *Endpoint) receiveRun(b []byte) (int, error) {
	size, count := run(b, e.receive.assembling)
	if size == 0 {
		return 0, nil
	}
	var first [wire.Lanes]uint64
	for i := range e.receive.lanes {
		in := &e.receive.lanes[i]
		// A run's last message may exceed the window, so no more than a frame is looked past.
		if count[i].Bytes != 0 && in.bytes+count[i].Bytes >= e.acks.limit[i]+wire.HeaderSize+wire.MaxPayload {
			return 0, e.tooMuch(wire.Lane(i))
		}
		if count[i].Messages != 0 {
			e.receive.heard.add(wire.Lane(i))
		}
		first[i] = in.next
		in.next += count[i].Messages
		in.got += count[i].Messages
		in.bytes += count[i].Bytes
	}
	if e.holding() {
		e.hold(held{what: heldRun, frames: b[:size], first: first})
	} else if taken := e.deliverRun(b[:size], &first, &count); taken < size && e.phase < Closed {
		e.hold(held{what: heldRun, frames: b[taken:size], first: first})
	}
	return size, nil
}

// tooMuch is what a peer is told that does not keep within its credit.
func (e *Endpoint) tooMuch(lane wire.Lane) error {
	return fmt.Errorf("message in lane %v beyond the window, which ends at byte %d", lane, e.acks.limit[lane])
}

// deliverRun gives a run to the receiver, and returns how much it took; then first is
// that of the rest. count is what the run holds.
func (e *Endpoint) deliverRun(b []byte, first *[wire.Lanes]uint64, count *[wire.Lanes]outbox.Count) int {
	e.receive.first = *first
	taken := e.config.Receiver.Run(b, &e.receive.first)
	if taken < 0 {
		e.sayWhy(OK, "")
		e.end(Gone, "the callback asked for it")
		return 0
	}
	if taken < len(b) {
		e.paused = true
		_, *count = run(b[:taken], 0)
	}
	for i, c := range count {
		first[i] += c.Messages
		e.took(wire.Lane(i), c)
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
	if h.Kind().Optional() || e.aside && h.Kind() != wire.KindGoAway {
		return nil
	}
	switch h.Kind() {
	case wire.Msg, wire.Start, wire.Frag, wire.Skip:
		if e.heardEnd {
			return fmt.Errorf("%v after FIN", h.Kind())
		}
		return e.receiveLong(h, payload)
	case wire.KindAck:
		return e.receiveAck(payload)
	case wire.KindPing:
		p, err := wire.ParsePing(payload)
		if err == nil {
			e.send.pong, e.send.pongDue = wire.Pong(p), true
			e.hurry()
		}
		return err
	case wire.KindPong:
		p, err := wire.ParsePong(payload)
		if err == nil && p.Nonce == e.pingNonce && e.pingSent != 0 {
			e.measured(e.now - e.pingSent)
			e.pingSent = 0
		}
		return err
	case wire.KindFin:
		return e.receiveFin()
	case wire.KindGoAway:
		g, err := wire.ParseGoAway(payload)
		switch end := (held{what: heldGoAway, goAway: g}); {
		case err != nil:
			return err
		case e.unnamed != nil:
			e.sentAway(g)
		case len(e.receive.backlog) != 0: // the end waits for messages, but not for a program that has none left
			e.part(end)
		default:
			e.goneAway(g)
		}
		return nil
	}
	return fmt.Errorf("second %v", h.Kind())
}

// receiveFin notes that the peer sends no more. On a new link it says so again.
func (e *Endpoint) receiveFin() error {
	if e.receive.assembling != 0 {
		return errors.New("FIN inside a long message")
	}
	if !e.heardEnd {
		e.heardEnd = true
		e.hurry() // the peer may be waiting for just this, to close
		e.inOrder(held{what: heldEvent, event: Event{Kind: EventEnded}})
	}
	return nil
}

// receiveLong takes a fragment of a long message, the start of one, or what stands for
// messages that the peer withdrew.
func (e *Endpoint) receiveLong(h wire.Header, payload []byte) error {
	lane := h.Lane()
	in := &e.receive.lanes[lane]
	a := in.assembly
	switch {
	case h.Kind() == wire.Start && a == nil:
		return e.startLong(h)
	case h.Kind() == wire.Start && e.resumed.has(lane):
		// A new link: the message goes on.
		e.resumed.remove(lane)
		if uint64(h.Size()) != uint64(len(a.memory.Bytes)) || h.Channel() != a.channel {
			return fmt.Errorf("START in lane %v of %d bytes in channel %d for a message of %d in channel %d", lane,
				h.Size(), h.Channel(), len(a.memory.Bytes), a.channel)
		}
		return nil
	case h.Kind() == wire.Skip && a == nil:
		in.skip(uint64(h.Size()))
		e.consume(lane, outbox.Count{})
		return nil
	case h.Kind() != wire.Frag || a == nil || e.resumed.has(lane):
		return fmt.Errorf("%v in lane %v out of place", h.Kind(), lane)
	}
	if a.have+uint64(len(payload)) > uint64(len(a.memory.Bytes)) {
		return fmt.Errorf("FRAG in lane %v beyond the %d bytes that START announced", lane, len(a.memory.Bytes))
	}
	a.have += uint64(copy(a.memory.Bytes[a.have:], payload))
	if a.have == uint64(len(a.memory.Bytes)) {
		in.assembly = nil
		e.receive.assembling.remove(lane)
		in.next++
		in.got++
		e.inOrder(held{what: heldLong, lane: lane, long: a, first: [wire.Lanes]uint64{in.next - 1}})
	}
	return nil
}

// errTooLong is the middle of what a peer is told whose message is too long.
var errTooLong = errors.New("bytes; at most")

func (e *Endpoint) startLong(h wire.Header) error {
	lane := h.Lane()
	in := &e.receive.lanes[lane]
	if uint64(h.Size()) > e.config.MaxMessage {
		return fmt.Errorf("message of %d %w %d are accepted", h.Size(), errTooLong, e.config.MaxMessage)
	}
	if in.bytes >= e.acks.limit[lane] {
		return e.tooMuch(lane)
	}
	memory, ok := e.config.Receiver.Allocate(uint64(h.Size()))
	if !ok {
		e.Abort(NoMemory, fmt.Sprintf("no memory for a message of %d bytes", h.Size()))
		return nil
	}
	in.bytes += outbox.Charge(int(h.Size()))
	in.assembly = &assembly{memory: memory, channel: h.Channel()}
	e.receive.assembling.add(lane)
	e.receive.heard.add(lane)
	return nil
}
