package outbox

import (
	"sync/atomic"
	"unsafe"

	"github.com/lyquor/lyquor/engine/wire"
)

// Entries of the log look like frames of the wire, so that a run of messages is
// sent as it lies there. Four kinds exist in the log only; no peer may send them.
const (
	// kindPad stands for Size bytes, behind its own word, that hold nothing.
	kindPad wire.Kind = 0x70
	// kindRef stands for a message whose bytes lie elsewhere.
	kindRef wire.Kind = 0x71
	// kindTimed is a word: until when the message behind it may begin to be sent. It
	// becomes padding when a link was given a byte of that message.
	kindTimed wire.Kind = 0x72
	// kindWithdrawn stands for one message that is never sent, in Size bytes behind its
	// own word: a kindTimed became this, with the message behind it.
	kindWithdrawn wire.Kind = 0x73
)

// timedWords is what comes before a message that has a time to live.
const timedWords = 2

// MaxInline is the largest message, in bytes, that is copied into the log;
// larger ones are referred to. A quarter of a piece, so that little is lost
// where an entry does not fit in the rest of one.
const MaxInline = 16 << 10

// Reference is the payload of a kindRef entry.
type Reference struct {
	Addr    uint64 // of the bytes; 0 if they are Go memory (Hint finds them)
	Size    uint64 // bytes
	Release uint64 // one of the Release... numbers, or the address of a C function
	Hint    uint64 // argument of Release
}

// takes returns what a reference counts in its driver's budget, in bytes: all of the
// memory that it keeps. In its lane it counts Size, which is what the peer's credit counts.
func (t *Table) takes(ref *Reference) int64 {
	switch ref.Release {
	case ReleaseChunk:
		return int64(t.chunks.PieceSize())
	case ReleaseBlock:
		return int64(t.blocks.PieceSize())
	case ReleaseFree:
		return int64(ref.Hint)
	}
	return int64(ref.Size)
}

// What gives a reference's memory back.
const (
	ReleaseNothing uint64 = iota // static memory
	ReleaseChunk                 // Hint is an index into the chunk pool
	ReleaseBlock                 // Hint is an index into the block pool
	ReleaseHeld                  // Hint is an index into the table's Go memory
	ReleaseFree                  // memory of the C side's own allocator, at Addr; Hint is its size in bytes
	ReleaseCall                  // any number from here on is a C function's address
)

const refPayload = int(unsafe.Sizeof(Reference{}))

// words returns how many words an entry with a payload of size bytes takes.
func words(size int) uint64 { return uint64(1 + (size+wordSize-1)/wordSize) }

// published reads an entry's first word: zero until the entry is published.
func published(p unsafe.Pointer) wire.Header {
	return wire.Header((*atomic.Uint64)(p).Load())
}

// publish makes an entry visible. Sequentially consistent: the claimant looks at
// Slot.scheduled next, and the worker clears that word before it looks here.
func publish(p unsafe.Pointer, h wire.Header) { (*atomic.Uint64)(p).Store(uint64(h)) }
