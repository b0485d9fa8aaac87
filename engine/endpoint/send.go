package endpoint

import (
	"github.com/lyquor/lyquor/engine/outbox"
	"github.com/lyquor/lyquor/engine/wire"
)

const (
	// shortFrame bounds runs and fragments while several lanes have something to
	// send: the most that an urgent message waits for behind another lane.
	shortFrame = 16 << 10
	// longFrame bounds them otherwise.
	longFrame = wire.MaxPayload
)

// sender is the sending half: the lanes' readers and what of a frame is begun.
type sender struct {
	lanes [wire.Lanes]outbox.Reader
	// limit is how far the peer lets each lane go: a message may start while less was
	// charged before it, in bytes from the start of the endpoint's life.
	limit [wire.Lanes]uint64
	asked uint64             // messages sent when an acknowledgement was asked for
	since [wire.Lanes]uint64 // messages before the last restart of the peer: they were reported
	// base is the first message that the peer may still ask for: it is not known to have
	// counted those behind it, be it that they were withdrawn and their SKIP got lost.
	base    [wire.Lanes]uint64
	control control
	// pong answers the latest ping, once control is written: a peer that pings and does
	// not read gets one answer.
	pong    wire.Pong
	pongDue bool
	// begun is a frame that the link took begunSize bytes of; it is finished first.
	begun     piece
	begunSize int
	long      [wire.Lanes]longMessage
	shares    shares // of what was written
	used      lanes  // that ever had something to send
	sweepAt   int64  // when Sweep may look again
	sweepBy   int64  // when it should; 0: nobody waits for that
}

// longMessage is how far a message by reference was written.
type longMessage struct {
	off     int    // payload bytes in frames written
	started bool   // START was written
	charge  uint64 // what it counts in flow control once it is started
}

// cursor is a lane's place while a vector is gathered, ahead of what is written.
type cursor struct {
	pos   uint64
	bytes uint64 // charged up to here, with the long message that is started
	long  longMessage
}

// control is a queue of control frames to be written, whole ones but for the first.
type control struct {
	frames []byte
	done   int // bytes of them that are written
}

func (c *control) rest() []byte { return c.frames[c.done:] }

func (c *control) empty() bool { return c.done == len(c.frames) }

// wrote notes that n bytes more were written. The buffer is kept for the next frames.
func (c *control) wrote(n int) {
	if c.done += n; c.empty() {
		c.clear()
	}
}

func (c *control) clear() { c.frames, c.done = c.frames[:0], 0 }

// Gather fills v with up to most bytes to be written now, a little more to end at
// a frame. The vector is good until Wrote, which must be next. Messages whose time is
// over are withdrawn when their turn comes here.
func (e *Endpoint) Gather(now int64, v *Vector, most int) {
	e.now = now
	v.reset()
	s := &e.send
	var at [wire.Lanes]cursor
	e.place(&at)
	if s.begunSize != 0 {
		e.gatherBegun(v, &at)
	}
	if s.pongDue && s.control.empty() && e.phase < Leaving {
		s.control.frames, s.pongDue = wire.AppendPong(s.control.frames, s.pong), false
	}
	if e.AckDue() {
		e.appendAck()
	}
	if !s.control.empty() {
		e.gatherControl(v)
	}
	if e.mayWrite() {
		e.gatherLanes(v, &at, most)
		// Only when all else is written: control frames go before what a link left over.
		if v.Size == 0 && e.endDue(&at) {
			e.appendEnd()
			e.gatherControl(v)
		}
	}
}

func (e *Endpoint) gatherControl(v *Vector) {
	frames := e.send.control.rest()
	v.add(frames)
	v.pieces = append(v.pieces, piece{lane: -1, size: len(frames)})
}

// mayWrite says whether messages may be written: with a peer whose HELLO is read, and
// before that in a session's first link, for then it is clear what the peer has.
func (e *Endpoint) mayWrite() bool {
	if e.parting {
		return false // the peer hears nothing more
	}
	// Early is only for who has one link: what another peer got of the first might have
	// been delivered.
	return e.phase == Open || e.phase == Opening && e.config.Dialled && !e.known && e.config.Resume == 0
}

