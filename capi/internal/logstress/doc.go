// Package logstress proves that the two twins of the send log are one: it runs
// producers in C (capi/log.h) against readers in Go (engine/outbox) on one table,
// with tiny chunks, many lanes, rest, close and reuse of slots, and compares every
// number of the shared layout. Nothing but its own test uses it; it is a package
// because Go's test files may not use cgo.
package logstress
