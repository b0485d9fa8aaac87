//go:build unix && !race

package arena

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Mapped says that regions are mappings: large reservations are cheap and C may
// share them.
const Mapped = true

// Reserve returns a zeroed region of size bytes, or an error of the system.
func Reserve(size uintptr) (Region, error) {
	size = (size + PageSize - 1) &^ (PageSize - 1)
	mem, err := unix.Mmap(-1, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE|mapNoReserve)
	if err != nil {
		return Region{}, fmt.Errorf("arena: reserve %d bytes of address space: %w", size, err)
	}
	keepOutOfChildren(mem)
	return Region{unsafe.Pointer(&mem[0]), size}, nil
}

// release gives the memory of whole pages back to the system; they read as zero
// afterwards. It refuses pieces that share a page: the system rounds up.
func (r Region) release(offset, size uintptr) bool {
	if size%systemPage != 0 {
		return false
	}
	return discard(unsafe.Slice((*byte)(r.At(offset)), size))
}

// systemPage is what the system rounds to: 4 KiB, or up to 64 KiB on ARM.
var systemPage = uintptr(unix.Getpagesize())
