// Package endpoint is the channel protocol of one endpoint: a state machine that
// turns the bytes of a link into messages and events, and the logs of its lanes
// into bytes for a link. It does no I/O, reads no clock and draws no random
// numbers: bytes and times come in as arguments, so that a simulation replays it
// to the bit and a browser runs the same code.
//
// # How it is driven
//
// One owner at a time calls an Endpoint:
//
//	Connect      a link is there, the first or another: the preface and HELLO are due
//	Receive      bytes arrived; they are checked in place and handed to the Receiver
//	Gather       what is to be written now, as a Vector of slices
//	Wrote        how much of it the link took
//	Expire       the time that Deadline named has come
//	End, Close   the program wants to send no more, or to be rid of it
//	Fail         the link is lost
//	Sweep        senders wait for room, and there is no link
//	Abort        something on this side ends it, and the peer is to know
//	Consumed     the program is done with messages, where that is not told by Receiver
//	Retire       the link that there is gives way to another; Connect is next
//	Adopt        the link of an Offered endpoint is this one's, whose session it names
//	Refuse       it is nobody's: a new session begins
//
// Phase says how far it is. An endpoint that is Waiting again has lost its link, and
// its owner looks for another; once it is Closed, Reason says why and Drop gives all
// memory back.
//
// # Sessions
//
// Three positions a lane: what the peer has consumed (the log is freed up to there),
// what it has received (a new link goes on there), and what was given to the link.
// HELLO states the first two from each side, so resuming is going back in the log, in
// the middle of a long message too. A peer that does not know the session has
// restarted: what it had not consumed is reported, and withdrawn or sent again.
//
// Receive never stops for a program that takes nothing. What it does not take is held,
// in order, with the events among it; control frames are not, because an
// acknowledgement may stand behind it. Credit bounds what there can be: a message may
// start while less than the window lies between what was started and what was
// consumed. Acknowledgements are lazy, unless the peer asks for them with PING.
//
// # Sending
//
// Control frames go first, then lanes in strict priority, except that a lane that
// waited for lowerShare bytes of higher ones gets a turn. Frames of lanes
// interleave at frame boundaries only; long messages are cut into fragments,
// shorter ones while several lanes have something to send, so that urgent data
// never waits for more than one frame, and for what the link holds: Mixed tells the
// owner to keep that short. A run of messages is given to the link as
// it lies in the log. A frame that the link took in part is finished before
// anything else.
//
// A message whose time to live is over when its turn comes is withdrawn: SKIP has its
// place. The log remembers that until it is acknowledged, so another link gets the SKIP
// again where the peer has not counted it. Without a link nobody's turn comes; for senders
// that wait, Sweep frees what is late and lies before everything else, and resuming says
// how many those were.
package endpoint
