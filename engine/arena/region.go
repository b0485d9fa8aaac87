package arena

import "unsafe"

// PageSize is what the size of regions is rounded up to, in bytes.
const PageSize = 4096

// Region is one contiguous range of zeroed memory at a fixed address. It lives
// as long as the process.
type Region struct {
	base unsafe.Pointer
	size uintptr
}

// Base returns the address of the first byte, aligned to 64.
func (r Region) Base() unsafe.Pointer { return r.base }

// Size returns the number of bytes.
func (r Region) Size() uintptr { return r.size }

// At returns the address of the byte at offset.
func (r Region) At(offset uintptr) unsafe.Pointer { return unsafe.Add(r.base, offset) }
