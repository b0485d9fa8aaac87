package sim

import (
	"slices"

	"github.com/lyquor/lyquor/engine/endpoint"
)

// link is a stream between two nodes, as two kernels see it. ends[0] has dialled.
type link struct {
	world *World
	addr  string // that was dialled
	ends  [2]end
}

// end is one side of a link: what a process holds as a socket.
type end struct {
	link  *link
	node  *Node
	owner *Endpoint // who reads and writes, or did last
	out   pipe

	in     []byte // arrived and not read
	read   int    // of in, bytes that were read
	eof    bool   // behind in comes the peer's end of the stream
	err    endpoint.Code
	closed bool // the process is done with it
	owed   bool // something arrived while the machine was off: it is answered by a reset
}

// pipe is one direction of a link, seen from who writes.
type pipe struct {
	queue     []segment
	under     int   // bytes written, and not known to be read
	freed     int   // bytes of them that were read
	busy      int64 // when the line has sent what was written
	last      int64 // when the last segment arrives
	lost      bool  // nothing arrives any more
	ended     bool  // nothing is written any more
	blocked   bool  // the writer found no room
	arriving  bool  // an event is planned
	returning bool  // an event is planned that tells the writer of room
}

// segment is what one write put under way.
type segment struct {
	at   int64
	what segmentKind
	data []byte
}

type segmentKind uint8

const (
	segmentData  segmentKind = iota
	segmentOpen              // the accepting side learns of the link
	segmentEnd               // the writer will write no more
	segmentReset             // the link is broken
)

func (w *World) newLink(from, to *Node) *link {
	l := &link{world: w}
	l.ends[0] = end{link: l, node: from}
	l.ends[1] = end{link: l, node: to}
	w.links = append(w.links, l)
	return l
}

func (e *end) peer() *end {
	if e == &e.link.ends[0] {
		return &e.link.ends[1]
	}
	return &e.link.ends[0]
}

// path is the way that what this end writes takes; back that of the answers.
func (e *end) path() *path { return e.link.world.path(e.node, e.peer().node) }
func (e *end) back() *path { return e.link.world.path(e.peer().node, e.node) }

// Read returns how many bytes it gave, or why there will be none.
func (e *end) Read(b []byte) (n int, eof bool, err endpoint.Code) {
	if e.err != 0 {
		return 0, false, e.err
	}
	n = copy(b, e.in[e.read:])
	if n == 0 {
		return 0, e.eof, 0
	}
	if e.read += n; e.read == len(e.in) {
		e.in, e.read = e.in[:0], 0
	}
	writer := e.peer()
	writer.out.freed += n
	writer.out.free(writer)
	return n, false, 0
}

// Unread returns how many bytes a Read would find.
func (e *end) Unread() int { return len(e.in) - e.read }

// Write puts up to most bytes under way and returns how many; fewer than there are
// means that the buffers are full, or that the caller wanted so.
func (e *end) Write(slices [][]byte, most int) (n int, err endpoint.Code) {
	if e.err != 0 {
		return 0, e.err
	}
	room := min(e.path().config.Buffer-e.out.under, most)
	size := 0
	for _, b := range slices {
		size += len(b)
	}
	data := make([]byte, 0, max(min(room, size), 0))
	for _, b := range slices {
		data = append(data, b[:min(len(b), cap(data)-len(data))]...)
	}
	if len(data) < size {
		e.out.blocked = true
	}
	if len(data) > 0 {
		e.out.under += len(data)
		e.send(segmentData, data)
	}
	return len(data), 0
}

// CloseWrite ends this direction behind what was written.
func (e *end) CloseWrite() {
	if !e.out.ended && e.err == 0 {
		e.out.ended = true
		e.send(segmentEnd, nil)
	}
}

// Close ends the link for this process. As a kernel does it (RFC 1122, 4.2.2.13),
// what is under way to the peer is lost if something was not read here.
func (e *end) Close() {
	if e.closed {
		return
	}
	unread := e.Unread() > 0
	e.closed, e.in, e.read = true, nil, 0
	switch {
	case e.err != 0:
	case unread:
		e.reset()
	default:
		e.CloseWrite()
	}
	e.link.forget()
}

