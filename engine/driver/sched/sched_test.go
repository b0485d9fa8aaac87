package sched

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// task records its steps and expiries, and does what it is told in them.
type task struct {
	node    Node
	name    int
	steps   int
	expired []int64
	step    func(now int64) bool
	expire  func(now int64)
	log     *[]int
}

func newTask(name int, log *[]int) *task {
	t := &task{name: name, log: log}
	t.node.Init(t)
	return t
}

func (t *task) Step(now int64) bool {
	t.steps++
	if t.log != nil {
		*t.log = append(*t.log, t.name)
	}
	return t.step != nil && t.step(now)
}

func (t *task) Expire(now int64) {
	t.expired = append(t.expired, now)
	if t.log != nil {
		*t.log = append(*t.log, t.name)
	}
	if t.expire != nil {
		t.expire(now)
	}
}

func tasks(n int, log *[]int) (list []*task) {
	for i := range n {
		list = append(list, newTask(i, log))
	}
	return list
}

func TestFirstComeFirstServed(t *testing.T) {
	var s Scheduler
	var log []int
	list := tasks(5, &log)
	require.False(t, s.Busy())
	for _, i := range []int{3, 1, 4, 1, 0, 3} {
		s.Ready(&list[i].node)
	}
	require.True(t, s.Busy())
	require.Equal(t, 4, s.Turn(1), "each once, however often it was made ready")
	require.Equal(t, []int{3, 1, 4, 0}, log)
	require.False(t, s.Busy())
	require.Zero(t, s.Turn(1))
}

// TestFairness: a task with endless work waits for one step of every other.
func TestFairness(t *testing.T) {
	var s Scheduler
	var log []int
	list := tasks(3, &log)
	for _, x := range list {
		x.step = func(int64) bool { return true }
		s.Ready(&x.node)
	}
	for range 3 {
		require.Equal(t, 3, s.Turn(1))
	}
	require.Equal(t, []int{0, 1, 2, 0, 1, 2, 0, 1, 2}, log)
}

// TestReadyInsideATurn: who becomes ready during a turn runs in the next one, so that a
// turn ends.
func TestReadyInsideATurn(t *testing.T) {
	var s Scheduler
	var log []int
	list := tasks(3, &log)
	list[0].step = func(int64) bool {
		s.Ready(&list[0].node) // itself
		s.Ready(&list[1].node) // waits in this turn already
		s.Ready(&list[2].node)
		return true
	}
	s.Ready(&list[0].node)
	s.Ready(&list[1].node)
	require.Equal(t, 2, s.Turn(1))
	require.Equal(t, []int{0, 1}, log)
	list[0].step = nil
	require.Equal(t, 2, s.Turn(1))
	require.Equal(t, []int{0, 1, 0, 2}, log)
}

// TestRemoveInsideATurn: neither who runs nor who waits runs again.
func TestRemoveInsideATurn(t *testing.T) {
	var s Scheduler
	var log []int
	list := tasks(4, &log)
	list[0].step = func(int64) bool {
		s.Remove(&list[0].node)
		s.Remove(&list[2].node)
		s.Ready(&list[2].node)
		return true
	}
	for _, x := range list {
		s.Ready(&x.node)
	}
	require.Equal(t, 3, s.Turn(1))
	require.Equal(t, []int{0, 1, 3}, log)
	require.False(t, s.Busy())
	s.SetDeadline(&list[0].node, 5)
	require.Zero(t, s.Next(), "who is gone has no deadline")
	list[0].node.Init(list[0])
	list[0].step = nil
	s.Ready(&list[0].node)
	require.Equal(t, 1, s.Turn(1), "a node can be used again")
}

func TestTurnPassesTheTime(t *testing.T) {
	var s Scheduler
	x := newTask(0, nil)
	got := int64(0)
	x.step = func(now int64) bool { got = now; return false }
	s.Ready(&x.node)
	s.Turn(42)
	require.Equal(t, int64(42), got)
}

func TestDeadlinesComeInOrder(t *testing.T) {
	var s Scheduler
	var log []int
	list := tasks(100, &log)
	for i, x := range list {
		s.SetDeadline(&x.node, int64(1+i*37%100))
	}
	require.Equal(t, int64(1), s.Next())
	s.Expire(0)
	require.Empty(t, log)
	s.Expire(50)
	require.Len(t, log, 50)
	s.Expire(1000)
	require.Len(t, log, 100)
	require.True(t, slices.IsSortedFunc(log, func(a, b int) int { return a*37%100 - b*37%100 }), "%v", log)
	require.Zero(t, s.Next())
	fired, late := s.Timers()
	require.Equal(t, uint64(100), fired)
	require.Equal(t, int64(50*49/2+50*1000-(51+100)*50/2), late)
}

