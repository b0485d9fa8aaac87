//go:build linux && !race

package arena

import "golang.org/x/sys/unix"

const mapNoReserve = unix.MAP_NORESERVE

// keepOutOfChildren leaves the pages out of forked children: a child may not use
// the library, and copy-on-write of live buffers would only slow the parent.
func keepOutOfChildren(mem []byte) {
	// Advice: on a kernel without it children merely inherit the pages.
	_ = unix.Madvise(mem, unix.MADV_DONTFORK)
}

// discard drops the pages at once; private anonymous memory then reads as zero.
func discard(mem []byte) bool { return unix.Madvise(mem, unix.MADV_DONTNEED) == nil }
