package driver

import (
	"fmt"
	"runtime/debug"

	"github.com/lyquor/lyquor/engine/endpoint"
)

// recover turns a defect into the end of this endpoint alone. It is deferred.
func (e *Endpoint) recover() {
	if cause := recover(); cause != nil {
		e.poison(cause)
	}
}

// poison ends the endpoint because of a panic in its sink or in this library.
func (e *Endpoint) poison(cause any) {
	e.worker.calling.Store(0)
	e.driver.log(0, "endpoint.panic", "endpoint %#x: %v\n%s", uint64(e.handle), cause, debug.Stack())
	e.core.Abort(endpoint.Internal, fmt.Sprintf("internal error: %v", cause))
	e.worker.sched.Ready(&e.node)
}

// shield calls the program with regard to this endpoint.
func (e *Endpoint) shield(do func()) {
	defer e.recover()
	do()
}

// shield calls what belongs to no endpoint: a panic is logged, and the worker goes on.
func (w *worker) shield(do func()) {
	defer func() {
		if cause := recover(); cause != nil {
			w.calling.Store(0)
			w.driver.log(0, "worker.panic", "worker %d: %v\n%s", w.number+1, cause, debug.Stack())
		}
	}()
	do()
}
