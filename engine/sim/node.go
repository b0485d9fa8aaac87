package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/lyquor/lyquor/engine/driver/sched"
	"github.com/lyquor/lyquor/engine/outbox"
)

// Node is a simulated machine with one process, which has one worker: a scheduler
// that turns its endpoints and timers.
type Node struct {
	world *World
	name  string
	index int // also of its bell and its budget
	boot  func(*Node)
	clock clock

	up      bool // the process runs, or is paused
	dark    bool // the machine is off: it answers nothing
	paused  bool
	refuses bool
	slow    bool
	deaf    bool
	turnAt  int64  // when the next turn is planned; 0: none is
	turns   uint64 // plans made; only the last counts
	missed  bool   // a turn was due while the process was paused
	awakeAt int64  // since when the process runs, on its own clock

	// The process's memory.
	sched     sched.Scheduler
	slots     map[uint32]*Endpoint // by index of their slot
	endpoints []*Endpoint          // in order of their making
	timers    []*Timer             // that have not fired, in no order
	threads   []func()             // that were due in a pause
	sessions  map[[16]byte]*Endpoint
	listeners map[string]*Listener
	knocks    []*end // links to be accepted
	life      int    // counts the starts of the process
}

const (
	// clockSpread is how far apart the clocks of nodes may begin.
	clockSpread = int64(time.Hour)
	// turnMin and turnMore are what a turn of a worker takes: some microseconds.
	turnMin  = int64(time.Microsecond)
	turnMore = 10 * int64(time.Microsecond)
)

// Node adds a node whose process runs boot, now and after each Restart. It panics
// when there are more than 64, or two of one name.
func (w *World) Node(name string, boot func(*Node)) *Node {
	for _, n := range w.nodes {
		if n.name == name {
			panic(fmt.Sprintf("sim: there is a node %q already", name))
		}
	}
	if len(w.nodes) == maxNodes {
		panic(fmt.Sprintf("sim: more than %d nodes", maxNodes))
	}
	n := &Node{world: w, name: name, index: len(w.nodes), boot: boot}
	n.clock = clock{world: w.now, node: 1 + w.rand.Int64N(clockSpread)}
	w.nodes = append(w.nodes, n)
	for i := range w.nodes {
		for len(w.paths[i]) < len(w.nodes) {
			w.paths[i] = append(w.paths[i], path{config: w.config.Link})
		}
	}
	w.table.Budget(uint32(n.index)).Limit.Store(w.config.Memory)
	w.plan(w.now, noteCall, n.begin)
	return n
}

// Name returns the node's name.
func (n *Node) Name() string { return n.name }

// World returns the world that the node is in.
func (n *Node) World() *World { return n.world }

// Now returns the time on the node's own monotonic clock, which began anywhere and
// may run fast or slow.
func (n *Node) Now() time.Duration { return time.Duration(n.now()) }

func (n *Node) now() int64 { return n.clock.now(n.world.now) }

// Rand returns the source of randomness for the node's program.
func (n *Node) Rand() *rand.Rand { return n.world.rand }

// Up says whether the process runs, or is paused.
func (n *Node) Up() bool { return n.up }

// begin starts the process.
func (n *Node) begin() {
	if n.up {
		return
	}
	n.up, n.dark, n.paused = true, false, false
	n.life++
	n.awakeAt = n.now()
	n.sched = sched.Scheduler{}
	n.slots = make(map[uint32]*Endpoint)
	n.sessions = make(map[[16]byte]*Endpoint)
	n.listeners = make(map[string]*Listener)
	n.world.table.Bell(uint32(n.index)).Sleep()
	n.boot(n)
	n.wake(n.world.now)
}

// end is the end of the process: all its memory is gone.
func (n *Node) end() {
	if !n.up {
		return
	}
	n.up = false
	n.turns++ // what was planned
	n.turnAt, n.missed = 0, false
	for _, e := range slices.Clone(n.endpoints) {
		e.die()
	}
	for _, knock := range n.knocks {
		knock.Close()
	}
	n.knocks, n.listeners, n.slots, n.sessions, n.endpoints, n.timers = nil, nil, nil, nil, nil, nil
	n.threads = nil
	n.world.table.Notices(uint32(n.index), func(*outbox.Slot) {}, func(*outbox.Bell) {})
	used := n.world.table.Budget(uint32(n.index)).Used.Load()
	n.world.check(used == 0, "%s ended and holds %d bytes", n.name, used)
}