// place sets cursors to what is written.
func (e *Endpoint) place(at *[wire.Lanes]cursor) {
	for i := range at {
		r, long := &e.send.lanes[i], e.send.long[i]
		at[i] = cursor{r.Sent(), r.Taken().Bytes + long.charge, long}
	}
}

// gatherBegun adds the rest of the frame that was written in part.
func (e *Endpoint) gatherBegun(v *Vector, at *[wire.Lanes]cursor) {
	s := &e.send
	p := s.begun
	c := &at[p.lane]
	if !p.long {
		v.add(p.entry.Run[s.begunSize:])
		v.pieces = append(v.pieces, p)
		c.pos = p.entry.End()
		c.bytes += p.entry.Charge()
		return
	}
	v.addFrame(p, p.header(), s.begunSize)
	c.step(p)
}

// header returns the header of a frame that the log does not hold.
func (p *piece) header() wire.Header {
	lane := wire.Lane(p.lane)
	switch {
	case p.kind == wire.Skip:
		return wire.MakeHeader(uint32(p.entry.Messages()), wire.Skip, lane, 0)
	case p.start:
		return wire.MakeHeader(uint32(len(p.entry.Payload)), wire.Start, lane, p.entry.Channel)
	}
	return wire.MakeHeader(uint32(p.part), p.kind, lane, p.entry.Channel)
}

// step moves a cursor behind a frame of a long message.
func (c *cursor) step(p piece) {
	if !c.long.started && c.long.charge == 0 {
		c.bytes += p.entry.Charge()
	}
	c.long.advance(p)
	if p.last {
		*c = cursor{pos: p.entry.End(), bytes: c.bytes}
	}
}

// advance notes that a frame of the message was written.
func (m *longMessage) advance(p piece) {
	m.off += p.part
	m.started = m.started || p.start
	m.charge = p.entry.Charge()
}

// gatherLanes adds runs and frames by priority until v holds most bytes.
func (e *Endpoint) gatherLanes(v *Vector, at *[wire.Lanes]cursor, most int) {
	ready, ahead := e.ready(at), e.send.shares
	for v.Size < most && !v.full() && ready != 0 {
		frame := longFrame
		if !ready.alone() {
			frame = shortFrame
		}
		lane := ahead.choose(ready)
		before := v.Size
		if !e.gatherEntry(v, lane, &at[lane], frame, ready) {
			ready.remove(lane)
			continue
		}
		ahead.note(lane, v.Size-before, ready)
	}
}

// ready returns the set of lanes that have something published, and credit for it.
func (e *Endpoint) ready(at *[wire.Lanes]cursor) (set lanes) {
	for i := range at {
		if e.send.lanes[i].Ready(at[i].pos) && e.credit(wire.Lane(i), &at[i]) != 0 {
			set.add(wire.Lane(i))
		}
	}
	return set
}

// Mixed says whether more than one lane ever had something to send: then one may have to
// overtake the other.
func (e *Endpoint) Mixed() bool { return !e.send.used.alone() }

// credit returns how many bytes of messages may start in a lane. A message that was
// started needs none.
func (e *Endpoint) credit(lane wire.Lane, c *cursor) int {
	if c.long.charge != 0 {
		return longFrame
	}
	return int(e.send.limit[lane] - min(c.bytes, e.send.limit[lane]))
}

