package outbox

import (
	"sync/atomic"
	"unsafe"

	"github.com/lyquor/lyquor/engine/wire"
)

// Handle names a slot and one of its lives: kind<<56 | generation<<32 | index.
// It is the number inside every handle of the C API; 0 is none.
type Handle uint64

func makeHandle(kind Kind, generation, index uint32) Handle {
	return Handle(kind)<<56 | Handle(generation)<<32 | Handle(index)
}

// Index returns the slot's place in its table.
func (h Handle) Index() uint32 { return uint32(h) }

// Generation counts the lives of a slot from 1.
func (h Handle) Generation() uint32 { return uint32(h>>32) & 0xffffff }

// Kind says what the handle stands for.
func (h Handle) Kind() Kind { return Kind(h >> 56) }

// Kind is what a slot stands for.
type Kind uint8

// The kinds of handles.
const (
	KindDriver Kind = iota + 1
	KindListener
	KindEndpoint
	KindInbox
	KindTimer
)

// Bits of Slot.State. Threads in C sleep on the word, so whoever sets a bit that
// is waited for wakes them if StateSleeps is set.
const (
	StateUp     uint32 = 1 << iota // an endpoint has finished its handshake
	StateClosed                    // the last thing: nothing will mention the handle again
	StateQuiet                     // no callback runs, and none begins until CommandResume; see Slot.Quieten
	StateSleeps                    // somebody in C waits for a change of the word
	StateParted                    // the peer has gone for good: nothing more is accepted or acknowledged
)

// What the program asks of the worker that owns a slot: bits of Slot.Ask.
const (
	CommandClose   uint32 = 1 << iota // close within Slot.Linger; see Slot.AskClose
	CommandEnd                        // half-close behind everything accepted
	CommandResume                     // deliver again after a pause
	CommandQuiesce                    // begin no callback, and say so by Slot.Quieten
	CommandFlush                      // tell by event when all that was accepted is acknowledged
)

// Above the bits, Slot.State and what Slot.Ask sets hold an epoch: how often
// CommandResume was asked for. A worker's answer to a CommandQuiesce that was taken
// back may be late; its epoch shows that it does not answer the next one. An answer of a
// later epoch than the question's is one, too: the worker never saw that.
const (
	epochShift = 8
	flagMask   = 1<<epochShift - 1
)

// Bits of Slot.Want: who waits for room in the log. Each is for the first lane;
// shift it by the lane's number for another.
const (
	WantEvent uint32 = 1 << 0 // a send returned "again": tell by event
	WantWake  uint32 = 1 << 4 // a thread in C sleeps on Slot.Room
	WantAny          = WantEvent | WantWake
	// WantAck, of no lane: a thread in C sleeps on Slot.Room until more is acknowledged.
	WantAck uint32 = 1 << 8
)

// Slot is what the engine and C share of one handle. It is memory at a fixed
// address that is never unmapped; capi/log.h is its twin. Words are grouped by
// who writes them, a cache line each.
type Slot struct {
	ID         atomic.Uint64 // the Handle of the present life
	Context    atomic.Uint64 // the program's own pointer
	MaxMessage atomic.Uint64 // largest message the peer takes, in bytes
	command    atomic.Uint64 // generation<<32 | epoch<<8 | bits: none is meant for another life
	linger     atomic.Uint64 // generation<<32 | shortest time of all calls of AskClose
	State      atomic.Uint32
	budget     atomic.Uint32 // index of the driver's Budget
	bound      atomic.Uint32 // what each lane's limit may grow to, in words
	Inbox      atomic.Uint32 // index of the inbox's slot in pull mode, else 0
	Reason     atomic.Int32  // why it is closed; set before StateClosed
	// Untold counts the restarts of the peer whose list of what they withdrew the program
	// has not done with yet. Before what was withdrawn counts as acknowledged, it is here.
	Untold atomic.Uint32

	Room      atomic.Uint32 // counts the times that room came back; C sleeps on it
	Want      atomic.Uint32
	scheduled atomic.Uint32 // 1: a notice is on its way to the owner; see Table.Ring
	Owner     atomic.Uint32 // index of the Bell of the worker that drives the slot
	next      uint32        // link of the bell's stack; theirs who set scheduled
	Awaited   atomic.Uint32 // what the worker is to be told of: see AwaitAny; 0: nothing
	Manual    atomic.Uint32 // 1: the program says by Ack what it is done with
	free      atomic.Uint32 // link of the stack of free slots
	Held      atomic.Int64  // bytes received and not released, plus Life while not retired
	Queue     Queue         // of an endpoint whose items go to an inbox
	remains   atomic.Uint64 // C's: what the events that the program has now left unacknowledged

	lanes [wire.Lanes]lane
}

// Queue is a list of parcels between a worker and the threads that pull; package
// inbox says how.
type Queue struct {
	First uint32        // the parcel taken last; the puller's
	Last  uint32        // the parcel put last; the worker's
	Ready atomic.Uint32 // 1: the slot is on its inbox's list
	Next  uint32        // link of that list
}

// AwaitAny in Slot.Awaited has the worker told when anything is released, or acknowledged
// by Ack; a smaller number, when less than so many words of Held are left, or by Ack.
const AwaitAny = 1<<32 - 1

