package sim

import (
	"fmt"

	"github.com/lyquor/lyquor/engine/endpoint"
	"github.com/lyquor/lyquor/engine/wire"
)

// Listener accepts endpoints at one address until its process ends.
type Listener struct {
	node    *Node
	addr    string
	options Options
	handler Handler
}

// Listen accepts endpoints at an address, any name that no other node uses. Each
// calls the handler, with EventUp first.
func (n *Node) Listen(addr string, o Options, h Handler) (*Listener, error) {
	if at := n.world.addresses[addr]; at != nil && at != n {
		return nil, fmt.Errorf("sim: %s listens at %q already", at.name, addr)
	}
	n.world.addresses[addr] = n
	l := &Listener{node: n, addr: addr, options: o, handler: h}
	n.listeners[addr] = l
	return l, nil
}

// knock is the arrival of a link, in the kernel.
func (n *Node) knock(e *end) {
	if !n.up {
		e.Close()
		return
	}
	n.knocks = append(n.knocks, e)
	n.soon()
}

// accept makes an endpoint for a link that arrived.
func (n *Node) accept(link *end) {
	from := link.peer().owner
	l := n.listeners[link.link.addr]
	if l == nil {
		link.Close()
		return
	}
	e, err := n.newEndpoint(l.addr, false, l.options, l.handler)
	if err != nil {
		n.world.fail("%s cannot accept: %v", n.name, err)
		return
	}
	e.book.meets(e, from)
	e.attach(link)
}

// resumes says whether the node has the session that a peer names.
func (e *Endpoint) resumes(hello wire.Hello) bool {
	e.offered = hello.Session
	holder := e.node.sessions[hello.Session]
	return holder != nil && holder != e && holder.core.Phase() <= endpoint.Open
}

// forget drops the session of an endpoint that ends.
func (n *Node) forget(e *Endpoint) {
	if n.sessions[e.session] == e {
		delete(n.sessions, e.session)
	}
}

// offer gives this endpoint's link to the one that has the session, and is over; or
// it begins a new session with the peer.
func (e *Endpoint) offer(now int64) {
	n := e.node
	holder, from := n.sessions[e.offered], e.end.peer().owner
	if holder == nil || !holder.core.Adopt(now, e.core) {
		e.core.Refuse(now)
		e.consume(now)
		return
	}
	n.world.check(holder.book.source(holder) == from, "%v: another endpoint resumed the session", holder)
	if holder.end != nil {
		holder.end.Close()
	}
	n.world.giveBuffer(holder.input)
	holder.end, holder.input, holder.wroteEnd = e.end, e.input, false
	holder.end.owner = holder
	holder.beganAt, holder.heardAt = now, now
	e.end, e.input = nil, nil
	e.told = true
	e.core.Abort(endpoint.Reset, "its link belongs to another")
	n.world.counts.Resumes++
	if len(holder.input) > 0 {
		holder.consume(now)
	}
	holder.becomesReady()
	n.sched.Ready(&e.task) // which buries it
}
