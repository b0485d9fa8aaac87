package driver

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lyquor/lyquor/engine/endpoint"
	"github.com/lyquor/lyquor/engine/outbox"
	"github.com/lyquor/lyquor/engine/transport"
)

// ErrClosed says that the driver, endpoint or listener is closed.
var ErrClosed = &Error{endpoint.Gone, "closed"}

// Error is a failure with its code.
type Error struct {
	Code endpoint.Code
	Text string
}

// Error returns the text.
func (e *Error) Error() string { return e.Text }

func failure(code endpoint.Code, format string, args ...any) *Error {
	return &Error{code, fmt.Sprintf(format, args...)}
}

// Driver is a pool of workers that run endpoints. All methods may be called from
// any goroutine, also from a Sink's methods; none waits but Listen (for a name to
// be resolved) and Wait.
type Driver struct {
	options    Options
	table      *outbox.Table
	slot       *outbox.Slot
	budget     uint32
	workers    []*worker
	transports map[string]transport.Transport // constant
	start      time.Time
	running    sync.WaitGroup // workers
	others     atomic.Int32   // workers that run, but for the first, which ends last
	evened     atomic.Int64   // when a worker last gave endpoints away to even things out
	entities   atomic.Int64   // what the workers drive, with what is on its way between them
	closed     chan struct{}  // closed when the last worker has ended
	closing    atomic.Bool
	sessions   sessions
}

// process is what all drivers of the process share.
var process struct {
	sync.Mutex
	table   *outbox.Table
	bells   []bool // in use
	budgets []bool
	workers int // of all drivers
	ringing map[*outbox.Bell]*worker
}

// Table returns the process's table of handles and memory, making it at the first
// call.
func Table() (*outbox.Table, error) {
	process.Lock()
	defer process.Unlock()
	return lockedTable()
}

func lockedTable() (*outbox.Table, error) {
	if process.table == nil {
		t, err := outbox.NewTable(outbox.Default())
		if err != nil {
			return nil, failure(endpoint.NoMemory, "no address space for messages: %v", err)
		}
		process.table = t
		process.bells = make([]bool, t.Bells())
		process.budgets = make([]bool, t.Budgets())
		process.ringing = make(map[*outbox.Bell]*worker)
	}
	return process.table, nil
}

// Open starts a driver.
func Open(o Options) (*Driver, error) {
	if err := o.complete(); err != nil {
		return nil, failure(endpoint.Invalid, "%v", err)
	}
	d := &Driver{
		options:    o,
		transports: map[string]transport.Transport{},
		start:      time.Now(),
		closed:     make(chan struct{}),
		sessions:   sessions{most: maxWaiting, limit: uint64(o.MemoryLimit)},
	}
	for _, t := range o.Transports {
		for _, scheme := range t.Schemes() {
			d.transports[scheme] = t
		}
	}
	if err := d.acquire(); err != nil {
		return nil, err
	}
	for i := range d.workers {
		if err := d.workers[i].open(); err != nil {
			for _, w := range d.workers[:i] {
				d.track(w.poller, false)
				w.close()
			}
			d.release()
			return nil, failure(endpoint.Limit, "start worker %d: %v", i+1, err)
		}
	}
	if err := d.startWorkers(); err != nil {
		return nil, err
	}
	go d.finish()
	return d, nil
}

// acquire takes the driver's share of the process: a budget, a bell a worker, and
// enough of Go's processors that a worker woken by the kernel need not wait for
// one (a worker that must queue for it is late by milliseconds).
func (d *Driver) acquire() error {
	process.Lock()
	defer process.Unlock()
	t, err := lockedTable()
	if err != nil {
		return err
	}
	budget, ok := take(process.budgets, 1)
	if !ok {
		return failure(endpoint.Limit, "%d drivers are open, no more are possible", len(process.budgets))
	}
	bells, ok := take(process.bells, d.options.Workers)
	if !ok {
		process.budgets[budget[0]] = false
		return failure(endpoint.Limit, "all %d workers that a process may have are in use", len(process.bells))
	}
	d.table, d.budget = t, budget[0]
	b := t.Budget(d.budget)
	b.Limit.Store(d.options.MemoryLimit)
	b.Epoch.Store(d.epoch())
	if d.slot, err = t.Allocate(outbox.KindDriver, bells[0], d.budget, 0); err != nil {
		process.budgets[d.budget] = false
		for _, bell := range bells {
			process.bells[bell] = false
		}
		return failure(endpoint.Limit, "%v", err)
	}
	for i, bell := range bells {
		w := &worker{driver: d, number: i, index: bell, bell: t.Bell(bell)}
		w.rungBefore = w.bell.Counts()
		d.workers = append(d.workers, w)
		process.ringing[w.bell] = w
	}
	process.workers += d.options.Workers
	if runtime.GOMAXPROCS(0) < process.workers+2 {
		runtime.GOMAXPROCS(process.workers + 2)
	}
	return nil
}

// epoch returns when the driver's clock began, by the clock of threads in C. What comes
// between a look at one and at the other makes the difference larger, so it is the least
// of some.
func (d *Driver) epoch() int64 {
	if d.options.Monotonic == nil {
		return 0
	}
	least := int64(math.MaxInt64)
	for range 5 {
		now := d.Now()
		least = min(least, d.options.Monotonic()-now)
	}
	return least
}

// take marks n free entries as used and returns them.
func take(used []bool, n int) (indices []uint32, ok bool) {
	for i := range used {
		if !used[i] {
			indices = append(indices, uint32(i))
		}
		if len(indices) == n {
			for _, i := range indices {
				used[i] = true
			}
			return indices, true
		}
	}
	return nil, false
}

