package sim

import "time"

// What can happen to a node.

// Crash ends the process, now: what it had in memory is lost. If the machine is off
// with it (dark), peers are told nothing; else its system ends the links for it.
func (n *Node) Crash(dark bool) {
	n.world.plan(n.world.now, noteFault, func() {
		if !n.up {
			return
		}
		n.world.tell("%s crashed", n.name)
		n.dark = dark
		n.end()
	})
}

// Restart begins the process again that has crashed: boot runs.
func (n *Node) Restart() {
	n.world.plan(n.world.now, noteFault, func() {
		if n.up {
			return
		}
		n.world.tell("%s started again", n.name)
		n.dark = false
		for _, l := range n.world.links {
			for i := range l.ends {
				// The system answers what is for a connection of its former life.
				if e := &l.ends[i]; e.node == n && e.closed && e.owed {
					e.owed = false
					e.reset()
				}
			}
		}
		n.begin()
	})
}

// Pause stops the process as SIGSTOP does: nothing runs in it, while its system goes
// on to receive, and to accept links, until buffers are full.
func (n *Node) Pause() {
	if n.up && !n.paused {
		n.world.tell("%s pauses", n.name)
		n.paused = true
	}
}

// Continue ends Pause.
func (n *Node) Continue() {
	if !n.paused {
		return
	}
	n.world.tell("%s continues", n.name)
	n.paused, n.awakeAt = false, n.now()
	for _, do := range n.threads {
		n.Thread(0, do)
	}
	n.threads = nil
	if n.missed {
		n.missed = false
		n.soon()
	}
}

// Refuse has the node's system refuse all attempts to connect, or no longer.
func (n *Node) Refuse(refuse bool) {
	if n.refuses != refuse {
		n.world.tell("%s refuses: %v", n.name, refuse)
		n.refuses = refuse
	}
}

const (
	// slowShare is how many of 1000 messages a slow program leaves for later.
	slowShare = 300
	// slowest is how long it takes over one of them at most.
	slowest = int64(20 * time.Millisecond)
)

// Slow has the node's handlers leave some messages for later, as if the program had
// done so, or no longer.
func (n *Node) Slow(slow bool) {
	if n.slow != slow {
		n.world.tell("%s is slow: %v", n.name, slow)
		n.slow = slow
	}
}

// dawdles says whether a message is left for later, and plans that.
func (e *Endpoint) dawdles() bool {
	n := e.node
	if !n.slow || !n.world.chance(slowShare) {
		return false
	}
	n.Timer(time.Duration(n.world.rand.Int64N(slowest)), e.Resume)
	return true
}

// Deafen has the node's endpoints read nothing, as where the program has not released
// what it was given, or read again. They say that they live all the same.
func (n *Node) Deafen(deaf bool) {
	if n.deaf == deaf {
		return
	}
	n.world.tell("%s is deaf: %v", n.name, deaf)
	n.deaf, n.awakeAt = deaf, n.now()
	for _, e := range n.endpoints {
		e.becomesReady()
	}
}

// maxDrift bounds the drift of clocks, in parts per million: far more than any real
// clock has.
const maxDrift = 500_000

// Skew has the node's clock run faster by so many parts per million from now on, or
// slower. It never jumps.
func (n *Node) Skew(drift int64) {
	n.world.tell("the clock of %s drifts by %d ppm", n.name, drift)
	n.clock.skew(n.world.now, min(max(drift, -maxDrift), maxDrift))
	if due := n.sched.Next(); n.up && due != 0 {
		n.wake(n.clock.when(due))
	}
}
