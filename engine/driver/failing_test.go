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

// life is what endpoints go through while a call fails.
type life struct {
	portable   bool
	scenario   func(*kit, *books)
	weaknesses []weakness
}

var (
	noRoom  = []syscall.Errno{unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM}
	refused = []syscall.Errno{unix.ECONNREFUSED, unix.ETIMEDOUT, unix.EHOSTUNREACH, unix.EADDRNOTAVAIL}
	passing = []syscall.Errno{unix.ECONNABORTED, unix.EPROTO, unix.ENETDOWN}
	signal  = []syscall.Errno{unix.EINTR}
	broken  = []syscall.Errno{unix.ECONNRESET, unix.EPIPE, unix.ETIMEDOUT, unix.EIO, unix.ENOBUFS, unix.ENOMEM}
	lives   = map[string]life{
		"epoll": {false, session, []weakness{
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
			{"listen", each([]syscall.Errno{unix.EADDRINUSE, unix.EOPNOTSUPP})},
			{"prctl", each([]syscall.Errno{unix.EPERM})},
			{"recvfrom", [][]syscall.Errno{signal, broken}},
			{"sendmsg", [][]syscall.Errno{signal, broken}},
			{"setsockopt", each([]syscall.Errno{unix.EINVAL, unix.ENOBUFS, unix.ENOPROTOOPT})},
			{"shutdown", each([]syscall.Errno{unix.ENOTCONN, unix.ENOBUFS})},
			{"socket", each(noRoom, []syscall.Errno{unix.EACCES, unix.EAFNOSUPPORT})},
		}},
		"epoll adopted": {false, adoption, []weakness{
			{"accept4", each(passing, noRoom)},
			{"close", each([]syscall.Errno{unix.EINTR, unix.EIO})},
			{"epoll_ctl", each([]syscall.Errno{unix.ENOMEM})},
			{"fcntl", each([]syscall.Errno{unix.EACCES})},
			{"getpeername", each([]syscall.Errno{unix.ENOBUFS, unix.ENOTCONN})},
			{"getsockname", each([]syscall.Errno{unix.ENOBUFS})},
			{"getsockopt", each([]syscall.Errno{unix.ENOBUFS})},
			{"setsockopt", each([]syscall.Errno{unix.EINVAL, unix.ENOBUFS})},
		}},
		"portable": {true, session, []weakness{
			{"accept", each([]syscall.Errno{unix.ECONNABORTED, unix.EMFILE})},
			{"bind", each([]syscall.Errno{unix.EMFILE})},
			{"connect", each([]syscall.Errno{unix.ECONNREFUSED, unix.EMFILE})},
			{"eventfd", each([]syscall.Errno{unix.EMFILE})},
			{"listen", each([]syscall.Errno{unix.EADDRINUSE})},
			{"read", [][]syscall.Errno{broken}},
			{"socket", each([]syscall.Errno{unix.EMFILE})},
			{"write", [][]syscall.Errno{broken}},
		}},
		"portable adopted": {true, adoption, []weakness{
			{"accept", each([]syscall.Errno{unix.ECONNABORTED})},
			{"close", each([]syscall.Errno{unix.EIO})},
			{"fcntl", each([]syscall.Errno{unix.EMFILE})},
			{"getpeername", each([]syscall.Errno{unix.ENOTCONN})},
			{"getsockopt", each([]syscall.Errno{unix.ENOBUFS})},
		}},
	}
)

// each makes a list of its own of each error.
func each(errnos ...[]syscall.Errno) [][]syscall.Errno {
	return slices.Collect(slices.Chunk(slices.Concat(errnos...), 1))
}

// TestEachCallFails: whichever system call fails, once or a few times, everything arrives,
// once and in order; or what was asked for says why not, and works when it is asked for
// again. Nothing hangs, and nothing is left behind.
func TestEachCallFails(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(lives)) {
		for _, w := range lives[name].weaknesses {
			t.Run(name+" "+w.call, func(t *testing.T) {
				for _, errnos := range w.errnos {
					failEach(t, lives[name], w.call, 1, errnos)
				}
				failEach(t, lives[name], w.call, 3, w.errnos[len(w.errnos)-1])
			})
		}
	}
}

// failEach has each call fail that a life makes, in one run after another.
func failEach(t *testing.T, l life, call string, times int, errnos []syscall.Errno) {
	for n := 1; ; n++ {
		failOnce(t, l, call, n, times, errnos[n%len(errnos)])
		if system.Failed() == 0 {
			require.Greater(t, n, 1, "nobody makes this call")
			t.Logf("%v, %d times: up to call %d", errnos, times, n-1)
			return
		}
	}
}

