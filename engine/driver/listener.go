package driver

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lyquor/lyquor/engine/endpoint"
	"github.com/lyquor/lyquor/engine/outbox"
	"github.com/lyquor/lyquor/engine/transport"
	"github.com/lyquor/lyquor/engine/wire"
)

// Listener accepts endpoints at one address.
type Listener struct {
	tenant
	options EndpointOptions
	sink    func(*Endpoint) Sink
	drop    func()
	uses    atomic.Int32 // itself, and each accept that may still make a sink

	mu    sync.Mutex
	inner transport.Listener // nil until bound, and once closed
}

// Listen binds addr and accepts endpoints with options o until it is closed; sink
// makes each one's sink, on its worker. drop, if not nil, is called once the
// listener is closed. It may wait for a name to be resolved, no longer than
// o.Connect.
func (d *Driver) Listen(addr string, o EndpointOptions, sink func(*Endpoint) Sink, drop func()) (*Listener, error) {
	t, err := d.transportOf(addr)
	if err != nil {
		return nil, err
	}
	if err := o.complete(len(d.workers), acceptedResume); err != nil {
		return nil, failure(endpoint.Invalid, "%v", err)
	}
	l := &Listener{options: o, sink: sink, drop: drop}
	l.uses.Store(1)
	if err := l.lodge(d.workers[0], outbox.KindListener); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), o.Connect)
	defer cancel()
	inner, err := t.Listen(ctx, addr, l.accept, l.fault)
	if err != nil {
		l.forgo()
		return nil, &Error{codeOf(err), err.Error()}
	}
	d.trackOne(inner.Descriptor(), true)
	l.mu.Lock()
	l.inner = inner
	l.mu.Unlock()
	if err := l.moveIn(l.worker.post, func() { l.worker.enter(l.slot, l) }); err != nil {
		d.trackOne(inner.Descriptor(), false)
		inner.Close()
		return nil, err
	}
	return l, nil
}

// accept runs on a goroutine of the transport.
func (l *Listener) accept(link transport.Link) {
	d := l.driver
	if !l.begin() {
		link.Close()
		return
	}
	e, err := d.newEndpoint(link.RemoteAddr(), l.options, false)
	if err != nil {
		d.log(1, "accept.failed", "%s: %v", link.RemoteAddr(), err)
		link.Close()
		l.finish()
		return
	}
	e.listener = l
	if !e.worker.post(func() { e.start(link) }) {
		link.Close()
		e.never()
		l.finish()
	}
}

// admit shows an endpoint to the program.
func (l *Listener) admit(e *Endpoint) {
	e.shield(func() { e.setSink(l.sink(e)) })
	l.finish()
	ev := endpoint.Event{Kind: endpoint.EventAccepted, Token: uint64(l.handle),
		Detail: wire.AppendAcceptedDetail(nil, wire.AcceptedDetail{Listener: uint64(l.handle),
			Remote: *e.addr.Load()})}
	switch {
	case l.options.Announce == nil:
		e.event(ev)
	case !e.told: // else there never was a peer
		e.shield(func() { l.options.Announce(e, ev) })
	}
}

// begin counts an accept that may still make a sink, unless the listener has ended.
func (l *Listener) begin() bool {
	for {
		n := l.uses.Load()
		if n == 0 {
			return false
		}
		if l.uses.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// finish ends what begin, or Listen, began. The last one ends the listener: nothing
// makes a sink any more.
func (l *Listener) finish() {
	if l.uses.Add(-1) == 0 {
		l.worker.post(l.end)
	}
}

func (l *Listener) fault(err error) { l.driver.log(1, "accept.failed", "%v", err) }

// visit carries out what the program asked for through the slot.
func (l *Listener) visit(int64) {
	if l.askedToClose() {
		l.shut(0)
	}
}

func (l *Listener) resume() {}

// shut closes the listener. The transport's close may wait for an accept under way,
// which a worker must not.
func (l *Listener) shut(time.Duration) {
	l.mu.Lock()
	inner := l.inner
	l.inner = nil
	l.mu.Unlock()
	if inner == nil {
		return
	}
	go func() {
		l.driver.trackOne(inner.Descriptor(), false)
		if err := inner.Close(); err != nil {
			l.driver.log(1, "listener.close", "%s: %v", inner.Addr(), err)
		}
		l.finish()
	}()
}

// end is the last thing that the worker does for a listener.
func (l *Listener) end() {
	if l.drop != nil {
		l.worker.shield(l.drop)
	}
	l.depart()
}

// Addr returns the bound address, with the port that the system chose; "" once
// closed.
func (l *Listener) Addr() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.inner == nil {
		return ""
	}
	return l.inner.Addr()
}
