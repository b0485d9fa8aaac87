package sim

import "slices"

// between calls do with each link between two nodes that both still hold.
func (w *World) between(a, b *Node, do func(at, far *end)) {
	for _, l := range slices.Clone(w.links) {
		for i := range l.ends {
			e := &l.ends[i]
			if e.node == a && e.peer().node == b && !e.closed && !e.peer().closed {
				do(e, e.peer())
				break
			}
		}
	}
}

// Reset breaks every link between two nodes. What is under way is lost, in the
// middle of a frame or not, and each side learns of it at its own time.
func (w *World) Reset(a, b *Node) {
	w.tell("reset between %s and %s", a.name, b.name)
	w.between(a, b, func(x, y *end) {
		for _, e := range [...]*end{x, y} {
			e.out.queue, e.out.lost = nil, true
			w.plan(w.now+w.delay(e.path()), noteFault, func() {
				e.breaks()
				e.tellOwner()
			})
		}
	})
}

// HalfOpen breaks every link between two nodes so that only the first notices. To the
// other it looks as if the peer were silent.
func (w *World) HalfOpen(notices, other *Node) {
	w.tell("half-open: %s lost %s", notices.name, other.name)
	w.between(notices, other, func(x, y *end) {
		y.out.queue, y.out.lost = nil, true
		x.breaks()
		x.tellOwner()
	})
}
