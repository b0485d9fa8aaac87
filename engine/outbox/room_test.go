package outbox

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestRoomInALargeLane: a sender is told as soon as its message has room and some more, if
// that is before half of the lane is free.
func TestRoomInALargeLane(t *testing.T) {
	table := newTable(t, 16, 8)
	s, h, readers := newEndpoint(t, table, 4<<20)
	_, _, err := table.Send(h, 0, 0, []byte("x"))
	require.NoError(t, err)
	for readers[0].Grow() {
	}
	require.Equal(t, uint64(63*64<<10), s.Limit(0))
	for _, c := range []struct {
		held, size int
		room       bool
	}{
		{3100 << 10, 1, false}, // no MiB is free
		{2500 << 10, 1, true},
		{2500 << 10, 1 << 20, false},
		{2500 << 10, 500 << 10, true},
		{2000 << 10, 2000 << 10, true}, // half of it is free
		{2000 << 10, 2100 << 10, false},
		{0, 8 << 20, false}, // that takes an empty lane
	} {
		s.Want.Store(0)
		s.lanes[0].charged.Add(int64(c.held))
		table.Want(h, 0, c.size, WantEvent)
		require.Equal(t, c.room, readers[0].HasRoom(), "%+v", c)
		require.Equal(t, !c.room, s.Full(0), "%+v", c)
		s.lanes[0].charged.Add(-int64(c.held))
	}
	endLife(t, table, s, readers)
}

// TestRoomForTheSmallest: of several that wait, the one that needs least is told first,
// and nobody is told before his message fits, or he would try again and again.
func TestRoomForTheSmallest(t *testing.T) {
	table := newTable(t, 16, 8)
	s, h, readers := newEndpoint(t, table, 256<<10)
	_, _, err := table.Send(h, 0, 0, []byte("x"))
	require.NoError(t, err)
	for _, c := range []struct {
		asked []int
		room  bool
	}{
		{[]int{300 << 10}, false},
		{[]int{255 << 10}, true},
		{[]int{256 << 10}, false},
		{[]int{300 << 10, 1, 300 << 10}, true},
	} {
		s.Want.Store(0)
		for _, size := range c.asked {
			table.Want(h, 0, size, WantEvent)
		}
		require.Equal(t, c.room, readers[0].HasRoom(), "%+v", c)
	}
	endLife(t, table, s, readers)
}

// TestRefusedIsNoRoom: whoever is refused is told only when something has changed, or
// sender and worker would go on asking and telling.
func TestRefusedIsNoRoom(t *testing.T) {
	table := newTable(t, 16, 64)
	random := rand.New(rand.NewPCG(seeded(t), 0))
	s, h, readers := newEndpoint(t, table, uint64(64<<10+random.IntN(200<<10)))
	r := &readers[0]
	for range 400 {
		most, size, err := 1<<random.IntN(19), 0, error(nil)
		for err == nil {
			size = random.IntN(most)
			_, _, err = table.Send(h, 0, 0, make([]byte, size))
		}
		require.ErrorIs(t, err, ErrAgain)
		s.Want.Store(0)
		table.Want(h, 0, size, WantEvent)
		require.False(t, r.HasRoom(), "%d bytes, limit %d", size, s.Limit(0))
		for e, ok := r.Peek(r.Sent(), 1<<20); ok; e, ok = r.Peek(r.Sent(), 1<<20) {
			r.Advance(e)
		}
		require.True(t, r.Acknowledge(r.Taken().Messages, func(ref Reference) { table.Release(ref) }))
	}
	endLife(t, table, s, readers)
}

// TestRoomInAnEmptyLane: what refused senders have charged for the moment must not
// keep others waiting, because nothing that happens later would wake them.
func TestRoomInAnEmptyLane(t *testing.T) {
	table := newTable(t, 9, 8)
	s, h, readers := newEndpoint(t, table, 0)
	s.lanes[0].charged.Add(1 << 20)
	require.True(t, readers[0].HasRoom())
	_, _, err := table.Send(h, 0, 0, []byte("x"))
	require.NoError(t, err)
	require.False(t, readers[0].HasRoom())
	s.lanes[0].charged.Add(-1 << 20)
	require.True(t, readers[0].HasRoom())
	endLife(t, table, s, readers)
}
