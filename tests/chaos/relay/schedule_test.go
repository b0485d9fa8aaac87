package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func take(s *schedule, n int) []fault {
	faults := make([]fault, n)
	for i := range faults {
		faults[i] = s.next()
	}
	return faults
}

func TestOneSeedIsOnePlan(t *testing.T) {
	const n = 1000
	plan := take(newSchedule(7, cut, 100*time.Millisecond, 0), n)
	require.Equal(t, plan, take(newSchedule(7, cut, 100*time.Millisecond, 0), n))
	require.NotEqual(t, plan, take(newSchedule(8, cut, 100*time.Millisecond, 0), n))
	require.NotEqual(t, plan, take(newSchedule(7, halfOpen, 100*time.Millisecond, 0), n), "kinds draw apart")
}

func TestGapsHaveTheirMeanAndBothWaysComeUp(t *testing.T) {
	const n, mean = 10000, 100 * time.Millisecond
	plan := take(newSchedule(1, halfOpen, mean, 0), n)
	require.InEpsilon(t, float64(mean), float64(plan[n-1].at)/n, 0.05)
	ups := 0
	for i, f := range plan {
		require.True(t, i == 0 || f.at >= plan[i-1].at)
		if f.way == up {
			ups++
		}
	}
	require.InEpsilon(t, n/2, ups, 0.05)
}

func TestWhatLastsEndsBeforeTheNext(t *testing.T) {
	const lasts = time.Second
	plan := take(newSchedule(1, stall, time.Millisecond, lasts), 100)
	for i := 1; i < len(plan); i++ {
		require.GreaterOrEqual(t, plan[i].at, plan[i-1].at+lasts)
	}
}
