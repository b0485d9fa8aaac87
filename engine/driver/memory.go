package driver

import "github.com/lyquor/lyquor/engine/endpoint"

// Memory is where long messages are assembled, also those of endpoints that have no sink
// yet. Its methods are called by workers, of several at once.
type Memory interface {
	// Allocate returns memory for a message, with one user, or false if there is none.
	// Where sinks queue, the 8 bytes before it are theirs: see ReleasedBit.
	Allocate(size uint64) (endpoint.Memory, bool)
	// Retain counts another user.
	Retain(m endpoint.Memory)
	// Discard ends one; the last gives the memory back.
	Discard(m endpoint.Memory)
}

// heap is Go's own, for programs in Go.
type heap struct{}

func (heap) Allocate(size uint64) (endpoint.Memory, bool) {
	return endpoint.Memory{Bytes: make([]byte, size)}, true
}

func (heap) Retain(endpoint.Memory) {}

func (heap) Discard(endpoint.Memory) {}
