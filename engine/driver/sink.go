package driver

import (
	"github.com/lyquor/lyquor/engine/arena"
	"github.com/lyquor/lyquor/engine/endpoint"
	"github.com/lyquor/lyquor/engine/wire"
)

// Run is a batch of whole messages as they lie in memory.
type Run struct {
	Frames []byte              // frames of kind MSG, aligned to 8
	First  *[wire.Lanes]uint64 // id of each lane's first message
	Block  arena.Index         // the block of the table that holds Frames
}

// Sink is where an endpoint's messages and events go: a program's callback or its
// inbox. Its methods run on the endpoint's worker, never twice at once for one
// endpoint, and must not block.
type Sink interface {
	// Run takes messages and returns how many bytes of Frames it took, whole frames.
	// Less than all pauses the endpoint until Resume, or, if the sink queues what it takes
	// and is not Gone, until it has been asked again; negative closes it. Frames are
	// the worker's again afterwards, unless the sink counted itself a user of the
	// block (outbox.Table.RefBlock).
	Run(e *Endpoint, r Run) (taken int)
	// Long takes a message that was assembled in Options.Memory, which the sink discards
	// when it is done with it. False: it comes again, as with Run.
	Long(e *Endpoint, m endpoint.Memory, lane wire.Lane, channel uint16, id uint64) (took bool)
	// Event takes an event. The last one is EventClosed.
	Event(e *Endpoint, ev endpoint.Event)
	// Queues says that the sink keeps what it is given (an inbox): messages are then
	// read into blocks of the endpoint's own, and Slot.Held bounds them.
	Queues() bool
	// Gone says that nothing will be taken any more, not even after Resume: an endpoint
	// whose peer has gone, too, ends.
	Gone() bool
	// Drop is called once, after the last event.
	Drop()
}
