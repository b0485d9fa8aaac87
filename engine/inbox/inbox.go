package inbox

import (
	"errors"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/lyquor/lyquor/engine/arena"
	"github.com/lyquor/lyquor/engine/outbox"
	"github.com/lyquor/lyquor/engine/wire"
)

// Parcel kinds below the numbers of events.
const (
	KindRun  = 0 // messages of a run
	KindLong = 1 // one message in memory of its own
)

// Parcel is what lies in a queue; capi/inbox.h is its twin.
type Parcel struct {
	next  atomic.Uint32 // index of the parcel put after it
	Kind  uint16        // KindRun, KindLong, or an event's number
	Code  int16         // of an event
	Tag   uint32        // lane<<16 | channel
	Block uint32        // block of the table that holds Data; 0: memory of its own
	Data  uint64        // address
	Size  uint64        // bytes
	First [wire.Lanes]uint64
}

// Inbox is the part that C shares; capi/inbox.h is its twin.
type Inbox struct {
	stack  atomic.Uint64 // index+1 of the slot that became ready last
	armed  atomic.Uint32 // 1: the next put signals
	fd     atomic.Int32
	closed atomic.Uint32
	users  atomic.Uint32 // threads inside a pull
	// watched says that the program knows the eventfd, which must tell the truth.
	watched  atomic.Uint32
	sleepers atomic.Uint32 // of the users, those that wait on armed
	_        [32]byte
	_        [64]byte // the pullers' own
}

// Root is where C finds the inboxes and the parcels.
type Root struct {
	inboxes uint64
	_       [56]byte
	parcels arena.Control
}

var (
	_ [64]byte  = [unsafe.Sizeof(Parcel{})]byte{}
	_ [128]byte = [unsafe.Sizeof(Inbox{})]byte{}
	_ [64]byte  = [unsafe.Offsetof(Root{}.parcels)]byte{}
)

// Office is all memory of inboxes: one for the process.
type Office struct {
	root    *Root
	inboxes []Inbox
	parcels *arena.Pool

	mu   sync.Mutex
	used []bool
}

// Errors of Put and Open.
var (
	ErrExhausted = errors.New("inbox: no memory for parcels is left")
	ErrLimit     = errors.New("inbox: every inbox is in use")
)

const parcelShift = 6

// NewOffice reserves room for that many inboxes and parcels.
func NewOffice(inboxes, parcels uint32) (*Office, error) {
	mem, err := arena.Reserve(unsafe.Sizeof(Root{}))
	if err != nil {
		return nil, err
	}
	o := &Office{root: (*Root)(mem.Base()), used: make([]bool, inboxes)}
	list, err := arena.Reserve(uintptr(inboxes) * unsafe.Sizeof(Inbox{}))
	if err != nil {
		return nil, err
	}
	o.inboxes = unsafe.Slice((*Inbox)(list.Base()), inboxes)
	o.root.inboxes = uint64(uintptr(list.Base()))
	o.used[0] = true // index 0 is none
	o.parcels, err = arena.NewPool(&o.root.parcels, parcelShift, parcels)
	return o, err
}

// Root returns the address of what C shares.
func (o *Office) Root() unsafe.Pointer { return unsafe.Pointer(o.root) }

// Open takes an inbox that signals the eventfd.
func (o *Office) Open(fd int) (uint32, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range o.used {
		if !o.used[i] {
			o.used[i] = true
			in := &o.inboxes[i]
			in.stack.Store(0)
			in.closed.Store(0)
			in.fd.Store(int32(fd))
			in.armed.Store(1)
			in.watched.Store(0)
			return uint32(i), nil
		}
	}
	return 0, ErrLimit
}

// Close gives an inbox back. Nobody puts or takes any more.
func (o *Office) Close(i uint32) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.used[i] = false
}

// Parcels returns how many parcels are in use.
func (o *Office) Parcels() int { return o.parcels.InUse() }

// Seat is what an endpoint has in an inbox from the start: the parcel that its queue
// begins with, and the one for its last event, which so always finds one.
type Seat struct {
	first, last arena.Index
}

