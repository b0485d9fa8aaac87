package sim

import "slices"

// Shrink makes a schedule smaller that has a run fail: it leaves out what the failure does
// not need, many faults at a time and then one by one, and returns what is left when the
// run would hold without any single one of them. faults stays as it is.
//
// fails runs a new world under a part of the schedule, in the same order, and says whether
// it fails. For one part it should always say the same: it takes the seed of the world, and
// everything else that is drawn, from outside, so that fewer faults change nothing else. It
// is asked a few times for each fault that stays where those are few, and about as often as
// the square of their number at worst; one that has had enough says false.
//
//	small := sim.Shrink(faults, func(part []sim.Fault) bool { return run(seed, part) != nil })
//	fmt.Printf("seed %d:\n%s\n", seed, sim.Schedule(small))
func Shrink(faults []Fault, fails func(part []Fault) bool) []Fault {
	best := slices.Clone(faults)
	for size := len(best); size > 0; {
		less := false
		for from := 0; from < len(best); {
			to := min(from+size, len(best))
			if part := slices.Concat(best[:from], best[to:]); fails(part) {
				best, less = slices.Clone(part), true // what comes next has moved up
			} else {
				from = to
			}
		}
		switch {
		case size > 1:
			size = (size + 1) / 2
		case !less:
			return best
		}
	}
	return best
}
