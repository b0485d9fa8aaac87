package driver

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/lyquor/lyquor/engine/internal/system"
)

// hasEpoll says that workers poll descriptors unless the portable poller is asked for.
const hasEpoll = true

// tuneThread names the calling thread, gives it exact timers, and binds it to a
// CPU if cpu is not negative.
func tuneThread(name string, cpu int) error {
	text := append([]byte(name), 0)
	if err := unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(&text[0])), 0, 0, 0); err != nil {
		return fmt.Errorf("prctl(PR_SET_NAME, %q): %w", name, err)
	}
	if err := system.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("prctl(PR_SET_TIMERSLACK): %w", err)
	}
	if cpu < 0 {
		return nil
	}
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("bind worker to CPU %d: %w", cpu, err)
	}
	return nil
}

// yieldThread lets other threads of the CPU run. It cannot fail.
func yieldThread() { _, _, _ = unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0) }

func newPoller(usePortable bool) (poller, error) {
	if usePortable {
		return newPortable()
	}
	return newEpoll()
}

// restThread leaves the CPU to others for so many nanoseconds. Waiting for events would
// not: acknowledgements come in all the while.
func restThread(nanos int64) {
	ts := unix.NsecToTimespec(nanos)
	_ = unix.Nanosleep(&ts, nil) // a signal may end it early, which is as well
}
