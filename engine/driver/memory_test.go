//go:build linux && !race

package driver

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lyquor/lyquor/engine/endpoint"
	"github.com/lyquor/lyquor/engine/outbox"
	"github.com/lyquor/lyquor/engine/transport"
	"github.com/lyquor/lyquor/engine/transport/tcp"
	"github.com/lyquor/lyquor/engine/wire"

	"github.com/stretchr/testify/require"
)

const (
	// roleVariable names the part that the test binary plays when a test starts it again.
	roleVariable = "LYQUOR_TEST_ROLE"

	manyEndpoints = 1000

	idleEndpoints = 10_000
	idleWarmUp    = 200 // endpoints that come before anything is measured
	idleAtOnce    = 64  // endpoints that carry something at the same time
	idleMessage   = 16 << 10
	idleMessages  = 64 // of idleMessage: 1 MiB each way

	// idleBound is what an idle endpoint may take of the process's memory, in bytes.
	idleBound = 4 << 10
)

// usage is what a process has.
type usage struct {
	Resident, Goroutines, Threads, Descriptors int
}

func measure() (u usage, err error) {
	debug.FreeOSMemory()
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return u, err
	}
	pages, err := strconv.Atoi(strings.Fields(string(statm))[1])
	if err != nil {
		return u, err
	}
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return u, err
	}
	files, err := os.ReadDir("/proc/self/fd")
	return usage{pages * os.Getpagesize(), runtime.NumGoroutine(), len(tasks), len(files)}, err
}

