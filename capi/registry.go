package main

import (
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/lyquor/lyquor/engine/driver"
	"github.com/lyquor/lyquor/engine/inbox"
	"github.com/lyquor/lyquor/engine/outbox"
	"github.com/lyquor/lyquor/engine/transport/mem"
)

// object is what a handle stands for on this side; one field is set.
type object struct {
	driver   *driver.Driver
	listener *driver.Listener
	endpoint *driver.Endpoint
	inbox    *pullInbox
	timer    *driver.Timer
	handle   outbox.Handle
	owner    *driver.Driver
	plan     *plan          // of a listener and what it accepted, or of an endpoint that was dialled
	context  unsafe.Pointer // drops the context of lyq_set_ctx; see driver.Endpoint.Hold
}

// registry finds objects by the index of their handle. Pages are made as handles
// are used and stay; entries are replaced as a whole.
type registry struct {
	mu    sync.Mutex // of making pages
	pages [1 << (indexBits - pageBits)]atomic.Pointer[registryPage]
}

const (
	indexBits = 20
	pageBits  = 10
)

type registryPage [1 << pageBits]atomic.Pointer[object]

func (r *registry) entry(h outbox.Handle) *atomic.Pointer[object] {
	i := h.Index() & (1<<indexBits - 1)
	page := &r.pages[i>>pageBits]
	if page.Load() == nil {
		r.mu.Lock()
		if page.Load() == nil {
			page.Store(new(registryPage))
		}
		r.mu.Unlock()
	}
	return &page.Load()[i&(1<<pageBits-1)]
}

// put enters an object, unless its slot began another life already.
func (r *registry) put(o *object) {
	e := r.entry(o.handle)
	for {
		old := e.Load()
		if old != nil && old.handle.Generation() > o.handle.Generation() || e.CompareAndSwap(old, o) {
			return
		}
	}
}

// get returns the object of a handle, or nil if its life is over.
func (r *registry) get(h outbox.Handle) *object {
	if o := r.entry(h).Load(); o != nil && o.handle == h {
		return o
	}
	return nil
}

// remove forgets a handle, unless its slot began another life already.
func (r *registry) remove(h outbox.Handle) {
	if e := r.entry(h); true {
		if o := e.Load(); o != nil && o.handle == h {
			e.CompareAndSwap(o, nil)
		}
	}
}

// library is what the process has one of.
var library struct {
	sync.Mutex
	objects registry
	table   *outbox.Table
	office  *inbox.Office
	mem     *mem.Transport // one name space for all drivers
}
