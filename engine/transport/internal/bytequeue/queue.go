package bytequeue

import "sync"

// chunkSize is the bytes in one chunk. With the link to the next chunk and the
// allocator's header it fills one of Go's size classes (8 KiB), and it is small
// enough that a queue with one message in it does not cost much.
const chunkSize = 8<<10 - 32

// chunk is one piece of a queue's memory; filled and taken delimit its bytes.
type chunk struct {
	next          *chunk
	taken, filled int32
	data          [chunkSize]byte
}

// chunks lends memory to all queues, because those of an idle process fall to the
// garbage collector while those of a busy one are reused without it.
var chunks = sync.Pool{New: func() any { return new(chunk) }}

// Queue is a first-in, first-out queue of bytes. The zero value is empty and ready.
// It knows no bound and no lock: its user has both.
type Queue struct {
	head, tail *chunk
	size       int
}

// Len returns how many bytes are queued.
func (q *Queue) Len() int { return q.size }

// Put copies all of p to the end.
func (q *Queue) Put(p []byte) {
	q.size += len(p)
	for len(p) > 0 {
		if q.tail == nil || q.tail.filled == chunkSize {
			q.grow()
		}
		n := copy(q.tail.data[q.tail.filled:], p)
		q.tail.filled += int32(n)
		p = p[n:]
	}
}

// Take moves up to len(p) bytes from the front into p and returns their number.
func (q *Queue) Take(p []byte) int {
	total := 0
	for len(p) > 0 && q.size > 0 {
		n := copy(p, q.Front())
		q.Discard(n)
		p = p[n:]
		total += n
	}
	return total
}

// Front returns the first contiguous bytes, nil if there are none. They stay valid
// and unchanged until Discard, also while Put adds more behind them.
func (q *Queue) Front() []byte {
	if q.size == 0 {
		return nil
	}
	return q.head.data[q.head.taken:q.head.filled]
}

// Discard drops the first n bytes of what Front returned.
func (q *Queue) Discard(n int) {
	q.size -= n
	c := q.head
	c.taken += int32(n)
	if c.taken < c.filled {
		return
	}
	// A chunk emptied before it was full goes back as well if nothing follows: the
	// queue is empty then, and an empty queue owns no memory.
	q.head = c.next
	if q.head == nil {
		q.tail = nil
	}
	release(c)
}

// Clear drops all bytes and their memory.
func (q *Queue) Clear() {
	for c := q.head; c != nil; {
		next := c.next
		release(c)
		c = next
	}
	*q = Queue{}
}

func (q *Queue) grow() {
	c := chunks.Get().(*chunk)
	if q.tail == nil {
		q.head = c
	} else {
		q.tail.next = c
	}
	q.tail = c
}

func release(c *chunk) {
	c.next, c.taken, c.filled = nil, 0, 0
	chunks.Put(c)
}
