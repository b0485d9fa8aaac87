package driver

import (
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/lyquor/lyquor/engine/internal/system"
	"github.com/lyquor/lyquor/engine/transport"
)

// wakeTag is the tag of the eventfd; no slot has index 0.
const wakeTag = 0

type epoll struct {
	fd, event int
	events    [maxEvents]unix.EpollEvent
	pwait2    bool // the kernel has epoll_pwait2 (5.11): timeouts in nanoseconds
}

func newEpoll() (poller, error) {
	fd, err := system.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	event, err := system.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		system.Close(fd)
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	p := &epoll{fd: fd, event: event, pwait2: true}
	// Edge triggered, each write gives an event though nobody ever reads it.
	if err := p.add(event, wakeTag); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *epoll) add(fd int, tag uint64) error {
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET&0xffffffff}
	ev.Fd, ev.Pad = int32(uint32(tag)), int32(uint32(tag>>32))
	if err := system.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

// remove is needed although close would do it: a forked child may share the
// socket, and its registration would live on.
func (p *epoll) remove(fd int) {
	// It fails only for a descriptor that is not registered, which is as well.
	_ = system.EpollCtl(p.fd, unix.EPOLL_CTL_DEL, fd, nil)
}

func (p *epoll) wait(timeout int64, visit func(uint64, transport.Ready)) {
	n := p.collect(timeout)
	for i := range n {
		ev := &p.events[i]
		tag := uint64(uint32(ev.Fd)) | uint64(uint32(ev.Pad))<<32
		if tag == wakeTag {
			continue
		}
		var r transport.Ready
		if ev.Events&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
			r |= transport.Readable
		}
		if ev.Events&(unix.EPOLLOUT|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
			r |= transport.Writable
		}
		if ev.Events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
			r |= transport.HangUp
		}
		visit(tag, r)
	}
}

// shortWait is how long a wait is hidden from Go's scheduler, in nanoseconds. A thread
// that tells it of a wait loses its P after 20 µs to the runtime's monitor, which then
// looks every 20 µs for more (runtime/proc.go, retake): in a dialogue, in which each
// side waits for less than that, the monitor ran after every sixth message and the
// slowest hundredth of round trips took half as long again. What it costs is that
// garbage collection may have to wait for a worker for so long.
const shortWait = int64(time.Millisecond)

// collect fills events.
func (p *epoll) collect(timeout int64) int {
	if timeout >= 0 && timeout <= shortWait {
		return p.look(timeout)
	}
	if p.pwait2 {
		if n := p.look(shortWait); n > 0 {
			return n
		}
		if timeout > 0 {
			timeout -= shortWait
		}
	}
	return p.block(timeout)
}

// look waits for no longer than shortWait, in nanoseconds.
func (p *epoll) look(timeout int64) int {
	events := uintptr(unsafe.Pointer(&p.events[0]))
	if timeout > 0 && p.pwait2 {
		var n uintptr
		spec := unix.NsecToTimespec(timeout)
		errno := system.Error("epoll_pwait2")
		if errno == 0 {
			n, _, errno = unix.RawSyscall6(unix.SYS_EPOLL_PWAIT2, uintptr(p.fd), events, maxEvents,
				uintptr(unsafe.Pointer(&spec)), 0, 0)
		}
		if errno != unix.ENOSYS && errno != unix.EPERM {
			return count(n, errno)
		}
		p.pwait2 = false
	}
	if errno := system.Error("epoll_pwait"); errno != 0 {
		return count(0, errno)
	}
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.fd), events, maxEvents, millis(timeout), 0, 0)
	return count(n, errno)
}

// block waits for so many nanoseconds, -1 for ever, and tells Go's scheduler.
func (p *epoll) block(timeout int64) int {
	if errno := system.Error("epoll_block"); errno != 0 {
		return count(0, errno)
	}
	events := uintptr(unsafe.Pointer(&p.events[0]))
	if p.pwait2 {
		var spec *unix.Timespec
		if timeout > 0 {
			ts := unix.NsecToTimespec(timeout)
			spec = &ts
		}
		n, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(p.fd), events, maxEvents,
			uintptr(unsafe.Pointer(spec)), 0, 0)
		return count(n, errno)
	}
	n, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.fd), events, maxEvents, millis(timeout), 0, 0)
	return count(n, errno)
}

// millis rounds up: truncation would make a busy loop.
func millis(timeout int64) uintptr {
	if timeout > 0 {
		timeout = min((timeout+999_999)/1_000_000, 1<<30)
	}
	return uintptr(timeout)
}

// count maps an interrupted wait to no events: the caller comes back anyway.
func count(n uintptr, errno unix.Errno) int {
	if errno != 0 {
		return 0
	}
	return int(n)
}

func (p *epoll) wake() {
	one := uint64(1)
	// EAGAIN means a full counter, and then the descriptor is readable by definition.
	_, _, _ = unix.RawSyscall(unix.SYS_WRITE, uintptr(p.event), uintptr(unsafe.Pointer(&one)), 8)
}

func (p *epoll) descriptor() int { return p.event }

func (p *epoll) descriptors() []int { return []int{p.fd, p.event} }

func (p *epoll) close() {
	system.Close(p.event)
	system.Close(p.fd)
}
