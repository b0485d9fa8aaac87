package inbox

import (
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/lyquor/lyquor/engine/arena"
	"github.com/lyquor/lyquor/engine/outbox"
	"github.com/lyquor/lyquor/engine/wire"

	"github.com/stretchr/testify/require"
)

// slots is the tests' one table, since a table is never given back.
var slots = sync.OnceValues(func() (*outbox.Table, error) {
	return outbox.NewTable(outbox.Config{
		Slots: 32, Bells: 1, Budgets: 1, ChunkShift: 12, Chunks: 4, BlockShift: 12, Blocks: 4,
		DirectoryShift: 6, Directories: 1,
	})
})

func newSlot(t *testing.T) *outbox.Slot {
	t.Helper()
	table, err := slots()
	require.NoError(t, err)
	s, err := table.Allocate(outbox.KindEndpoint, 0, 0, 4096)
	require.NoError(t, err)
	t.Cleanup(func() { table.Retire(s) })
	return s
}

func newOffice(t *testing.T, inboxes, parcels uint32) *Office {
	t.Helper()
	o, err := NewOffice(inboxes, parcels)
	require.NoError(t, err)
	return o
}

func join(t *testing.T, o *Office, s *outbox.Slot, in uint32) Seat {
	t.Helper()
	seat, err := o.Reserve()
	require.NoError(t, err)
	o.Join(s, in, seat)
	return seat
}

// ready takes all endpoints from an inbox's stack, oldest first, as a puller does.
func (o *Office) ready(t *testing.T, i uint32) (list []*outbox.Slot) {
	t.Helper()
	table, err := slots()
	require.NoError(t, err)
	for next := uint32(o.inboxes[i].stack.Swap(0)); next != 0; {
		s := table.Slot(next - 1)
		list = append([]*outbox.Slot{s}, list...)
		next = s.Queue.Next
	}
	return list
}

// take takes the next parcel of a queue, as a puller does; nil if there is none.
func (o *Office) take(s *outbox.Slot) *Parcel {
	stub := arena.Index(s.Queue.First)
	next := o.at(stub).next.Load()
	if next == 0 {
		return nil
	}
	s.Queue.First = next
	o.parcels.GiveDirty(stub)
	return o.at(arena.Index(next))
}

func TestInboxesRunOut(t *testing.T) {
	o := newOffice(t, 3, 8)
	a, err := o.Open(7)
	require.NoError(t, err)
	require.NotZero(t, a, "0 is no inbox")
	require.Equal(t, 7, watch(o, a))
	b, err := o.Open(8)
	require.NoError(t, err)
	require.NotEqual(t, a, b)
	_, err = o.Open(9)
	require.ErrorIs(t, err, ErrLimit)
	o.Close(a)
	again, err := o.Open(9)
	require.NoError(t, err)
	require.Equal(t, a, again)
	require.Equal(t, 9, watch(o, again))
}

// watch does what C does when the program asks for the eventfd, which is the one to be
// written from then on.
func watch(o *Office, i uint32) (fd int) {
	o.inboxes[i].watched.Store(1)
	fd, _ = o.Signals(i)
	return fd
}

// TestSignals: who is told is who can hear it.
func TestSignals(t *testing.T) {
	o := newOffice(t, 2, 8)
	in, err := o.Open(7)
	require.NoError(t, err)
	fd, word := o.Signals(in)
	require.Equal(t, -1, fd, "the program does not know the eventfd")
	require.Nil(t, word, "nobody sleeps")
	o.inboxes[in].sleepers.Add(1)
	fd, word = o.Signals(in)
	require.Equal(t, -1, fd)
	require.Same(t, &o.inboxes[in].armed, word)
	watch(o, in)
	fd, word = o.Signals(in)
	require.Equal(t, 7, fd)
	require.NotNil(t, word, "a thread that slept before is told too")
}

func TestQueueIsInOrder(t *testing.T) {
	o := newOffice(t, 2, 64)
	in, err := o.Open(7)
	require.NoError(t, err)
	s := newSlot(t)
	seat := join(t, o, s, in)
	require.Nil(t, o.take(s), "a queue begins empty")
	for i := range 40 {
		p := Parcel{
			Kind: uint16(i), Code: int16(-i), Tag: uint32(i) << 8,
			Block: uint32(i), Data: uint64(i) * 8, Size: uint64(i),
		}
		p.First[wire.Bulk] = uint64(i)
		signal, err := o.Put(s, &p)
		require.NoError(t, err)
		require.Equal(t, i == 0, signal, "the first into an armed inbox writes the eventfd, no other")
	}
	require.Equal(t, []*outbox.Slot{s}, o.ready(t, in), "a slot is on the list once")
	for i := range 40 {
		p := o.take(s)
		require.NotNil(t, p)
		require.Equal(t, uint16(i), p.Kind)
		require.Equal(t, int16(-i), p.Code)
		require.Equal(t, uint32(i)<<8, p.Tag)
		require.Equal(t, uint32(i), p.Block)
		require.Equal(t, uint64(i)*8, p.Data)
		require.Equal(t, uint64(i), p.Size)
		require.Equal(t, uint64(i), p.First[wire.Bulk])
	}
	require.Nil(t, o.take(s))
	require.Equal(t, 2, o.Parcels())
	o.Part(s, seat)
	require.Zero(t, o.Parcels())
}