// failOnce runs the scenario while a call fails, and looks for what it left.
func failOnce(t *testing.T, l life, call string, n, times int, errno syscall.Errno) {
	table, err := Table()
	require.NoError(t, err)
	k := &kit{T: t, addr: "tcp://127.0.0.1:0", portable: l.portable}
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
	l.scenario(k, books)
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

// two opens two drivers of two workers each.
func two(k *kit, books *books) (da, db *Driver) {
	open := func() *Driver {
		d := again(k, func() (*Driver, error) {
			return Open(Options{Workers: 2, Log: k.log, Descriptor: books.note, Portable: k.portable,
				Transports: []transport.Transport{tcp.New(tcp.Options{Portable: k.portable})}})
		})
		k.Cleanup(func() { d.Close(0) })
		return d
	}
	return open(), open()
}

// doorman returns a channel, and the maker of sinks for what a listener accepts: endpoints
// that begin a session are put into the channel with their first message.
func doorman(k *kit) (chan end, func(*Endpoint) Sink) {
	accepted := make(chan end, 100)
	return accepted, func(e *Endpoint) Sink {
		p := &probe{t: k}
		// A peer that never heard of a session begins another: the first message says which.
		p.onMessage = func(e *Endpoint, m message) bool {
			if m.lane == wire.Normal && m.id == 0 {
				accepted <- end{e, p}
			}
			return true
		}
		return p
	}
}

func await(k *kit, accepted chan end) end {
	k.Helper()
	select {
	case e := <-accepted:
		return e
	case <-time.After(patience):
		require.FailNow(k, "nobody came")
		return end{}
	}
}

// session is the life of a session: two drivers, two listeners, messages both ways in every
// lane, moves between workers among them, a lost connection, more messages, another address,
// more messages, the end.
func session(k *kit, books *books) {
	da, db := two(k, books)
	// No time ends what hangs.
	o := EndpointOptions{Resume: ForEver, Window: minWindow, Connect: maxPeriod, KeepAlive: -1}
	accepted, sink := doorman(k)
	listen := func() *Listener {
		return again(k, func() (*Listener, error) { return db.Listen(k.where(), o, sink, nil) })
	}
	l, other := listen(), listen()
	a := k.dial(da, l.Addr(), o, nil)
	a.batch(0)
	b := await(k, accepted)
	b.batch(0)
	a.requireBatches(1)
	b.requireBatches(1)
	sent := 1
	talk := func() {
		a.batch(sent)
		b.batch(sent)
		sent++
	}
	for n := range 3 {
		talk()
		a.move(1 + n%2)
		b.move(2 - n%2)
		eventually(k, "they have moved", func() bool { return a.isOn(1+n%2) && b.isOn(2-n%2) })
	}
	a.requireBatches(sent)
	b.requireBatches(sent)
	a.cut()
	talk()
	a.requireBatches(sent)
	b.requireBatches(sent)
	require.NoError(k, a.Switch(other.Addr()))
	talk()
	a.requireBatches(sent)
	b.requireBatches(sent)
	eventually(k, "it is at the other address", func() bool { return a.at(other.Addr()) })
	a.Close(-1)
	require.Equal(k, endpoint.OK, endpoint.Code(a.awaitEnd().Code))
	l.Close()
	other.Close()
	part(k, books, da, db)
	b.awaitEnd()
	require.Empty(k, accepted, "a second endpoint for one session")
}

// part closes the drivers, and looks for what they left.
func part(k *kit, books *books, drivers ...*Driver) {
	for _, d := range drivers {
		d.Close(0)
		wait(k, d)
		require.Zero(k, d.table.Budget(d.budget).Used.Load(), "bytes charged to a closed driver")
	}
	require.Empty(k, books.wrong)
	require.False(k, k.logged("panic"))
}

func (e end) move(worker int) { require.NoError(e.t, e.SetWorker(worker)) }

func (e end) isOn(worker int) bool { return e.Endpoint.at.Load().number == worker-1 }

// adoption is the life of an endpoint over sockets that are open already. One that is
// refused is left as it was, and is good for another try.
func adoption(k *kit, books *books) {
	da, db := two(k, books)
	listening := k.socket()
	require.NoError(k, unix.Bind(listening, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	require.NoError(k, unix.Listen(listening, 10))
	at, err := unix.Getsockname(listening)
	require.NoError(k, err)
	accepted, sink := doorman(k)
	l := again(k, func() (*Listener, error) {
		l, err := db.Listen(fmt.Sprintf("fd://%d", listening), EndpointOptions{Resume: WithLink}, sink, nil)
		if err != nil {
			k.requireUntouched(listening)
		}
		return l, err
	})
	var a end
	for a.Endpoint == nil {
		failed := system.Failed()
		fd := k.socket()
		require.NoError(k, unix.Connect(fd, at))
		var before, now unix.Stat_t
		require.NoError(k, unix.Fstat(fd, &before))
		a = k.dial(da, fmt.Sprintf("fd://%d", fd), EndpointOptions{}, nil)
		eventually(k, "an end or a beginning", func() bool {
			return a.has(endpoint.EventUp)+a.has(endpoint.EventClosed) > 0
		})
		if a.has(endpoint.EventUp) > 0 {
			break
		}
		text := a.awaitEnd().Text
		require.NotEmpty(k, text)
		require.Greater(k, system.Failed(), failed)
		if strings.HasPrefix(text, "dial fd://") { // it was refused
			k.requireUntouched(fd)
			require.NoError(k, unix.Close(fd))
		} else {
			eventually(k, "the descriptor is closed", func() bool {
				return unix.Fstat(fd, &now) != nil || now.Ino != before.Ino
			})
		}
		a = end{}
	}
	a.batch(0)
	b := await(k, accepted)
	b.batch(0)
	a.requireBatches(1)
	b.requireBatches(1)
	a.Close(-1)
	require.Equal(k, endpoint.OK, endpoint.Code(a.awaitEnd().Code))
	b.awaitEnd()
	l.Close()
	part(k, books, da, db)
	require.Empty(k, accepted, "endpoints that nobody dialled")
}

// socket returns a descriptor that waits, and that a child would inherit: adoption changes
// both.
func (k *kit) socket() int {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	require.NoError(k, err)
	return fd
}

func (k *kit) requireUntouched(fd int) {
	k.Helper()
	status, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	require.NoError(k, err)
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	require.NoError(k, err)
	require.Zero(k, status&unix.O_NONBLOCK+flags&unix.FD_CLOEXEC, "a descriptor that was refused is changed")
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
