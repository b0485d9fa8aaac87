package chaos

import (
	"fmt"
	"runtime/debug"
	"time"

	"github.com/lyquor/lyquor/engine/sim"
)

// Result is what became of a plan.
type Result struct {
	Plan    Plan
	Err     error // the first breach of the promise
	Hash    uint64
	Virtual time.Duration
	Counts  sim.Counts
}

const (
	// aftermath is how long the programs go on after the last fault.
	aftermath = 500 * time.Millisecond
	// patience bounds the time in which everything accepted must then be acknowledged:
	// a full attempt to connect, a handshake, the longest back-off and the longest
	// silence before a ping is missed, each several times over.
	patience = 90 * time.Second
)

// Run carries a plan out.
func (p Plan) Run() (result Result) {
	result.Plan = p
	w, err := sim.New(p.Config)
	if err != nil {
		result.Err = err
		return result
	}
	defer func() {
		if cause := recover(); cause != nil {
			result.Err = fmt.Errorf("sim: seed %d at %v: panic: %v\n%s", p.Seed, w.Now(), cause, debug.Stack())
		}
	}()
	result.Err = p.run(w)
	result.Hash, result.Virtual, result.Counts = w.Hash(), w.Now(), w.Counts()
	if err := w.Close(); result.Err == nil {
		result.Err = err
	}
	return result
}

func (p *Plan) run(w *sim.World) error {
	r := &run{plan: p, world: w, unsaved: make(map[*sim.Endpoint][]sim.Message)}
	for i := range p.Flows {
		r.left = append(r.left, p.Flows[i].Messages)
	}
	for i := range p.Nodes {
		w.Node(names[i], func(n *sim.Node) { r.boot(n, i) })
	}
	w.Schedule(p.Faults)
	if err := w.Run(p.Faulty); err != nil {
		return err
	}
	w.Heal()
	if err := w.Run(p.Faulty + aftermath); err != nil {
		return err
	}
	r.quiet = true
	return w.Settle(patience)
}

// Replay is the command that runs a seed again.
func Replay(seed uint64) string { return fmt.Sprintf("make sim SEED=%d", seed) }
