package main

/*
#include "bridge.h"
*/
import "C"

import (
	"runtime/metrics"
	"unsafe"

	"github.com/lyquor/lyquor/engine/arena"
)

// goMetrics are what is asked of Go's runtime, in the order of the counters that they
// fill, from LYQ_P_HEAP_BYTES on. Reading them does not stop the world.
var goMetrics = [...]string{"/gc/heap/live:bytes", "/sched/goroutines:goroutines"}

// bytesOf returns what the pieces of a pool that are in use take.
func bytesOf(p *arena.Pool) uint64 { return uint64(p.InUse()) * uint64(p.PieceSize()) }

//export lyqgo_process_counters
func lyqgo_process_counters(out *C.uint64_t, n C.size_t) (result C.int) {
	defer guard(&result)
	var counts [C.LYQ_P_COUNT]uint64
	library.Lock()
	table, office := library.table, library.office
	library.Unlock()
	if table != nil {
		counts[C.LYQ_P_HANDLES] = uint64(table.Live())
		counts[C.LYQ_P_LOG_BYTES] = bytesOf(table.Chunks()) + bytesOf(table.Directories())
		counts[C.LYQ_P_BLOCK_BYTES] = bytesOf(table.Blocks())
		counts[C.LYQ_P_PARCELS] = uint64(office.Parcels())
	}
	var samples [len(goMetrics)]metrics.Sample
	for i, name := range goMetrics {
		samples[i].Name = name
	}
	metrics.Read(samples[:])
	for i, s := range samples {
		counts[C.LYQ_P_HEAP_BYTES+i] = s.Value.Uint64()
	}
	copy(unsafe.Slice((*uint64)(unsafe.Pointer(out)), min(int(n), len(counts))), counts[:])
	return C.int(len(counts))
}