// AwaitRelease returns the number that tells once so many bytes of those held are released.
func AwaitRelease(held int64, bytes uint64) uint32 {
	left := uint64(held) & (Life - 1)
	return uint32(min((left-min(left, bytes))/8+1, AwaitAny))
}

// Life is the share of Slot.Held that a slot in use holds itself; whoever brings
// Held to zero returns the slot to its table.
const Life = 1 << 62

// lane is the shared part of one send log.
type lane struct {
	// tail decides everything about a claim in one exchange; see the layout below.
	tail atomic.Uint64
	// Of what is received in the lane: the id behind the last message that the program was
	// given, and behind the last that it is done with; see Ack. They are few words beside
	// what senders write, because an idle endpoint has to be small.
	given atomic.Uint64
	done  atomic.Uint64
	limit atomic.Uint32 // largest distance between head and tail, in words; the reader changes it
	asked atomic.Uint32 // size of the smallest message that was refused and waits for room, in bytes
	// cut tells of what restarts of the peer have withdrawn: how often, and where the last
	// time began; see Reader.Withdraw.
	cut   atomic.Uint64
	await atomic.Uint64 // number from which on Ack tells the worker; 0: none; see AwaitAck
	_     [16]byte

	head    atomic.Uint64               // everything before it is free; in words
	headSeq atomic.Uint64               // a message at or before head, less than 1<<24 before the last
	charged atomic.Int64                // bytes held by reference
	large   atomic.Uint64               // the large directory: piece<<32 | the first position in it; 0: none
	inline  [inlinePieces]atomic.Uint32 // the small directory: chunks by position
}

// The tail word, from the top: generation, closed, messages claimed, words
// claimed. The two counters wrap; both are unambiguous because no more than half
// their range is ever outstanding. Words are 8 bytes.
const (
	posBits = 26
	seqBits = 25
	genBits = 12

	posMask   = 1<<posBits - 1
	seqOne    = 1 << posBits
	seqMask   = 1<<seqBits - 1
	closedBit = 1 << (posBits + seqBits)
	genShift  = posBits + seqBits + 1
	genMask   = 1<<genBits - 1

	// posHalf tells which of two positions is ahead: the one less than this behind it.
	posHalf = 1 << (posBits - 1)
)

const (
	wordSize     = 8
	lineWords    = 64 / wordSize // a cache line
	inlinePieces = 8

	// MaxLog is the largest bound on a lane's inline bytes: a quarter of what the
	// tail can count, so that positions compare without doubt.
	MaxLog = 1 << (posBits - 2) * wordSize
	// FirstLimit is what a lane's limit begins with, in bytes, unless its bound is less.
	FirstLimit = 256 << 10

	// CutShift is where the count begins in a lane's cut, above a message's number.
	CutShift = 48
)

// SlotSize is the size of a Slot in bytes.
const SlotSize = unsafe.Sizeof(Slot{})

// Ask sets bits of the slot's command for the life that h names, and returns false
// if that is over. CommandResume begins an epoch, and takes back a CommandQuiesce that
// no worker has seen yet. The caller rings the slot's bell next.
func (s *Slot) Ask(h Handle, bits uint32) bool {
	for {
		old := s.command.Load()
		if uint32(old>>32) != h.Generation() {
			return false
		}
		next := uint32(old) | bits
		if bits&CommandResume != 0 {
			next = next&^CommandQuiesce + 1<<epochShift
		}
		if s.command.CompareAndSwap(old, old>>32<<32|uint64(next)) {
			return true
		}
	}
}

// Forever is the linger of who waits however long it takes. As a number without a sign
// it is longer than any other.
const Forever int32 = -1

// AskClose asks for CommandClose. Of several calls the one that ends first counts,
// whether or not the worker has seen the others; hence the shortest linger is kept.
func (s *Slot) AskClose(h Handle, millis int32) bool {
	for {
		old := s.linger.Load()
		if uint32(old>>32) != h.Generation() {
			return false
		}
		if uint32(old) <= uint32(millis) || s.linger.CompareAndSwap(old, old>>32<<32|uint64(uint32(millis))) {
			return s.Ask(h, CommandClose)
		}
	}
}

// Linger returns how long the endpoint that was closed may take, in milliseconds, or
// Forever.
func (s *Slot) Linger() int32 { return int32(uint32(s.linger.Load())) }

// Asked returns the bits that were set and the epoch, and clears the bits; only the
// slot's worker calls it.
func (s *Slot) Asked() (bits, epoch uint32) {
	old := uint32(s.command.And(^uint64(flagMask)))
	return old & flagMask, old >> epochShift
}

// Asks returns the bits that are set.
func (s *Slot) Asks() uint32 { return uint32(s.command.Load()) & flagMask }

// Quieten sets StateQuiet as the answer to a CommandQuiesce of an epoch.
func (s *Slot) Quieten(epoch uint32) {
	for {
		old := s.State.Load()
		if s.State.CompareAndSwap(old, old&flagMask|StateQuiet|epoch<<epochShift) {
			return
		}
	}
}
