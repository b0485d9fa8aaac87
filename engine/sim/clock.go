package sim

// million is the unit of a clock's drift: parts per million.
const million = 1_000_000

// clock is a node's monotonic clock: it starts anywhere, and runs a little faster or
// slower than the world's. Times are in nanoseconds.
type clock struct {
	world, node int64 // a moment, on both clocks
	drift       int64 // parts per million by which the node's runs faster
}

// now returns the node's time at a time of the world.
func (c *clock) now(world int64) int64 {
	return c.node + scale(world-c.world, million+c.drift, million)
}

// when returns the first time of the world at which the node's clock shows node.
func (c *clock) when(node int64) int64 {
	t := c.world + scale(node-c.node, million, million+c.drift)
	for c.now(t) < node { // what division cut off
		t++
	}
	return t
}

// skew changes the drift from now on; the clock does not jump.
func (c *clock) skew(world, drift int64) {
	c.node, c.world = c.now(world), world
	c.drift = drift
}

// scale returns n*by/of without overflow for by and of of about a million.
func scale(n, by, of int64) int64 { return n/of*by + n%of*by/of }
