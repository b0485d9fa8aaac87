package driver

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/lyquor/lyquor/engine/internal/system"
)

// watchEvent returns an eventfd for C and calls ring whenever it is written. stop
// ends that and closes it.
func watchEvent(ring func()) (fd int, stop func(), err error) {
	fd, err = system.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return -1, nil, fmt.Errorf("eventfd: %w", err)
	}
	file := os.NewFile(uintptr(fd), "eventfd")
	done := make(chan struct{})
	go func() {
		defer close(done)
		var count [8]byte
		for {
			if _, err := file.Read(count[:]); err != nil {
				return // closed by stop
			}
			ring()
		}
	}()
	return fd, func() { file.Close(); <-done }, nil
}
