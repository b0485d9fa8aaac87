// Package sim runs programs of many processes in one goroutine, in virtual time,
// from one seed: the engine's real endpoints, send logs and schedulers over links
// that are slow, that stall and break, on nodes that pause, crash and come back.
// One seed is one run, to the bit, so a failure that was seen once is seen again.
//
// It is for testing protocols: write the program against Node and Endpoint, let the
// world do its worst, and assert what your protocol promises.
//
// # A world
//
//	w, err := sim.New(sim.Config{Seed: seed})
//	server := w.Node("server", func(n *sim.Node) {
//		n.Listen("counter", sim.Options{}, sim.Handler{Message: ...})
//	})
//	client := w.Node("client", func(n *sim.Node) {
//		e, err := n.Dial("counter", sim.Options{}, sim.Handler{Message: ..., Event: ...})
//		n.Timer(time.Second, func() { e.Send(wire.Normal, 0, []byte("hello")) })
//	})
//	err = w.Run(5 * time.Second)    // virtual time
//	w.Partition([]*sim.Node{client})
//	err = w.Run(10 * time.Second)
//	w.Heal()
//	err = w.Settle(time.Minute)
//	err = w.Close()
//
// The function given to World.Node is the process: it runs when the node starts, and
// again after each Restart, when all memory that the process had is gone. What is to
// survive a crash, as on a disk, lives outside of that function.
//
// Everything runs in the goroutine that calls Run. Handlers and timers must not
// block, and take time and randomness from Node.Now, Node.Timer and Node.Rand only:
// the real clock, goroutines and the order of Go's maps make two runs differ.
// World.Hash is a running hash of all that happened; equal seeds give equal hashes.
//
// # Endpoints
//
// An endpoint is the engine's: messages are accepted by Send, kept until the peer's
// handler has taken them, sent again over the next link after a link was lost, and
// accounted for when the peer restarts or the endpoint ends. Where the driver would
// read and write sockets, redial with back-off, and keep the sessions of endpoints
// that were accepted, the node does the same over simulated links.
//
// Endpoint.Switch leads one that was dialled to another address while messages flow.
//
// A program gets its messages by functions (Handler), which the worker calls; or it
// pulls them from an Inbox, in a thread of its own (Node.Thread), and releases them in
// any order. With Options.ManualAck it says by Endpoint.Ack what it is done with.
//
// # Links and faults
//
// A link is a stream with a latency, jitter, a bandwidth and a bound on what is
// under way (LinkConfig). Faults are methods: World.Cut and Partition stall what is
// under way and let attempts to connect time out; Reset loses bytes in the middle
// of a frame; HalfOpen breaks a link so that one side does not notice; Node.Crash,
// Restart, Pause, Refuse, Slow, Deafen and Skew do to processes what their names say. Fault and
// World.Schedule hold the same as data: Shrink leaves out of a schedule under which a
// program fails what the failure does not need, Schedule prints what is left, and
// ParseSchedule reads it, so that the seed and that text are a test from then on.
//
// Config.Perturb makes the engine's surroundings unpleasant within what is allowed:
// reads of a few bytes, writes that take nothing, memory given back at every chance,
// senders that claim more room than they need.
//
// # What every run checks
//
// The world sees both ends, and keeps books of all messages. Run, Settle and Close
// return an error, and nothing runs on, when the engine breaks its promise:
//
//   - a message arrives that was not sent, twice at the same incarnation, or out of
//     the order of its lane;
//   - a message is acknowledged that the peer did not consume, or delivered although
//     it was reported as never sent, or withdrawn, or missed though its time to live was
//     not over; an account does not add up;
//   - a queue grows beyond its bound; memory does not come back;
//   - something waits for nothing: a message for which there is credit and room in the
//     link, a sender for room that is there, a worker that was rung for and sleeps;
//   - something is late: a timer, the end of a silent link, of a handshake, of a session
//     without a link, of an endpoint that lingers; in Settle, an acknowledgement;
//   - after Settle's time without faults something accepted is not acknowledged.
//
// Package sim/chaos makes such runs from random programs and faults, and makes a
// failing one smaller; `make sim N=1000` runs many. That they would notice a mistake in
// the engine is tried too: `make sim-planted` makes mistakes.
package sim
