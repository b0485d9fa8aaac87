package suite

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/lyquor/lyquor/engine/transport"
)

// Open returns a transport and an address to listen at. The address is listened at
// again and again, by one listener at a time; one with a port that the system
// chooses is best.
type Open func(t *testing.T) (tr transport.Transport, listenAddr string)

var cases = []struct {
	name string
	run  func(*harness)
}{
	{"connects", testConnects},
	{"addresses can be dialled", testAddresses},
	{"bad addresses", testBadAddresses},
	{"nobody listens", testRefused},
	{"somebody listens", testInUse},
	{"dial cancelled", testCancelled},
	{"dial cancelled on the way", testCancelledOnTheWay},
	{"listener closed during dials", testCloseDuringDials},
	{"listener closed", testListenerClose},
	{"listener closed inside accept", testCloseInsideAccept},
	{"accepts one at a time", testOneAtATime},
	{"many links", testManyLinks},
	{"bytes both ways", testBytesBothWays},
	{"many slices at once", testManySlices},
	{"nothing to read or write", testNothing},
	{"ping-pong", testPingPong},
	{"full pipe", testFullPipe},
	{"late owner", testLateOwner},
	{"half-close", testHalfClose},
	{"hang-up", testHangUp},
	{"close is seen", testCloseSeen},
	{"close while the peer writes", testCloseWhileWriting},
	{"closed link", testClosedLink},
}

// Run tests the transport that open returns. Each case opens its own.
func Run(t *testing.T, open Open) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			tr, addr := open(t)
			warmUp(t, tr, addr)
			// What the process needs once (the runtime's own poller, resolver threads) is
			// there now; from here on, what is taken is given back.
			goroutines, descriptors := goleak.IgnoreCurrent(), countDescriptors()
			h := newHarness(t, tr, addr)
			func() {
				defer h.close()
				c.run(h)
			}()
			// In a browser the runtime itself starts a goroutine per event.
			goleak.VerifyNone(t, goroutines, goleak.IgnoreAnyFunction("runtime.handleEvent"))
			require.Eventually(t, func() bool { return countDescriptors() == descriptors }, Patience, tick,
				"other descriptors are open than before, which were %d", descriptors)
		})
	}
}

// warmUp makes one link and closes all.
func warmUp(t *testing.T, tr transport.Transport, addr string) {
	h := newHarness(t, tr, addr)
	defer h.close()
	h.connect()
}
