// Package system holds the system calls that links and pollers make, so that a test can
// have any one of them fail: see Fail, which exists with the build tag "failing". In
// every other build nothing is left of that, and a call here is the call itself.
//
// Calls that are made too often to pass arguments on (those that move bytes and wait
// for events) ask Error first, and are made where they are used; so do those that Go's
// net makes by itself. What the C API opens by itself, the eventfd of an inbox, is not
// here: only the engine may import this package. That it may fail is tried there, by a
// process without descriptors (tests/c/exhaustion.c).
package system
