//go:build linux && failing

package driver

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lyquor/lyquor/engine/endpoint"
	"github.com/lyquor/lyquor/engine/internal/system"
	"github.com/lyquor/lyquor/engine/transport"
	"github.com/lyquor/lyquor/engine/transport/tcp"
	"github.com/lyquor/lyquor/engine/wire"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// weakness is a system call that links or pollers make, and what it may fail with. Each list
// has every call fail once; within a list the errors take turns, for calls that are made often.
type weakness struct {
	call   string
	errnos [][]syscall.Errno
}

var (
	noRoom     = []syscall.Errno{unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM}
	refused    = []syscall.Errno{unix.ECONNREFUSED, unix.ETIMEDOUT, unix.EHOSTUNREACH, unix.EADDRNOTAVAIL}
	passing    = []syscall.Errno{unix.ECONNABORTED, unix.EPROTO, unix.ENETDOWN}
	signal     = []syscall.Errno{unix.EINTR}
	broken     = []syscall.Errno{unix.ECONNRESET, unix.EPIPE, unix.ETIMEDOUT, unix.EIO, unix.ENOBUFS, unix.ENOMEM}
	weaknesses = map[string][]weakness{
		"epoll": {
			{"accept4", each(signal, passing, noRoom)},
			{"bind", each(noRoom, []syscall.Errno{unix.EADDRINUSE, unix.EACCES})},
			{"close", each([]syscall.Errno{unix.EINTR, unix.EIO})},
			{"connect", each(refused, noRoom)},
			{"epoll_block", each(signal)},
			{"epoll_create1", each(noRoom)},
			{"epoll_ctl", each([]syscall.Errno{unix.ENOMEM, unix.ENOSPC})},
			{"epoll_pwait", each(signal)},
			{"epoll_pwait2", each([]syscall.Errno{unix.EINTR, unix.ENOSYS, unix.EPERM})},
			{"eventfd", each(noRoom, []syscall.Errno{unix.ENODEV})},
			{"fcntl", each([]syscall.Errno{unix.EMFILE})},
			{"getsockname", each([]syscall.Errno{unix.ENOBUFS, unix.ENOTCONN})},
			{"prctl", each([]syscall.Errno{unix.EPERM})},
			{"recvfrom", [][]syscall.Errno{signal, broken}},
			{"sendmsg", [][]syscall.Errno{signal, broken}},
			{"setsockopt", each([]syscall.Errno{unix.EINVAL, unix.ENOBUFS, unix.ENOPROTOOPT})},
			{"shutdown", each([]syscall.Errno{unix.ENOTCONN, unix.ENOBUFS})},
		},
		"portable": {
			{"accept", each([]syscall.Errno{unix.ECONNABORTED, unix.EMFILE})},
			{"bind", each([]syscall.Errno{unix.EMFILE})},
			{"connect", each([]syscall.Errno{unix.ECONNREFUSED, unix.EMFILE})},
			{"eventfd", each([]syscall.Errno{unix.EMFILE})},
			{"read", [][]syscall.Errno{broken}},
			{"write", [][]syscall.Errno{broken}},
		},
	}
)

// each makes a list of its own of each error.
func each(errnos ...[]syscall.Errno) [][]syscall.Errno {
	return slices.Collect(slices.Chunk(slices.Concat(errnos...), 1))
}

// loose are the calls whose number depends on time more than on the scenario: a worker looks
// for events as often as it comes to it. Beyond the first few, some of them fail.
var loose = map[string]bool{"epoll_pwait": true, "epoll_pwait2": true}

// TestEachCallFails: whichever system call fails, once or a few times, everything arrives,
// once and in order; or what was asked for says why not, and works when it is asked for
// again. Nothing hangs, and nothing is left behind.
func TestEachCallFails(t *testing.T) {
	for _, poller := range slices.Sorted(maps.Keys(weaknesses)) {
		for _, w := range weaknesses[poller] {
			t.Run(poller+" "+w.call, func(t *testing.T) {
				for _, errnos := range w.errnos {
					failEach(t, poller == "portable", w.call, 1, errnos)
				}
				failEach(t, poller == "portable", w.call, 3, w.errnos[len(w.errnos)-1])
			})
		}
	}
}

// failEach has each call fail that the scenario makes, in one run after another.
func failEach(t *testing.T, portable bool, call string, times int, errnos []syscall.Errno) {
	for n := 1; ; n++ {
		if loose[call] {
			n += n / 16
		}
		failOnce(t, portable, call, n, times, errnos[n%len(errnos)])
		if system.Failed() == 0 {
			t.Logf("%v, %d times: up to call %d", errnos, times, n-1)
			return
		}
	}
}

