//go:build !unix || race

package arena

import (
	"sync"
	"unsafe"
)

// Mapped says that regions are mappings; here they are pieces of the Go heap, so
// callers reserve little.
const Mapped = false

// heap keeps every region alive: their addresses are handed about as numbers.
var heap struct {
	sync.Mutex
	regions [][]uint64
}

// Reserve returns a zeroed region of size bytes. It does not fail here.
func Reserve(size uintptr) (Region, error) {
	words := make([]uint64, (size+PageSize-1)&^(PageSize-1)/8+8)
	heap.Lock()
	heap.regions = append(heap.regions, words)
	heap.Unlock()
	skip := (64 - uintptr(unsafe.Pointer(&words[0]))%64) % 64
	return Region{unsafe.Add(unsafe.Pointer(&words[0]), skip), size}, nil
}

func (r Region) release(offset, size uintptr) bool {
	clear(unsafe.Slice((*byte)(r.At(offset)), size))
	return true
}
