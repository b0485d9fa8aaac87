package logstress

/*
#cgo CFLAGS: -std=gnu11 -Wall -Wextra -I${SRCDIR}/../..
#include "stress.h"
*/
import "C"

import (
	"errors"
	"sync/atomic"
	"unsafe"

	"github.com/lyquor/lyquor/engine/outbox"
)

// Places is how many endpoints live at once, Slots how many the table needs, and
// Producers how many threads send.
const (
	Places    = C.PLACES
	Slots     = C.SLOTS
	Producers = C.PRODUCERS
	Channel   = C.CHANNEL // of every message
)

// Run is producers in C at work on a table.
type Run struct{ c *C.run }

// Counts is what the producers of a run have done.
type Counts struct {
	Accepted   uint64 // messages; counted when a producer ends
	Refused    uint64 // claims that found no room
	Cut        uint64 // claims that became shorter when they were published
	References uint64 // messages by reference
}

// Start starts the producers. They send to the handles that Place names.
func Start(table *outbox.Table, seed uint64) (*Run, error) {
	c := C.run_start((*C.root)(table.Root()), C.uint64_t(seed))
	if c == nil {
		return nil, errors.New("logstress: threads could not be started")
	}
	return &Run{c}, nil
}

// Place says which endpoint lives at a place now.
func (r *Run) Place(i int, h outbox.Handle) {
	(*atomic.Uint64)(unsafe.Pointer(&r.c.stage.handles[i])).Store(uint64(h))
}

// Failed says whether a producer found something wrong.
func (r *Run) Failed() bool { return (*atomic.Int32)(unsafe.Pointer(&r.c.stage.failed)).Load() != 0 }

// Abandon makes the producers end as if one had failed.
func (r *Run) Abandon() { (*atomic.Int32)(unsafe.Pointer(&r.c.stage.failed)).Store(1) }

// Counts returns what was done so far.
func (r *Run) Counts() Counts {
	load := func(p *C.uint64_t) uint64 { return (*atomic.Uint64)(unsafe.Pointer(p)).Load() }
	s := &r.c.stage
	return Counts{load(&s.accepted), load(&s.refused), load(&s.padded), load(&s.references)}
}

// Stop ends the producers, and returns what went wrong. Workers have to go on
// until it has returned: producers may wait for room.
func (r *Run) Stop() error {
	C.run_stop(r.c)
	if text := C.GoString(&r.c.stage.error[0]); text != "" {
		return errors.New(text)
	}
	return nil
}

// Free gives the memory of a stopped run back; nothing may be asked of it any more.
func (r *Run) Free() { C.free(unsafe.Pointer(r.c)) }

// Flood sends n messages of size bytes from one thread in C, as fast as there is
// room, and returns when all are accepted.
func Flood(table *outbox.Table, h outbox.Handle, size, n int) {
	C.flood((*C.root)(table.Root()), C.uint64_t(h), C.uint64_t(size), C.uint64_t(n))
}

// FreeSlot returns a slot to the table as C does where the last byte that kept its
// life going is released there.
func FreeSlot(table *outbox.Table, h outbox.Handle) {
	C.free_slot((*C.root)(table.Root()), C.uint64_t(h))
}

// Checksum is the sum that ends every message, over what is before it.
func Checksum(b []byte) uint64 {
	return uint64(C.sum((*C.char)(unsafe.Pointer(unsafe.SliceData(b))), C.uint64_t(len(b))))
}

// Layout returns the numbers of the layout as C sees them, by name: sizes of types
// and "type.field" offsets.
func Layout() map[string]uintptr {
	all := make(map[string]uintptr)
	for i := C.int(0); ; i++ {
		n := C.layout(i)
		if n.name == nil {
			return all
		}
		all[C.GoString(n.name)] = uintptr(n.value)
	}
}
