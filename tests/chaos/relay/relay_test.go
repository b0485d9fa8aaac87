package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// patience bounds what is expected to happen at once; reaching it is a failure.
const patience = 10 * time.Second

// moment is how long a test watches that something does not happen. A slow machine
// makes such a test weaker, never wrong.
const moment = 50 * time.Millisecond

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a relay with one connection through it.
type rig struct {
	*relay
	front, back *net.TCPConn // the programs' ends
}

func newRig(t *testing.T, o options) *rig {
	behind, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer behind.Close()
	o.listen, o.to = "127.0.0.1:0", behind.Addr().String()
	ctx, cancel := context.WithCancel(t.Context())
	r, err := start(ctx, o)
	require.NoError(t, err)
	t.Cleanup(func() {
		cancel()
		r.stop()
	})
	front, err := net.Dial("tcp", r.listener.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { front.Close() })
	back, err := behind.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { back.Close() })
	require.Eventually(t, func() bool { return r.open() == 1 }, patience, time.Millisecond)
	deadline := time.Now().Add(patience)
	require.NoError(t, front.SetDeadline(deadline))
	require.NoError(t, back.SetDeadline(deadline))
	return &rig{r, front.(*net.TCPConn), back.(*net.TCPConn)}
}

func (r *relay) open() int64 { return r.each(func(*link) bool { return true }) }

func (g *rig) eventuallyGone(t *testing.T) {
	require.Eventually(t, func() bool { return g.open() == 0 }, patience, time.Millisecond)
}

func send(t *testing.T, c net.Conn, text string) {
	_, err := c.Write([]byte(text))
	require.NoError(t, err)
}

func expect(t *testing.T, c net.Conn, text string) {
	got := make([]byte, len(text))
	_, err := io.ReadFull(c, got)
	require.NoError(t, err)
	require.Equal(t, text, string(got))
}

// expectSilence wants nothing to arrive for a moment.
func expectSilence(t *testing.T, c net.Conn) {
	require.NoError(t, c.SetReadDeadline(time.Now().Add(moment)))
	_, err := c.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.NoError(t, c.SetReadDeadline(time.Now().Add(patience)))
}

func TestBytesPassUnchangedBothWays(t *testing.T) {
	for name, o := range map[string]options{
		"directly": {},
		"sliced":   {slice: 1400, seed: 3},
		"late":     {delay: time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, o)
			data := make([]byte, 4<<20)
			random := rand.NewChaCha8([32]byte{1})
			_, _ = random.Read(data)
			for _, c := range []*net.TCPConn{g.front, g.back} {
				go func() {
					_, _ = c.Write(data) // a failure shows on the other side
					_ = c.CloseWrite()
				}()
			}
			for _, c := range []*net.TCPConn{g.front, g.back} {
				got, err := io.ReadAll(c) // the end shows that FIN passes while the other direction goes on
				require.NoError(t, err)
				require.True(t, bytes.Equal(data, got))
			}
			g.eventuallyGone(t)
			require.EqualValues(t, len(data), g.counts.bytes[up].Load())
			require.EqualValues(t, len(data), g.counts.bytes[down].Load())
		})
	}
}

func TestPiecesAreShortAndDependOnTheSeed(t *testing.T) {
	sizes := func(seed uint64) (sizes []int) {
		g := newRig(t, options{slice: 3, seed: seed})
		p := newPipe(g.listOf()[0], g.front, g.back, up)
		for rest := make([]byte, 1000); len(rest) > 0; {
			n := len(p.piece(rest))
			sizes, rest = append(sizes, n), rest[n:]
		}
		return sizes
	}
	one := sizes(1)
	require.Equal(t, 1, slices.Min(one))
	require.Equal(t, 3, slices.Max(one))
	require.Equal(t, one, sizes(1))
	require.NotEqual(t, one, sizes(2))
}

func (r *relay) listOf() []*link {
	var all []*link
	r.each(func(l *link) bool { all = append(all, l); return true })
	return all
}

func TestCutByFIN(t *testing.T) {
	g := newRig(t, options{cutEvery: 100 * time.Millisecond, seed: 0}) // the first comes after 169 ms
	for _, c := range []*net.TCPConn{g.front, g.back} {
		_, err := c.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
	}
	send(t, g.front, "too late, and yet no RST answers")
	require.NoError(t, g.front.Close())
	require.NoError(t, g.back.Close())
	g.eventuallyGone(t)
	require.EqualValues(t, 1, g.counts.cuts.Load())
	require.Zero(t, g.counts.bytes[up].Load())
}

func TestCutByRST(t *testing.T) {
	g := newRig(t, options{})
	require.EqualValues(t, 1, g.each(func(l *link) bool { return l.end(true) }))
	for _, c := range []*net.TCPConn{g.front, g.back} {
		_, err := c.Read(make([]byte, 1))
		require.True(t, errors.Is(err, syscall.ECONNRESET), "%v", err)
	}
	g.eventuallyGone(t)
}

func TestCutsGoOnForWhoComesBack(t *testing.T) {
	const wanted = 20
	behind, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	r, err := start(ctx, options{listen: "127.0.0.1:0", to: behind.Addr().String(), cutEvery: 2 * time.Millisecond})
	require.NoError(t, err)
	var programs sync.WaitGroup
	loop := func(connect func() (net.Conn, error)) {
		for end := time.Now().Add(patience); r.counts.cuts.Load() < wanted && time.Now().Before(end); {
			c, err := connect()
			if err == nil {
				_, _ = io.Copy(io.Discard, c) // until it is cut
				_ = c.Close()
			}
		}
	}
	programs.Go(func() { loop(func() (net.Conn, error) { return net.Dial("tcp", r.listener.Addr().String()) }) })
	programs.Go(func() { loop(behind.Accept) })
	require.Eventually(t, func() bool { return r.counts.cuts.Load() >= wanted }, patience, time.Millisecond)
	cancel()
	r.stop()
	require.NoError(t, behind.Close())
	programs.Wait()
	require.GreaterOrEqual(t, r.counts.connections.Load(), int64(wanted))
}

