package main

import (
	"net"
	"sync"
	"time"
)

// swallowFor is how long a link that was cut by FIN waits for both programs to close
// their sockets. Who has not by then is answered by RST, as from a host that forgot.
const swallowFor = time.Second

// link is one connection that was accepted and the one that was dialled for it.
type link struct {
	relay       *relay
	number      uint64 // from 0, in the order of acceptance
	front, back *net.TCPConn
	pipes       [2]*pipe // by way
	ended       chan struct{}
	once        sync.Once
}

func newLink(r *relay, number uint64, front, back *net.TCPConn) *link {
	l := &link{relay: r, number: number, front: front, back: back, ended: make(chan struct{})}
	l.pipes[up] = newPipe(l, front, back, up)
	l.pipes[down] = newPipe(l, back, front, down)
	return l
}

// run moves bytes until both directions have ended.
func (l *link) run() {
	var pipes sync.WaitGroup
	for _, p := range l.pipes {
		pipes.Go(p.read)
		pipes.Go(p.write)
	}
	pipes.Wait()
	l.once.Do(func() { close(l.ended) })
	_ = l.front.Close()
	_ = l.back.Close()
}

// end stops both directions where they are, in the middle of a message or not. It
// reports whether the link lived until now.
func (l *link) end(reset bool) bool {
	lived := false
	l.once.Do(func() {
		lived = true
		close(l.ended)
		for _, c := range []*net.TCPConn{l.front, l.back} {
			if reset {
				_ = c.SetLinger(0)
				_ = c.Close()
				continue
			}
			_ = c.SetWriteDeadline(time.Now()) // a write that blocks would keep the FIN back
			_ = c.CloseWrite()
			_ = c.SetReadDeadline(time.Now().Add(swallowFor))
		}
	})
	return lived
}

// silence makes one direction dead. It reports whether the link was whole until now.
func (l *link) silence(w way) bool {
	return !l.isEnded() && !l.isHalfOpen() && l.pipes[w].dead.CompareAndSwap(false, true)
}

func (l *link) isHalfOpen() bool { return l.pipes[up].dead.Load() || l.pipes[down].dead.Load() }

func (l *link) isEnded() bool {
	select {
	case <-l.ended:
		return true
	default:
		return false
	}
}

// wait lets time pass. False means that the link ended meanwhile.
func (l *link) wait(d time.Duration) bool {
	if d <= 0 {
		return !l.isEnded()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-l.ended:
		return false
	}
}
