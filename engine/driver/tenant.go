package driver

import (
	"github.com/lyquor/lyquor/engine/endpoint"
	"github.com/lyquor/lyquor/engine/outbox"
)

// tenant is what listeners, timers and guests have in common: a handle that lives
// under a worker until it is closed, or the driver is.
type tenant struct {
	driver *Driver
	worker *worker // constant, but for a timer, which is where its endpoint is
	slot   *outbox.Slot
	handle outbox.Handle
	lease  lease
}

// lodge takes a slot. The worker knows nothing of it until moveIn.
func (n *tenant) lodge(w *worker, kind outbox.Kind) error {
	d := w.driver
	if d.closing.Load() {
		return ErrClosed
	}
	slot, err := d.table.Allocate(kind, w.index, d.budget, 0)
	if err != nil {
		return failure(endpoint.Limit, "%v", err)
	}
	n.driver, n.worker, n.slot, n.handle = d, w, slot, outbox.Handle(slot.ID.Load())
	return nil
}

// moveIn has the worker run start, which enters the tenant there.
func (n *tenant) moveIn(post func(func()) bool, start func()) error {
	if !post(start) {
		n.forgo()
		return ErrClosed
	}
	return nil
}

// forgo gives the slot of a tenant back that the worker never knew.
func (n *tenant) forgo() {
	n.driver.markClosed(n.slot)
	n.driver.table.Retire(n.slot)
}

// depart is the last thing that the worker does for a tenant.
func (n *tenant) depart() {
	n.driver.markClosed(n.slot)
	n.worker.leave(n.slot)
	n.lease.end()
	n.driver.table.Retire(n.slot)
}

// askedToClose says whether the program asked for that through the slot.
func (n *tenant) askedToClose() bool {
	command, _ := n.slot.Asked()
	return command&outbox.CommandClose != 0
}

// Close begins the end: a listener accepts no more, and what it accepted lives on; a
// timer will not fire once no callback of its domain runs; a guest is told. It may be
// called again, at any time.
func (n *tenant) Close() {
	n.lease.use(func() { n.driver.askToClose(n.slot, n.handle) })
}

// Handle returns the handle.
func (n *tenant) Handle() outbox.Handle { return n.handle }