// rested measures until the process has not become smaller for a second, since memory
// goes back in the background.
func rested() (least usage, err error) {
	if least, err = measure(); err != nil {
		return least, err
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	begin := time.Now()
	for since := begin; time.Since(since) < time.Second && time.Since(begin) < patience; <-tick.C {
		now, err := measure()
		if err != nil {
			return least, err
		}
		if now.Resident < least.Resident-least.Resident/1000 {
			since = time.Now()
		}
		if now.Resident < least.Resident {
			least = now
		}
	}
	return least, nil
}

// echo sends back what it gets.
type echo struct{}

func (echo) Run(e *Endpoint, r Run) (done int) {
	for done < len(r.Frames) {
		h := wire.GetHeader(r.Frames[done:])
		if _, err := e.Send(h.Lane(), 0, r.Frames[done+wire.HeaderSize:][:h.Size()]); err != nil {
			break // the rest comes again when there is room
		}
		done += h.FrameSize()
	}
	return done
}

func (echo) Long(*Endpoint, endpoint.Memory, wire.Lane, uint16, uint64) bool { return true }
func (echo) Event(*Endpoint, endpoint.Event)                                 {}
func (echo) Queues() bool                                                    { return false }
func (echo) Gone() bool                                                      { return false }
func (echo) Drop()                                                           {}

// asker sends idleMessages and says when all have come back.
type asker struct {
	echo
	sent, got int32
	done      chan<- error
}

var idlePayload [idleMessage]byte

func (a *asker) Run(e *Endpoint, r Run) int {
	a.got += int32(len(r.Frames) / (idleMessage + wire.HeaderSize))
	if a.got == idleMessages {
		a.done <- nil
	}
	return len(r.Frames)
}

func (a *asker) Event(e *Endpoint, ev endpoint.Event) {
	if ev.Kind == endpoint.EventClosed && a.got < idleMessages {
		a.done <- fmt.Errorf("closed: %s", ev.Detail)
	}
	for ; a.sent < idleMessages; a.sent++ {
		if _, err := e.Send(wire.Normal, 0, idlePayload[:]); err != nil {
			return
		}
	}
}

func openIdle() (*Driver, error) {
	return Open(Options{Transports: []transport.Transport{tcp.New(tcp.Options{})}})
}

// carry dials n endpoints and has each carry 1 MiB both ways.
func carry(d *Driver, addr string, n int) error {
	done := make(chan error, idleAtOnce)
	for i := range n + idleAtOnce {
		if i >= idleAtOnce {
			if err := <-done; err != nil {
				return err
			}
		}
		if i < n {
			// No pings: they would wake what is to rest.
			_, err := d.Dial(addr, EndpointOptions{KeepAlive: -1}, func(*Endpoint) Sink { return &asker{done: done} })
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// report is what the dialling process says of itself.
type report struct {
	Before, After usage
}

// playRole is the dialling process: it does a step for each line that it reads.
func playRole(addr string) {
	if err := dialler(addr, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func dialler(addr string, in io.Reader, out io.Writer) error {
	lines := bufio.NewScanner(in)
	d, err := openIdle()
	if err != nil {
		return err
	}
	if err := carry(d, addr, idleWarmUp); err != nil {
		return err
	}
	fmt.Fprintln(out, "warm")
	lines.Scan()
	var r report
	if r.Before, err = rested(); err != nil {
		return err
	}
	if err := carry(d, addr, idleEndpoints); err != nil {
		return err
	}
	fmt.Fprintln(out, "carried")
	if r.After, err = rested(); err != nil {
		return err
	}
	if err := json.NewEncoder(out).Encode(r); err != nil {
		return err
	}
	lines.Scan()
	return nil
}

// TestMemoryOfIdleEndpoints: an endpoint that has carried 1 MiB each way and rests takes
// little of the process, at both ends, and neither goroutine nor thread.
func TestMemoryOfIdleEndpoints(t *testing.T) {
	var limit unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	require.Greater(t, limit.Cur, uint64(idleEndpoints+idleWarmUp+100), "descriptors that a process may have")
	d, err := openIdle()
	require.NoError(t, err)
	defer func() { d.Close(0); wait(t, d) }()
	var accepted atomic.Int64
	l, err := d.Listen("tcp://127.0.0.1:0", EndpointOptions{KeepAlive: -1},
		func(*Endpoint) Sink { accepted.Add(1); return echo{} }, nil)
	require.NoError(t, err)

	self, err := os.Executable()
	require.NoError(t, err)
	child := exec.Command(self)
	child.Env = append(os.Environ(), roleVariable+"="+l.Addr())
	child.Stderr = os.Stderr
	in, err := child.StdinPipe()
	require.NoError(t, err)
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	defer func() { in.Close(); require.NoError(t, child.Wait()) }()
	lines := bufio.NewScanner(out)
	require.True(t, lines.Scan())
	require.Equal(t, "warm", lines.Text())

	before, err := rested()
	require.NoError(t, err)
	_, err = fmt.Fprintln(in, "go")
	require.NoError(t, err)
	require.True(t, lines.Scan(), "the other process ended")
	require.Equal(t, "carried", lines.Text())
	require.Equal(t, int64(idleEndpoints+idleWarmUp), accepted.Load())
	after, err := rested()
	require.NoError(t, err)
	require.True(t, lines.Scan(), "the other process ended")
	var r report
	require.NoError(t, json.Unmarshal(lines.Bytes(), &r))
	requireIdle(t, "accepting", before, after)
	requireIdle(t, "dialling", r.Before, r.After)
}

func requireIdle(t *testing.T, side string, before, after usage) {
	t.Helper()
	each := float64(after.Resident-before.Resident) / idleEndpoints
	t.Logf("%s: %.0f bytes an endpoint; before %+v, after %+v", side, each, before, after)
	require.LessOrEqual(t, each, float64(idleBound), "%s: bytes an endpoint", side)
	require.LessOrEqual(t, after.Goroutines-before.Goroutines, 2, "%s: goroutines", side)
	// Go keeps threads that once waited in a system call, for as many as did at a time.
	require.LessOrEqual(t, after.Threads-before.Threads, idleAtOnce, "%s: threads", side)
	require.Equal(t, idleEndpoints, after.Descriptors-before.Descriptors, "%s: descriptors", side)
}

// TestAllocations: fewer than 100 in a million messages, at both ends together.
func TestAllocations(t *testing.T) {
	runKit(t, false, "tcp://127.0.0.1:0", func(k *kit) {
		var got atomic.Int64
		counter := &counting{got: &got}
		l, err := k.open(nil).Listen(k.where(), EndpointOptions{}, func(*Endpoint) Sink { return counter }, nil)
		require.NoError(k, err)
		source := &counting{got: new(atomic.Int64), room: make(chan struct{}, 1)}
		e, err := k.open(nil).Dial(l.Addr(), EndpointOptions{}, func(*Endpoint) Sink { return source })
		require.NoError(k, err)
		payload := make([]byte, 64)
		send := func(n int64) {
			for goal := got.Load() + n; n > 0; {
				_, err := e.Send(wire.Normal, 0, payload)
				switch {
				case err == nil:
					if n--; n == 0 {
						eventually(k, "all of them", func() bool { return got.Load() == goal })
					}
				case err == outbox.ErrAgain:
					<-source.room
				default:
					require.NoError(k, err)
				}
			}
		}
		send(200_000)
		runtime.GC()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		send(1_000_000)
		runtime.ReadMemStats(&after)
		k.Logf("%d allocations", after.Mallocs-before.Mallocs)
		require.Less(k, after.Mallocs-before.Mallocs, uint64(100))
	})
}

// counting counts messages.
type counting struct {
	echo
	got  *atomic.Int64
	room chan struct{}
}

func (c *counting) Run(_ *Endpoint, r Run) int {
	n := 0
	for done := 0; done < len(r.Frames); done += wire.GetHeader(r.Frames[done:]).FrameSize() {
		n++
	}
	c.got.Add(int64(n))
	return len(r.Frames)
}

func (c *counting) Event(_ *Endpoint, ev endpoint.Event) {
	if ev.Kind == endpoint.EventWritable {
		select {
		case c.room <- struct{}{}:
		default:
		}
	}
}
