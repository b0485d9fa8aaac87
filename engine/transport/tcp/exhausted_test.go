//go:build unix

package tcp

import (
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/lyquor/lyquor/engine/transport"
)

// exhaustedEnv is set in the child process that runs out of descriptors.
const exhaustedEnv = "LYQUOR_TEST_EXHAUSTED"

// fewDescriptors is the child's limit.
const fewDescriptors = 64

// While no descriptor is left a listener reports it now and then, harms nobody, and
// goes on when descriptors return. It runs in a process of its own, whose limit is
// lowered.
func TestAcceptOutlivesExhaustion(t *testing.T) {
	flavours(t, func(t *testing.T, tr *Transport) {
		if os.Getenv(exhaustedEnv) != "" {
			exhaust(t, tr)
			return
		}
		self, err := os.Executable()
		require.NoError(t, err)
		pattern := "^" + strings.ReplaceAll(t.Name(), "/", "$/^") + "$"
		child := exec.CommandContext(t.Context(), self, "-test.v", "-test.run="+pattern, "-test.timeout=60s")
		child.Env = append(os.Environ(), exhaustedEnv+"=1")
		output, err := child.CombinedOutput()
		require.NoError(t, err, "%s", output)
		require.Contains(t, string(output), "--- PASS: "+t.Name())
	})
}

type report struct {
	err  error
	when time.Time
}

func exhaust(t *testing.T, tr *Transport) {
	links, faults := make(chan transport.Link, 10), make(chan report, 100)
	l, err := tr.Listen(t.Context(), "tcp://127.0.0.1:0", func(l transport.Link) { links <- l },
		func(err error) { faults <- report{err, time.Now()} })
	require.NoError(t, err)
	defer l.Close()
	before, err := net.Dial("tcp", l.Addr()[len("tcp://"):])
	require.NoError(t, err)
	defer before.Close()
	first := receiveFrom(t, links)
	defer first.Close()
	// Whoever connects later has descriptors already.
	waiting, later := socket(t, unix.AF_INET, unix.SOCK_STREAM), socket(t, unix.AF_INET, unix.SOCK_STREAM)

	taken := takeAll(t)
	connect(t, waiting, l.Addr())
	var last time.Time
	for i := range 3 {
		r := receiveFrom(t, faults)
		require.Equal(t, transport.Exhausted, causeIn(t, r.err))
		require.ErrorContains(t, r.err, "accept "+l.Addr()+": resources exhausted")
		if i > 0 {
			require.GreaterOrEqual(t, r.when.Sub(last), faultInterval*9/10, "reported too often")
		}
		last = r.when
	}
	require.Empty(t, links)
	_, err = before.Write([]byte("alive"))
	require.NoError(t, err)
	require.NoError(t, before.Close())
	text, _ := readAll(t, first)
	require.Equal(t, "alive", text)

	for _, fd := range taken {
		require.NoError(t, unix.Close(fd))
	}
	released := time.Now()
	require.NoError(t, receiveFrom(t, links).Close())
	require.Less(t, time.Since(released), maxPause+time.Second, "the listener took too long to go on")
	connect(t, later, l.Addr())
	require.NoError(t, receiveFrom(t, links).Close())
}

// takeAll lowers the limit and opens descriptors until there are no more.
func takeAll(t *testing.T) (taken []int) {
	t.Helper()
	var limit unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	limit.Cur = fewDescriptors
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &limit))
	for {
		fd, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == unix.EMFILE {
			require.NotEmpty(t, taken)
			return taken
		}
		require.NoError(t, err)
		taken = append(taken, fd)
	}
}

func connect(t *testing.T, fd int, addr string) {
	t.Helper()
	port, err := strconv.Atoi(addr[strings.LastIndexByte(addr, ':')+1:])
	require.NoError(t, err)
	require.NoError(t, unix.Connect(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}))
}
