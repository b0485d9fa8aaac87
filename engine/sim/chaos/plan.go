package chaos

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/lyquor/lyquor/engine/endpoint"
	"github.com/lyquor/lyquor/engine/sim"
)

// Plan is everything that is drawn before a run begins.
type Plan struct {
	Seed   uint64
	Config sim.Config
	Nodes  int
	Accept sim.Options // of all listeners
	Expel  int         // messages of 10000 upon which who has accepted closes
	Pull   bool        // who accepts pulls from an inbox
	Flows  []Flow
	Faults []sim.Fault
	Faulty time.Duration // when the last fault is over
}

// Flow is a program that dials from one node to another and sends.
type Flow struct {
	From, To int
	Options  sim.Options
	Messages int           // that are sent altogether
	Pause    time.Duration // between bursts, at most
	Burst    int           // messages at once, at most
	Big      int           // messages of up to 1 MiB, in 1000
	Echo     int           // messages of 1000 that are answered by one as long
	Leave    int           // pauses of 1000 after which it closes, and dials again
	Switch   int           // pauses of 1000 after which it goes to the peer's other address
	Early    bool          // it sends at once when it has dialled, before anybody answers
	End      bool          // it half-closes when all is sent
	Lazy     int           // messages of 1000 that the programs at both ends leave for later
	Pull     bool          // it pulls from an inbox
	Threads  bool          // it sends from threads of its own
	Mortal   int           // messages of 1000 that have a time to live
}

// Bounds of what is drawn: large enough for everything to meet everything, small
// enough for hundreds of runs a minute.
const (
	maxNodes    = 5
	maxFaults   = 20
	maxFaulty   = 5 * time.Second
	maxFault    = 2 * time.Second
	maxMessages = 400
	maxStorm    = 100 // resets beside other faults
)

// kinds are the faults, those more often that sessions are to outlive.
var kinds = []sim.FaultKind{
	sim.FaultReset, sim.FaultReset, sim.FaultReset, sim.FaultReset, sim.FaultReset, sim.FaultReset,
	sim.FaultHalfOpen, sim.FaultHalfOpen, sim.FaultHalfOpen, sim.FaultStall, sim.FaultStall, sim.FaultPartition,
	sim.FaultPartition, sim.FaultRing, sim.FaultCrash, sim.FaultDark, sim.FaultPause, sim.FaultPause, sim.FaultRefuse,
	sim.FaultSkew, sim.FaultSlow, sim.FaultSlow, sim.FaultDeaf,
}

// New draws a plan.
func New(seed uint64) Plan {
	r := rand.New(rand.NewPCG(seed, 1)) // another stream than the world's own
	p := Plan{Seed: seed, Nodes: 2 + r.IntN(maxNodes-1)}
	p.Config = sim.Config{Seed: seed, SmallChunks: r.IntN(2) == 0, Link: link(r)}
	if r.IntN(3) > 0 {
		p.Config.Perturb = sim.Perturb{Reads: r.IntN(500), Writes: r.IntN(500), Rests: r.IntN(300),
			Claims: r.IntN(300)}
	}
	if r.IntN(3) == 0 {
		p.Config.Memory = 2 << 20 << r.IntN(3)
	}
	if r.IntN(4) == 0 {
		p.Expel = r.IntN(200)
	}
	span := between(r, 300*time.Millisecond, maxFaulty)
	p.Accept = options(r, p.Config.Link)
	p.Accept.Resume = time.Minute
	p.Pull = r.IntN(3) == 0
	switch r.IntN(8) {
	case 0:
		p.Accept.NoResume = true
	case 1, 2:
		p.Accept.Resume = between(r, 50*time.Millisecond, 3*time.Second)
	}
	for from := range p.Nodes {
		for to := range p.Nodes {
			if from != to && r.IntN(p.Nodes) < 2 {
				p.Flows = append(p.Flows, p.flow(r, from, to, span))
			}
		}
	}
	p.drawFaults(r, span)
	return p
}

func link(r *rand.Rand) sim.LinkConfig {
	c := sim.LinkConfig{Latency: between(r, 10*time.Microsecond, 5*time.Millisecond), Buffer: 16 << 10 << r.IntN(5)}
	if r.IntN(3) == 0 {
		c.Latency = between(r, 5*time.Millisecond, 100*time.Millisecond)
	}
	if r.IntN(2) == 0 {
		c.Jitter = between(r, 0, 2*c.Latency)
	}
	if r.IntN(2) == 0 {
		c.Bandwidth = 1 << (20 + r.IntN(8))
	}
	return c
}

