package driver

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lyquor/lyquor/engine/arena"
	"github.com/lyquor/lyquor/engine/driver/sched"
	"github.com/lyquor/lyquor/engine/endpoint"
	"github.com/lyquor/lyquor/engine/outbox"
	"github.com/lyquor/lyquor/engine/transport"
)

// entity is what a worker drives by a slot: an endpoint, a listener or a timer.
type entity interface {
	// visit is called when the slot was noticed.
	visit(now int64)
	// resume is called when callbacks are allowed again.
	resume()
	// shut is called when the driver closes.
	shut(linger time.Duration)
}

// worker is one event loop. Its fields are its own but for those marked.
type worker struct {
	// Constant.
	driver     *Driver
	number     int
	index      uint32 // of its bell
	bell       *outbox.Bell
	rungBefore uint64 // what the bell had counted for drivers that are closed
	poller     poller
	seen       func(tag uint64, r transport.Ready) // ready as a value, made once

	sched    sched.Scheduler
	entities map[uint32]entity // by index of their slot
	vector   endpoint.Vector
	scratch  arena.Index // block that is read into for endpoints without leftover; not charged
	spill    input       // the store's block; not charged
	carries  [][]byte    // spare buffers for short leftovers
	house    housekeeper
	pace     pace
	hunch    hunch
	now      int64 // read once a turn
	lastWork int64 // when a turn last had something to do
	spins    uint  // looks without work since then
	threaded bool  // it has a thread of its own
	closing  bool
	linger   time.Duration // that it was shut with
	quiet    bool          // quiesced: no callback
	leaving  []departure   // endpoints that go to other workers when this turn is over
	stock                  // of what it and the others do

	waking sync.Mutex // guards ended; held while the poller is woken
	ended  bool       // the poller is closed

	mail     mailbox // any goroutine
	counters [WorkerCounters]atomic.Uint64
	calling  atomic.Int64 // when the callback that runs now began; 0: none runs
	load     atomic.Int64 // endpoints; for placing new ones
	effort   effort
}

func (w *worker) open() (err error) {
	w.entities = make(map[uint32]entity)
	w.seen = w.ready
	if w.poller, err = newPoller(w.driver.options.Portable); err != nil {
		return err
	}
	w.bell.SetDescriptor(w.poller.descriptor())
	w.driver.track(w.poller, true)
	w.house.init(w)
	return nil
}

// track tells the host of a poller's descriptors.
func (d *Driver) track(p poller, open bool) {
	for _, fd := range p.descriptors() {
		d.trackOne(fd, open)
	}
}

func (d *Driver) trackOne(fd int, open bool) {
	if d.options.Descriptor != nil && fd >= 0 {
		d.options.Descriptor(fd, open)
	}
}

// run is the worker's thread.
func (w *worker) run(ready chan<- error) {
	defer w.driver.running.Done()
	if hasEpoll && !w.driver.options.Portable {
		w.threaded = true
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		cpu := -1
		if w.driver.options.CPUs != nil {
			cpu = w.driver.options.CPUs[w.number]
		}
		ready <- tuneThread(fmt.Sprintf("%s-%d", w.driver.options.Name, w.number+1), cpu)
	} else {
		ready <- nil
	}
	debug.SetPanicOnFault(true)
	w.bell.Awake()
	for w.loop() {
	}
	w.releaseBlocks()
	if w.number > 0 {
		w.driver.others.Add(-1)
		w.driver.workers[0].post(func() {}) // which may be waiting for it
	}
}

// loop is one turn and the rest after it; it says whether to go on. A panic in what
// belongs to no endpoint is logged.
func (w *worker) loop() (again bool) {
	again = true
	w.shield(func() {
		if again = w.turn(); again {
			w.rest()
		}
	})
	return again
}

// turn does everything there is to do now, once. It returns false when the worker
// has ended.
func (w *worker) turn() bool {
	w.now = w.driver.Now()
	w.effort.begin(w.now)
	read := w.counters[BytesRead].Load()
	work := w.driver.table.Notices(w.index, w.notice, w.driver.wakeBell)
	w.count(Notices, uint64(work))
	work += w.mail.run(w.shield)
	w.sched.Expire(w.now)
	w.countTimers()
	work += w.sched.Turn(w.now)
	w.seeOff()
	w.count(Turns, 1)
	if work > 0 {
		w.lastWork = w.now
		if w.threaded {
			w.hunch.worked(w.spins > 0, w.counters[BytesRead].Load()-read)
		}
		w.spins = 0
	}
	return !w.mayEnd() || !w.mail.seal()
}

