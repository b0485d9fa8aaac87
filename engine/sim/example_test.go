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

// start is the process of a replica. known is on its disk: a crash does not lose it.
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

// A counter with three replicas counts on in both halves of a partition, and through
// a crash; once that is over, all replicas agree.
func Example() {
	w, err := sim.New(sim.Config{Seed: 42, Link: sim.LinkConfig{Latency: 5 * time.Millisecond}})
	if err != nil {
		panic(err)
	}
	var all [replicas]*counter
	var nodes []*sim.Node
	for i := range all {
		all[i] = &counter{own: i}
		nodes = append(nodes, w.Node(fmt.Sprint("replica", i), all[i].start))
	}
	count := func(times int) {
		for range times {
			c := all[w.Rand().IntN(replicas)]
			c.known[c.own]++
		}
	}
	until := time.Duration(0)
	wait := func(d time.Duration) {
		until += d
		if err := w.Run(until); err != nil {
			panic(err) // the engine broke its promise; err names the seed
		}
	}

	wait(time.Second)
	w.Partition(nodes[:1]) // the first replica alone
	count(100)
	wait(5 * time.Second)
	nodes[2].Crash(false)
	nodes[2].Restart()
	fmt.Println("in the partition they agree:", all[0].sum() == all[1].sum())
	w.Heal()
	count(20)
	wait(10 * time.Second)
	fmt.Println("afterwards:", all[0].sum(), all[1].sum(), all[2].sum())
	if err := w.Close(); err != nil {
		panic(err)
	}
	// Output:
	// in the partition they agree: false
	// afterwards: 120 120 120
}
