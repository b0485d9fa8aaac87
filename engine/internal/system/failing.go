//go:build failing

package system

import (
	"sync"
	"syscall"
)

var plan struct {
	sync.Mutex
	call        string
	made        int // calls of it
	first, last int // those that fail
	errno       syscall.Errno
}

// Fail has calls of that name fail with errno: the n-th from now on, counted from 1, and
// those behind it, so many in all. It ends what was asked for before.
func Fail(call string, n, times int, errno syscall.Errno) {
	plan.Lock()
	defer plan.Unlock()
	plan.call, plan.made, plan.first, plan.last, plan.errno = call, 0, n, n+times-1, errno
}

// Failed returns how many calls have failed.
func Failed() int {
	plan.Lock()
	defer plan.Unlock()
	return max(min(plan.made, plan.last)-plan.first+1, 0)
}

// Error returns what the system call of that name is to fail with; 0: it is to be made.
func Error(call string) syscall.Errno {
	plan.Lock()
	defer plan.Unlock()
	if call != plan.call {
		return 0
	}
	if plan.made++; plan.made < plan.first || plan.made > plan.last {
		return 0
	}
	return plan.errno
}
