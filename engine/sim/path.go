package sim

import "time"

// LinkConfig is what a link between two nodes is like, in each direction. Zero
// fields mean the default.
type LinkConfig struct {
	Latency   time.Duration // of every byte, one way; default 100 µs
	Jitter    time.Duration // added at random, from 0 to this; bytes keep their order
	Bandwidth int64         // bytes per second; 0: no bound
	Buffer    int           // bytes under way at most, from the write to the read; default 256 KiB
}

const (
	defaultLatency = 100 * time.Microsecond
	// defaultBuffer is about what two sockets buffer between them.
	defaultBuffer = 256 << 10
	// retransmit is when what was lost on a path is sent again: TCP's initial
	// retransmission timeout (RFC 6298, 2.1).
	retransmit = int64(time.Second)
)

func (c LinkConfig) complete() LinkConfig {
	if c.Latency == 0 {
		c.Latency = defaultLatency
	}
	if c.Buffer == 0 {
		c.Buffer = defaultBuffer
	}
	return c
}

// path is the way from one node to another.
type path struct {
	config LinkConfig
	cut    bool // nothing arrives; it is sent again when the path is whole
}

// delay draws how long a packet is under way, in nanoseconds.
func (w *World) delay(p *path) int64 {
	d := int64(p.config.Latency)
	if j := int64(p.config.Jitter); j > 0 {
		d += w.rand.Int64N(j + 1)
	}
	return max(d, 1)
}

func (w *World) path(from, to *Node) *path { return &w.paths[from.index][to.index] }

// SetLink says what links between two nodes are like from now on, in both
// directions.
func (w *World) SetLink(a, b *Node, c LinkConfig) {
	w.path(a, b).config, w.path(b, a).config = c.complete(), c.complete()
}

// Cut lets nothing through from one node to another: what is under way waits, and
// attempts to connect time out.
func (w *World) Cut(from, to *Node) {
	w.tell("cut %s to %s", from.name, to.name)
	w.path(from, to).cut = true
}

// Mend undoes Cut.
func (w *World) Mend(from, to *Node) {
	p := w.path(from, to)
	if !p.cut {
		return
	}
	w.tell("mended %s to %s", from.name, to.name)
	p.cut = false
	for _, l := range w.links {
		for i := range l.ends {
			e := &l.ends[i]
			if e.node == from && e.peer().node == to {
				e.out.thaw(e)
			}
			if e.node == to && e.peer().node == from {
				e.out.free(e)
			}
		}
	}
}

// Partition cuts all paths between nodes of different groups, both ways. Nodes that
// are in no group form one.
func (w *World) Partition(groups ...[]*Node) {
	of := make([]int, len(w.nodes))
	for i, group := range groups {
		for _, n := range group {
			of[n.index] = i + 1
		}
	}
	for _, a := range w.nodes {
		for _, b := range w.nodes {
			if of[a.index] != of[b.index] {
				w.Cut(a, b)
			}
		}
	}
}

// Ring leaves each node only the paths to the next and the one before it, in the
// order in which they were made.
func (w *World) Ring() {
	for i, a := range w.nodes {
		for k, b := range w.nodes {
			if step := (k - i + len(w.nodes)) % len(w.nodes); step > 1 && step < len(w.nodes)-1 {
				w.Cut(a, b)
			}
		}
	}
}

// Heal ends what Cut, Partition, Ring, Refuse, Slow, Deafen and Pause have done. Crashed
// nodes stay down until Restart.
func (w *World) Heal() {
	for _, a := range w.nodes {
		a.Refuse(false)
		a.Continue()
		a.Slow(false)
		a.Deafen(false)
		for _, b := range w.nodes {
			w.Mend(a, b)
		}
	}
}
