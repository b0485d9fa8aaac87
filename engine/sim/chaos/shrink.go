package chaos

import "slices"

// shrinkRuns bounds the runs that Shrink makes.
const shrinkRuns = 300

// Shrink takes faults, and then flows, out of a plan that fails, one by one, for as
// long as it fails without them, and returns the result of the smallest that does.
// The failure need not be the very same: a smaller world shows more.
func Shrink(p Plan) Result {
	best := p.Run()
	runs := 1
	try := func(smaller Plan) bool {
		if runs == shrinkRuns {
			return false
		}
		runs++
		if r := smaller.Run(); r.Err != nil {
			best = r
			return true
		}
		return false
	}
	for again := best.Err != nil; again; {
		again = false
		for i := len(best.Plan.Faults) - 1; i >= 0; i-- {
			smaller := best.Plan
			smaller.Faults = slices.Delete(slices.Clone(smaller.Faults), i, i+1)
			again = try(smaller) || again
		}
		for i := len(best.Plan.Flows) - 1; i >= 0; i-- {
			smaller := best.Plan
			smaller.Flows = slices.Delete(slices.Clone(smaller.Flows), i, i+1)
			again = try(smaller) || again
		}
	}
	return best
}
