// Package outbox is the send log: four bounded logs of messages per endpoint, in
// memory that C can reach. Any number of producers, threads in C and goroutines,
// append to them without waiting; one worker reads. The package does no I/O and
// starts nothing; capi/log.h is the twin of its producers' half, in C.
//
// # A log
//
// A lane is a sequence of entries. Positions count words of 8 bytes, and grow as long as
// the slot's life lasts:
//
//	─ free ─┤── taken ──┤── published, being copied ──┤
//	      head        sent                          tail
//
// An entry is a frame as the wire has it, header word first, so that a run of
// messages is sent as it lies there. More kinds exist in the log alone: padding
// before the end of a chunk or behind a truncated claim, references to messages
// above MaxInline, whose bytes lie elsewhere, and what time to live needs. An entry
// never crosses a chunk's end.
//
// A Table holds what producers and workers share: slots (one per handle, with their
// lanes), bells (one per worker), budgets (one per driver), and pools of memory.
//
// # Claim and publish
//
// A producer claims with one compare-and-swap of the lane's tail word, which holds
// the positions claimed, the messages claimed, the closed bit and the slot's
// generation. So one exchange decides order, id, room, "closed" and "stale handle";
// a close or the slot's next life cannot come in between. It copies, and publishes
// with a store of the header word. Zero means "not published": chunks are zeroed
// before their first use, because a payload can imitate every header.
//
// Everything read before the exchange may be torn or of another life. Nothing is
// written before it but counters whose every change is taken back by whoever made
// it: lane.charged and Budget.Used. Those are never reset.
//
// A claim pins what it is in. Until it is published the head does not pass it, the
// lane is not settled, and so its slot is not retired. That is why chunks are
// installed after the exchange and not before: a producer that slept between its
// look and its installation would write into the directory of a life that is over,
// or leave a chunk in a lane that rests. It brings the chunk along, so that memory
// is refused before anything is claimed; two, if it has to pad a chunk that another
// producer has claimed in and not yet installed (type spares).
//
// The counters wrap: positions at 2^26 words, messages at 2^25, the generation in
// the tail at 2^12 lives. Limits are at most a quarter of the first (MaxLog), and a
// word is at least one per message, so differences are exact. A producer that
// sleeps between look and exchange while the tail comes back to the same 64 bits
// would be fooled: that takes 2^25 messages of 2 words each on average and an
// arrival at exactly one of 2^25 states, or 4096 lives of a slot.
//
// # Directory
//
// A lane finds its chunks by position in a ring of places. Its limit is at most
// places-1 chunks; head and the end of a claim are at most the limit apart, so no two
// chunks in use have one place. The reader empties a place before it moves the head
// past the chunk, and a producer reads the head before the place: what it finds there
// is the chunk that it needs, or none.
//
// The ring in the slot is small. A lane whose limit grows beyond it gets a large one,
// a piece of a pool of its own: producers that slept may look at one that the lane has
// given up, or of a life that is over, so it never becomes anything else. lane.large
// names the piece and a position: this and the half of all positions that follow are
// looked up there, the others in the slot. So a position alone decides, and its meaning
// must not change for one that somebody may have claimed, or may be about to. Only the
// reader changes lane.large, and always for positions that no claim can reach:
//
//   - Growth sets the position to the first chunk's start that is at least a limit
//     behind the head, and then raises the limit. A producer can claim there only if it
//     has read a newer head or limit, both stored after lane.large; it reads the place
//     last, and therefore sees where to look.
//   - As the head moves on, the position follows it, before the head is stored: what
//     lies before the head is looked up by nobody.
//   - Rest gives the large ring up. The lane is empty; it has positions from a limit
//     behind the head on looked up in the slot again, and then moves the tail there by
//     exchange. If a claim came in between it puts the position back: neither change
//     meant anything to what can be claimed before the head moves. If not, every
//     producer that read the old tail fails, the ring is empty, and those who read the
//     new tail look in the slot. The limit is small again before the head follows.
//
// # Limits
//
// A lane's limit begins with FirstLimit and doubles on Grow, up to the slot's bound and a
// share of what the driver's budget has left; Rest takes that back. A sender that read an
// older limit is refused what a newer one would allow, or claims no further than the older
// one allowed, from a head that was stored before.
//
// # Free and rest
//
// What was taken stays until the peer has acknowledged it: the reader may have to go
// back (Rewind). Then it is freed, chunks being zeroed as the reader leaves them,
// and the head moves. The log is not read again for that: marks tell how far each
// write reached, and only between two of them entries are walked. An idle lane owns
// nothing: Rest moves the tail to a later chunk, by exchange, so that every
// producer that looked at the old tail looks again; only then it takes the chunk
// away. Until the head has followed, the words skipped count as used, and a claim
// may be refused that would have fitted. A lane begins at its slot's colour, some way
// into its first chunk, and does so again after a rest (see Table.colour).
//
// What is withdrawn, or left when the life ends, may be salvaged: its chunks, what it
// refers to, and what both count in the budget go over to a list as they are (Remnants).
// Only what lies in a chunk in which the log goes on is copied.
//
// # Time to live
//
// A message may have a deadline, in two words before it that are claimed with it and
// published last. Where the worker finds that its time is over, it makes deadline and
// message one entry that holds nothing (Expire): what the message referred to is given
// back, and its place remains until it is acknowledged, so that Rewind finds the gap
// where it was. Once a link was given a byte of the message, the deadline is padding and
// the message is like any other. While there is no link, Sweep looks for room behind the
// first message as well, and frees what nothing lies before.
//
// # Bells
//
// Who has published looks at Slot.scheduled; if it is clear, sets it, pushes the
// slot on the stack of its owner's bell, and wakes the worker if it announced sleep.
// The worker clears scheduled before it reads the log, and looks at the stack once
// more after announcing sleep. All of these are sequentially consistent: in the one
// order of them, either the producer's store comes before the worker's look, or the
// worker's clearing before the producer's. With release and acquire alone, or a
// fence in the wrong place, both could miss each other.
//
// A producer that is preempted after it set scheduled delays the notice for all of
// the slot's others until it runs again; one that is preempted before it publishes
// delays the messages behind its own. Neither loses any.
//
// A notice belongs to the slot's memory and not to a life. While scheduled is set
// nobody else pushes, so Slot.next is one owner's at a time; free slots have a link
// of their own, because late producers ring for them too. A slot that is noticed
// when it would be used again is put aside until the notice was seen: it might lie
// with a bell that nobody answers any more. Visits may therefore be spurious: the
// worker looks up what it drives by the slot, and ignores what it does not know.
// A notice that finds the endpoint moved is passed on to the new owner.
//
// # Room
//
// ErrAgain is returned if the limit, the driver's budget or the pools have no room.
// Nothing is lost by it and no notice is owed for it. A sender that wants one
// announces it (Table.Want), tries once more, and only then waits. The worker frees
// and then looks at Slot.Want; so either the second try sees the room or the worker
// the wish. It answers when HasRoom. "Closed" is decided before "full", for nobody
// answers for a life that is over.
//
// Refused senders may have charged bytes or taken a chunk for a moment, which
// refuses others. In an empty lane nothing would come to tell those; hence an empty
// lane takes any one message, and HasRoom is true for it. Memory that a producer or
// another driver gives back is announced by nobody: a driver whose Budget.Starved is
// set looks again on a timer while senders wait.
//
// A message by reference is charged in full, against the lane's limit and against
// the budget, before its entry is claimed: accepted whole or not at all. In the lane it
// counts its size, and in the budget the memory that it keeps, as chunks do: a copy counts
// the piece that it lies in. The limit is exact but for padding, less than a quarter of each chunk, and is never
// exceeded but by the one message of a lane that was empty.
//
// # Lives
//
// Allocate begins a life, Close ends claims, Drop (once the lane is Settled) gives
// back what is left, Retire ends the life, and the last byte released (Unhold) frees
// the slot. Slots are never unmapped. A handle names a slot and a generation of 24
// bits, and no handle ever comes again: a slot that has lived 2^24-1 times stays out
// of use. Its ID is void before anything else of the next life is written, so a
// reader of a slot's words looks at the ID after them.
//
// # Proof
//
// The log is held against a naive model over random calls (TestModel); against
// producers, workers that sleep, moves, growth and new lives under the race detector
// (TestStress, TestRestUnderClaims); the C twin against a consumer in C under ThreadSanitizer,
// AddressSanitizer and on ARM (tests/c/log_stress.c); and producers in C against
// this package, with a comparison of all offsets (capi/internal/logstress).
package outbox
