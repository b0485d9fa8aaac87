package sim

import (
	"time"

	"github.com/lyquor/lyquor/engine/endpoint"
	"github.com/lyquor/lyquor/engine/outbox"
	"github.com/lyquor/lyquor/engine/wire"
)

// What waits for a reason is no fault; what waits for none, or longer than its time,
// would be noticed in the end only if nothing else came along. So all that waits is
// looked at now and then.

const (
	// watchPeriod is how often that is, in the world's time.
	watchPeriod = int64(10 * time.Millisecond)
	// lateSlack is how late the engine may do what is due, on the node's clock.
	lateSlack = int64(50 * time.Millisecond)
	// silences is how many silences after the last sign of life a link is over: the
	// engine waits for three, and begins again where it had not listened.
	silences = 4
	// endNanos is what the end of an endpoint may take once it is decided: the peer's
	// last words, and then its end of the link.
	endNanos = 2 * int64(time.Second)
)

// watch looks at all processes that run.
func (w *World) watch() {
	w.watchAt = w.now + watchPeriod
	for _, n := range w.nodes {
		if n.up && !n.paused {
			n.watch()
		}
	}
}

func (n *Node) watch() {
	w, now := n.world, n.now()
	turns := n.turnAt != 0 && n.turnAt <= w.now+turnMin+turnMore
	w.check(turns || !w.table.Bell(uint32(n.index)).Pending(), "%s sleeps, and somebody has rung", n.name)
	for _, t := range n.timers {
		n.inTime(now, t.due, "a timer of its program")
	}
	for _, e := range n.endpoints {
		if !turns {
			if why := e.idles(); why != "" {
				w.fail("%v: %s (%s)", e, why, e.summary())
			}
		}
		n.inTime(now, e.due, e)
		e.overdue(now)
	}
}

// inTime checks that what was due was done. What was due in a pause is done after it.
func (n *Node) inTime(now, due int64, what any) {
	if due == 0 {
		return
	}
	late := now - max(due, n.awakeAt)
	n.world.check(late <= lateSlack, "%s: %v is late by %v", n.name, what, time.Duration(late))
}

// idles says what the endpoint could do, and no turn of the worker will do.
func (e *Endpoint) idles() string {
	// Who waits for memory looks again soon, for nobody tells it.
	looks := e.due != 0 && e.due <= e.node.now()+memoryPeriod
	sends := e.end != nil && e.end.err == 0 && e.writable && e.core.Phase() == endpoint.Open && !e.core.Paused()
	for lane := range wire.Lane(wire.Lanes) {
		switch l := e.core.Lane(lane); {
		case sends && l.Queued > 0 && !e.core.NoCredit(lane):
			return "a message waits, and the link has room"
		case !looks && e.slot.Want.Load()&(outbox.WantEvent<<lane) != 0 && l.QueuedBytes == 0 &&
			e.core.Phase() < endpoint.Closed:
			return "a sender waits for room in an empty lane"
		}
	}
	return ""
}

// overdue checks that what has a time has ended in it.
func (e *Endpoint) overdue(now int64) {
	w, o, phase := e.node.world, &e.options, e.core.Phase()
	hears := e.end != nil && e.end.err == 0 && !e.end.eof && !e.core.Paused() && !e.node.deaf
	late := func(begin, most int64) bool { return now > max(begin, e.node.awakeAt)+most+lateSlack }
	w.check(!hears || phase != endpoint.Open || o.KeepAlive <= 0 || !late(e.heardAt, silences*int64(o.KeepAlive)),
		"%v: open, though the peer is silent since %v", e, time.Duration(now-e.heardAt))
	w.check(phase != endpoint.Opening || !late(e.beganAt, int64(o.Connect)),
		"%v: a handshake takes more than %v", e, o.Connect)
	most := int64(o.Resume)
	if e.end != nil {
		most += endNanos
	}
	held := e.core.Parting() && e.core.Paused() // the end waits behind what the program has still to take
	w.check(e.downAt == 0 || o.Resume <= 0 || held || !late(e.downAt, most),
		"%v: without a link since %v", e, time.Duration(now-e.downAt))
	w.check(e.closeBy == 0 || !late(e.closeBy, endNanos),
		"%v: not closed, %v after its time", e, time.Duration(now-e.closeBy))
}

// ackLate is how long after the peer's program has taken everything the sender may
// have to wait until the acknowledgement is under way: twice the engine's delay.
const ackLate = int64(200 * time.Millisecond)

// untold says whether the endpoint waits for an acknowledgement that is late. It is for
// when there are no faults any more.
func (e *Endpoint) untold() bool {
	w, peer := e.node.world, e.other()
	linked := peer != nil && e.end != nil && peer.end == e.end.peer() && !e.end.out.lost && !peer.end.out.lost
	if !linked || e.core.Phase() != endpoint.Open || peer.core.Phase() != endpoint.Open || !e.taken(peer) {
		e.takenAt = 0
		return false
	}
	if e.takenAt == 0 || e.takenOn != e.end {
		e.takenAt, e.takenOn = w.now, e.end
	}
	// What is under way after a path was cut may arrive a retransmission later.
	return w.now-e.takenAt > ackLate && peer.end.out.under == 0
}

// taken says whether the peer's program is done with all that was sent to it.
func (e *Endpoint) taken(peer *Endpoint) bool {
	theirs := peer.book.with(e)
	if theirs == nil {
		return false
	}
	for i := range theirs.consumed {
		theirs.begin(peer, wire.Lane(i))
		if theirs.consumed[i] != e.book.outs[i].total() {
			return false
		}
	}
	return true
}
