//go:build !linux

package driver

import (
	"errors"
	"runtime"
	"time"
)

const hasEpoll = false

func tuneThread(_ string, cpu int) error {
	if cpu >= 0 {
		return errors.New("binding workers to CPUs is supported on Linux only")
	}
	return nil
}

func yieldThread() { runtime.Gosched() }

func newPoller(bool) (poller, error) { return newPortable() }

func restThread(nanos int64) { time.Sleep(time.Duration(nanos)) }