// TestReadyAgain: once a puller has said that a queue is empty, the next parcel puts
// the slot back, and signals only if the inbox is armed.
func TestReadyAgain(t *testing.T) {
	o := newOffice(t, 2, 64)
	in, err := o.Open(7)
	require.NoError(t, err)
	a, b := newSlot(t), newSlot(t)
	join(t, o, a, in)
	join(t, o, b, in)
	put := func(s *outbox.Slot) bool {
		signal, err := o.Put(s, &Parcel{})
		require.NoError(t, err)
		return signal
	}
	require.True(t, put(a))
	require.False(t, put(b), "disarmed: whoever was signalled looks at all")
	require.Equal(t, []*outbox.Slot{a, b}, o.ready(t, in))
	a.Queue.Ready.Store(0)
	require.False(t, put(a), "not armed")
	require.False(t, put(b), "still on the puller's list")
	require.Equal(t, []*outbox.Slot{a}, o.ready(t, in))
	o.inboxes[in].armed.Store(1)
	b.Queue.Ready.Store(0)
	require.True(t, put(b))
	require.Equal(t, []*outbox.Slot{b}, o.ready(t, in))
}

// TestEventsFindRoom where messages have to wait.
func TestEventsFindRoom(t *testing.T) {
	o := newOffice(t, 2, 2*eventShare)
	in, err := o.Open(7)
	require.NoError(t, err)
	s := newSlot(t)
	seat := join(t, o, s, in)
	for range 2*eventShare - 4 {
		_, err = o.Put(s, &Parcel{Kind: KindLong})
		require.NoError(t, err)
	}
	for range 2 {
		_, err = o.Put(s, &Parcel{Kind: KindLong})
		require.ErrorIs(t, err, ErrExhausted)
		_, err = o.Put(s, &Parcel{Kind: KindRun})
		require.ErrorIs(t, err, ErrExhausted)
		_, err = o.Put(s, &Parcel{Kind: 16})
		require.NoError(t, err)
	}
	_, err = o.Put(s, &Parcel{Kind: 16})
	require.ErrorIs(t, err, ErrExhausted)
	for range 2*eventShare - 4 {
		o.take(s)
	}
	_, err = o.Put(s, &Parcel{Kind: KindRun})
	require.NoError(t, err)
	o.PutLast(s, seat, &Parcel{Kind: 25})
}

func TestParcelsRunOut(t *testing.T) {
	o := newOffice(t, 2, 4)
	in, err := o.Open(7)
	require.NoError(t, err)
	s := newSlot(t)
	seat := join(t, o, s, in)
	for range 2 {
		_, err = o.Put(s, &Parcel{Kind: 3})
		require.NoError(t, err)
	}
	_, err = o.Put(s, &Parcel{Kind: 4})
	require.ErrorIs(t, err, ErrExhausted)
	_, err = o.Reserve()
	require.ErrorIs(t, err, ErrExhausted)
	require.Equal(t, uint16(3), o.take(s).Kind)
	_, err = o.Reserve()
	require.ErrorIs(t, err, ErrExhausted, "one parcel is no seat")
	_, err = o.Put(s, &Parcel{Kind: 5})
	require.NoError(t, err, "a parcel came back")
	o.PutLast(s, seat, &Parcel{Kind: 6})
	require.Equal(t, uint16(3), o.take(s).Kind)
	require.Equal(t, uint16(5), o.take(s).Kind)
	require.Equal(t, uint16(6), o.take(s).Kind, "the last event has a parcel of its own")
	require.Nil(t, o.take(s), "what was refused left no trace")
	require.Equal(t, 1, o.Parcels(), "the one that was taken last")
}

// TestSeatIsGivenBack: what never joined, or joined and was given nothing, leaves
// nothing behind.
func TestSeatIsGivenBack(t *testing.T) {
	o := newOffice(t, 2, 4)
	in, err := o.Open(7)
	require.NoError(t, err)
	seat, err := o.Reserve()
	require.NoError(t, err)
	o.Forgo(seat)
	require.Zero(t, o.Parcels())
	o.Forgo(join(t, o, newSlot(t), in))
	require.Zero(t, o.Parcels())
}

// TestOneProducerOneConsumer: a worker puts while a puller takes; everything arrives,
// in order, and no wake is lost.
func TestOneProducerOneConsumer(t *testing.T) {
	const total = 20_000
	o := newOffice(t, 2, 64)
	in, err := o.Open(7)
	require.NoError(t, err)
	s := newSlot(t)
	join(t, o, s, in)
	signals := make(chan struct{}, 1)
	var producer sync.WaitGroup
	producer.Go(func() {
		for i := 0; i < total; {
			signal, err := o.Put(s, &Parcel{Size: uint64(i)})
			if err == nil {
				i++
			}
			if signal {
				signals <- struct{}{}
			}
		}
	})
	next, box := uint64(0), &o.inboxes[in]
	drain := func() {
		for len(o.ready(t, in)) > 0 {
			s.Queue.Ready.Store(0) // before the look, so that a parcel put behind it gives a notice
			for p := o.take(s); p != nil; p = o.take(s) {
				require.Equal(t, next, p.Size)
				next++
			}
		}
	}
	deadline := time.After(60 * time.Second)
	for next < total {
		select {
		case <-signals:
		case <-deadline:
			t.Fatalf("a wake was lost after %d parcels", next)
		}
		drain()
		box.armed.Store(1)
		if box.stack.Load() != 0 && box.armed.CompareAndSwap(1, 0) {
			signals <- struct{}{} // something came before it was armed
		}
	}
	producer.Wait()
	require.Equal(t, 2, o.Parcels())
}

func TestRootSaysWhereThingsAre(t *testing.T) {
	o := newOffice(t, 2, 8)
	require.Equal(t, uintptr(unsafe.Pointer(&o.inboxes[0])), uintptr(o.root.inboxes))
	require.Equal(t, uintptr(unsafe.Pointer(o.root)), uintptr(o.Root()))
}
