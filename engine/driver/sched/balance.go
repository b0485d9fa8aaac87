package sched

import "math"

// Load is what one worker did in a window of time, in nanoseconds.
type Load struct {
	Busy  int64 // in turns that had something to do
	Stuck int64 // of that, in callbacks that took too long
}

// Share is what one task had of its worker's time.
type Share struct {
	Load
	Stays bool // it may not be moved
}

// Balance decides which tasks of one worker go to another one. It moves little: only what
// makes the busiest worker clearly less busy, and only when it has been so for a while.
type Balance struct {
	uneven, stuck int // windows in a row in which that was so
	idle, calm    int // the least busy of the others, and of those without slow callbacks; -1: none
}

const (
	// unevenWindows is how long another worker must have been less busy.
	unevenWindows = 3
	// stuckWindows is how long callbacks must have held up the others.
	stuckWindows = 2
)

// The parts of a window by which workers are compared.
const (
	busyPart  = 2  // less than half of its time busy: nobody need help
	gapPart   = 4  // a smaller difference is chance
	gainPart  = 10 // a smaller gain is not worth a move
	stuckPart = 10 // so much of its time in slow callbacks: the others starve
	calmPart  = 20 // with so much of them a worker is no place to go
	hogPart   = 8  // of the slowest's: who has less is held up, and at times by the system
)

// Window notes what the workers did in a window, and says whether the shares of worker
// own's tasks are to be measured in the next one, because Choose may be asked then.
func (b *Balance) Window(own int, window int64, loads []Load) (measure bool) {
	mine := loads[own]
	b.idle, b.calm = idlest(own, loads, math.MaxInt64), idlest(own, loads, window/calmPart)
	uneven := b.idle >= 0 && mine.Busy >= window/busyPart && mine.Busy-loads[b.idle].Busy >= window/gapPart
	stuck := b.calm >= 0 && mine.Stuck >= window/stuckPart
	b.uneven, b.stuck = next(b.uneven, uneven), next(b.stuck, stuck)
	return b.uneven >= unevenWindows-1 || b.stuck >= stuckWindows-1
}

func next(count int, again bool) int {
	if again {
		return count + 1
	}
	return 0
}

// idlest returns the worker that is least busy of the others that slow callbacks hold up for
// less than that long; -1: there is none.
func idlest(own int, loads []Load, stuck int64) int {
	to := -1
	for i, l := range loads {
		if i != own && l.Stuck < stuck && (to < 0 || l.Busy < loads[to].Busy) {
			to = i
		}
	}
	return to
}

// Choose returns which tasks go, and to which worker, after the window that Window was told
// of last. Those that are held up by others' callbacks all go; else the one that evens
// things out best.
func (b *Balance) Choose(own int, window int64, loads []Load, shares []Share) (which []int, to int) {
	if b.stuck >= stuckWindows {
		most := int64(0)
		for _, s := range shares {
			most = max(most, s.Stuck)
		}
		for i, s := range shares {
			if !s.Stays && s.Busy > 0 && s.Stuck <= most/hogPart {
				which, to = append(which, i), b.calm
			}
		}
	}
	if len(which) == 0 && b.uneven >= unevenWindows {
		which, to = b.evenOut(loads, window, shares)
	}
	if len(which) > 0 {
		b.uneven, b.stuck = 0, 0
	}
	return which, to
}

// evenOut chooses the task with which the busier of two workers would be least busy. One with
// slow callbacks may go where there are such; to the others that would do no good. What the
// worker did for no task would go with them, so only their sum counts.
func (b *Balance) evenOut(loads []Load, window int64, shares []Share) (which []int, to int) {
	mine := int64(0)
	for _, s := range shares {
		mine += s.Busy
	}
	best := mine - window/gainPart
	for i, s := range shares {
		at := b.idle
		if s.Stuck == 0 {
			at = b.calm
		}
		if s.Stays || s.Busy == 0 || at < 0 {
			continue
		}
		if busiest := max(mine-s.Busy, loads[at].Busy+s.Busy); busiest <= best {
			which, to, best = []int{i}, at, busiest-1
		}
	}
	return which, to
}