// release gives the driver's share of the process back.
func (d *Driver) release() {
	process.Lock()
	defer process.Unlock()
	for _, w := range d.workers {
		process.bells[w.index] = false
		delete(process.ringing, w.bell)
	}
	process.budgets[d.budget] = false
	process.workers -= len(d.workers)
	d.table.Retire(d.slot)
}

func (d *Driver) startWorkers() error {
	ready := make(chan error, len(d.workers))
	d.running.Add(len(d.workers))
	d.others.Store(int32(len(d.workers) - 1))
	for _, w := range d.workers {
		go w.run(ready)
	}
	var failed error
	for range d.workers {
		if err := <-ready; err != nil && failed == nil {
			failed = failure(endpoint.Invalid, "%v", err)
		}
	}
	if failed != nil {
		d.Close(0)
		go d.finish()
	}
	return failed
}

// finish waits for the workers and gives back what the driver had.
func (d *Driver) finish() {
	d.running.Wait()
	for _, w := range d.workers {
		d.track(w.poller, false)
		w.close()
	}
	d.markClosed(d.slot)
	close(d.closed)
	d.release()
}

// markClosed is the end of a handle: waiters see it, and nothing mentions it again.
func (d *Driver) markClosed(s *outbox.Slot) {
	s.State.Or(outbox.StateClosed)
	d.wake(&s.State, s)
}

// wake wakes threads in C that wait for a slot's word.
func (d *Driver) wake(word *atomic.Uint32, s *outbox.Slot) {
	if d.options.Wake != nil && (word != &s.State || s.State.Load()&outbox.StateSleeps != 0) {
		d.options.Wake(word)
	}
}

// Handle returns the driver's handle.
func (d *Driver) Handle() outbox.Handle { return outbox.Handle(d.slot.ID.Load()) }

// Now returns the driver's time: nanoseconds since it was opened, and 1 at least.
func (d *Driver) Now() int64 { return int64(time.Since(d.start)) + 1 }

// Close ends the driver: its listeners at once, its endpoints within linger
// (negative: for ever), then its workers. It may be called again and does not wait.
func (d *Driver) Close(linger time.Duration) {
	d.closing.Store(true)
	for _, w := range d.workers {
		w.post(func() { w.shut(linger) })
	}
}

// obey carries out what a C program asked for through the slot.
func (d *Driver) obey() {
	command, epoch := d.slot.Asked()
	if command&outbox.CommandResume != 0 {
		d.quieted(d.slot, epoch-1) // as in Endpoint.obey
		for _, w := range d.workers {
			w.post(w.resume)
		}
	}
	if command&outbox.CommandClose != 0 {
		d.Close(time.Duration(d.slot.Linger()) * time.Millisecond)
	}
	if command&outbox.CommandQuiesce != 0 {
		d.quiesce(epoch)
	}
}

// quiesce ends callbacks on all workers; the last one says so. It may do that late,
// when the program has given up, resumed and asked again: hence the epoch.
func (d *Driver) quiesce(epoch uint32) {
	left := new(atomic.Int32)
	left.Store(int32(len(d.workers)))
	done := func() {
		if left.Add(-1) == 0 {
			d.quieted(d.slot, epoch)
		}
	}
	for _, w := range d.workers {
		if !w.post(func() { w.quiet = true; done() }) {
			done() // it has ended
		}
	}
}

// quieted answers each CommandQuiesce of an epoch, and of those before.
func (d *Driver) quieted(s *outbox.Slot, epoch uint32) {
	s.Quieten(epoch)
	d.wake(&s.State, s)
}

// Wait returns once the driver is closed, or with ctx's error.
func (d *Driver) Wait(ctx context.Context) error {
	select {
	case <-d.closed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// transportOf returns the transport that serves an address.
func (d *Driver) transportOf(addr string) (transport.Transport, error) {
	scheme, _, ok := strings.Cut(addr, "://")
	if t := d.transports[scheme]; ok && t != nil {
		return t, nil
	}
	known := slices.Sorted(maps.Keys(d.transports))
	return nil, failure(endpoint.BadAddress, "address %q: no transport for it; known are the schemes %s",
		addr, strings.Join(known, ", "))
}

// incarnation draws the 128 random bits that name a life of an endpoint.
func incarnation() (id [16]byte) {
	// crypto/rand.Read never fails: the program ends where no randomness is to be had
	// since Go 1.24.
	_, _ = rand.Read(id[:])
	return id
}

// codeOf maps a transport's error to a code.
func codeOf(err error) endpoint.Code {
	var te *transport.Error
	if !errors.As(err, &te) {
		return endpoint.Reset
	}
	switch te.Cause {
	case transport.BadAddress, transport.Unresolved, transport.UnknownScheme:
		return endpoint.BadAddress
	case transport.InUse:
		return endpoint.Busy
	case transport.Refused:
		return endpoint.Refused
	case transport.Unreachable, transport.Denied:
		return endpoint.Unreached
	case transport.TimedOut:
		return endpoint.TimedOut
	case transport.Exhausted:
		return endpoint.Limit
	case transport.Canceled:
		return endpoint.Gone
	}
	return endpoint.Reset
}

// isBadAddress says that an address cannot be used, now or later.
func isBadAddress(err error) bool {
	var te *transport.Error
	return errors.As(err, &te) && te.Cause == transport.BadAddress
}

func (d *Driver) log(level int, id, format string, args ...any) {
	if d.options.Log != nil {
		d.options.Log(level, id, fmt.Sprintf(format, args...))
	}
}
