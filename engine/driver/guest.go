package driver

import (
	"time"

	"github.com/lyquor/lyquor/engine/endpoint"
	"github.com/lyquor/lyquor/engine/outbox"
)

// Guest is a handle that lives under a worker without being driven: an inbox. It
// ends with its driver, or when it is closed.
type Guest struct {
	worker *worker
	slot   *outbox.Slot
	handle outbox.Handle
	closed func(done func())
	over   bool
	lease  lease
}

// NewGuest makes a handle. closed is called once on a worker when the guest is to
// end; it calls done, from any goroutine, when it has.
func (d *Driver) NewGuest(kind outbox.Kind, closed func(done func())) (*Guest, error) {
	if d.closing.Load() {
		return nil, ErrClosed
	}
	w := d.workers[0]
	slot, err := d.table.Allocate(kind, w.index, d.budget, 0)
	if err != nil {
		return nil, failure(endpoint.Limit, "%v", err)
	}
	g := &Guest{worker: w, slot: slot, handle: outbox.Handle(slot.ID.Load()), closed: closed}
	if !w.post(g.start) {
		d.markClosed(slot)
		d.table.Retire(slot)
		return nil, ErrClosed
	}
	return g, nil
}

func (g *Guest) start() {
	g.worker.enter(g.slot, g)
	if g.worker.closing {
		g.shut(0)
	}
}

func (g *Guest) visit(int64) {
	if g.slot.Command.Swap(0)&outbox.CommandClose != 0 {
		g.shut(0)
	}
}

func (g *Guest) resume() {}

func (g *Guest) shut(time.Duration) {
	if g.over {
		return
	}
	g.over = true
	g.worker.shield(func() { g.closed(func() { g.worker.post(g.end) }) })
}

func (g *Guest) end() {
	d := g.worker.driver
	d.markClosed(g.slot)
	g.worker.leave(g.slot)
	g.lease.end()
	d.table.Retire(g.slot)
}

// Close ends the guest.
func (g *Guest) Close() {
	g.lease.use(func() { g.worker.driver.askToClose(g.slot) })
}

// Slot returns what the guest shares with C.
func (g *Guest) Slot() *outbox.Slot { return g.slot }

// Handle returns the guest's handle.
func (g *Guest) Handle() outbox.Handle { return g.handle }

func (g *Guest) home() *worker { return g.worker }

func (g *Guest) receiver() (Sink, bool) { return nil, !g.over }
