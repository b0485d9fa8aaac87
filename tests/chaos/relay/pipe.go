package main

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	chunkBytes = 64 << 10 // of one read: what a socket's buffer often holds
	// delayedBytes bounds what one direction holds back on account of a delay. It is
	// twice what 10 Gbit/s put into 25 ms, more than the programs under test reach.
	delayedBytes = 64 << 20
	// directChunks is what a direction without delay holds: reading and writing
	// overlap, and little more is lost by a cut than a kernel would lose.
	directChunks = 2
)

var chunks = sync.Pool{New: func() any { return new([chunkBytes]byte) }}

// chunk is what one read gave, and when it may leave.
type chunk struct {
	data *[chunkBytes]byte
	size int
	due  time.Time
}

// pipe is one direction of a link.
type pipe struct {
	link     *link
	from, to *net.TCPConn
	queue    chan chunk
	delay    time.Duration
	slice    int        // longest piece that is written at once; 0: no bound
	random   *rand.Rand // of the pieces' sizes
	moved    *atomic.Int64
	orderly  bool        // the source ended by FIN; set before queue is closed
	dead     atomic.Bool // one direction of a half-open link: nothing moves any more
}

func newPipe(l *link, from, to *net.TCPConn, w way) *pipe {
	o := &l.relay.options
	held := directChunks
	if o.delay > 0 {
		held = delayedBytes / chunkBytes
	}
	return &pipe{link: l, from: from, to: to, queue: make(chan chunk, held), delay: o.delay, slice: o.slice,
		random: rand.New(rand.NewPCG(o.seed, l.number<<1|uint64(w))), moved: &l.relay.counts.bytes[w]}
}

// read fills the queue. Once the link has ended it goes on reading, and drops what
// comes: a socket that is closed over unread bytes would send RST behind the FIN.
func (p *pipe) read() {
	defer close(p.queue)
	for {
		data := chunks.Get().(*[chunkBytes]byte)
		n, err := p.from.Read(data[:])
		if n > 0 {
			select {
			case p.queue <- chunk{data, n, time.Now().Add(p.delay)}:
			case <-p.link.ended:
			}
		}
		if err != nil {
			p.orderly = errors.Is(err, io.EOF)
			return
		}
	}
}

// write empties the queue into the other socket and then passes on how the source
// ended: FIN by FIN, anything else by RST.
func (p *pipe) write() {
	for c := range p.queue {
		if !p.pass(c) {
			break
		}
		chunks.Put(c.data)
	}
	for range p.queue { // the reader may wait for room
	}
	switch {
	case p.link.isEnded():
	case !p.orderly:
		p.link.end(true)
	case p.link.isHalfOpen(): // the other direction cannot notice that there is nobody left
		p.link.end(false)
	default:
		_ = p.to.CloseWrite() // an error means that this socket has ended as well, which its reader notices
	}
}

// pass writes one chunk when it is due. False means that the link takes no more.
func (p *pipe) pass(c chunk) bool {
	if !p.link.wait(time.Until(c.due)) {
		return false
	}
	for rest := c.data[:c.size]; len(rest) > 0; {
		piece := p.piece(rest)
		p.link.relay.gate.pass()
		if p.dead.Load() {
			<-p.link.ended
		}
		if p.link.isEnded() {
			return false
		}
		n, err := p.to.Write(piece)
		p.moved.Add(int64(n))
		if err != nil {
			p.link.end(true) // does nothing where the link has ended, which is why the write failed
			return false
		}
		rest = rest[n:]
	}
	return true
}

// piece returns how much of rest is written at once.
func (p *pipe) piece(rest []byte) []byte {
	if p.slice == 0 {
		return rest
	}
	return rest[:min(len(rest), 1+p.random.IntN(p.slice))]
}
