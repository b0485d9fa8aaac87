package suite

import (
	"os"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/lyquor/lyquor/engine/transport"
)

// poller watches descriptors as a driver does: each is registered once, edge
// triggered, for both directions, and never touched again.
type poller struct {
	t       *testing.T
	epoll   int
	stop    int // an eventfd
	stopped chan struct{}

	mu    sync.Mutex
	sides []*side // by what is in the event: a descriptor's number may come back
}

func newPoller(t *testing.T) *poller {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	require.NoError(t, err)
	stop, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	require.NoError(t, err)
	p := &poller{t: t, epoll: epoll, stop: stop, stopped: make(chan struct{})}
	require.NoError(t, unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, stop, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: -1}))
	go p.run()
	return p
}

func (p *poller) add(s *side) {
	p.mu.Lock()
	p.sides = append(p.sides, s)
	event := unix.EpollEvent{
		Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET,
		Fd:     int32(len(p.sides) - 1),
	}
	p.mu.Unlock()
	require.NoError(p.t, unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, s.Descriptor(), &event))
}

func (p *poller) run() {
	defer close(p.stopped)
	events := make([]unix.EpollEvent, 64)
	for {
		n, err := unix.EpollWait(p.epoll, events, -1)
		if err != nil && err != unix.EINTR {
			p.t.Errorf("epoll_wait: %v", err)
			return
		}
		for _, e := range events[:max(n, 0)] {
			if e.Fd < 0 {
				return
			}
			p.mu.Lock()
			s := p.sides[e.Fd]
			p.mu.Unlock()
			s.notify(readiness(e.Events))
		}
	}
}

// readiness says what events mean. An error makes both directions worth trying,
// since both return it.
func readiness(events uint32) transport.Ready {
	var ready transport.Ready
	if events&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		ready |= transport.Readable
	}
	if events&(unix.EPOLLOUT|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		ready |= transport.Writable
	}
	if events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		ready |= transport.HangUp
	}
	return ready
}

func (p *poller) close() {
	_, err := unix.Write(p.stop, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	require.NoError(p.t, err)
	<-p.stopped
	require.NoError(p.t, unix.Close(p.stop))
	require.NoError(p.t, unix.Close(p.epoll))
}

// countDescriptors returns how many descriptors the process has open.
func countDescriptors() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return -1
	}
	return len(entries)
}
