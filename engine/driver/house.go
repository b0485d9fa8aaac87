package driver

import (
	"slices"
	"time"

	"github.com/lyquor/lyquor/engine/driver/sched"
)

const (
	// restPeriod is how often endpoints that fell silent give their memory back.
	restPeriod = int64(100 * time.Millisecond)
	// trimPeriod is how often free pieces of the pools go back to the system.
	trimPeriod = int64(time.Second)
	// keepPieces is how many free pieces of each pool stay resident.
	keepPieces = 16
)

// housekeeper gives memory back that was used and is not: it runs only while
// there is some.
type housekeeper struct {
	worker   *worker
	node     sched.Node
	warm     []*Endpoint // endpoints that may own memory
	nextTrim int64
}

func (h *housekeeper) init(w *worker) {
	h.worker = w
	h.node.Init(h)
}

// watch puts an endpoint that did something on the list.
func (h *housekeeper) watch(e *Endpoint) {
	e.touched = true
	if e.warm {
		return
	}
	e.warm = true
	if len(h.warm) == 0 {
		h.worker.sched.SetDeadline(&h.node, h.worker.now+restPeriod)
	}
	h.warm = append(h.warm, e)
}

// forget takes an endpoint off the list that is another worker's from now on.
func (h *housekeeper) forget(e *Endpoint) {
	if e.warm {
		e.warm = false
		h.warm = slices.DeleteFunc(h.warm, func(other *Endpoint) bool { return other == e })
	}
}

// Step is never called: the housekeeper has a deadline only.
func (h *housekeeper) Step(int64) bool { return false }

// Expire visits the endpoints that were warm, and keeps those that still are.
func (h *housekeeper) Expire(now int64) {
	left := h.warm[:0]
	for _, e := range h.warm {
		if e.done || !e.touched && e.rest() {
			e.warm = false
			continue
		}
		e.touched = false
		left = append(left, e)
	}
	clear(h.warm[len(left):])
	h.warm = left
	idle := len(left) == 0
	if idle {
		h.warm = nil
		h.worker.releaseBlocks()
	}
	if h.worker.number == 0 && (now >= h.nextTrim || idle) {
		h.nextTrim = now + trimPeriod
		t := h.worker.driver.table
		if idle && h.worker.driver.options.Trim != nil {
			h.worker.driver.options.Trim()
		}
		idle = t.Chunks().Trim(keepPieces, trimBatch) && t.Blocks().Trim(keepPieces, trimBatch) &&
			t.Directories().Trim(keepPieces, trimBatch) && idle
	}
	if !idle {
		h.worker.sched.SetDeadline(&h.node, now+restPeriod)
	}
}

// trimBatch bounds the pieces given back at a time: each costs a system call.
const trimBatch = 256
