package endpoint

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestNumbers: codes and events have the numbers that lyquor.h, peers and programs know.
func TestNumbers(t *testing.T) {
	require.Equal(t, []Code{0, -1, -2, -3, -5, -6, -10, -11, -12, -13, -14, -15, -16, -18, -19, -20},
		[]Code{OK, Invalid, NoHandle, Gone, TooLarge, TimedOut, BadAddress, NoMemory, Limit, Refused, Unreached, Reset,
			Version, Internal, Busy, Protocol})
	require.Equal(t, []EventKind{16, 17, 18, 19, 20, 21, 23, 25}, []EventKind{EventUp, EventEnded, EventDown,
		EventWritable, EventRestarted, EventAccepted, EventTimer, EventClosed})
	require.Equal(t, []int{65_536, 1_073_741_824, 1_099_511_627_776, 16_384, 7, 2},
		[]int{MinWindow, maxWindowSize, maxWindow, shortFrame, lowerWeight, maxPings})
}
