package driver

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/lyquor/lyquor/engine/transport"
)

// portable is the poller for links that tell by themselves when they are ready:
// all that is left to do is to sleep until somebody wakes the worker.
type portable struct {
	bell  chan struct{}
	timer *time.Timer
	fd    atomic.Int64 // eventfd for C, where there is one
	stop  func()
}

func newPortable() (poller, error) {
	p := &portable{bell: make(chan struct{}, 1), timer: time.NewTimer(time.Hour)}
	p.timer.Stop()
	fd, stop, err := watchEvent(p.wake)
	if err != nil {
		return nil, err
	}
	p.fd.Store(int64(fd))
	p.stop = stop
	return p, nil
}

func (p *portable) add(int, uint64) error {
	return errors.New("the portable poller drives no descriptors")
}

func (p *portable) remove(int) {}

func (p *portable) wait(timeout int64, _ func(uint64, transport.Ready)) {
	switch {
	case timeout == 0:
		select {
		case <-p.bell:
		default:
		}
	case timeout < 0:
		<-p.bell
	default:
		p.timer.Reset(time.Duration(timeout))
		select {
		case <-p.bell:
			p.timer.Stop()
		case <-p.timer.C:
		}
	}
}

func (p *portable) wake() {
	select {
	case p.bell <- struct{}{}:
	default:
	}
}

func (p *portable) descriptor() int { return int(p.fd.Load()) }

func (p *portable) descriptors() []int { return []int{p.descriptor()} }

func (p *portable) close() { p.stop() }