// mayEnd says whether nothing is left to do for good. Notices of what is with another
// worker now may yet come here, so none ends before all have nothing. The first worker
// ends last: what the program asks of the driver is noticed there.
func (w *worker) mayEnd() bool {
	d := w.driver
	return w.closing && d.entities.Load() == 0 && (w.number > 0 || d.others.Load() == 0)
}

// rest looks for readiness, and sleeps if nothing is left to do.
func (w *worker) rest() {
	now := w.driver.Now()
	w.takeStock(now)
	breath := w.pace.rest(now - w.now)
	if w.sched.Busy() || w.bell.Pending() || w.mail.full.Load() {
		if breath > 0 {
			restThread(breath)
		}
		w.poll(0)
		return
	}
	if busy := max(int64(w.driver.options.BusyPoll), w.hunch.window); busy > 0 && w.now-w.lastWork < busy {
		w.poll(0)
		if w.spins++; w.spins%yieldAfter == 0 {
			w.hunch.yield(w.driver.Now, yieldThread)
		}
		return
	}
	w.hunch.slept()
	w.bell.Sleep()
	if w.bell.Pending() || w.mail.full.Load() {
		w.bell.Awake()
		return
	}
	timeout := int64(-1)
	if due := w.sched.Next(); due != 0 {
		timeout = max(due-w.driver.Now(), 1)
	}
	w.count(Sleeps, 1)
	w.poll(timeout)
	w.bell.Awake()
}

// yieldAfter is how many looks a worker that spins takes before it lets others on
// its CPU go first: whoever is to answer it may be waiting there.
const yieldAfter = 4

func (w *worker) poll(timeout int64) {
	w.count(Polls, 1)
	w.poller.wait(timeout, w.seen)
}

// ready notes what the poller saw. The event may be of a life that is over.
func (w *worker) ready(tag uint64, r transport.Ready) {
	if e, ok := w.entities[uint32(tag)].(*Endpoint); ok && pollTag(e.handle) == tag {
		e.becomes(r)
	}
}

// pollTag is the tag of a handle: its index and generation.
func pollTag(h outbox.Handle) uint64 { return uint64(h.Generation())<<32 | uint64(h.Index()) }

// notice runs what a producer rang for.
func (w *worker) notice(s *outbox.Slot) {
	if s == w.driver.slot {
		w.driver.obey()
		return
	}
	if x := w.entities[outbox.Handle(s.ID.Load()).Index()]; x != nil {
		x.visit(w.now)
	}
}

// wakeBell wakes the worker of a bell, which may be another driver's: also one that has the
// bell after this one, for who rings late, when his driver is closed.
func (d *Driver) wakeBell(b *outbox.Bell) {
	for _, w := range d.workers {
		if w.bell == b && w.wake() {
			return
		}
	}
	process.Lock()
	w := process.ringing[b]
	process.Unlock()
	if w != nil {
		w.wake()
	}
}

// wake ends the poller's wait. A producer may come to it late, when the worker has
// ended and the poller's descriptor is closed, or somebody else's: then it is false.
func (w *worker) wake() bool {
	w.waking.Lock()
	defer w.waking.Unlock()
	if !w.ended {
		w.poller.wake()
	}
	return !w.ended
}

// close closes the poller, once no thread in C is about to write its descriptor. The
// worker has ended, awake, so none begins to.
func (w *worker) close() {
	for !w.bell.Silent() {
		runtime.Gosched()
	}
	w.waking.Lock()
	defer w.waking.Unlock()
	w.ended = true
	w.poller.close()
}

// askToClose has a slot's worker close what the slot stands for.
func (d *Driver) askToClose(s *outbox.Slot, h outbox.Handle) {
	s.Ask(h, outbox.CommandClose)
	if b := d.table.Ring(s); b != nil {
		d.wakeBell(b)
	}
}

// post gives the worker a command. It returns false if the worker has ended.
func (w *worker) post(command func()) bool {
	if !w.mail.put(command) {
		return false
	}
	if w.bell.Wake() != nil {
		w.wake()
	}
	return true
}

// resume delivers again after quiesce.
func (w *worker) resume() {
	w.quiet = false
	for _, x := range w.entities {
		x.resume()
	}
}

