package driver

import "time"

// pace notes what a turn wrote, to tell when a worker does many small writes for
// producers that are ahead of it: then it leaves the CPU to them for a moment, and
// each system call carries more.
//
// A write costs a fixed 5 to 10 µs in the kernel, so a worker that has a thousand
// endpoints with a few KiB each spends its time on that, and where there are more
// threads than CPUs it does so instead of the producers. With one message a write
// nobody is ahead: there, a rest would only be added to the answer.
type pace struct{ writes, bytes, messages int }

const (
	paceWrites   = 16                           // fewer are no load
	paceMessages = 8                            // a write: fewer, and nobody is ahead
	paceBytes    = 64 << 10                     // a write: more amortise the call well enough
	paceTurn     = int64(time.Millisecond)      // shorter turns are not worth a sleep
	paceMost     = 20 * int64(time.Millisecond) // of rest
)

func (p *pace) wrote(bytes, messages int) {
	p.writes++
	p.bytes += bytes
	p.messages += messages
}

// rest returns how long to rest after a turn that took so long, in nanoseconds, and
// begins anew: as long as the turn, within bounds, so that half of the time is left to
// the producers.
func (p *pace) rest(took int64) int64 {
	was := *p
	*p = pace{}
	if took < paceTurn || was.writes < paceWrites || was.messages < paceMessages*was.writes ||
		was.bytes > paceBytes*was.writes {
		return 0
	}
	return min(took, paceMost)
}
