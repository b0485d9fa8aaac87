package sim

import (
	"sync"

	"github.com/lyquor/lyquor/engine/outbox"
)

// Tables reserve address space for the life of the process, so worlds that are
// closed hand theirs to the next. What an earlier world left in it (generations, the
// order of free pieces) changes nothing that a run shows.
var tables struct {
	sync.Mutex
	free [2][]*outbox.Table
}

// The size of a world's memory: small enough to be had thousands of times, and twice
// what the logs of a world of the usual size can hold. A block is four chunks, as in
// production.
const (
	tableSlots  = 1 << 10
	tableMemory = 64 << 20
	chunkShift  = 16 // as in production
	smallShift  = 12
	tableBlocks = 32 << 20

	directoryShift   = 14 // as in production
	tableDirectories = 1 << 6
)

func kindOfTable(small bool) (kind int, shift uint32) {
	if small {
		return 1, smallShift
	}
	return 0, chunkShift
}

// takeTable returns a table in which nothing is in use.
func takeTable(small bool) (*outbox.Table, error) {
	kind, shift := kindOfTable(small)
	tables.Lock()
	defer tables.Unlock()
	if n := len(tables.free[kind]); n > 0 {
		t := tables.free[kind][n-1]
		tables.free[kind] = tables.free[kind][:n-1]
		return t, nil
	}
	return outbox.NewTable(outbox.Config{Slots: tableSlots, Bells: maxNodes, Budgets: maxNodes,
		ChunkShift: shift, Chunks: tableMemory >> shift, BlockShift: shift + 2, Blocks: tableBlocks >> (shift + 2),
		DirectoryShift: directoryShift, Directories: tableDirectories})
}

func giveTable(t *outbox.Table, small bool) {
	kind, _ := kindOfTable(small)
	tables.Lock()
	defer tables.Unlock()
	tables.free[kind] = append(tables.free[kind], t)
}

// spareBuffers bounds the buffers that a world keeps; firstBuffer is their size.
const (
	spareBuffers = 32
	firstBuffer  = 4 << 10
)

// takeBuffer returns an empty buffer with room for at least size bytes, aligned to 8.
func (w *World) takeBuffer(size int) []byte {
	if n := len(w.buffers); n > 0 && cap(w.buffers[n-1]) >= size {
		b := w.buffers[n-1]
		w.buffers = w.buffers[:n-1]
		return b
	}
	// The allocator aligns blocks of 16 bytes and more, whose size is a power of two.
	room := firstBuffer
	for room < size {
		room *= 2
	}
	return make([]byte, 0, room)
}

// giveBuffer takes back a buffer that nobody looks at; what somebody does all the
// same sees only rubbish.
func (w *World) giveBuffer(b []byte) {
	const sample = 64 // bytes at its start: enough to be noticed
	for i := range b[:min(len(b), sample)] {
		b[i] = 0xee
	}
	if cap(b) > 0 && len(w.buffers) < spareBuffers {
		w.buffers = append(w.buffers, b[:0])
	}
}
