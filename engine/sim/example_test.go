package sim_test

import (
	"encoding/binary"
	"fmt"
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
	own   int // this replica's place in known
	known [replicas]uint64
	peers []*sim.Endpoint
}

// start is the process of a replica: it runs when the node starts and after each crash.
// The counter itself was made outside of it, so it is as if on disk: a crash does not
// lose it. The endpoints are memory of the process, and are made anew.
func (c *counter) start(n *sim.Node) {
	c.peers = nil
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

func newGroup(seed uint64) *group {
	w, err := sim.New(sim.Config{Seed: seed, Link: sim.LinkConfig{Latency: 5 * time.Millisecond}})
	if err != nil {
		panic(err)
	}
	g := &group{World: w}
	for i := range replicas {
		g.counters[i] = &counter{own: i}
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
	w := newGroup(42)
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

// agree has the counter count among faults that chance draws, and says whether it ends
// well: the replicas agree on all that was counted, some seconds after the last fault.
func agree(seed uint64) error {
	w := newGroup(seed)
	const faulty = 5 * time.Second
	kinds := []sim.FaultKind{sim.FaultPartition, sim.FaultReset, sim.FaultHalfOpen, sim.FaultCrash, sim.FaultPause}
	var faults []sim.Fault
	for range w.Rand().IntN(10) {
		a := w.Rand().IntN(replicas)
		faults = append(faults, sim.Fault{Kind: kinds[w.Rand().IntN(len(kinds))], A: a, B: (a + 1) % replicas,
			At: time.Duration(w.Rand().Int64N(int64(faulty))), For: time.Second})
	}
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
		return fmt.Errorf("seed %d: the replicas have counted %v after these faults:\n%s", seed, w.sums(),
			sim.Schedule(faults))
	}
	return w.Close()
}

// Whether a protocol holds is asked of many worlds, each from its seed. One that fails
// is run again alone, with a function in Config.Trace that prints what happens.
func Example_seeds() {
	const worlds = 20
	for seed := range uint64(worlds) {
		if err := agree(seed); err != nil {
			fmt.Println(err)
			return
		}
	}
	fmt.Println("they agreed in", worlds, "worlds")
	// Output: they agreed in 20 worlds
}
