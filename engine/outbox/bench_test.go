package outbox

import (
	"testing"

	"github.com/lyquor/lyquor/engine/wire"

	"github.com/stretchr/testify/require"
)

// turn sends one message and takes it out again.
func turn(table *Table, h Handle, r *Reader, data []byte) bool {
	if _, _, err := table.Send(h, wire.Normal, 0, data); err != nil {
		return false
	}
	e, ok := r.Peek(r.Sent(), 1<<16)
	r.Advance(e)
	r.Acknowledge(r.Taken().Messages, nil)
	return ok
}

// TestSmallMessagesAllocateNothing: neither a send, nor its way through the log,
// nor rest and what follows it.
func TestSmallMessagesAllocateNothing(t *testing.T) {
	table := newTable(t, 12, 8)
	s, h, readers := newEndpoint(t, table, 1<<16)
	data := make([]byte, 64)
	allocations := testing.AllocsPerRun(2000, func() {
		require.True(t, turn(table, h, &readers[0], data))
		table.Notices(0, func(*Slot) {}, nil)
	})
	require.Zero(t, allocations)
	allocations = testing.AllocsPerRun(2000, func() {
		require.True(t, turn(table, h, &readers[0], data))
		require.False(t, readers[0].Rest())
	})
	require.Zero(t, allocations)
	endLife(t, table, s, readers)
	table.Notices(0, func(*Slot) {}, nil)
	requireEmpty(t, table)
}

// BenchmarkTurn is one message through the log on one goroutine, as a program that
// waits for each answer would see it.
func BenchmarkTurn(b *testing.B) {
	table := newTable(b, 16, 8)
	_, h, readers := newEndpoint(b, table, 256<<10)
	data := make([]byte, 64)
	b.SetBytes(64)
	for b.Loop() {
		if !turn(table, h, &readers[0], data) {
			b.Fatal("refused")
		}
	}
}

// BenchmarkSend is the producer's part: 64 bytes are claimed, copied, published
// and rung for. The log is emptied run by run in between, as a worker would.
func BenchmarkSend(b *testing.B) {
	table := newTable(b, 16, 8)
	_, h, readers := newEndpoint(b, table, 256<<10)
	data := make([]byte, 64)
	r := &readers[0]
	b.SetBytes(64)
	for n := 0; b.Loop(); n++ {
		if _, _, err := table.Send(h, wire.Normal, 0, data); err != nil {
			b.Fatal(err)
		}
		if n%512 == 511 {
			for e, ok := r.Peek(r.Sent(), 1<<16); ok; e, ok = r.Peek(r.Sent(), 1<<16) {
				r.Advance(e)
			}
			r.Acknowledge(r.Taken().Messages, nil)
		}
	}
}
