package driver

import (
	"time"

	"github.com/lyquor/lyquor/engine/outbox"
)

// Guest is a handle that lives under a worker without being driven: an inbox. It
// ends with its driver, or when it is closed.
type Guest struct {
	tenant
	closed func(done func())
	over   bool
	timers []*Timer // that go with it
}

// NewGuest makes a handle. closed is called once on a worker when the guest is to
// end; it calls done, from any goroutine, when it has.
func (d *Driver) NewGuest(kind outbox.Kind, closed func(done func())) (*Guest, error) {
	g := &Guest{closed: closed}
	if err := g.lodge(d.workers[0], kind); err != nil {
		return nil, err
	}
	if err := g.moveIn(g.worker.post, func() { g.worker.enter(g.slot, g) }); err != nil {
		return nil, err
	}
	return g, nil
}

func (g *Guest) visit(int64) {
	if g.askedToClose() {
		g.shut(0)
	}
}

func (g *Guest) resume() {}

func (g *Guest) shut(time.Duration) {
	if g.over {
		return
	}
	g.over = true
	endTimers(g)
	g.worker.shield(func() { g.closed(func() { g.worker.post(g.depart) }) })
}

// Post runs do on the guest's worker; it returns false, and does not, once that has ended.
func (g *Guest) Post(do func()) bool { return g.worker.post(do) }

// Slot returns what the guest shares with C.
func (g *Guest) Slot() *outbox.Slot { return g.slot }

func (g *Guest) home() *worker { return g.worker }

func (g *Guest) post(command func()) bool { return g.worker.post(command) }

func (g *Guest) receiver() (Sink, bool) { return nil, !g.over }

func (g *Guest) own() *[]*Timer { return &g.timers }