// Reserve takes a seat. What cannot be undone comes after it.
func (o *Office) Reserve() (Seat, error) {
	first, last := o.parcels.TakeAny(), o.parcels.TakeAny()
	if first != 0 && last != 0 {
		return Seat{first, last}, nil
	}
	o.Forgo(Seat{first, last})
	return Seat{}, ErrExhausted
}

// Forgo gives back a seat from whose queue nothing was taken: nobody joined with it,
// or nothing was put.
func (o *Office) Forgo(seat Seat) {
	o.give(seat.first)
	o.give(seat.last)
}

func (o *Office) give(i arena.Index) {
	if i != 0 {
		o.parcels.GiveDirty(i)
	}
}

// Join makes an endpoint's queue empty: its first parcel is one that is taken
// already, so that neither side ever sees an empty list.
func (o *Office) Join(s *outbox.Slot, inbox uint32, seat Seat) {
	o.at(seat.first).next.Store(0)
	s.Queue.First, s.Queue.Last = uint32(seat.first), uint32(seat.first)
	s.Queue.Ready.Store(0)
	s.Inbox.Store(inbox)
}

// Part frees the queue of a slot that joined with a seat. It is empty, nobody puts or
// takes, and PutLast was not called: its puller frees the queue.
func (o *Office) Part(s *outbox.Slot, seat Seat) {
	o.Forgo(Seat{arena.Index(s.Queue.First), seat.last})
	s.Queue.First, s.Queue.Last = 0, 0
}

// eventShare is the part of all parcels that messages leave to events, which cannot wait.
const eventShare = 64

// Put appends a parcel to an endpoint's queue. It returns whether the inbox must be
// signalled, see Signals. Only the endpoint's worker calls it. A message that finds
// ErrExhausted can be put again later; before events do, 1/64 of all parcels are theirs.
func (o *Office) Put(s *outbox.Slot, p *Parcel) (signal bool, err error) {
	if c := o.parcels.Capacity(); p.Kind <= KindLong && o.parcels.InUse() >= c-c/eventShare {
		return false, ErrExhausted
	}
	i := o.parcels.TakeAny()
	if i == 0 {
		return false, ErrExhausted
	}
	return o.append(s, i, p), nil
}

// PutLast appends an endpoint's last event, for which its seat has a parcel.
func (o *Office) PutLast(s *outbox.Slot, seat Seat, p *Parcel) (signal bool) {
	return o.append(s, seat.last, p)
}

func (o *Office) append(s *outbox.Slot, i arena.Index, p *Parcel) (signal bool) {
	q := o.at(i)
	q.Kind, q.Code, q.Tag, q.Block = p.Kind, p.Code, p.Tag, p.Block
	q.Data, q.Size, q.First = p.Data, p.Size, p.First
	q.next.Store(0)
	last := o.at(arena.Index(s.Queue.Last))
	s.Queue.Last = uint32(i)
	last.next.Store(uint32(i))
	if s.Queue.Ready.Load() != 0 || s.Queue.Ready.Swap(1) != 0 {
		return false
	}
	in := &o.inboxes[s.Inbox.Load()]
	index := uint64(outbox.Handle(s.ID.Load()).Index()) + 1
	for {
		top := in.stack.Load()
		s.Queue.Next = uint32(top)
		if in.stack.CompareAndSwap(top, index) {
			break
		}
	}
	return in.armed.Load() != 0 && in.armed.CompareAndSwap(1, 0)
}

// Signals returns how to signal an inbox: by writing its eventfd, if the program knows
// that, and by waking who waits on a word, if anybody does; -1 and nil if not. Waking
// a thread by its word saves it two system calls.
func (o *Office) Signals(i uint32) (fd int, word *atomic.Uint32) {
	in := &o.inboxes[i]
	fd = -1
	if in.watched.Load() != 0 {
		fd = int(in.fd.Load())
	}
	if in.sleepers.Load() != 0 {
		word = &in.armed
	}
	return fd, word
}

func (o *Office) at(i arena.Index) *Parcel { return (*Parcel)(o.parcels.Piece(i)) }
