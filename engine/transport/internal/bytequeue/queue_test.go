package bytequeue

import (
	"bytes"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// A queue is compared with a slice under random puts, takes and discards.
func TestQueueAgainstSlice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var q Queue
		var model []byte
		next := byte(0)
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				p := make([]byte, rapid.IntRange(0, 3*chunkSize).Draw(t, "size"))
				for i := range p {
					p[i] = next
					next++
				}
				q.Put(p)
				model = append(model, p...)
			},
			"take": func(t *rapid.T) {
				p := make([]byte, rapid.IntRange(0, 3*chunkSize).Draw(t, "size"))
				n := q.Take(p)
				require.Equal(t, min(len(p), len(model)), n)
				require.True(t, bytes.Equal(model[:n], p[:n]))
				model = model[n:]
			},
			"discard": func(t *rapid.T) {
				front := q.Front()
				require.True(t, bytes.HasPrefix(model, front))
				if len(front) == 0 {
					require.Empty(t, model)
					return
				}
				n := rapid.IntRange(1, len(front)).Draw(t, "bytes")
				q.Discard(n)
				model = model[n:]
			},
			"": func(t *rapid.T) {
				require.Equal(t, len(model), q.Len())
				require.Equal(t, len(model) == 0, q.head == nil, "memory is owned while there are bytes, only then")
			},
		})
	})
}

// Front's bytes must survive a Put, because a writer sends them meanwhile.
func TestFrontSurvivesPut(t *testing.T) {
	var q Queue
	q.Put([]byte("first"))
	front := q.Front()
	q.Put(make([]byte, 4*chunkSize))
	require.Equal(t, "first", string(front))
	q.Clear()
	require.Zero(t, q.Len())
	require.Nil(t, q.Front())
}

func TestChunkFitsSizeClass(t *testing.T) {
	require.LessOrEqual(t, unsafe.Sizeof(chunk{})+8, uintptr(8<<10))
}
