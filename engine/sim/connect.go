package sim

import "github.com/lyquor/lyquor/engine/endpoint"

// connect begins an endpoint's attempt to get a link. Its packets are sent again
// while nobody answers, until the endpoint gives the attempt up.
func (w *World) connect(e *Endpoint, attempt int) {
	to := w.addresses[e.goal()]
	if to == nil {
		to = e.node // nobody ever listened there: this very machine knows
	}
	w.plan(w.now+w.delay(w.path(e.node, to)), noteConnect, func() { w.ask(e, attempt, to) })
}

// ask is the arrival of an attempt at the other node, whose kernel answers even when
// the process is paused.
func (w *World) ask(e *Endpoint, attempt int, to *Node) {
	if !e.attempts(attempt) {
		return
	}
	if w.path(e.node, to).cut || to.dark {
		w.plan(w.now+retransmit, noteConnect, func() { w.connect(e, attempt) })
		return
	}
	accepts := to.up && !to.refuses && to.listeners[e.goal()] != nil
	w.plan(w.now+w.delay(w.path(to, e.node)), noteConnect, func() { w.answer(e, attempt, to, accepts) })
}

// answer is the arrival of the other node's answer.
func (w *World) answer(e *Endpoint, attempt int, to *Node, accepts bool) {
	switch {
	case !e.attempts(attempt):
	case w.path(to, e.node).cut:
		w.plan(w.now+retransmit, noteConnect, func() { w.connect(e, attempt) })
	case accepts:
		l := w.newLink(e.node, to)
		l.addr = e.goal()
		l.ends[0].owner = e
		l.ends[0].send(segmentOpen, nil)
		e.outcome.link = &l.ends[0]
		e.ready()
	default:
		e.outcome.code = endpoint.Refused
		e.ready()
	}
}
