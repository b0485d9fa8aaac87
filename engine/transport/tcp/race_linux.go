//go:build race

package tcp

import (
	"runtime"
	"unsafe"
)

// The race detector does not see what the kernel does with memory, so it is told. As
// package syscall does, each write to a socket is taken to happen before each later
// read from one.
var ioSync int64

// wrote says that the kernel has filled p.
func wrote(p []byte) {
	if len(p) > 0 {
		runtime.RaceWriteRange(unsafe.Pointer(&p[0]), len(p))
		runtime.RaceAcquire(unsafe.Pointer(&ioSync))
	}
}

// willRead says that the kernel is about to read bufs.
func willRead(bufs [][]byte) {
	runtime.RaceReleaseMerge(unsafe.Pointer(&ioSync))
	for _, b := range bufs {
		if len(b) > 0 {
			runtime.RaceReadRange(unsafe.Pointer(&b[0]), len(b))
		}
	}
}