// shut begins the end of everything that the worker drives.
func (w *worker) shut(linger time.Duration) {
	w.closing, w.linger = true, linger
	for _, x := range w.entities {
		x.shut(linger)
	}
}

// enter puts an entity under the worker. One that comes after shut ends at once:
// nobody would tell it later.
func (w *worker) enter(s *outbox.Slot, x entity) {
	w.know(s, x)
	w.load.Add(1)
	w.catchUp(s, x)
	if w.closing {
		x.shut(0)
	}
}

// know has notices for a slot find its entity.
func (w *worker) know(s *outbox.Slot, x entity) {
	w.entities[outbox.Handle(s.ID.Load()).Index()] = x
	w.driver.entities.Add(1)
}

// catchUp visits an entity that was rung for before it was entered: that notice
// found nobody.
func (w *worker) catchUp(s *outbox.Slot, x entity) {
	if s.Asks() != 0 {
		x.visit(w.now)
	}
}

func (w *worker) leave(s *outbox.Slot) {
	delete(w.entities, outbox.Handle(s.ID.Load()).Index())
	w.load.Add(-1)
	if d := w.driver; d.entities.Add(-1) == 0 && d.closing.Load() {
		for _, other := range d.workers {
			other.post(func() {}) // it may have waited for this to end
		}
	}
}

// slowCallback is how long a callback may take before it is counted and logged.
const slowCallback = int64(time.Millisecond)

// begin notes that a callback of the program runs from now on.
func (w *worker) begin() (now int64) {
	now = w.driver.Now()
	w.calling.Store(now)
	return now
}

// end notes that it has returned, and says if it took long. It was a callback of an
// endpoint, or of nobody's (nil).
func (w *worker) end(e *Endpoint, what string, begin int64) {
	w.calling.Store(0)
	if took := w.driver.Now() - begin; took > slowCallback {
		w.slow(what, took)
		w.effort.stuck.Add(took)
		if w.scales != nil && e != nil {
			w.share(e).Stuck += took
		}
	}
}

func (w *worker) slow(what string, took int64) {
	w.count(SlowCallbacks, 1)
	w.driver.log(1, "callback.slow", "%s took %v on worker %d", what, time.Duration(took), w.number+1)
}

// payBlock charges a block to the driver; false if half of its memory is used: what is
// received can be copied, but senders must not wait for programs that take nothing.
func (d *Driver) payBlock() bool {
	b, size := d.table.Budget(d.budget), int64(d.table.Blocks().PieceSize())
	if b.Used.Add(size) > b.Limit.Load()/2 {
		b.Used.Add(-size)
		return false
	}
	return true
}

// takeBlock returns a block to read into; 0 if there is none in the process. It is not
// charged as long as the worker has it: two programs whose memory is full of messages
// for each other would else never read.
func (w *worker) takeBlock() arena.Index {
	block := w.driver.table.Blocks().TakeAny()
	if block != 0 {
		w.driver.table.RefBlock(block, outbox.Filling)
	}
	return block
}

// takeScratch sees to it that the worker has a block to read into.
func (w *worker) takeScratch() bool {
	if w.scratch == 0 {
		w.scratch = w.takeBlock()
	}
	return w.scratch != 0
}

// giveInput ends the filling of a block, if there is one, and its charge. What the program
// holds of it stays.
func (w *worker) giveInput(in *input) {
	t := w.driver.table
	if in.paid {
		t.Budget(w.driver.budget).Used.Add(-int64(t.Blocks().PieceSize()))
	}
	if in.block != 0 {
		t.UnrefBlock(in.block, outbox.Filling)
	}
	*in = input{}
}

// store copies frames that are held to a block that those of many endpoints share. It is
// for drivers whose memory has run out: they are not charged, for the windows bound them,
// and take no more than their size. Without any block they stay where they are.
func (w *worker) store(frames []byte) []byte {
	blocks := w.driver.table.Blocks()
	if s := &w.spill; s.block == 0 || blocks.PieceSize()-s.fill < len(frames) {
		next := w.takeBlock()
		if next == 0 {
			return frames
		}
		w.giveInput(s)
		s.block = next
	}
	to := blocks.Bytes(w.spill.block)[w.spill.fill:][:len(frames)]
	w.spill.fill += copy(to, frames)
	return to
}

// releaseBlocks gives back what the worker reads into.
func (w *worker) releaseBlocks() {
	scratch := input{block: w.scratch}
	w.scratch = 0
	w.giveInput(&scratch)
	w.giveInput(&w.spill)
}
