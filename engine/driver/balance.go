package driver

import (
	"sync/atomic"
	"time"

	"github.com/lyquor/lyquor/engine/driver/sched"
)

const (
	// stockPeriod is how often a worker that has something to do compares itself with the
	// others. It looks at the end of a turn: no timer wakes it for that.
	stockPeriod = int64(100 * time.Millisecond)
	// stayNanos is how long an endpoint stays where it was moved to, at least.
	stayNanos = int64(time.Second)
)

// effort is what a worker has done so far, in nanoseconds, for the others to see.
type effort struct {
	turning atomic.Int64 // when the turn began that runs now; 0: none does
	busy    atomic.Int64 // in turns that had something to do
	stuck   atomic.Int64 // of that, in callbacks that took too long
}

func (f *effort) begin(now int64) { f.turning.Store(now) }

func (f *effort) end(took int64) {
	f.turning.Store(0)
	if took > 0 {
		f.busy.Add(took)
	}
}

// soFar returns what the worker has done, with what it does now: one that is stuck in a
// callback would else seem idle.
func (w *worker) soFar(now int64) sched.Load {
	l := sched.Load{Busy: w.effort.busy.Load(), Stuck: w.effort.stuck.Load()}
	if began := w.effort.turning.Load(); began != 0 && now > began {
		l.Busy += now - began
	}
	if began := w.calling.Load(); began != 0 && now-began > slowCallback {
		l.Stuck += now - began
	}
	return l
}

// stock is what a worker knows of itself and the others.
type stock struct {
	balance sched.Balance
	since   int64        // when the window began
	before  []sched.Load // what each worker had done by then; nil: there was none yet
	loads   []sched.Load // what each did in the last one
	// scales hold what each endpoint took in this window; nil: that is not measured.
	scales map[*Endpoint]*sched.Load
}

// takeStock ends a turn, and a window if it is time: then endpoints may go to a worker that
// has less to do. All this is for drivers that may balance.
func (w *worker) takeStock(now int64) {
	d := w.driver
	if d.options.NoBalance || len(d.workers) == 1 {
		return
	}
	took := int64(0)
	if w.lastWork == w.now {
		took = now - w.now
	}
	w.effort.end(took)
	if now-w.since < stockPeriod {
		return
	}
	window, first := now-w.since, w.before == nil
	if first {
		w.before, w.loads = make([]sched.Load, len(d.workers)), make([]sched.Load, len(d.workers))
	}
	for i, other := range d.workers {
		total := other.soFar(now)
		w.loads[i] = sched.Load{Busy: total.Busy - w.before[i].Busy, Stuck: total.Stuck - w.before[i].Stuck}
		w.before[i] = total
	}
	w.since = now
	if !first {
		w.compare(now, window)
	}
}

// compare decides what the window means.
func (w *worker) compare(now, window int64) {
	measure := w.balance.Window(w.number, window, w.loads)
	if w.scales != nil {
		w.evenOut(now, window)
	}
	w.scales = nil
	if measure {
		w.scales = map[*Endpoint]*sched.Load{}
	}
}

// weigh ends a step that is measured.
func (w *worker) weigh(e *Endpoint, begin int64) { w.share(e).Busy += w.driver.Now() - begin }

// share returns what an endpoint took in this window.
func (w *worker) share(e *Endpoint) *sched.Load {
	l := w.scales[e]
	if l == nil {
		l = new(sched.Load)
		w.scales[e] = l
	}
	return l
}

// evenOut gives endpoints away, unless another worker did a moment ago: what that changed
// has to be seen first.
func (w *worker) evenOut(now, window int64) {
	d, loads := w.driver, w.loads
	last := d.evened.Load()
	if now-last < stockPeriod {
		return
	}
	var mine []*Endpoint
	var shares []sched.Share
	for e, l := range w.scales {
		if w.entities[e.handle.Index()] == entity(e) {
			mine = append(mine, e)
			shares = append(shares, sched.Share{Load: *l, Stays: e.wanted.Load() != 0 || now < e.stays})
		}
	}
	which, to := w.balance.Choose(w.number, window, loads, shares)
	if len(which) == 0 || !d.evened.CompareAndSwap(last, now) {
		return
	}
	for _, i := range which {
		mine[i].stays = now + stayNanos
		w.leaving = append(w.leaving, departure{mine[i], d.workers[to]})
	}
	d.log(3, "worker.relieved", "worker %d, busy %d %% of the time, gives %d endpoints to worker %d, busy %d %%",
		w.number+1, 100*loads[w.number].Busy/window, len(which), to+1, 100*loads[to].Busy/window)
	w.seeOff()
}