// TestLazyDeadlines: moving one later touches the heap only when the old one comes.
func TestLazyDeadlines(t *testing.T) {
	var s Scheduler
	x := newTask(0, nil)
	s.SetDeadline(&x.node, 10)
	for due := int64(11); due < 1000; due++ {
		s.SetDeadline(&x.node, due)
	}
	require.Equal(t, int64(10), s.Next(), "the heap was not touched")
	s.Expire(10)
	require.Empty(t, x.expired)
	require.Equal(t, int64(999), s.Next())
	s.SetDeadline(&x.node, 5)
	require.Equal(t, int64(5), s.Next(), "earlier counts at once")
	s.SetDeadline(&x.node, 0)
	s.Expire(999)
	require.Empty(t, x.expired, "it was taken back")
	require.Zero(t, s.Next())
	fired, _ := s.Timers()
	require.Zero(t, fired)
}

func TestExpireMaySetAndRemove(t *testing.T) {
	var s Scheduler
	a, b := newTask(0, nil), newTask(1, nil)
	a.expire = func(now int64) {
		s.Remove(&b.node)
		if len(a.expired) < 3 {
			s.SetDeadline(&a.node, now) // due again at once
		}
	}
	s.SetDeadline(&a.node, 1)
	s.SetDeadline(&b.node, 2)
	s.Expire(10)
	require.Equal(t, []int64{10, 10, 10}, a.expired)
	require.Empty(t, b.expired)
	s.Remove(&a.node)
	s.Remove(&a.node)
}

// TestTimersAgainstModel compares with a list of deadlines, whatever the order of
// setting, moving, removing and the passing of time.
func TestTimersAgainstModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var s Scheduler
		list := tasks(rapid.IntRange(1, 40).Draw(rt, "tasks"), nil)
		model := map[int]int64{} // deadlines by task
		now := int64(1)
		for range rapid.IntRange(1, 200).Draw(rt, "steps") {
			x := list[rapid.IntRange(0, len(list)-1).Draw(rt, "task")]
			switch rapid.IntRange(0, 5).Draw(rt, "do") {
			case 0, 1, 2:
				due := now + rapid.Int64Range(-5, 50).Draw(rt, "due")
				s.SetDeadline(&x.node, due)
				model[x.name] = due
				if due == 0 {
					delete(model, x.name)
				}
			case 3:
				s.SetDeadline(&x.node, 0)
				delete(model, x.name)
			case 4:
				s.Remove(&x.node)
				x.node.Init(x)
				delete(model, x.name)
			case 5:
				now += rapid.Int64Range(0, 40).Draw(rt, "time")
				expireBoth(rt, &s, list, model, now)
			}
			requireHeap(rt, &s, model)
		}
		expireBoth(rt, &s, list, model, now+1000)
		require.Zero(rt, s.Next())
	})
}

// expireBoth expires what is due in both, and compares.
func expireBoth(rt *rapid.T, s *Scheduler, list []*task, model map[int]int64, now int64) {
	for _, x := range list {
		x.expired = nil
	}
	s.Expire(now)
	for _, x := range list {
		due, set := model[x.name]
		want := 0
		if set && due <= now {
			want = 1
			delete(model, x.name)
		}
		require.Len(rt, x.expired, want, "task %d due at %d, now %d", x.name, due, now)
	}
}

// requireHeap checks the heap's order and that Next is early enough for everything.
func requireHeap(rt *rapid.T, s *Scheduler, model map[int]int64) {
	for i, n := range s.heap {
		require.Equal(rt, i+1, n.index)
		if i > 0 {
			require.LessOrEqual(rt, s.heap[(i-1)/arity].armed, n.armed, "place %d", i)
		}
	}
	for name, due := range model {
		require.LessOrEqual(rt, s.Next(), due, "task %d", name)
		require.NotEmpty(rt, s.heap, fmt.Sprintf("task %d is not in it", name))
	}
}

func TestNoAllocations(t *testing.T) {
	var s Scheduler
	list := tasks(64, nil)
	now := int64(1)
	turn := func() {
		for i, x := range list {
			s.Ready(&x.node)
			s.SetDeadline(&x.node, now+int64(i))
		}
		s.Turn(now)
		now += 10
		s.Expire(now)
	}
	turn()
	require.Zero(t, testing.AllocsPerRun(100, turn))
}

// TestLeave: a task goes to another scheduler from any place in the run list, without its
// deadline, and runs there.
func TestLeave(t *testing.T) {
	for leaver := range 3 {
		var s, other Scheduler
		var log []int
		list := tasks(3, &log)
		for _, x := range list {
			s.Ready(&x.node)
			s.SetDeadline(&x.node, 5)
		}
		s.Leave(&list[leaver].node)
		other.Ready(&list[leaver].node)
		require.Equal(t, 1, other.Turn(1))
		require.Equal(t, []int{leaver}, log)
		require.Equal(t, 2, s.Turn(1))
		require.NotContains(t, log[1:], leaver)
		s.Ready(&list[(leaver+1)%3].node)
		require.Equal(t, 1, s.Turn(1), "the list is whole")
		s.Expire(9)
		other.Expire(9)
		for i, x := range list {
			require.Len(t, x.expired, map[bool]int{true: 0, false: 1}[i == leaver])
		}
		s.Leave(&list[leaver].node) // who is nowhere
	}
}
