// Package suite is the test that every transport passes: it opens one through the
// contract alone and holds it to each sentence of that contract. A transport's own
// tests call Run and add only what is particular to it.
//
//	func TestSuite(t *testing.T) {
//		suite.Run(t, func(*testing.T) (transport.Transport, string) {
//			return mem.New(), "mem://suite"
//		})
//	}
//
// Both kinds of links are driven alike: a library-driven link calls its function,
// a descriptor-driven one is watched, edge triggered, by a small poller, which
// exists on Linux. Each notice is used once, so that a lost one stops the test: it
// then fails within Patience, and says what it was waiting for.
//
// After each case no goroutine and, where that can be counted, no descriptor may be
// left.
package suite
