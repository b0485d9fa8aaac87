package main

import (
	"math/rand/v2"
	"time"
)

// kind is a kind of fault. Its number enters the seed of its schedule.
type kind uint64

const (
	cut kind = iota + 1
	stall
	halfOpen
)

// way is a direction of a connection: up is from who dialled to who listens.
type way int

const (
	up way = iota
	down
)

// fault is one entry of a schedule.
type fault struct {
	at  time.Duration // since the first connection
	way way           // the direction that dies, where only one does
}

// schedule is when the faults of one kind come. Gaps are exponential, so that
// faults fall into every phase of a connection's life and also close upon another.
type schedule struct {
	random *rand.Rand
	every  time.Duration // mean gap
	lasts  time.Duration // how long one takes; the next gap begins behind it
	end    time.Duration // of the last fault
}

// newSchedule makes the schedule that belongs to a seed and a kind. Kinds draw from
// sources of their own, so that switching one on does not move the others.
func newSchedule(seed uint64, k kind, every, lasts time.Duration) *schedule {
	return &schedule{random: rand.New(rand.NewPCG(seed, uint64(k))), every: every, lasts: lasts}
}

func (s *schedule) next() fault {
	at := s.end + time.Duration(s.random.ExpFloat64()*float64(s.every))
	s.end = at + s.lasts
	return fault{at: at, way: way(s.random.IntN(2))}
}