// vanish is the end of a machine: nobody is told.
func (e *end) vanish() {
	e.closed, e.in, e.read = true, nil, 0
	e.out.queue = nil
	e.link.forget()
}

// forget drops a link that nobody holds.
func (l *link) forget() {
	if l.ends[0].closed && l.ends[1].closed {
		l.world.links = slices.DeleteFunc(l.world.links, func(x *link) bool { return x == l })
	}
}

// reset tells the peer that the link is broken; what is under way to it is lost.
func (e *end) reset() {
	e.out.queue, e.out.ended = nil, true
	e.send(segmentReset, nil)
}

// send puts a segment under way.
func (e *end) send(what segmentKind, data []byte) {
	w, p := e.link.world, &e.out
	if p.lost {
		return
	}
	path := e.path()
	p.busy = max(p.busy, w.now)
	if path.config.Bandwidth > 0 {
		p.busy += scale(int64(len(data)), 1e9, path.config.Bandwidth)
	}
	p.last = max(p.last, p.busy+w.delay(path))
	p.queue = append(p.queue, segment{p.last, what, data})
	p.arrive(e)
}

// arrive plans the arrival of what is next.
func (p *pipe) arrive(e *end) {
	if p.arriving || len(p.queue) == 0 {
		return
	}
	p.arriving = true
	e.link.world.plan(p.queue[0].at, noteArrive, func() {
		p.arriving = false
		p.deliver(e)
	})
}

// deliver hands over what has arrived, unless the path is cut.
func (p *pipe) deliver(e *end) {
	w := e.link.world
	if p.lost || e.path().cut {
		return
	}
	for len(p.queue) > 0 && p.queue[0].at <= w.now {
		s := &p.queue[0]
		if n := w.packet(len(s.data)); n < len(s.data) {
			piece := segment{s.at, s.what, s.data[:n]}
			s.data = s.data[n:]
			s.at = w.now + 1 + w.rand.Int64N(int64(e.path().config.Latency))
			e.peer().take(piece)
			break
		}
		whole := *s
		p.queue = p.queue[1:]
		e.peer().take(whole)
		if p.lost {
			return
		}
	}
	p.arrive(e)
}

// packet returns how much of a segment of n bytes arrives together: mostly all, so
// that a simulation is fast, and else any part, so that links break anywhere.
func (w *World) packet(n int) int {
	if n < 2 || w.rand.IntN(4) > 0 {
		return n
	}
	return 1 + w.rand.IntN(n-1)
}

// take is the arrival of a segment at an end.
func (e *end) take(s segment) {
	w := e.link.world
	switch {
	case e.closed && e.node.dark:
		e.owed = true
	case e.closed:
		if s.what != segmentReset && e.err == 0 {
			e.reset()
		}
	case s.what == segmentOpen:
		e.node.knock(e)
	case s.what == segmentEnd:
		e.eof = true
	case s.what == segmentReset:
		e.breaks()
	default:
		e.in = append(e.in, s.data...)
		w.check(e.Unread() <= e.back().config.Buffer, "a link holds more than its buffers")
	}
	e.tellOwner()
}

// breaks makes the end one of a broken link.
func (e *end) breaks() {
	e.err = endpoint.Reset
	e.in, e.read = nil, 0
	e.out.queue, e.out.lost = nil, true
}

func (e *end) tellOwner() {
	if e.owner != nil && !e.closed {
		e.owner.becomesReady()
	}
}

// free tells the writer, a little later, what was read.
func (p *pipe) free(e *end) {
	w := e.link.world
	if p.returning || p.freed == 0 || p.lost || e.back().cut {
		return
	}
	p.returning = true
	w.plan(w.now+w.delay(e.back()), noteSpace, func() {
		p.returning = false
		if e.back().cut {
			return
		}
		p.under -= p.freed
		p.freed = 0
		if p.blocked {
			p.blocked = false
			e.tellOwner()
		}
	})
}

// thaw sends again what a cut path has held up.
func (p *pipe) thaw(e *end) {
	w := e.link.world
	later := w.now + w.delay(e.path()) + w.rand.Int64N(retransmit)
	for i := range p.queue {
		p.queue[i].at = max(p.queue[i].at, later)
	}
	p.last = max(p.last, later)
	p.arrive(e)
}
