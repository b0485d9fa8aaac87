package sim

import (
	"github.com/lyquor/lyquor/engine/endpoint"
	"github.com/lyquor/lyquor/engine/wire"
)

// witness checks an event before the program is told of it.
func (b *book) witness(e *Endpoint, ev *Event) {
	w := e.node.world
	switch ev.Kind {
	case endpoint.EventUp, endpoint.EventDown:
		up := ev.Kind == endpoint.EventUp
		w.check(up && !b.up || !up && !b.down, "%v: UP or DOWN twice in succession", e)
		b.down = !up
		b.up = up
	case endpoint.EventEnded:
		b.ended(e)
	case endpoint.EventClosed:
		b.closed(e, ev)
	}
}

// ended checks that everything came that the peer sent before it ended its direction.
func (b *book) ended(e *Endpoint) {
	w, peer := e.node.world, b.source(e)
	if w.check(peer != nil && b.told < len(b.sessions), "%v: ENDED before UP", e); w.failure != nil {
		return
	}
	s := &b.sessions[b.told]
	w.check(!s.ended, "%v: ENDED twice", e)
	w.check(peer.finishes, "%v: ENDED, but the peer has not said so", e)
	s.ended = true
	for i := range s.next {
		s.begin(e, wire.Lane(i))
		o := &peer.book.outs[i]
		next := o.standing(peer, s.next[i], o.total())
		w.check(next == o.total(), "%v: ENDED before message %v/%d of %d", e, wire.Lane(i), next, o.total())
	}
}

// closed checks the last account, and the reason: neither side may ever find the
// other at fault, for both are the engine's.
func (b *book) closed(e *Endpoint, ev *Event) {
	w := e.node.world
	switch ev.Code {
	case endpoint.Protocol, endpoint.Version, endpoint.Internal:
		w.fail("%v: closed with %d: %s", e, ev.Code, ev.Text)
	}
	if len(b.sessions) == 0 && b.last != nil {
		// It left before it read HELLO, and what it had sent early may be acknowledged.
		b.meets(e, b.last)
	}
	var from [wire.Lanes]uint64
	if n := len(b.sessions); n > 0 {
		from = b.sessions[n-1].from
	}
	w.check(b.told+1 >= len(b.sessions), "%v: closed, and not told of %d restarts of the peer", e,
		len(b.sessions)-1-b.told)
	b.listed(e, &from, &ev.Lanes, ev.Unacked)
	// Two sides may close at once; who heard the peer first does not wait any more.
	inTime := e.closing && ev.Text == "closed by this side" && (e.closeBy == 0 || e.node.now() < e.closeBy)
	for i := range ev.Lanes {
		a := &ev.Lanes[i]
		b.audit(e, len(b.sessions)-1, i, a)
		if s := b.with(b.source(e)); s != nil && b.told == len(b.sessions)-1 {
			n := s.next[i] - s.first[i] - s.missed[i]
			w.check(n <= a.Received, "%v: %d messages of lane %v were delivered, and %d received",
				e, n, wire.Lane(i), a.Received)
		}
		w.check(len(b.sessions) > 0 || a.Accepted == b.outs[i].total(), "%v: %d messages of %d are in the account",
			e, a.Accepted, b.outs[i].total())
		w.check(!inTime || a.Acknowledged+a.Withdrawn == a.Accepted,
			"%v: closed in good order and time, with the account %+v", e, *a)
	}
}
