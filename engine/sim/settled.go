package sim

import (
	"fmt"

	"github.com/lyquor/lyquor/engine/endpoint"
	"github.com/lyquor/lyquor/engine/wire"
)

// unsettled returns what is not as it should be once there are no faults, or "".
func (w *World) unsettled() string {
	for _, n := range w.nodes {
		for _, e := range n.endpoints {
			if why := e.unsettled(); why != "" {
				return fmt.Sprintf("%v: %s (%v)", e, why, e.summary())
			}
		}
	}
	return ""
}

func (e *Endpoint) unsettled() string {
	if !e.dialled && e.book.source(e).partner() != e {
		return "" // its peer is gone: it ends when its time is over
	}
	switch {
	case e.asked&askClose != 0 || e.core.Phase() >= endpoint.Leaving:
		return "not closed"
	case e.core.Phase() != endpoint.Open:
		return "not open"
	case !e.core.Acked():
		e.node.world.check(!e.untold(), "%v: all is consumed, and not acknowledged for long (%v)", e, e.summary())
		return "not acknowledged"
	case e.core.Paused():
		return "paused by its program"
	case e.finishes && !e.other().ended():
		return "its peer was not told of its end"
	case e.dialled && (e.partner() == nil || e.partner().done):
		return "open with an endpoint that has ended"
	}
	return ""
}

// partner returns the endpoint that a dialled one has its present session with, or
// nil if there is none, or the dialled one has ended.
func (e *Endpoint) partner() *Endpoint {
	if e == nil || e.done || len(e.book.sessions) == 0 {
		return nil
	}
	return e.book.sessions[len(e.book.sessions)-1].peer
}

// summary says where an endpoint stands.
func (e *Endpoint) summary() string {
	s := e.core.Phase().String()
	if e.end == nil {
		s += ", no link"
	} else {
		s += fmt.Sprintf(", %d bytes unread, %d under way", e.end.Unread(), e.end.out.under)
	}
	for i := range wire.Lane(wire.Lanes) {
		if l := e.core.Lane(i); l.Accepted > l.Acknowledged+l.Withdrawn {
			s += fmt.Sprintf(", %v: %d of %d acknowledged, %d queued", i, l.Acknowledged, l.Accepted, l.Queued)
		}
	}
	return s
}

// other returns the endpoint at the other side of the session.
func (e *Endpoint) other() *Endpoint {
	if e.dialled {
		return e.partner()
	}
	return e.book.source(e)
}

// ended says whether the program was told that the peer sends no more.
func (e *Endpoint) ended() bool {
	return e != nil && e.book.told < len(e.book.sessions) && e.book.sessions[e.book.told].ended
}
