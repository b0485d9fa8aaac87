// Package inbox is the way of messages and events from workers to threads that
// pull, which are C's: this package puts, capi/inbox.h takes.
//
// A worker puts parcels into a queue of the endpoint's own, a linked list with one
// producer and one consumer; a parcel is a run of messages in a block, a long
// message, or an event. The first parcel into a queue that nobody watches puts the
// endpoint's slot on the inbox's stack of ready endpoints. Pullers, one at a time,
// take from the ready endpoints in turn, so that one that sends much does not keep
// the others waiting.
//
// Parcels are many, but they may run out. An endpoint that binds to an inbox takes
// those without which it could not end (Seat): what is lost for want of a parcel ends
// it, and the event that says so always finds one.
//
// An inbox has one eventfd, readable while something is there. The puller that
// finds nothing clears it, arms the inbox, and looks again; the worker that puts
// something into an armed inbox disarms it and writes. Until the program has asked
// for the eventfd nobody writes it: a puller that waits does so on the word armed,
// by futex(2), which takes two system calls less than poll(2) and read(2).
//
// What the program has been given is counted in Slot.Held until it is released:
// the bytes of runs, long messages and events, as they lie in memory. A message that
// is released is marked where it lies, and its worker tells the peer of all that are
// marked without a gap: that is the credit which bounds what can lie here.
package inbox
