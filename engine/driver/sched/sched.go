package sched

// Task is something that runs in steps.
type Task interface {
	// Step does at most a budget's worth of work and says whether more is left.
	Step(now int64) (more bool)
	// Expire is called when the deadline given to SetDeadline has come. It may set
	// another.
	Expire(now int64)
}

// Node is a task's place in a scheduler. A task has one, moves it with itself, and
// uses it with one scheduler at a time.
type Node struct {
	task   Task
	next   *Node
	queued bool
	gone   bool
	due    int64 // true deadline; 0: none
	armed  int64 // deadline in the heap, never later than due while due is set
	index  int   // place in the heap plus 1; 0: not in it
}

// Init gives the node its task.
func (n *Node) Init(t Task) { n.task, n.gone = t, false }

// Scheduler holds the tasks of one worker. It is not safe for concurrent use.
type Scheduler struct {
	head, tail *Node
	heap       []*Node
	late       int64 // sum of how late deadlines were noticed, in nanoseconds
	fired      uint64
}

// Ready puts a task at the tail of the run list, unless it is in it.
func (s *Scheduler) Ready(n *Node) {
	if n.queued || n.gone {
		return
	}
	n.queued, n.next = true, nil
	if s.tail == nil {
		s.head = n
	} else {
		s.tail.next = n
	}
	s.tail = n
}

// Busy says whether a task waits to run.
func (s *Scheduler) Busy() bool { return s.head != nil }

// Turn steps each task that is in the run list now, once, and returns how many.
func (s *Scheduler) Turn(now int64) (ran int) {
	list := s.head
	s.head, s.tail = nil, nil
	for list != nil {
		n := list
		list, n.next, n.queued = n.next, nil, false
		if n.gone {
			continue
		}
		ran++
		if n.task.Step(now) {
			s.Ready(n)
		}
	}
	return ran
}

// SetDeadline calls the task's Expire when now reaches due; 0 is never. The latest
// call counts.
func (s *Scheduler) SetDeadline(n *Node, due int64) {
	n.due = due
	if due == 0 || n.gone || n.index != 0 && n.armed <= due {
		return
	}
	n.armed = due
	if n.index == 0 {
		s.heap = append(s.heap, n)
		n.index = len(s.heap)
	}
	s.up(n.index - 1)
}

// Next returns the earliest time at which Expire may have something to do, or 0.
func (s *Scheduler) Next() int64 {
	if len(s.heap) == 0 {
		return 0
	}
	return s.heap[0].armed
}

// Expire calls Expire of each task whose deadline has come.
func (s *Scheduler) Expire(now int64) {
	for len(s.heap) > 0 && s.heap[0].armed <= now {
		n := s.heap[0]
		if n.due == 0 || n.due > now {
			s.rearm(n)
			continue
		}
		s.fired++
		s.late += now - n.due
		n.due = 0
		s.removeAt(0)
		n.task.Expire(now)
	}
}

// rearm corrects the heap's first node, whose deadline was moved or taken back.
func (s *Scheduler) rearm(n *Node) {
	if n.due == 0 {
		s.removeAt(0)
		return
	}
	n.armed = n.due
	s.down(0)
}

// Remove takes a task out for good; a turn under way skips it.
func (s *Scheduler) Remove(n *Node) {
	n.gone = true
	s.disarm(n)
}

// Leave takes a task out that another scheduler may have from now on, without its
// deadline. It is not called during a turn.
func (s *Scheduler) Leave(n *Node) {
	s.disarm(n)
	if !n.queued {
		return
	}
	var before *Node
	for at := s.head; at != n; at = at.next {
		before = at
	}
	if before == nil {
		s.head = n.next
	} else {
		before.next = n.next
	}
	if s.tail == n {
		s.tail = before
	}
	n.queued, n.next = false, nil
}

func (s *Scheduler) disarm(n *Node) {
	n.due = 0
	if n.index != 0 {
		s.removeAt(n.index - 1)
	}
}

// Timers returns how many deadlines came, and the sum of how late they were
// noticed, in nanoseconds.
func (s *Scheduler) Timers() (fired uint64, late int64) { return s.fired, s.late }

// The heap has four children a node: half the depth of a binary one.
const arity = 4

func (s *Scheduler) up(i int) {
	for i > 0 {
		parent := (i - 1) / arity
		if s.heap[parent].armed <= s.heap[i].armed {
			return
		}
		s.swap(i, parent)
		i = parent
	}
}

func (s *Scheduler) down(i int) {
	for {
		least := i
		for c := i*arity + 1; c <= i*arity+arity && c < len(s.heap); c++ {
			if s.heap[c].armed < s.heap[least].armed {
				least = c
			}
		}
		if least == i {
			return
		}
		s.swap(i, least)
		i = least
	}
}

func (s *Scheduler) swap(i, j int) {
	s.heap[i], s.heap[j] = s.heap[j], s.heap[i]
	s.heap[i].index, s.heap[j].index = i+1, j+1
}

func (s *Scheduler) removeAt(i int) {
	last := len(s.heap) - 1
	s.swap(i, last)
	s.heap[last].index = 0
	s.heap[last] = nil
	s.heap = s.heap[:last]
	if i < last {
		s.down(i)
		s.up(i)
	}
}
