package outbox

import (
	"sync"
	"testing"

	"github.com/lyquor/lyquor/engine/wire"

	"github.com/stretchr/testify/require"
)

// TestAck: what the program is done with only grows, never beyond what it was given, and
// what it says of a peer, or of a life of the slot, that is over changes nothing.
func TestAck(t *testing.T) {
	table := newTable(t, 12, 8)
	s, h, readers := newEndpoint(t, table, 1<<16)
	_, err := s.Ack(h, wire.Low, 0)
	require.ErrorIs(t, err, ErrNotManual)
	s.Manual.Store(1)
	_, err = s.Ack(h, wire.Low, 0)
	require.ErrorIs(t, err, ErrNotGiven)
	s.Give(wire.Low, 10)
	s.Awaited.Store(1)
	tell, err := s.Ack(h, wire.Low, 4)
	require.NoError(t, err)
	require.True(t, tell, "the worker wants to know")
	tell, err = s.Ack(h, wire.Low, 9)
	require.NoError(t, err)
	require.False(t, tell, "once")
	_, err = s.Ack(h, wire.Low, 2)
	require.NoError(t, err)
	require.EqualValues(t, 10, s.Done(wire.Low), "what was acknowledged stays so")
	_, err = s.Ack(h, wire.Low, 10)
	require.ErrorIs(t, err, ErrNotGiven)
	require.Zero(t, s.Done(wire.Normal), "of another lane")

	s.Give(wire.Low, 20)
	s.AwaitAck(wire.Low, 15)
	for id := uint64(10); id < 20; id++ {
		tell, err = s.Ack(h, wire.Low, id)
		require.NoError(t, err)
		require.Equal(t, id == 14, tell, "once, when the number is reached: %d", id)
		require.Equal(t, id < 14, s.AwaitsAck(wire.Low))
	}
	s.AwaitAck(wire.Low, 25)

	const later = 1 << NumberBits
	s.Listen(h.Generation(), wire.Low, 1)
	require.False(t, s.AwaitsAck(wire.Low), "numbers begin anew")
	s.Give(wire.Low, later|3)
	_, err = s.Ack(h, wire.Low, 9)
	require.NoError(t, err)
	require.Zero(t, s.Done(wire.Low), "of a peer that has restarted since")
	_, err = s.Ack(h, wire.Low, later|1)
	require.NoError(t, err)
	require.EqualValues(t, 2, s.Done(wire.Low))

	endLife(t, table, s, readers)
	_, err = s.Ack(h, wire.Low, later|2)
	require.NoError(t, err, "the slot is free, and nobody's yet")
	again, _, _ := newEndpoint(t, table, 1<<16)
	require.Same(t, s, again)
	s.Manual.Store(1)
	s.Give(wire.Low, 10)
	_, err = s.Ack(h, wire.Low, 4)
	require.ErrorIs(t, err, ErrClosed)
	require.Zero(t, s.Done(wire.Low), "of a life that is over")
	require.Equal(t, doneWord(3, 5), doneWord(3, 256<<NumberBits|5), "restarts do not run into the life")
	require.Equal(t, uint64(3<<56|255<<48|5), doneWord(3, 255<<NumberBits|5))
}

// TestAckBesideRestarts: threads acknowledge what they know of while peers restart. At
// the end there is what they said of the last, and nothing of those before.
func TestAckBesideRestarts(t *testing.T) {
	s, h, _ := newEndpoint(t, newTable(t, 12, 8), 1<<16)
	s.Manual.Store(1)
	const restarts, numbers, threads = 200, 50, 4
	var peers [restarts]sync.WaitGroup
	for i := range peers {
		peers[i].Add(1)
	}
	var all sync.WaitGroup
	for range threads {
		all.Go(func() {
			for i := range uint64(restarts) {
				peers[i].Wait()
				for n := range uint64(numbers) {
					if _, err := s.Ack(h, wire.Normal, i<<NumberBits|n); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	for i := range uint64(restarts) {
		s.Listen(h.Generation(), wire.Normal, uint32(i))
		s.Give(wire.Normal, i<<NumberBits|numbers)
		require.Zero(t, s.Done(wire.Normal), "before anybody knew of the new peer")
		peers[i].Done()
	}
	all.Wait()
	require.EqualValues(t, numbers, s.Done(wire.Normal))
}
