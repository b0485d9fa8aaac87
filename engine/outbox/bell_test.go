package outbox

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// notices returns the slots that a bell's worker is told of.
func notices(table *Table, own uint32) (slots []*Slot) {
	table.Notices(own, func(s *Slot) { slots = append(slots, s) }, func(*Bell) {})
	return slots
}

func TestNoticesComeOnceAndInOrder(t *testing.T) {
	table := newTable(t, 9, 8)
	var slots []*Slot
	for range 3 {
		s, _, _ := newEndpoint(t, table, 0)
		slots = append(slots, s)
	}
	bell := table.Bell(0)
	require.False(t, bell.Pending())
	for range 2 {
		for _, s := range slots {
			require.Nil(t, table.Ring(s), "the worker is awake")
		}
	}
	require.True(t, bell.Pending())
	require.Equal(t, slots, notices(table, 0))
	require.False(t, bell.Pending())
	require.Empty(t, notices(table, 0))
	n := table.Notices(0, nil, nil)
	require.Zero(t, n)
}

// TestNoticeDuringTheVisit: what comes while a worker looks is told again.
func TestNoticeDuringTheVisit(t *testing.T) {
	table := newTable(t, 9, 8)
	s, _, _ := newEndpoint(t, table, 0)
	table.Ring(s)
	visits := 0
	for range 3 {
		table.Notices(0, func(s *Slot) {
			visits++
			table.Ring(s)
		}, nil)
	}
	require.Equal(t, 3, visits)
}

// TestWakeGoesToOneRinger: a sleeping worker costs one system call.
func TestWakeGoesToOneRinger(t *testing.T) {
	table := newTable(t, 9, 8)
	a, _, _ := newEndpoint(t, table, 0)
	b, _, _ := newEndpoint(t, table, 0)
	bell := table.Bell(0)
	bell.SetDescriptor(-1)
	require.Equal(t, -1, bell.Descriptor())
	bell.Sleep()
	require.Equal(t, bell, table.Ring(a))
	require.Nil(t, table.Ring(b))
	require.Nil(t, bell.Wake())
	require.Equal(t, uint64(1), bell.Counts())
	bell.Sleep()
	require.Equal(t, bell, bell.Wake())
	bell.Sleep()
	bell.Awake()
	require.Nil(t, bell.Wake())
}

// TestNoticesFollowTheOwner: who rang before an endpoint moved reaches its new
// worker, and wakes it.
func TestNoticesFollowTheOwner(t *testing.T) {
	table := newTable(t, 9, 8)
	s, _, _ := newEndpoint(t, table, 0)
	table.Ring(s)
	s.Owner.Store(1)
	table.Bell(1).Sleep()
	var woken []*Bell
	n := table.Notices(0, func(*Slot) { t.Error("not ours") }, func(b *Bell) { woken = append(woken, b) })
	require.Zero(t, n)
	require.Equal(t, []*Bell{table.Bell(1)}, woken)
	require.Nil(t, table.Ring(s), "still noticed")
	require.Equal(t, []*Slot{s}, notices(table, 1))
}

// TestLateRingsSpoilNoList: producers ring for slots that were retired meanwhile.
// Free slots and noticed ones are linked apart from each other.
func TestLateRingsSpoilNoList(t *testing.T) {
	table := newTable(t, 9, 8)
	var slots []*Slot
	for range 4 {
		s, _, readers := newEndpoint(t, table, 0)
		slots = append(slots, s)
		defer func() { require.False(t, readers[0].Rest()) }()
	}
	for _, s := range slots {
		table.Close(s)
		table.Retire(s)
	}
	for _, s := range slots {
		table.Ring(s)
	}
	require.Equal(t, slots, notices(table, 0))
	seen := map[*Slot]bool{}
	for range 4 {
		s, _, _ := newEndpoint(t, table, 0)
		require.False(t, seen[s])
		seen[s] = true
	}
	for _, s := range slots {
		require.True(t, seen[s], "a free slot was lost")
	}
}

// TestNoticedSlotsAreNotUsedAgain: a notice of a former life may lie where nobody
// looks any more, and then the slot's next life would never be noticed.
func TestNoticedSlotsAreNotUsedAgain(t *testing.T) {
	table := newTable(t, 9, 8)
	s, _, readers := newEndpoint(t, table, 0)
	endLife(t, table, s, readers)
	table.Ring(s) // bell 0 has no worker now
	other, err := table.Allocate(KindEndpoint, 1, 0, 0)
	require.NoError(t, err)
	require.NotEqual(t, s, other)
	table.Ring(other)
	require.Equal(t, []*Slot{other}, notices(table, 1))
	notices(table, 0) // bell 0 has one again, and passes the notice on
	notices(table, 1)
	again, err := table.Allocate(KindEndpoint, 1, 0, 0)
	require.NoError(t, err)
	require.Equal(t, s, again)
	table.Ring(again)
	require.Equal(t, []*Slot{again}, notices(table, 1))
}

func TestWantRingsOnce(t *testing.T) {
	table := newTable(t, 9, 8)
	s, h, readers := newEndpoint(t, table, 0)
	table.Bell(0).Sleep()
	require.Equal(t, table.Bell(0), table.Want(h, 2, 1, WantEvent))
	require.Nil(t, table.Want(h, 2, 1, WantEvent))
	require.Equal(t, []*Slot{s}, notices(table, 0))
	require.Nil(t, table.Want(h, 2, 1, WantEvent), "announced already")
	require.False(t, table.Bell(0).Pending())
	table.Want(h, 3, 1, WantEvent)
	require.True(t, table.Bell(0).Pending())
	require.Equal(t, WantEvent<<2|WantEvent<<3, s.Want.Load())
	require.Nil(t, table.Want(h+1, 0, 1, WantEvent))
	endLife(t, table, s, readers)
	notices(table, 0)
	s, _, _ = newEndpoint(t, table, 0)
	require.Zero(t, s.Want.Load())
}
