//go:build !linux

package suite

import "testing"

// poller does not exist here: transports whose links have descriptors are for Linux.
type poller struct{}

func newPoller(t *testing.T) *poller {
	t.Fatal("a link has a descriptor, but the suite polls descriptors on Linux only")
	return nil
}

func (*poller) add(*side) {}

func (*poller) close() {}

// countDescriptors returns the same number always: they cannot be counted here.
func countDescriptors() int { return -1 }
