package outbox

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/lyquor/lyquor/engine/wire"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestMarks: over any writes and acknowledgements, there are the marks that there are
// to be, in a ring that grows.
func TestMarks(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var m marks
		var want []mark
		freed, at := uint64(0), mark{}
		for range rapid.IntRange(1, 100).Draw(rt, "steps") {
			if pops := rapid.IntRange(0, 3).Draw(rt, "pops"); pops == 3 && len(want) > 0 {
				require.Equal(rt, want[0], *m.front())
				freed = want[0].pos
				want = want[1:]
				m.pop()
			}
			at.pos += rapid.Uint64Range(0, markStep).Draw(rt, "words")
			at.count.Messages++
			at.refs = rapid.Bool().Draw(rt, "refs")
			m.push(freed, at)
			want = marked(want, freed, at)
			require.Equal(rt, len(want) == 0, m.front() == nil)
			if m.ring != nil {
				require.Equal(rt, len(want), m.ring.n)
				require.LessOrEqual(rt, len(m.ring.marks), max(8, 2*100))
			}
		}
		for _, k := range want {
			require.Equal(rt, k, *m.front())
			m.pop()
		}
		require.Nil(rt, m.front())
	})
}

// marked is what a list of marks becomes with one more: short writes of one kind share
// a mark, from the second on, and what is soon acknowledged has none.
func marked(list []mark, freed uint64, k mark) []mark {
	end := freed
	if n := len(list); n > 0 {
		end = list[n-1].pos
		if n > 1 && list[n-1].refs == k.refs && k.pos < list[n-2].pos+markStep {
			return append(slices.Clone(list[:n-1]), k)
		}
	}
	if k.pos == end || len(list) == 0 && !k.refs && k.pos < end+markStep {
		return list
	}
	return append(slices.Clone(list), k)
}

// TestFreedUnread: what was acknowledged up to the end of a write is freed without a
// look at the log, however the write went.
func TestFreedUnread(t *testing.T) {
	const size, count = 1000, 40
	write := map[string]func(r *Reader, e Entry){
		"whole": func(r *Reader, e Entry) { r.Advance(e) },
		"in part": func(r *Reader, e Entry) {
			require.Equal(t, 100, r.AdvancePart(e, len(e.Run)-size-wordSize+100))
		},
	}
	for name, advance := range write {
		t.Run(name, func(t *testing.T) {
			table := newTable(t, 16, 16)
			s, h, readers := newEndpoint(t, table, 1<<16)
			r := &readers[wire.Low]
			for range count {
				_, _, err := table.Send(h, wire.Low, 0, make([]byte, size))
				require.NoError(t, err)
			}
			var ends []Count
			for range 3 {
				e, ok := r.Peek(r.Sent(), 10*size)
				require.True(t, ok)
				advance(r, e)
				ends = append(ends, r.Taken())
			}
			entry := table.wordAt(s, wire.Low, r.freed)
			taken := (r.sent - r.freed) * wordSize
			log := Entry{Run: table.chunks.Bytes(table.chunkAt(s, wire.Low, r.freed))[:taken]}
			require.Equal(t, published(entry), wire.GetHeader(log.Run))
			before := slices.Clone(log.Run)
			random := rand.New(rand.NewPCG(1, seeded(t)))
			for i := range log.Run {
				if log.Run[i] = byte(random.Uint32()); log.Run[i] == byte(kindPad) {
					log.Run[i]++ // padding is looked for where nothing more is to be freed
				}
			}
			for _, end := range ends {
				require.True(t, r.Acknowledge(end.Messages, nil))
				require.Equal(t, end, r.Acked())
			}
			copy(log.Run, before)
			endLife(t, table, s, readers)
			requireEmpty(t, table)
		})
	}
}

// TestRewindKeepsReferences: what lies beside the log is given back though the reader
// has gone back, and forward again over it.
func TestRewindKeepsReferences(t *testing.T) {
	table := newTable(t, 16, 16)
	s, h, readers := newEndpoint(t, table, 1<<16)
	r := &readers[wire.Low]
	for i := range 14 {
		size := 1000
		if i%5 == 1 {
			size = MaxInline + 1
		}
		_, _, err := table.Send(h, wire.Low, 0, make([]byte, size))
		require.NoError(t, err)
	}
	list := r.rest(t, 1<<16)
	n := uint64(len(list))
	require.True(t, r.Rewind(n))
	released := 0
	require.True(t, r.Acknowledge(n, func(ref Reference) {
		require.True(t, table.Release(ref))
		released++
	}))
	require.Equal(t, 3, released)
	require.Equal(t, charges(list), r.Acked().Bytes)
	endLife(t, table, s, readers)
	requireEmpty(t, table)
}
