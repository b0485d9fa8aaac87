// Package sched is the pure part of a worker: which endpoints run next, and when
// time is due. It knows no threads, descriptors or clocks; a driver's worker and
// the simulator turn the same Scheduler.
//
// Tasks wait in a run list, first come first served. A turn runs each task that
// was in the list when the turn began, once; a task that has more to do goes to
// the tail, so that no task waits for more than one step of every other. What a
// step may do is bounded by its Budget.
//
// Timers are lazy: moving a task's deadline later costs one store, because the
// heap is corrected only when the old deadline comes. Keep-alive deadlines move
// with every message, so this is the common case.
package sched
