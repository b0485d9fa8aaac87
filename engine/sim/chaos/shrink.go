package chaos

import (
	"slices"

	"github.com/lyquor/lyquor/engine/sim"
)

const (
	// shrinkRuns bounds the runs that Shrink makes.
	shrinkRuns = 1000
	// worlds is in how many ways chance gets its way with a smaller plan: whatever is
	// taken out, all that is drawn later comes out otherwise.
	worlds = 4
)

// Shrink takes out of a plan that fails what can be taken out, faults and flows and
// what is peculiar about them and the world, for as long as it fails without, and
// returns the result of the smallest that does. The failure need not be the very same,
// nor the seed of its world: a smaller world shows more.
func Shrink(p Plan) Result {
	s := shrinker{seed: p.Config.Seed, best: p.Run(), runs: 1}
	for again := s.best.Err != nil; again; {
		before := len(s.best.Plan.Faults)
		left := sim.Shrink(s.best.Plan.Faults, func(part []sim.Fault) bool {
			smaller := s.best.Plan
			smaller.Faults = part
			return s.fails(smaller)
		})
		again = s.simplify() || len(left) < before
	}
	return s.best
}

// shrinker looks for a smaller plan that fails.
type shrinker struct {
	seed uint64
	best Result
	runs int
}

// fails says whether a plan does, in some world; then it is the best so far.
func (s *shrinker) fails(p Plan) bool {
	for k := uint64(0); k < worlds && s.runs < shrinkRuns; k++ {
		p.Config.Seed = s.seed + k
		r := p.Run()
		s.runs++
		if r.Err != nil {
			s.best = r
			return true
		}
	}
	return false
}

// simplify takes out other things than faults, one by one, and says whether anything went.
func (s *shrinker) simplify() (less bool) {
	for i := 0; ; {
		smaller := s.best.Plan
		smaller.Flows = slices.Clone(smaller.Flows)
		list := smaller.simplifications()
		switch {
		case i >= len(list):
			return less
		case list[i]() && s.fails(smaller):
			less = true // what comes next has moved up, or goes once more
		default:
			i++
		}
	}
}

// simplifications lists what may be taken out of a plan beside faults, larger things
// first. Each does so, and says whether there was anything.
func (p *Plan) simplifications() (list []func() bool) {
	for i := range p.Flows {
		list = append(list, func() bool { p.Flows = slices.Delete(p.Flows, i, i+1); return true })
	}
	for i := range p.Flows {
		f := &p.Flows[i]
		list = append(list, halve(&f.Messages), halve(&f.Burst), without(&f.Big), without(&f.Echo), without(&f.Leave),
			without(&f.Switch), without(&f.Early), without(&f.End), without(&f.Lazy), without(&f.Pull),
			without(&f.Threads), without(&f.Options.ManualAck), without(&f.Options.OnRestart),
			without(&f.Options.Resume), without(&f.Options.Outbox), without(&f.Options.Window))
	}
	c := &p.Config
	return append(list, without(&c.Perturb), without(&c.SmallChunks), without(&c.Memory), without(&c.Link.Jitter),
		without(&c.Link.Bandwidth), without(&p.Expel), without(&p.Pull), without(&p.Accept.ManualAck),
		without(&p.Accept.OnRestart), without(&p.Accept.Outbox), without(&p.Accept.Window))
}

// without sets a field to its zero value.
func without[T comparable](field *T) func() bool {
	return func() bool {
		var zero T
		was := *field
		*field = zero
		return was != zero
	}
}

// halve makes a number smaller, down to one.
func halve(n *int) func() bool {
	return func() bool {
		was := *n
		*n = max(was/2, 1)
		return *n != was
	}
}
