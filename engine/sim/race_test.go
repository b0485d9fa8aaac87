//go:build race

package sim_test

// seeds is how many are run each time: few, because the race detector is slow, and a
// simulation has one goroutine only.
const seeds = 40