// gatherEntry adds what a lane has at its cursor: a run, or one frame of a long
// message; ready says which lanes compete. It returns false if nothing is there.
func (e *Endpoint) gatherEntry(v *Vector, lane wire.Lane, c *cursor, frame int, ready lanes) bool {
	credit := e.credit(lane, c)
	if credit == 0 {
		return false
	}
	r, most := &e.send.lanes[lane], min(frame, credit)
	entry, ok := r.Peek(c.pos, most)
	if ok && r.Due(&entry, e.now) {
		r.Expire(c.pos, e.now, e.config.Release)
		entry, ok = r.Peek(c.pos, most)
	}
	if !ok {
		return false
	}
	e.send.used.add(lane)
	if entry.Run != nil {
		v.add(entry.Run)
		v.pieces = append(v.pieces, piece{lane: int8(lane), ready: ready, size: len(entry.Run), entry: entry})
		c.pos = entry.End()
		c.bytes += entry.Charge()
		return true
	}
	p := piece{lane: int8(lane), ready: ready, long: true, kind: wire.Frag, entry: entry, off: c.long.off}
	switch total := len(entry.Payload); {
	case entry.Withdrawn:
		p.kind, p.last = wire.Skip, true
	case c.long.started:
		p.part = min(frame, total-p.off)
		p.last = p.off+p.part == total
	case total <= frame && c.long.charge == 0:
		p.kind, p.part, p.last = wire.Msg, total, true
	default:
		p.start = true
	}
	p.size = wire.HeaderSize + wire.Padded(p.part)
	v.addFrame(p, p.header(), 0)
	c.step(p)
	return true
}

// Wrote says that the link took the first n bytes of what Gather returned.
func (e *Endpoint) Wrote(v *Vector, n int) {
	s := &e.send
	e.sentBytes += uint64(n)
	if n != 0 {
		e.lastSent = e.now
	}
	for i := 0; i < len(v.pieces) && n != 0; i++ {
		p := &v.pieces[i]
		done := 0
		if p.lane >= 0 {
			done, s.begunSize = s.begunSize, 0
			s.shares.note(wire.Lane(p.lane), min(n, p.size-done), p.ready)
		}
		left := p.size - done
		if n < left {
			e.wroteSome(p, done+n)
			break
		}
		n -= left
		e.wroteAll(p)
	}
	v.reset()
}

// sweepPeriod is how often Sweep looks through lanes at most, in nanoseconds: that takes
// time for each message in them.
const sweepPeriod = 100e6

// Sweep makes room in lanes whose senders wait, a bit each, while there is no link: what
// is late is withdrawn without its turn. Deadline says when more may be.
func (e *Endpoint) Sweep(now int64, wanted uint32) {
	s := &e.send
	if wanted == 0 || e.phase > Opening || e.mayWrite() {
		return
	}
	if now < s.sweepAt {
		s.sweepBy = s.sweepAt
		return
	}
	var next int64
	s.sweepAt = now + sweepPeriod
	for i := range s.lanes {
		if wanted>>i&1 == 0 {
			continue
		}
		r := &s.lanes[i]
		next = earlier(next, r.Sweep(now, e.config.Release))
		if !e.known && !e.spoke {
			s.base[i] = r.Acked().Messages // no peer was ever told of another
		}
	}
	if s.sweepBy = next; next != 0 {
		s.sweepBy = max(next, s.sweepAt)
	}
}

func (e *Endpoint) wroteAll(p *piece) {
	s := &e.send
	switch {
	case p.lane < 0:
		s.control.wrote(p.size)
	case !p.long || p.last:
		s.lanes[p.lane].Advance(p.entry)
		s.long[p.lane] = longMessage{}
	default:
		s.lanes[p.lane].Touch()
		s.long[p.lane].advance(*p)
	}
}

// wroteSome notes that the first n bytes of a piece were written.
func (e *Endpoint) wroteSome(p *piece, n int) {
	s := &e.send
	switch {
	case p.lane < 0:
		s.control.wrote(n)
	case p.long:
		if p.kind != wire.Skip {
			s.lanes[p.lane].Touch()
		}
		s.begun, s.begunSize = *p, n
	default:
		lane := &s.lanes[p.lane]
		if rest := lane.AdvancePart(p.entry, n); rest != 0 {
			lane.Touch()
			entry, _ := lane.Peek(lane.Sent(), 1)
			s.begun = piece{lane: p.lane, ready: p.ready, size: len(entry.Run), entry: entry}
			s.begunSize = rest
		}
	}
}