// failOnce runs the scenario while a call fails, and looks for what it left.
func failOnce(t *testing.T, portable bool, call string, n, times int, errno syscall.Errno) {
	table, err := Table()
	require.NoError(t, err)
	k := &kit{T: t, addr: "tcp://127.0.0.1:0", portable: portable}
	defer func() {
		if t.Failed() {
			k.mu.Lock()
			defer k.mu.Unlock()
			t.Logf("call %d of %s failed, %d times, with %v; the log:\n%s", n, call, times, errno,
				strings.Join(k.logs, "\n"))
		}
	}()
	before, handles := descriptors(t), table.Live()
	books := &books{open: map[int]bool{}}
	system.Fail(call, n, times, errno)
	scenario(k, books)
	goleak.VerifyNone(t, goleak.IgnoreTopFunction("testing.(*T).Run"))
	eventually(t, "descriptors are closed", func() bool { return len(descriptors(t)) <= len(before) })
	require.Zero(t, table.Blocks().InUse(), "blocks in use")
	require.Zero(t, table.Chunks().InUse(), "chunks in use")
	require.Equal(t, handles, table.Live(), "handles in use")
	require.Empty(t, books.open, "descriptors that the host was not told are closed")
}

// books keeps what a driver says of its descriptors.
type books struct {
	sync.Mutex
	open  map[int]bool
	wrong []string
}

func (b *books) note(fd int, open bool) {
	b.Lock()
	defer b.Unlock()
	if b.open[fd] == open {
		b.wrong = append(b.wrong, fmt.Sprintf("descriptor %d: open %v twice", fd, open))
	}
	if b.open[fd] = open; !open {
		delete(b.open, fd)
	}
}

// again tries what may fail because a system call does: then it says so, and works once
// the call does.
func again[T any](k *kit, try func() (T, error)) T {
	k.Helper()
	for {
		failed := system.Failed()
		x, err := try()
		if err == nil {
			return x
		}
		require.Greater(k, system.Failed(), failed, "%v", err)
		var coded *Error
		require.ErrorAs(k, err, &coded)
		require.NotEmpty(k, coded.Text)
	}
}

// scenario is the life of a session: two drivers, two listeners, messages both ways in every
// lane, a lost connection, more messages, another address, more messages, the end.
func scenario(k *kit, books *books) {
	open := func() *Driver {
		d := again(k, func() (*Driver, error) {
			return Open(Options{Workers: 1, Log: k.log, Descriptor: books.note, Portable: k.portable,
				Transports: []transport.Transport{tcp.New(tcp.Options{Portable: k.portable})}})
		})
		k.Cleanup(func() { d.Close(0) })
		return d
	}
	da, db := open(), open()
	// No time ends what hangs.
	o := EndpointOptions{Resume: ForEver, Window: minWindow, Connect: maxPeriod, KeepAlive: -1}
	accepted := make(chan end, 100)
	listen := func() *Listener {
		return again(k, func() (*Listener, error) {
			return db.Listen(k.where(), o, func(e *Endpoint) Sink {
				p := &probe{t: k}
				// A peer that never heard of a session begins another: the first message says which.
				p.onMessage = func(e *Endpoint, m message) bool {
					if m.lane == wire.Normal && m.id == 0 {
						accepted <- end{e, p}
					}
					return true
				}
				return p
			}, nil)
		})
	}
	l, other := listen(), listen()
	a := k.dial(da, l.Addr(), o, nil)
	a.batch(0)
	var b end
	select {
	case b = <-accepted:
	case <-time.After(patience):
		require.FailNow(k, "nobody came")
	}
	b.batch(0)
	a.requireBatches(1)
	b.requireBatches(1)
	a.cut()
	b.batch(1)
	a.batch(1)
	a.requireBatches(2)
	b.requireBatches(2)
	require.NoError(k, a.Switch(other.Addr()))
	b.batch(2)
	a.batch(2)
	a.requireBatches(3)
	b.requireBatches(3)
	eventually(k, "it is at the other address", func() bool { return a.at(other.Addr()) })
	a.Close(-1)
	require.Equal(k, endpoint.OK, endpoint.Code(a.awaitEnd().Code))
	l.Close()
	other.Close()
	db.Close(0)
	da.Close(0)
	wait(k, da)
	wait(k, db)
	b.awaitEnd()
	require.Empty(k, accepted, "a second endpoint for one session")
	for _, d := range []*Driver{da, db} {
		require.Zero(k, d.table.Budget(d.budget).Used.Load(), "bytes charged to a closed driver")
	}
	require.Empty(k, books.wrong)
	require.False(k, k.logged("panic"))
}

const (
	perBatch  = 3         // messages in each lane
	longBatch = 100 << 10 // bytes of the last one in the lowest
)

// batch sends numbered messages in each lane.
func (e end) batch(number int) {
	for i := range perBatch {
		for lane := range wire.Lane(wire.Lanes) {
			data := make([]byte, 16+100*i)
			if lane == wire.Bulk && i == perBatch-1 {
				data = make([]byte, longBatch)
			}
			binary.LittleEndian.PutUint64(data, uint64(number*perBatch+i))
			e.send(lane, 0, data)
		}
	}
}

// requireBatches wants all messages of so many batches, once and in order.
func (e end) requireBatches(n int) {
	e.t.Helper()
	var next [wire.Lanes]uint64
	for _, m := range e.awaitMessages(n * perBatch * wire.Lanes) {
		require.Equal(e.t, next[m.lane], m.id, "%v", m.lane)
		require.Equal(e.t, next[m.lane], binary.LittleEndian.Uint64(m.data), "%v", m.lane)
		next[m.lane]++
	}
	require.Len(e.t, e.messages(), n*perBatch*wire.Lanes)
}
