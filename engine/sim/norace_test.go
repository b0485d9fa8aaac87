//go:build !race

package sim_test

// seeds is how many are run each time; `make sim N=10000` runs more.
const seeds = 300
