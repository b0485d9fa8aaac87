package outbox

import "sync/atomic"

// Bell is how producers tell a worker which slots have work, and wake it if it
// sleeps. Producers in C and goroutines ring it; one worker answers.
type Bell struct {
	stack atomic.Uint64 // index+1 of the slot noticed last; Treiber stack through Slot.next
	_     [56]byte
	state atomic.Uint32 // awake or sleeping
	fd    atomic.Int32  // eventfd to be written from C; -1: the worker is woken otherwise
	rung  atomic.Uint64 // wakes written
	users atomic.Uint32 // threads in C that may be about to write fd
	_     [44]byte
}

const (
	awake    uint32 = 0
	sleeping uint32 = 1
)

// Ring tells the owner of a slot that there is something to look at. It returns
// the bell if the caller must wake its worker (by the eventfd, or as the worker
// arranged), else nil. A slot that is already noticed costs one load.
func (t *Table) Ring(s *Slot) *Bell {
	if s.scheduled.Load() != 0 || s.scheduled.Swap(1) != 0 {
		return nil
	}
	return t.push(s)
}

func (t *Table) push(s *Slot) *Bell {
	bell := &t.bells[s.Owner.Load()]
	index := uint64(t.indexOf(s)) + 1
	for {
		top := bell.stack.Load()
		s.next = uint32(top)
		if bell.stack.CompareAndSwap(top, index) {
			break
		}
	}
	return bell.Wake()
}

// Wake returns the bell if its worker was asleep and the caller must now wake
// it, else nil.
func (b *Bell) Wake() *Bell {
	if b.state.Load() == sleeping && b.state.CompareAndSwap(sleeping, awake) {
		b.rung.Add(1)
		return b
	}
	return nil
}

// Notices takes all slots noticed so far and calls visit with each, oldest first.
// The slot's notice is cleared before the visit, so that whatever is published
// during it gives a new notice. Slots that belong to another worker are passed on
// to it. Only the bell's worker calls it; wake wakes another bell's worker.
func (t *Table) Notices(own uint32, visit func(*Slot), wake func(*Bell)) int {
	head := t.bells[own].stack.Swap(0)
	var order uint32 // the stack reversed: index+1 of the oldest
	for head != 0 {
		s := t.Slot(uint32(head - 1))
		head, s.next, order = uint64(s.next), order, uint32(head)
	}
	n := 0
	for order != 0 {
		s := t.Slot(order - 1)
		order = s.next
		if s.Owner.Load() != own {
			if b := t.push(s); b != nil {
				wake(b)
			}
			continue
		}
		s.scheduled.Store(0)
		visit(s)
		n++
	}
	return n
}

// Pending says whether a notice waits.
func (b *Bell) Pending() bool { return b.stack.Load() != 0 }

// Sleep announces that the worker is about to sleep. It must look at Pending,
// and at all else that wakes it, once more between Sleep and sleeping.
func (b *Bell) Sleep() { b.state.Store(sleeping) }

// Awake ends the announcement; it is called after every return from sleep.
func (b *Bell) Awake() { b.state.Store(awake) }

// SetDescriptor gives C the eventfd that wakes the worker.
func (b *Bell) SetDescriptor(fd int) { b.fd.Store(int32(fd)) }

// Descriptor returns the eventfd that wakes the worker, or -1.
func (b *Bell) Descriptor() int { return int(b.fd.Load()) }

// Counts returns the wakes written so far.
func (b *Bell) Counts() (written uint64) { return b.rung.Load() }

// Silent says that nobody in C is about to write the eventfd. Once it is true after
// Awake it stays so until Sleep, and the descriptor may be closed.
func (b *Bell) Silent() bool { return b.users.Load() == 0 }
