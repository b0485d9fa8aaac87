package driver

import (
	"errors"
	"time"

	"github.com/lyquor/lyquor/engine/transport"
)

// partNanos is how long a link outlives its endpoint to carry the last words.
const partNanos = int64(time.Second)

// part ends the link of an endpoint that is closed, and returns true once it has. A
// reason that the endpoint gave to the peer is the last thing written. To close
// behind it at once could destroy it: the system answers unread input with a reset
// (RFC 1122, 4.2.2.13), and a library-driven link may not have sent it yet. So the
// writing direction is closed, and the peer's end waited for.
func (e *Endpoint) part(now int64) bool {
	if e.cancel != nil {
		e.cancel()
	}
	e.switching, e.retryAt = false, 0
	e.closeRetired()
	switch {
	case e.link == nil:
		return true
	case e.partBy == 0:
		if e.lastWords() {
			e.partBy = now + partNanos
			e.worker.sched.Ready(&e.node)
			return false
		}
	case now < e.partBy && !e.drained():
		return false
	}
	e.closeLink()
	return true
}

// lastWords writes what there is to be said, and says whether the link took it.
func (e *Endpoint) lastWords() bool {
	w := e.worker
	if e.core.Gather(w.now, &w.vector, writeBudget); w.vector.Size == 0 || !e.writable {
		return false
	}
	size := w.vector.Size
	n, err := e.link.Write(w.vector.Slices)
	w.count(Writes, 1)
	w.count(BytesWritten, uint64(n))
	e.core.Wrote(&w.vector, n)
	return err == nil && n == size && e.link.CloseWrite() == nil
}

// drained reads what the peer still sends, and says whether that has come to an end.
func (e *Endpoint) drained() bool {
	w := e.worker
	if !w.takeScratch() {
		return true
	}
	waste := w.driver.table.Blocks().Bytes(w.scratch)
	for budget := readMost; budget > 0; {
		n, err := e.link.Read(waste[:readMost])
		if errors.Is(err, transport.ErrAgain) {
			return false
		}
		if err != nil {
			return true
		}
		budget -= n
	}
	w.sched.Ready(&e.node)
	return false
}
