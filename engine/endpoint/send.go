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
	lanes   [wire.Lanes]outbox.Reader
	control []byte // control frames to be written, whole ones but for the first
	// pong answers the latest ping, once control is written: a peer that pings and does
	// not read gets one answer.
	pong    wire.Pong
	pongDue bool
	// begun is a frame that the link took begunSize bytes of; it is finished first.
	begun     piece
	begunSize int
	long      [wire.Lanes]longMessage
	shares    shares // of what was written
}

// longMessage is how far a message by reference was written.
type longMessage struct {
	off     int  // payload bytes in frames written
	started bool // START was written
}

// cursor is a lane's place while a vector is gathered, ahead of what is written.
type cursor struct {
	pos  uint64
	long longMessage
}

// Gather fills v with up to most bytes to be written now, a little more to end at
// a frame. The vector is good until Wrote, which must be next.
func (e *Endpoint) Gather(v *Vector, most int) {
	v.reset()
	s := &e.send
	var at [wire.Lanes]cursor
	e.place(&at)
	if s.begunSize > 0 {
		e.gatherBegun(v, &at)
	}
	if s.pongDue && len(s.control) == 0 && e.phase < Leaving {
		s.control, s.pongDue = wire.AppendPong(nil, s.pong), false
	}
	if len(s.control) > 0 {
		v.add(s.control)
		v.pieces = append(v.pieces, piece{lane: -1, size: len(s.control)})
	}
	if e.phase == Opening || e.phase == Open {
		e.gatherLanes(v, &at, most)
		// Only when all else is written: control frames go before what a link left over.
		if v.Size == 0 && e.endDue(&at) {
			e.appendEnd()
			v.add(s.control)
			v.pieces = append(v.pieces, piece{lane: -1, size: len(s.control)})
		}
	}
}

// place sets cursors to what is written.
func (e *Endpoint) place(at *[wire.Lanes]cursor) {
	for i := range at {
		at[i] = cursor{e.send.lanes[i].Sent(), e.send.long[i]}
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
		return
	}
	v.addFrame(p, p.header(), s.begunSize)
	c.step(p)
}

// header returns the header of a long message's frame.
func (p *piece) header() wire.Header {
	lane := wire.Lane(p.lane)
	if p.start {
		return wire.MakeHeader(uint32(len(p.entry.Payload)), wire.Start, lane, p.entry.Channel)
	}
	return wire.MakeHeader(uint32(p.part), p.kind, lane, p.entry.Channel)
}

// step moves a cursor behind a frame of a long message.
func (c *cursor) step(p piece) {
	c.long.off += p.part
	c.long.started = c.long.started || p.start
	if p.last {
		*c = cursor{pos: p.entry.End()}
	}
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
			ready &^= 1 << lane
			continue
		}
		ahead.note(lane, v.Size-before, ready)
	}
}

// ready returns the set of lanes that have something published.
func (e *Endpoint) ready(at *[wire.Lanes]cursor) (set lanes) {
	for i := range at {
		if e.send.lanes[i].Ready(at[i].pos) {
			set |= 1 << i
		}
	}
	return set
}

// gatherEntry adds what a lane has at its cursor: a run, or one frame of a long
// message; ready says which lanes compete. It returns false if nothing is there.
func (e *Endpoint) gatherEntry(v *Vector, lane wire.Lane, c *cursor, frame int, ready lanes) bool {
	entry, ok := e.send.lanes[lane].Peek(c.pos, frame)
	if !ok {
		return false
	}
	if entry.Run != nil {
		v.add(entry.Run)
		v.pieces = append(v.pieces, piece{lane: int8(lane), ready: ready, size: len(entry.Run), entry: entry})
		c.pos = entry.End()
		return true
	}
	p := piece{lane: int8(lane), ready: ready, long: true, kind: wire.Frag, entry: entry, off: c.long.off}
	switch total := len(entry.Payload); {
	case c.long.started:
		p.part = min(frame, total-p.off)
		p.last = p.off+p.part == total
	case total <= frame:
		p.kind, p.part, p.last = wire.Msg, total, true
	default:
		p.start = true
	}
	p.size = wire.HeaderSize + wire.Padded(p.part)
	v.addFrame(p, p.header(), 0)
	c.step(p)
	return true
}

// Wrote says that the link took the first n bytes of what Gather returned. It
// frees what is sent and tells senders that wait for room.
func (e *Endpoint) Wrote(v *Vector, n int) {
	s := &e.send
	e.sentBytes += uint64(n)
	if n > 0 {
		e.lastSent = e.now
	}
	for i := 0; i < len(v.pieces) && n > 0; i++ {
		p := &v.pieces[i]
		done := 0
		if p.lane >= 0 {
			done, s.begunSize = s.begunSize, 0
		}
		left := p.size - done
		if p.lane >= 0 {
			s.shares.note(wire.Lane(p.lane), min(n, left), p.ready)
		}
		if n < left {
			e.wroteSome(p, done+n)
			break
		}
		n -= left
		e.wroteAll(p)
	}
	v.reset()
	for i := range s.lanes {
		s.lanes[i].Free(e.config.Release)
	}
}

func (e *Endpoint) wroteAll(p *piece) {
	s := &e.send
	switch {
	case p.lane < 0:
		s.control = s.control[p.size:]
		if len(s.control) == 0 {
			s.control = nil // an idle endpoint owns no buffer
		}
	case !p.long || p.last:
		s.lanes[p.lane].Advance(p.entry)
		s.long[p.lane] = longMessage{}
	default:
		s.long[p.lane].off += p.part
		s.long[p.lane].started = true
	}
}

// wroteSome notes that the first n bytes of a piece were written.
func (e *Endpoint) wroteSome(p *piece, n int) {
	s := &e.send
	switch {
	case p.lane < 0:
		s.control = s.control[n:]
	case p.long:
		s.begun, s.begunSize = *p, n
	default:
		lane := &s.lanes[p.lane]
		if rest := lane.AdvancePart(p.entry, n); rest > 0 {
			entry, _ := lane.Peek(lane.Sent(), 1)
			s.begun = piece{lane: p.lane, ready: p.ready, size: len(entry.Run), entry: entry}
			s.begunSize = rest
		}
	}
}