func TestCutReachesLinksWhoseProgramsDoNotRead(t *testing.T) {
	for _, reset := range []bool{false, true} {
		g := newRig(t, options{})
		clogged(t, g.front)
		g.each(func(l *link) bool { return l.end(reset) })
		g.eventuallyGone(t)
	}
}

// clogged writes until nothing fits between the two programs any more.
func clogged(t *testing.T, c *net.TCPConn) {
	block := make([]byte, 1<<20)
	for range 1000 {
		require.NoError(t, c.SetWriteDeadline(time.Now().Add(moment)))
		if _, err := c.Write(block); err != nil {
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			return
		}
	}
	require.Fail(t, "the relay holds without bound")
}

func TestResetOfOneSideReachesTheOther(t *testing.T) {
	g := newRig(t, options{})
	require.NoError(t, g.back.SetLinger(0))
	require.NoError(t, g.back.Close())
	_, err := g.front.Read(make([]byte, 1))
	require.True(t, errors.Is(err, syscall.ECONNRESET), "%v", err)
	g.eventuallyGone(t)
}

func TestStallHoldsUpAndLosesNothing(t *testing.T) {
	g := newRig(t, options{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	g.options.stallFor = patience
	done := make(chan struct{})
	go func() {
		g.stall(ctx)
		close(done)
	}()
	require.Eventually(t, func() bool { return g.counts.stalls.Load() == 1 }, patience, time.Millisecond)
	send(t, g.front, "up")
	send(t, g.back, "down")
	expectSilence(t, g.back)
	expectSilence(t, g.front)
	cancel()
	<-done
	expect(t, g.back, "up")
	expect(t, g.front, "down")
}

func TestHalfOpenLetsOneWayDie(t *testing.T) {
	for _, dead := range []way{up, down} {
		g := newRig(t, options{})
		into, outOf, other := g.front, g.back, "other"
		if dead == down {
			into, outOf = outOf, into
		}
		require.EqualValues(t, 1, g.each(func(l *link) bool { return l.silence(dead) }))
		require.Zero(t, g.each(func(l *link) bool { return l.silence(1 - dead) }), "never both ways")
		send(t, into, "lost")
		send(t, outOf, other)
		expect(t, into, other)
		expectSilence(t, outOf)
		clogged(t, into)
		require.NoError(t, outOf.Close()) // who hears nothing gives up; the other learns of it
		for err := error(nil); err == nil; {
			_, err = into.Read(make([]byte, 1))
		}
		require.NoError(t, into.Close())
		g.eventuallyGone(t)
	}
}

func TestDelayIsEachWay(t *testing.T) {
	const delay = 20 * time.Millisecond
	g := newRig(t, options{delay: delay})
	began := time.Now()
	send(t, g.front, "ping")
	expect(t, g.back, "ping")
	send(t, g.back, "pong")
	expect(t, g.front, "pong")
	require.GreaterOrEqual(t, time.Since(began), 2*delay)
}

func TestDelayHoldsBoundedMemory(t *testing.T) {
	g := newRig(t, options{delay: time.Hour})
	clogged(t, g.front)
	require.Equal(t, delayedBytes/chunkBytes, cap(g.listOf()[0].pipes[up].queue))
}

func TestNobodyBehind(t *testing.T) {
	behind, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, behind.Close())
	ctx, cancel := context.WithCancel(t.Context())
	r, err := start(ctx, options{listen: "127.0.0.1:0", to: behind.Addr().String()})
	require.NoError(t, err)
	front, err := net.Dial("tcp", r.listener.Addr().String())
	if err == nil { // else RST was there before the connection was found to be made
		defer front.Close()
		require.NoError(t, front.SetDeadline(time.Now().Add(patience)))
		_, err = front.Read(make([]byte, 1))
	}
	require.True(t, errors.Is(err, syscall.ECONNRESET), "%v", err)
	cancel()
	r.stop()
	require.EqualValues(t, 1, r.counts.refused.Load())
}

func TestProgramEndsWithItsStandardInput(t *testing.T) {
	in, hold := io.Pipe()
	says, stderr := io.Pipe()
	var stdout bytes.Buffer
	status := make(chan int)
	go func() { status <- run(t.Context(), []string{"--to", "tcp://127.0.0.1:1"}, in, &stdout, stderr) }()
	line, err := bufio.NewReader(says).ReadString('\n')
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(line, "listening on tcp://127.0.0.1:"), line)
	require.NoError(t, hold.Close())
	require.Zero(t, <-status)
	var counts map[string]int64
	require.NoError(t, json.Unmarshal(stdout.Bytes(), &counts))
	require.Equal(t, map[string]int64{"connections": 0, "refused": 0, "cuts": 0, "stalls": 0, "half_opens": 0,
		"bytes_up": 0, "bytes_down": 0}, counts)
}

func TestBadCommandLinesAreRefused(t *testing.T) {
	for line, says := range map[string]string{
		"":                          "--to ADDRESS is required",
		"--to a:1 more":             `"more" is no option`,
		"--to a:1 --slice -1":       "--slice -1",
		"--to a:1 --stall-every 1s": "required together",
		"--to a:1 --delay -1s":      "must not be negative",
		"--to a:1 --cut-every soon": "invalid value",
	} {
		var stderr bytes.Buffer
		require.Equal(t, 2, run(t.Context(), strings.Fields(line), strings.NewReader(""), io.Discard, &stderr), line)
		require.Contains(t, stderr.String(), says)
	}
}
