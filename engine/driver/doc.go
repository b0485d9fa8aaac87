// Package driver runs endpoints: a pool of workers, each an OS thread with its own
// event loop, that move bytes between links and the channel protocol of package
// endpoint, and hand what arrives to the program.
//
// # A worker's turn
//
//	notices     slots that producers rang for go to the run list
//	mailbox     commands from other goroutines (start, close, arrive ...)
//	timers      deadlines that have come
//	run list    each ready endpoint once: read, deliver, write
//	departures  endpoints that go to other workers
//	poll        look for readiness; sleep only if nothing is left to do
//
// A worker blocks in one place, the poller's wait. Readiness is edge triggered and
// kept in two bits of the endpoint, so a descriptor is registered once and never
// modified; an endpoint that used up its budget stays in the run list with its bit
// set. Everything an endpoint has to send at the end of its step goes out in one
// system call, so batches grow by themselves while a worker is busy and an idle
// one sends each message at once.
//
// # Who owns what
//
// An Endpoint belongs to one worker at a time. Its slot (package outbox) is shared with
// the program; its other fields are the worker's, but for those marked atomic. What
// others want of it goes through the slot's words and a notice, or its mailbox.
//
// At the end of a turn, when nothing of it is under way, an endpoint may go to another
// worker: it is taken out of poller, scheduler and accounts, the slot gets its new owner,
// and a command in the other worker's mailbox enters it there. Its timers go with it, and
// its own mailbox is part of it, so that commands follow in order. Notices that were rung
// with the former worker are passed on; what arrives before the endpoint does is lost on
// the new one, which looks at everything when it enters it. The lock of the mailbox is
// what makes the one worker's writes visible to the other.
//
// Unless the program says where, or Options.NoBalance that nobody goes, workers even things
// out: each compares, at the end of a turn and ten times a second at most, what it has done
// with what the others have. Package sched decides what goes where.
//
// # Waiting
//
// Sinks hear of everything. Goroutines that would rather wait do so with SendWait, Flush,
// WaitUp and Wait; the worker closes a channel for them when it changes something.
//
// # Two pollers
//
// On Linux a worker polls descriptors with epoll. The portable poller, chosen by
// Options.Portable and used elsewhere, lets links of Go's own net tell when they
// are ready. Both drive the same code.
package driver
