package driver

import "github.com/lyquor/lyquor/engine/transport"

// poller is where a worker sleeps. Only its worker calls it, but for wake.
//
// Readiness is edge triggered for both directions; add reports the initial state.
// tag comes back with each event: it names a slot and its life, so that an event
// of a closed descriptor cannot be taken for its successor's.
type poller interface {
	add(fd int, tag uint64) error
	remove(fd int)
	// wait sleeps until something is ready, wake is called, or timeout nanoseconds
	// are over (0: looks only, negative: for ever). It calls visit with each event.
	wait(timeout int64, visit func(tag uint64, r transport.Ready))
	// wake ends a wait, now or the next; from any thread.
	wake()
	// descriptor is written by C to wake the worker; -1 if there is none.
	descriptor() int
	// descriptors returns all that it opened.
	descriptors() []int
	close()
}

// maxEvents is how many events a wait takes at once; the rest come with the next.
const maxEvents = 512
