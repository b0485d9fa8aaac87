package main

import (
	"context"
	"net"
	"sync"
	"time"
)

// dialTimeout bounds the connection to the program behind. Both are on one machine.
const dialTimeout = 5 * time.Second

// options says where the relay stands and what it does. Zero switches a fault off.
type options struct {
	listen, to    string
	seed          uint64
	cutEvery      time.Duration
	reset         bool // cuts are RST, not FIN
	stallEvery    time.Duration
	stallFor      time.Duration
	halfOpenEvery time.Duration
	delay         time.Duration // each way
	slice         int           // bytes
}

// relay accepts, dials, and inflicts faults on the links between.
type relay struct {
	options  options
	listener *net.TCPListener
	counts   counts
	gate     gate

	lock    sync.Mutex
	links   map[*link]struct{}
	stopped bool
	running sync.WaitGroup // a goroutine for each link and kind of fault, and the accepting one
}

// start listens and returns; traffic flows until stop is called.
func start(ctx context.Context, o options) (*relay, error) {
	listener, err := net.Listen("tcp", o.listen)
	if err != nil {
		return nil, err
	}
	r := &relay{options: o, listener: listener.(*net.TCPListener), links: map[*link]struct{}{}}
	r.running.Go(func() { r.accept(ctx) })
	return r, nil
}

// stop ends all links and waits for them. The context of start must have ended.
func (r *relay) stop() {
	_ = r.listener.Close()
	r.lock.Lock()
	r.stopped = true
	for l := range r.links {
		l.end(true)
	}
	r.lock.Unlock()
	r.running.Wait()
}

func (r *relay) address() string { return "tcp://" + r.listener.Addr().String() }

func (r *relay) accept(ctx context.Context) {
	for number := uint64(0); ; number++ {
		front, err := r.listener.AcceptTCP()
		if err != nil {
			return // closed
		}
		if number == 0 {
			r.inflictAll(ctx)
		}
		r.counts.connections.Add(1)
		r.running.Go(func() { r.connect(front, number) })
	}
}

// connect dials for an accepted connection and runs the link.
func (r *relay) connect(front *net.TCPConn, number uint64) {
	back, err := net.DialTimeout("tcp", r.options.to, dialTimeout)
	if err != nil {
		r.counts.refused.Add(1)
		_ = front.SetLinger(0)
		_ = front.Close()
		return
	}
	l := newLink(r, number, front, back.(*net.TCPConn))
	r.lock.Lock()
	r.links[l] = struct{}{}
	if r.stopped {
		l.end(true)
	}
	r.lock.Unlock()
	l.run()
	r.lock.Lock()
	delete(r.links, l)
	r.lock.Unlock()
}

// inflictAll starts the schedules. Their time begins now.
func (r *relay) inflictAll(ctx context.Context) {
	o, began := &r.options, time.Now()
	r.inflict(ctx, began, cut, o.cutEvery, 0, func(fault) {
		r.counts.cuts.Add(r.each(func(l *link) bool { return l.end(o.reset) }))
	})
	r.inflict(ctx, began, stall, o.stallEvery, o.stallFor, func(fault) { r.stall(ctx) })
	r.inflict(ctx, began, halfOpen, o.halfOpenEvery, 0, func(f fault) {
		r.counts.halfOpens.Add(r.each(func(l *link) bool { return l.silence(f.way) }))
	})
}

// inflict does one kind of fault whenever its schedule says so.
func (r *relay) inflict(ctx context.Context, began time.Time, k kind, every, lasts time.Duration, do func(fault)) {
	if every <= 0 {
		return
	}
	s := newSchedule(r.options.seed, k, every, lasts)
	r.running.Go(func() {
		for {
			f := s.next()
			if !sleep(ctx, time.Until(began.Add(f.at))) {
				return
			}
			do(f)
		}
	})
}

// stall stops all traffic for a while.
func (r *relay) stall(ctx context.Context) {
	r.gate.shut()
	defer r.gate.open()
	r.counts.stalls.Add(1)
	sleep(ctx, r.options.stallFor)
}

// each applies a fault to all links and counts those that it hit.
func (r *relay) each(hit func(*link) bool) int64 {
	r.lock.Lock()
	defer r.lock.Unlock()
	n := int64(0)
	for l := range r.links {
		if hit(l) {
			n++
		}
	}
	return n
}

// sleep lets time pass. False means that the context ended.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