// wake has the worker take a turn at a time of the world, if none is planned before.
func (n *Node) wake(at int64) {
	w := n.world
	at = max(at, w.now+1)
	if !n.up || n.turnAt != 0 && n.turnAt <= at {
		return
	}
	n.turnAt = at
	n.turns++
	turn := n.turns
	w.plan(at, noteTurn, func() {
		if turn != n.turns {
			return
		}
		n.turnAt = 0
		if n.missed = n.paused; !n.missed {
			n.turn()
		}
	})
}

// turn does what a worker does: it looks at notices and timers, steps what is ready,
// and sleeps until something is due.
func (n *Node) turn() {
	w := n.world
	now, bell := n.now(), w.table.Bell(uint32(n.index))
	w.note(noteTurn, uint64(n.index), uint64(now))
	bell.Awake()
	w.table.Notices(uint32(n.index), n.notice, func(*outbox.Bell) {})
	knocks := n.knocks
	n.knocks = nil
	for _, knock := range knocks {
		n.accept(knock)
	}
	n.sched.Expire(now)
	n.sched.Turn(now)
	bell.Sleep()
	used := w.table.Budget(uint32(n.index)).Used.Load()
	w.check(used <= w.config.Memory, "%s holds %d bytes; its bound is %d", n.name, used, w.config.Memory)
	if n.sched.Busy() || bell.Pending() || len(n.knocks) > 0 {
		n.soon()
	} else if due := n.sched.Next(); due != 0 {
		n.wake(n.clock.when(due))
	}
}

// soon has the worker take a turn as soon as it can.
func (n *Node) soon() { n.wake(n.world.now + turnMin + n.world.rand.Int64N(turnMore)) }

// notice is what a producer rang for.
func (n *Node) notice(s *outbox.Slot) {
	if e := n.slots[outbox.Handle(s.ID.Load()).Index()]; e != nil {
		n.sched.Ready(&e.task)
	}
}

// Thread calls do once when d has passed, unless the process ends, as a thread of the
// program does it beside the worker: what it sends has to wake the worker.
func (n *Node) Thread(d time.Duration, do func()) {
	life := n.life
	n.world.plan(n.clock.when(n.now()+max(int64(d), 1)), noteCall, func() {
		switch {
		case !n.up || n.life != life:
		case n.paused:
			n.threads = append(n.threads, do)
		default:
			do()
		}
	})
}

// Timer calls a function once, in the node's process.
type Timer struct {
	node  *Node
	life  int
	task  sched.Node
	due   int64
	place int // in the node's list
	call  func()
}

// Timer calls do when d has passed on the node's clock, unless the process ends.
func (n *Node) Timer(d time.Duration, do func()) *Timer {
	t := &Timer{node: n, life: n.life, due: n.now() + max(int64(d), 1), place: len(n.timers), call: do}
	n.timers = append(n.timers, t)
	t.task.Init(t)
	n.sched.SetDeadline(&t.task, t.due)
	n.wake(n.clock.when(t.due))
	return t
}

// forget takes the timer out of the node's list.
func (t *Timer) forget() {
	n := t.node
	last := len(n.timers) - 1
	n.timers[t.place] = n.timers[last]
	n.timers[t.place].place = t.place
	n.timers = n.timers[:last]
	t.due = 0
}

// Stop takes a timer back; it does nothing if the time has come, or the process ended.
func (t *Timer) Stop() {
	if t.life == t.node.life && t.due != 0 {
		t.forget()
		t.node.sched.Remove(&t.task)
	}
}

// Step is never called: a timer has a deadline only.
func (t *Timer) Step(int64) bool { return false }

// Expire makes the call.
func (t *Timer) Expire(now int64) {
	t.node.inTime(now, t.due, "a timer of its program")
	t.forget()
	t.call()
}