// options draws what both sides of an endpoint may be like.
func options(r *rand.Rand, l sim.LinkConfig) sim.Options {
	// Silence is nothing to wonder about while a ping, and what is before it, may take so long.
	least := 100*time.Millisecond + 4*(l.Latency+l.Jitter)
	if l.Bandwidth > 0 {
		least += time.Duration(int64(l.Buffer) * int64(time.Second) / l.Bandwidth)
	}
	return sim.Options{
		Outbox:    64 << 10 << r.IntN(5),
		Window:    64 << 10 << r.IntN(8),
		KeepAlive: between(r, least, least+time.Second),
		Connect:   between(r, time.Second, 5*time.Second),
		OnRestart: endpoint.OnRestart(r.IntN(3)),
		ManualAck: r.IntN(4) == 0,
	}
}

func (p *Plan) flow(r *rand.Rand, from, to int, span time.Duration) Flow {
	f := Flow{From: from, To: to, Options: options(r, p.Config.Link), Messages: 1 + r.IntN(maxMessages),
		Burst: 1 + r.IntN(40), Echo: r.IntN(1000), End: r.IntN(8) == 0, Early: r.IntN(2) == 0,
		Pull: r.IntN(3) == 0, Threads: r.IntN(2) == 0}
	// Bursts and pauses are half as large on average; so it sends during most of the faults.
	f.Pause = 1 + span*time.Duration(f.Burst)/time.Duration(f.Messages)
	if r.IntN(3) == 0 {
		f.Big = r.IntN(40)
	}
	if r.IntN(3) == 0 {
		f.Lazy = r.IntN(100)
	}
	if r.IntN(4) == 0 {
		f.Leave = r.IntN(60)
	}
	switch r.IntN(12) {
	case 0:
		f.Options.NoResume = true
	case 1:
		f.Options.Resume = between(r, 100*time.Millisecond, 5*time.Second)
	}
	if r.IntN(3) == 0 {
		f.Mortal = r.IntN(1001)
	}
	if r.IntN(4) == 0 && !f.Options.NoResume {
		f.Switch = r.IntN(500)
	}
	return f
}

func (p *Plan) drawFaults(r *rand.Rand, span time.Duration) {
	for range r.IntN(maxFaults + 1) {
		f := sim.Fault{Kind: kinds[r.IntN(len(kinds))], At: between(r, 0, span), A: r.IntN(p.Nodes)}
		f.B = (f.A + 1 + r.IntN(p.Nodes-1)) % p.Nodes
		if r.IntN(4) == 0 {
			f.At = between(r, 0, 8*p.Config.Link.Latency) // while the first handshakes go on
		}
		f.For = between(r, time.Millisecond, maxFault)
		if r.IntN(3) == 0 {
			f.For = between(r, time.Millisecond, 50*time.Millisecond)
		}
		if f.Kind == sim.FaultSkew {
			f.Drift = r.Int64N(100_001) - 50_000
		}
		p.Faulty = max(p.Faulty, f.At+f.For)
		p.Faults = append(p.Faults, f)
	}
	if r.IntN(6) == 0 {
		for range maxStorm {
			a := r.IntN(p.Nodes)
			b := (a + 1 + r.IntN(p.Nodes-1)) % p.Nodes
			p.Faults = append(p.Faults, sim.Fault{Kind: sim.FaultReset, At: between(r, 0, span), A: a, B: b})
		}
	}
	slices.SortStableFunc(p.Faults, func(a, b sim.Fault) int { return int(a.At - b.At) })
}

// between draws a time, shorter ones as often as longer ones.
func between(r *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(r.Int64N(int64(most-least)+1))
}

// String describes a plan for people. What is zero is left out.
func (p Plan) String() string {
	p.Config.Trace = nil
	s := fmt.Sprintf("seed %d: %d nodes, %s\naccept %s", p.Seed, p.Nodes, brief(p.Config), brief(p.Accept))
	if p.Expel > 0 {
		s += fmt.Sprintf(", expel %d", p.Expel)
	}
	if p.Pull {
		s += ", pull"
	}
	for _, f := range p.Flows {
		s += "\nflow " + brief(f)
	}
	return s + fmt.Sprintf("\n%d faults\n", len(p.Faults)) + sim.Schedule(p.Faults)
}

// brief writes a struct's fields that are not zero. Nodes begin at zero, so they stay.
func brief(v any) string {
	var list []string
	for field, value := range reflect.ValueOf(v).Fields() {
		switch {
		case field.Name == "From" || field.Name == "To":
		case value.IsZero():
			continue
		}
		if value.Kind() == reflect.Struct {
			list = append(list, field.Name+" {"+brief(value.Interface())+"}")
		} else {
			list = append(list, fmt.Sprintf("%s %v", field.Name, value))
		}
	}
	return strings.Join(list, ", ")
}
