package sim_test

import (
	"runtime"
	"testing"

	"github.com/lyquor/lyquor/engine/sim"
	"github.com/lyquor/lyquor/engine/sim/chaos"

	"github.com/stretchr/testify/require"
)

// TestSeeds: the engine keeps its promise in many worlds, and these are eventful.
func TestSeeds(t *testing.T) {
	var total sim.Counts
	for seed := range uint64(seeds) {
		r := chaos.New(seed).Run()
		if r.Err != nil {
			small := chaos.Shrink(r.Plan)
			t.Fatalf("%v\n%s\nthe smallest plan that fails: %v\n%v", r.Err, chaos.Replay(seed), small.Err, small.Plan)
		}
		total.Delivered += r.Counts.Delivered
		total.Resumes += r.Counts.Resumes
		total.Restarts += r.Counts.Restarts
		total.Closed += r.Counts.Closed
		total.Withdrawn += r.Counts.Withdrawn
	}
	// Where nothing happens nothing is shown.
	require.Greater(t, total.Delivered, uint64(100*seeds), "messages")
	require.Greater(t, total.Resumes, uint64(seeds/2), "sessions resumed")
	require.Greater(t, total.Restarts, uint64(seeds/4), "sessions restarted")
	require.Greater(t, total.Closed, uint64(seeds), "endpoints ended")
	require.Greater(t, total.Withdrawn, uint64(seeds), "messages withdrawn")
}

// TestSameSeedSameRun: a run is repeated to the bit, whatever ran before it and
// however many processors there are; another seed is another run.
func TestSameSeedSameRun(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	seen := make(map[uint64]uint64)
	for _, processors := range []int{1, 2} {
		runtime.GOMAXPROCS(processors)
		for seed := range uint64(10) {
			r := chaos.New(seed).Run()
			require.NoError(t, r.Err)
			if processors == 1 {
				seen[seed] = r.Hash
			}
			require.Equal(t, seen[seed], r.Hash, "seed %d", seed)
			require.Equal(t, r.Hash, chaos.New(seed).Run().Hash, "seed %d at once again", seed)
			if seed > 0 {
				require.NotEqual(t, seen[seed-1], r.Hash, "seed %d", seed)
			}
		}
	}
}
