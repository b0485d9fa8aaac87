// Package arena provides the memory that C can reach: address space reserved
// once and never given back, and pools of equal pieces cut from it.
//
// Both sides of the C boundary compute addresses from one base and an index, so
// nothing that crosses it is a Go pointer. On Unix a Region is an anonymous
// mapping without reserved swap: it costs address space, and memory only for
// pages that were touched. Elsewhere, and under the race detector (which cannot
// see mappings of ours), it is a small piece of the Go heap.
//
// A Pool keeps freed pieces on two lock-free stacks, because the send log needs
// zeroed memory (package outbox) and everybody else does not: clean pieces are
// all zero, dirty ones hold anything. Trim gives the memory of pieces that
// stayed free back to the system.
//
// The C twin of Pool is capi/pool.h; capi compares the two layouts when it is
// compiled.
package arena
