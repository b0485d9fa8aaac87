package driver

// WorkerCounter names a counter of a worker. The order is that of the C API.
type WorkerCounter int

// The counters.
const (
	Turns         WorkerCounter = iota // turns of the event loop
	Wakes                              // wakes that others had to write
	Notices                            // endpoints that producers rang for; those beyond Wakes cost no system call
	Polls                              // calls of the poller
	Sleeps                             // of these, those that may have slept
	Reads                              // reads of links
	Writes                             // writes of links
	BytesRead                          // from links
	BytesWritten                       // to links
	Frames                             // messages received
	BudgetCuts                         // steps that ended because their budget was used up
	Timers                             // deadlines that came
	TimerLate                          // sum of how late they were noticed, in nanoseconds
	SlowCallbacks                      // callbacks that took longer than a millisecond
	Endpoints                          // endpoints, listeners and timers now
	Moves                              // endpoints that came from other workers
	WorkerCounters
)

func (w *worker) count(c WorkerCounter, n uint64) {
	// Only the worker writes, so a load and a store do.
	w.counters[c].Store(w.counters[c].Load() + n)
}

// countTimers brings the counters of deadlines up to date.
func (w *worker) countTimers() {
	fired, late := w.sched.Timers()
	if fired != w.counters[Timers].Load() {
		w.counters[Timers].Store(fired)
		w.counters[TimerLate].Store(uint64(late))
	}
}

// WorkerCounts returns the counters of worker n, from 1.
func (d *Driver) WorkerCounts(n int) (out [WorkerCounters]uint64, ok bool) {
	if n < 1 || n > len(d.workers) {
		return out, false
	}
	w := d.workers[n-1]
	for i := range out {
		out[i] = w.counters[i].Load()
	}
	out[Wakes] = w.bell.Counts() - w.rungBefore
	out[Endpoints] = uint64(w.load.Load())
	return out, true
}

// Counts returns the sum of all workers' counters.
func (d *Driver) Counts() (sum [WorkerCounters]uint64) {
	for n := range d.workers {
		one, _ := d.WorkerCounts(n + 1)
		for i := range sum {
			sum[i] += one[i]
		}
	}
	return sum
}

// Workers returns how many workers the driver has.
func (d *Driver) Workers() int { return len(d.workers) }
