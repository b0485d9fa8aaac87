// Package mem moves bytes between two ends in one process. It has no use for
// descriptors, goroutines per link or the clock, so it runs everywhere Go does,
// the browser included, and it is the transport of programs whose parts talk to
// each other as if they were apart.
//
// # Addresses
//
// An address is "mem://name"; a name is 1 to 255 of the characters a-z, A-Z, 0-9,
// '.', '-' and '_'. Names live in one Transport value: two values never see each
// other's listeners. The dialling end of a link has the address "mem://name#n",
// where n counts the links of the Transport; it tells links apart and cannot be
// dialled.
//
// # Behaviour
//
// A link buffers up to Capacity bytes each way, in memory that exists only while
// bytes are in it. Close lets the peer read what was written before, then io.EOF;
// the peer's Write fails with cause Reset at once. A listener takes one link at a
// time, so a dial waits, until its context ends, while an accept runs. Listeners
// never report a fault.
//
// Links are library-driven. A notice is given from the goroutine that calls Read,
// Write, CloseWrite or Close on the other end, or SetNotify on this one, and no
// lock is held meanwhile.
package mem
