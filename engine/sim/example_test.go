package sim_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/lyquor/lyquor/engine/sim"
	"github.com/lyquor/lyquor/engine/wire"
)

// replicas is how many replicas the counter has.
const replicas = 3

// counter is one replica of a counter that counts on while others are out of reach.
// It knows of each replica how far that one has counted, and tells the others now and
// then. What two replicas know is joined by taking the larger of each number, so it
// does not matter how often, and in what order, they hear of one another.
type counter struct {
	own     int // this replica's place in known
	known   [replicas]uint64
	peers   []*sim.Endpoint
	forgets bool // a mistake, for Example_shrink: a crash loses what it knows
}

// start is the process of a replica: it runs when the node starts and after each crash.
// The counter itself was made outside of it, so it is as if on disk: a crash does not
// lose it. The endpoints are memory of the process, and are made anew.
func (c *counter) start(n *sim.Node) {
	c.peers = nil
	if c.forgets {
		c.known = [replicas]uint64{}
	}
	join := sim.Handler{Message: func(_ *sim.Endpoint, m sim.Message) bool {
		for i := range c.known {
			c.known[i] = max(c.known[i], binary.LittleEndian.Uint64(m.Data[8*i:]))
		}
		return true
	}}
	if _, err := n.Listen(n.Name(), sim.Options{}, join); err != nil {
		panic(err)
	}
	for i := range replicas {
		if i == c.own {
			continue
		}
		e, err := n.Dial(fmt.Sprint("replica", i), sim.Options{KeepAlive: time.Second}, join)
		if err != nil {
			panic(err)
		}
		c.peers = append(c.peers, e)
	}
	c.gossip(n)
}

// gossip tells the others what this replica knows, every 50 ms.
func (c *counter) gossip(n *sim.Node) {
	var state []byte
	for _, k := range c.known {
		state = binary.LittleEndian.AppendUint64(state, k)
	}
	for _, e := range c.peers {
		if e.Acked() { // what was told is not told again before it has arrived
			e.Send(wire.Normal, 0, state)
		}
	}
	n.Timer(50*time.Millisecond, func() { c.gossip(n) })
}

func (c *counter) sum() (sum uint64) {
	for _, k := range c.known {
		sum += k
	}
	return sum
}

// group is a world with all replicas.
type group struct {
	*sim.World
	counters [replicas]*counter
	nodes    []*sim.Node
}

func newGroup(seed uint64, forgets bool) *group {
	w, err := sim.New(sim.Config{Seed: seed, Link: sim.LinkConfig{Latency: 5 * time.Millisecond}})
	if err != nil {
		panic(err)
	}
	g := &group{World: w}
	for i := range replicas {
		g.counters[i] = &counter{own: i, forgets: forgets}
		g.nodes = append(g.nodes, w.Node(fmt.Sprint("replica", i), g.counters[i].start))
	}
	return g
}

// count counts at replicas that chance names: the world's chance, so that one seed is
// one run.
func (g *group) count(times int) {
	for range times {
		c := g.counters[g.Rand().IntN(replicas)]
		c.known[c.own]++
	}
}

// sums returns what each replica takes the count for.
func (g *group) sums() (list [replicas]uint64) {
	for i, c := range g.counters {
		list[i] = c.sum()
	}
	return list
}

// A counter with three replicas counts on in both halves of a partition, and through
// a crash; once that is over, all replicas agree.
func Example() {
	w := newGroup(42, false)
	until := time.Duration(0)
	wait := func(d time.Duration) {
		until += d
		if err := w.Run(until); err != nil {
			panic(err) // the engine broke its promise; err names the seed
		}
	}

	wait(time.Second)
	w.Partition(w.nodes[:1]) // the first replica alone
	w.count(100)
	wait(5 * time.Second)
	w.nodes[2].Crash(false)
	w.nodes[2].Restart()
	fmt.Println("in the partition they agree:", w.sums()[0] == w.sums()[1])
	w.Heal()
	w.count(20)
	wait(10 * time.Second)
	fmt.Println("afterwards:", w.sums())
	if err := w.Close(); err != nil {
		panic(err)
	}
	// Output:
	// in the partition they agree: false
	// afterwards: [120 120 120]
}

// faulty is how long there are faults.
const faulty = 5 * time.Second

// draw makes a schedule of faults. Its chance is not the world's: with fewer faults the
// world would be another one.
func draw(seed uint64) (faults []sim.Fault) {
	random := rand.New(rand.NewPCG(seed, 1))
	kinds := []sim.FaultKind{sim.FaultPartition, sim.FaultReset, sim.FaultHalfOpen, sim.FaultCrash, sim.FaultPause}
	for range random.IntN(10) {
		a := random.IntN(replicas)
		faults = append(faults, sim.Fault{Kind: kinds[random.IntN(len(kinds))], A: a, B: (a + 1) % replicas,
			At: time.Duration(random.Int64N(int64(faulty))).Truncate(time.Millisecond), For: time.Second})
	}
	return faults
}

// agree has the counter count among faults, and says whether it ends well: the replicas
// agree on all that was counted, some seconds after the last fault.
func agree(seed uint64, faults []sim.Fault, forgets bool) error {
	w := newGroup(seed, forgets)
	w.Schedule(faults)
	for i := range 50 {
		w.After(time.Duration(i)*faulty/50, func() { w.count(2) })
	}
	if err := w.Run(faulty + time.Second); err != nil {
		return err
	}
	w.Heal()
	if err := w.Run(faulty + 10*time.Second); err != nil {
		return err
	}
	if w.sums() != [replicas]uint64{100, 100, 100} {
		return fmt.Errorf("the replicas have counted %v", w.sums())
	}
	return w.Close()
}

// explore looks for a world in which the counter does not end well, and says which faults
// that takes: the seed and the schedule are all that is needed to see it again.
func explore(worlds uint64, forgets bool) {
	for seed := range worlds {
		faults := draw(seed)
		if agree(seed, faults, forgets) == nil {
			continue
		}
		small := sim.Shrink(faults, func(part []sim.Fault) bool { return agree(seed, part, forgets) != nil })
		fmt.Printf("seed %d fails with %d of %d faults:\n%s\n", seed, len(small), len(faults), sim.Schedule(small))
		return
	}
	fmt.Println("they agreed in", worlds, "worlds")
}

// Whether a protocol holds is asked of many worlds, each from its seed.
func Example_seeds() {
	explore(20, false)
	// Output: they agreed in 20 worlds
}

// A counter that forgets what it knows in a crash fails in some world, and what is printed
// of that is a test from then on. It is run again alone, with a function in Config.Trace
// that prints what happens, until the mistake is found.
func Example_shrink() {
	explore(20, true)

	const seed = 4
	faults, err := sim.ParseSchedule("at 4.795s crash 0 for 1s")
	if err != nil {
		panic(err)
	}
	fmt.Println("again:", agree(seed, faults, true))
	fmt.Println("without the mistake:", agree(seed, faults, false))
	// Output:
	// seed 4 fails with 1 of 7 faults:
	// at 4.795s crash 0 for 1s
	// again: the replicas have counted [97 97 97]
	// without the mistake: <nil>
}
