package sim

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// numbered returns so many faults, each at a time of its own.
func numbered(n int) (list []Fault) {
	for i := range n {
		list = append(list, Fault{Kind: FaultCrash, At: time.Duration(i), For: time.Second})
	}
	return list
}

// TestShrink: of many faults those are left that the failure needs, in their order, and the
// run is asked seldom.
func TestShrink(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		faults := numbered(rapid.IntRange(1, 200).Draw(t, "faults"))
		needed := slices.Compact(slices.Sorted(slices.Values(
			rapid.SliceOfN(rapid.IntRange(0, len(faults)-1), 0, 5).Draw(t, "needed"))))
		asked, before := 0, slices.Clone(faults)
		left := Shrink(faults, func(part []Fault) bool {
			asked++
			require.True(t, slices.IsSortedFunc(part, func(a, b Fault) int { return int(a.At - b.At) }))
			for _, n := range needed {
				if !slices.Contains(part, faults[n]) {
					return false
				}
			}
			return true
		})
		require.Len(t, left, len(needed))
		for i, n := range needed {
			require.Equal(t, faults[n], left[i])
		}
		require.Equal(t, before, faults, "the schedule itself is left as it is")
		require.LessOrEqual(t, asked, 20*(1+len(needed)), "runs")
	})
}

// TestShrinkToTheLast: what is left has nothing that could still go, though it could not
// at first, or something else could have.
func TestShrinkToTheLast(t *testing.T) {
	enough := func(part []Fault) bool { return len(part) >= 3 }
	require.Len(t, Shrink(numbered(100), enough), 3)
	// The first may go only when the third is gone.
	list := numbered(4)
	entangled := func(part []Fault) bool {
		has := func(n int) bool { return slices.Contains(part, list[n]) }
		return has(1) && has(3) && (has(0) || !has(2))
	}
	require.Equal(t, []Fault{list[1], list[3]}, Shrink(list, entangled))
	require.Empty(t, Shrink(nil, enough))
}

// TestParseSchedule reads all that Schedule writes, and nothing else.
func TestParseSchedule(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var faults []Fault
		for kind := range FaultKinds {
			f := Fault{Kind: kind, A: rapid.IntRange(0, 9).Draw(t, "a"),
				At: time.Duration(rapid.Int64Range(0, 1e10).Draw(t, "at"))}
			switch kind {
			case FaultReset, FaultHalfOpen, FaultStall:
				f.B = rapid.IntRange(0, 9).Draw(t, "b")
			case FaultSkew:
				f.Drift = rapid.Int64Range(-50_000, 50_000).Draw(t, "drift")
			}
			if f.lasts() {
				f.For = time.Duration(rapid.Int64Range(0, 1e10).Draw(t, "for"))
			}
			faults = append(faults, f)
		}
		read, err := ParseSchedule("\n  " + Schedule(faults) + "  \n\n")
		require.NoError(t, err)
		require.Equal(t, faults, read)
	})
	for _, line := range []string{
		"crash", "at", "at 1s", "at 1s crash", "at 1s crash x for 1s", "at 1s crash 0", "at 1s stall 0 for 1s",
		"at 1s flood 0 for 1s", "at 1 crash 0 for 1s", "at 1s crash 0 for 1s for 1s", "crash 0 at 1s for 1s",
		"at 1s fault 12 0",
	} {
		_, err := ParseSchedule("at 1s reset 0 1\n" + line)
		require.ErrorContains(t, err, "one reads like \"at 1s stall 0 1 for 20ms\"", line)
		require.ErrorContains(t, err, line)
	}
	read, err := ParseSchedule("")
	require.NoError(t, err)
	require.Empty(t, read)
}

// TestNothingEndsWhatDoesNotLast: how long a reset is to last is not part of a schedule's
// text, and makes no difference to a run.
func TestNothingEndsWhatDoesNotLast(t *testing.T) {
	hash := func(last time.Duration) uint64 {
		p := newPair(t, Config{Seed: 1}, nil)
		p.w.Schedule([]Fault{{Kind: FaultReset, At: time.Second, For: last, B: 1}})
		require.NoError(t, p.w.Run(5*time.Second))
		return p.w.Hash()
	}
	require.Equal(t, hash(0), hash(time.Second))
}
